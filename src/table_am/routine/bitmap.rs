//! The page step of a bitmap scan: heapam's, but that the rows it is to look at are on their way from memory before it
//! looks at the first.
//!
//! heapam goes from each offset that the bitmap names to its row and reads the header (`heap_hot_search_buffer()`). In a
//! table that the processor's caches do not hold it waits for memory at each of them, one after the other.
//!
//! Not guarded by pgrx, as in `scan`.

use pgrx::pg_sys;

use super::slot::prefetch;
#[cfg(feature = "pg18")]
use super::trouble::Trouble;
#[cfg(feature = "pg18")]
use crate::pg::call::callback;
#[cfg(feature = "pg18")]
use crate::pg::ffi::page;
use crate::pg::ffi::plain;
use crate::pg::tuple;
#[cfg(feature = "pg18")]
use crate::table_am::row::NotOpened;

/// Has the beginnings of a page's rows brought into the cache.
#[inline]
unsafe fn fetch_headers(buffer: pg_sys::Buffer, offsets: &[pg_sys::OffsetNumber]) {
    // SAFETY: the caller has the buffer pinned. The page is not locked, so that a line pointer may change meanwhile or
    // be gone; but even of the greatest offset of a bitmap it is within the page, and where it leads is not looked at.
    unsafe {
        let page = tuple::page(buffer);
        for &offset in offsets {
            if let Some((row, _)) = tuple::item(page, offset) {
                prefetch(row.cast());
            }
        }
    }
}

/// Pins the page as heapam is about to, which finds it pinned then (`ReleaseAndReadBuffer()`).
#[cfg(not(feature = "pg18"))]
pub unsafe extern "C-unwind" fn scan_bitmap_next_block(
    scan: pg_sys::TableScanDesc,
    result: *mut pg_sys::TBMIterateResult,
) -> bool {
    // SAFETY: arguments as heap's callback takes them; heap began the scan, so it is a `HeapScanDescData`. So many
    // offsets follow the result.
    unsafe {
        let heap = &mut *scan.cast::<pg_sys::HeapScanDescData>();
        let (block, count) = ((*result).blockno, (*result).ntuples);
        if count > 1 && block < heap.rs_nblocks && is_read(scan, result) {
            heap.rs_cbuf = plain::ReleaseAndReadBuffer(heap.rs_cbuf, (*scan).rs_rd, block);
            fetch_headers(heap.rs_cbuf, (*result).offsets.as_slice(count as usize));
        }
        crate::pg::shadow::heap().scan_bitmap_next_block.unwrap_unchecked()(scan, result)
    }
}

/// Whether heapam reads the page. 17's does not where only rows are counted and the visibility map says that all are
/// visible.
#[cfg(not(feature = "pg18"))]
unsafe fn is_read(_scan: pg_sys::TableScanDesc, _result: *const pg_sys::TBMIterateResult) -> bool {
    #[cfg(feature = "pg17")]
    // SAFETY: as above.
    unsafe {
        (*_scan).rs_flags & pg_sys::ScanOptions::SO_NEED_TUPLES != 0 || (*_result).recheck
    }
    #[cfg(not(feature = "pg17"))]
    true
}

/// Goes on to a page with a visible row, if the one that the scan is on has no more; false if there is none.
#[cfg(feature = "pg18")]
#[inline]
pub unsafe fn has_row(
    scan: pg_sys::TableScanDesc,
    recheck: *mut bool,
    lossy_pages: *mut u64,
    exact_pages: *mut u64,
) -> bool {
    // SAFETY: arguments as heap's callback takes them; heap began the scan.
    unsafe {
        let heap = scan.cast::<pg_sys::HeapScanDescData>();
        loop {
            if (*heap).rs_cindex < (*heap).rs_ntuples {
                return true;
            }
            if !next_block(scan, recheck, lossy_pages, exact_pages) {
                return false;
            }
        }
    }
}

/// `BitmapHeapScanNextBlock()` of 18's `heapam_handler.c`, which has no callback for it: the scan's next page that the
/// bitmap names, and which of its rows are visible. False if there is none.
#[cfg(feature = "pg18")]
unsafe fn next_block(
    scan: pg_sys::TableScanDesc,
    recheck: *mut bool,
    lossy_pages: *mut u64,
    exact_pages: *mut u64,
) -> bool {
    const NONE: pg_sys::Buffer = pg_sys::InvalidBuffer as pg_sys::Buffer;
    // SAFETY: heap began the scan, a bitmap scan with its stream of buffers, and `rs_vistuples` has room for the rows of
    // a page. This frame and those it calls own nothing: an ERROR may jump over them, and the pin is the scan's before
    // anything can raise one.
    unsafe {
        let heap = &mut *scan.cast::<pg_sys::HeapScanDescData>();
        let (rel, snapshot) = ((*scan).rs_rd, (*scan).rs_snapshot);
        heap.rs_cindex = 0;
        heap.rs_ntuples = 0;
        if heap.rs_cbuf != NONE {
            plain::ReleaseBuffer(heap.rs_cbuf);
            heap.rs_cbuf = NONE;
        }
        let mut data = std::ptr::null_mut();
        heap.rs_cbuf = page::read_stream_next_buffer(heap.rs_read_stream, &mut data);
        let buffer = heap.rs_cbuf;
        if buffer == NONE {
            return false;
        }
        let result = data.cast::<pg_sys::TBMIterateResult>();
        let (block, lossy) = ((*result).blockno, (*result).lossy);
        // As many as a bitmap has of a page (`TBM_MAX_TUPLES_PER_PAGE`).
        let mut offsets = heap.rs_vistuples;
        let most = offsets.len();
        let count = match lossy {
            true => 0,
            false => page::tbm_extract_page_tuple(result, offsets.as_mut_ptr(), most as u32),
        };
        let offsets = &offsets[..(count as usize).min(most)];
        fetch_headers(buffer, offsets);
        *recheck = (*result).recheck;
        heap.rs_cblock = block;
        page::heap_page_prune_opt(rel, buffer);
        // What is found visible under the lock stays so as long as the page is pinned.
        page::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
        let mut found = 0;
        if lossy {
            let lines = tuple::page(buffer);
            for offset in 1..=tuple::line_count(lines) {
                let Some((data, len)) = tuple::item(lines, offset) else { continue };
                let mut row = pg_sys::HeapTupleData {
                    t_len: len,
                    t_self: tuple::at(block, offset),
                    t_tableOid: (*rel).rd_id,
                    t_data: data,
                };
                let visible = page::HeapTupleSatisfiesVisibility(&mut row, snapshot, buffer);
                if visible {
                    let Some(place) = heap.rs_vistuples.get_mut(found) else {
                        page::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
                        too_many(&mut row);
                        return false;
                    };
                    *place = offset;
                    found += 1;
                    let xmin = tuple::xmin(&mut row);
                    page::PredicateLockTID(rel, &mut row.t_self, snapshot, xmin);
                }
                page::HeapCheckForSerializableConflictOut(visible, rel, &mut row, buffer, snapshot);
            }
        } else {
            for &offset in offsets {
                let mut tid = tuple::at(block, offset);
                let mut row = pg_sys::HeapTupleData::default();
                let nothing = std::ptr::null_mut();
                // From here a chain of HOT updates is followed to the row that the snapshot sees.
                if page::heap_hot_search_buffer(
                    &mut tid, rel, buffer, snapshot, &mut row, nothing, true,
                ) {
                    heap.rs_vistuples[found] = tid.ip_posid;
                    found += 1;
                }
            }
        }
        page::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
        heap.rs_ntuples = found as u32;
        *(if lossy { lossy_pages } else { exact_pages }) += 1;
        true
    }
}

/// Raises an error: a page has more rows than there is room for on one, so it is damaged. This frame may unwind as
/// those above it must not.
#[cfg(feature = "pg18")]
#[cold]
unsafe extern "C-unwind" fn too_many(row: pg_sys::HeapTuple) {
    callback!({
        // SAFETY: the caller's row has its TID and table.
        unsafe { Trouble::Seal(NotOpened::Damaged).report(row) }
    })
}
