//! Rows that are a slot's own: they stay until it gets another.

use pgrx::pg_sys;

use super::{LazySlot, clear, clear_inner, heap_ops, is_lazy, make_room, open};
use crate::pg::call::callback;

/// The row of a slot, if it is the slot's own, as one that was materialized is.
#[inline]
pub unsafe fn own_tuple(slot: *mut pg_sys::TupleTableSlot) -> Option<pg_sys::HeapTuple> {
    // SAFETY: a slot of the executor's.
    unsafe {
        let lazy = slot.cast::<LazySlot>();
        (is_lazy(slot) && owns(lazy)).then(|| (*lazy).base.tuple)
    }
}

/// Whether the row is palloc'd for the slot, or lies in its buffer.
#[inline]
unsafe fn owns(lazy: *mut LazySlot) -> bool {
    // SAFETY: a slot of ours.
    unsafe {
        (*lazy).base.base.tts_flags & pg_sys::TTS_FLAG_SHOULDFREE as u16 != 0
            || std::ptr::eq((*lazy).base.tuple, &raw const (*lazy).head)
    }
}

pub unsafe extern "C-unwind" fn materialize(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: as for `getsomeattrs`; heap's function copies a row that is not the slot's own into the slot's
    // context. After that the pin is not needed.
    unsafe {
        open(slot);
        if !owns(slot.cast())
            && let Some(f) = heap_ops().materialize
        {
            f(slot);
        }
        clear_inner(slot.cast());
    }
}

pub unsafe extern "C-unwind" fn copyslot(
    dst: *mut pg_sys::TupleTableSlot,
    src: *mut pg_sys::TupleTableSlot,
) {
    // SAFETY: `dst` is a slot of ours, `src` any other; the copy lives in dst's buffer or context. Nothing raises
    // once dst is cleared.
    unsafe {
        let (lazy, ops) = (dst.cast::<LazySlot>(), &*(*src).tts_ops);
        if let Some(tuple_of) = ops.get_heap_tuple {
            let from = tuple_of(src);
            let len = (*from).t_len as usize;
            if (*lazy).capacity < len {
                more_room(lazy, len);
            }
            clear(dst);
            (*lazy).head = *from;
            (*lazy).head.t_data = (*lazy).buffer.cast();
            (*lazy).base.tuple = &mut (*lazy).head;
            std::ptr::copy_nonoverlapping((*from).t_data.cast(), (*lazy).buffer, len);
        } else if let Some(copy_of) = ops.copy_heap_tuple {
            let old = pg_sys::MemoryContextSwitchTo((*dst).tts_mcxt);
            let copy = copy_of(src);
            pg_sys::MemoryContextSwitchTo(old);
            clear(dst);
            (*lazy).base.tuple = copy;
            (*dst).tts_flags |= pg_sys::TTS_FLAG_SHOULDFREE as u16;
        }
        (*dst).tts_flags &= !(pg_sys::TTS_FLAG_EMPTY as u16);
        (*dst).tts_tid = (*(*lazy).base.tuple).t_self;
        (*dst).tts_tableOid = (*(*lazy).base.tuple).t_tableOid;
    }
}

#[cold]
unsafe extern "C-unwind" fn more_room(lazy: *mut LazySlot, need: usize) {
    callback!({
        // SAFETY: a slot of ours, about to get another row.
        unsafe { make_room(lazy, need) };
    })
}
