//! A file in memory: as it is, or as a copy to be changed.

use std::fs::File;
use std::ptr;
use std::slice;

use rustix::mm::MapFlags;
use rustix::mm::ProtFlags;
use rustix::mm::mmap;
use rustix::mm::munmap;

/// A mapping of a file.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: usize,
    length: usize,
}

impl Mapping {
    /// Maps so many bytes, shared, to be read; none, if there are none to map.
    pub(crate) fn of(file: &File, length: usize) -> Option<Self> {
        (length > 0).then(|| Self::new(file, length, ProtFlags::READ, MapFlags::SHARED).unwrap())
    }

    /// Maps so many bytes for this mapping alone, to be read and changed.
    pub(crate) fn private(file: &File, length: usize) -> rustix::io::Result<Self> {
        Self::new(file, length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
    }

    /// Maps so many bytes so that a change would be the file's.
    pub(crate) fn shared_to_write(file: &File, length: usize) -> rustix::io::Result<Self> {
        Self::new(file, length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED)
    }

    #[expect(unsafe_code, reason = "there is no other way to map a file")]
    fn new(
        file: &File,
        length: usize,
        protection: ProtFlags,
        flags: MapFlags,
    ) -> rustix::io::Result<Self> {
        // SAFETY: the address is the kernel's choice, where nothing else is.
        let start = unsafe { mmap(ptr::null_mut(), length, protection, flags, file, 0)? };
        Ok(Self { start: start.expose_provenance(), length })
    }

    /// Changes a byte of a private mapping.
    #[expect(unsafe_code, reason = "the memory is the kernel's")]
    pub(crate) fn change(&mut self, at: usize, byte: u8) {
        assert!(at < self.length);
        let start: *mut u8 = ptr::with_exposed_provenance_mut(self.start);
        // SAFETY: it is within what is mapped, and nobody else has borrowed it.
        unsafe { start.add(at).write_volatile(byte) };
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
