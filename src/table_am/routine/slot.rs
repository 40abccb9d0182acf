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

use super::missing;
use super::opened::{is_sealed, try_open, views, write_header};
use super::parts::{self, Buffers, Sealed};
use crate::pg::call::{call_c, callback};
use crate::pg::shadow;
use crate::pg::tuple::maxalign;
use crate::table_am::gate::Reader;
use crate::table_am::row;

mod own;

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
    /// Where the row after it is opened into, also `capacity` bytes; null if there is no such place.
    spare: *mut u8,
    /// What both are in, in the slot's memory context.
    memory: *mut u8,
    /// The row of the same page that comes next; null if that is not known.
    next: (pg_sys::HeapTupleHeader, u32),
    /// The row that is open in `spare`; null if none is. As `next`, good for as long as `inner` has the page pinned.
    ahead: pg_sys::HeapTupleHeader,
    /// The table whose keys open the row.
    owner: pg_sys::Oid,
    /// `inner` holds a sealed row that was not opened yet, but perhaps some of its parts.
    closed: bool,
    /// For whom rows are opened.
    reader: Reader,
    /// What parts of rows are opened into; null if it was never needed.
    parts: *mut Buffers,
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
        forget_next(lazy);
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
        (*lazy).next.0 = std::ptr::null_mut();
        (*lazy).base.tuple = std::ptr::null_mut();
        (*lazy).base.off = 0;
        (*lazy).closed = true;
    }
}

/// Whether the row in the slot has been opened, so that the next one probably will be.
#[inline]
pub unsafe fn is_open(slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: `is_lazy(slot)`.
    unsafe { !(*slot.cast::<LazySlot>()).closed }
}

/// Says which row of the same page comes next.
#[inline]
pub unsafe fn expect(slot: *mut pg_sys::TupleTableSlot, next: (pg_sys::HeapTupleHeader, u32)) {
    // SAFETY: `is_lazy(slot)`, whose inner slot has the page pinned.
    unsafe { (*slot.cast::<LazySlot>()).next = next };
}

/// The pin of the page may go: what was known of its rows goes first.
#[inline]
unsafe fn forget_next(lazy: *mut LazySlot) {
    // SAFETY: a slot of ours.
    unsafe {
        (*lazy).next.0 = std::ptr::null_mut();
        (*lazy).ahead = std::ptr::null_mut();
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

#[inline]
unsafe fn open(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: called by the slot operations only, with a slot of ours.
    unsafe {
        let lazy = slot.cast::<LazySlot>();
        if (*lazy).closed {
            crate::pg::log::uses_sealed_table();
            if !open_fast(lazy) {
                open_slow(lazy);
            }
        }
    }
}

/// Opens with what is at hand; false if memory, the layout or the seal say otherwise.
///
/// Then it opens the row that comes next, of which nothing is needed yet: so nobody waits for the cipher's last step,
/// nor for the memory that the row lies in. Sum of an integer: 0.8 of the time.
unsafe fn open_fast(lazy: *mut LazySlot) -> bool {
    // SAFETY: `closed` says that the inner slot holds a pinned sealed tuple, whose bytes past the
    // header do not change while the pin is held, and so do those of the page's other rows. No call in here can raise
    // or panic. The two buffers do not overlap.
    unsafe {
        let sealed = (*(*lazy).inner.cast::<pg_sys::BufferHeapTupleTableSlot>()).base.tuple;
        if !is_sealed(sealed) {
            return false;
        }
        if (*lazy).ahead == (*sealed).t_data {
            std::mem::swap(&mut (*lazy).buffer, &mut (*lazy).spare);
        } else if !open_into((*lazy).buffer, lazy, sealed) {
            return false;
        }
        (*lazy).ahead = std::ptr::null_mut();
        if !finish(lazy, sealed) {
            return false;
        }
        let (data, len) = (*lazy).next;
        if !data.is_null() && !(*lazy).spare.is_null() {
            let mut next = pg_sys::HeapTupleData { t_data: data, t_len: len, ..Default::default() };
            if is_sealed(&mut next) && open_into((*lazy).spare, lazy, &mut next) {
                (*lazy).ahead = data;
            }
        }
        true
    }
}

/// Opens the body of a sealed tuple into one of the slot's buffers, if that is large enough and the key at hand.
#[inline]
unsafe fn open_into(buffer: *mut u8, lazy: *mut LazySlot, sealed: pg_sys::HeapTuple) -> bool {
    // SAFETY: as for `open_fast`.
    unsafe {
        if (*lazy).capacity < (*sealed).t_len as usize {
            return false;
        }
        fetch_ahead(sealed, &mut (*lazy).before);
        let (payload, body) = views(sealed, buffer);
        row::open_near((*lazy).owner, payload, body)
    }
}

/// Has the row after the next brought into the cache: a scan that opens rows waits for memory else, since the
/// cipher reads all of each. Pages are filled downwards, so where the rows of a scan follow one another, it begins
/// two lengths below this one. It is a guess: what lies there is not looked at, and need not be there.
#[inline]
unsafe fn fetch_ahead(sealed: pg_sys::HeapTuple, before: &mut usize) {
    // SAFETY: the tuple's fields are read.
    let (at, len) = unsafe { ((*sealed).t_data.cast::<u8>(), (*sealed).t_len as usize) };
    let distance = std::mem::replace(before, at.addr()).wrapping_sub(at.addr());
    // Rows that are looked up lie anywhere. Behind a long one the processor has begun by itself.
    if distance <= 512 && len <= 512 {
        (len + 1..=2 * len).rev().step_by(64).for_each(|below| prefetch(at.wrapping_sub(below)));
    }
}

/// Has a row brought into the cache, as far as the processor would not begin by itself, and what is behind it: the
/// cipher's loads reach that far, if behind a mask.
#[inline]
pub fn fetch(row: *const u8, len: usize) {
    let before = row.addr() % 64;
    let lines = (0..before + len.min(256) + 64).step_by(64);
    lines.for_each(|at| prefetch(row.wrapping_sub(before).wrapping_add(at)));
}

/// The same for the row that heapam just put into the inner slot: it may lie anywhere, and heapam has looked at its
/// header alone. Returns true.
#[inline]
pub unsafe fn fetch_inner(slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: `is_lazy(slot)`; a tuple in the inner slot is pinned.
    unsafe {
        let filled = (*slot.cast::<LazySlot>()).inner.cast::<pg_sys::HeapTupleTableSlot>();
        if let Some(row) = (*filled).tuple.as_ref() {
            fetch(row.t_data.cast(), row.t_len as usize);
        }
    }
    true
}

#[inline]
fn prefetch(_at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: part of SSE, which x86-64 has; it does not fault, whatever the address is.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(_at.cast())
    };
}

#[cold]
unsafe extern "C-unwind" fn open_slow(lazy: *mut LazySlot) {
    callback!({
        // SAFETY: as for `open_fast`; an ERROR in here leaves the slot closed and its buffer owned. The
        // scratch context is a child of the slot's, which takes it along if an ERROR keeps it from
        // being deleted here.
        unsafe {
            let sealed = (*(*lazy).inner.cast::<pg_sys::BufferHeapTupleTableSlot>()).base.tuple;
            // A sort of 17 or later copies rows with a bump context current, which cannot pfree();
            // pgrx does that in the current context with whatever it reports or catches.
            let context = (*lazy).base.base.tts_mcxt;
            let callers = pg_sys::MemoryContextSwitchTo(context);
            (*lazy).ahead = std::ptr::null_mut();
            make_room(lazy, (*sealed).t_len as usize);
            // Looking for a key leaves things behind; this is no memory to keep for a whole query.
            let scratch = pg_sys::AllocSetContextCreateInternal(
                context,
                c"pg_sealed open".as_ptr(),
                0,
                1024,
                8 * 1024,
            );
            pg_sys::MemoryContextSwitchTo(scratch);
            let desc = (*lazy).base.base.tts_tupleDescriptor;
            let head = &mut (*lazy).head;
            let (owner, reader) = ((*lazy).owner, (*lazy).reader);
            let row = Sealed { row: sealed, owner, desc, reader };
            let formed = match try_open(row, (*lazy).buffer, (*lazy).parts.as_mut(), head) {
                Ok(Some(formed)) => Some(formed),
                Ok(None) => {
                    missing::complete(head, desc, (*lazy).owner).unwrap_or_else(|e| e.report())
                }
                Err(why) => why.report(sealed),
            };
            if let Some(full) = formed {
                make_room(lazy, (*full).t_len as usize);
                let from = (*full).t_data.cast::<u8>();
                std::ptr::copy_nonoverlapping(from, (*lazy).buffer, (*full).t_len as usize);
                (*lazy).head = *full;
                (*lazy).head.t_data = (*lazy).buffer.cast();
            }
            (*lazy).base.tuple = &mut (*lazy).head;
            (*lazy).base.off = 0;
            (*lazy).closed = false;
            // Columns that were asked for before stay so.
            let valid = std::mem::take(&mut (*lazy).base.base.tts_nvalid);
            if valid > 0
                && let Some(f) = heap_ops().getsomeattrs
            {
                call_c(|| f(lazy.cast(), valid.into()));
            }
            pg_sys::MemoryContextSwitchTo(callers);
            pg_sys::MemoryContextDelete(scratch);
        }
    })
}

/// Gives the slot's buffer at least `need` bytes; what was in it is lost.
unsafe fn make_room(lazy: *mut LazySlot, need: usize) {
    // SAFETY: called by `open_slow`: the buffer is the slot's, and null while an ERROR could see it freed.
    unsafe {
        if (*lazy).capacity >= need {
            return;
        }
        free_room(lazy);
        let capacity = maxalign(need.max(512));
        // Two of rows that lie in pages; what is longer is made of one, and lies alone.
        let two = need <= pg_sys::BLCKSZ as usize;
        let size = if two { 2 * capacity } else { capacity };
        let context = (*lazy).base.base.tts_mcxt;
        (*lazy).memory = pg_sys::MemoryContextAlloc(context, size).cast();
        (*lazy).buffer = (*lazy).memory;
        (*lazy).spare = if two { (*lazy).memory.add(capacity) } else { std::ptr::null_mut() };
        (*lazy).capacity = capacity;
    }
}

unsafe fn free_room(lazy: *mut LazySlot) {
    // SAFETY: palloc'd by `make_room` and nowhere else freed; null while an ERROR could see it freed.
    unsafe {
        if !(*lazy).memory.is_null() {
            let memory = std::mem::replace(&mut (*lazy).memory, std::ptr::null_mut());
            (*lazy).buffer = std::ptr::null_mut();
            (*lazy).spare = std::ptr::null_mut();
            (*lazy).ahead = std::ptr::null_mut();
            (*lazy).capacity = 0;
            pg_sys::pfree(memory.cast());
        }
    }
}

/// Writes the opened tuple's header and makes it the slot's row.
#[inline]
unsafe fn finish(lazy: *mut LazySlot, sealed: pg_sys::HeapTuple) -> bool {
    // SAFETY: the caller just opened the body into `buffer`.
    unsafe {
        if !write_header(sealed, (*lazy).buffer, &mut (*lazy).head)
            || missing::may_lack(
                &mut (*lazy).head,
                (*lazy).base.base.tts_tupleDescriptor,
                (*lazy).owner,
            )
        {
            return false;
        }
        (*lazy).base.tuple = &mut (*lazy).head;
        (*lazy).base.off = 0;
        (*lazy).closed = false;
        true
    }
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
        forget_next(lazy);
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

/// The slot's buffers for rows of several parts.
unsafe fn parts_of(lazy: *mut LazySlot) -> *mut Buffers {
    // SAFETY: a slot of ours.
    unsafe {
        if (*lazy).parts.is_null() {
            (*lazy).parts = Buffers::make((*lazy).base.base.tts_mcxt);
        }
        (*lazy).parts
    }
}

/// Says for whom rows in the slot are opened.
pub unsafe fn serve(slot: *mut pg_sys::TupleTableSlot, reader: Reader) {
    // SAFETY: `is_lazy(slot)`.
    unsafe { (*slot.cast::<LazySlot>()).reader = reader };
}

/// Says which columns of the slot are looked at, of rows of several parts; others stay NULL there. The set, in
/// PostgreSQL's numbers of attributes, lives as long as the slot.
pub unsafe fn choose(slot: *mut pg_sys::TupleTableSlot, wanted: *mut pg_sys::Bitmapset) {
    // SAFETY: `is_lazy(slot)`.
    unsafe { (*parts_of(slot.cast())).choose(wanted) };
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
