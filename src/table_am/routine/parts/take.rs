//! A part's values, taken out of its bytes by the rules of heap_deform_tuple().

use pgrx::pg_sys;
use sealed_crypto::RowBody;

use super::{PREFIX, align};
use crate::pg::tuple::{HEADER, varlena};
use crate::table_am::routine::toast::attribute;

/// A column of a part, as its reader has it.
#[derive(Clone, Copy)]
pub struct Column {
    /// Its number less 1.
    index: u16,
    /// Where its value is in the part's data if no column before it is NULL; `UNKNOWN` behind one of varying width
    /// (`attcacheoff`).
    offset: u16,
    /// As in `pg_attribute`.
    len: i16,
    align: u8,
    by_val: bool,
    /// Somebody looks at it.
    wanted: bool,
}

const UNKNOWN: u16 = u16::MAX;

/// The columns of a part among those of a reader's first ones.
#[derive(Clone, Copy)]
pub struct Columns {
    /// The first of them in the array of all.
    start: u16,
    count: u16,
    /// So many until the last that somebody looks at.
    looked_at: u16,
    /// Of those that are looked at one is passed by reference and aligned: it is not read in place.
    aligned: bool,
    /// If all that are looked at are passed by value and in places known beforehand: where the last of them ends.
    straight: Option<u16>,
}

impl Columns {
    /// No columns.
    pub const NONE: Self =
        Self { start: 0, count: 0, looked_at: 0, aligned: false, straight: None };

    /// Writes the columns of a part behind the `start` ones that `all` has already.
    ///
    /// # Safety
    /// Columns of the descriptor; `all` has room for each of them.
    pub unsafe fn write(
        all: *mut Column,
        start: u16,
        desc: pg_sys::TupleDesc,
        columns: impl Iterator<Item = usize>,
        wanted: impl Fn(usize) -> bool,
    ) -> Self {
        let mut part = Self { start, straight: Some(0), ..Self::NONE };
        let mut known = Some(0);
        for index in columns {
            // SAFETY: as the caller promises.
            let of = unsafe { attribute(desc, index) };
            let place = known.map(|at| align(at, of.align)).filter(|_| of.len > 0);
            let wanted = wanted(index);
            let column = Column {
                index: index as u16,
                offset: place.and_then(|at| u16::try_from(at).ok()).unwrap_or(UNKNOWN),
                len: of.len,
                align: of.align as u8,
                by_val: of.by_val,
                wanted,
            };
            known = place.map(|at| at + of.len as usize);
            // SAFETY: as the caller promises.
            unsafe { all.add(usize::from(start + part.count)).write(column) };
            part.count += 1;
            if wanted {
                part.looked_at = part.count;
                part.aligned |= !of.by_val && of.align > 1;
                part.straight = part
                    .straight
                    .and(known)
                    .filter(|_| of.by_val)
                    .and_then(|end| u16::try_from(end).ok());
            }
        }
        part
    }

    /// How many there are in the part.
    pub fn count(self) -> u16 {
        self.count
    }

    /// Whether somebody looks at one of them.
    pub fn wanted(self) -> bool {
        self.looked_at > 0
    }

    /// Whether their values can be read where they lie in the page, where nothing is aligned.
    pub fn in_place(self) -> bool {
        !self.aligned
    }

    /// The index of the first that is looked at.
    ///
    /// # Safety
    /// `all` is what the columns were written to.
    pub unsafe fn first_wanted(self, all: *const Column) -> Option<usize> {
        // SAFETY: as the caller promises.
        unsafe { self.slice(all) }.iter().find(|c| c.wanted).map(|c| c.index.into())
    }

    unsafe fn slice<'a>(&self, all: *const Column) -> &'a [Column] {
        // SAFETY: written by `write`, and only while the reader's row is taken is it looked at.
        unsafe { std::slice::from_raw_parts(all.add(self.start.into()), usize::from(self.count)) }
    }

    /// Does the same as `take` if all it takes is to read values where they are known to be; else it does nothing, and
    /// is false.
    ///
    /// # Safety
    /// As for `take`.
    #[inline(always)]
    pub unsafe fn take_straight(
        &self,
        all: *const Column,
        body: &[u8],
        values: &mut [pg_sys::Datum],
        isnull: &mut [bool],
    ) -> bool {
        let (Some(end), Some((info, hoff))) = (self.straight, RowBody::fields(body)) else {
            return false;
        };
        let data = (PREFIX + usize::from(hoff)).wrapping_sub(HEADER);
        if info & RowBody::HAS_NULL != 0
            || info & RowBody::NATTS < self.count
            || body.len().checked_sub(data).is_none_or(|len| len < usize::from(end))
        {
            return false;
        }
        isnull.fill(true);
        // SAFETY: as the caller promises.
        let columns = unsafe { self.slice(all) };
        for column in columns.iter().take(self.looked_at.into()).filter(|c| c.wanted) {
            let index = usize::from(column.index);
            if let (Some(value), Some(null)) = (values.get_mut(index), isnull.get_mut(index)) {
                // SAFETY: in front of where the last one ends.
                *value = unsafe {
                    fetch(body.as_ptr().add(data + usize::from(column.offset)), column.len)
                };
                *null = false;
            }
        }
        true
    }

    /// Gives values to the columns that are wanted and not NULL, and says how many of the row's columns are there as
    /// far as this part knows: all before the first of its own that is not. `None` if the body is not one of ours.
    ///
    /// Raises and panics never; what it reads is inside `body`, whatever is in there.
    ///
    /// # Safety
    /// `all` is what the columns were written to; the values live as long as `body`, which is aligned as rooms of
    /// `Buffers` are unless `in_place`.
    pub unsafe fn take(
        &self,
        all: *const Column,
        body: &[u8],
        values: &mut [pg_sys::Datum],
        isnull: &mut [bool],
    ) -> Option<usize> {
        let shape = RowBody::parse(body).ok()?;
        // SAFETY: as the caller promises.
        let columns = unsafe { self.slice(all) };
        let there = usize::from(shape.natts);
        let data = body.get((PREFIX + usize::from(shape.hoff)).checked_sub(HEADER)?..)?;
        let bitmap = body.get(PREFIX..)?;
        let (mut at, mut known) = (0, true);
        for (i, column) in columns.iter().take(self.looked_at.into()).take(there).enumerate() {
            let index = usize::from(column.index);
            if shape.has_null && bitmap.get(i / 8)? & 1 << (i % 8) == 0 {
                known = false;
                continue;
            }
            if known && column.offset != UNKNOWN {
                at = usize::from(column.offset);
            } else if column.len != -1 || data.get(at).is_none_or(|&byte| byte == 0) {
                // att_align_pointer(): a byte that is not padding begins a value that is not aligned.
                at = align(at, column.align.into());
            }
            let rest = data.get(at..)?;
            let len = match column.len {
                -1 => length(rest)?,
                -2 => rest.iter().position(|&byte| byte == 0)? + 1,
                len => len as usize,
            };
            let value = rest.get(..len)?;
            if column.wanted {
                *values.get_mut(index)? = if column.by_val {
                    // SAFETY: so many bytes are there.
                    unsafe { fetch(value.as_ptr(), column.len) }
                } else {
                    pg_sys::Datum::from(value.as_ptr().cast_mut())
                };
                *isnull.get_mut(index)? = false;
            }
            at += len;
        }
        Some(columns.get(there).map_or(values.len(), |column| column.index.into()))
    }
}

/// Bytes of the varlena that `bytes` begins with (`VARSIZE_ANY`).
fn length(bytes: &[u8]) -> Option<usize> {
    let p = bytes.as_ptr();
    // SAFETY: there is a byte, and there are four of a long header.
    unsafe {
        match *bytes.first()? {
            1 => Some(varlena::TOAST_POINTER_SIZE),
            byte if byte & 1 == 1 => Some(varlena::size_short(p)),
            _ if bytes.len() < varlena::VARHDRSZ => None,
            _ => Some(varlena::size(p)).filter(|len| *len >= varlena::VARHDRSZ),
        }
    }
}

/// `fetch_att` of a type passed by value, which need not be aligned.
///
/// # Safety
/// `len` bytes are there.
#[inline]
unsafe fn fetch(p: *const u8, len: i16) -> pg_sys::Datum {
    // SAFETY: as the caller promises.
    unsafe {
        match len {
            1 => pg_sys::Datum::from(p.cast::<i8>().read()),
            2 => pg_sys::Datum::from(p.cast::<i16>().read_unaligned()),
            4 => pg_sys::Datum::from(p.cast::<i32>().read_unaligned()),
            _ => pg_sys::Datum::from(p.cast::<i64>().read_unaligned()),
        }
    }
}
