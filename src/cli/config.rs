//! What the words on the command line mean on this machine.
//!
//! It is found out once, by whoever mounts: his are the environment, the user database and the files that the options
//! name, and none of them is looked at again. Nobody is asked anything across the network, but
//! for the names of users and groups, and for the vault where a tag of the machine names it.

use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::audit::sink::Destination as Records;
use crate::cli::access;
use crate::cli::access::Access;
use crate::cli::arguments::Mount;
use crate::cli::complaint::Complaint;
use crate::cli::complaint::Exit;
use crate::cli::complaint::reason;
use crate::cli::config_file::ConfigFile;
use crate::cli::config_file::Table;
use crate::cli::file_tables;
use crate::cli::option::Key;
use crate::cli::option::Opt;
use crate::cli::owner;
use crate::cli::owner::Account;
use crate::cli::selinux;
use crate::cli::settings::Place;
use crate::cli::settings::Settings;
use crate::cli::settings::complain;
use crate::cli::values;
use crate::cli::values::Wrong;
use crate::fuse::looks::Rule;
use crate::fuse::view::View;
use crate::identity::surroundings::Surroundings;
use crate::identity::taken::Origin;
use crate::log::Destination;
use crate::log::Format;
use crate::model::policy::Policy;

/// All that the worker knows of what a person wants.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Config {
    /// The vault, and as whom it is asked.
    pub access: Access,
    /// The durations of the cache.
    pub policy: Policy,
    /// How the files look.
    pub view: View,
    /// Whether token and vault are tried while mounting.
    pub check: Check,
    /// Whether values are fetched before anybody comes for them.
    pub prefetch: Prefetch,
    /// Whether an open that cannot be recorded goes on all the same.
    pub audit_may_fail: bool,
    /// How messages are written to the way out that is inherited; none are, if there is none.
    pub log: Option<Format>,
    /// How often `-v` was given.
    pub verbosity: u8,
}

/// Whether token and vault are tried while mounting.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Check {
    /// They are; only what a person must mend in the command line fails the mount.
    On,
    /// Nobody is asked.
    Off,
    /// They are, and must work.
    Strict,
}

/// Whether values are fetched before anybody comes for them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Prefetch {
    /// They are not.
    No,
    /// They are, once the mount is ready.
    Behind,
    /// They are, and the mount is ready after that.
    First,
}

/// One mount, as it is wanted, and what is odd about it.
#[derive(Debug)]
pub struct Wanted {
    /// What the worker is told.
    pub config: Config,
    /// The source as typed, which the table of mounts shows.
    pub source: String,
    /// Whether users other than the mount's owner are let in.
    pub allow_other: bool,
    /// The SELinux labels, as options of the kernel's.
    pub labels: Vec<String>,
    /// How many bytes of memory there are for what is held.
    pub room: u64,
    /// Whom the worker runs as, if not as whoever mounts.
    pub run_as: Option<Account>,
    /// Where opens are recorded, if they are.
    pub audit: Option<Records>,
    /// Where messages go.
    pub log: Destination,
    /// Where that is written, if in a file.
    pub log_place: Option<Place>,
    /// Whether the command stays while the mount lives.
    pub foreground: bool,
    /// What a person should know before he is surprised, and what to do about it.
    pub warnings: Vec<(String, Option<String>)>,
}

/// Understands `akvfs mount`.
pub fn mount(order: &Mount, here: &Surroundings) -> Result<Wanted, Complaint> {
    let own = Account::own();
    let file = ConfigFile::of(&order.settings, own.uid)?;
    let mut settings = file.settings;
    settings.append(order.settings.clone());
    let settings = &settings;
    let mut access = access_to(&order.vault, order.fake, settings, own, here)?;
    let policy = policy(settings)?;
    let view = view(settings, &file.tables, own, &policy)?;
    let run_as = run_as(settings, own, &policy)?;
    if let Origin::AzureCli(program) = &mut access.identity.origin
        && own.uid == 0
    {
        // Who logged in, and where, is that user's.
        program.home = home(run_as, &policy)?;
        program.config = None;
    }
    let foreground = settings.count(Key::Foreground) > 0;
    let allow_other = settings.count(Key::AllowOther) > 0;
    let log = log(settings, foreground)?;
    let labels = labels(settings, own)?;
    let mut warnings = warnings(&view, allow_other, own, &labels);
    if allow_other {
        warnings.extend(file_tables::shut_out(&file.tables, &view, policy.open_timeout));
    }
    Ok(Wanted {
        source: order.vault.clone(),
        allow_other,
        room: settings.size(Key::Room)?,
        run_as,
        foreground,
        audit: settings.parsed(Key::Audit, audit)?.flatten(),
        labels,
        warnings,
        log,
        log_place: settings.place(Key::Log).cloned(),
        config: Config {
            access,
            policy,
            view,
            check: settings.one_of(Key::Check, &CHECKS)?.unwrap_or(Check::On),
            prefetch: settings.parsed(Key::Prefetch, prefetch)?.unwrap_or(Prefetch::No),
            audit_may_fail: settings
                .one_of(Key::AuditFailure, &AUDIT_MAY_FAIL)?
                .unwrap_or_default(),
            log: None,
            verbosity: settings.verbosity(),
        },
    })
}

/// The vault that was typed, and who will ask it.
fn access_to(
    typed: &str,
    fake: bool,
    settings: &Settings,
    own: Account,
    here: &Surroundings,
) -> Result<Access, Complaint> {
    let mut here = here.clone();
    let is_auto = settings.text(Key::Identity) == Some("auto");
    let is_roots = own.uid == 0 && settings.given(Key::RunAs).is_none();
    if is_auto && (fake || is_roots) {
        // Root's worker is nobody who could have logged in.
        here.azure_cli = None;
    }
    let to_vault =
        |vault, settings: &Settings| Access::to_vault(vault, settings, &here).map_err(as_mount);
    // A mount that is only faked asks nobody, not even for its name.
    let unasked = if typed.starts_with(access::TAG) { "faked" } else { typed };
    let vault = if fake { unasked } else { typed };
    to_vault(vault, settings).map_err(|complaint| {
        // Where it is written is found out by trying without; nobody is asked for that.
        settings.located(complaint, |others| to_vault(unasked, others).err())
    })
}

/// What went wrong with somebody who was asked is a mount that failed.
fn as_mount(complaint: Complaint) -> Complaint {
    match complaint.exit {
        Exit::NotFound | Exit::Refused | Exit::Unreachable => {
            Complaint { exit: Exit::Mount, ..complaint }
        }
        Exit::Usage | Exit::System | Exit::Mount | Exit::Pipe => complaint,
    }
}

fn policy(settings: &Settings) -> Result<Policy, Complaint> {
    let policy = Policy {
        refresh: settings.duration(Key::Refresh)?,
        stale: settings.duration(Key::Stale)?,
        open_timeout: settings.duration(Key::OpenTimeout)?,
        keep: settings.duration(Key::Keep)?,
        confirm: settings.duration(Key::Confirm)?,
        enforce_dates: settings.count(Key::EnforceDates) > 0,
        firewall_is_outage: settings.one_of(Key::OnFirewall, &IS_OUTAGE)?.unwrap_or_default(),
    };
    if policy.stale < policy.refresh {
        let (stale, refresh) = (values::spell(policy.stale), values::spell(policy.refresh));
        return Err(Complaint::usage(format!(
            "stale={stale}: shorter than refresh={refresh}: no value would last until it is asked \
             about again"
        ))
        .hint("raise stale, or lower refresh")
        .at(settings.place(Key::Stale).or(settings.place(Key::Refresh))));
    }
    Ok(policy)
}

fn view(
    settings: &Settings,
    tables: &[Table],
    own: Account,
    policy: &Policy,
) -> Result<View, Complaint> {
    let patience = policy.open_timeout;
    let uid = settings.parsed(Key::Uid, |text| owner::user(text, patience))?;
    let gid = settings.parsed(Key::Gid, |text| owner::group(text, patience))?;
    Ok(View {
        uid: uid.unwrap_or(own.uid),
        gid: gid.unwrap_or(own.gid),
        mode: settings.parsed(Key::Mode, values::file_mode)?.unwrap_or(0o400),
        dir_mode: settings.parsed(Key::DirMode, values::dir_mode)?.unwrap_or(0o550),
        newline: settings.count(Key::Newline) > 0,
        secrets: settings.parsed(Key::Secrets, values::globs)?.unwrap_or_default(),
        rules: file_tables::rules(tables, patience)?,
    })
}

/// A user's mount is served by that user. Root's is served by whom root names, but for root; or by
/// whom the supervisor finds.
fn run_as(
    settings: &Settings,
    own: Account,
    policy: &Policy,
) -> Result<Option<Account>, Complaint> {
    let patience = policy.open_timeout;
    let chosen = settings.parsed(Key::RunAs, |text| Account::find(text, patience))?;
    let refuse = |why: &str, hint: &str| {
        let text = settings.given(Key::RunAs).unwrap_or_default();
        let place = settings.place(Key::RunAs);
        Err(complain(Key::RunAs, text, Wrong::new(why).hint(hint)).at(place))
    };
    match chosen {
        Some(account) if account.uid == 0 => {
            refuse("the worker never runs as root", "leave it away, or name another user")
        }
        Some(account) if own.uid != 0 && account.uid != own.uid => {
            refuse("only root can choose", "leave it away")
        }
        Some(account) if own.uid == 0 => Ok(Some(account)),
        Some(_) | None => Ok(None),
    }
}

fn audit(text: &str) -> Result<Option<Records>, Wrong> {
    match text {
        "off" => Ok(None),
        "journal" => Ok(Some(Records::Journal)),
        // The supervisor, which opens it, is in no directory of anybody's.
        _ => match std::path::absolute(file(text, "audit= takes off, journal")?) {
            Ok(path) => Ok(Some(Records::File(path))),
            Err(error) => Err(Wrong::new(reason(&error))),
        },
    }
}

/// What the kernel is told of labels. It takes the double quotes off.
fn labels(settings: &Settings, own: Account) -> Result<Vec<String>, Complaint> {
    let keys = [Key::Context, Key::FsContext, Key::DefContext, Key::RootContext];
    let mut labels = Vec::new();
    for opt in keys.into_iter().filter_map(Opt::row) {
        let label = settings.parsed(opt.key, |text| match own.uid {
            0 => values::label(text),
            _ => Err(Wrong::new("only root can choose").hint("leave it away")),
        })?;
        labels.extend(label.map(|label| format!("{}=\"{label}\"", opt.name)));
    }
    Ok(labels)
}

fn prefetch(text: &str) -> Result<Prefetch, Wrong> {
    match text {
        "" => Ok(Prefetch::Behind),
        "wait" => Ok(Prefetch::First),
        _ => Err(Wrong::new("there is no such choice").hint("prefetch alone, or prefetch=wait")),
    }
}

/// The home of whoever logged in with `az`, which starts as that user or not at all.
fn home(run_as: Option<Account>, policy: &Policy) -> Result<String, Complaint> {
    let account = run_as.ok_or_else(|| {
        Complaint::usage("identity=azure-cli: the worker would not run as the user who logged in")
            .hint("name that user with run-as=")
    })?;
    let home = account.home(policy.open_timeout).map_err(|wrong| {
        let text = account.uid.to_string();
        complain(Key::RunAs, &text, wrong)
    })?;
    Ok(home)
}

fn log(settings: &Settings, foreground: bool) -> Result<Destination, Complaint> {
    let chosen = settings.parsed(Key::Log, |text| match text {
        "journal" => Ok(Destination::Journal),
        "stderr" => Ok(Destination::Stderr),
        _ => file(text, "log= takes journal, stderr").map(Destination::File),
    })?;
    let default = if foreground { Destination::Stderr } else { Destination::System };
    Ok(chosen.unwrap_or(default))
}

/// A path that is typed where words are taken as well, and so is told from one by its slash.
fn file(text: &str, words: &str) -> Result<PathBuf, Wrong> {
    if text.contains('/') {
        return Ok(PathBuf::from(text));
    }
    Err(Wrong::new("there is no such choice")
        .hint(format!("{words} or the path of a file: ./{text} for one in this directory")))
}

fn warnings(
    view: &View,
    allow_other: bool,
    own: Account,
    labels: &[String],
) -> Vec<(String, Option<String>)> {
    let mut warnings = vec![];
    let (group, others) = (0o070, 0o007);
    let opens = |uid, gid, mode| uid != 0 || gid != 0 || mode & (group | others) != 0;
    let by_table =
        |rule: &Rule| opens(rule.uid.unwrap_or(0), rule.gid.unwrap_or(0), rule.mode.unwrap_or(0));
    let shared = opens(view.uid, view.gid, view.mode) || view.rules.iter().any(by_table);
    if own.uid == 0 && !allow_other && shared {
        warnings.push((
            "only root can enter, whatever uid, gid and mode are".to_owned(),
            Some("allow_other lets in whom they allow".to_owned()),
        ));
    }
    for (bits, who) in [(group, "the group"), (others, "everybody")] {
        if allow_other && view.mode & bits != 0 && view.dir_mode & bits & 0o111 == 0 {
            let (mode, dir_mode) = (view.mode, view.dir_mode);
            warnings.push((
                format!("mode=0{mode:03o} lets {who} read, but dir-mode=0{dir_mode:03o} not enter"),
                Some(format!("dir-mode=0{:03o} does", dir_mode | bits & 0o555)),
            ));
        }
    }
    if !labels.is_empty() && !selinux::is_on() {
        warnings.push(("SELinux is off, and no label is given to anything".to_owned(), None));
    }
    warnings
}

const CHECKS: [(&str, Check); 3] =
    [("on", Check::On), ("off", Check::Off), ("strict", Check::Strict)];
const AUDIT_MAY_FAIL: [(&str, bool); 2] = [("deny", false), ("allow", true)];
const IS_OUTAGE: [(&str, bool); 2] = [("deny", false), ("stale", true)];
