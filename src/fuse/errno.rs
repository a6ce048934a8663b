//! The error numbers that programs see, chosen in one place.

use fuser::Errno;

use crate::model::failure::Failure;
use crate::model::failure::Refusal;
use crate::model::failure::Why;

/// The error number that says why there is no value.
#[must_use]
pub fn errno(why: Why) -> Errno {
    match why {
        Why::Refused(Refusal::Missing) => Errno::ENOENT,
        Why::Refused(Refusal::Denied(_) | Refusal::NotYet)
        | Why::Failed(Failure::Unauthorized | Failure::Firewall) => Errno::EACCES,
        Why::Refused(Refusal::Expired) => Errno::from_i32(libc::EKEYEXPIRED),
        Why::Refused(Refusal::Disabled) => Errno::from_i32(libc::EKEYREVOKED),
        Why::Failed(Failure::NoIdentity | Failure::NoToken) => Errno::from_i32(libc::ENOKEY),
        Why::Failed(Failure::Throttled | Failure::Unreachable) => Errno::ETIMEDOUT,
        Why::Failed(Failure::Nonsense) => Errno::EIO,
        Why::Failed(Failure::NoRoom) => Errno::ENOMEM,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::failure::Denial;

    #[test]
    fn every_reason_has_the_number_that_the_manual_gives_it() {
        let table = [
            (Why::Refused(Refusal::Missing), libc::ENOENT),
            (Why::Refused(Refusal::Disabled), libc::EKEYREVOKED),
            (Why::Refused(Refusal::Denied(Denial::Policy)), libc::EACCES),
            (Why::Refused(Refusal::Denied(Denial::Firewall)), libc::EACCES),
            (Why::Refused(Refusal::Expired), libc::EKEYEXPIRED),
            (Why::Refused(Refusal::NotYet), libc::EACCES),
            (Why::Failed(Failure::Firewall), libc::EACCES),
            (Why::Failed(Failure::Unauthorized), libc::EACCES),
            (Why::Failed(Failure::NoIdentity), libc::ENOKEY),
            (Why::Failed(Failure::NoToken), libc::ENOKEY),
            (Why::Failed(Failure::Throttled), libc::ETIMEDOUT),
            (Why::Failed(Failure::Unreachable), libc::ETIMEDOUT),
            (Why::Failed(Failure::Nonsense), libc::EIO),
            (Why::Failed(Failure::NoRoom), libc::ENOMEM),
        ];
        for (why, number) in table {
            assert_eq!(errno(why).code(), number, "{why:?}");
        }
    }
}
