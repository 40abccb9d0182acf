//! Callbacks that build, insert and clean up.

use std::ffi::c_void;

use pgrx::pg_sys::{self, Datum};

use super::shadow::{self, Use};
use super::{arena, hash, nbtree, scan, value};
use crate::error::Error;
use crate::index_am::key;
use crate::pg::call::{call_c, callback};
use crate::pg::{index_stmt, xact};
use crate::policy;

/// The values of one index entry, sealed; good until the next one of the index.
struct Sealed([Datum; pg_sys::INDEX_MAX_KEYS as usize]);

impl Sealed {
    unsafe fn new(shadow: &Use, values: *const Datum, isnull: *const bool) -> Self {
        let mut sealed = Self([Datum::null(); pg_sys::INDEX_MAX_KEYS as usize]);
        // SAFETY: core passes a value and a flag for each column.
        unsafe {
            for (at, column) in shadow.columns().iter().enumerate() {
                if *isnull.add(at) {
                    continue;
                }
                let value = *values.add(at);
                // A code is passed by value.
                let one = match column.hash {
                    Some(_) => hash::of(shadow, None, value),
                    None => value::seal(column, value),
                };
                sealed.0[at] = one.unwrap_or_else(|error| error.report());
            }
        }
        sealed
    }
}

/// Seals the values of an entry that a build of an index of ours has come to, around `body`. Those of other
/// indexes are left as they are.
pub unsafe fn sealed_for_build(
    index: pg_sys::Relation,
    values: *mut Datum,
    isnull: *mut bool,
    body: impl FnOnce(*mut Datum),
) {
    // SAFETY: an open index, or the shadow that `ambuild` has passed on: its routine is ours.
    unsafe {
        let build = (*(*index).rd_indam).ambuild.map(|f| f as usize);
        let ours = [ambuild as *const () as usize, hash::ambuild as *const () as usize];
        if !build.is_some_and(|build| ours.contains(&build)) {
            return body(values);
        }
        let shadow = shadow::of_written(index);
        let mut sealed = Sealed::new(&shadow, values, isnull);
        body(sealed.0.as_mut_ptr());
    }
}

/// What a build of either kind begins with.
pub unsafe fn prepare(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
) -> Result<shadow::Use, Error> {
    // SAFETY: arguments of core's.
    unsafe {
        // The rows of another table do not pass by `sealed_for_build`, and it has no keys.
        if policy::sealed_method() != Some((*(*heap).rd_rel).relam)
            || policy::is_being_unsealed((*heap).rd_id)
        {
            let relation = crate::pg::relation::name((*heap).rd_id);
            let method = pg_sys::get_am_name((*(*index).rd_rel).relam);
            let method = std::ffi::CStr::from_ptr(method).to_string_lossy().into_owned();
            return Err(Error::IndexNotSealed { relation, method });
        }
        let shadow = shadow::of(index)?;
        for (at, column) in shadow.columns().iter().enumerate() {
            if column.is_key() {
                column.check_adopted(index, at)?;
                column.check_collation(index, at)?;
            }
        }
        // So that no later transaction puts a key under a layout into it that it takes away again (`index_layout`).
        // pg_upgrade puts the file of the old server in its place.
        if !xact::is_binary_upgrade() {
            key::make_layout((*(*index).rd_index).indrelid)?;
        }
        scan::bring_keys(index);
        Ok(shadow)
    }
}

pub unsafe extern "C-unwind" fn ambuild(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
) -> *mut pg_sys::IndexBuildResult {
    callback!({
        // SAFETY: arguments of core's.
        unsafe {
            let shadow = prepare(heap, index).unwrap_or_else(|error| error.report());
            let build = nbtree().ambuild.unwrap_unchecked();
            let relation = shadow.relation();
            let _opened = arena::Used;
            shadow.written(|| call_c(|| build(heap, relation, info)))
        }
    })
}

pub unsafe extern "C-unwind" fn ambuildempty(index: pg_sys::Relation) {
    callback!({
        // SAFETY: an open index.
        unsafe {
            let shadow = shadow::of(index).unwrap_or_else(|error| error.report());
            let relation = shadow.relation();
            let build = nbtree().ambuildempty.unwrap_unchecked();
            call_c(|| build(relation))
        }
    })
}

#[allow(clippy::too_many_arguments)]
pub unsafe extern "C-unwind" fn aminsert(
    index: pg_sys::Relation,
    values: *mut Datum,
    isnull: *mut bool,
    tid: pg_sys::ItemPointer,
    heap: pg_sys::Relation,
    unique: pg_sys::IndexUniqueCheck::Type,
    unchanged: bool,
    info: *mut pg_sys::IndexInfo,
) -> bool {
    callback!({
        // SAFETY: arguments of core's.
        unsafe {
            let shadow = shadow::of(index).unwrap_or_else(|error| error.report());
            scan::bring_keys(index);
            let mut sealed = Sealed::new(&shadow, values, isnull);
            let insert = nbtree().aminsert.unwrap_unchecked();
            let (relation, at) = (shadow.relation(), sealed.0.as_mut_ptr());
            shadow.written(|| {
                call_c(|| insert(relation, at, isnull, tid, heap, unique, unchanged, info))
            })
        }
    })
}

pub unsafe extern "C-unwind" fn ambulkdelete(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
    delete: pg_sys::IndexBulkDeleteCallback,
    state: *mut c_void,
) -> *mut pg_sys::IndexBulkDeleteResult {
    callback!({
        // SAFETY: arguments of core's.
        unsafe {
            let shadow = shadow::of((*info).index).unwrap_or_else(|error| error.report());
            // If they can be had: it goes without.
            let _ = key::divided((*(*(*info).index).rd_index).indrelid);
            let mut info = *info;
            info.index = shadow.relation();
            let (bulk, info) = (nbtree().ambulkdelete.unwrap_unchecked(), &raw mut info);
            key::cleaning(|| call_c(|| bulk(info, stats, delete, state)))
        }
    })
}

pub unsafe extern "C-unwind" fn amvacuumcleanup(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
) -> *mut pg_sys::IndexBulkDeleteResult {
    callback!({
        // SAFETY: arguments of core's.
        unsafe {
            let shadow = shadow::of((*info).index).unwrap_or_else(|error| error.report());
            let _ = key::divided((*(*(*info).index).rd_index).indrelid);
            let mut info = *info;
            info.index = shadow.relation();
            let (clean, info) = (nbtree().amvacuumcleanup.unwrap_unchecked(), &raw mut info);
            key::cleaning(|| call_c(|| clean(info, stats)))
        }
    })
}

/// The options: nbtree's, and that of constraints with sealed keys.
pub unsafe extern "C-unwind" fn amoptions(options: Datum, validate: bool) -> *mut pg_sys::bytea {
    callback!({
        // SAFETY: an array as pg_class has it, not null; lists and arrays are palloc'd.
        unsafe {
            let all = pg_sys::untransformRelOptions(options);
            let nbtree = nbtree().amoptions.unwrap_unchecked();
            if !index_stmt::marked(all) {
                return call_c(|| nbtree(options, validate));
            }
            if validate && let Some(value) = index_stmt::unknown_mark(all) {
                let what = format!("invalid value for option \"sealing\": {value}");
                Error::BadArgument { what, hint: "It can be random or deterministic.".to_owned() }
                    .report();
            }
            let others = index_stmt::without_mark(all);
            let null = std::ptr::null_mut();
            let none = Datum::from(0_usize);
            let others = pg_sys::transformRelOptions(none, others, null, null.cast(), false, false);
            call_c(|| nbtree(others, validate))
        }
    })
}

/// How high the tree is, for the planner.
#[cfg(feature = "pg18")]
pub unsafe extern "C-unwind" fn amgettreeheight(index: pg_sys::Relation) -> i32 {
    callback!({
        // SAFETY: an open index.
        unsafe {
            let shadow = shadow::of(index).unwrap_or_else(|error| error.report());
            let relation = shadow.relation();
            let height = nbtree().amgettreeheight.unwrap_unchecked();
            call_c(|| height(relation))
        }
    })
}
