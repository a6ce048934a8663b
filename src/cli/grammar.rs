//! The commands and their arguments, as clap wants them told: built from the table of options.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Arg;
use clap::ArgAction;
use clap::Command as Clap;
use clap::value_parser;

use crate::cli::option::Command;
use crate::cli::option::Key;
use crate::cli::option::Kind;
use crate::cli::option::Opt;

/// The program with all its commands.
#[must_use]
pub fn program() -> Clap {
    Clap::new("akvfs")
        .about("Mounts an Azure Key Vault as a directory of read-only files")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .disable_help_subcommand(false)
        .args_override_self(true)
        .after_help(AFTER_HELP)
        .subcommands([mount(), unmount(), get(), list(), status(), refresh(), watch()])
}

/// mount(8)'s helper: `mount.akvfs VAULT DIR [-sfnv] [-N namespace] [-o options] [-t type]`.
#[must_use]
pub fn mount_helper() -> Clap {
    Clap::new("mount.akvfs")
        .about("Mounts an Azure Key Vault, for mount(8)")
        .version(env!("CARGO_PKG_VERSION"))
        .args_override_self(true)
        .arg(vault())
        .arg(directory())
        .arg(mount_options())
        .arg(flag("fake", 'f').help("read the options, mount nothing"))
        .arg(flag("sloppy", 's').help("pass over options that do not exist"))
        .arg(flag("no-mtab", 'n').help("ignored"))
        .arg(flag("verbose", 'v').help("say more").action(ArgAction::Count))
        .arg(ignored("namespace", 'N', "NAMESPACE"))
        .arg(ignored("type", 't', "TYPE"))
}

fn mount() -> Clap {
    let command = Clap::new("mount")
        .about("Mount a vault; returns once the files can be read")
        .arg(vault())
        .arg(directory().help("where"))
        .arg(mount_options())
        .after_help(AFTER_MOUNT);
    with_options(command, Command::Mount)
}

fn unmount() -> Clap {
    let lazy = flag("lazy", 'l').long("lazy");
    let force = flag("force", 'f').long("force").conflicts_with("lazy");
    Clap::new("unmount")
        .about("Take a mount away")
        .arg(directory().help("where it is"))
        .arg(lazy.help("take the path away now, and serve what is open until it is closed"))
        .arg(force.help("answer who waits with an error, and take the path away"))
}

fn get() -> Clap {
    let command = Clap::new("get")
        .about("Write the value of one secret to standard output, and nothing else")
        .override_usage("akvfs get [OPTIONS] VAULT SECRET\n       akvfs get [OPTIONS] URL")
        .arg(vault())
        .arg(
            Arg::new("secret")
                .value_name("SECRET")
                .help("the secret's name, in any case; after -- if it begins with a dash"),
        )
        .after_help(AFTER_GET);
    with_options(command, Command::Get)
}

fn list() -> Clap {
    let command = Clap::new("list").about("List the names of a vault's secrets").arg(vault()).arg(
        Arg::new("json")
            .long("json")
            .action(ArgAction::SetTrue)
            .help("all that the vault says of each, as JSON"),
    );
    with_options(command, Command::List)
}

fn status() -> Clap {
    Clap::new("status")
        .about("Say how mounts stand: each secret's version and state, and what is amiss")
        .arg(directory().required(false).help("which; all that may be asked, without it"))
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("all that is known, as JSON"),
        )
}

fn refresh() -> Clap {
    Clap::new("refresh")
        .about("Ask the vault now; returns once files are as it says")
        .arg(directory().help("which mount"))
        .arg(secrets())
}

fn watch() -> Clap {
    Clap::new("watch")
        .about("Write a line, or run a command, for each new version and each refusal")
        .override_usage("akvfs watch DIR [SECRET]... [-- COMMAND [ARG]...]")
        .arg(directory().help("which mount"))
        .arg(secrets())
        .arg(
            Arg::new("command")
                .value_name("COMMAND")
                .last(true)
                .num_args(1..)
                .value_parser(value_parser!(OsString))
                .help("what to run, with its arguments"),
        )
        .after_help(AFTER_WATCH)
}

fn secrets() -> Arg {
    Arg::new("secrets").value_name("SECRET").num_args(0..).help("which; all in use, without it")
}

fn with_options(clap: Clap, command: Command) -> Clap {
    Opt::of(command).fold(clap, |clap, opt| clap.arg(long_option(opt)))
}

fn long_option(opt: &'static Opt) -> Arg {
    let help = match opt.default {
        Some(default) => format!("{} [default: {default}]", opt.help),
        None => opt.help.to_owned(),
    };
    let arg = Arg::new(opt.name).long(opt.long()).help(help).help_heading(opt.group.heading());
    let arg = match opt.letter {
        Some(letter) => arg.short(letter),
        None => arg,
    };
    let arg = if opt.name == opt.long() { arg } else { arg.alias(opt.name) };
    match opt.placeholder() {
        Some(placeholder) if matches!(opt.kind, Kind::FlagOr(_)) => arg
            .value_name(placeholder)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value(""),
        Some(placeholder) => arg.action(ArgAction::Set).value_name(placeholder),
        None if opt.key == Key::Verbose => arg.action(ArgAction::Count),
        None => arg.action(ArgAction::SetTrue),
    }
}

fn vault() -> Arg {
    Arg::new("vault").value_name("VAULT").required(true).help("a vault's name, host or URL")
}

fn directory() -> Arg {
    Arg::new("directory").value_name("DIR").required(true).value_parser(value_parser!(PathBuf))
}

fn mount_options() -> Arg {
    Arg::new("options")
        .short('o')
        .value_name("OPTIONS")
        .action(ArgAction::Append)
        .help("mount options: the long options below without dashes, with commas between them")
}

fn flag(name: &'static str, letter: char) -> Arg {
    Arg::new(name).short(letter).action(ArgAction::SetTrue)
}

fn ignored(name: &'static str, letter: char, value: &'static str) -> Arg {
    Arg::new(name).short(letter).value_name(value).help("ignored")
}

const AFTER_HELP: &str = "\
In /etc/fstab:
  my-vault  /mnt/vault  akvfs  _netdev,allow_other,gid=ftp,mode=0440  0 0

Exit codes: 0, 1 wrong command line, 2 this machine, 3 not found, 4 refused or no identity,
5 unreachable, 32 mount failed. See akvfs(1).";

const AFTER_MOUNT: &str = "\
Durations are 30s, 5m, 1h or 8d; sizes 64M or 1G. A long option beats a mount option.
  akvfs mount my-vault /mnt/vault -o allow_other,gid=ftp,mode=0440";

const AFTER_WATCH: &str = "\
A command is run with AKVFS_SECRET, AKVFS_STATE and AKVFS_VERSION in its environment, one at a
time. It ends when the mount does.
  akvfs watch /mnt/vault ftpadmin -- systemctl reload vsftpd";

const AFTER_GET: &str = "\
A secret's URL, as the portal shows it, stands for both:
  akvfs get https://my-vault.vault.azure.net/secrets/ftpadmin";
