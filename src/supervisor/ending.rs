//! How a mount ends, and what to tell whoever waited for it.

use crate::supervisor::mount::Failed;
use crate::supervisor::mount::MOUNT_FAILED;

/// How a mount ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ending {
    /// Somebody unmounted it.
    Unmounted,
    /// It was told to leave, and has served the open files for as long as that may take.
    Left,
    /// Nobody waits for it any more.
    GivenUp,
    /// The worker cannot serve.
    Failed(Failed),
}

impl Ending {
    /// What to tell of an end before the mount on that directory was ready. Nothing, if it was told
    /// to leave, and did.
    #[must_use]
    pub fn before_ready(self, is_told: bool, directory: &str) -> Option<Failed> {
        match self {
            Self::Failed(failed) => Some(failed),
            Self::Unmounted | Self::Left if is_told => None,
            Self::Unmounted => {
                let message = format!("{directory}: unmounted before it was ready");
                Some(Failed::new(MOUNT_FAILED, message))
            }
            Self::Left | Self::GivenUp => {
                Some(Failed::new(MOUNT_FAILED, "interrupted before the mount was ready"))
            }
        }
    }
}
