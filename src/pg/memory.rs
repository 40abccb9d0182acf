//! Memory for secrets: one mapping that the postmaster makes and every process inherits.

use std::sync::atomic::AtomicU64;

/// What protects the mapping, best first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protection {
    /// `memfd_secret(2)`: outside the kernel's own map, never swapped, never dumped.
    MemfdSecret,
    /// Locked against swapping and kept out of core dumps; root can read it through /proc.
    Locked,
    /// Kept out of core dumps only: the kernel refused to lock it (see `ulimit -l`).
    Unlocked,
}

impl Protection {
    /// The name that `sealed.status` shows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MemfdSecret => "memfd_secret",
            Self::Locked => "mlock",
            Self::Unlocked => "unlocked",
        }
    }
}

/// A zero-filled mapping shared by all processes forked after it was made; never unmapped.
///
/// Words are atomics, so that a reader racing with a writer sees odd values but breaks no rule of
/// the language. The memory must not be handed to system calls: copy out of it first.
#[derive(Clone, Copy)]
pub struct SecretMemory {
    /// The memory itself.
    pub words: &'static [AtomicU64],
    /// What protects it.
    pub protection: Protection,
}

impl SecretMemory {
    /// Makes the mapping, of `most` words or, where the limit on locked memory (64 kB in many
    /// containers) does not allow that, of fewer, down to `least`: less room for keys only means
    /// more unwrapping. Must be called in the postmaster, before it forks.
    pub fn make(most: usize, least: usize) -> std::io::Result<Self> {
        let mut words = most;
        loop {
            let bytes = words * size_of::<AtomicU64>();
            if let Ok(base) = map_secret(bytes) {
                return Ok(Self::new(base, words, Protection::MemfdSecret));
            }
            if let Ok(base) = map_locked(bytes) {
                return Ok(Self::new(base, words, Protection::Locked));
            }
            if words <= least {
                break;
            }
            words = (words / 2).max(least);
        }
        let base = map_undumped(most * size_of::<AtomicU64>())?;
        Ok(Self::new(base, most, Protection::Unlocked))
    }

    fn new(base: *mut libc::c_void, words: usize, protection: Protection) -> Self {
        // SAFETY: `base` is a fresh page-aligned mapping of that size that is never unmapped;
        // zero bytes are valid atomics; nobody else has a reference that is not atomic.
        let words = unsafe { std::slice::from_raw_parts(base.cast::<AtomicU64>(), words) };
        // Pages are made on first touch, and a process that gets none is killed: better now.
        for page in words.chunks(4096 / size_of::<AtomicU64>()) {
            page[0].store(0, std::sync::atomic::Ordering::Relaxed);
        }
        Self { words, protection }
    }
}

fn map_secret(bytes: usize) -> std::io::Result<*mut libc::c_void> {
    let length = libc::off_t::try_from(bytes).map_err(std::io::Error::other)?;
    // SAFETY: a system call without pointers.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: `fd` is ours and open.
    let sized = unsafe { libc::ftruncate(fd, length) } == 0;
    let base = if sized { map(bytes, libc::MAP_SHARED, fd) } else { Err(last_error()) };
    // SAFETY: `fd` is ours; the mapping keeps the memory alive without it.
    unsafe { libc::close(fd) };
    base
}

fn map_locked(bytes: usize) -> std::io::Result<*mut libc::c_void> {
    let base = map_undumped(bytes)?;
    // SAFETY: exactly the mapping just made. The postmaster holds the lock, which keeps the shared
    // pages resident for its children too.
    if unsafe { libc::mlock(base, bytes) } == 0 {
        return Ok(base);
    }
    let refused = last_error();
    // SAFETY: exactly the mapping just made, which nobody else has seen.
    unsafe { libc::munmap(base, bytes) };
    Err(refused)
}

fn map_undumped(bytes: usize) -> std::io::Result<*mut libc::c_void> {
    let base = map(bytes, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1)?;
    // SAFETY: exactly the mapping just made; the advice changes nothing that Rust can see.
    if unsafe { libc::madvise(base, bytes, libc::MADV_DONTDUMP) } == 0 {
        Ok(base)
    } else {
        Err(last_error())
    }
}

fn map(bytes: usize, flags: i32, fd: i32) -> std::io::Result<*mut libc::c_void> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: asks for fresh memory at an address of the kernel's choice; touches nothing of ours.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, fd, 0) };
    if base == libc::MAP_FAILED { Err(last_error()) } else { Ok(base) }
}

fn last_error() -> std::io::Error {
    std::io::Error::last_os_error()
}
