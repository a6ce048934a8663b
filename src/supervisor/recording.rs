//! Whether opens are recorded, and what becomes of a mount that cannot have them recorded.

use std::os::fd::OwnedFd;

use crate::audit::clerk;
use crate::supervisor::mount::Failed;
use crate::supervisor::mount::MOUNT_FAILED;
use crate::supervisor::supervise::Orders;

/// Has opens recorded, if they are to be. What cannot be recorded is not mounted.
pub(crate) fn begin(orders: &Orders) -> Result<Option<OwnedFd>, Failed> {
    let Some(records) = &orders.audit else { return Ok(None) };
    clerk::begin(records, &orders.plan.directory).map(Some).map_err(|error| {
        let failed = Failed::new(MOUNT_FAILED, format!("audit={records}: {error}"));
        Failed {
            hint: Some("audit= takes a file that can be written, or journal".to_owned()),
            ..failed
        }
    })
}
