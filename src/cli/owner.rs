//! Users and groups by name. They may live in a directory across the network, so a look-up has a
//! deadline; and a name that is not known is an error, never another owner instead.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::unistd::Gid;
use nix::unistd::Group;
use nix::unistd::Uid;
use nix::unistd::User;
use nix::unistd::getgrouplist;
use serde::Deserialize;
use serde::Serialize;

use crate::cli::values::Wrong;

/// The number of a user who is given by name or number.
pub fn user(text: &str, patience: Duration) -> Result<u32, Wrong> {
    if let Some(number) = number(text)? {
        return Ok(number);
    }
    let name = text.to_owned();
    let found = within(patience, move || User::from_name(&name))?;
    found.map(|user| user.uid.as_raw()).ok_or_else(|| unknown("user"))
}

/// The number of a group that is given by name or number.
pub fn group(text: &str, patience: Duration) -> Result<u32, Wrong> {
    if let Some(number) = number(text)? {
        return Ok(number);
    }
    let name = text.to_owned();
    let found = within(patience, move || Group::from_name(&name))?;
    found.map(|group| group.gid.as_raw()).ok_or_else(|| unknown("group"))
}

/// The groups that each of these users is in, as far as that can be found out in time.
#[must_use]
pub fn groups(users: Vec<u32>, patience: Duration) -> HashMap<u32, Vec<u32>> {
    let ask = move || {
        let mut found = HashMap::new();
        for uid in users {
            if found.contains_key(&uid) {
                continue;
            }
            let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
            let name = user.as_ref().and_then(|user| CString::new(user.name.as_str()).ok());
            let groups = user.zip(name).and_then(|(user, name)| getgrouplist(&name, user.gid).ok());
            let groups = groups.unwrap_or_default().into_iter().map(Gid::as_raw).collect();
            found.insert(uid, groups);
        }
        Ok(Some(found))
    };
    within(patience, ask).ok().flatten().unwrap_or_default()
}

/// A user and his group, as a process runs as them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Account {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Account {
    /// Whoever runs this process.
    #[must_use]
    pub fn own() -> Self {
        Self { uid: Uid::effective().as_raw(), gid: Gid::effective().as_raw() }
    }

    /// A user given by name or number. A number that nobody has is its own group.
    pub fn find(text: &str, patience: Duration) -> Result<Self, Wrong> {
        let uid = user(text, patience)?;
        let found = within(patience, move || User::from_uid(Uid::from_raw(uid)))?;
        let gid = found.map_or(uid, |user| user.gid.as_raw());
        Ok(Self { uid, gid })
    }

    /// The user's home.
    pub fn home(self, patience: Duration) -> Result<String, Wrong> {
        let found = within(patience, move || User::from_uid(Uid::from_raw(self.uid)))?;
        let home = found.and_then(|user| user.dir.into_os_string().into_string().ok());
        home.ok_or_else(|| unknown("user"))
    }
}

/// The number, if it is one. -1 is what chown(2) takes for "leave it as it is", and no owner.
fn number(text: &str) -> Result<Option<u32>, Wrong> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let number = text.parse().ok().filter(|number| *number != u32::MAX);
    number.map(Some).ok_or_else(|| Wrong::new("the number is too large"))
}

fn unknown(what: &str) -> Wrong {
    Wrong::new(format!("no such {what}")).hint(format!(
        "give the number; for a {what} from the network, x-systemd.after=nss-user-lookup.target"
    ))
}

/// Asks NSS on a thread of its own, which is left behind if it does not come back in time.
fn within<T: Send + 'static>(
    patience: Duration,
    ask: impl FnOnce() -> nix::Result<Option<T>> + Send + 'static,
) -> Result<Option<T>, Wrong> {
    let (answer, answered) = mpsc::channel();
    let _thread = thread::spawn(move || answer.send(ask()));
    match answered.recv_timeout(patience) {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(errno)) => Err(Wrong::new(format!("the look-up failed: {}", errno.desc()))),
        Err(_) => Err(Wrong::new("the look-up takes too long").hint(
            "give the number; or see why getent(1) hangs, and raise open-timeout if it must",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn names_and_numbers_are_owners() {
        assert_eq!(user("root", SOON), Ok(0));
        assert_eq!(group("root", SOON), Ok(0));
        assert_eq!(user("4294967294", SOON), Ok(4_294_967_294));
        assert_eq!(Account::find("0", SOON), Ok(Account { uid: 0, gid: 0 }));
        let nobody_has_it = Account { uid: 3_999_999, gid: 3_999_999 };
        assert_eq!(Account::find("3999999", SOON), Ok(nobody_has_it));
    }

    #[test]
    fn a_name_that_is_not_known_is_no_owner() {
        for bad in ["no-such-user", "", "-1", "4294967295", "99999999999", "1x"] {
            assert!(user(bad, SOON).is_err(), "{bad:?}");
            assert!(group(bad, SOON).is_err(), "{bad:?}");
        }
        assert_eq!(group("no-such-group", SOON).unwrap_err().why, "no such group");
    }

    #[test]
    fn a_look_up_that_hangs_is_given_up() {
        let (_never, wait) = mpsc::channel::<()>();
        let hang = move || {
            let _ended = wait.recv();
            Ok(Some(()))
        };
        let wrong = within(Duration::from_millis(20), hang).unwrap_err();
        assert_eq!(wrong.why, "the look-up takes too long");
    }
}
