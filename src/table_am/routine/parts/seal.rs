//! Rows of several parts, put together and sealed.

use std::rc::Rc;

use pgrx::pg_sys;
use sealed_crypto::{Parts, RowBody};

use super::{PREFIX, Place, arrays};
use crate::error::Error;
use crate::keyring::{self, Layout};
use crate::pg::tuple::{
    self, BODY_BITS, HEADER, HEAPTUPLESIZE, NATTS_MASK, SEALED_HOFF, bitmap_len, maxalign, varlena,
};
use crate::table_am::mixed::{self, Kind};
use crate::table_am::routine::owner;
use crate::table_am::routine::toast::attribute;
use crate::table_am::row;

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
