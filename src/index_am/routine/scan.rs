//! Callbacks that scan.
//!
//! A scan is opened on the real index, since core drops its reference in the end; nbtree sees the shadow for as
//! long as a call takes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use pgrx::pg_sys::{self, Datum};

use super::column::Column;
use super::only::Shown;
use super::place::{self, End, Forward};
use super::probe::{self, Argument, Held, Probe};
use super::shadow::{self, Scanned, Use};
use super::{compare, nbtree};
use crate::error::Error;
use crate::index_am::key;
use crate::pg::call::{call_c, callback};
use crate::pg::local::backend_local;
use crate::pg::tuple::varlena;

/// What a scan has besides nbtree's own.
struct Scan {
    _shadow: Use,
    /// Its arguments, until it gets others.
    arguments: Arguments,
    /// What it shows, if it is an index-only one.
    shown: Shown,
}

/// Arguments of a scan.
#[derive(Default)]
struct Arguments {
    probes: Vec<Held>,
    /// Arrays of probes.
    arrays: Vec<Vec<u64>>,
    /// Those that are ends of a range of the first column.
    ends: Vec<(*const Probe, End)>,
}

backend_local! {
    /// Open scans, by their descriptors' addresses.
    static SCANS: RefCell<HashMap<usize, Box<Scan>>> = RefCell::default();
}

/// Forgets scans that an ERROR left open.
pub fn transaction_end() {
    // Most often there are none, and the map keeps its memory.
    let left = SCANS.with_borrow_mut(|all| (!all.is_empty()).then(|| std::mem::take(all)));
    drop(left);
}

/// What an open scan has. It is boxed, and goes with the scan.
fn ours(scan: pg_sys::IndexScanDesc) -> Option<*mut Scan> {
    SCANS.with_borrow_mut(|all| all.get_mut(&(scan as usize)).map(|ours| &raw mut **ours))
}

/// Puts the real index back, whatever happens.
pub struct Swapped {
    scan: pg_sys::IndexScanDesc,
    real: pg_sys::Relation,
    shadow: Use,
    _scanned: Scanned,
}

impl Swapped {
    /// Until this is dropped, the scan's index is the shadow.
    pub unsafe fn new(scan: pg_sys::IndexScanDesc) -> Self {
        // SAFETY: an open scan of an open index.
        unsafe {
            let real = (*scan).indexRelation;
            let shadow = shadow::of(real).unwrap_or_else(|error| error.report());
            (*scan).indexRelation = shadow.relation();
            let _scanned = shadow.scanned();
            Self { scan, real, shadow, _scanned }
        }
    }
}

impl Swapped {
    /// The shadow.
    pub fn shadow(&self) -> &Use {
        &self.shadow
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
            shadow.check().unwrap_or_else(|e| e.report());
            let rescan = nbtree().amrescan.unwrap_unchecked();
            if keys.is_null() || nkeys <= 0 {
                let now = Scan {
                    _shadow: shadow,
                    arguments: Arguments::default(),
                    shown: Shown::default(),
                };
                // In place of one too that an ERROR left at this address, of another index.
                let _before = SCANS.with_borrow_mut(|all| all.insert(scan as usize, now.into()));
                let _swapped = Swapped::new(scan);
                return call_c(|| rescan(scan, keys, nkeys, orders, norders));
            }
            let mut arguments = Arguments::default();
            let mut copies = std::slice::from_raw_parts(keys, nkeys as usize).to_vec();
            for key in &mut copies {
                replace(&shadow, key, &mut arguments).unwrap_or_else(|e| e.report());
            }
            // What the scan had before is dropped after nbtree has let go of it.
            let now = Scan { _shadow: shadow, arguments, shown: Shown::default() };
            let now = Box::new(now);
            let _before = SCANS.with_borrow_mut(|all| all.insert(scan as usize, now));
            let _swapped = Swapped::new(scan);
            let at = copies.as_mut_ptr();
            call_c(|| rescan(scan, at, nkeys, orders, norders));
        }
    })
}

/// Replaces the operator of a scan key by ours and its argument by a probe, or an array of them.
unsafe fn replace(
    shadow: &Use,
    key: &mut pg_sys::ScanKeyData,
    arguments: &mut Arguments,
) -> Result<(), Error> {
    let subtype = std::mem::replace(&mut key.sk_subtype, pg_sys::InvalidOid);
    // IS NULL and IS NOT NULL have no argument; nothing is equal to a NULL argument.
    if key.sk_flags & pg_sys::SK_ISNULL as i32 != 0 {
        return Ok(());
    }
    let column = usize::from(key.sk_attno.unsigned_abs()).checked_sub(1);
    let column = column.and_then(|at| shadow.columns().get(at));
    let condition = compare::condition(key.sk_strategy);
    let plain = key.sk_flags & pg_sys::SK_ROW_HEADER as i32 == 0;
    let (Some(column), Some(condition), true) = (column, condition, plain) else {
        return Err(Error::Unsupported {
            what: "this condition on a sealed_btree index".to_owned(),
        });
    };
    // SAFETY: the argument is of the type that the key says, or an array of such.
    unsafe {
        let argument = Argument::of(column, subtype, shadow.memory())?;
        if key.sk_flags & pg_sys::SK_SEARCHARRAY as i32 != 0 {
            array(shadow, column, key, &argument, arguments)?;
        } else {
            let held = probe::hold(column, &argument, key.sk_argument)?;
            key.sk_argument = held.datum();
            if key.sk_attno == 1
                && let Some(end) = End::of(key.sk_strategy, column.descending)
            {
                arguments.ends.push((held.probe(), end));
            }
            arguments.probes.push(held);
        }
    }
    key.sk_func = compare::function(condition, shadow.order(), column, shadow.memory());
    Ok(())
}

/// Replaces an array by one of probes. Of `x < ANY (array)` one element is left, as nbtree would leave it; so is one of an
/// array that has no more. Where there is none but NULL, nothing is found.
unsafe fn array(
    shadow: &Use,
    column: &Column,
    key: &mut pg_sys::ScanKeyData,
    argument: &Rc<Argument>,
    arguments: &mut Arguments,
) -> Result<(), Error> {
    const EQUAL: u16 = pg_sys::BTEqualStrategyNumber as u16;
    let mut held = Vec::new();
    // SAFETY: an array whose elements are what it says; what is palloc'd for them belongs to the current context.
    unsafe {
        let array = pg_sys::pg_detoast_datum(key.sk_argument.cast_mut_ptr());
        let array = array.cast::<pg_sys::ArrayType>();
        let element = (*array).elemtype;
        let (mut len, mut by_val, mut align) = (0, false, 0);
        pg_sys::get_typlenbyvalalign(element, &mut len, &mut by_val, &mut align);
        let (mut values, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        pg_sys::deconstruct_array(
            array,
            element,
            i32::from(len),
            by_val,
            align,
            &mut values,
            &mut nulls,
            &mut count,
        );
        for at in 0..count as usize {
            if !*nulls.add(at) {
                held.push(probe::hold(column, argument, *values.add(at))?);
            }
        }
        if key.sk_strategy != EQUAL {
            let least = key.sk_strategy > EQUAL;
            let mut best: Option<Held> = None;
            for one in held.drain(..) {
                let better = match &best {
                    Some(best) => {
                        let (a, b) = (&*one.probe(), &*best.probe());
                        let order = compare::both_probes(column, a, b, key.sk_collation)?;
                        if least { order < 0 } else { order > 0 }
                    }
                    None => true,
                };
                if better {
                    best = Some(one);
                }
            }
            held.extend(best);
        }
        if held.len() < 2 {
            key.sk_flags &= !(pg_sys::SK_SEARCHARRAY as i32);
            match held.first() {
                Some(only) => key.sk_argument = only.datum(),
                None => {
                    key.sk_flags |= pg_sys::SK_ISNULL as i32;
                    key.sk_argument = Datum::null();
                }
            }
        } else {
            let mut all: Vec<_> = held.iter().map(Held::datum).collect();
            let align = pg_sys::TYPALIGN_INT as std::ffi::c_char;
            let count = all.len() as i32;
            let of = shadow.key_type();
            let made = pg_sys::construct_array(all.as_mut_ptr(), count, of, -1, false, align);
            let size = varlena::size(made.cast());
            let mut copy = vec![0_u64; size.div_ceil(8)];
            std::ptr::copy_nonoverlapping(made.cast::<u8>(), copy.as_mut_ptr().cast(), size);
            pg_sys::pfree(made.cast());
            key.sk_argument = Datum::from(copy.as_ptr());
            arguments.arrays.push(copy);
        }
    }
    arguments.probes.extend(held);
    Ok(())
}

pub unsafe extern "C-unwind" fn amgettuple(
    scan: pg_sys::IndexScanDesc,
    direction: pg_sys::ScanDirection::Type,
) -> bool {
    callback!({
        // SAFETY: an open scan.
        unsafe {
            let swapped = Swapped::new(scan);
            swapped.shadow.check_again().unwrap_or_else(|e| e.report());
            let next = nbtree().amgettuple.unwrap_unchecked();
            let found = call_c(|| next(scan, direction));
            if found && (*scan).xs_want_itup {
                show(scan, &swapped.shadow).unwrap_or_else(|error| error.report());
            }
            found
        }
    })
}

/// Puts the opened entry into the place of the one that nbtree has found.
unsafe fn show(scan: pg_sys::IndexScanDesc, shadow: &Use) -> Result<(), Error> {
    // SAFETY: an open scan that has found an entry, which nbtree keeps a copy of. What is shown is boxed, and goes with
    // the scan; opening it ends no scan.
    unsafe {
        let Some(ours) = ours(scan) else {
            return Err(key::damaged((*(*scan).indexRelation).rd_id));
        };
        let shown = &raw mut (*ours).shown;
        let descriptor = shadow.descriptor();
        (*scan).xs_itup = (*shown).open(shadow.columns(), descriptor, (*scan).xs_itup)?;
        (*scan).xs_itupdesc = descriptor;
        Ok(())
    }
}

/// Every column of an index can be shown.
pub unsafe extern "C-unwind" fn amcanreturn(_index: pg_sys::Relation, _column: i32) -> bool {
    true
}

pub unsafe extern "C-unwind" fn amgetbitmap(
    scan: pg_sys::IndexScanDesc,
    bitmap: *mut pg_sys::TIDBitmap,
) -> i64 {
    callback!({
        // SAFETY: an open scan.
        unsafe {
            let _swapped = Swapped::new(scan);
            let ours = if place::NEEDED { ours(scan) } else { None };
            let _known = ours.map(|ours| &(*ours).arguments).and_then(|arguments| {
                arguments.arrays.is_empty().then(|| Forward::begin(&arguments.ends))
            });
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
