//! What a person may want otherwise than the vault has it: the dates of a secret enforced, and the
//! vault's firewall taken for an outage.
//!
//! Dates are compared with the clock of the vault, as its answer shows it: this machine's may be
//! hours wrong.

use std::time::Duration;

use crate::model::event::Word;
use crate::model::failure::Denial;
use crate::model::failure::Failure;
use crate::model::failure::Refusal;
use crate::model::failure::Why;
use crate::model::moment::Moment;
use crate::model::policy::Policy;
use crate::model::secret::Version;

impl Policy {
    /// What the vault's word comes down to. `held` if there is a value that may be served.
    pub(super) fn weigh<V>(&self, word: Word<V>, date: Option<i64>, held: bool) -> Word<V> {
        let out_of_time = |version: &Version| self.out_of_time(date, version);
        match word {
            Word::New(version, value) => match out_of_time(&version) {
                Some(refusal) => Word::No(refusal.into()),
                None => Word::New(version, value),
            },
            Word::Same(version) => match out_of_time(&version) {
                Some(refusal) => Word::No(refusal.into()),
                None => Word::Same(version),
            },
            Word::No(why) if held => Word::No(self.weigh_no(why)),
            Word::No(why) => Word::No(why),
        }
    }

    /// What a no comes down to, where something is held that it would take away.
    pub(super) fn weigh_no(&self, why: Why) -> Why {
        match why {
            Why::Refused(Refusal::Denied(Denial::Firewall | Denial::Connection))
                if self.firewall_is_outage =>
            {
                Failure::Firewall.into()
            }
            Why::Refused(_) | Why::Failed(_) => why,
        }
    }

    /// When a version's own time is over, if that is to be minded.
    pub(super) fn ends(&self, now: Moment, date: Option<i64>, version: &Version) -> Option<Moment> {
        let left = version.expires?.saturating_sub(date.filter(|_| self.enforce_dates)?);
        Some(now + Duration::from_secs(u64::try_from(left).unwrap_or(0)))
    }

    fn out_of_time(&self, date: Option<i64>, version: &Version) -> Option<Refusal> {
        let date = date.filter(|_| self.enforce_dates)?;
        if version.expires.is_some_and(|expires| expires <= date) {
            Some(Refusal::Expired)
        } else if version.not_before.is_some_and(|start| start > date) {
            Some(Refusal::NotYet)
        } else {
            None
        }
    }
}
