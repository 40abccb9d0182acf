//! Opening the row in a slot.

use pgrx::pg_sys;

use super::{LazySlot, heap_ops, parts_of};
use crate::pg::call::{call_c, callback};
use crate::pg::tuple::maxalign;
use crate::table_am::routine::missing;
use crate::table_am::routine::opened::{is_sealed, try_open, views, write_header};
use crate::table_am::routine::parts::{self, Sealed};
use crate::table_am::row;

#[inline]
pub unsafe fn open(slot: *mut pg_sys::TupleTableSlot) {
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
unsafe fn open_fast(lazy: *mut LazySlot) -> bool {
    // SAFETY: `closed` says that the inner slot holds a pinned sealed tuple, whose bytes past the
    // header do not change while the pin is held. No call in here can raise or panic.
    unsafe {
        let sealed = (*(*lazy).inner.cast::<pg_sys::BufferHeapTupleTableSlot>()).base.tuple;
        if !is_sealed(sealed) || (*lazy).capacity < (*sealed).t_len as usize {
            return false;
        }
        fetch_ahead(sealed, &mut (*lazy).before, usize::MAX);
        let (payload, body) = views(sealed, (*lazy).buffer);
        row::open_near((*lazy).owner, payload, body) && finish(lazy, sealed)
    }
}

/// Has the row after the next brought into the cache, or its first so many lines: a scan that opens rows waits for memory
/// else, since the cipher reads all of each. Pages are filled downwards, so where the rows of a scan follow one another, it begins
/// two lengths below this one. It is a guess: what lies there is not looked at, and need not be there.
#[inline]
pub unsafe fn fetch_ahead(sealed: pg_sys::HeapTuple, before: &mut usize, lines: usize) {
    // SAFETY: the tuple's fields are read.
    let (at, len) = unsafe { ((*sealed).t_data.cast::<u8>(), (*sealed).t_len as usize) };
    let distance = std::mem::replace(before, at.addr()).wrapping_sub(at.addr());
    // Rows that are looked up lie anywhere. Behind a long one the processor has begun by itself.
    if distance <= 512 && len <= 512 {
        (len + 1..=2 * len)
            .rev()
            .step_by(64)
            .take(lines)
            .for_each(|below| prefetch(at.wrapping_sub(below)));
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

/// Has the line of an address brought into the cache, if there is memory.
#[inline]
pub fn prefetch(_at: *const u8) {
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
            // Most often that is all: the slot's first row, or one that is longer than those before.
            if make_room(lazy, (*sealed).t_len as usize) && open_fast(lazy) {
                pg_sys::MemoryContextSwitchTo(callers);
                return;
            }
            let parts = parts::has_parts(sealed).then(|| &mut *parts_of(lazy));
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
            let formed = match try_open(row, (*lazy).buffer, parts, head) {
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

/// Gives the slot's buffer at least `need` bytes. If it had not, what was in it is lost, and this returns true.
pub unsafe fn make_room(lazy: *mut LazySlot, need: usize) -> bool {
    // SAFETY: called by `open_slow`: the buffer is the slot's, and null while an ERROR could see it freed.
    unsafe {
        if (*lazy).capacity >= need {
            return false;
        }
        free_room(lazy);
        let capacity = maxalign(need.max(512));
        let context = (*lazy).base.base.tts_mcxt;
        (*lazy).buffer = pg_sys::MemoryContextAlloc(context, capacity).cast();
        (*lazy).capacity = capacity;
        true
    }
}

pub unsafe fn free_room(lazy: *mut LazySlot) {
    // SAFETY: palloc'd by `make_room` and nowhere else freed; null while an ERROR could see it freed.
    unsafe {
        if !(*lazy).buffer.is_null() {
            let buffer = std::mem::replace(&mut (*lazy).buffer, std::ptr::null_mut());
            (*lazy).capacity = 0;
            pg_sys::pfree(buffer.cast());
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
