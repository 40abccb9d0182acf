//! Callbacks that write rows.
//!
//! Each takes the executor's plaintext row, moves big values out (`toast`), seals what is left into
//! one opaque tuple and hands that to heapam through the shadow. heap_update() learns what changed
//! from a comparison of plaintext made here.

use std::cell::Cell;

use pgrx::pg_sys;

#[cfg(not(feature = "pg15"))]
use super::bulk::heap_insert;
use super::changed::Sets;
use super::opened;
use super::target::{ROOM, Target, shadow_of, to_store};
use super::{is_toast, owner, slot, toast};
use crate::pg::call::callback;
use crate::pg::ffi;
#[cfg(feature = "pg15")]
use crate::pg::ffi::plain::heap_insert;
use crate::pg::local::backend_local;
use crate::pg::shadow::{self, Changed};
use crate::pg::tuple::{self, BODY_BITS, NATTS_MASK};
use crate::pg::xact;
use crate::table_am::gate::{self, Reader};
use crate::table_am::mixed::Kind;

/// What write callbacks work in.
#[derive(Clone, Copy)]
struct Scratch {
    /// For what a callback allocates.
    context: pg_sys::MemoryContext,
    /// `ROOM` bytes for a sealed tuple of a single row, not of the context.
    room: *mut u8,
}

backend_local! {
    static SCRATCH: Cell<Option<Scratch>> = const { Cell::new(None) };
}

/// Empties the scratch context at the end of a callback: a value of hundreds of megabytes went through.
fn done_with(scratch: pg_sys::MemoryContext) {
    // SAFETY: made by `scratch`; nothing points into it any more.
    unsafe { ffi::MemoryContextReset(scratch) };
}

/// The scratch context, emptied: a callback that raised left its tuples here; and the room.
fn scratch() -> Scratch {
    // SAFETY: children of TopMemoryContext, made once; nothing outside a running write callback
    // points into them, and write callbacks do not nest (heapam runs no user code).
    unsafe {
        if let Some(scratch) = SCRATCH.get() {
            ffi::MemoryContextReset(scratch.context);
            return scratch;
        }
        let context = pg_sys::AllocSetContextCreateInternal(
            pg_sys::TopMemoryContext,
            c"pg_sealed rows".as_ptr(),
            0,
            64 * 1024,
            8 * 1024 * 1024,
        );
        let room = pg_sys::MemoryContextAlloc(pg_sys::TopMemoryContext, ROOM).cast();
        let scratch = Scratch { context, room };
        SCRATCH.set(Some(scratch));
        scratch
    }
}

/// Runs `f` with `context` current; an ERROR resets the context anyway (abort does).
pub(super) fn in_context<T>(context: pg_sys::MemoryContext, f: impl FnOnce() -> T) -> T {
    // SAFETY: `context` is a live memory context.
    let old = unsafe { pg_sys::MemoryContextSwitchTo(context) };
    let value = f();
    // SAFETY: `old` was current a moment ago.
    unsafe { pg_sys::MemoryContextSwitchTo(old) };
    value
}

/// The version that an update replaces, or that a delete removes.
#[derive(Clone, Copy)]
struct Old {
    /// Opened.
    row: pg_sys::HeapTuple,
    /// What it is in the page, and so are its chunks.
    kind: Kind,
}

impl Old {
    /// The row, if a new version may go on referring to its chunks.
    fn with_chunks_of(self, target: Kind) -> Option<pg_sys::HeapTuple> {
        (self.kind == target).then_some(self.row)
    }
}

/// A row on its way in.
#[repr(C)]
struct Incoming {
    /// The row as the executor gave it, in the slot or palloc'd.
    user: pg_sys::HeapTuple,
    /// The same with big values moved out; `user` itself if nothing had to move.
    stored: pg_sys::HeapTuple,
    sealed: pg_sys::HeapTuple,
}

/// Fetches the slot's row, moves big values out and seals it, all in the current context.
///
/// `old` is the version an update replaces, opened.
unsafe fn prepare(
    rel: pg_sys::Relation,
    target: &Target,
    slot: *mut pg_sys::TupleTableSlot,
    options: i32,
    old: Option<pg_sys::HeapTuple>,
) -> Incoming {
    // SAFETY: executor's arguments; what ExecFetchSlotHeapTuple() allocates for a virtual slot goes
    // to the scratch context with everything else.
    unsafe {
        // ALTER TABLE writes rows anew that the current user has read: as he sees them, they are not to be kept.
        if owner(rel) != (*rel).rd_id
            && let Some(layout) = target.parts()
            && let Err(e) = gate::check_all(layout, owner(rel))
        {
            e.report();
        }
        let user = match slot::own_tuple(slot) {
            Some(tuple) => tuple,
            None => ffi::ExecFetchSlotHeapTuple(slot, true, std::ptr::null_mut()),
        };
        (*slot).tts_tableOid = (*rel).rd_id;
        (*user).t_tableOid = (*rel).rd_id;
        let stored = toast::store(rel, target, user, old, options);
        let sealed = to_store(stored, rel, target);
        Incoming { user, stored, sealed }
    }
}

/// Does for the slot's tuple what heap_insert() and heap_update() promise for theirs: "on return the
/// header fields of *tup are updated" (RETURNING xmin and triggers read them).
unsafe fn copy_back(
    slot: *mut pg_sys::TupleTableSlot,
    user: pg_sys::HeapTuple,
    sealed: pg_sys::HeapTuple,
) {
    // SAFETY: `user` is the slot's materialised tuple, or a scratch copy where this does no harm.
    unsafe {
        (*slot).tts_tid = (*sealed).t_self;
        (*user).t_self = (*sealed).t_self;
        let from = tuple::header(sealed);
        let to = tuple::header(user);
        to.t_choice = from.t_choice;
        to.t_ctid = from.t_ctid;
        to.t_infomask = to.t_infomask & BODY_BITS | from.t_infomask & !BODY_BITS;
        to.t_infomask2 = to.t_infomask2 & NATTS_MASK | from.t_infomask2 & !NATTS_MASK;
    }
}

/// The row version at `tid`, opened, or None if the item is gone. Whatever its visibility: the
/// caller's snapshot keeps it from being pruned, heapam re-checks the rest.
unsafe fn fetch(rel: pg_sys::Relation, tid: pg_sys::ItemPointer, reader: Reader) -> Option<Old> {
    // SAFETY: passed on.
    unsafe {
        fetch_raw(rel, tid, |t| {
            let kind = if opened::is_plain(t) { Kind::Plain } else { Kind::Sealed };
            Some(Old { row: opened::open_copy(t, rel, reader), kind })
        })
    }
}

/// The row version at `tid` for its deletion: one that does not open is deleted all the same, with a
/// warning, since that is how it is got rid of. Its chunks, which only it could name, stay.
unsafe fn fetch_to_delete(
    rel: pg_sys::Relation,
    tid: pg_sys::ItemPointer,
    reader: Reader,
) -> Option<pg_sys::HeapTuple> {
    // SAFETY: passed on.
    unsafe {
        fetch_raw(rel, tid, |t| match opened::try_open_copy(t, rel, reader) {
            Ok(row) => Some(row),
            Err(why) if why.is_damage() => {
                why.into_error(t).warn();
                None
            }
            Err(why) => why.report(t),
        })
    }
}

/// Hands the sealed tuple at `tid` to `open`, with its page pinned.
pub(super) unsafe fn fetch_raw<T>(
    rel: pg_sys::Relation,
    tid: pg_sys::ItemPointer,
    open: impl FnOnce(pg_sys::HeapTuple) -> Option<T>,
) -> Option<T> {
    // SAFETY: a row that heap_fetch() finds has its page pinned, which holds the bytes still while they
    // are opened into the current context; an ERROR lets the resource owner drop the pin. (keep_buf,
    // false, would keep the pin of a row that is not visible too.)
    unsafe {
        let mut t = pg_sys::HeapTupleData { t_self: *tid, ..Default::default() };
        let mut buffer: pg_sys::Buffer = 0;
        let any = (&raw mut pg_sys::SnapshotAnyData).cast();
        if !ffi::heap_fetch(rel, any, &mut t, &mut buffer, false) {
            return None;
        }
        let opened = open(&mut t);
        pg_sys::ReleaseBuffer(buffer);
        opened
    }
}

pub unsafe extern "C-unwind" fn tuple_insert(
    rel: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    cid: pg_sys::CommandId,
    options: i32,
    bistate: *mut pg_sys::BulkInsertStateData,
) {
    // SAFETY: executor's arguments.
    unsafe {
        let row = prepare_insert(rel, slot, options);
        insert(row, slot, cid, options, bistate);
    }
}

pub unsafe extern "C-unwind" fn tuple_insert_speculative(
    rel: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    cid: pg_sys::CommandId,
    options: i32,
    bistate: *mut pg_sys::BulkInsertStateData,
    token: u32,
) {
    // SAFETY: executor's arguments.
    unsafe {
        let row = prepare_insert(rel, slot, options);
        tuple::set_speculative_token(row.incoming.sealed, token);
        let options = options | pg_sys::HEAP_INSERT_SPECULATIVE as i32;
        insert(row, slot, cid, options, bistate);
    }
}

/// A row that heap_insert() is to store.
#[repr(C)]
struct ToInsert {
    incoming: Incoming,
    shadow: pg_sys::Relation,
    /// Where the sealed tuple lives, until the next write callback.
    context: pg_sys::MemoryContext,
}

unsafe extern "C-unwind" fn prepare_insert(
    rel: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    options: i32,
) -> ToInsert {
    callback!({
        refuse_published(rel);
        let Scratch { context, room } = scratch();
        let target = Target::of(rel).with_room(room);
        // SAFETY: executor's arguments.
        let incoming =
            in_context(context, || unsafe { prepare(rel, &target, slot, options, None) });
        ToInsert { incoming, shadow: target.shadow(rel), context }
    })
}

/// Stores a row. Not guarded, nor are its callers: nothing here has a destructor, so an ERROR may jump over it.
unsafe fn insert(
    row: ToInsert,
    slot: *mut pg_sys::TupleTableSlot,
    cid: pg_sys::CommandId,
    options: i32,
    bistate: *mut pg_sys::BulkInsertStateData,
) {
    let ToInsert { incoming, shadow, context } = row;
    // SAFETY: executor's arguments, and what was made of them.
    unsafe {
        heap_insert(shadow, incoming.sealed, cid, options, bistate);
        copy_back(slot, incoming.user, incoming.sealed);
        done_with(context);
    }
}

pub unsafe extern "C-unwind" fn tuple_complete_speculative(
    rel: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    _token: u32,
    succeeded: bool,
) {
    callback!({
        // SAFETY: executor's arguments. The row is read before heap_abort_speculative() makes it dead,
        // because only its plaintext names the chunks to delete.
        unsafe {
            let tid = &raw mut (*slot).tts_tid;
            if succeeded {
                ffi::heap_finish_speculative(rel, tid);
                return;
            }
            let Scratch { context, .. } = scratch();
            let row = in_context(context, || {
                toast::may_have(rel).then(|| fetch(rel, tid, Reader::Internal)).flatten()
            });
            ffi::heap_abort_speculative(shadow_of(rel), tid);
            if let Some(old) = row {
                toast::delete_of(rel, old.row, true);
            }
            done_with(context);
        }
    })
}

/// A slot that MakeTupleTableSlot() and ExecStoreHeapTuple() would make, without the calls: a batch has a
/// thousand.
fn holder(sealed: pg_sys::HeapTuple) -> pg_sys::HeapTupleTableSlot {
    pg_sys::HeapTupleTableSlot {
        base: pg_sys::TupleTableSlot {
            type_: pg_sys::NodeTag::T_TupleTableSlot,
            // "Should free" keeps heap_multi_insert() from copying the tuple once more.
            tts_flags: (pg_sys::TTS_FLAG_FIXED | pg_sys::TTS_FLAG_SHOULDFREE) as u16,
            tts_ops: &raw const pg_sys::TTSOpsHeapTuple,
            tts_tupleDescriptor: shadow::no_columns(),
            ..Default::default()
        },
        tuple: sealed,
        ..Default::default()
    }
}

pub unsafe extern "C-unwind" fn multi_insert(
    rel: pg_sys::Relation,
    slots: *mut *mut pg_sys::TupleTableSlot,
    count: i32,
    cid: pg_sys::CommandId,
    options: i32,
    bistate: *mut pg_sys::BulkInsertStateData,
) {
    callback!({
        refuse_published(rel);
        let Scratch { context, .. } = scratch();
        // SAFETY: `slots` holds `count` slots. heap_multi_insert() wants slots: plain heap-tuple slots
        // without columns, that are gone with the scratch context like the tuples they point at.
        unsafe {
            let slots = std::slice::from_raw_parts(slots, count as usize);
            let target = Target::of(rel);
            let mut holders = Vec::with_capacity(slots.len());
            in_context(context, || {
                for &slot in slots {
                    holders.push(holder(prepare(rel, &target, slot, options, None).sealed));
                }
                let mut sealed: Vec<*mut pg_sys::TupleTableSlot> =
                    holders.iter_mut().map(|holder| (&raw mut *holder).cast()).collect();
                let shadow = target.shadow(rel);
                ffi::heap_multi_insert(shadow, sealed.as_mut_ptr(), count, cid, options, bistate);
            });
            for (&slot, holder) in slots.iter().zip(&holders) {
                (*slot).tts_tid = holder.base.tts_tid;
            }
            done_with(context);
        }
    })
}

#[allow(clippy::too_many_arguments)]
pub unsafe extern "C-unwind" fn tuple_delete(
    rel: pg_sys::Relation,
    tid: pg_sys::ItemPointer,
    cid: pg_sys::CommandId,
    _snapshot: pg_sys::Snapshot,
    crosscheck: pg_sys::Snapshot,
    wait: bool,
    tmfd: *mut pg_sys::TM_FailureData,
    changing_part: bool,
) -> pg_sys::TM_Result::Type {
    callback!({
        refuse_published(rel);
        // SAFETY: executor's arguments. The row is read first: its plaintext names the chunks.
        unsafe {
            let Scratch { context, .. } = scratch();
            // A row that moves to another partition is stored again there, as its reader saw it.
            let reader = if changing_part { Reader::Writer } else { Reader::Internal };
            let row = in_context(context, || {
                let read = changing_part || toast::may_have(rel);
                read.then(|| fetch_to_delete(rel, tid, reader)).flatten()
            });
            let result =
                ffi::heap_delete(shadow_of(rel), tid, cid, crosscheck, wait, tmfd, changing_part);
            if result == pg_sys::TM_Result::TM_Ok
                && let Some(row) = row
            {
                toast::delete_of(rel, row, false);
            }
            done_with(context);
            result
        }
    })
}

#[cfg(feature = "pg15")]
pub(super) type UpdateIndexes = bool;
#[cfg(not(feature = "pg15"))]
pub(super) type UpdateIndexes = pg_sys::TU_UpdateIndexes::Type;

#[allow(clippy::too_many_arguments)]
pub unsafe extern "C-unwind" fn tuple_update(
    rel: pg_sys::Relation,
    otid: pg_sys::ItemPointer,
    slot: *mut pg_sys::TupleTableSlot,
    cid: pg_sys::CommandId,
    _snapshot: pg_sys::Snapshot,
    crosscheck: pg_sys::Snapshot,
    wait: bool,
    tmfd: *mut pg_sys::TM_FailureData,
    lockmode: *mut pg_sys::LockTupleMode::Type,
    update_indexes: *mut UpdateIndexes,
) -> pg_sys::TM_Result::Type {
    callback!({
        refuse_published(rel);
        // SAFETY: executor's arguments. The bitmaps are asked for before anything is pinned, since
        // RelationGetIndexAttrBitmap() may open indexes.
        unsafe {
            let Scratch { context, .. } = scratch();
            let sets = in_context(context, || Sets::of(rel));
            let old = in_context(context, || fetch(rel, otid, Reader::Writer));
            let target = Target::of(rel);
            let keeps = old.and_then(|old| old.with_chunks_of(target.kind()));
            let row = in_context(context, || prepare(rel, &target, slot, 0, keeps));
            let changed = match old {
                Some(old) => in_context(context, || sets.compare(rel, old.row, row.user)),
                None => Changed { hot: true, summarized: true, key: true, identity: true },
            };
            let result = in_context(context, || {
                let shadow = shadow::for_update(rel, target.mixed, changed);
                let result = heap_update(
                    shadow,
                    otid,
                    row.sealed,
                    cid,
                    crosscheck,
                    wait,
                    tmfd,
                    lockmode,
                    update_indexes,
                );
                shadow::forget_bitmaps(shadow);
                result
            });
            if result == pg_sys::TM_Result::TM_Ok {
                copy_back(slot, row.user, row.sealed);
                if let Some(old) = old {
                    toast::delete_replaced(rel, old.row, row.stored);
                }
            } else if row.stored != row.user {
                // The chunks were written for a row that was not: nobody will ever refer to them.
                toast::delete_new(rel, keeps, row.stored);
            }
            done_with(context);
            result
        }
    })
}

/// heap_update(), with the word on indexes that heapam_tuple_update() makes of it: a version that is
/// not heap-only needs every index, a failed one none.
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn heap_update(
    shadow: pg_sys::Relation,
    otid: pg_sys::ItemPointer,
    sealed: pg_sys::HeapTuple,
    cid: pg_sys::CommandId,
    crosscheck: pg_sys::Snapshot,
    wait: bool,
    tmfd: *mut pg_sys::TM_FailureData,
    lockmode: *mut pg_sys::LockTupleMode::Type,
    update_indexes: *mut UpdateIndexes,
) -> pg_sys::TM_Result::Type {
    // SAFETY: passed on from `tuple_update`.
    unsafe {
        #[cfg(feature = "pg15")]
        let result = {
            let r = ffi::heap_update(shadow, otid, sealed, cid, crosscheck, wait, tmfd, lockmode);
            *update_indexes = r == pg_sys::TM_Result::TM_Ok && !tuple::is_heap_only(sealed);
            r
        };
        #[cfg(not(feature = "pg15"))]
        let result = {
            let to = update_indexes;
            let r =
                ffi::heap_update(shadow, otid, sealed, cid, crosscheck, wait, tmfd, lockmode, to);
            if r != pg_sys::TM_Result::TM_Ok {
                *update_indexes = pg_sys::TU_UpdateIndexes::TU_None;
            } else if !tuple::is_heap_only(sealed) {
                *update_indexes = pg_sys::TU_UpdateIndexes::TU_All;
            }
            r
        };
        result
    }
}

/// A publication would send rows without columns, so writing to a published sealed table raises.
pub(super) fn refuse_published(rel: pg_sys::Relation) {
    debug_assert!(!is_toast(rel));
    if xact::wal_is_logical()
        && let Err(e) = crate::policy::check_not_published(rel)
    {
        e.report();
    }
}
