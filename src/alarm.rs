//! What a person must be told without having asked: each kind once in the journal when it begins,
//! and in the status for as long as it lasts.
//!
//! Its kind has a number of its own, by which journalctl(1) finds it and a monitor can wait for it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::clock;
use crate::log;

/// The kinds.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alarm {
    /// The vault takes no token, a new one neither.
    Unauthorized,
    /// Names in use were not confirmed for two refreshes.
    Unverified,
    /// Names in use have no value any more, because they were not confirmed for `stale`.
    StaleEnded,
    /// A value found no room.
    RoomFull,
    /// More names are in use than can be asked about in a refresh.
    IntervalStretched,
    /// The worker dies again and again.
    CrashLoop,
    /// Somebody remounted it read-write. Every change is refused all the same.
    ReadWrite,
    /// Opens cannot be recorded.
    AuditFailed,
}

impl Alarm {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Unauthorized,
        Self::Unverified,
        Self::StaleEnded,
        Self::RoomFull,
        Self::IntervalStretched,
        Self::CrashLoop,
        Self::ReadWrite,
        Self::AuditFailed,
    ];

    /// The journal's `MESSAGE_ID`, which never changes.
    #[must_use]
    pub const fn message_id(self) -> &'static str {
        match self {
            Self::Unauthorized => "d301c9be076247c4b0f8fd69147ff1b5",
            Self::Unverified => "374b6b97bd6643f28f850150bda9ab41",
            Self::StaleEnded => "a1992619a0cc4651a59306c691992b52",
            Self::RoomFull => "bb61305a58e84c8eb8204ed113015cc4",
            Self::IntervalStretched => "4ef1d27acbb1482cabff92000038e7bb",
            Self::CrashLoop => "16daffcaf45a4dd2b6bfaf44d5229326",
            Self::ReadWrite => "4a48c18b0e0a41ee903d4ab681f68111",
            Self::AuditFailed => "8f4b36fd01764b55a0721f2cad00a1f8",
        }
    }
}

/// An alarm that stands.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Standing {
    /// Which kind.
    pub alarm: Alarm,
    /// What is the matter.
    pub message: String,
    /// Since when, as RFC 3339 has it.
    pub since: String,
}

/// The alarms that one process knows to stand.
#[derive(Debug, Default)]
pub struct Alarms(BTreeMap<Alarm, (String, i64)>);

impl Alarms {
    /// Says whether there is cause for an alarm, and which. It is logged where that is new.
    pub fn set(&mut self, alarm: Alarm, cause: Option<String>) {
        let Some(message) = cause else {
            if self.0.remove(&alarm).is_some() {
                log::info(format_args!("over: {}", alarm.title()));
            }
            return;
        };
        match self.0.get_mut(&alarm) {
            Some((known, _)) => *known = message,
            None => {
                log::alarm(alarm.message_id(), format_args!("{message}"));
                self.0.insert(alarm, (message, clock::wall()));
            }
        }
    }

    /// Those that stand.
    #[must_use]
    pub fn standing(&self) -> Vec<Standing> {
        let standing = |(alarm, (message, since)): (&Alarm, &(String, i64))| Standing {
            alarm: *alarm,
            message: message.clone(),
            since: clock::rfc3339(*since),
        };
        self.0.iter().map(standing).collect()
    }
}

impl Alarm {
    const fn title(self) -> &'static str {
        match self {
            Self::Unauthorized => "the vault takes no token",
            Self::Unverified => "names in use are not confirmed",
            Self::StaleEnded => "names in use have no value any more",
            Self::RoomFull => "there is no room",
            Self::IntervalStretched => "a refresh is too short",
            Self::CrashLoop => "the worker dies again and again",
            Self::ReadWrite => "remounted read-write",
            Self::AuditFailed => "opens cannot be recorded",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_alarm_has_a_number_of_its_own_as_the_journal_wants_them() {
        let numbers: BTreeSet<&str> = Alarm::ALL.iter().map(|alarm| alarm.message_id()).collect();
        assert_eq!(numbers.len(), Alarm::ALL.len());
        for number in numbers {
            assert_eq!(number.len(), 32, "{number}");
            assert!(number.bytes().all(|byte| b"0123456789abcdef".contains(&byte)), "{number}");
        }
    }

    #[test]
    fn an_alarm_stands_since_it_began_whatever_is_said_of_it_meanwhile() {
        let mut alarms = Alarms::default();
        alarms.set(Alarm::Unverified, Some("one name".to_owned()));
        let since = alarms.standing()[0].since.clone();
        alarms.set(Alarm::Unverified, Some("two names".to_owned()));
        assert_eq!(alarms.standing()[0].message, "two names");
        assert_eq!(alarms.standing()[0].since, since);
        alarms.set(Alarm::Unverified, None);
        assert_eq!(alarms.standing(), []);
    }
}
