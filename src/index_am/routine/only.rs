//! What an index-only scan shows: entries of the index, opened.
//!
//! nbtree hands out the entry as it stands in the file. Core gets one of the columns' own types in its place, which is
//! overwritten by the next one and wiped with the scan.

use pgrx::pg_sys::{self, Datum};

use super::column::Column;
use super::{pages, value};
use crate::error::Error;
use crate::index_am::key;
use crate::pg::ffi;

const COLUMNS: usize = pg_sys::INDEX_MAX_KEYS as usize;
/// `INDEX_NULL_MASK`, `INDEX_VAR_MASK` of `access/itup.h`; `HEAP_HASNULL`, `HEAP_HASVARWIDTH` of `access/htup_details.h`.
const NULLS: u16 = 0x8000;
const VARIABLE: u16 = 0x4000;
const HEAP_NULLS: u16 = 1;
const HEAP_VARIABLE: u16 = 2;

/// The entry that is shown, and where its values were opened.
#[derive(Default)]
pub struct Shown {
    entry: Vec<u64>,
    values: Vec<Vec<u64>>,
}

impl Drop for Shown {
    fn drop(&mut self) {
        value::wipe(&mut self.entry);
        self.values.iter_mut().for_each(value::wipe);
    }
}

/// A descriptor of an index's columns as they are in the table.
pub unsafe fn descriptor(
    columns: &[Box<Column>],
    memory: pg_sys::MemoryContext,
) -> pg_sys::TupleDesc {
    // SAFETY: made in a context that lives as long as its user; an unknown type is an ERROR.
    unsafe {
        let before = pg_sys::MemoryContextSwitchTo(memory);
        let made = pg_sys::CreateTemplateTupleDesc(columns.len() as i32);
        for (at, column) in columns.iter().enumerate() {
            let none = std::ptr::null();
            pg_sys::TupleDescInitEntry(made, at as i16 + 1, none, column.kind.oid, -1, 0);
        }
        pg_sys::MemoryContextSwitchTo(before);
        made
    }
}

impl Shown {
    /// Opens an entry. What it returns is good until the next one.
    pub unsafe fn open(
        &mut self,
        columns: &[Box<Column>],
        descriptor: pg_sys::TupleDesc,
        entry: pg_sys::IndexTuple,
    ) -> Result<pg_sys::IndexTuple, Error> {
        // SAFETY: an entry in memory of the scan, whole; the values live in buffers of ours.
        unsafe {
            let len = usize::from((*entry).t_info & pages::SIZE);
            let bytes = std::slice::from_raw_parts(entry.cast::<u8>(), len);
            let mut sealed = [None; COLUMNS];
            pages::each_value(bytes, &mut sealed[..columns.len()]);
            self.values.resize_with(columns.len(), Vec::new);
            let (mut values, mut nulls) = ([Datum::null(); COLUMNS], [false; COLUMNS]);
            let mut any = false;
            for (at, column) in columns.iter().enumerate() {
                nulls[at] = pages::is_null(bytes, at);
                any |= nulls[at];
                if !nulls[at] {
                    let sealed = sealed[at].ok_or_else(|| key::damaged(column.table))?;
                    let sealed = value::data(sealed.as_ptr());
                    values[at] = value::open(column, sealed, &mut self.values[at])?;
                }
            }
            let front = if any { pages::HEADER_WITH_NULLS } else { pages::HEADER };
            let (v, n) = (values.as_mut_ptr(), nulls.as_mut_ptr());
            let size = ffi::heap_compute_data_size(descriptor, v, n);
            // What is between the values is to be zero.
            self.entry.clear();
            self.entry.resize((front + size).div_ceil(8), 0);
            let at = self.entry.as_mut_ptr().cast::<u8>();
            let bits = if any { at.add(pages::HEADER) } else { std::ptr::null_mut() };
            let mut mask = 0;
            ffi::heap_fill_tuple(descriptor, v, n, at.add(front).cast(), size, &mut mask, bits);
            let made = at.cast::<pg_sys::IndexTupleData>();
            (*made).t_tid = (*entry).t_tid;
            (*made).t_info = (self.entry.len() * 8) as u16 & pages::SIZE;
            if mask & HEAP_NULLS != 0 {
                (*made).t_info |= NULLS;
            }
            if mask & HEAP_VARIABLE != 0 {
                (*made).t_info |= VARIABLE;
            }
            Ok(made)
        }
    }
}
