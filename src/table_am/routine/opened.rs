//! Rows as they are stored, opened into heap tuples.

use pgrx::pg_sys;
use sealed_crypto::{OVERHEAD, RowBody};

use super::missing;
use super::parts::{self, Buffers, Sealed};
use super::trouble::Trouble;
use crate::error::Error;
use crate::pg::tuple::{BODY_BITS, HEADER, HEAPTUPLESIZE, NATTS_MASK, SEALED_HOFF};
use crate::table_am::gate::Reader;
use crate::table_am::mixed;
use crate::table_am::row::{self, NotOpened};

/// Bytes by which a sealed tuple is longer than the heap tuple it holds: 24 of header and 38 of
/// seal and 3 of body prefix, instead of the 23 of the heap tuple's header.
pub const GROWTH: usize = SEALED_HOFF + OVERHEAD + PREFIX - HEADER;
/// Bytes of `RowBody` in front of the null bitmap.
const PREFIX: usize = 3;
/// Where the opened body starts in a heap tuple: `RowBody` overlays `t_infomask` and `t_hoff`, so
/// that the null bitmap and the data land where they belong.
const BODY_AT: usize = HEADER - PREFIX;

/// From this bit on the flags of `RowBody` are those of `t_infomask`.
const FLAGS_FROM: u32 = RowBody::HAS_NULL.trailing_zeros();
const _: () = assert!(
    RowBody::NATTS == NATTS_MASK
        && RowBody::HAS_NULL >> FLAGS_FROM == pg_sys::HEAP_HASNULL as u16
        && RowBody::HAS_VARWIDTH >> FLAGS_FROM == pg_sys::HEAP_HASVARWIDTH as u16
        && RowBody::HAS_EXTERNAL >> FLAGS_FROM == pg_sys::HEAP_HASEXTERNAL as u16
);

/// Whether the tuple has the shape of a sealed row.
#[inline]
pub(super) unsafe fn is_sealed(t: pg_sys::HeapTuple) -> bool {
    // SAFETY: a tuple of heapam's; 23 header bytes are always there.
    unsafe {
        let header = &*(*t).t_data;
        header.t_infomask2 & NATTS_MASK == 0
            && usize::from(header.t_hoff) == SEALED_HOFF
            && (*t).t_len as usize >= SEALED_HOFF + OVERHEAD + PREFIX
    }
}

/// Whether the tuple is as heap stores it: with columns, or with nothing after its header.
#[inline]
pub unsafe fn is_plain(t: pg_sys::HeapTuple) -> bool {
    // SAFETY: as for `is_sealed`.
    unsafe {
        let header = &*(*t).t_data;
        header.t_infomask2 & NATTS_MASK != 0 || (*t).t_len == u32::from(header.t_hoff)
    }
}

fn is_mixed(owner: pg_sys::Oid) -> Result<bool, Error> {
    Ok(mixed::of(owner)?.is_some())
}

pub(super) fn keyring(e: Error) -> Trouble {
    Trouble::Seal(NotOpened::Keyring(e))
}

/// The sealed bytes of `t`, and where its body goes in `buffer`.
#[inline]
pub(super) unsafe fn views<'a>(t: pg_sys::HeapTuple, buffer: *mut u8) -> (&'a [u8], &'a mut [u8]) {
    // SAFETY: `is_sealed(t)`; `buffer` has at least t_len bytes, and an opened tuple is GROWTH
    // shorter than a sealed one. The page is pinned (or the tuple is a copy), and concurrent
    // writers change only the 23 header bytes, which the slice leaves out.
    unsafe {
        let len = (*t).t_len as usize - SEALED_HOFF;
        let payload = std::slice::from_raw_parts((*t).t_data.cast::<u8>().add(SEALED_HOFF), len);
        let body = std::slice::from_raw_parts_mut(buffer.add(BODY_AT), len - OVERHEAD);
        (payload, body)
    }
}

/// Completes the tuple in `buffer`, whose body is open: transaction fields from the sealed tuple,
/// the shape from the body's prefix. False if the prefix is not one of ours.
#[inline]
pub(super) unsafe fn write_header(
    sealed: pg_sys::HeapTuple,
    buffer: *mut u8,
    head: &mut pg_sys::HeapTupleData,
) -> bool {
    // SAFETY: as for `views`.
    unsafe {
        let (_, body) = views(sealed, buffer);
        let Some((info, hoff)) = RowBody::fields(body) else { return false };
        let from = &*(*sealed).t_data;
        std::ptr::copy_nonoverlapping((*sealed).t_data.cast::<u8>(), buffer, BODY_AT - 2);
        let to = &mut *buffer.cast::<pg_sys::HeapTupleHeaderData>();
        let natts = info & RowBody::NATTS;
        to.t_infomask2 = from.t_infomask2 & !NATTS_MASK | natts;
        to.t_infomask = from.t_infomask & !BODY_BITS | (info ^ natts) >> FLAGS_FROM;
        to.t_hoff = hoff;
        head.t_len = (*sealed).t_len - GROWTH as u32;
        head.t_self = (*sealed).t_self;
        head.t_tableOid = (*sealed).t_tableOid;
        head.t_data = to;
        true
    }
}

/// Opens a row into `buffer` (at least `t_len` bytes, 8-byte aligned) and fills `head`. A row of several
/// parts is formed anew instead, palloc'd as one block with every column that has a value.
pub unsafe fn try_open(
    wanted: Sealed,
    buffer: *mut u8,
    buffers: Option<&mut Buffers>,
    head: &mut pg_sys::HeapTupleData,
) -> Result<Option<pg_sys::HeapTuple>, Trouble> {
    // SAFETY: the caller holds the tuple's page pinned or owns the copy, and owns `buffer`.
    unsafe {
        let Sealed { row: sealed, owner, .. } = wanted;
        if is_plain(sealed) && is_mixed(owner).map_err(keyring)? {
            let len = (*sealed).t_len as usize;
            std::ptr::copy_nonoverlapping((*sealed).t_data.cast::<u8>(), buffer, len);
            *head = *sealed;
            head.t_data = buffer.cast();
            return Ok(None);
        }
        if (*(*sealed).t_data).t_infomask2 & NATTS_MASK != 0 {
            return Err(Trouble::Plain);
        }
        if !is_sealed(sealed) {
            return Err(Trouble::Seal(NotOpened::Damaged));
        }
        if parts::has_parts(sealed) {
            return parts::open(wanted, buffers).map(Some);
        }
        let (payload, body) = views(sealed, buffer);
        row::open(owner, payload, body).map_err(Trouble::Seal)?;
        if !write_header(sealed, buffer, head) {
            return Err(Trouble::Seal(NotOpened::Damaged));
        }
        Ok(None)
    }
}

/// Opens `sealed`, a row of `rel`, into memory of the current context, as one palloc'd heap tuple with
/// every column that has a value.
pub unsafe fn try_open_copy(
    sealed: pg_sys::HeapTuple,
    rel: pg_sys::Relation,
    reader: Reader,
) -> Result<pg_sys::HeapTuple, Trouble> {
    // SAFETY: the caller holds the tuple's page pinned; memory belongs to the current context.
    unsafe {
        let owner = super::owner(rel);
        let size = HEAPTUPLESIZE + (*sealed).t_len as usize;
        let t = pg_sys::palloc(size).cast::<pg_sys::HeapTupleData>();
        let buffer = t.cast::<u8>().add(HEAPTUPLESIZE);
        let row = Sealed { row: sealed, owner, desc: (*rel).rd_att, reader };
        if let Some(formed) = try_open(row, buffer, None, &mut *t)? {
            pg_sys::pfree(t.cast());
            return Ok(formed);
        }
        match missing::complete(t, (*rel).rd_att, owner) {
            Ok(full) => Ok(full.unwrap_or(t)),
            Err(e) => Err(keyring(e)),
        }
    }
}

/// The same; raises what stops it.
pub unsafe fn open_copy(
    sealed: pg_sys::HeapTuple,
    rel: pg_sys::Relation,
    reader: Reader,
) -> pg_sys::HeapTuple {
    // SAFETY: passed on.
    unsafe { try_open_copy(sealed, rel, reader).unwrap_or_else(|why| why.report(sealed)) }
}
