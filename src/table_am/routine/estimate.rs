//! Callbacks about sizes.

use pgrx::pg_sys;

use super::opened::GROWTH;
use super::{is_toast, toast};
use crate::pg::call::{call_c, callback};

/// Bytes of a page that rows can fill (`HEAP_USABLE_BYTES_PER_PAGE`, access/heap/heapam_handler.c).
const PAGE: usize = pg_sys::BLCKSZ as usize - 24;
/// A heap row's header and line pointer (`HEAP_OVERHEAD_BYTES_PER_TUPLE`).
const ROW: usize = 24 + 4;

/// What the planner is told of a table's size: its rows, and the pages that heap would need for them.
///
/// Every way to read the rows opens the same seals, so what the seals add to the pages must not move
/// the planner from one way to another: a sealed table is to get heap's plans.
pub unsafe extern "C-unwind" fn relation_estimate_size(
    rel: pg_sys::Relation,
    widths: *mut i32,
    pages: *mut pg_sys::BlockNumber,
    tuples: *mut f64,
    all_visible: *mut f64,
) {
    callback!({
        // SAFETY: arguments of core's, passed on; the C function pointer is called guarded.
        unsafe {
            if is_toast(rel) {
                return call_c(|| {
                    of_heap!(relation_estimate_size)(rel, widths, pages, tuples, all_visible)
                });
            }
            pg_sys::table_block_relation_estimate_size(
                rel,
                widths,
                pages,
                tuples,
                all_visible,
                ROW + GROWTH,
                PAGE,
            );
            let blocks =
                pg_sys::RelationGetNumberOfBlocksInFork(rel, pg_sys::ForkNumber::MAIN_FORKNUM);
            // A small table that was never vacuumed counts as ten pages: of heap's rows.
            if *pages != blocks || blocks == 0 {
                return call_c(|| {
                    of_heap!(relation_estimate_size)(rel, widths, pages, tuples, all_visible)
                });
            }
            let seals = *tuples * GROWTH as f64 / PAGE as f64;
            *pages = (f64::from(blocks) - seals).round().max(1.0) as pg_sys::BlockNumber;
        }
    })
}

/// Whether a table needs a TOAST table: as heap decides, and where a value of storage PLAIN may have to
/// make room for the seal (`toast::store`).
pub unsafe extern "C-unwind" fn relation_needs_toast_table(rel: pg_sys::Relation) -> bool {
    callback!({
        // SAFETY: an open relation; the C function pointer is called guarded.
        unsafe {
            let natts = (*(*rel).rd_att).natts as usize;
            call_c(|| of_heap!(relation_needs_toast_table)(rel))
                || (0..natts).any(|i| toast::attribute((*rel).rd_att, i).plain_by_choice())
        }
    })
}
