//! The only file with `unsafe`: safe types around calls that the compiler cannot check.

#![expect(unsafe_code, reason = "the one file where it is allowed")]

use std::alloc::GlobalAlloc;
use std::alloc::Layout;
use std::alloc::System;
use std::ffi::c_void;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::atomic::compiler_fence;

use rustix::fs::SealFlags;
use rustix::fs::fcntl_get_seals;
use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::io::fcntl_dupfd_cloexec;
use rustix::mm::Advice;
use rustix::mm::MapFlags;
use rustix::mm::ProtFlags;
use rustix::mm::madvise;
use rustix::mm::mlock;
use rustix::mm::mmap;
use rustix::mm::munmap;
use rustix::process::Signal;

// Memory that several processes see.

/// A memfd mapped for reading and writing as 64-bit words, each of which is stored whole.
pub struct SharedWords {
    base: NonNull<AtomicU64>,
    count: usize,
}

impl SharedWords {
    /// Maps the first `count` words of a memfd, which must be that long and sealed against
    /// shrinking: a load beyond its end would be SIGBUS.
    pub fn map(memfd: impl AsFd, count: usize) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let bytes = count.saturating_mul(size_of::<u64>());
        // SAFETY: a null address lets the kernel choose one, so that no memory in use is replaced.
        let base = unsafe { mmap(ptr::null_mut(), bytes, access, MapFlags::SHARED, memfd, 0) }?;
        let base = NonNull::new(base.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { base, count })
    }

    /// The words.
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping holds `count` words, is aligned to a page, filled by the kernel, and
        // lives as long as `self`. Atomics may change under a shared reference.
        unsafe { slice::from_raw_parts(self.base.as_ptr(), self.count) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        let bytes = self.count.saturating_mul(size_of::<u64>());
        // SAFETY: exactly the range that `map` got; no reference into it outlives `self`.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), bytes) };
    }
}

impl fmt::Debug for SharedWords {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "[{} words]", self.count)
    }
}

/// A memfd mapped for one purpose: to lock its pages in memory. Nobody can read through it.
pub struct Pinned {
    base: NonNull<u8>,
    room: usize,
    locked: usize,
}

impl Pinned {
    /// Maps the first `room` bytes of a memfd.
    pub fn map(memfd: impl AsFd, room: usize) -> io::Result<Self> {
        let access = ProtFlags::READ;
        // Read through a private mapping, the pages are those of the memfd all the same; and one
        // that is sealed against writing can be mapped in no other way before Linux 6.7.
        // SAFETY: a null address lets the kernel choose one, so that no memory in use is replaced.
        let base = unsafe { mmap(ptr::null_mut(), room, access, MapFlags::PRIVATE, memfd, 0) }?;
        let base = NonNull::new(base.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { base, room, locked: 0 })
    }

    /// Locks the first so many bytes, and whatever was locked before.
    pub fn lock(&mut self, bytes: usize) -> io::Result<()> {
        let bytes = bytes.min(self.room);
        if bytes <= self.locked {
            return Ok(());
        }
        // SAFETY: the range lies within the mapping, and locking changes no byte of it.
        unsafe { mlock(self.base.as_ptr().cast(), bytes) }?;
        self.locked = bytes;
        Ok(())
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `map` got; no reference into it was ever handed out.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.room) };
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "[{} of {} bytes locked]", self.locked, self.room)
    }
}

/// Reads from a descriptor straight into shared memory, so that whoever maps it sees what was read
/// even if this process is killed at the next instruction.
pub fn read_into(from: impl AsFd, words: &[AtomicU64]) -> io::Result<usize> {
    let from = from.as_fd().as_raw_fd();
    let room = size_of_val(words);
    // SAFETY: the words lie in the range given, and atomics may be written through a shared
    // reference.
    let read = unsafe { libc::read(from, words.as_ptr().cast_mut().cast(), room) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}

/// Keeps a buffer out of swap for as long as the process lives.
pub fn keep_in_memory(buffer: &mut [u8]) -> io::Result<()> {
    let (base, bytes) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: the range is the buffer's own, and locking changes no byte of it.
    Ok(unsafe { mlock(base.cast(), bytes) }?)
}

// Descriptors and processes.

/// Takes the descriptor that whoever started this process left at a fixed number, and frees the
/// number. To be called once for each, before anything else opens a file.
pub fn take_descriptor(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the number is only asked about, and the answer for one that is not open is EBADF.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let taken = fcntl_dupfd_cloexec(borrowed, 3)?;
    // SAFETY: it is open, and no part of this program opened it: it came with the process.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
    Ok(taken)
}

/// Has a command run a function in the child, between fork and exec.
///
/// The function may make system calls and nothing else: no allocation, no lock. Another thread
/// may have held one at the moment of the fork, and no thread is there to let it go.
pub fn between_fork_and_exec<F>(command: &mut Command, function: F)
where
    F: FnMut() -> io::Result<()> + Send + Sync + 'static,
{
    // SAFETY: the callers, all of them in `supervisor::process`, keep to the rule above.
    unsafe { command.pre_exec(function) };
}

/// Puts a descriptor at a number, in the place of whatever was there, to outlive exec.
pub fn place_descriptor(from: RawFd, number: RawFd) -> io::Result<()> {
    // SAFETY: dup2 takes any two numbers; nothing in this process owns the second one, since it is
    // the child between fork and exec.
    match unsafe { libc::dup2(from, number) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Has every descriptor that is open now, from a number on, closed at exec. Kernels before 5.11
/// cannot do that.
pub fn close_at_exec_from(number: u32) -> io::Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: nothing is closed now, and no descriptor of this program is meant to outlive exec
    // but those that are placed later.
    match unsafe { libc::syscall(libc::SYS_close_range, number, u32::MAX, flags) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Ignores a signal from now on, in the programs that this process becomes as well.
pub fn ignore_signal(signal: Signal) {
    // SAFETY: SIG_IGN installs no function.
    unsafe { libc::signal(signal.as_raw(), libc::SIG_IGN) };
}

/// Turns signals into something to be read: they interrupt nobody any more. Threads started later
/// inherit that.
pub fn signal_descriptor(signals: &[Signal]) -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is there to be initialised.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for signal in signals {
        // SAFETY: the set was initialised above, and a `Signal` is a valid number.
        unsafe { libc::sigaddset(set.as_mut_ptr(), signal.as_raw()) };
    }
    // SAFETY: the set was initialised above; a null third argument asks for no old mask.
    let blocked = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut()) };
    if blocked != 0 {
        return Err(io::Error::from_raw_os_error(blocked));
    }
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: -1 asks for a new descriptor; the set was initialised above.
    let number = unsafe { libc::signalfd(-1, set.as_ptr(), flags) };
    if number == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

// Memory that is given back.

/// The system's allocator, that overwrites with zeros what is given back to it: copies of a value
/// are made in places that no type of ours reaches, such as the buffers of a connection.
///
/// A block larger than any value may be left as it is: it would only be touched to be wiped.
#[derive(Debug)]
pub struct Wiping;

/// Larger than a body that holds a value, and than every buffer that it passes through.
const LARGEST_WIPED: usize = 1 << 20;

// SAFETY: every call is the system's own, with the caller's own arguments; before a block is freed,
// while it still belongs to the caller, its bytes are overwritten and nothing else.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps what `GlobalAlloc::alloc` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps what `GlobalAlloc::alloc_zeroed` asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.size() <= LARGEST_WIPED {
            // SAFETY: the block has that many bytes, and they are the caller's until it is freed.
            unsafe { libc::explicit_bzero(block.cast(), layout.size()) }
        }
        // SAFETY: the caller keeps what `GlobalAlloc::dealloc` asks for.
        unsafe { System.dealloc(block, layout) }
    }
}

// Shared memory: a mapped memfd, owned piece by piece.

/// A stretch of a mapped memfd, owned as a `Vec` owns its bytes: no two spans or words overlap, so
/// the compiler's own rules keep what is being read from being written.
///
/// Stores reach the memory in the order in which they were made, whatever instruction the process
/// is killed at; a [`write`](Self::write) or [`wipe`](Self::wipe) may then be half done, a
/// [`Word::store`] never is.
pub struct Span {
    mapping: Arc<Mapping>,
    start: usize,
    len: usize,
}

impl Span {
    /// Maps the whole of a memfd for reading and writing, and keeps it out of core files.
    ///
    /// The memfd must be sealed against shrinking (a load beyond its end would be SIGBUS), and be
    /// mapped once at a time: whoever else maps it while the spans live may only wait or read.
    pub fn map(memfd: impl AsFd) -> io::Result<Self> {
        let memfd = memfd.as_fd();
        if !fcntl_get_seals(memfd)?.contains(SealFlags::SHRINK) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let len = usize::try_from(fstat(memfd)?.st_size)
            .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let (access, shared) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a null address lets the kernel choose one, so that no memory in use is replaced.
        let base = unsafe { mmap(ptr::null_mut(), len, access, shared, memfd, 0) }?;
        let mapping = Mapping {
            base,
            len,
            #[cfg(test)]
            journal: parking_lot::Mutex::default(),
        };
        // SAFETY: the range is the mapping just made; DONTDUMP changes no byte of it.
        unsafe { madvise(base, len, Advice::LinuxDontDump) }?;
        Ok(Self { mapping: Arc::new(mapping), start: 0, len })
    }

    /// Where the stretch begins, counted from the start of the memfd.
    #[must_use]
    pub fn start(&self) -> usize {
        self.start
    }

    /// Where the stretch ends, counted from the start of the memfd.
    #[must_use]
    pub fn end(&self) -> usize {
        self.start + self.len
    }

    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes themselves.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: start + len lies within the mapping: `map` begins with all of it, and only
        // `split_off`, `append` and `Word` make spans from spans. The mapping lives as long as
        // `self.mapping`. Every byte has a value, since the kernel fills new pages with zeros. No
        // other span or word covers these bytes, and `write` and `wipe` need `&mut self`, so nobody
        // writes while the slice lives; other processes do not by the promise asked for by `map`.
        unsafe { slice::from_raw_parts(self.mapping.at(self.start), self.len) }
    }

    /// Cuts the stretch in two at a distance from its start, keeps the first part and returns the
    /// second, which is empty if the stretch is no longer than that.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Self {
        let kept = at.min(self.len);
        let mapping = Arc::clone(&self.mapping);
        let rest = Self { mapping, start: self.start + kept, len: self.len - kept };
        self.len = kept;
        rest
    }

    /// Joins a stretch that begins where this one ends; any other is given back.
    pub fn append(&mut self, next: Self) -> Result<(), Self> {
        if next.start != self.end() || !Arc::ptr_eq(&self.mapping, &next.mapping) {
            return Err(next);
        }
        self.len += next.len;
        Ok(())
    }

    /// Copies bytes to a distance from the start. What would reach beyond the end is cut off.
    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        #[cfg(test)]
        self.mapping.note(self.start + at, bytes);
        let to = self.bytes_mut().get_mut(at..).unwrap_or_default();
        let len = to.len().min(bytes.len());
        if let (Some(to), Some(from)) = (to.get_mut(..len), bytes.get(..len)) {
            to.copy_from_slice(from);
        }
        compiler_fence(Ordering::SeqCst);
    }

    /// Overwrites everything with zeros.
    pub fn wipe(&mut self) {
        #[cfg(test)]
        self.mapping.note(self.start, &vec![0; self.len]);
        self.bytes_mut().fill(0);
        // The memory is known to others than this program, so the fence is enough to keep the
        // compiler from leaving the zeros out as stores that nobody reads.
        compiler_fence(Ordering::SeqCst);
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: in bounds, alive and initialised as in `bytes`; `&mut self` on the only owner of
        // these bytes makes the slice the only way to them.
        unsafe { slice::from_raw_parts_mut(self.mapping.at(self.start), self.len) }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "[{} bytes at {}]", self.len, self.start)
    }
}

/// Eight bytes of a mapped memfd, loaded and stored as one number: after a kill it is the old one
/// or the new one. What was stored before it is in memory before it is.
pub struct Word {
    mapping: Arc<Mapping>,
    start: usize,
}

impl Word {
    /// How many bytes a word has. Its start is a multiple of that.
    pub const LEN: usize = size_of::<u64>();

    /// Takes the first eight bytes of a stretch as a word, and returns the rest of it beside.
    /// A stretch that is too short, or whose start is not aligned, is given back.
    pub fn split(mut span: Span) -> Result<(Self, Span), Span> {
        if span.len < Self::LEN || !span.start.is_multiple_of(Self::LEN) {
            return Err(span);
        }
        let rest = span.split_off(Self::LEN);
        Ok((Self { mapping: span.mapping, start: span.start }, rest))
    }

    /// The number.
    #[must_use]
    pub fn load(&self) -> u64 {
        self.atomic().load(Ordering::Acquire)
    }

    /// Stores a number, after all stores made before it and before all that follow.
    pub fn store(&self, number: u64) {
        #[cfg(test)]
        self.mapping.note(self.start, &number.to_ne_bytes());
        self.atomic().store(number, Ordering::Release);
        // Release keeps what stands before from sinking below. Nothing but the compiler can lift
        // what follows: a processor that is interrupted has done none of it.
        compiler_fence(Ordering::SeqCst);
    }

    /// The eight bytes as a stretch again.
    #[must_use]
    pub fn into_span(self) -> Span {
        Span { mapping: self.mapping, start: self.start, len: Self::LEN }
    }

    fn atomic(&self) -> &AtomicU64 {
        // SAFETY: `split` took eight bytes, in bounds and alive as in `Span::bytes`, from a span
        // that it consumed, so they are reached through this word alone. Their offset is a multiple
        // of eight and the mapping begins on a page, so they are aligned.
        unsafe { AtomicU64::from_ptr(self.mapping.at(self.start).cast()) }
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "[word at {}]", self.start)
    }
}

struct Mapping {
    base: *mut c_void,
    len: usize,
    /// Where and what was stored, in order, while somebody wants to know.
    #[cfg(test)]
    journal: parking_lot::Mutex<Option<Vec<Store>>>,
}

/// One store into mapped memory: where, and which bytes.
#[cfg(test)]
pub(crate) type Store = (usize, Vec<u8>);

#[cfg(test)]
impl Mapping {
    fn note(&self, at: usize, bytes: &[u8]) {
        if let Some(journal) = self.journal.lock().as_mut() {
            journal.push((at, bytes.to_vec()));
        }
    }
}

#[cfg(test)]
impl Word {
    /// Begins a new journal of all stores into this mapping, and returns the one kept so far.
    pub(crate) fn new_journal(&self) -> Vec<Store> {
        self.mapping.journal.lock().replace(Vec::new()).unwrap_or_default()
    }
}

impl Mapping {
    fn at(&self, offset: usize) -> *mut u8 {
        self.base.cast::<u8>().wrapping_add(offset)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is what `mmap` returned, whole; spans and words hold an `Arc` of it and lend
        // their bytes for no longer than they live, so no reference into it is left. It cannot fail
        // for a range that is a mapping of its own.
        let _ = unsafe { munmap(self.base, self.len) };
    }
}

// SAFETY: the pointer is to memory that belongs to no thread. Who may read or write which part of
// it is settled by the spans and words, each of which has one owner.
unsafe impl Send for Mapping {}

// SAFETY: as for Send; a shared `Mapping` alone gives access to no byte.
unsafe impl Sync for Mapping {}
