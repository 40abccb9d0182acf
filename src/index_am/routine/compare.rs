//! The comparison of sealed keys, as nbtree and its sort call it.

use std::cell::RefCell;
use std::cmp::Ordering;

use pgrx::pg_sys::{self, Datum, Oid};

use super::column::Column;
use super::probe::{self, Probe};
use super::{arena, place, shadow, value};
use crate::error::Error;
use crate::index_am::key;
use crate::pg::call::callback;
use crate::pg::ffi;
use crate::pg::local::backend_local;
use crate::pg::tuple::varlena;

backend_local! {
    /// Where left-hand sides are opened. Taken out while it is in use, since a type's comparison may be a
    /// function that scans an index itself.
    static LEFT: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// One side of a comparison.
#[derive(Clone, Copy)]
enum Side<'a> {
    Sealed(&'a [u8]),
    Probe(&'a Probe),
}

#[inline]
unsafe fn side<'a>(datum: Datum) -> Side<'a> {
    // SAFETY: what nbtree compares are bytea values of the index and our probes.
    unsafe {
        let mut at = datum.cast_mut_ptr::<u8>();
        if varlena::is_external(at) || varlena::is_compressed(at) {
            at = ffi::pg_detoast_datum_packed(at.cast()).cast();
        }
        let bytes = value::data(at);
        match probe::find(bytes) {
            Some(probe) => Side::Probe(&*probe),
            None => Side::Sealed(bytes),
        }
    }
}

/// Compares two keys of a column, either of which may be a probe.
#[inline]
pub unsafe fn order(column: &Column, a: Datum, b: Datum, collation: Oid) -> i32 {
    // SAFETY: the caller's values are of this column.
    unsafe { order_sides(column, side(a), side(b), collation) }
}

unsafe fn order_sides(column: &Column, a: Side, b: Side, collation: Oid) -> i32 {
    // SAFETY: as above.
    unsafe {
        if column.kind.by_val
            && let Some(order) = order_near(column, &a, &b)
        {
            return order;
        }
        let result = match (a, b) {
            (Side::Sealed(a), Side::Probe(b)) => with_probe(column, a, b, collation),
            (Side::Probe(a), Side::Sealed(b)) => {
                with_probe(column, b, a, collation).map(|order| -order.signum())
            }
            (Side::Sealed(a), Side::Sealed(b)) => both_sealed(column, a, b, collation),
            (Side::Probe(a), Side::Probe(b)) => both_probes(column, a, b, collation),
        };
        result.unwrap_or_else(|error| match key::is_cleaning() {
            // Whatever is asked for is before it.
            true if column.descending => -1,
            true => 1,
            false => error.report(),
        })
    }
}

/// Compares a sealed number with the argument of a scan, if all it takes is at hand: what a descent does most.
#[inline]
fn order_near(column: &Column, a: &Side, b: &Side) -> Option<i32> {
    let signed = |probe: &Probe| probe.argument.order.as_ref().unwrap_or(&column.order).signed;
    let (probe, sealed) = match (a, b) {
        (Side::Sealed(sealed), Side::Probe(probe)) | (Side::Probe(probe), Side::Sealed(sealed)) => {
            (probe, sealed)
        }
        _ => return None,
    };
    if !signed(probe) {
        return None;
    }
    let value = value::open_near(column, sealed)?.value() as isize;
    let order = value.cmp(&(probe.value.value() as isize)) as i32;
    Some(if matches!(a, Side::Probe(_)) { -order } else { order })
}

#[inline]
unsafe fn with_left<R>(
    column: &Column,
    sealed: &[u8],
    body: impl FnOnce(Datum) -> Result<R, Error>,
) -> Result<R, Error> {
    if column.kind.by_val {
        // SAFETY: a key of the column, which needs no buffer.
        return unsafe { value::open(column, sealed, &mut Vec::new()) }.and_then(body);
    }
    let mut buffer = LEFT.take();
    // SAFETY: a key of the column; the value lives as long as the buffer.
    let result = unsafe { value::open(column, sealed, &mut buffer) }.and_then(body);
    LEFT.replace(buffer);
    result
}

unsafe fn with_probe(
    column: &Column,
    sealed: &[u8],
    probe: &Probe,
    collation: Oid,
) -> Result<i32, Error> {
    // SAFETY: both values are of the types that the comparison is for.
    unsafe {
        with_left(column, sealed, |value| {
            let order = probe.argument.order.as_ref().unwrap_or(&column.order);
            Ok(order.call(collation, value, probe.value))
        })
    }
}

unsafe fn both_sealed(column: &Column, a: &[u8], b: &[u8], collation: Oid) -> Result<i32, Error> {
    // SAFETY: as above.
    unsafe {
        with_left(column, a, |a| {
            let mut last = column.last.take();
            if last.sealed != b || b.is_empty() {
                last.sealed.clear();
                last.value = value::open(column, b, &mut last.buffer)?.value();
                last.sealed.extend_from_slice(b);
            }
            let result = column.order.call(collation, a, Datum::from(last.value));
            column.last.replace(last);
            Ok(result)
        })
    }
}

/// Two arguments of one scan: which of two conditions is the stronger, or how they come in an array.
pub unsafe fn both_probes(
    column: &Column,
    a: &Probe,
    b: &Probe,
    collation: Oid,
) -> Result<i32, Error> {
    // SAFETY: as above. What the comparison keeps lives in the current context, longer than it.
    unsafe {
        let (one, other) = (&a.argument, &b.argument);
        if one.other == other.other {
            return Ok(one.own(column)?.call(collation, a.value, b.value));
        }
        let types = [one.other.unwrap_or(column.input), other.other.unwrap_or(column.input)];
        let order = column.order_with(types[0], types[1], pg_sys::CurrentMemoryContext)?;
        Ok(order.call(collation, a.value, b.value))
    }
}

/// The column that a call is about.
unsafe fn column_of<'a>(fcinfo: pg_sys::FunctionCallInfo) -> &'a Column {
    // SAFETY: an expression of SQL begins with another tag than a column; the shadow that owns the column
    // outlives every scan key made of it.
    unsafe {
        let expression = (*(*fcinfo).flinfo).fn_expr;
        if expression.is_null()
            && let Some(column) = unnamed(fcinfo)
        {
            return &*column;
        }
        if expression.is_null() || (*expression).type_ != pg_sys::NodeTag::T_Invalid {
            Error::Unsupported { what: "calls of this function but by an index".to_owned() }
                .report();
        }
        &*expression.cast::<Column>()
    }
}

/// The column of a call by a function that nbtree has looked up by its OID: to sort the elements of an array, which are
/// probes, or as the condition of a skip array, which is in the scan key (`_bt_preprocess_array_keys`).
#[cold]
unsafe fn unnamed(fcinfo: pg_sys::FunctionCallInfo) -> Option<*const Column> {
    /// `SK_BT_SKIP` of 18's `access/nbtree.h`.
    const SKIP: i32 = 0x0004_0000;
    // SAFETY: two arguments that are not NULL, of type sealed.key: only nbtree has such. So the function that stands for
    // "=" is called by a scan key, which it is a part of, and by nothing else.
    unsafe {
        let args = (*fcinfo).args.as_slice(2);
        for arg in args {
            if let Side::Probe(probe) = side(arg.value) {
                return Some(probe.column);
            }
        }
        let function = (*fcinfo).flinfo;
        if (*function).fn_addr.map(|f| f as usize) != Some(key_equal_wrapper as *const () as usize)
        {
            return None;
        }
        let front = std::mem::offset_of!(pg_sys::ScanKeyData, sk_func);
        let key = function.cast::<u8>().sub(front).cast::<pg_sys::ScanKeyData>();
        if (*key).sk_flags & SKIP == 0 {
            return None;
        }
        let column = shadow::scanned_column((*key).sk_attno)?;
        (*function).fn_expr = column.cast_mut().cast();
        Some(column)
    }
}

/// `sealed.key_equal(sealed.key, sealed.key) returns bool`: what 18's skip scans go by.
///
/// # Safety
/// Called by PostgreSQL's function manager.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn key_equal_wrapper(fcinfo: pg_sys::FunctionCallInfo) -> Datum {
    // SAFETY: see above.
    callback!({ unsafe { Datum::from(compare(fcinfo) == 0) } })
}

#[inline]
unsafe fn compare(fcinfo: pg_sys::FunctionCallInfo) -> i32 {
    // SAFETY: nbtree calls it with two arguments that are not NULL.
    unsafe {
        let args = (*fcinfo).args.as_slice(2);
        order(column_of(fcinfo), args[0].value, args[1].value, (*fcinfo).fncollation)
    }
}

/// `sealed.key_order(sealed.key, sealed.key) returns int4`.
///
/// # Safety
/// Called by PostgreSQL's function manager.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn key_order_wrapper(fcinfo: pg_sys::FunctionCallInfo) -> Datum {
    // SAFETY: see above.
    callback!({ unsafe { Datum::from(compare(fcinfo)) } })
}

/// Whether a scan key's condition holds, by the order of an entry and the argument.
#[inline]
unsafe fn is_satisfied(fcinfo: pg_sys::FunctionCallInfo, holds: impl Fn(Ordering) -> bool) -> bool {
    // SAFETY: nbtree calls it with two arguments that are not NULL.
    unsafe {
        let args = (*fcinfo).args.as_slice(2);
        let (column, collation) = (column_of(fcinfo), (*fcinfo).fncollation);
        let (entry, argument) = (side(args[0].value), side(args[1].value));
        let with_argument = |entry| holds(order_sides(column, entry, argument, collation).cmp(&0));
        match (entry, argument) {
            // (two arguments are compared before a scan begins)
            (Side::Sealed(_), Side::Probe(probe)) if place::NEEDED => place::satisfied(
                &probe.known,
                args[0].value,
                || with_argument(entry),
                |last| with_argument(side(last)),
            ),
            _ => with_argument(entry),
        }
    }
}

macro_rules! conditions {
    ($($name:ident: $holds:expr;)*) => {
        $(
            /// What a scan key's condition is replaced by.
            unsafe extern "C-unwind" fn $name(fcinfo: pg_sys::FunctionCallInfo) -> Datum {
                // SAFETY: see above.
                callback!({ unsafe { Datum::from(is_satisfied(fcinfo, $holds)) } })
            }
        )*
    };
}

conditions! {
    less: Ordering::is_lt;
    less_or_equal: Ordering::is_le;
    equal: Ordering::is_eq;
    greater_or_equal: Ordering::is_ge;
    greater: Ordering::is_gt;
}

/// The function of a btree strategy.
pub fn condition(strategy: u16) -> Option<pg_sys::PGFunction> {
    Some(match strategy {
        1 => Some(less),
        2 => Some(less_or_equal),
        3 => Some(equal),
        4 => Some(greater_or_equal),
        5 => Some(greater),
        _ => return None,
    })
}

/// A function that compares keys of a column.
pub fn function(
    address: pg_sys::PGFunction,
    oid: Oid,
    column: &Column,
    memory: pg_sys::MemoryContext,
) -> pg_sys::FmgrInfo {
    pg_sys::FmgrInfo {
        fn_addr: address,
        fn_oid: oid,
        fn_nargs: 2,
        fn_strict: true,
        fn_mcxt: memory,
        fn_expr: (&raw const *column).cast_mut().cast(),
        ..pg_sys::FmgrInfo::default()
    }
}

/// `sealed.key_sort(internal) returns void`: how the sort of a build compares.
///
/// # Safety
/// Called by PostgreSQL's function manager.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn key_sort_wrapper(fcinfo: pg_sys::FunctionCallInfo) -> Datum {
    callback!({
        // SAFETY: the argument is the SortSupport of a build that runs, which the shadow outlives.
        unsafe {
            let sort =
                (*fcinfo).args.as_slice(1)[0].value.cast_mut_ptr::<pg_sys::SortSupportData>();
            let column = shadow::building((*sort).ssup_attno);
            (*sort).ssup_extra = column.cast_mut().cast();
            (*sort).comparator = Some(sort_order);
            if (*sort).abbreviate {
                let (by_val, signed) = ((*column).kind.by_val, (*column).order.signed);
                (*sort).comparator = Some(match by_val {
                    // The sort knows this one, and does not call it.
                    true if signed => raw::ssup_datum_signed_cmp,
                    true => sort_values,
                    false => sort_opened,
                });
                (*sort).abbrev_converter = Some(to_opened);
                (*sort).abbrev_abort = Some(never);
                (*sort).abbrev_full_comparator =
                    Some(if by_val { sort_compared } else { sort_order });
            }
            Datum::null()
        }
    })
}

unsafe extern "C-unwind" fn sort_order(a: Datum, b: Datum, sort: pg_sys::SortSupport) -> i32 {
    callback!({
        // SAFETY: `key_sort_wrapper` set it.
        unsafe { order(&*(*sort).ssup_extra.cast(), a, b, (*sort).ssup_collation) }
    })
}

/// Of values that are passed by value, whose abbreviated keys say all: as long as there are such, none of these two is
/// less. A merge of what was spilled has none (`mergeruns` in `tuplesort.c`).
unsafe extern "C-unwind" fn sort_compared(a: Datum, b: Datum, sort: pg_sys::SortSupport) -> i32 {
    // SAFETY: the SortSupport of a build that runs.
    unsafe {
        match (*sort).abbrev_converter {
            Some(_) => 0,
            None => sort_order(a, b, sort),
        }
    }
}

/// Of values that are passed by value: these are the abbreviated keys.
unsafe extern "C-unwind" fn sort_values(a: Datum, b: Datum, sort: pg_sys::SortSupport) -> i32 {
    // SAFETY: as above. An ERROR jumps over this frame, which owns nothing.
    unsafe {
        let order = &(*(*sort).ssup_extra.cast::<Column>()).order;
        order.call_unguarded((*sort).ssup_collation, a, b)
    }
}

/// Of others: places in the arena, or none. What is not there says that the sealed keys are to be compared, as
/// it is done of abbreviated keys that are equal.
unsafe extern "C-unwind" fn sort_opened(a: Datum, b: Datum, sort: pg_sys::SortSupport) -> i32 {
    if a.is_null() || b.is_null() {
        return 0;
    }
    // SAFETY: as above; the arena is there until the build ends.
    unsafe { sort_values(a, b, sort) }
}

unsafe extern "C-unwind" fn to_opened(sealed: Datum, sort: pg_sys::SortSupport) -> Datum {
    callback!({
        // SAFETY: as above.
        unsafe {
            let column = &*(*sort).ssup_extra.cast::<Column>();
            let Side::Sealed(bytes) = side(sealed) else { key::damaged(column.table).report() };
            if column.kind.by_val
                && let last = column.last.borrow()
                && last.sealed == bytes
            {
                return Datum::from(last.value);
            }
            let mut buffer = LEFT.take();
            let opened = value::open(column, bytes, &mut buffer);
            let opened = opened.map(|value| {
                if column.kind.by_val {
                    return value;
                }
                // The value is in the buffer, at its beginning or one word later.
                let first = (value.value() - buffer.as_ptr() as usize) / size_of::<u64>();
                let words = value::words(column.kind, &buffer[first..]);
                Datum::from(arena::keep(words).unwrap_or(std::ptr::null()))
            });
            LEFT.replace(buffer);
            opened.unwrap_or_else(|error| error.report())
        }
    })
}

unsafe extern "C-unwind" fn never(_: i32, _: pg_sys::SortSupport) -> bool {
    false
}

/// `utils/sortsupport.h`.
mod raw {
    use super::*;
    unsafe extern "C-unwind" {
        pub fn ssup_datum_signed_cmp(a: Datum, b: Datum, sort: pg_sys::SortSupport) -> i32;
    }
}
