//! Callbacks that write rows.
//!
//! Each takes the executor's plaintext row, moves big values out (`toast`), seals what is left into
//! one opaque tuple and hands that to heapam through the shadow. heap_update() learns what changed
//! from a comparison of plaintext made here.

use std::cell::Cell;

use pgrx::pg_sys;
use sealed_crypto::{OVERHEAD, RowBody};

use super::changed::Sets;
use super::opened::{self, GROWTH};
use super::parts;
use super::{is_toast, owner, toast};
use crate::error::Error;
use crate::pg::call::callback;
use crate::pg::ffi;
use crate::pg::local::backend_local;
use crate::pg::shadow::{self, Changed};
use crate::pg::tuple::{self, BODY_BITS, HEADER, HEAPTUPLESIZE, NATTS_MASK, SEALED_HOFF};
use crate::pg::xact;
use crate::table_am::gate::{self, Reader};
use crate::table_am::mixed::{self, Kind};
use crate::table_am::row;

backend_local! {
    /// Memory for sealed tuples on their way into a page; reset by each callback that uses it.
    static SCRATCH: Cell<pg_sys::MemoryContext> = const { Cell::new(std::ptr::null_mut()) };
    /// Whether something is in it.
    static USED: Cell<bool> = const { Cell::new(false) };
}

/// Empties the scratch context at the end of a callback: a value of hundreds of megabytes went through.
fn done_with(scratch: pg_sys::MemoryContext) {
    // SAFETY: made by `scratch`; nothing points into it any more.
    unsafe { ffi::MemoryContextReset(scratch) };
    USED.set(false);
}

/// The scratch context, emptied: a callback that raised left its tuples here.
fn scratch() -> pg_sys::MemoryContext {
    SCRATCH.with(|cell| {
        // SAFETY: a child of TopMemoryContext, made once; nothing outside a running write callback
        // points into it, and write callbacks do not nest (heapam runs no user code).
        unsafe {
            if cell.get().is_null() {
                cell.set(pg_sys::AllocSetContextCreateInternal(
                    pg_sys::TopMemoryContext,
                    c"pg_sealed rows".as_ptr(),
                    0,
                    64 * 1024,
                    8 * 1024 * 1024,
                ));
            } else if USED.get() {
                ffi::MemoryContextReset(cell.get());
            }
        }
        USED.set(true);
        cell.get()
    })
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

/// Seals a plaintext heap tuple into a palloc'd opaque one (current memory context).
pub unsafe fn seal(plain: pg_sys::HeapTuple, owner: pg_sys::Oid) -> pg_sys::HeapTuple {
    // SAFETY: `plain` is a whole heap tuple; the result is one palloc'd block like
    // heap_form_tuple() makes, so heap_freetuple() frees it.
    unsafe {
        let plain_len = (*plain).t_len as usize;
        let len = plain_len + GROWTH;
        let t = pg_sys::palloc(HEAPTUPLESIZE + len).cast::<pg_sys::HeapTupleData>();
        let data = t.cast::<u8>().add(HEAPTUPLESIZE);
        (*t).t_len = len as u32;
        (*t).t_self = (*plain).t_self;
        (*t).t_tableOid = (*plain).t_tableOid;
        (*t).t_data = data.cast();
        let from = tuple::header(plain);
        std::ptr::copy_nonoverlapping((*plain).t_data.cast::<u8>(), data, HEADER);
        *data.add(HEADER) = 0;
        let to = tuple::header(t);
        to.t_infomask &= !BODY_BITS;
        to.t_infomask2 &= !NATTS_MASK;
        to.t_hoff = SEALED_HOFF as u8;

        let payload = std::slice::from_raw_parts_mut(data.add(SEALED_HOFF), len - SEALED_HOFF);
        let body = &mut payload[OVERHEAD..];
        let shape = RowBody {
            natts: from.t_infomask2 & NATTS_MASK,
            has_null: from.t_infomask & pg_sys::HEAP_HASNULL as u16 != 0,
            has_varwidth: from.t_infomask & pg_sys::HEAP_HASVARWIDTH as u16 != 0,
            has_external: from.t_infomask & pg_sys::HEAP_HASEXTERNAL as u16 != 0,
            hoff: from.t_hoff,
        };
        let rest = std::slice::from_raw_parts(
            (*plain).t_data.cast::<u8>().add(HEADER),
            plain_len - HEADER,
        );
        let (prefix, after) = body.split_at_mut(RowBody::LEN);
        after.copy_from_slice(rest);
        let mut fields = [0; RowBody::LEN];
        // Only a tuple that PostgreSQL did not form has another t_hoff than its columns ask for.
        let written = shape.write(&mut fields).map_err(Error::from);
        prefix.copy_from_slice(&fields);
        if let Err(e) = written.and_then(|()| row::seal(owner, payload)) {
            e.report();
        }
        t
    }
}

/// The palloc'd tuple that goes into a page for a plaintext row: sealed, or in a table that is being
/// unsealed a copy (current memory context).
pub unsafe fn to_store(plain: pg_sys::HeapTuple, rel: pg_sys::Relation) -> pg_sys::HeapTuple {
    // SAFETY: as for `seal`.
    unsafe {
        match mixed::target(mixed_of(rel)) {
            Kind::Sealed => match parts::layout_to_write(rel) {
                None => seal(plain, owner(rel)),
                Some(layout) => parts::seal(plain, (*rel).rd_att, &layout),
            },
            Kind::Plain => {
                let copy = pg_sys::heap_copytuple(plain);
                // What heap_form_tuple() left there says that it is a datum of the table's row type, and
                // since 15.20 heap_update() compares that with the descriptor of the relation it was given: our
                // shadow's. In a page these are the transaction fields, which heapam sets.
                tuple::header(copy).t_choice = std::mem::zeroed();
                copy
            }
        }
    }
}

/// How `rel` is mixed. Raises if the catalog cannot say.
fn mixed_of(rel: pg_sys::Relation) -> Option<mixed::Mixed> {
    mixed::of(owner(rel)).unwrap_or_else(|e| e.report())
}

/// The shadow that heapam gets for a call that does not update.
pub fn shadow_of(rel: pg_sys::Relation) -> pg_sys::Relation {
    if mixed_of(rel).is_some() { shadow::of_mixed(rel) } else { shadow::of(rel) }
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
struct Incoming {
    /// The row as the executor gave it, in the slot or palloc'd.
    user: pg_sys::HeapTuple,
    /// The same with big values moved out; `user` itself if nothing had to move.
    stored: pg_sys::HeapTuple,
    sealed: pg_sys::HeapTuple,
}

/// Fetches the slot's row, moves big values out and seals it, all in `context`.
///
/// `old` is the version an update replaces, opened.
unsafe fn prepare(
    rel: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    options: i32,
    old: Option<pg_sys::HeapTuple>,
    context: pg_sys::MemoryContext,
) -> Incoming {
    // ALTER TABLE writes rows anew that the current user has read: as he sees them, they are not to be kept.
    // SAFETY: an open relation.
    if owner(rel) != unsafe { (*rel).rd_id }
        && let Some(layout) = parts::layout_to_write(rel)
        && let Err(e) = gate::check_all(&layout, owner(rel))
    {
        e.report();
    }
    // SAFETY: executor's arguments; what ExecFetchSlotHeapTuple() allocates for a virtual slot goes
    // to the scratch context with everything else.
    in_context(context, || unsafe {
        let user = ffi::ExecFetchSlotHeapTuple(slot, true, std::ptr::null_mut());
        (*slot).tts_tableOid = (*rel).rd_id;
        (*user).t_tableOid = (*rel).rd_id;
        let stored = toast::store(rel, user, old, options);
        let sealed = to_store(stored, rel);
        Incoming { user, stored, sealed }
    })
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
    callback!({
        // SAFETY: executor's arguments.
        unsafe { insert(rel, slot, cid, options, bistate, None) }
    })
}

pub unsafe extern "C-unwind" fn tuple_insert_speculative(
    rel: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    cid: pg_sys::CommandId,
    options: i32,
    bistate: *mut pg_sys::BulkInsertStateData,
    token: u32,
) {
    callback!({
        // SAFETY: executor's arguments.
        unsafe { insert(rel, slot, cid, options, bistate, Some(token)) }
    })
}

unsafe fn insert(
    rel: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    cid: pg_sys::CommandId,
    mut options: i32,
    bistate: *mut pg_sys::BulkInsertStateData,
    token: Option<u32>,
) {
    refuse_published(rel);
    // SAFETY: executor's arguments; the sealed tuple lives in the scratch context until the next
    // write callback.
    unsafe {
        let context = scratch();
        let row = prepare(rel, slot, options, None, context);
        if let Some(token) = token {
            tuple::set_speculative_token(row.sealed, token);
            options |= pg_sys::HEAP_INSERT_SPECULATIVE as i32;
        }
        ffi::heap_insert(shadow_of(rel), row.sealed, cid, options, bistate);
        copy_back(slot, row.user, row.sealed);
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
            let context = scratch();
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
        let context = scratch();
        // SAFETY: `slots` holds `count` slots. heap_multi_insert() wants slots: plain heap-tuple slots
        // without columns, in the scratch context like the tuples they point at.
        unsafe {
            let slots = std::slice::from_raw_parts(slots, count as usize);
            let mut sealed: Vec<*mut pg_sys::TupleTableSlot> = Vec::with_capacity(slots.len());
            for &slot in slots {
                let row = prepare(rel, slot, options, None, context);
                let holder = in_context(context, || {
                    let holder = pg_sys::MakeTupleTableSlot(
                        shadow::no_columns(),
                        &raw const pg_sys::TTSOpsHeapTuple,
                    );
                    // "Should free" keeps heap_multi_insert() from copying the tuple once more.
                    pg_sys::ExecStoreHeapTuple(row.sealed, holder, true)
                });
                sealed.push(holder);
            }
            in_context(context, || {
                ffi::heap_multi_insert(
                    shadow_of(rel),
                    sealed.as_mut_ptr(),
                    count,
                    cid,
                    options,
                    bistate,
                );
            });
            for (&slot, &holder) in slots.iter().zip(&sealed) {
                (*slot).tts_tid = (*holder).tts_tid;
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
            let context = scratch();
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
            let context = scratch();
            let sets = in_context(context, || Sets::of(rel));
            let old = in_context(context, || fetch(rel, otid, Reader::Writer));
            let mixed = mixed_of(rel);
            let keeps = old.and_then(|old| old.with_chunks_of(mixed::target(mixed)));
            let row = prepare(rel, slot, 0, keeps, context);
            let changed = match old {
                Some(old) => in_context(context, || sets.compare(rel, old.row, row.user)),
                None => Changed { hot: true, summarized: true, key: true, identity: true },
            };
            let result = in_context(context, || {
                let shadow = shadow::for_update(rel, mixed.is_some(), changed);
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
