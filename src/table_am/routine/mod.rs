//! The membrane of the table AM: the callbacks, named as PostgreSQL names them.
//!
//! Unsafe code of the table AM lives in this folder. Rules that hold for every callback:
//! - `rel`, slots and scans come from the executor, valid for the length of the call.
//! - A relation of relkind 't' is a TOAST table of a sealed table: its rows are ordinary heap
//!   tuples whose chunk is sealed by `toast`, and every callback treats it as heap does.
//! - Only `modify`, `rewrite` and `toast` store tuples, through `pg::shadow` (TOAST rows directly).

/// heap's callback of this name; every one of them is set (`heapam_methods`).
macro_rules! of_heap {
    ($name:ident) => {
        $crate::pg::shadow::heap().$name.unwrap_unchecked()
    };
}

mod bitmap;
mod build;
#[cfg(not(feature = "pg15"))]
mod bulk;
mod changed;
mod estimate;
mod missing;
mod modify;
mod opened;
mod parts;
pub mod reseal;
mod rewrite;
mod scan;
pub mod scrub;
mod slot;
mod sort;
mod target;
mod toast;
mod trouble;
mod verify;
pub mod wanted;

use std::sync::OnceLock;

use pgrx::pg_sys;

use crate::error::Error;
use crate::pg::call::callback;
use crate::pg::shadow::heap;
use crate::pg::xact;

/// The table whose keys a relation's rows are sealed under.
///
/// During a rewrite (CLUSTER, VACUUM FULL, ALTER TABLE, REFRESH) rows are written into a transient
/// table whose storage is then swapped under the old OID: the keys are the old table's.
#[inline]
fn owner(rel: pg_sys::Relation) -> pg_sys::Oid {
    // SAFETY: an open relation; rd_rel is never null.
    unsafe {
        let rewrites = (*(*rel).rd_rel).relrewrite;
        if rewrites == pg_sys::InvalidOid { (*rel).rd_id } else { rewrites }
    }
}

/// Whether `rel` is the TOAST table of a sealed table.
#[inline]
fn is_toast(rel: pg_sys::Relation) -> bool {
    // SAFETY: as above.
    unsafe { (*(*rel).rd_rel).relkind == pg_sys::RELKIND_TOASTVALUE as std::ffi::c_char }
}

static ROUTINE: OnceLock<pg_sys::TableAmRoutine> = OnceLock::new();

/// Our routine: heap's, with these callbacks replaced. What is not listed needs no key and never
/// looks into a row: scan begin and end, parallel scan set-up, VACUUM, TRUNCATE, file copy, size,
/// HOT search and index deletion, tid checks.
fn routine() -> &'static pg_sys::TableAmRoutine {
    ROUTINE.get_or_init(|| {
        let mut am = *heap();
        am.slot_callbacks = Some(slot_callbacks);
        am.scan_getnextslot = Some(scan::scan_getnextslot);
        am.scan_getnextslot_tidrange = Some(scan::scan_getnextslot_tidrange);
        am.index_fetch_tuple = Some(scan::index_fetch_tuple);
        am.tuple_fetch_row_version = Some(scan::tuple_fetch_row_version);
        am.tuple_satisfies_snapshot = Some(scan::tuple_satisfies_snapshot);
        am.tuple_lock = Some(scan::tuple_lock);
        am.scan_analyze_next_block = Some(scan::scan_analyze_next_block);
        am.scan_analyze_next_tuple = Some(scan::scan_analyze_next_tuple);
        #[cfg(not(feature = "pg18"))]
        {
            am.scan_bitmap_next_block = Some(bitmap::scan_bitmap_next_block);
        }
        am.scan_bitmap_next_tuple = Some(scan::scan_bitmap_next_tuple);
        am.scan_sample_next_tuple = Some(scan::scan_sample_next_tuple);
        am.tuple_insert = Some(modify::tuple_insert);
        am.tuple_insert_speculative = Some(modify::tuple_insert_speculative);
        am.tuple_complete_speculative = Some(modify::tuple_complete_speculative);
        am.multi_insert = Some(modify::multi_insert);
        am.tuple_delete = Some(modify::tuple_delete);
        am.tuple_update = Some(modify::tuple_update);
        #[cfg(not(feature = "pg15"))]
        {
            am.relation_nontransactional_truncate = Some(bulk::relation_nontransactional_truncate);
        }
        am.index_build_range_scan = Some(build::index_build_range_scan);
        am.index_validate_scan = Some(build::index_validate_scan);
        am.relation_copy_for_cluster = Some(rewrite::relation_copy_for_cluster);
        am.relation_estimate_size = Some(estimate::relation_estimate_size);
        am.relation_needs_toast_table = Some(estimate::relation_needs_toast_table);
        am.relation_toast_am = Some(relation_toast_am);
        am.relation_fetch_toast_slice = Some(toast::relation_fetch_toast_slice);
        am
    })
}

unsafe extern "C-unwind" fn slot_callbacks(
    rel: pg_sys::Relation,
) -> *const pg_sys::TupleTableSlotOps {
    if is_toast(rel) {
        return &raw const pg_sys::TTSOpsBufferHeapTuple;
    }
    // Whoever reads or writes a table makes a slot for it first.
    crate::pg::log::uses_sealed_table();
    slot::ops()
}

/// TOAST tables of sealed tables are ours too: that is how fetching a value comes back to us.
unsafe extern "C-unwind" fn relation_toast_am(rel: pg_sys::Relation) -> pg_sys::Oid {
    // SAFETY: an open relation.
    unsafe { (*(*rel).rd_rel).relam }
}

/// Version-1 call information for `sealed_heap_handler_wrapper`.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_sealed_heap_handler_wrapper() -> &'static pg_sys::Pg_finfo_record {
    const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &V1
}

/// `sealed.sealed_heap_handler(internal) returns table_am_handler`.
///
/// # Safety
/// Called by PostgreSQL's function manager.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sealed_heap_handler_wrapper(
    _fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    callback!({
        if !xact::is_preloaded() {
            Error::NotPreloaded.report();
        }
        pg_sys::Datum::from(routine() as *const pg_sys::TableAmRoutine)
    })
}
