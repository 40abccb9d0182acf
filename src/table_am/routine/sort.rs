//! CLUSTER's sort of opened rows, in memory only.
//!
//! Core's tuplesort writes what does not fit its memory limit to temporary files, which would be
//! whole rows in plaintext. So a table is sorted only if its file cannot hold more rows than fit
//! `maintenance_work_mem` (`fits`), and tuplesort itself is given a limit that it cannot reach.

use pgrx::pg_sys;

use crate::pg::ffi;

use super::opened::GROWTH;

const BLOCK: u64 = pg_sys::BLCKSZ as u64;
/// Bytes that even an empty row takes on a page: the sealed tuple, aligned to 8, and its line
/// pointer. The null bitmap or padding makes an opened header 24 bytes at least.
const LEAST_ROW: u64 = ((24 + GROWTH) as u64).next_multiple_of(8) + 4;
/// No page has more rows.
const ROWS_A_BLOCK: u64 = BLOCK / LEAST_ROW;
/// What tuplesort counts for a row above the bytes it takes on its page: a chunk's header and
/// rounding (32 bytes and 8, on 15 with assertions; `HeapTupleData` takes 24 and the seal, `GROWTH`,
/// is gone), and two `SortTuple` of 24 bytes, because their array doubles.
const MORE_A_ROW: u64 = 40 + 2 * 24;
/// tuplesort's array of `SortTuple` as it begins (1024 of them), and its chunk.
const AT_FIRST: u64 = 1024 * 24 + 1024;
/// The limit tuplesort gets, in kB as in `maintenance_work_mem`: the largest there is, 2 TB.
const NO_LIMIT: i32 = i32::MAX;
/// tuplesort's array doubles while it is shorter than INT_MAX / 2, and then only once more.
const MOST_ROWS: u64 = 1 << 29;
/// It also doubles only while no more than half of the limit is in use.
const MOST_BYTES: u64 = (NO_LIMIT as u64) * 1024 / 2;

/// Whether a file of `blocks` blocks is sorted in at most `kilobytes` of memory, for certain.
const fn fits_in(blocks: u32, kilobytes: u32) -> bool {
    let rows = blocks as u64 * ROWS_A_BLOCK;
    let bytes = AT_FIRST + blocks as u64 * BLOCK + rows * MORE_A_ROW;
    bytes <= kilobytes as u64 * 1024 && bytes <= MOST_BYTES && rows <= MOST_ROWS
}

const _: () = {
    assert!(fits_in(0, 64) && !fits_in(5, 64));
    // A table as large as the limit does not fit, one of two fifths does.
    let mut mb = 1;
    while mb <= 65536 {
        assert!(!fits_in(mb * 128, mb * 1024) && fits_in(mb * 51, mb * 1024));
        mb *= 2;
    }
    // More rows than tuplesort's array doubles for, whatever the memory.
    assert!(!fits_in((MOST_ROWS / ROWS_A_BLOCK) as u32 + 1, NO_LIMIT as u32));
    assert!(!fits_in(u32::MAX, NO_LIMIT as u32));
};

/// Whether the rows of `rel`, which nobody else can write to, are sorted within
/// `maintenance_work_mem`.
pub unsafe fn fits(rel: pg_sys::Relation) -> bool {
    // SAFETY: an open relation under CLUSTER's exclusive lock; the setting is an int of this backend.
    unsafe {
        let blocks = pg_sys::RelationGetNumberOfBlocksInFork(rel, pg_sys::ForkNumber::MAIN_FORKNUM);
        fits_in(blocks, pg_sys::maintenance_work_mem.max(0) as u32)
    }
}

/// A sort of rows in the order of an index. Its memory belongs to the context it began in, so an
/// ERROR needs no cleaning up.
pub struct Sort(*mut pg_sys::Tuplesortstate);

impl Sort {
    /// Begins the sort of rows of `rel` by `index`, a btree. Only if it `fits`.
    pub unsafe fn begin(rel: pg_sys::Relation, index: pg_sys::Relation) -> Self {
        // SAFETY: open relations; the descriptor lives as long as `rel` is open.
        Self(unsafe {
            ffi::tuplesort_begin_cluster(
                (*rel).rd_att,
                index,
                NO_LIMIT,
                std::ptr::null_mut(),
                pg_sys::TUPLESORT_NONE as i32,
            )
        })
    }

    /// Adds an opened row, of which the sort keeps a copy.
    pub unsafe fn put(&self, row: pg_sys::HeapTuple) {
        // SAFETY: a whole heap tuple of the relation's descriptor.
        unsafe { ffi::tuplesort_putheaptuple(self.0, row) };
    }

    /// Sorts. May run functions of the index's expressions and operators.
    pub unsafe fn perform(&self) {
        // SAFETY: begun and not ended.
        unsafe { ffi::tuplesort_performsort(self.0) };
    }

    /// The next row, null at the end. It stays the sort's.
    pub unsafe fn next(&self) -> pg_sys::HeapTuple {
        // SAFETY: begun, performed and not ended.
        unsafe { ffi::tuplesort_getheaptuple(self.0, true) }
    }

    /// Frees everything.
    pub unsafe fn end(self) {
        // SAFETY: begun and not ended; nobody holds a row of it.
        unsafe { ffi::tuplesort_end(self.0) };
    }
}
