//! A file in memory.

use std::fs::File;
use std::ptr;
use std::slice;

use rustix::mm::MapFlags;
use rustix::mm::ProtFlags;
use rustix::mm::mmap;
use rustix::mm::munmap;

/// A shared mapping of a file, to be read.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: usize,
    length: usize,
}

impl Mapping {
    /// Maps so many bytes; none, if there are none to map.
    #[expect(unsafe_code, reason = "there is no other way to map a file")]
    pub(crate) fn of(file: &File, length: usize) -> Option<Self> {
        if length == 0 {
            return None;
        }
        // SAFETY: the address is the kernel's choice, where nothing else is.
        let start = unsafe {
            mmap(ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, file, 0).unwrap()
        };
        Some(Self { start: start.expose_provenance(), length })
    }

    #[expect(unsafe_code, reason = "the memory is the kernel's")]
    pub(crate) fn bytes(&self) -> &[u8] {
        let start = ptr::with_exposed_provenance(self.start);
        // SAFETY: it is mapped until self is dropped, and nobody can write to the file.
        unsafe { slice::from_raw_parts(start, self.length) }
    }
}

impl Drop for Mapping {
    #[expect(unsafe_code, reason = "the memory is the kernel's")]
    fn drop(&mut self) {
        let start = ptr::with_exposed_provenance_mut(self.start);
        // SAFETY: it is ours, and nobody can have borrowed it any more.
        let _ = unsafe { munmap(start, self.length) };
    }
}
