//! Rows that were written before a column was added: completed when they are opened.
//!
//! Core keeps such values in the tuple descriptor, in plaintext in `pg_attribute`; ours come from
//! `table_am::missing`, so the descriptor says NULL and the opened row is made as long as it is wide.

use pgrx::{AnyElement, pg_extern, pg_sys};
use sealed_crypto::Zeroizing;

use super::toast::{self, Attribute};
use crate::error::Error;
use crate::pg::tuple::{self, NATTS_MASK, varlena};
use crate::pg::{add_column, call};
use crate::table_am::missing::{self, Missing};

/// Whether the opened row may lack a column that has a value.
#[inline]
pub unsafe fn may_lack(
    row: pg_sys::HeapTuple,
    desc: pg_sys::TupleDesc,
    owner: pg_sys::Oid,
) -> bool {
    // SAFETY: an opened row and a descriptor of its table.
    unsafe {
        let natts = tuple::header(row).t_infomask2 & NATTS_MASK;
        i32::from(natts) < (*desc).natts && !missing::known_none(owner)
    }
}

/// The opened row with the values of the columns that it was written without, palloc'd as one block;
/// None if it lacks none.
pub unsafe fn complete(
    row: pg_sys::HeapTuple,
    desc: pg_sys::TupleDesc,
    owner: pg_sys::Oid,
) -> Result<Option<pg_sys::HeapTuple>, Error> {
    // SAFETY: an opened row of the table that `desc` describes; the vectors have room for its columns.
    unsafe {
        if !may_lack(row, desc, owner) {
            return Ok(None);
        }
        let natts = tuple::header(row).t_infomask2 & NATTS_MASK;
        let width = (*desc).natts as usize;
        if !missing::of(owner)?.iter().any(|m| lacks(m, natts.into(), width)) {
            return Ok(None);
        }
        let (mut datums, mut isnull) = (vec![pg_sys::Datum::null(); width], vec![true; width]);
        pg_sys::heap_deform_tuple(row, desc, datums.as_mut_ptr(), isnull.as_mut_ptr());
        supply(owner, desc, natts.into(), &mut datums, &mut isnull)?;
        let full = pg_sys::heap_form_tuple(desc, datums.as_mut_ptr(), isnull.as_mut_ptr());
        tuple::take_header(row, full);
        Ok(Some(full))
    }
}

/// Whether a row that was written with `natts` columns lacks this one, of the first `width`.
fn lacks(m: &Missing, natts: usize, width: usize) -> bool {
    (natts + 1..=width).contains(&usize::from(m.attnum.unsigned_abs()))
}

/// Gives kept values to columns that a row was written without: those beyond `natts`, as far as the arrays go.
/// Whether there were any. They live as long as this backend knows the table: who keeps the row copies them.
pub unsafe fn supply(
    owner: pg_sys::Oid,
    desc: pg_sys::TupleDesc,
    natts: usize,
    values: &mut [pg_sys::Datum],
    isnull: &mut [bool],
) -> Result<bool, Error> {
    if missing::known_none(owner) {
        return Ok(false);
    }
    let mut any = false;
    let width = values.len();
    for m in missing::of(owner)?.iter().filter(|m| lacks(m, natts, width)) {
        let at = usize::from(m.attnum.unsigned_abs()) - 1;
        // SAFETY: a column of the descriptor.
        let attribute = unsafe { toast::attribute(desc, at) };
        if !attribute.dropped {
            (values[at], isnull[at]) = (datum(&attribute, m.words()), false);
            any = true;
        }
    }
    Ok(any)
}

/// A kept value as a datum; good for as long as the words.
fn datum(attribute: &Attribute, words: &[u64]) -> pg_sys::Datum {
    if attribute.by_val {
        pg_sys::Datum::from(words.first().copied().unwrap_or(0))
    } else {
        pg_sys::Datum::from(words.as_ptr().cast_mut())
    }
}

/// `sealed.kept_default`: its argument; at the one evaluation that PostgreSQL makes to keep the value,
/// keeps it sealed and returns NULL (`pg::add_column`).
#[pg_extern(sql = false)]
fn kept_default(
    value: Option<AnyElement>,
    relation: pg_sys::Oid,
    attnum: i16,
) -> Option<AnyElement> {
    if !add_column::keeps(relation, attnum) {
        return value;
    }
    if let Some(value) = value {
        // SAFETY: ADD COLUMN holds the table locked, and the value is of the column's type.
        call::for_pgrx(|| unsafe { keep(relation, attnum, value.datum()) });
    }
    None
}

unsafe fn keep(relation: pg_sys::Oid, attnum: i16, value: pg_sys::Datum) {
    // SAFETY: the caller's promise; an ERROR leaves the relation to the resource owner.
    unsafe {
        let rel = pg_sys::table_open(relation, pg_sys::NoLock as i32);
        let main = pg_sys::ForkNumber::MAIN_FORKNUM;
        let there = (1..=(*(*rel).rd_att).natts).contains(&i32::from(attnum));
        // An empty table has no row that would ask, and perhaps no key yet.
        if there && pg_sys::RelationGetNumberOfBlocksInFork(rel, main) > 0 {
            let value = Zeroizing::new(bytes((*rel).rd_att, attnum, value));
            if let Err(e) = missing::keep(relation, attnum, &value) {
                e.report();
            }
        }
        pg_sys::table_close(rel, pg_sys::NoLock as i32);
    }
}

/// The bytes of a column's value that `datum` makes a value of again. A large one is brought in and
/// unpacked, as heap does with what it keeps in the descriptor.
unsafe fn bytes(desc: pg_sys::TupleDesc, attnum: i16, value: pg_sys::Datum) -> Vec<u8> {
    // SAFETY: a value of the column's type, not NULL.
    unsafe {
        let attribute = toast::attribute(desc, attnum as usize - 1);
        if attribute.by_val {
            return (value.value() as u64).to_ne_bytes().to_vec();
        }
        let (start, len) = match attribute.len {
            -1 => {
                let flat = pg_sys::pg_detoast_datum(value.cast_mut_ptr()).cast::<u8>();
                (flat, varlena::size(flat))
            }
            -2 => {
                let text = value.cast_mut_ptr::<std::ffi::c_char>();
                (text.cast(), std::ffi::CStr::from_ptr(text).count_bytes() + 1)
            }
            len => (value.cast_mut_ptr(), len as usize),
        };
        std::slice::from_raw_parts(start, len).to_vec()
    }
}
