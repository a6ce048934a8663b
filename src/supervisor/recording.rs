//! Whether opens are recorded, and what becomes of a mount that cannot have them recorded.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::alarm::Alarms;
use crate::audit::clerk;
use crate::audit::sink::Destination;
use crate::supervisor::mount::Failed;
use crate::supervisor::mount::MOUNT_FAILED;
use crate::supervisor::mountinfo::Table;
use crate::supervisor::place;
use crate::supervisor::supervise::Orders;

/// Has opens recorded, if they are to be. What cannot be recorded is not mounted.
pub(crate) fn begin(
    orders: &Orders,
    alarms: &Arc<Mutex<Alarms>>,
) -> Result<Option<OwnedFd>, Failed> {
    let Some(records) = &orders.audit else { return Ok(None) };
    record(records, &orders.plan.directory, alarms).map(Some).map_err(|error| {
        let failed = Failed::new(MOUNT_FAILED, format!("audit={records}: {error}"));
        let hint = "audit= takes a file that can be written, or journal";
        Failed { hint: Some(hint.to_owned()), ..failed }
    })
}

/// A file on the mount itself would be written by whoever waits for it.
fn record(
    records: &Destination,
    directory: &Path,
    alarms: &Arc<Mutex<Alarms>>,
) -> io::Result<OwnedFd> {
    let table = Table::read()?;
    // As it is in the table of mounts, however it was typed.
    let directory = place::resolve(directory, &table)?;
    if let Destination::File(path) = records
        && let Some(folder) = path.parent()
        && place::resolve(folder, &table)?.starts_with(&directory)
    {
        return Err(io::Error::other("it is below the directory that is mounted on"));
    }
    clerk::begin(records, &directory, Arc::clone(alarms))
}
