//! The lazy slot: holds heapam's raw slot inside and opens the row on first attribute access.
//!
//! A scan that asks for no attribute opens nothing (`count(*)` opens the first row only, which the
//! executor copies). The opened row lives in
//! a buffer that the slot reuses, laid out as an ordinary heap tuple, so core's own deform and
//! copy routines (those of `TTSOpsHeapTuple`) work on it.
//!
//! Callbacks named `fast_*` and the slot operations are not guarded by pgrx: their frames hold
//! nothing with a destructor, so PostgreSQL's ERROR may jump over them, and whatever can panic or
//! raise from Rust happens in a `callback!` function they call.

use std::ffi::c_int;
use std::sync::OnceLock;

use pgrx::pg_sys;

use super::parts::{self, Buffers, Sealed};
use super::wanted::Readers;
use crate::pg::call::callback;
use crate::pg::shadow;
use crate::table_am::gate::Reader;

mod open;
mod own;

pub use open::{fetch, fetch_inner, prefetch};
use open::{fetch_ahead, free_room, make_room, open};
pub use own::own_tuple;

/// The slot of a sealed table.
#[repr(C)]
pub struct LazySlot {
    /// `base.tuple` is the opened row, null until it is opened.
    base: pg_sys::HeapTupleTableSlot,
    /// What heapam fills.
    inner: *mut pg_sys::TupleTableSlot,
    /// The opened row's `HeapTupleData`.
    head: pg_sys::HeapTupleData,
    /// Its bytes, `capacity` of them.
    buffer: *mut u8,
    capacity: usize,
    /// The table whose keys open the row.
    owner: pg_sys::Oid,
    /// `inner` holds a sealed row that was not opened yet, but perhaps some of its parts.
    closed: bool,
    /// For whom rows are opened.
    reader: Reader,
    /// What parts of rows are opened into; null if it was never needed.
    parts: *mut Buffers,
    /// Who says which of a row's parts are needed.
    readers: Readers,
    /// Where the row was that was opened before this one.
    before: usize,
}

static OPS: OnceLock<pg_sys::TupleTableSlotOps> = OnceLock::new();

/// The operations of a sealed table's slots.
pub fn ops() -> *const pg_sys::TupleTableSlotOps {
    OPS.get_or_init(|| {
        // SAFETY: TTSOpsHeapTuple is a constant of the server.
        let mut ops = unsafe { pg_sys::TTSOpsHeapTuple };
        ops.base_slot_size = size_of::<LazySlot>();
        ops.init = Some(init);
        ops.release = Some(release);
        ops.clear = Some(clear);
        ops.getsomeattrs = Some(getsomeattrs);
        ops.getsysattr = Some(getsysattr);
        ops.materialize = Some(own::materialize);
        ops.copyslot = Some(own::copyslot);
        ops.get_heap_tuple = Some(get_heap_tuple);
        ops.copy_heap_tuple = Some(copy_heap_tuple);
        ops.copy_minimal_tuple = Some(copy_minimal_tuple);
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        {
            ops.is_current_xact_tuple = Some(is_current_xact_tuple);
        }
        ops
    })
}

/// Whether the slot is a lazy one. The alternative is the buffer slot of a TOAST table.
#[inline]
pub unsafe fn is_lazy(slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: the executor passes a valid slot.
    unsafe { std::ptr::eq((*slot).tts_ops, ops()) }
}

/// Whether the columns of the row in the slot were looked at.
#[inline]
pub unsafe fn is_read(slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: the executor passes a valid slot.
    unsafe { is_lazy(slot) && (*slot).tts_nvalid > 0 }
}

/// heapam's slot inside `slot`.
#[inline]
pub unsafe fn inner(slot: *mut pg_sys::TupleTableSlot) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: `is_lazy(slot)`; the inner slot lives as long as the outer one.
    unsafe {
        let lazy = slot.cast::<LazySlot>();
        if (*lazy).inner.is_null() {
            make_inner(lazy);
        }
        (*lazy).inner
    }
}

#[cold]
unsafe extern "C-unwind" fn make_inner(lazy: *mut LazySlot) {
    callback!({
        // SAFETY: allocated in the slot's own context, so it dies with the slot even after an ERROR.
        unsafe {
            let old = pg_sys::MemoryContextSwitchTo((*lazy).base.base.tts_mcxt);
            (*lazy).inner = pg_sys::MakeTupleTableSlot(
                shadow::no_columns(),
                &raw const pg_sys::TTSOpsBufferHeapTuple,
            );
            pg_sys::MemoryContextSwitchTo(old);
        }
    })
}

/// Takes over what heapam just put into the inner slot (or found nothing).
#[inline]
pub unsafe fn taken(slot: *mut pg_sys::TupleTableSlot, rel: pg_sys::Relation, found: bool) {
    // SAFETY: `is_lazy(slot)` and `inner(slot)` was filled; nothing here raises but the C calls,
    // over which no destructor is pending.
    unsafe {
        let lazy = slot.cast::<LazySlot>();
        let filled = (*lazy).inner;
        if !found || (*filled).tts_flags & pg_sys::TTS_FLAG_EMPTY as u16 != 0 {
            clear(slot);
            return;
        }
        drop_owned(lazy);
        (*lazy).base.tuple = std::ptr::null_mut();
        (*lazy).base.off = 0;
        (*slot).tts_tid = (*filled).tts_tid;
        (*slot).tts_tableOid = (*filled).tts_tableOid;
        (*slot).tts_nvalid = 0;
        if (*filled.cast::<pg_sys::BufferHeapTupleTableSlot>()).base.tuple.is_null() {
            // 17's bitmap scan answers count(*) from the visibility map with an all-NULL row.
            (*lazy).closed = false;
            all_null(slot);
            return;
        }
        (*lazy).owner = super::owner(rel);
        (*lazy).closed = true;
        (*slot).tts_flags &= !(pg_sys::TTS_FLAG_EMPTY as u16);
    }
}

/// Whether the slot is a lazy one that holds a tuple as `buffer` has it, through this very pointer.
#[inline]
pub unsafe fn shows(
    slot: *mut pg_sys::TupleTableSlot,
    tuple: pg_sys::HeapTuple,
    buffer: pg_sys::Buffer,
) -> bool {
    let not = (pg_sys::TTS_FLAG_EMPTY | pg_sys::TTS_FLAG_SHOULDFREE) as u16;
    // SAFETY: the executor passes a valid slot; a lazy one's inner slot is a buffer slot.
    unsafe {
        is_lazy(slot)
            && (*slot.cast::<LazySlot>())
                .inner
                .cast::<pg_sys::BufferHeapTupleTableSlot>()
                .as_ref()
                .is_some_and(|inner| {
                    inner.base.tuple == tuple
                        && inner.buffer == buffer
                        && inner.base.base.tts_flags & not == 0
                })
    }
}

/// Takes over the next tuple, which was put where the one before it was.
#[inline]
pub unsafe fn next(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: the slot `shows` it. While the inner slot has a tuple the outer one owns none and is not empty, and
    // `owner` is what it was.
    unsafe {
        let lazy = slot.cast::<LazySlot>();
        let filled = (*lazy).inner.cast::<pg_sys::BufferHeapTupleTableSlot>();
        let place = (*(*filled).base.tuple).t_self;
        (*filled).base.base.tts_tid = place;
        (*slot).tts_tid = place;
        (*slot).tts_nvalid = 0;
        (*lazy).base.tuple = std::ptr::null_mut();
        (*lazy).base.off = 0;
        (*lazy).closed = true;
    }
}

#[cold]
unsafe extern "C-unwind" fn all_null(slot: *mut pg_sys::TupleTableSlot) {
    callback!({
        // SAFETY: a valid slot of ours; the row becomes virtual.
        unsafe { pg_sys::ExecStoreAllNullTuple(slot) };
    })
}

/// Frees a tuple that `materialize` or `copyslot` allocated.
#[inline]
unsafe fn drop_owned(lazy: *mut LazySlot) {
    // SAFETY: SHOULDFREE says that base.tuple is a palloc'd tuple of this slot.
    unsafe {
        if (*lazy).base.base.tts_flags & pg_sys::TTS_FLAG_SHOULDFREE as u16 != 0 {
            pg_sys::heap_freetuple((*lazy).base.tuple);
            (*lazy).base.base.tts_flags &= !(pg_sys::TTS_FLAG_SHOULDFREE as u16);
        }
    }
}

/// heap's slot operations, which do the work once the row is open.
#[inline]
fn heap_ops() -> &'static pg_sys::TupleTableSlotOps {
    // A constant of the server.
    let ops = &raw const pg_sys::TTSOpsHeapTuple;
    // SAFETY: as said.
    unsafe { &*ops }
}

unsafe extern "C-unwind" fn init(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: a new slot of ours, all zero but for PostgreSQL's own fields.
    unsafe { (*slot.cast::<LazySlot>()).reader = Reader::default() };
}

unsafe extern "C-unwind" fn clear(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: a slot of ours.
    unsafe {
        let lazy = slot.cast::<LazySlot>();
        clear_inner(lazy);
        (*lazy).closed = false;
        if let Some(f) = heap_ops().clear {
            f(slot);
        }
        (*lazy).base.tuple = std::ptr::null_mut();
    }
}

/// Empties the inner slot, which drops its pin.
#[inline]
unsafe fn clear_inner(lazy: *mut LazySlot) {
    // SAFETY: a slot of ours.
    unsafe {
        let filled = (*lazy).inner;
        if !filled.is_null()
            && (*filled).tts_flags & pg_sys::TTS_FLAG_EMPTY as u16 == 0
            && let Some(f) = (*(*filled).tts_ops).clear
        {
            f(filled);
        }
    }
}

unsafe extern "C-unwind" fn release(slot: *mut pg_sys::TupleTableSlot) {
    callback!({
        // SAFETY: the slot is cleared and about to be freed by its owner; what it allocated goes first.
        unsafe {
            let lazy = slot.cast::<LazySlot>();
            if !(*lazy).inner.is_null() {
                // MakeTupleTableSlot() pinned a descriptor that is not reference-counted, so the slot
                // is one allocation.
                pg_sys::pfree((*lazy).inner.cast());
                (*lazy).inner = std::ptr::null_mut();
            }
            free_room(lazy);
            if !(*lazy).parts.is_null() {
                (*(*lazy).parts).free();
                pg_sys::pfree((*lazy).parts.cast());
                (*lazy).parts = std::ptr::null_mut();
            }
        }
    })
}

unsafe extern "C-unwind" fn getsomeattrs(slot: *mut pg_sys::TupleTableSlot, natts: c_int) {
    // SAFETY: a slot of ours, opened before heap's function looks at it.
    unsafe {
        let lazy = slot.cast::<LazySlot>();
        if (*lazy).closed {
            let sealed = (*(*lazy).inner.cast::<pg_sys::BufferHeapTupleTableSlot>()).base.tuple;
            if parts::has_parts(sealed) {
                if !fill_fast(lazy, sealed, natts) {
                    fill(lazy, sealed, natts);
                }
                return;
            }
        }
        open(slot);
        if let Some(f) = heap_ops().getsomeattrs {
            f(slot, natts);
        }
    }
}

/// Gives values to columns in clear, with what is at hand; false if more is to be done.
#[inline]
unsafe fn fill_fast(lazy: *mut LazySlot, sealed: pg_sys::HeapTuple, natts: c_int) -> bool {
    // SAFETY: as for `open_fast`; the arrays are as long as the descriptor, which has `natts` columns.
    unsafe {
        let Some(buffers) = (*lazy).parts.as_mut() else { return false };
        // Where the columns in clear begin.
        fetch_ahead(sealed, &mut (*lazy).before, 2);
        crate::pg::log::uses_sealed_table();
        let slot = &mut (*lazy).base.base;
        let values = std::slice::from_raw_parts_mut(slot.tts_values, natts as usize);
        let isnull = std::slice::from_raw_parts_mut(slot.tts_isnull, natts as usize);
        let filled = buffers.fill_clear(sealed, (*lazy).owner, values, isnull);
        if filled {
            slot.tts_nvalid = natts as _;
        }
        filled
    }
}

/// Gives values to the first columns of a row of several parts, of which only those are opened that are
/// asked for. The slot stays closed: whoever wants a tuple has it formed.
#[inline(never)]
unsafe extern "C-unwind" fn fill(lazy: *mut LazySlot, sealed: pg_sys::HeapTuple, natts: c_int) {
    callback!({
        // SAFETY: as for `open_slow`; values point into memory of the slot's context, which stays until
        // another row is put into it.
        unsafe {
            crate::pg::log::uses_sealed_table();
            let slot = &mut (*lazy).base.base;
            let callers = pg_sys::MemoryContextSwitchTo(slot.tts_mcxt);
            let (desc, natts) = (slot.tts_tupleDescriptor, natts as usize);
            let filled = (*parts_of(lazy)).fill(
                Sealed { row: sealed, owner: (*lazy).owner, desc, reader: (*lazy).reader },
                std::slice::from_raw_parts_mut(slot.tts_values, natts),
                std::slice::from_raw_parts_mut(slot.tts_isnull, natts),
                slot.tts_nvalid > 0,
            );
            pg_sys::MemoryContextSwitchTo(callers);
            if let Err(why) = filled {
                why.report(sealed);
            }
            slot.tts_nvalid = natts as _;
        }
    })
}

/// The slot's buffers for rows of several parts. The memory context of the slot is the current one.
unsafe fn parts_of(lazy: *mut LazySlot) -> *mut Buffers {
    // SAFETY: a slot of ours.
    unsafe {
        if (*lazy).parts.is_null() {
            let wanted = (*lazy).readers.columns();
            (*lazy).parts = Buffers::make((*lazy).base.base.tts_mcxt);
            if let Some(wanted) = wanted {
                (*(*lazy).parts).choose(wanted);
            }
        }
        (*lazy).parts
    }
}

/// Says for whom rows in the slot are opened.
pub unsafe fn serve(slot: *mut pg_sys::TupleTableSlot, reader: Reader) {
    // SAFETY: `is_lazy(slot)`.
    unsafe { (*slot.cast::<LazySlot>()).reader = reader };
}

/// Says who looks at the slot's columns: of rows of several parts, what nobody looks at stays NULL there. Said before the
/// slot has a row.
pub unsafe fn read_by(slot: *mut pg_sys::TupleTableSlot, readers: Readers) {
    // SAFETY: `is_lazy(slot)`.
    unsafe { (*slot.cast::<LazySlot>()).readers = readers };
}

unsafe extern "C-unwind" fn getsysattr(
    slot: *mut pg_sys::TupleTableSlot,
    attnum: c_int,
    isnull: *mut bool,
) -> pg_sys::Datum {
    // SAFETY: a slot of ours. The header's fields need no opening, but heap's function reads them
    // from `base.tuple`: it gets the raw tuple for the length of the call.
    unsafe {
        let lazy = slot.cast::<LazySlot>();
        let closed = (*lazy).closed;
        if closed {
            (*lazy).base.tuple =
                (*(*lazy).inner.cast::<pg_sys::BufferHeapTupleTableSlot>()).base.tuple;
        }
        let value = match heap_ops().getsysattr {
            Some(f) => f(slot, attnum, isnull),
            None => pg_sys::Datum::null(),
        };
        if closed {
            (*lazy).base.tuple = std::ptr::null_mut();
        }
        value
    }
}

#[cfg(any(feature = "pg17", feature = "pg18"))]
unsafe extern "C-unwind" fn is_current_xact_tuple(slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: as for `getsomeattrs`.
    unsafe {
        open(slot);
        heap_ops().is_current_xact_tuple.is_some_and(|f| f(slot))
    }
}

unsafe extern "C-unwind" fn get_heap_tuple(slot: *mut pg_sys::TupleTableSlot) -> pg_sys::HeapTuple {
    // SAFETY: as for `getsomeattrs`.
    unsafe {
        open(slot);
        heap_ops().get_heap_tuple.map_or(std::ptr::null_mut(), |f| f(slot))
    }
}

unsafe extern "C-unwind" fn copy_heap_tuple(
    slot: *mut pg_sys::TupleTableSlot,
) -> pg_sys::HeapTuple {
    // SAFETY: as for `getsomeattrs`.
    unsafe {
        open(slot);
        heap_ops().copy_heap_tuple.map_or(std::ptr::null_mut(), |f| f(slot))
    }
}

#[cfg(not(feature = "pg18"))]
unsafe extern "C-unwind" fn copy_minimal_tuple(
    slot: *mut pg_sys::TupleTableSlot,
) -> pg_sys::MinimalTuple {
    // SAFETY: as for `getsomeattrs`.
    unsafe {
        open(slot);
        heap_ops().copy_minimal_tuple.map_or(std::ptr::null_mut(), |f| f(slot))
    }
}

#[cfg(feature = "pg18")]
unsafe extern "C-unwind" fn copy_minimal_tuple(
    slot: *mut pg_sys::TupleTableSlot,
    extra: pg_sys::Size,
) -> pg_sys::MinimalTuple {
    // SAFETY: as for `getsomeattrs`.
    unsafe {
        open(slot);
        heap_ops().copy_minimal_tuple.map_or(std::ptr::null_mut(), |f| f(slot, extra))
    }
}
