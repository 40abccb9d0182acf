//! Callbacks that scan.
//!
//! A scan is opened on the real index, since core drops its reference in the end; nbtree sees the shadow for as
//! long as a call takes.

use std::cell::RefCell;
use std::collections::HashMap;

use pgrx::pg_sys;

use super::probe::{self, Held};
use super::shadow::{self, Use};
use super::{compare, nbtree};
use crate::error::Error;
use crate::index_am::{gate, key};
use crate::pg::call::{call_c, callback};
use crate::pg::local::backend_local;

/// What a scan has besides nbtree's own.
struct Scan {
    _shadow: Use,
    /// Its arguments, until it gets others.
    _probes: Vec<Held>,
}

backend_local! {
    /// Open scans, by their descriptors' addresses.
    static SCANS: RefCell<HashMap<usize, Scan>> = RefCell::default();
}

/// Forgets scans that an ERROR left open.
pub fn transaction_end() {
    let left = SCANS.take();
    drop(left);
}

/// Puts the real index back, whatever happens.
struct Swapped {
    scan: pg_sys::IndexScanDesc,
    real: pg_sys::Relation,
    _shadow: Use,
}

impl Swapped {
    unsafe fn new(scan: pg_sys::IndexScanDesc) -> Self {
        // SAFETY: an open scan of an open index.
        unsafe {
            let real = (*scan).indexRelation;
            let shadow = shadow::of(real).unwrap_or_else(|error| error.report());
            (*scan).indexRelation = shadow.relation();
            Self { scan, real, _shadow: shadow }
        }
    }
}

impl Drop for Swapped {
    fn drop(&mut self) {
        // SAFETY: the scan is still there: only `amendscan` frees it, where core does.
        unsafe { (*self.scan).indexRelation = self.real };
    }
}

pub unsafe extern "C-unwind" fn amrescan(
    scan: pg_sys::IndexScanDesc,
    keys: pg_sys::ScanKey,
    nkeys: i32,
    orders: pg_sys::ScanKey,
    norders: i32,
) {
    callback!({
        // SAFETY: core's scan and keys; the copies live until nbtree has copied them.
        unsafe {
            let shadow = shadow::of((*scan).indexRelation).unwrap_or_else(|e| e.report());
            let table = (*(*(*scan).indexRelation).rd_index).indrelid;
            let index = (*(*scan).indexRelation).rd_id;
            gate::check(index, table, shadow.numbers()).unwrap_or_else(|e| e.report());
            let rescan = nbtree().amrescan.unwrap_unchecked();
            if keys.is_null() || nkeys <= 0 {
                SCANS.with_borrow_mut(|all| {
                    all.entry(scan as usize)
                        .or_insert(Scan { _shadow: shadow, _probes: Vec::new() });
                });
                let _swapped = Swapped::new(scan);
                return call_c(|| rescan(scan, keys, nkeys, orders, norders));
            }
            let mut probes = Vec::new();
            let mut copies = std::slice::from_raw_parts(keys, nkeys as usize).to_vec();
            for key in &mut copies {
                probes.extend(replace(&shadow, key).unwrap_or_else(|e| e.report()));
            }
            // What the scan had before is dropped after nbtree has let go of it.
            let now = Scan { _shadow: shadow, _probes: probes };
            let _before = SCANS.with_borrow_mut(|all| all.insert(scan as usize, now));
            let _swapped = Swapped::new(scan);
            let at = copies.as_mut_ptr();
            call_c(|| rescan(scan, at, nkeys, orders, norders));
        }
    })
}

/// Replaces the operator of a scan key by ours and its argument by a probe.
unsafe fn replace(shadow: &Use, key: &mut pg_sys::ScanKeyData) -> Result<Option<Held>, Error> {
    // IS NULL and IS NOT NULL have no argument; nothing is equal to a NULL argument.
    if key.sk_flags & pg_sys::SK_ISNULL as i32 != 0 {
        key.sk_subtype = pg_sys::InvalidOid;
        return Ok(None);
    }
    let column = usize::from(key.sk_attno.unsigned_abs()).checked_sub(1);
    let column = column.and_then(|at| shadow.columns().get(at));
    let condition = compare::condition(key.sk_strategy);
    let plain = key.sk_flags & (pg_sys::SK_ROW_HEADER | pg_sys::SK_SEARCHARRAY) as i32 == 0;
    let (Some(column), Some(condition), true) = (column, condition, plain) else {
        return Err(Error::Unsupported {
            what: "this condition on a sealed_btree index".to_owned(),
        });
    };
    // SAFETY: the argument is of the type that the key says.
    let held = unsafe { probe::hold(column, key.sk_subtype, key.sk_argument, shadow.memory())? };
    key.sk_argument = held.datum();
    key.sk_subtype = pg_sys::InvalidOid;
    key.sk_func = compare::function(condition, shadow.order(), column, shadow.memory());
    Ok(Some(held))
}

pub unsafe extern "C-unwind" fn amgettuple(
    scan: pg_sys::IndexScanDesc,
    direction: pg_sys::ScanDirection::Type,
) -> bool {
    callback!({
        // SAFETY: an open scan.
        unsafe {
            let _swapped = Swapped::new(scan);
            let next = nbtree().amgettuple.unwrap_unchecked();
            call_c(|| next(scan, direction))
        }
    })
}

pub unsafe extern "C-unwind" fn amgetbitmap(
    scan: pg_sys::IndexScanDesc,
    bitmap: *mut pg_sys::TIDBitmap,
) -> i64 {
    callback!({
        // SAFETY: an open scan.
        unsafe {
            let _swapped = Swapped::new(scan);
            let all = nbtree().amgetbitmap.unwrap_unchecked();
            call_c(|| all(scan, bitmap))
        }
    })
}

pub unsafe extern "C-unwind" fn amendscan(scan: pg_sys::IndexScanDesc) {
    callback!({
        // SAFETY: an open scan, whose descriptor core frees after this.
        unsafe {
            let swapped = Swapped::new(scan);
            let end = nbtree().amendscan.unwrap_unchecked();
            call_c(|| end(scan));
            drop(swapped);
            let ended = SCANS.with_borrow_mut(|all| all.remove(&(scan as usize)));
            drop(ended);
        }
    })
}

pub unsafe extern "C-unwind" fn ammarkpos(scan: pg_sys::IndexScanDesc) {
    callback!({
        // SAFETY: an open scan.
        unsafe {
            let _swapped = Swapped::new(scan);
            let mark = nbtree().ammarkpos.unwrap_unchecked();
            call_c(|| mark(scan))
        }
    })
}

pub unsafe extern "C-unwind" fn amrestrpos(scan: pg_sys::IndexScanDesc) {
    callback!({
        // SAFETY: an open scan.
        unsafe {
            let _swapped = Swapped::new(scan);
            let restore = nbtree().amrestrpos.unwrap_unchecked();
            call_c(|| restore(scan))
        }
    })
}

/// Brings the keys of an index's table before a page of it is locked.
pub fn bring_keys(index: pg_sys::Relation) {
    // SAFETY: an open index.
    let table = unsafe { (*(*index).rd_index).indrelid };
    if let Err(error) = key::divided(table) {
        error.report();
    }
}
