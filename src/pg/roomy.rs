//! PostgreSQL functions that the catalog is read and written with, for callers that are out of memory.
//!
//! pgrx's guard copies an ERROR in the memory context of its caller. If that has no room either the copy raises an
//! ERROR that is guarded too, and so on until core's error stack is full: a PANIC (`ERRORDATA_STACK_SIZE exceeded`,
//! utils/error/elog.c), and all sessions end. Here the copy is made in a context that has its memory beforehand, as
//! core's own `ErrorContext` has.

use std::ffi::{c_char, c_int};
use std::sync::atomic::{AtomicPtr, Ordering};

use pgrx::pg_sys::{self, Oid};

/// Bytes that are there from the start: an ERROR of core is a few hundred.
const ROOM: usize = 8 * 1024;

static CONTEXT: AtomicPtr<pg_sys::MemoryContextData> = AtomicPtr::new(std::ptr::null_mut());

/// Makes the context. Called once, by `_PG_init`; a backend has its own by fork.
pub fn init() {
    // SAFETY: a child of the context that is never deleted.
    let context = unsafe {
        pg_sys::AllocSetContextCreateInternal(
            pg_sys::TopMemoryContext,
            c"pg_sealed errors".as_ptr(),
            ROOM,
            ROOM,
            ROOM,
        )
    };
    CONTEXT.store(context, Ordering::Relaxed);
}

/// Puts a memory context back, also while an ERROR unwinds.
struct Back(pg_sys::MemoryContext);

impl Drop for Back {
    fn drop(&mut self) {
        // SAFETY: the context was the current one when the call began, and lives longer than it.
        unsafe { pg_sys::CurrentMemoryContext = self.0 };
    }
}

/// Calls a function of the server's under pgrx's guard, which copies an ERROR in our context.
///
/// # Safety
/// `f` owns nothing that is to be dropped, does not panic, and calls nothing that pgrx guards itself.
unsafe fn roomy<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: a backend is one thread. The guard takes the context that is current when it is entered for its
    // caller's; `f` runs in the one of our caller.
    unsafe {
        let callers = Back(pg_sys::CurrentMemoryContext);
        let context = CONTEXT.load(Ordering::Relaxed);
        if !context.is_null() {
            pg_sys::CurrentMemoryContext = context;
        }
        let memory = callers.0;
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            pg_sys::CurrentMemoryContext = memory;
            f()
        })
    }
}

macro_rules! roomy {
    ($(fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        #[allow(non_snake_case)]
        mod raw {
            use super::*;
            unsafe extern "C-unwind" {
                $(pub fn $name($($arg: $type),*) $(-> $result)?;)*
            }
        }
        $(
            /// The function of the server's of this name.
            ///
            /// # Safety
            /// As in C.
            #[allow(non_snake_case)]
            pub unsafe fn $name($($arg: $type),*) $(-> $result)? {
                // SAFETY: the arguments are plain values; as for the rest the caller promises it.
                unsafe { roomy(|| raw::$name($($arg),*)) }
            }
        )*
    };
}

roomy! {
    fn getExtensionOfObject(class: Oid, object: Oid) -> Oid;
    fn get_extension_oid(name: *const c_char, missing_ok: bool) -> Oid;
    fn get_namespace_oid(name: *const c_char, missing_ok: bool) -> Oid;
    fn get_relname_relid(name: *const c_char, namespace: Oid) -> Oid;
    fn get_atttype(relation: Oid, attribute: pg_sys::AttrNumber) -> Oid;
    fn table_open(relation: Oid, lock: pg_sys::LOCKMODE) -> pg_sys::Relation;
    fn table_close(relation: pg_sys::Relation, lock: pg_sys::LOCKMODE);
    fn index_open(relation: Oid, lock: pg_sys::LOCKMODE) -> pg_sys::Relation;
    fn index_close(relation: pg_sys::Relation, lock: pg_sys::LOCKMODE);
    fn systable_beginscan(relation: pg_sys::Relation, index: Oid, index_ok: bool, snapshot: pg_sys::Snapshot, keys: c_int, key: pg_sys::ScanKey) -> pg_sys::SysScanDesc;
    fn systable_getnext(scan: pg_sys::SysScanDesc) -> pg_sys::HeapTuple;
    fn systable_endscan(scan: pg_sys::SysScanDesc);
    fn systable_beginscan_ordered(relation: pg_sys::Relation, index: pg_sys::Relation, snapshot: pg_sys::Snapshot, keys: c_int, key: pg_sys::ScanKey) -> pg_sys::SysScanDesc;
    fn systable_getnext_ordered(scan: pg_sys::SysScanDesc, direction: pg_sys::ScanDirection::Type) -> pg_sys::HeapTuple;
    fn systable_endscan_ordered(scan: pg_sys::SysScanDesc);
    fn CatalogTupleInsert(relation: pg_sys::Relation, tuple: pg_sys::HeapTuple);
    fn CatalogTupleUpdate(relation: pg_sys::Relation, place: pg_sys::ItemPointer, tuple: pg_sys::HeapTuple);
    fn CatalogTupleDelete(relation: pg_sys::Relation, place: pg_sys::ItemPointer);
    fn CommandCounterIncrement();
    fn CacheInvalidateRelcacheByRelid(relation: Oid);
    fn heap_form_tuple(desc: pg_sys::TupleDesc, values: *mut pg_sys::Datum, nulls: *mut bool) -> pg_sys::HeapTuple;
    fn heap_deform_tuple(tuple: pg_sys::HeapTuple, desc: pg_sys::TupleDesc, values: *mut pg_sys::Datum, nulls: *mut bool);
}
