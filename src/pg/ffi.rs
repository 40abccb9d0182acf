//! PostgreSQL functions that pgrx's bindings leave out, guarded like pgrx guards its own.
//!
//! Headers: `access/rewriteheap.h`, `access/toast_helper.h`, `access/toast_internals.h`,
//! `utils/datum.h`. Each wrapper turns an ERROR (longjmp) into an unwinding panic, so that Rust
//! frames above it are cleaned up; nothing with a destructor lives inside the guarded closure.

use std::ffi::{c_char, c_int, c_void};

use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary as guard;

/// `ToastAttrInfo` of `access/toast_helper.h` (the same from 15 to 18).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ToastAttrInfo {
    /// The external value this attribute came as, kept to reuse its value id in a rewrite.
    pub oldexternal: *mut pg_sys::varlena,
    /// Bytes of the value as it stands.
    pub size: i32,
    /// `TOASTCOL_*` bits.
    pub colflags: u8,
    /// The column's compression method.
    pub compression: c_char,
}

/// `ToastTupleContext` of `access/toast_helper.h`.
#[repr(C)]
pub struct ToastTupleContext {
    /// The table that owns the row (its real descriptor decides storage and compression).
    pub rel: pg_sys::Relation,
    /// Values of the new row.
    pub values: *mut pg_sys::Datum,
    /// Null flags of the new row.
    pub isnull: *mut bool,
    /// Values of the old row, or null on insert.
    pub oldvalues: *mut pg_sys::Datum,
    /// Null flags of the old row, or null on insert.
    pub oldisnull: *mut bool,
    /// `TOAST_*` bits.
    pub flags: u8,
    /// One entry a column.
    pub attr: *mut ToastAttrInfo,
}

/// The row owns palloc'd values.
pub const TOAST_NEEDS_FREE: u8 = 0x02;
/// The row has a NULL.
pub const TOAST_HAS_NULLS: u8 = 0x04;
/// Some value was replaced.
pub const TOAST_NEEDS_CHANGE: u8 = 0x08;
/// Column: not to be looked at again.
pub const TOASTCOL_IGNORE: u8 = 0x10;
/// Column: compression did not help.
pub const TOASTCOL_INCOMPRESSIBLE: u8 = 0x20;

mod raw {
    use super::*;
    unsafe extern "C-unwind" {
        pub fn begin_heap_rewrite(
            old: pg_sys::Relation,
            new: pg_sys::Relation,
            oldest_xmin: pg_sys::TransactionId,
            freeze_xid: pg_sys::TransactionId,
            cutoff_multi: pg_sys::MultiXactId,
        ) -> *mut c_void;
        pub fn end_heap_rewrite(state: *mut c_void);
        pub fn rewrite_heap_tuple(
            state: *mut c_void,
            old: pg_sys::HeapTuple,
            new: pg_sys::HeapTuple,
        );
        pub fn rewrite_heap_dead_tuple(state: *mut c_void, old: pg_sys::HeapTuple) -> bool;
        pub fn toast_tuple_init(ttc: *mut ToastTupleContext);
        pub fn toast_tuple_find_biggest_attribute(
            ttc: *mut ToastTupleContext,
            for_compression: bool,
            check_main: bool,
        ) -> c_int;
        pub fn toast_tuple_try_compression(ttc: *mut ToastTupleContext, attribute: c_int);
        pub fn toast_delete_external(
            rel: pg_sys::Relation,
            values: *mut pg_sys::Datum,
            isnull: *mut bool,
            is_speculative: bool,
        );
        pub fn toast_delete_datum(
            rel: pg_sys::Relation,
            value: pg_sys::Datum,
            is_speculative: bool,
        );
        pub fn toast_open_indexes(
            toastrel: pg_sys::Relation,
            lock: pg_sys::LOCKMODE,
            toastidxs: *mut *mut pg_sys::Relation,
            num_indexes: *mut c_int,
        ) -> c_int;
        pub fn toast_close_indexes(
            toastidxs: *mut pg_sys::Relation,
            num_indexes: c_int,
            lock: pg_sys::LOCKMODE,
        );
        #[cfg(not(feature = "pg18"))]
        pub fn init_toast_snapshot(toast_snapshot: pg_sys::Snapshot);
        #[cfg(feature = "pg18")]
        pub fn get_toast_snapshot() -> pg_sys::Snapshot;
        pub fn datumIsEqual(
            value1: pg_sys::Datum,
            value2: pg_sys::Datum,
            by_val: bool,
            len: c_int,
        ) -> bool;
    }
}

macro_rules! guarded {
    ($($(#[$m:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)?;)*) => {$(
        $(#[$m])*
        ///
        /// # Safety
        /// The arguments are what the C function of this name demands; an ERROR unwinds.
        #[allow(non_snake_case)]
        pub unsafe fn $name($($arg: $ty),*) $(-> $ret)? {
            // SAFETY: the caller vouches for the arguments; the closure holds plain values only.
            unsafe { guard(|| raw::$name($($arg),*)) }
        }
    )*};
}

guarded! {
    /// Starts copying a table into new storage (`access/heap/rewriteheap.c`).
    fn begin_heap_rewrite(
        old: pg_sys::Relation,
        new: pg_sys::Relation,
        oldest_xmin: pg_sys::TransactionId,
        freeze_xid: pg_sys::TransactionId,
        cutoff_multi: pg_sys::MultiXactId,
    ) -> *mut c_void;
    /// Writes what is left and syncs the new storage.
    fn end_heap_rewrite(state: *mut c_void);
    /// Adds one row, keeping its update chain.
    fn rewrite_heap_tuple(
        state: *mut c_void, old: pg_sys::HeapTuple, new: pg_sys::HeapTuple,
    );
    /// Tells the rewrite that a row is dead; true if an earlier version turned out dead too.
    fn rewrite_heap_dead_tuple(state: *mut c_void, old: pg_sys::HeapTuple) -> bool;
    /// Looks at every column of a row that may need TOAST.
    fn toast_tuple_init(ttc: *mut ToastTupleContext);
    /// The widest column that may still shrink, or -1.
    fn toast_tuple_find_biggest_attribute(
        ttc: *mut ToastTupleContext, for_compression: bool, check_main: bool,
    ) -> c_int;
    /// Compresses one column in place.
    fn toast_tuple_try_compression(ttc: *mut ToastTupleContext, attribute: c_int);
    /// Deletes the chunks of every external value of a row.
    fn toast_delete_external(
        rel: pg_sys::Relation,
        values: *mut pg_sys::Datum,
        isnull: *mut bool,
        is_speculative: bool,
    );
    /// Deletes the chunks of one external value.
    fn toast_delete_datum(
        rel: pg_sys::Relation, value: pg_sys::Datum, is_speculative: bool,
    );
    /// Opens a TOAST table's indexes; returns which one is valid.
    fn toast_open_indexes(
        toastrel: pg_sys::Relation,
        lock: pg_sys::LOCKMODE,
        toastidxs: *mut *mut pg_sys::Relation,
        num_indexes: *mut c_int,
    ) -> c_int;
    /// Closes what `toast_open_indexes` opened.
    fn toast_close_indexes(
        toastidxs: *mut pg_sys::Relation, num_indexes: c_int, lock: pg_sys::LOCKMODE,
    );
    /// Bitwise comparison of two values of one type.
    fn datumIsEqual(
        value1: pg_sys::Datum, value2: pg_sys::Datum, by_val: bool, len: c_int,
    ) -> bool;
}

/// The snapshot TOAST chunks are read with; `storage` holds it on the versions that want it held.
///
/// # Safety
/// `storage` outlives the scan.
#[cfg(not(feature = "pg18"))]
pub unsafe fn toast_snapshot(storage: *mut pg_sys::SnapshotData) -> pg_sys::Snapshot {
    // SAFETY: init_toast_snapshot() only fills `storage`, and raises if no snapshot is active.
    unsafe { guard(|| raw::init_toast_snapshot(storage)) };
    storage
}

/// The snapshot TOAST chunks are read with.
///
/// # Safety
/// A transaction with an active snapshot is open.
#[cfg(feature = "pg18")]
pub unsafe fn toast_snapshot(_storage: *mut pg_sys::SnapshotData) -> pg_sys::Snapshot {
    // SAFETY: returns a static snapshot, and raises if no snapshot is active.
    unsafe { guard(|| raw::get_toast_snapshot()) }
}
