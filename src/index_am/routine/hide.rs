//! Indexes that the current user may not look into, hidden from the planner: so that he gets of a column what its key's
//! policy says, by whichever plan. The check of a scan stays behind it, for plans that were made for somebody else.

use std::sync::OnceLock;

use pgrx::pg_sys;

use crate::index_am::{gate, key};
use crate::pg::call::callback;
use crate::pg::{class, index_stmt};
use crate::policy;

static BEFORE_US: OnceLock<pg_sys::get_relation_info_hook_type> = OnceLock::new();

/// Puts the hook in place. Called once, in the postmaster.
pub fn install() {
    // SAFETY: a plain pointer that only this thread reads and writes; ours lives as long as the library.
    unsafe {
        let _ = BEFORE_US.set(pg_sys::get_relation_info_hook);
        pg_sys::get_relation_info_hook = Some(relation_info);
    }
}

/// No `callback` around the hook before us: its ERROR passes over a frame that has nothing to drop.
unsafe extern "C-unwind" fn relation_info(
    root: *mut pg_sys::PlannerInfo,
    table: pg_sys::Oid,
    inherited: bool,
    rel: *mut pg_sys::RelOptInfo,
) {
    if let Some(Some(before)) = BEFORE_US.get() {
        // SAFETY: the planner's arguments, passed on as they came.
        unsafe { before(root, table, inherited, rel) };
    }
    // SAFETY: as above.
    callback!({ unsafe { hide(table, rel) } })
}

unsafe fn hide(table: pg_sys::Oid, rel: *mut pg_sys::RelOptInfo) {
    // SAFETY: the list holds IndexOptInfo nodes of indexes that the planner has locked.
    unsafe {
        if (*rel).indexlist.is_null() {
            return;
        }
        let ours: Vec<_> = class::nodes((*rel).indexlist)
            .into_iter()
            .map(|node| node.cast::<pg_sys::IndexOptInfo>())
            .filter(|info| index_stmt::is_ours((**info).relam))
            .collect();
        if ours.is_empty() || !policy::is_sealed(table) {
            return;
        }
        // Where no key can be had, nobody is shown anything: a scan says why.
        if key::divided(table).map_or(true, |layouts| layouts.is_empty()) {
            return;
        }
        for info in ours {
            let count = (*info).ncolumns as usize;
            let keys = std::slice::from_raw_parts((*info).indexkeys, count);
            let mut numbers: Vec<_> = keys.iter().map(|number| *number as i16).collect();
            // What a predicate says of a row is asked of no row.
            if !(*info).indpred.is_null() {
                numbers.push(0);
            }
            if gate::check((*info).indexoid, table, &numbers).is_err() {
                (*rel).indexlist = pg_sys::list_delete_ptr((*rel).indexlist, info.cast());
            }
        }
    }
}
