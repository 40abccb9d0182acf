//! Rows of several parts: some columns in clear, others in groups, each sealed under a key of its own
//! (docs/format.md).
//!
//! A part is a small heap tuple of its columns only, without the 23 bytes of header. It is taken apart and
//! put together here, straight from and to the arrays of a whole row's values, by the rules of
//! heap_deform_tuple() and heap_fill_tuple() (access/common/heaptuple.c).

use std::rc::Rc;

use pgrx::pg_sys;
use sealed_crypto::{Parts, RowBody};

use super::opened::keyring;
use super::toast::{Attribute, attribute};
use super::trouble::Trouble;
use super::{missing, owner};
use crate::error::Error;
use crate::guc::{self, VerifyClear};
use crate::keyring::{self, Layout};
use crate::pg::tuple::{
    self, BODY_BITS, HEADER, HEAPTUPLESIZE, NATTS_MASK, SEALED_HOFF, bitmap_len, maxalign, varlena,
};
use crate::pg::{class, ffi};
use crate::table_am::gate::{self, Answer, Reader};
use crate::table_am::mixed::{self, Kind};
use crate::table_am::row::{self, NotOpened};

/// Bytes of `RowBody` in front of a part's null bitmap.
const PREFIX: usize = RowBody::LEN;
/// Where a part begins in a buffer, so that its data are aligned as in a tuple.
const PART_AT: usize = HEADER - PREFIX;
/// Bits of a payload's first byte that say how it is built: 2, several parts.
const FORMAT: u8 = 0xf0;
const SEVERAL: u8 = 0x20;
/// The clear part and eight groups, and one that is opened to be verified only.
const MOST: usize = sealed_crypto::MAX_GROUPS + 2;
const VERIFIED: usize = MOST - 1;

/// Whether a sealed tuple is a row of several parts. Looks at one byte, and verifies nothing.
#[inline]
pub unsafe fn has_parts(t: pg_sys::HeapTuple) -> bool {
    // SAFETY: a tuple of heapam's, whose page is pinned; the byte is there if the length says so.
    unsafe {
        let header = &*(*t).t_data;
        header.t_infomask2 & NATTS_MASK == 0
            && usize::from(header.t_hoff) == SEALED_HOFF
            && (*t).t_len as usize > SEALED_HOFF
            && *(*t).t_data.cast::<u8>().add(SEALED_HOFF) & FORMAT == SEVERAL
    }
}

/// The layout for rows that are written to `rel`, if it is one of several parts. Raises if the keyring has none.
pub fn layout_to_write(rel: pg_sys::Relation) -> Option<Rc<Layout>> {
    let owner = owner(rel);
    let mixed = mixed::of(owner).unwrap_or_else(|e| e.report());
    if mixed::target(mixed) == Kind::Plain {
        return None;
    }
    let layout = keyring::current_layout(owner).unwrap_or_else(|e| e.report());
    layout.parts.is_some().then_some(layout)
}

/// The most bytes by which a stored row of this layout is longer than the heap tuple.
pub unsafe fn growth(layout: &Layout, desc: pg_sys::TupleDesc) -> usize {
    let groups = layout.parts.as_ref().map_or(0, |parts| parts.groups.len());
    // SAFETY: a descriptor. Each part may be padded where the whole was not.
    let natts = unsafe { (*desc).natts as usize };
    Parts::new(0, vec![PREFIX + 8 + bitmap_len(natts); groups]).map_or(0, |parts| parts.len())
        + PREFIX
        + bitmap_len(natts)
        + 7 * natts
}

/// Bytes of the tuple that a row of these values is stored as.
pub unsafe fn stored_len(
    layout: &Layout,
    desc: pg_sys::TupleDesc,
    values: &[pg_sys::Datum],
    isnull: &[bool],
) -> usize {
    // SAFETY: values that fit `desc`.
    unsafe { plan(layout, desc, values, isnull) }
        .map_or(usize::MAX, |plan| SEALED_HOFF + plan.parts.len())
}

/// One part of a row, measured.
struct Part {
    columns: Vec<usize>,
    has_null: bool,
    data: usize,
}

impl Part {
    fn hoff(&self) -> usize {
        let bitmap = if self.has_null { bitmap_len(self.columns.len()) } else { 0 };
        maxalign(HEADER + bitmap)
    }

    fn len(&self) -> usize {
        PREFIX + self.hoff() - HEADER + self.data
    }
}

/// The parts of a row to be: the clear one, and the groups.
struct Plan {
    clear: Option<Part>,
    groups: Vec<Part>,
    parts: Parts,
}

unsafe fn plan(
    layout: &Layout,
    desc: pg_sys::TupleDesc,
    values: &[pg_sys::Datum],
    isnull: &[bool],
) -> Option<Plan> {
    let division = &layout.parts.as_ref()?.division;
    let part = |number: usize| {
        let columns: Vec<usize> = division.columns_of(number, values.len()).collect();
        let has_null = columns.iter().any(|&column| isnull[column]);
        let filled = columns.iter().filter(|&&column| !isnull[column]);
        let data = filled.fold(0, |at, &column| {
            // SAFETY: a value of the column, not NULL.
            unsafe { Place::of(&attribute(desc, column), values[column], at) }.end
        });
        Part { columns, has_null, data }
    };
    let groups: Vec<Part> = (1..=division.groups().len()).map(part).collect();
    let clear = Some(part(0)).filter(|clear| !clear.columns.is_empty());
    let lens = groups.iter().map(Part::len);
    let parts = Parts::new(clear.as_ref().map_or(0, Part::len), lens).ok()?;
    Some(Plan { clear, groups, parts })
}

/// Where a value lies in a part's data.
struct Place {
    start: usize,
    end: usize,
}

impl Place {
    /// The place of a value that is put behind `at` bytes of data (`fill_val`).
    unsafe fn of(attribute: &Attribute, value: pg_sys::Datum, at: usize) -> Self {
        // SAFETY: a value of the attribute's type, not NULL.
        unsafe {
            let p = value.cast_mut_ptr::<u8>().cast_const();
            let (packed, len) = match attribute.len {
                -1 if varlena::is_external(p) => (true, varlena::TOAST_POINTER_SIZE),
                -1 if varlena::is_short(p) => (true, varlena::size_short(p)),
                -1 => (false, varlena::size(p)),
                -2 => (true, std::ffi::CStr::from_ptr(p.cast()).count_bytes() + 1),
                len => (false, len as usize),
            };
            let start = if packed { at } else { at.next_multiple_of(attribute.align) };
            Self { start, end: start + len }
        }
    }
}

/// Seals a plaintext row under a layout of several parts, into a palloc'd tuple (current memory context).
pub unsafe fn seal(
    plain: pg_sys::HeapTuple,
    desc: pg_sys::TupleDesc,
    layout: &Layout,
) -> pg_sys::HeapTuple {
    // SAFETY: `plain` fits `desc`; the result is one palloc'd block like heap_form_tuple() makes.
    unsafe {
        let natts = usize::from(tuple::header(plain).t_infomask2 & NATTS_MASK);
        let (mut values, mut isnull) = arrays(desc);
        pg_sys::heap_deform_tuple(plain, desc, values.as_mut_ptr(), isnull.as_mut_ptr());
        // A row that is shorter than the table is stays so.
        values.truncate(natts);
        isnull.truncate(natts);
        let Some(plan) = plan(layout, desc, &values, &isnull) else {
            Error::Limit { what: "bytes of a row's part" }.report();
        };
        let len = SEALED_HOFF + plan.parts.len();
        let t = pg_sys::palloc0(HEAPTUPLESIZE + len).cast::<pg_sys::HeapTupleData>();
        let data = t.cast::<u8>().add(HEAPTUPLESIZE);
        (*t).t_len = len as u32;
        (*t).t_self = (*plain).t_self;
        (*t).t_tableOid = (*plain).t_tableOid;
        (*t).t_data = data.cast();
        std::ptr::copy_nonoverlapping((*plain).t_data.cast::<u8>(), data, HEADER);
        let to = tuple::header(t);
        to.t_infomask &= !BODY_BITS;
        to.t_infomask2 &= !NATTS_MASK;
        to.t_hoff = SEALED_HOFF as u8;
        let payload = std::slice::from_raw_parts_mut(data.add(SEALED_HOFF), plan.parts.len());
        let clear = plan.clear.iter().map(|part| (part, plan.parts.clear()));
        let groups = plan.groups.iter().enumerate();
        let groups = groups.filter_map(|(i, part)| Some((part, plan.parts.group(i)?)));
        for (part, range) in clear.chain(groups) {
            write(part, desc, &values, &isnull, &mut payload[range]);
        }
        if let Err(e) = row::seal_parts(layout, &plan.parts, payload) {
            e.report();
        }
        t
    }
}

/// Writes a part's body, over zeros.
unsafe fn write(
    part: &Part,
    desc: pg_sys::TupleDesc,
    values: &[pg_sys::Datum],
    isnull: &[bool],
    body: &mut [u8],
) {
    let hoff = part.hoff();
    let (prefix, rest) = body.split_at_mut(PREFIX);
    let (bitmap, data) = rest.split_at_mut(hoff - HEADER);
    let mut shape = RowBody {
        natts: part.columns.len() as u16,
        has_null: part.has_null,
        has_varwidth: false,
        has_external: false,
        hoff: hoff as u8,
    };
    let mut at = 0;
    for (i, &column) in part.columns.iter().enumerate() {
        if isnull[column] {
            continue;
        }
        if part.has_null {
            bitmap[i / 8] |= 1 << (i % 8);
        }
        // SAFETY: a value of the column, not NULL; `plan` has measured the same places.
        unsafe {
            let attribute = attribute(desc, column);
            let value = values[column];
            let place = Place::of(&attribute, value, at);
            at = place.end;
            let to = &mut data[place.start..place.end];
            shape.has_varwidth |= attribute.len < 0;
            if attribute.by_val {
                // The low bytes, as store_att_byval() has them on a little-endian machine.
                to.copy_from_slice(&(value.value() as u64).to_le_bytes()[..to.len()]);
            } else {
                let from = value.cast_mut_ptr::<u8>().cast_const();
                shape.has_external |= attribute.len == -1 && varlena::is_external(from);
                to.copy_from_slice(std::slice::from_raw_parts(from, to.len()));
            }
        }
    }
    let mut fields = [0; PREFIX];
    if let Err(e) = shape.write(&mut fields) {
        Error::from(e).report();
    }
    prefix.copy_from_slice(&fields);
}

unsafe fn arrays(desc: pg_sys::TupleDesc) -> (Vec<pg_sys::Datum>, Vec<bool>) {
    // SAFETY: a descriptor.
    let natts = unsafe { (*desc).natts as usize };
    (vec![pg_sys::Datum::null(); natts], vec![true; natts])
}

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
        Self { parts: [(none, 0); MOST], kept: none.cast(), wanted: none.cast(), chosen: false }
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
        (self.wanted, self.chosen) = (wanted, true);
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
        let kept = std::mem::replace(&mut self.kept, std::ptr::null_mut());
        if !kept.is_null() {
            // SAFETY: made by `supply`.
            unsafe { pg_sys::MemoryContextDelete(kept) };
        }
    }

    /// Gives values to the first columns of a row, as many as `values` has, opening the parts that they are in,
    /// as far as they are wanted. Values point into the buffers and are good until those take another row.
    pub unsafe fn fill(
        &mut self,
        sealed: Sealed,
        values: &mut [pg_sys::Datum],
        isnull: &mut [bool],
    ) -> Result<(), Trouble> {
        let damaged = || Trouble::Seal(NotOpened::Damaged);
        // SAFETY: the caller holds the tuple's page pinned; its bytes behind the header do not change.
        let payload = unsafe {
            let len = (*sealed.row).t_len as usize - SEALED_HOFF;
            std::slice::from_raw_parts((*sealed.row).t_data.cast::<u8>().add(SEALED_HOFF), len)
        };
        let (layout, parts) = row::parts(sealed.owner, payload).map_err(Trouble::Seal)?;
        let division = layout.parts.as_ref().map(|parts| &parts.division).ok_or_else(damaged)?;
        isnull.fill(true);
        // So many columns the row was written with: all before the first that is not there.
        let mut natts = values.len();
        let (mut clear_read, mut opened) = (false, false);
        for number in 0..=parts.count() {
            let columns = division.columns_of(number, values.len());
            // SAFETY: columns of the reader.
            let mut looked_at = columns.clone().filter(|column| unsafe { self.wants(*column) });
            let Some(first) = looked_at.next() else { continue };
            let range = match number.checked_sub(1) {
                None => parts.clear(),
                Some(group) => parts.group(group).ok_or_else(damaged)?,
            };
            // No clear part: of a row without the columns that are in clear now.
            if range.is_empty() {
                natts = natts.min(columns.clone().next().unwrap_or(natts));
                continue;
            }
            if let Some(group) = number.checked_sub(1) {
                match &*gate::ask(sealed.reader, &layout, group).map_err(keyring)? {
                    Answer::Open => {}
                    Answer::Null => continue,
                    Answer::Mask(mask) => {
                        // SAFETY: as for `take_apart`.
                        unsafe { self.mask(number, mask, sealed.desc, columns, values, isnull) };
                        continue;
                    }
                    Answer::Deny(key) => {
                        let relation = class::relation_name(sealed.owner);
                        // SAFETY: a column of the reader.
                        let column = unsafe { tuple::attribute_name(sealed.desc, first) };
                        return Err(keyring(Error::ColumnDenied {
                            relation,
                            column,
                            key: key.clone(),
                        }));
                    }
                }
            }
            // SAFETY: the room is as long as the part; what is palloc'd belongs to the caller's context.
            let body = unsafe {
                let room = self.room(number, range.len());
                std::slice::from_raw_parts_mut(room.add(PART_AT), range.len())
            };
            match number.checked_sub(1) {
                None => {
                    body.copy_from_slice(&payload[range]);
                    clear_read = true;
                }
                Some(group) => {
                    row::open_group(&layout, &parts, group, payload, body)
                        .map_err(Trouble::Seal)?;
                    opened = true;
                }
            }
            let shape = RowBody::parse(body).map_err(|_| damaged())?;
            natts = natts.min(columns.clone().nth(shape.natts.into()).unwrap_or(natts));
            // SAFETY: `body` is a part of these columns, in the room made for it.
            unsafe { take_apart(body, shape, sealed.desc, columns, values, isnull) };
        }
        if clear_read && !opened && guc::verify_clear() == VerifyClear::Always {
            let len = parts.group(0).ok_or_else(damaged)?.len();
            // SAFETY: as above. Nothing of the group is shown to anybody.
            let body = unsafe {
                let room = self.room(VERIFIED, len);
                std::slice::from_raw_parts_mut(room.add(PART_AT), len)
            };
            row::open_group(&layout, &parts, 0, payload, body).map_err(Trouble::Seal)?;
        }
        if natts < values.len() {
            // SAFETY: arrays of columns of the descriptor.
            unsafe { self.supply(sealed, natts, values, isnull) }.map_err(keyring)?;
        }
        Ok(())
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

/// Gives values to the columns of a part that are there.
unsafe fn take_apart(
    body: &[u8],
    shape: RowBody,
    desc: pg_sys::TupleDesc,
    columns: impl Iterator<Item = usize>,
    values: &mut [pg_sys::Datum],
    isnull: &mut [bool],
) {
    let (bitmap, mut at) = (PREFIX, 0);
    let data = &body[PREFIX + usize::from(shape.hoff) - HEADER..];
    for (i, column) in columns.enumerate().take(shape.natts.into()) {
        if shape.has_null && body[bitmap + i / 8] & 1 << (i % 8) == 0 {
            (values[column], isnull[column]) = (pg_sys::Datum::null(), true);
            continue;
        }
        // SAFETY: the part was written from values of these columns, so one is there; that of a clear part
        // is believed as heap believes its pages (docs/threat-model.md).
        unsafe {
            let attribute = attribute(desc, column);
            // att_align_pointer(): a byte that is not padding begins a value that is not aligned.
            if attribute.len != -1 || data.get(at).is_none_or(|&byte| byte == 0) {
                at = at.next_multiple_of(attribute.align);
            }
            let p = data.as_ptr().wrapping_add(at);
            values[column] = if attribute.by_val {
                fetch(p, attribute.len)
            } else {
                pg_sys::Datum::from(p.cast_mut())
            };
            at = Place::of(&attribute, values[column], at).end;
        }
        isnull[column] = false;
    }
}

/// `fetch_att` of a type passed by value.
unsafe fn fetch(p: *const u8, len: i16) -> pg_sys::Datum {
    // SAFETY: as for `take_apart`; the place is aligned for its length.
    unsafe {
        match len {
            1 => pg_sys::Datum::from(*p.cast::<i8>()),
            2 => pg_sys::Datum::from(*p.cast::<i16>()),
            4 => pg_sys::Datum::from(*p.cast::<i32>()),
            _ => pg_sys::Datum::from(*p.cast::<i64>()),
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
        own.fill(sealed, &mut values, &mut isnull)?;
        let full = pg_sys::heap_form_tuple(sealed.desc, values.as_mut_ptr(), isnull.as_mut_ptr());
        tuple::take_header(sealed.row, full);
        own.free();
        Ok(full)
    }
}
