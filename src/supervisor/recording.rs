//! Whether opens are recorded, and what becomes of a mount that cannot have them recorded.

use std::os::fd::OwnedFd;

use crate::audit::clerk;
use crate::supervisor::mount::Failed;
use crate::supervisor::mount::MOUNT_FAILED;
use crate::supervisor::supervise::Orders;

/// Has opens recorded, if they are to be. What cannot be recorded is not mounted.
pub(crate) fn begin(orders: &Orders) -> Result<Option<OwnedFd>, Failed> {
    let Some(records) = &orders.audit else { return Ok(None) };
    // As it is in the table of mounts, however it was typed.
    let typed = &orders.plan.directory;
    let directory = typed.canonicalize().unwrap_or_else(|_| typed.clone());
    clerk::begin(records, &directory).map(Some).map_err(|error| {
        let failed = Failed::new(MOUNT_FAILED, format!("audit={records}: {error}"));
        Failed {
            hint: Some("audit= takes a file that can be written, or journal".to_owned()),
            ..failed
        }
    })
}
