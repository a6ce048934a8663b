//! The command line as a person or mount(8) typed it, sorted but not yet understood.
//!
//! Nothing in here touches the machine: no file, no user database, no environment. What the
//! words mean is [`config`](crate::cli::config)'s business.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;

use clap::ArgMatches;
use clap::error::ContextKind;
use clap::error::ContextValue;
use clap::error::ErrorKind;

use crate::cli::complaint::Complaint;
use crate::cli::grammar;
use crate::cli::mount_options;
use crate::cli::option::Command;
use crate::cli::option::Key;
use crate::cli::option::Kind;
use crate::cli::option::Opt;
use crate::cli::settings::Settings;
use crate::cli::spelling::likeness;
use crate::cli::spelling::nearest;

/// What the program is asked to do.
#[derive(Debug)]
pub enum Order {
    /// Mount a vault.
    Mount(Mount),
    /// Take a mount away.
    Unmount(Unmount),
    /// Write one value.
    Get(Get),
    /// List names.
    List(List),
    /// Say how mounts stand.
    Status(Status),
    /// Have the vault asked now.
    Refresh(Refresh),
    /// Tell what changes.
    Watch(Watch),
    /// Print this, which is help or a version.
    Print(String),
    /// Print the manual page.
    Manual,
}

/// `akvfs mount VAULT DIR`, however it was called.
#[derive(Debug)]
pub struct Mount {
    /// The vault, as typed.
    pub vault: String,
    /// The directory, as typed.
    pub directory: PathBuf,
    /// The options, those of `-o` first: a long option beats them.
    pub settings: Settings,
    /// Whether to stop short of mounting (mount(8)'s `-f`).
    pub fake: bool,
}

/// `akvfs unmount DIR`.
#[derive(Debug)]
pub struct Unmount {
    /// The directory, as typed.
    pub directory: PathBuf,
    /// Whether although it is in use, which its users do not notice.
    pub lazy: bool,
    /// Whether although it is in use or hangs, which its users notice.
    pub force: bool,
}

/// `akvfs get VAULT SECRET`, or `akvfs get URL`.
#[derive(Debug)]
pub struct Get {
    /// The vault, or the secret's URL.
    pub vault: String,
    /// The secret, unless a URL stands for both.
    pub secret: Option<String>,
    /// The options.
    pub settings: Settings,
}

/// `akvfs list VAULT`.
#[derive(Debug)]
pub struct List {
    /// The vault.
    pub vault: String,
    /// Whether as JSON.
    pub json: bool,
    /// The options.
    pub settings: Settings,
}

/// `akvfs status [DIR]`.
#[derive(Debug)]
pub struct Status {
    /// The directory, as typed; every mount there is, without one.
    pub directory: Option<PathBuf>,
    /// Whether as JSON.
    pub json: bool,
}

/// `akvfs refresh DIR [SECRET...]`.
#[derive(Debug)]
pub struct Refresh {
    /// The directory, as typed.
    pub directory: PathBuf,
    /// The secrets, as typed; all in use, if there are none.
    pub secrets: Vec<String>,
}

/// `akvfs watch DIR [SECRET...] [-- COMMAND [ARG...]]`.
#[derive(Debug)]
pub struct Watch {
    /// The directory, as typed.
    pub directory: PathBuf,
    /// The secrets, as typed; all in use, if there are none.
    pub secrets: Vec<String>,
    /// What to run for each change, with its arguments; without it, a line is written.
    pub command: Vec<OsString>,
}

/// Sorts the arguments, the program's own name first.
pub fn read(arguments: &[OsString]) -> Result<Order, Complaint> {
    let called = arguments.first().map(Path::new).and_then(Path::file_name);
    if called.is_some_and(|name| MOUNT_HELPERS.iter().any(|helper| name == *helper)) {
        return mount_helper(arguments);
    }
    let rest: Vec<&OsStr> = arguments.iter().skip(1).map(OsString::as_os_str).collect();
    if rest == ["manual"] {
        return Ok(Order::Manual);
    }
    if !is_bare_mount(&rest) {
        return command(arguments.to_vec());
    }
    let mut arguments = arguments.to_vec();
    arguments.insert(1, "mount".into());
    command(arguments)
}

/// Whether this is `akvfs VAULT DIR -o OPTIONS`, as mount.fuse(8) calls. It gives a path from the
/// root, and then the vault may be called like a command.
fn is_bare_mount(rest: &[&OsStr]) -> bool {
    let [vault, directory, more @ ..] = rest else {
        return false;
    };
    let is_flag = |word: &OsStr| word.as_encoded_bytes().starts_with(b"-");
    let has_options = more.first().is_some_and(|word| *word == "-o");
    let from_mount_fuse = more.len() == 2 && Path::new(directory).is_absolute();
    let is_command = vault.to_str().is_some_and(is_like_a_command);
    has_options && !is_flag(vault) && !is_flag(directory) && (from_mount_fuse || !is_command)
}

fn is_like_a_command(word: &str) -> bool {
    COMMANDS.iter().any(|command| likeness(word, command) > 0.7)
}

fn command(arguments: Vec<OsString>) -> Result<Order, Complaint> {
    let word = arguments.get(1).and_then(|word| word.to_str());
    let name = COMMANDS.into_iter().find(|command| word == Some(command));
    let matches = match grammar::program().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return explain(&error, name),
    };
    match matches.subcommand() {
        Some(("mount", found)) => mount(found).map(Order::Mount),
        Some(("unmount", found)) => Ok(Order::Unmount(Unmount {
            directory: directory(found),
            lazy: found.get_flag("lazy"),
            force: found.get_flag("force"),
        })),
        Some(("get", found)) => Ok(Order::Get(Get {
            vault: text(found, "vault"),
            secret: found.get_one("secret").cloned(),
            settings: long_options(Command::Get, found),
        })),
        Some(("list", found)) => Ok(Order::List(List {
            vault: text(found, "vault"),
            json: found.get_flag("json"),
            settings: long_options(Command::List, found),
        })),
        Some(("status", found)) => Ok(Order::Status(Status {
            directory: found.get_one("directory").cloned(),
            json: found.get_flag("json"),
        })),
        Some(("refresh", found)) => {
            Ok(Order::Refresh(Refresh { directory: directory(found), secrets: secrets(found) }))
        }
        Some(("watch", found)) => Ok(Order::Watch(Watch {
            directory: directory(found),
            secrets: secrets(found),
            command: found.get_many("command").unwrap_or_default().cloned().collect(),
        })),
        _ => Err(no_command()),
    }
}

fn mount(found: &ArgMatches) -> Result<Mount, Complaint> {
    let mut settings = Settings::default();
    for options in found.get_many::<String>("options").unwrap_or_default() {
        mount_options::read(options, false, &mut settings)?;
    }
    settings.append(long_options(Command::Mount, found));
    Ok(Mount { vault: text(found, "vault"), directory: directory(found), settings, fake: false })
}

fn mount_helper(arguments: &[OsString]) -> Result<Order, Complaint> {
    let found = match grammar::mount_helper().try_get_matches_from(arguments) {
        Ok(found) => found,
        Err(error) => return explain(&error, None),
    };
    let mut settings = Settings::default();
    let sloppy = found.get_flag("sloppy");
    for options in found.get_many::<String>("options").unwrap_or_default() {
        mount_options::read(options, sloppy, &mut settings)?;
    }
    settings.repeat(Key::Verbose, found.get_count("verbose"));
    Ok(Order::Mount(Mount {
        vault: text(&found, "vault"),
        directory: directory(&found),
        settings,
        fake: found.get_flag("fake"),
    }))
}

fn long_options(command: Command, found: &ArgMatches) -> Settings {
    let mut settings = Settings::default();
    for opt in Opt::of(command) {
        let name = opt.name;
        if opt.key == Key::Verbose {
            settings.repeat(opt.key, found.get_count(name));
        } else if matches!(opt.kind, Kind::Flag) {
            settings.repeat(opt.key, found.get_flag(name).into());
        } else if let Some(value) = found.get_one::<String>(name) {
            settings.add(opt.key, value.clone());
        }
    }
    settings
}

fn text(found: &ArgMatches, name: &str) -> String {
    found.get_one::<String>(name).cloned().unwrap_or_default()
}

fn secrets(found: &ArgMatches) -> Vec<String> {
    found.get_many("secrets").unwrap_or_default().cloned().collect()
}

fn directory(found: &ArgMatches) -> PathBuf {
    found.get_one::<PathBuf>("directory").cloned().unwrap_or_default()
}

/// Says in our words what clap found. Help and version come as errors, too.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "clap may add kinds; those not named here do not come of our grammar"
)]
fn explain(error: &clap::Error, command: Option<&'static str>) -> Result<Order, Complaint> {
    let typed = context(error, ContextKind::InvalidArg);
    let place = command.map_or_else(String::new, |name| format!("{name}: "));
    Err(match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return Ok(Order::Print(error.to_string()));
        }
        ErrorKind::MissingSubcommand => no_command(),
        ErrorKind::InvalidSubcommand => {
            let word = context(error, ContextKind::InvalidSubcommand);
            unknown_command(&word)
        }
        ErrorKind::UnknownArgument if typed.starts_with('-') => unknown_option(&typed, command),
        ErrorKind::UnknownArgument => {
            Complaint::usage(format!("{place}{typed:?} is one argument too many"))
                .hint(usage(command))
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = typed.replace(['<', '>'], "");
            let verb = if missing.contains(' ') { "are" } else { "is" };
            Complaint::usage(format!("{place}{missing} {verb} missing")).hint(usage(command))
        }
        ErrorKind::TooManyValues => {
            let name = typed.split(['=', ' ']).next().unwrap_or_default();
            Complaint::usage(format!("{place}{name} takes no value")).hint(usage(command))
        }
        ErrorKind::InvalidValue if typed.starts_with('<') => {
            let name = typed.trim_matches(['<', '>']);
            Complaint::usage(format!("{place}{name} is empty")).hint(usage(command))
        }
        ErrorKind::InvalidValue => {
            let example = typed.replace(['<', '>'], "");
            let name = typed.split(' ').next().unwrap_or_default();
            Complaint::usage(format!("{place}{name}: a value is missing"))
                .hint(format!("write {example}"))
        }
        ErrorKind::ArgumentConflict => {
            let other = context(error, ContextKind::PriorArg);
            Complaint::usage(format!("{place}{typed} and {other} exclude each other"))
                .hint(usage(command))
        }
        ErrorKind::InvalidUtf8 => {
            Complaint::usage(format!("{place}an argument is not UTF-8")).hint(usage(command))
        }
        _ => Complaint::usage(format!("{place}wrong arguments")).hint(usage(command)),
    })
}

fn context(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" and "),
        _ => String::new(),
    }
}

fn no_command() -> Complaint {
    Complaint::usage("no command given").hint("akvfs mount VAULT DIR; akvfs help lists them all")
}

fn unknown_command(word: &str) -> Complaint {
    let complaint = Complaint::usage(format!("there is no command {word:?}"));
    match nearest(word, COMMANDS.into_iter()) {
        Some(near) => complaint.hint(format!("the nearest is {near}; akvfs help lists them all")),
        None => complaint,
    }
}

fn unknown_option(typed: &str, command: Option<&'static str>) -> Complaint {
    let place = command.map_or_else(String::new, |name| format!("{name}: "));
    let name = typed.trim_start_matches('-');
    let elsewhere = typed.starts_with("--").then(|| Opt::find(Command::Mount, name)).flatten();
    let table = match command {
        Some("mount") => Command::Mount,
        Some("get") => Command::Get,
        Some("list") => Command::List,
        _ => {
            let complaint = Complaint::usage(format!("{place}there is no option {typed} here"));
            return match elsewhere {
                Some(_) => complaint.hint(format!("it comes after the command: mount {typed}")),
                None => complaint.hint(usage(command)),
            };
        }
    };
    if typed == "-o" || elsewhere.is_some() {
        return Complaint::usage(format!("{place}{typed} is an option of mount"))
            .hint(format!("akvfs {} --help lists those that there are", name_of(command)));
    }
    let complaint = Complaint::usage(format!("{place}there is no option {typed}"));
    let json = (table == Command::List).then_some("json");
    match nearest(name, Opt::of(table).map(|opt| opt.name).chain(json)) {
        Some(near) if typed.starts_with("--") => complaint.hint(format!(
            "the nearest is --{}; akvfs {} --help lists them all",
            near.replace('_', "-"),
            name_of(command)
        )),
        _ => complaint.hint(usage(command)),
    }
}

fn name_of(command: Option<&'static str>) -> &'static str {
    command.unwrap_or_default()
}

fn usage(command: Option<&str>) -> String {
    match command {
        Some("mount") => "akvfs mount VAULT DIR [-o OPTION,OPTION=VALUE]".to_owned(),
        Some("unmount") => "akvfs unmount DIR [--lazy|--force]".to_owned(),
        Some("get") => {
            "akvfs get VAULT SECRET; a SECRET with a dash in front comes after --".into()
        }
        Some("list") => "akvfs list VAULT [--json]".to_owned(),
        Some("status") => "akvfs status [DIR] [--json]".to_owned(),
        Some("refresh") => {
            "akvfs refresh DIR [SECRET...]; a SECRET with a dash in front comes after --".into()
        }
        Some("watch") => "akvfs watch DIR [SECRET...] [-- COMMAND [ARG...]]".to_owned(),
        _ => "akvfs help tells what can be typed".to_owned(),
    }
}

const COMMANDS: [&str; 8] =
    ["mount", "unmount", "get", "list", "status", "refresh", "watch", "help"];
const MOUNT_HELPERS: [&str; 2] = ["mount.akvfs", "mount.fuse.akvfs"];
