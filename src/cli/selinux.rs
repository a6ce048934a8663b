//! Whether SELinux is on. Where it is not, the kernel knows none of its options and refuses the mount.

use std::fs;

/// Whether the kernel takes labels.
#[must_use]
pub fn is_on() -> bool {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    known.lines().any(|line| line.split_whitespace().last() == Some("selinuxfs"))
}
