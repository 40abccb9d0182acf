//! PostgreSQL functions of the table AM: those that pgrx's bindings leave out, and those whose ERROR
//! users are to see as PostgreSQL raised it (`call`).
//!
//! Headers: `access/heapam.h`, `access/rewriteheap.h`, `access/toast_helper.h`,
//! `access/toast_internals.h`, `access/genam.h`, `executor/executor.h`, `utils/datum.h`,
//! `utils/tuplesort.h`. Nothing with a destructor lives inside a guarded closure.

use std::ffi::{c_char, c_int, c_void};

use super::call::call_c as guard;
use pgrx::pg_sys;

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

/// `BulkInsertStateData` of access/hio.h, of 16 to 18; pgrx has it without its fields.
#[cfg(not(feature = "pg15"))]
#[repr(C)]
#[derive(Clone, Copy)]
pub struct BulkInsertStateData {
    /// The ring of buffers, or null.
    pub strategy: pg_sys::BufferAccessStrategy,
    /// The page that rows go to, with a pin of its own, or 0.
    pub current_buf: pg_sys::Buffer,
    /// Further pages, empty when the table last grew.
    pub next_free: pg_sys::BlockNumber,
    /// The last of them.
    pub last_free: pg_sys::BlockNumber,
    /// Pages that the table has grown by; it grows by as many again, or 64.
    pub already_extended_by: u32,
}

#[cfg(not(feature = "pg15"))]
impl BulkInsertStateData {
    /// As GetBulkInsertState() makes it, without a ring.
    pub const NEW: Self = Self {
        strategy: std::ptr::null_mut(),
        current_buf: pg_sys::InvalidBuffer as i32,
        next_free: pg_sys::InvalidBlockNumber,
        last_free: pg_sys::InvalidBlockNumber,
        already_extended_by: 0,
    };
}

/// Functions that get a wrapper of their own below, or are called where nothing is to be dropped.
pub mod plain {
    use super::*;
    unsafe extern "C-unwind" {
        #[cfg(not(feature = "pg18"))]
        pub(super) fn init_toast_snapshot(toast_snapshot: pg_sys::Snapshot);
        #[cfg(feature = "pg18")]
        pub(super) fn get_toast_snapshot() -> pg_sys::Snapshot;
        /// Stores a tuple.
        pub fn heap_insert(
            relation: pg_sys::Relation,
            tup: pg_sys::HeapTuple,
            cid: pg_sys::CommandId,
            options: c_int,
            bistate: pg_sys::BulkInsertState,
        );
        /// Drops a pin.
        #[cfg(not(feature = "pg15"))]
        pub fn ReleaseBuffer(buffer: pg_sys::Buffer);
        /// The number of the running subtransaction; 0 if it has none.
        #[cfg(not(feature = "pg15"))]
        pub fn GetCurrentFullTransactionIdIfAny() -> pg_sys::FullTransactionId;
        /// Calls a function of two arguments, neither of which is NULL nor is the result.
        pub fn FunctionCall2Coll(
            function: *mut pg_sys::FmgrInfo,
            collation: pg_sys::Oid,
            a: pg_sys::Datum,
            b: pg_sys::Datum,
        ) -> pg_sys::Datum;
        #[cfg(not(feature = "pg18"))]
        pub fn ReleaseAndReadBuffer(
            buffer: pg_sys::Buffer,
            relation: pg_sys::Relation,
            block: pg_sys::BlockNumber,
        ) -> pg_sys::Buffer;
        pub(super) fn MemoryContextReset(context: pg_sys::MemoryContext);
        pub(super) fn ExecStoreHeapTuple(
            tuple: pg_sys::HeapTuple,
            slot: *mut pg_sys::TupleTableSlot,
            free: bool,
        ) -> *mut pg_sys::TupleTableSlot;
        pub(super) fn MemoryContextAllocExtended(
            context: pg_sys::MemoryContext,
            size: usize,
            flags: c_int,
        ) -> *mut c_void;
    }
}

/// What 18's page step of a bitmap scan is made of, for a frame that owns nothing.
#[cfg(feature = "pg18")]
pub mod page {
    use super::*;
    unsafe extern "C-unwind" {
        pub fn read_stream_next_buffer(
            stream: *mut pg_sys::ReadStream,
            data: *mut *mut c_void,
        ) -> pg_sys::Buffer;
        pub fn tbm_extract_page_tuple(
            result: *mut pg_sys::TBMIterateResult,
            offsets: *mut pg_sys::OffsetNumber,
            most: u32,
        ) -> c_int;
        pub fn heap_page_prune_opt(relation: pg_sys::Relation, buffer: pg_sys::Buffer);
        pub fn heap_hot_search_buffer(
            tid: pg_sys::ItemPointer,
            relation: pg_sys::Relation,
            buffer: pg_sys::Buffer,
            snapshot: pg_sys::Snapshot,
            tuple: pg_sys::HeapTuple,
            all_dead: *mut bool,
            first_call: bool,
        ) -> bool;
        pub fn HeapTupleSatisfiesVisibility(
            tuple: pg_sys::HeapTuple,
            snapshot: pg_sys::Snapshot,
            buffer: pg_sys::Buffer,
        ) -> bool;
        pub fn PredicateLockTID(
            relation: pg_sys::Relation,
            tid: pg_sys::ItemPointer,
            snapshot: pg_sys::Snapshot,
            xmin: pg_sys::TransactionId,
        );
        pub fn HeapCheckForSerializableConflictOut(
            visible: bool,
            relation: pg_sys::Relation,
            tuple: pg_sys::HeapTuple,
            buffer: pg_sys::Buffer,
            snapshot: pg_sys::Snapshot,
        );
        pub fn LockBuffer(buffer: pg_sys::Buffer, mode: c_int);
    }
}

/// palloc() that is not guarded unless it fails: it is called for every row written.
///
/// # Safety
/// Of the memory that comes back nothing is written yet.
pub unsafe fn palloc(size: usize) -> *mut c_void {
    const FLAGS: u32 = pg_sys::MCXT_ALLOC_HUGE | pg_sys::MCXT_ALLOC_NO_OOM;
    // SAFETY: told that no size is too large and that null will do, it raises nothing (utils/mmgr/mcxt.c).
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let block = plain::MemoryContextAllocExtended(context, size, FLAGS as c_int);
        if block.is_null() { pg_sys::palloc(size) } else { block }
    }
}

/// Empties a memory context. Not guarded: it frees and cannot raise (utils/mmgr/mcxt.c; ours have no
/// reset callbacks), and it is called for every row written.
///
/// # Safety
/// Nothing in the context is used any more.
#[allow(non_snake_case)]
pub unsafe fn MemoryContextReset(context: pg_sys::MemoryContext) {
    // SAFETY: the caller's promise.
    unsafe { plain::MemoryContextReset(context) }
}

/// Puts a tuple into a slot for heap tuples. Not guarded: it raises nothing but that the slot is of another kind, and
/// it is called for every row of a build.
///
/// # Safety
/// The slot is one of `TTSOpsHeapTuple`, whose own tuples are palloc'd; the tuple stays until it has another.
#[allow(non_snake_case)]
pub unsafe fn ExecStoreHeapTuple(
    tuple: pg_sys::HeapTuple,
    slot: *mut pg_sys::TupleTableSlot,
    free: bool,
) {
    // SAFETY: the caller's promise.
    unsafe { plain::ExecStoreHeapTuple(tuple, slot, free) };
}

/// Declares C functions and, for each, a wrapper of the same name that guards the call.
macro_rules! guarded {
    ($($(#[$m:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)?;)*) => {
        mod raw {
            use super::*;
            unsafe extern "C-unwind" {
                $($(#[$m])* pub fn $name($($arg: $ty),*) $(-> $ret)?;)*
            }
        }
        $(
            $(#[$m])*
            ///
            /// # Safety
            /// The arguments are what the C function of this name demands; an ERROR unwinds.
            #[allow(non_snake_case, clippy::too_many_arguments)]
            pub unsafe fn $name($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the caller vouches for the arguments; the closure holds plain values only.
                unsafe { guard(|| raw::$name($($arg),*)) }
            }
        )*
    };
}

guarded! {
    /// Calls a function of two arguments that are not NULL.
    fn FunctionCall2Coll(
        function: *mut pg_sys::FmgrInfo,
        collation: pg_sys::Oid,
        a: pg_sys::Datum,
        b: pg_sys::Datum,
    ) -> pg_sys::Datum;
    /// A compressed copy of a varlena, or 0 if it does not get smaller.
    fn FunctionCall1Coll(
        function: *mut pg_sys::FmgrInfo,
        collation: pg_sys::Oid,
        argument: pg_sys::Datum,
    ) -> pg_sys::Datum;
    fn toast_compress_datum(value: pg_sys::Datum, method: c_char) -> pg_sys::Datum;
    /// A varlena that is neither outside nor compressed; itself if it is that already.
    fn pg_detoast_datum_packed(value: *mut pg_sys::varlena) -> *mut pg_sys::varlena;
    /// A copy of a value, palloc'd.
    fn datumCopy(value: pg_sys::Datum, by_val: bool, len: c_int) -> pg_sys::Datum;
    /// Stores a tuple.
    fn heap_insert(
        relation: pg_sys::Relation,
        tup: pg_sys::HeapTuple,
        cid: pg_sys::CommandId,
        options: c_int,
        bistate: pg_sys::BulkInsertState,
    );
    /// Stores many tuples.
    fn heap_multi_insert(
        relation: pg_sys::Relation,
        slots: *mut *mut pg_sys::TupleTableSlot,
        ntuples: c_int,
        cid: pg_sys::CommandId,
        options: c_int,
        bistate: pg_sys::BulkInsertState,
    );
    /// Deletes a tuple.
    fn heap_delete(
        relation: pg_sys::Relation,
        tid: pg_sys::ItemPointer,
        cid: pg_sys::CommandId,
        crosscheck: pg_sys::Snapshot,
        wait: bool,
        tmfd: *mut pg_sys::TM_FailureData,
        changing_part: bool,
    ) -> pg_sys::TM_Result::Type;
    /// Makes a speculative tuple an ordinary one.
    fn heap_finish_speculative(relation: pg_sys::Relation, tid: pg_sys::ItemPointer);
    /// Kills a speculative tuple.
    fn heap_abort_speculative(relation: pg_sys::Relation, tid: pg_sys::ItemPointer);
    /// Fetches the tuple at a TID.
    fn heap_fetch(
        relation: pg_sys::Relation,
        snapshot: pg_sys::Snapshot,
        tuple: pg_sys::HeapTuple,
        userbuf: *mut pg_sys::Buffer,
        keep_buf: bool,
    ) -> bool;
    /// The next tuple of a heap scan.
    fn heap_getnext(
        scan: pg_sys::TableScanDesc,
        direction: pg_sys::ScanDirection::Type,
    ) -> pg_sys::HeapTuple;
    /// The next tuple of a heap scan, into a slot.
    fn heap_getnextslot(
        scan: pg_sys::TableScanDesc,
        direction: pg_sys::ScanDirection::Type,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> bool;
    /// The next TID of an index scan.
    fn index_getnext_tid(
        scan: pg_sys::IndexScanDesc,
        direction: pg_sys::ScanDirection::Type,
    ) -> pg_sys::ItemPointer;
    /// Inserts an index entry.
    fn index_insert(
        index: pg_sys::Relation,
        values: *mut pg_sys::Datum,
        isnull: *mut bool,
        tid: pg_sys::ItemPointer,
        heap: pg_sys::Relation,
        check_unique: pg_sys::IndexUniqueCheck::Type,
        index_unchanged: bool,
        info: *mut pg_sys::IndexInfo,
    ) -> bool;
    /// Computes the index columns of a row.
    fn FormIndexDatum(
        info: *mut pg_sys::IndexInfo,
        slot: *mut pg_sys::TupleTableSlot,
        estate: *mut pg_sys::EState,
        values: *mut pg_sys::Datum,
        isnull: *mut bool,
    );
    /// Prepares a predicate.
    fn ExecPrepareQual(
        qual: *mut pg_sys::List,
        estate: *mut pg_sys::EState,
    ) -> *mut pg_sys::ExprState;
    /// The slot as a heap tuple.
    fn ExecFetchSlotHeapTuple(
        slot: *mut pg_sys::TupleTableSlot,
        materialize: bool,
        should_free: *mut bool,
    ) -> pg_sys::HeapTuple;
    /// A set of columns that indexes are on.
    fn RelationGetIndexAttrBitmap(
        relation: pg_sys::Relation,
        kind: pg_sys::IndexAttrBitmapKind::Type,
    ) -> *mut pg_sys::Bitmapset;
    /// Opens and locks a table.
    fn table_open(oid: pg_sys::Oid, lock: pg_sys::LOCKMODE) -> pg_sys::Relation;
    /// An OID that the index does not hold.
    fn GetNewOidWithIndex(
        relation: pg_sys::Relation,
        index: pg_sys::Oid,
        column: pg_sys::AttrNumber,
    ) -> pg_sys::Oid;
    /// The next tuple of an ordered scan.
    fn systable_getnext_ordered(
        scan: pg_sys::SysScanDesc,
        direction: pg_sys::ScanDirection::Type,
    ) -> pg_sys::HeapTuple;
    /// Acts on a cancel or a shutdown.
    fn ProcessInterrupts();
    /// Replaces a tuple.
    #[cfg(feature = "pg15")]
    fn heap_update(
        relation: pg_sys::Relation,
        otid: pg_sys::ItemPointer,
        newtup: pg_sys::HeapTuple,
        cid: pg_sys::CommandId,
        crosscheck: pg_sys::Snapshot,
        wait: bool,
        tmfd: *mut pg_sys::TM_FailureData,
        lockmode: *mut pg_sys::LockTupleMode::Type,
    ) -> pg_sys::TM_Result::Type;
    /// Replaces a tuple.
    #[cfg(not(feature = "pg15"))]
    fn heap_update(
        relation: pg_sys::Relation,
        otid: pg_sys::ItemPointer,
        newtup: pg_sys::HeapTuple,
        cid: pg_sys::CommandId,
        crosscheck: pg_sys::Snapshot,
        wait: bool,
        tmfd: *mut pg_sys::TM_FailureData,
        lockmode: *mut pg_sys::LockTupleMode::Type,
        update_indexes: *mut pg_sys::TU_UpdateIndexes::Type,
    ) -> pg_sys::TM_Result::Type;
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
    /// Begins a sort of rows in the order of a btree index (`utils/tuplesort.h`).
    fn tuplesort_begin_cluster(
        desc: pg_sys::TupleDesc,
        index: pg_sys::Relation,
        work_mem: c_int,
        coordinate: pg_sys::SortCoordinate,
        options: c_int,
    ) -> *mut pg_sys::Tuplesortstate;
    /// Adds a copy of a row.
    fn tuplesort_putheaptuple(state: *mut pg_sys::Tuplesortstate, tuple: pg_sys::HeapTuple);
    /// Sorts what was put.
    fn tuplesort_performsort(state: *mut pg_sys::Tuplesortstate);
    /// The next row of the result, the sort's own, or null.
    fn tuplesort_getheaptuple(
        state: *mut pg_sys::Tuplesortstate, forward: bool,
    ) -> pg_sys::HeapTuple;
    /// Frees a sort.
    fn tuplesort_end(state: *mut pg_sys::Tuplesortstate);
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
    /// Raises nothing: it reads what the values' lengths are.
    fn heap_compute_data_size(
        descriptor: pg_sys::TupleDesc,
        values: *mut pg_sys::Datum,
        nulls: *mut bool,
    ) -> usize;
    /// Copies values behind one another as the descriptor aligns them.
    fn heap_fill_tuple(
        descriptor: pg_sys::TupleDesc,
        values: *mut pg_sys::Datum,
        nulls: *mut bool,
        data: *mut c_char,
        size: usize,
        mask: *mut u16,
        bits: *mut u8,
    );
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
    unsafe { guard(|| plain::init_toast_snapshot(storage)) };
    storage
}

/// The snapshot TOAST chunks are read with.
///
/// # Safety
/// A transaction with an active snapshot is open.
#[cfg(feature = "pg18")]
pub unsafe fn toast_snapshot(_storage: *mut pg_sys::SnapshotData) -> pg_sys::Snapshot {
    // SAFETY: returns a static snapshot, and raises if no snapshot is active.
    unsafe { guard(|| plain::get_toast_snapshot()) }
}
