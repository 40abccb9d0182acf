//! Rows that a transaction stores one by one, many of them: its table grows by several pages at a time, as core lets it grow
//! for COPY. heapam does that for whoever brings a `BulkInsertState`
//! (`RelationAddBlocks` of access/heap/hio.c, since 16); the executor brings none for INSERT … SELECT, and a table that grows page
//! by page has each of them written with zeros first.
//!
//! Ours has no ring of buffers, and holds no page pinned between two rows, so there is nothing to end: a statement that
//! fails leaves numbers of pages behind, which nobody asks for again. The pages themselves are in the free space map as soon as
//! the table has grown: what is left over, others fill.

use std::cell::UnsafeCell;

use pgrx::pg_sys;

use crate::pg::ffi::{self, plain};
use crate::pg::local::backend_local;

/// Rows of a transaction before the pages that its table grows by are counted, which costs each row a second pin.
const MANY: u32 = 1000;
/// It grows by at most this part of what it has grown by, so that no more than that stays empty: the planner counts
/// empty pages too, and VACUUM cuts off none that are less than a sixteenth.
const SHARE: u32 = 64;
/// Up to eight pages at once are written with zeros all the same (`mdzeroextend` of storage/smgr/md.c).
const AT_LEAST: u32 = 9;
/// heapam's own limit (`MAX_BUFFERS_TO_EXTEND_BY`).
const AT_MOST: u32 = 64;
/// Tables that a transaction stores rows in by turns.
const TABLES: usize = 8;

/// What pages are remembered for. They are behind the end of the file if it was cut off meanwhile, which takes a lock
/// that conflicts with the writer's: that one he holds until the subtransaction ends in which he got it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Of {
    /// With its epoch. Each subtransaction has its own.
    subtransaction: u64,
    relation: pg_sys::Oid,
    file: pg_sys::RelFileNumber,
}

#[derive(Clone, Copy)]
struct Growth {
    of: Option<Of>,
    rows: u32,
    /// Pages that the table has grown by.
    pages: u32,
    state: ffi::BulkInsertStateData,
}

const NONE: Growth = Growth { of: None, rows: 0, pages: 0, state: ffi::BulkInsertStateData::NEW };

backend_local! {
    static GROWTHS: UnsafeCell<[Growth; TABLES]> = const { UnsafeCell::new([NONE; TABLES]) };
}

fn growth_of(relation: pg_sys::Oid) -> *mut Growth {
    let first = GROWTHS.with(UnsafeCell::get).cast::<Growth>();
    first.wrapping_add(relation.to_u32() as usize % TABLES)
}

/// heap_insert(). Not guarded: nothing here has a destructor, so an ERROR may jump over it.
pub unsafe fn heap_insert(
    rel: pg_sys::Relation,
    tuple: pg_sys::HeapTuple,
    cid: pg_sys::CommandId,
    options: i32,
    bistate: pg_sys::BulkInsertState,
) {
    // SAFETY: passed on. Only this thread has the array, no reference to it is kept over the call, and heapam runs no
    // code that comes back here. After an ERROR `current_buf` names a page whose pin the resource owner has dropped: it
    // is forgotten before heapam looks at it. `rel` has its file's name, as every open relation with storage.
    unsafe {
        let growth = growth_of((*rel).rd_id);
        if !bistate.is_null() || !is_large(growth, rel) {
            plain::heap_insert(rel, tuple, cid, options, bistate);
            return;
        }
        let share = (*growth).pages / SHARE;
        let by = if share < AT_LEAST { 0 } else { share.min(AT_MOST) };
        let state = &raw mut (*growth).state;
        (*state).current_buf = pg_sys::InvalidBuffer as i32;
        (*state).already_extended_by = by;
        plain::heap_insert(rel, tuple, cid, options, state.cast());
        // It does not get less; a panic could not leave this frame.
        let grown = (*state).already_extended_by.saturating_sub(by);
        (*growth).pages = (*growth).pages.saturating_add(grown);
        if (*state).current_buf != pg_sys::InvalidBuffer as i32 {
            plain::ReleaseBuffer((*state).current_buf);
        }
    }
}

/// Counts a row; whether there were many before it.
#[inline]
unsafe fn is_large(growth: *mut Growth, rel: pg_sys::Relation) -> bool {
    // SAFETY: as for `heap_insert`.
    unsafe {
        let of = Of {
            subtransaction: plain::GetCurrentFullTransactionIdIfAny().value,
            relation: (*rel).rd_id,
            file: (*rel).rd_locator.relNumber,
        };
        if (*growth).of != Some(of) {
            // It has no number before it has stored a row.
            *growth = Growth { of: (of.subtransaction != 0).then_some(of), ..NONE };
        }
        (*growth).rows = (*growth).rows.saturating_add(1);
        (*growth).rows > MANY
    }
}

/// heap's callback for a table that was made in this transaction: its pages are gone.
pub unsafe extern "C-unwind" fn relation_nontransactional_truncate(rel: pg_sys::Relation) {
    // SAFETY: an open relation.
    unsafe {
        *growth_of((*rel).rd_id) = NONE;
        of_heap!(relation_nontransactional_truncate)(rel);
    }
}
