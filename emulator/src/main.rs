//! The program `akvfs-emulator`: a vault and a metadata service on loopback, until interrupted.

use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;

use akvfs_emulator::emulator::Emulator;
use clap::Arg;
use clap::ArgAction;
use clap::ArgMatches;
use clap::Command;
use clap::value_parser;

fn main() -> ExitCode {
    let arguments = command().get_matches();
    match serve(&arguments) {
        Ok(never) => match never {},
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "akvfs-emulator: {why}");
            ExitCode::FAILURE
        }
    }
}

enum Never {}

fn command() -> Command {
    let address = |id: &'static str, default: &'static str, help: &'static str| {
        Arg::new(id)
            .long(id)
            .value_name("ADDRESS:PORT")
            .value_parser(value_parser!(SocketAddr))
            .default_value(default)
            .help(help)
    };
    Command::new("akvfs-emulator")
        .version(clap::crate_version!())
        .about("A Key Vault and a metadata service on this machine, to try akvfs with")
        .arg(
            Arg::new("vault")
                .long("vault")
                .value_name("NAME")
                .action(ArgAction::Append)
                .default_value("my-vault")
                .help("A vault to serve; the first one is what localhost stands for"),
        )
        .arg(address("listen", "127.0.0.1:8443", "Where the vaults are, over https"))
        .arg(address("imds", "127.0.0.1:8169", "Where the metadata service is, over http"))
        .arg(address("control", "127.0.0.1:8170", "Where the control interface is, over http"))
        .arg(
            Arg::new("ca-file")
                .long("ca-file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .default_value("akvfs-emulator.pem")
                .help("Where to write the certificate that clients must trust"),
        )
        .arg(
            Arg::new("secret")
                .value_name("NAME=VALUE")
                .action(ArgAction::Append)
                .help("Secrets of the first vault; ftpadmin, if there is none"),
        )
}

fn serve(arguments: &ArgMatches) -> Result<Never, String> {
    let emulator = Emulator::new();
    let mut names = arguments.get_many::<String>("vault").into_iter().flatten();
    let first = names.next().ok_or("a vault needs a name")?;
    let vault = emulator.vault(first);
    for name in names {
        let _ = emulator.vault(name);
    }
    let mut secrets = arguments.get_many::<String>("secret").into_iter().flatten().peekable();
    let shown = match secrets.peek() {
        Some(secret) => secret.split('=').next().unwrap_or_default().to_owned(),
        None => {
            vault.put("ftpadmin", "correct horse battery staple");
            "ftpadmin".to_owned()
        }
    };
    for secret in secrets {
        let (name, value) =
            secret.split_once('=').ok_or_else(|| format!("{secret:?} is not NAME=VALUE"))?;
        vault.put(name, value);
    }

    let ca_file = arguments.get_one::<PathBuf>("ca-file").ok_or("no file to write to")?;
    std::fs::write(ca_file, emulator.authority_pem())
        .map_err(|error| format!("cannot write {}: {error}", ca_file.display()))?;
    let ca_file = std::path::absolute(ca_file).map_err(|error| error.to_string())?;

    let (listener, vault_address) = listen(arguments, "listen")?;
    emulator.serve_vault(listener);
    let (listener, imds_address) = listen(arguments, "imds")?;
    emulator.serve_imds(listener);
    let (listener, control_address) = listen(arguments, "control")?;
    emulator.serve_control(listener);

    let port = vault_address.port();
    let ca_file = ca_file.display();
    let options = format!(
        "--ca-file={ca_file} --resource=https://vault.azure.net \
         --authority=https://login.microsoftonline.com"
    );
    let text = format!(
        "vault     https://localhost:{port} ({first})\n\
         identity  http://{imds_address}\n\
         control   http://{control_address}\n\
         \n\
         export AZURE_POD_IDENTITY_AUTHORITY_HOST=http://{imds_address}\n\
         akvfs get https://localhost:{port} {shown} {options}\n\
         akvfs mount https://localhost:{port} DIRECTORY {options}\n\
         \n\
         curl http://{control_address}/put -d '{{\"name\": \"{shown}\", \"value\": \"another\"}}'\n\
         curl http://{control_address}/requests\n"
    );
    // Nobody may be reading; that is no reason to stop serving.
    let _ = std::io::stdout().write_all(text.as_bytes());
    loop {
        std::thread::park();
    }
}

fn listen(arguments: &ArgMatches, id: &str) -> Result<(TcpListener, SocketAddr), String> {
    let address =
        arguments.get_one::<SocketAddr>(id).ok_or_else(|| format!("--{id} needs an address"))?;
    let failed = |error: std::io::Error| format!("cannot listen on {address}: {error}");
    let listener = TcpListener::bind(address).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}
