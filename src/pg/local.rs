//! Variables of a backend.
//!
//! A backend is one thread, but for what `exit` does: the C library drops the variables of the thread before it calls
//! what is registered with `atexit`, and that is where PostgreSQL ends the transaction of a process that something told
//! to exit (`atexit_callback` of `storage/ipc/ipc.c`; `vacuum_delay_point` does when the postmaster is gone). What that
//! end calls in us must find its variables: these are never dropped.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::thread::LocalKey;

/// A variable of this backend, made by [`backend_local!`]. Has the methods of `LocalKey`.
pub struct Local<T: 'static>(LocalKey<ManuallyDrop<T>>);

impl<T> Local<T> {
    /// For the macro.
    pub const fn new(key: LocalKey<ManuallyDrop<T>>) -> Self {
        Self(key)
    }

    /// Calls `body` with it.
    #[inline]
    pub fn with<R>(&'static self, body: impl FnOnce(&T) -> R) -> R {
        self.0.with(|value| body(value))
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
    ($(#[$meta:meta])* $vis:vis static $name:ident: $type:ty = const $value:block; $($rest:tt)*) => {
        $crate::pg::local::backend_local!(@one $(#[$meta])* $vis $name $type, const { ::std::mem::ManuallyDrop::new($value) });
        $crate::pg::local::backend_local!($($rest)*);
    };
    ($(#[$meta:meta])* $vis:vis static $name:ident: $type:ty = $value:expr; $($rest:tt)*) => {
        $crate::pg::local::backend_local!(@one $(#[$meta])* $vis $name $type, ::std::mem::ManuallyDrop::new($value));
        $crate::pg::local::backend_local!($($rest)*);
    };
    (@one $(#[$meta:meta])* $vis:vis $name:ident $type:ty, $($value:tt)*) => {
        $(#[$meta])*
        $vis static $name: $crate::pg::local::Local<$type> = {
            ::std::thread_local! {
                static KEY: ::std::mem::ManuallyDrop<$type> = $($value)*;
            }
            $crate::pg::local::Local::new(KEY)
        };
    };
}
pub(crate) use backend_local;
