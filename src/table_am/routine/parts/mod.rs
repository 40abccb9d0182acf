//! Rows of several parts: some columns in clear, others in groups, each sealed under a key of its own
//! (docs/format.md).
//!
//! A part is a small heap tuple of its columns only, without the 23 bytes of header. It is taken apart and
//! put together here, straight to the array of a whole row's values and from a whole row, by the rules of
//! heap_deform_tuple() and heap_fill_tuple() (access/common/heaptuple.c).

use pgrx::pg_sys;
use sealed_crypto::RowBody;

use crate::pg::tuple::{NATTS_MASK, SEALED_HOFF};

mod open;
mod seal;
mod take;

pub use open::{Buffers, Sealed, open};
pub use seal::{growth, seal, stored_len};

/// Bytes of `RowBody` in front of a part's null bitmap.
const PREFIX: usize = RowBody::LEN;
/// Bits of a payload's first byte that say how it is built: 2, several parts.
const FORMAT: u8 = 0xf0;
const SEVERAL: u8 = 0x20;

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

/// The next multiple of a power of two (`att_align_nominal`).
#[inline]
const fn align(at: usize, to: usize) -> usize {
    (at + to - 1) & !(to - 1)
}

unsafe fn arrays(desc: pg_sys::TupleDesc) -> (Vec<pg_sys::Datum>, Vec<bool>) {
    // SAFETY: a descriptor.
    let natts = unsafe { (*desc).natts as usize };
    (vec![pg_sys::Datum::null(); natts], vec![true; natts])
}
