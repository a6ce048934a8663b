//! What is recorded of a decision, and the line that says so.

use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::audit::caller::Caller;
use crate::clock;
use crate::model::moment::Moment;
use crate::model::name::SecretName;
use crate::model::name::VersionId;

/// A decision about one open, as the worker made it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Decision {
    /// The secret.
    pub secret: SecretName,
    /// The version whose bytes the caller gets, if it gets any.
    pub version: Option<VersionId>,
    /// How long ago the vault last confirmed it.
    pub age: Option<Duration>,
    /// The caller's user.
    pub uid: u32,
    /// The caller's group.
    pub gid: u32,
    /// The caller's thread, as the kernel numbers it here.
    pub thread: u32,
    /// The error number that the caller gets; none if it gets a descriptor.
    pub errno: Option<i32>,
    /// When it was decided. A decision that waited too long was not carried out.
    pub at: Moment,
}

/// What stands in a line beside the decision.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// The directory of the mount.
    pub(crate) mount: &'a str,
    /// The number of the line.
    pub(crate) sequence: u64,
    /// How many decisions could not be recorded since the last line.
    pub(crate) lost: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    seq: u64,
    mount: &'a str,
    secret: &'a str,
    version: Option<VersionId>,
    age: Option<f64>,
    uid: u32,
    gid: u32,
    pid: u32,
    exe: Option<&'a str>,
    unit: Option<&'a str>,
    decision: &'static str,
    errno: Option<&'static str>,
    #[serde(skip_serializing_if = "is_none")]
    lost: u64,
}

/// The line of a decision, as JSON, without its end.
pub(crate) fn of(decision: &Decision, caller: &Caller, context: &Context<'_>) -> Vec<u8> {
    let line = Line {
        time: clock::rfc3339_millis(clock::wall_millis()),
        seq: context.sequence,
        mount: context.mount,
        secret: decision.secret.as_str(),
        version: decision.version,
        age: decision.age.map(|age| (age.as_secs_f64() * 1000.0).round() / 1000.0),
        uid: decision.uid,
        gid: decision.gid,
        pid: caller.pid.unwrap_or(decision.thread),
        exe: caller.exe.as_deref(),
        unit: caller.unit.as_deref(),
        decision: if decision.errno.is_none() { "allow" } else { "deny" },
        errno: decision.errno.map(name_of),
        lost: context.lost,
    };
    // What is in it can always be written as JSON.
    serde_json::to_vec(&line).unwrap_or_default()
}

/// The name of an error number that a mount answers with.
fn name_of(errno: i32) -> &'static str {
    match errno {
        libc::EACCES => "EACCES",
        libc::EIO => "EIO",
        libc::EKEYEXPIRED => "EKEYEXPIRED",
        libc::EKEYREVOKED => "EKEYREVOKED",
        libc::ENOENT => "ENOENT",
        libc::ENOKEY => "ENOKEY",
        libc::ENOMEM => "ENOMEM",
        libc::ESTALE => "ESTALE",
        libc::ETIMEDOUT => "ETIMEDOUT",
        _ => "other",
    }
}

const fn is_none(lost: &u64) -> bool {
    *lost == 0
}
