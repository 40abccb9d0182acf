//! Rows of several parts, put together and sealed.

use pgrx::pg_sys;
use sealed_crypto::{MAX_GROUPS, Parts, RowBody};

use super::{PREFIX, align};
use crate::error::Error;
use crate::keyring::{self, Layout};
use crate::pg::tuple::{self, HEADER, NATTS_MASK, SEALED_HOFF, bitmap_len, maxalign, varlena};
use crate::table_am::routine::target::Target;
use crate::table_am::routine::toast::{Attribute, attribute};
use crate::table_am::row;

/// The most bytes by which a stored row of this layout is longer than the heap tuple.
pub unsafe fn growth(layout: &Layout, desc: pg_sys::TupleDesc) -> usize {
    let groups = layout.parts.as_ref().map_or(0, |parts| parts.groups.len());
    // SAFETY: a descriptor. Each part may be padded where the whole was not.
    let natts = unsafe { (*desc).natts as usize };
    let group = PREFIX + 8 + bitmap_len(natts);
    Parts::new(0, std::iter::repeat_n(group, groups)).map_or(0, |parts| parts.len())
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
    let Some(of) = &layout.parts else { return usize::MAX };
    let mut row = Row::EMPTY;
    for (index, (value, null)) in values.iter().zip(isnull).enumerate() {
        let part = &mut row.parts[of.division.part_of(index)];
        if *null {
            part.add_null();
        } else {
            // SAFETY: a value that fits `desc`, not NULL.
            unsafe {
                let attribute = attribute(desc, index);
                let by_ref = value.cast_mut_ptr::<u8>().cast_const();
                part.add(Extent::of(&attribute, by_ref));
            }
        }
    }
    row.measured(of.groups.len()).map_or(usize::MAX, |parts| SEALED_HOFF + parts.len())
}

/// What a value takes in a part's data.
struct Extent {
    len: usize,
    /// What it is aligned to (`att_align_datum`).
    align: usize,
    /// Of a varying width.
    varies: bool,
    external: bool,
}

impl Extent {
    /// `p`: where the value is, if it is not of a fixed width.
    #[inline]
    unsafe fn of(attribute: &Attribute, p: *const u8) -> Self {
        let packed = |len| Self { len, align: 1, varies: true, external: false };
        // SAFETY: a value of the attribute's type, not NULL.
        unsafe {
            match attribute.len {
                -1 if varlena::is_external(p) => {
                    Self { external: true, ..packed(varlena::TOAST_POINTER_SIZE) }
                }
                -1 if varlena::is_short(p) => packed(varlena::size_short(p)),
                -1 => Self { align: attribute.align, ..packed(varlena::size(p)) },
                -2 => packed(std::ffi::CStr::from_ptr(p.cast()).count_bytes() + 1),
                len => Self { varies: false, align: attribute.align, ..packed(len as usize) },
            }
        }
    }
}

/// A part, as far as it is known.
#[derive(Clone, Copy)]
struct Part {
    natts: u16,
    has_null: bool,
    has_varwidth: bool,
    has_external: bool,
    data: usize,
}

impl Part {
    const EMPTY: Self =
        Self { natts: 0, has_null: false, has_varwidth: false, has_external: false, data: 0 };

    fn add_null(&mut self) {
        self.natts += 1;
        self.has_null = true;
    }

    /// Puts a value behind those that are there (`fill_val`), and returns where in the part's data it begins.
    #[inline]
    fn add(&mut self, value: Extent) -> usize {
        self.natts += 1;
        self.has_varwidth |= value.varies;
        self.has_external |= value.external;
        let start = align(self.data, value.align);
        self.data = start + value.len;
        start
    }

    fn hoff(&self) -> usize {
        let bitmap = if self.has_null { bitmap_len(self.natts.into()) } else { 0 };
        maxalign(HEADER + bitmap)
    }

    fn len(&self) -> usize {
        PREFIX + self.hoff() - HEADER + self.data
    }

    fn shape(&self) -> RowBody {
        RowBody {
            natts: self.natts,
            has_null: self.has_null,
            has_varwidth: self.has_varwidth,
            has_external: self.has_external,
            hoff: self.hoff() as u8,
        }
    }
}

/// The clear part of a row, and its groups.
struct Row {
    parts: [Part; MAX_GROUPS + 1],
}

impl Row {
    const EMPTY: Self = Self { parts: [Part::EMPTY; MAX_GROUPS + 1] };

    /// Where the parts are in the payload; none if one is too long.
    fn measured(&self, groups: usize) -> Option<Parts> {
        let [clear, of_groups @ ..] = &self.parts;
        let clear = if clear.natts == 0 { 0 } else { clear.len() };
        Parts::new(clear, of_groups.iter().take(groups).map(Part::len)).ok()
    }
}

/// A column's value on its way from a row into a part.
struct Value {
    /// Null of NULL.
    from: *const u8,
    len: usize,
    part: usize,
    /// Where it goes in the part's data.
    start: usize,
}

/// Finds the values of a heap tuple, by the rules of heap_deform_tuple(), and their places in the parts.
unsafe fn take_apart(
    plain: pg_sys::HeapTuple,
    desc: pg_sys::TupleDesc,
    of: &keyring::Parts,
    row: &mut Row,
) -> Vec<Value> {
    // SAFETY: `plain` fits `desc`, so every value is where the rules say.
    unsafe {
        let header = tuple::header(plain);
        let start = (*plain).t_data.cast::<u8>().cast_const();
        let data = start.add(header.t_hoff.into());
        let has_null = header.t_infomask & pg_sys::HEAP_HASNULL as u16 != 0;
        // A row that is shorter than the table is stays so.
        let natts = usize::from(header.t_infomask2 & NATTS_MASK);
        let mut values = Vec::with_capacity(natts);
        let mut at = 0;
        for index in 0..natts {
            let number = of.division.part_of(index);
            let part = &mut row.parts[number];
            if has_null && *start.add(HEADER + index / 8) & 1 << (index % 8) == 0 {
                part.add_null();
                values.push(Value { from: std::ptr::null(), len: 0, part: number, start: 0 });
                continue;
            }
            let attribute = attribute(desc, index);
            // What is no padding in front of a varlena is its header (`att_align_pointer`).
            if attribute.len != -1 || *data.add(at) == 0 {
                at = align(at, attribute.align);
            }
            let from = data.add(at);
            let value = Extent::of(&attribute, from);
            let len = value.len;
            values.push(Value { from, len, part: number, start: part.add(value) });
            at += len;
        }
        values
    }
}

/// Seals a plaintext row under a layout of several parts.
pub unsafe fn seal(
    plain: pg_sys::HeapTuple,
    desc: pg_sys::TupleDesc,
    target: &Target,
    layout: &Layout,
    of: &keyring::Parts,
) -> pg_sys::HeapTuple {
    // SAFETY: `plain` fits `desc`.
    unsafe {
        let mut row = Row::EMPTY;
        let values = take_apart(plain, desc, of, &mut row);
        let Some(parts) = row.measured(of.groups.len()) else {
            Error::Limit { what: "bytes of a row's part" }.report();
        };
        let t = target.new_tuple(plain, parts.len());
        let payload = (*t).t_data.cast::<u8>().add(SEALED_HOFF);
        let payload = std::slice::from_raw_parts_mut(payload, parts.len());
        // Bitmaps are filled bit by bit, and padding is zeros.
        payload.fill(0);
        write(&row, &values, &parts, payload);
        if let Err(e) = row::seal_parts(layout, &parts, payload) {
            e.report();
        }
        t
    }
}

/// Writes the bodies of the parts, over zeros.
unsafe fn write(row: &Row, values: &[Value], parts: &Parts, payload: &mut [u8]) {
    let mut bitmaps = [0; MAX_GROUPS + 1];
    let mut data = [0; MAX_GROUPS + 1];
    for (number, part) in row.parts.iter().enumerate().take(parts.count() + 1) {
        let body = match number.checked_sub(1) {
            None => Some(parts.clear()).filter(|body| !body.is_empty()),
            Some(group) => parts.group(group),
        };
        let Some(body) = body else { continue };
        let mut fields = [0; PREFIX];
        if let Err(e) = part.shape().write(&mut fields) {
            Error::from(e).report();
        }
        bitmaps[number] = body.start + PREFIX;
        data[number] = body.start + PREFIX + part.hoff() - HEADER;
        payload[body.start..bitmaps[number]].copy_from_slice(&fields);
    }
    let mut columns = [0; MAX_GROUPS + 1];
    for value in values {
        let column = columns[value.part];
        columns[value.part] += 1;
        if value.from.is_null() {
            continue;
        }
        if row.parts[value.part].has_null {
            payload[bitmaps[value.part] + column / 8] |= 1 << (column % 8);
        }
        // SAFETY: a value of the row that was taken apart, which is still there.
        let bytes = unsafe { std::slice::from_raw_parts(value.from, value.len) };
        let place = &mut payload[data[value.part] + value.start..][..value.len];
        // A copy of a length that is known is no call.
        match value.len {
            4 => place[..4].copy_from_slice(&bytes[..4]),
            8 => place[..8].copy_from_slice(&bytes[..8]),
            _ => place.copy_from_slice(bytes),
        }
    }
}
