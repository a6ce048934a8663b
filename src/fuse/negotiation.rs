//! What is agreed on with the kernel before anything else (FUSE_INIT).

use std::io;

use fuser::InitFlags;
use fuser::KernelConfig;

/// Agrees on what a mount needs, or says that this kernel is too old.
pub(super) fn negotiate(kernel: &mut KernelConfig) -> io::Result<()> {
    // Without it a look-up that waits in the kernel for another one would hold the directory.
    if kernel.add_capabilities(InitFlags::FUSE_PARALLEL_DIROPS).is_err() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    for flag in [
        // The kernel does as it is told by ENOSYS whether it announces these or not.
        InitFlags::FUSE_NO_OPEN_SUPPORT,
        InitFlags::FUSE_NO_OPENDIR_SUPPORT,
        // It gives no handles that somebody could come back with when numbers mean other files.
        InitFlags::FUSE_NO_EXPORT_SUPPORT,
    ] {
        let _announced = kernel.add_capabilities(flag);
    }
    // Nothing is ever written, and a reply must fit into one packet.
    let _before = kernel.set_max_write(SMALLEST_WRITE);
    if let Err(most) = kernel.set_max_readahead(LARGEST_READ) {
        let _before = kernel.set_max_readahead(most);
    }
    let _before = kernel.set_max_background(READS_AT_ONCE);
    Ok(())
}

/// The kernel's own minimum.
const SMALLEST_WRITE: u32 = 4096;

/// The largest value fits into it, and with it into one packet of the socket to the relay.
const LARGEST_READ: u32 = 128 * 1024;

/// Read-ahead of so many files at once.
const READS_AT_ONCE: u16 = 64;
