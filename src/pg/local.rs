//! Variables of a backend.
//!
//! A backend is one thread: so they are plain statics. Thread-local variables, which Rust has for what is not
//! `Sync`, cost a call (`__tls_get_addr`) at each use in a library that is loaded late, and are dropped too early: the C
//! library does that before it calls what is registered with `atexit`, and that is where PostgreSQL ends the transaction
//! of a process that something told to exit (`atexit_callback` of `storage/ipc/ipc.c`; `vacuum_delay_point` does when the
//! postmaster is gone). What that end calls in us must find its variables.

use std::cell::{Cell, LazyCell, RefCell};

/// A variable of this backend, made by [`backend_local!`]. Has the methods of `LocalKey`.
pub struct Local<T: 'static>(LazyCell<T>);

// SAFETY: PostgreSQL runs no code of ours in another thread than the one of the process (nor does pgrx let it), and we
// start none. A process that is forked has its own copy.
unsafe impl<T> Sync for Local<T> {}

impl<T> Local<T> {
    /// For the macro.
    pub const fn new(make: fn() -> T) -> Self {
        Self(LazyCell::new(make))
    }

    /// Calls `body` with it.
    #[inline]
    pub fn with<R>(&'static self, body: impl FnOnce(&T) -> R) -> R {
        body(&self.0)
    }
}

impl<T> Local<Cell<T>> {
    /// A copy of its value.
    #[inline]
    pub fn get(&'static self) -> T
    where
        T: Copy,
    {
        self.with(Cell::get)
    }

    /// Replaces its value.
    #[inline]
    pub fn set(&'static self, value: T) {
        self.with(|cell| cell.set(value));
    }

    /// Replaces its value and returns what it was.
    #[inline]
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T> Local<RefCell<T>> {
    /// Calls `body` with its value.
    #[inline]
    pub fn with_borrow<R>(&'static self, body: impl FnOnce(&T) -> R) -> R {
        self.with(|cell| body(&cell.borrow()))
    }

    /// Calls `body` with its value, to change it.
    #[inline]
    pub fn with_borrow_mut<R>(&'static self, body: impl FnOnce(&mut T) -> R) -> R {
        self.with(|cell| body(&mut cell.borrow_mut()))
    }

    /// Replaces its value and returns what it was.
    #[inline]
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }

    /// Replaces its value.
    #[inline]
    pub fn set(&'static self, value: T) {
        self.with(|cell| drop(cell.replace(value)));
    }

    /// Returns its value and leaves the default one.
    #[inline]
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(RefCell::take)
    }
}

/// Declares variables as `thread_local!` does.
macro_rules! backend_local {
    () => {};
    ($(#[$meta:meta])* $vis:vis static $name:ident: $type:ty = $value:expr; $($rest:tt)*) => {
        $(#[$meta])*
        $vis static $name: $crate::pg::local::Local<$type> = $crate::pg::local::Local::new(|| $value);
        $crate::pg::local::backend_local!($($rest)*);
    };
}
pub(crate) use backend_local;
