//! Rows of several parts, opened as far as they are looked at.

use pgrx::pg_sys;
use sealed_crypto::Parts;

use super::take::{Column, Columns};
use super::{PREFIX, arrays};
use crate::error::Error;
use crate::guc::{self, VerifyClear};
use crate::keyring::Layout;
use crate::pg::tuple::{self, HEADER, SEALED_HOFF, varlena};
use crate::pg::{class, ffi};
use crate::table_am::gate::{self, Answer, Reader};
use crate::table_am::routine::missing;
use crate::table_am::routine::opened::keyring;
use crate::table_am::routine::toast::attribute;
use crate::table_am::routine::trouble::Trouble;
use crate::table_am::row::{self, NotOpened};

/// Where a part begins in a buffer, so that its data are aligned as in a tuple.
const PART_AT: usize = HEADER - PREFIX;
/// The clear part and eight groups, and one that is opened to be verified only.
const MOST: usize = sealed_crypto::MAX_GROUPS + 2;
const VERIFIED: usize = MOST - 1;
/// The clear part, in a set of parts.
const CLEAR: u16 = 1;

/// What parts of rows are opened into, in the memory context that was current when they were made.
pub struct Buffers {
    parts: [(*mut u8, usize); MOST],
    /// Copies of kept values, of the row that is there; null if none had one.
    kept: pg_sys::MemoryContext,
    /// The columns that are looked at, as PostgreSQL numbers attributes in sets; null for all. Others are not
    /// opened, and stay NULL.
    wanted: *mut pg_sys::Bitmapset,
    /// `wanted` is a set, if perhaps an empty one (which is null too).
    chosen: bool,
    /// Where the columns are that a row's parts are taken apart into.
    plan: Plan,
    /// The parts of the row at hand that are in `parts` already.
    held: u16,
}

/// How rows of a layout are taken apart: worked out once, not for each row.
struct Plan {
    valid: bool,
    /// Of rows of this table that begin with these bytes, which name the layout, into so many columns.
    owner: pg_sys::Oid,
    word: [u8; 4],
    natts: usize,
    /// All columns, those of a part side by side; `room` of them have place.
    columns: *mut Column,
    room: usize,
    parts: [Columns; MOST],
    /// The parts that somebody looks at: bit 0 is the clear one.
    looked_at: u16,
}

impl Plan {
    const NONE: Self = Self {
        valid: false,
        owner: pg_sys::Oid::INVALID,
        word: [0; 4],
        natts: 0,
        columns: std::ptr::null_mut(),
        room: 0,
        parts: [Columns::NONE; MOST],
        looked_at: 0,
    };

    #[inline]
    fn is(&self, owner: pg_sys::Oid, word: [u8; 4], natts: usize) -> bool {
        self.valid && self.word == word && self.natts == natts && self.owner == owner
    }

    #[inline]
    unsafe fn take(
        &self,
        number: usize,
        body: &[u8],
        values: &mut [pg_sys::Datum],
        isnull: &mut [bool],
    ) -> Option<usize> {
        let of = self.parts.get(number)?;
        // SAFETY: the columns are where the plan has them; as for the rest the caller promises it.
        unsafe { of.take(self.columns, body, values, isnull) }
    }
}

/// A row to be opened, and for whom.
#[derive(Clone, Copy)]
pub struct Sealed {
    /// As it lies in the page.
    pub row: pg_sys::HeapTuple,
    /// The table whose keys open it.
    pub owner: pg_sys::Oid,
    /// The columns of the reader.
    pub desc: pg_sys::TupleDesc,
    /// Who it is.
    pub reader: Reader,
}

impl Buffers {
    const fn new() -> Self {
        let none = std::ptr::null_mut();
        Self {
            parts: [(none, 0); MOST],
            kept: none.cast(),
            wanted: none.cast(),
            chosen: false,
            plan: Plan::NONE,
            held: 0,
        }
    }

    /// Empty ones, palloc'd in a context.
    pub unsafe fn make(context: pg_sys::MemoryContext) -> *mut Self {
        // SAFETY: as large as it is; nothing in it needs a destructor.
        unsafe {
            let buffers = pg_sys::MemoryContextAlloc(context, size_of::<Self>()).cast::<Self>();
            buffers.write(Self::new());
            buffers
        }
    }

    /// Leaves all columns unopened but these.
    pub fn choose(&mut self, wanted: *mut pg_sys::Bitmapset) {
        (self.wanted, self.chosen, self.plan.valid) = (wanted, true, false);
    }

    /// Whether a column (from 0) is looked at.
    unsafe fn wants(&self, column: usize) -> bool {
        let member = column as i32 + 1 - pg_sys::FirstLowInvalidHeapAttributeNumber;
        let whole_row = -pg_sys::FirstLowInvalidHeapAttributeNumber;
        // SAFETY: the set lives as long as the slot.
        !self.chosen
            || unsafe {
                pg_sys::bms_is_member(member, self.wanted)
                    || pg_sys::bms_is_member(whole_row, self.wanted)
            }
    }

    /// Works out, unless it is known, how rows of a layout are taken apart into the first `natts` columns of a reader.
    /// `word` is what such rows begin with.
    unsafe fn plan(&mut self, layout: &Layout, sealed: Sealed, word: [u8; 4], natts: usize) {
        if self.plan.is(sealed.owner, word, natts) {
            return;
        }
        self.plan.valid = false;
        let Some(parts) = &layout.parts else { return };
        // SAFETY: columns of the reader, each of them in one part. What is palloc'd belongs to the caller's context,
        // as all of the buffers.
        unsafe {
            let most = (*sealed.desc).natts as usize;
            if self.plan.room < most {
                let size = most * size_of::<Column>();
                self.plan.columns = pg_sys::palloc(size).cast();
                self.plan.room = most;
            }
            let mut start = 0;
            self.plan.looked_at = 0;
            for number in 0..=parts.groups.len() {
                let columns = parts.division.columns_of(number, natts);
                let wants = |column| self.wants(column);
                let of = Columns::write(self.plan.columns, start, sealed.desc, columns, wants);
                start += of.count();
                self.plan.looked_at |= u16::from(of.wanted()) << number;
                self.plan.parts[number] = of;
            }
        }
        (self.plan.owner, self.plan.word, self.plan.natts) = (sealed.owner, word, natts);
        self.plan.valid = true;
    }

    /// Room for a part of `len` bytes, aligned so that its data are.
    unsafe fn room(&mut self, number: usize, len: usize) -> *mut u8 {
        let (buffer, capacity) = &mut self.parts[number];
        let need = PART_AT + len;
        // SAFETY: palloc'd here and nowhere freed but here and in `free`; null while an ERROR could see it freed.
        unsafe {
            if *capacity < need {
                let old = std::mem::replace(buffer, std::ptr::null_mut());
                *capacity = 0;
                if !old.is_null() {
                    pg_sys::pfree(old.cast());
                }
                let size = need.next_power_of_two().max(64);
                *buffer = pg_sys::palloc(size).cast();
                *capacity = size;
            }
        }
        *buffer
    }

    /// Frees them.
    pub unsafe fn free(&mut self) {
        for (buffer, capacity) in &mut self.parts {
            if !buffer.is_null() {
                // SAFETY: palloc'd by `room`.
                unsafe { pg_sys::pfree(buffer.cast()) };
            }
            (*buffer, *capacity) = (std::ptr::null_mut(), 0);
        }
        self.held = 0;
        if !self.plan.columns.is_null() {
            // SAFETY: palloc'd by `plan`.
            unsafe { pg_sys::pfree(self.plan.columns.cast()) };
            self.plan = Plan::NONE;
        }
        let kept = std::mem::replace(&mut self.kept, std::ptr::null_mut());
        if !kept.is_null() {
            // SAFETY: made by `supply`.
            unsafe { pg_sys::MemoryContextDelete(kept) };
        }
    }

    /// Gives values to the first columns of a row, as many as `values` has, opening the parts that they are in,
    /// as far as they are wanted. Values point into the buffers and are good until those take another row.
    /// `again`: it is the row of the call before; no part of it is opened twice.
    pub unsafe fn fill(
        &mut self,
        sealed: Sealed,
        values: &mut [pg_sys::Datum],
        isnull: &mut [bool],
        again: bool,
    ) -> Result<(), Trouble> {
        let damaged = || Trouble::Seal(NotOpened::Damaged);
        // SAFETY: the caller holds the tuple's page pinned; its bytes behind the header do not change.
        let payload = unsafe {
            let len = (*sealed.row).t_len as usize - SEALED_HOFF;
            std::slice::from_raw_parts((*sealed.row).t_data.cast::<u8>().add(SEALED_HOFF), len)
        };
        let layout = row::layout_of_parts(sealed.owner, payload).map_err(Trouble::Seal)?;
        let division = layout.parts.as_ref().map(|parts| &parts.division).ok_or_else(damaged)?;
        let word = *payload.first_chunk().ok_or_else(damaged)?;
        isnull.fill(true);
        if !again {
            self.held = 0;
        }
        // SAFETY: as many columns of the reader.
        unsafe { self.plan(&layout, sealed, word, values.len()) };
        let mut looked_at = self.plan.looked_at;
        // So many columns the row was written with: all before the first that is not there.
        let mut natts = values.len();
        let mut to_verify = false;
        if looked_at & CLEAR != 0 {
            let clear = Parts::clear_of(payload).map_err(|_| damaged())?;
            // None: of a row without the columns that are in clear now.
            if clear.is_empty() {
                natts = natts.min(division.columns_of(0, natts).next().unwrap_or(natts));
            } else {
                // SAFETY: there is no other view of the part's room.
                let body = unsafe { self.body(0, clear.len()) };
                body.copy_from_slice(&payload[clear]);
                // SAFETY: the plan is of this layout; the body is in its room.
                let of = unsafe { self.plan.take(0, body, values, isnull) };
                natts = natts.min(of.ok_or_else(damaged)?);
                to_verify = guc::verify_clear() == VerifyClear::Always;
            }
            looked_at &= !CLEAR;
        }
        if looked_at == 0 && !to_verify {
            // SAFETY: arrays of columns of the descriptor.
            return unsafe { self.supply(sealed, natts, values, isnull) }.map_err(keyring);
        }
        let parts = row::parts(&layout, payload).map_err(Trouble::Seal)?;
        for group in 0..parts.count() {
            let number = group + 1;
            if looked_at & 1 << number == 0 {
                continue;
            }
            match gate::ask(sealed.reader, &layout, group).map_err(keyring)? {
                Answer::Open => {}
                Answer::Null => continue,
                Answer::Mask(mask) => {
                    self.held &= !(1 << number);
                    let columns = division.columns_of(number, values.len());
                    // SAFETY: the part stays closed, so its room is free.
                    unsafe { self.mask(number, &mask, sealed.desc, columns, values, isnull) };
                    continue;
                }
                Answer::Deny(key) => {
                    let relation = class::relation_name(sealed.owner);
                    // SAFETY: a column of the reader; one of the part is wanted.
                    let column = unsafe {
                        let first = self.plan.parts[number].first_wanted(self.plan.columns);
                        tuple::attribute_name(sealed.desc, first.unwrap_or_default())
                    };
                    let key = key.to_string();
                    return Err(keyring(Error::ColumnDenied { relation, column, key }));
                }
            }
            let len = parts.group(group).ok_or_else(damaged)?.len();
            // SAFETY: as for the clear part.
            let body = unsafe { self.body(number, len) };
            if self.held & 1 << number == 0 {
                row::open_group(&layout, &parts, group, payload, body).map_err(Trouble::Seal)?;
                self.held |= 1 << number;
            }
            to_verify = false;
            // SAFETY: as for the clear part.
            let of = unsafe { self.plan.take(number, body, values, isnull) };
            natts = natts.min(of.ok_or_else(damaged)?);
        }
        if to_verify {
            let len = parts.group(0).ok_or_else(damaged)?.len();
            // SAFETY: as for the clear part. Nothing of the group is shown to anybody.
            let body = unsafe { self.body(VERIFIED, len) };
            row::open_group(&layout, &parts, 0, payload, body).map_err(Trouble::Seal)?;
        }
        // SAFETY: arrays of columns of the descriptor.
        unsafe { self.supply(sealed, natts, values, isnull) }.map_err(keyring)
    }

    /// The same, for a row of which only columns in clear are looked at, if it is like the one before and nothing else
    /// is to be done; false means "ask `fill`", never "damaged".
    ///
    /// For the scan's inner loop: no PostgreSQL function is called, nothing can raise or panic.
    #[inline]
    pub unsafe fn fill_clear(
        &mut self,
        sealed: pg_sys::HeapTuple,
        owner: pg_sys::Oid,
        values: &mut [pg_sys::Datum],
        isnull: &mut [bool],
    ) -> bool {
        // SAFETY: as for `fill`.
        let payload = unsafe {
            let len = ((*sealed).t_len as usize).saturating_sub(SEALED_HOFF);
            std::slice::from_raw_parts((*sealed).t_data.cast::<u8>().add(SEALED_HOFF), len)
        };
        let Some(&word) = payload.first_chunk() else { return false };
        if self.plan.looked_at != CLEAR
            || !self.plan.is(owner, word, values.len())
            || guc::verify_clear() == VerifyClear::Always
        {
            return false;
        }
        let Some(mut body) = Parts::clear_of(payload).ok().and_then(|clear| payload.get(clear))
        else {
            return false;
        };
        let columns = &self.plan.parts[0];
        // SAFETY: the plan is of this layout.
        if unsafe { columns.take_straight(self.plan.columns, body, values, isnull) } {
            return true;
        }
        if !columns.in_place() {
            let (room, capacity) = self.parts[0];
            if capacity < PART_AT + body.len() {
                return false;
            }
            // SAFETY: the room is long enough, and there is no other view of it.
            body = unsafe {
                let to = room.add(PART_AT);
                std::ptr::copy_nonoverlapping(body.as_ptr(), to, body.len());
                std::slice::from_raw_parts(to, body.len())
            };
        }
        isnull.fill(true);
        // SAFETY: the plan is of this layout; the body is in its room, or needs none.
        unsafe { self.plan.take(0, body, values, isnull) == Some(values.len()) }
    }

    /// Room for the body of a part of so many bytes. What it held of the same row before is still there.
    unsafe fn body<'a>(&mut self, number: usize, len: usize) -> &'a mut [u8] {
        // SAFETY: the room is as long as the part and stays until the buffers take another row; no two parts
        // share one.
        unsafe { std::slice::from_raw_parts_mut(self.room(number, len).add(PART_AT), len) }
    }

    /// Gives kept values to columns that the row was written without. Of a column that nobody looks at it may
    /// not be known whether it was; what it is given then does not matter.
    unsafe fn supply(
        &mut self,
        sealed: Sealed,
        natts: usize,
        values: &mut [pg_sys::Datum],
        isnull: &mut [bool],
    ) -> Result<(), Error> {
        if natts >= values.len() {
            return Ok(());
        }
        // SAFETY: arrays of columns of the descriptor. The values are copied before anything can make the
        // table's be forgotten, into a context that belongs to the current one.
        unsafe {
            if !missing::supply(sealed.owner, sealed.desc, natts, values, isnull)? {
                return Ok(());
            }
            let context = self.fresh();
            let callers = pg_sys::MemoryContextSwitchTo(context);
            for column in natts..values.len() {
                let attribute = attribute(sealed.desc, column);
                if !isnull[column] && !attribute.by_val {
                    let len = i32::from(attribute.len);
                    values[column] = ffi::datumCopy(values[column], false, len);
                }
            }
            pg_sys::MemoryContextSwitchTo(callers);
        }
        Ok(())
    }

    /// The context of kept values, without those of the row before.
    unsafe fn fresh(&mut self) -> pg_sys::MemoryContext {
        // SAFETY: a child of the current context, with which it goes.
        unsafe {
            if self.kept.is_null() {
                self.kept = pg_sys::AllocSetContextCreateInternal(
                    pg_sys::CurrentMemoryContext,
                    c"pg_sealed kept values".as_ptr(),
                    0,
                    1024,
                    8 * 1024 * 1024,
                );
            } else {
                pg_sys::MemoryContextReset(self.kept);
            }
        }
        self.kept
    }

    /// Gives a mask to the columns of string types of a part.
    unsafe fn mask(
        &mut self,
        number: usize,
        mask: &str,
        desc: pg_sys::TupleDesc,
        columns: impl Iterator<Item = usize>,
        values: &mut [pg_sys::Datum],
        isnull: &mut [bool],
    ) {
        let len = varlena::VARHDRSZ + mask.len();
        // SAFETY: the room of the part, which stays closed, is aligned for a text, and long enough.
        let text = unsafe {
            let text = self.room(number, len).add(PART_AT);
            varlena::set_size(text, len);
            let bytes = std::slice::from_raw_parts_mut(text.add(varlena::VARHDRSZ), mask.len());
            bytes.copy_from_slice(mask.as_bytes());
            text
        };
        for column in columns {
            // SAFETY: a column of the descriptor; a look-up in the system cache.
            let (of_type, most) = unsafe {
                let of_type = pg_sys::getBaseType(attribute(desc, column).of_type);
                (of_type, (*tuple::attribute(desc, column)).atttypmod - varlena::VARHDRSZ as i32)
            };
            let fits = most < 0 || mask.chars().count() <= most as usize;
            let strings = [pg_sys::TEXTOID, pg_sys::VARCHAROID, pg_sys::BPCHAROID];
            if fits && strings.contains(&of_type) {
                (values[column], isnull[column]) = (pg_sys::Datum::from(text), false);
            }
        }
    }
}

/// Opens a row of several parts, whole: a heap tuple of the reader's columns, palloc'd, with what the sealed one's
/// header says. `buffers` may leave out columns; those are NULL.
pub unsafe fn open(
    sealed: Sealed,
    buffers: Option<&mut Buffers>,
) -> Result<pg_sys::HeapTuple, Trouble> {
    // SAFETY: the caller holds the tuple's page pinned or owns the copy; values point into the buffers until
    // they are copied. After an ERROR all goes with the memory context.
    unsafe {
        let (mut values, mut isnull) = arrays(sealed.desc);
        let mut own = Buffers::new();
        if let Some(buffers) = buffers {
            (own.wanted, own.chosen) = (buffers.wanted, buffers.chosen);
        }
        own.fill(sealed, &mut values, &mut isnull, false)?;
        let full = pg_sys::heap_form_tuple(sealed.desc, values.as_mut_ptr(), isnull.as_mut_ptr());
        tuple::take_header(sealed.row, full);
        own.free();
        Ok(full)
    }
}
