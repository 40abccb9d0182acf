//! Shared memory: values that every process of the server sees, each under its own lock.
//!
//! The values live in PostgreSQL's shared memory, which is made anew after a crash of a backend.

use pgrx::{PGRXSharedMemory, PgLwLock, PgSharedMemoryInitialization};

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
    /// Names a value; it is there once `pg_shmem_init!` has named it in the postmaster.
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

impl<T: Copy + Default> PgSharedMemoryInitialization for Locked<T> {
    type Value = Shared<T>;

    unsafe fn on_shmem_request(&'static self) {
        // SAFETY: the caller is PostgreSQL's shmem_request_hook, as the inner one asks.
        unsafe { self.0.on_shmem_request() };
    }

    unsafe fn on_shmem_startup(&'static self, value: Shared<T>) {
        // SAFETY: the caller is PostgreSQL's shmem_startup_hook, as the inner one asks.
        unsafe { self.0.on_shmem_startup(value) };
    }
}
