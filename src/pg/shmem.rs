//! Shared memory: values that every process of the server sees, each under its own lock.
//!
//! The values live in PostgreSQL's shared memory, which is made anew after a crash of a backend.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use pgrx::pg_sys::ffi::pg_guard_ffi_boundary as guard;
use pgrx::{PGRXSharedMemory, PgLwLock, PgSharedMemoryInitialization, pg_guard, pg_sys};

/// A plain value that may be shared between processes.
///
/// Implemented by `Shared` only, for types that hold no pointers.
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub struct Shared<T: Copy>(pub T);

// SAFETY: `Copy` types own nothing; the types used here (`SaltState`, counters) hold no pointers.
unsafe impl<T: Copy> PGRXSharedMemory for Shared<T> {}

/// A shared value under a lightweight lock.
pub struct Locked<T: Copy>(PgLwLock<Shared<T>>);

impl<T: Copy + Default> Locked<T> {
    /// Names a value; it is there once the server has started, if `ask_for` had it.
    pub const fn new(name: &'static core::ffi::CStr) -> Self {
        // SAFETY: the names are this extension's own and all different.
        Self(unsafe { PgLwLock::new(name) })
    }

    /// Calls `f` with the value, alone. `f` may not raise an error nor call the server.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.exclusive().0)
    }

    /// A copy of the value.
    pub fn read(&self) -> T {
        self.0.share().0
    }

    /// Calls `f` while others may read too. `f` may not raise an error nor call the server.
    pub fn with_shared<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        f(&self.0.share().0)
    }
}

/// What PostgreSQL is asked for while the server starts. Implemented by `Locked` only.
pub trait Part: Sync {
    /// Reserves the room.
    ///
    /// # Safety
    /// Called from `shmem_request_hook`.
    unsafe fn request(&'static self);

    /// Finds or makes the value.
    ///
    /// # Safety
    /// Called from `shmem_startup_hook`.
    unsafe fn start(&'static self);
}

impl<T: Copy + Default> Part for Locked<T> {
    unsafe fn request(&'static self) {
        // SAFETY: the caller is PostgreSQL's shmem_request_hook, as the inner one asks.
        unsafe { self.0.on_shmem_request() };
    }

    unsafe fn start(&'static self) {
        // SAFETY: the caller is PostgreSQL's shmem_startup_hook, as the inner one asks.
        unsafe { self.0.on_shmem_startup(Shared::default()) };
    }
}

static PARTS: Mutex<Vec<&'static dyn Part>> = Mutex::new(Vec::new());
static REQUEST_BEFORE_US: OnceLock<pg_sys::shmem_request_hook_type> = OnceLock::new();
static START_BEFORE_US: OnceLock<pg_sys::shmem_startup_hook_type> = OnceLock::new();

/// Asks for shared memory. Called in the postmaster, while libraries are preloaded.
pub fn ask_for(parts: &[&'static dyn Part]) {
    let first = {
        let mut all = all_parts();
        let first = all.is_empty();
        all.extend(parts);
        first
    };
    if !first {
        return;
    }
    // SAFETY: the hooks are plain pointers that only this thread reads and writes; ours live as
    // long as the library, which is never unloaded.
    unsafe {
        let _ = REQUEST_BEFORE_US.set(pg_sys::shmem_request_hook);
        pg_sys::shmem_request_hook = Some(request);
        let _ = START_BEFORE_US.set(pg_sys::shmem_startup_hook);
        pg_sys::shmem_startup_hook = Some(start);
    }
}

/// The postmaster has one thread, so nobody waits here.
fn all_parts() -> MutexGuard<'static, Vec<&'static dyn Part>> {
    PARTS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[pg_guard]
unsafe extern "C-unwind" fn request() {
    if let Some(previous) = REQUEST_BEFORE_US.get().copied().flatten() {
        // SAFETY: a hook of another library; the guard catches an ERROR.
        unsafe { guard(|| previous()) };
    }
    for part in all_parts().iter() {
        // SAFETY: this is the hook that it asks for.
        unsafe { part.request() };
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn start() {
    if let Some(previous) = START_BEFORE_US.get().copied().flatten() {
        // SAFETY: a hook of another library; the guard catches an ERROR.
        unsafe { guard(|| previous()) };
    }
    for part in all_parts().iter() {
        // SAFETY: this is the hook that it asks for.
        unsafe { part.start() };
    }
}
