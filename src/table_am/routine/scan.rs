//! Callbacks that read: heap's own, filling the slot inside the lazy slot.
//!
//! Not guarded by pgrx, on purpose: each is a frame without destructors around one call of heap's
//! function, and runs once a row. See `slot` for what makes that sound.

use std::ops::Range;

use pgrx::pg_sys;

#[cfg(feature = "pg18")]
use super::bitmap;
use super::slot;
use crate::pg::call::{call_c, callback};
use crate::pg::tuple;
use crate::table_am::gate::Reader;
use crate::table_am::{missing, mixed};

/// Calls heap's callback `$f` with the slot inside `$slot` and takes the row over; a TOAST table's
/// slot is heap's own and goes straight through.
macro_rules! through {
    ($slot:ident, $rel:expr, $found:expr, |$s:ident| $call:expr) => {{
        if slot::is_lazy($slot) {
            let rel = $rel;
            let $s = slot::inner($slot);
            let result = $call;
            slot::taken($slot, rel, $found(&result));
            result
        } else {
            let $s = $slot;
            $call
        }
    }};
}

/// Puts the next row of the page that a scan is on into the slot; false if heap's callback has to be asked.
///
/// heapam looks for the visible rows of a page once (`rs_vistuples`), and hands out one after the other
/// (heapgettup_pagemode() and heap_getnextslot(), or heapam_scan_bitmap_next_tuple(), of access/heap). What it does
/// between two rows of a page is done here, without its calls: a third of the time of count(*).
///
/// `rs_cindex` is that of the row handed out last; of a bitmap scan, that of the next one.
#[inline(always)]
unsafe fn next_of_page<const BITMAP: bool>(
    scan: pg_sys::TableScanDesc,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    // SAFETY: heap began the scan, so it is a `HeapScanDescData`. That the slot shows `rs_ctup` says that heap put
    // a row of `rs_cbuf` there, which both keep pinned, and that `rs_vistuples` and `t_self` are of that page.
    unsafe {
        let heap = &mut *scan.cast::<pg_sys::HeapScanDescData>();
        let index = heap.rs_cindex as usize + usize::from(!BITMAP);
        let count = heap.rs_ntuples as usize;
        if index >= count
            || !slot::shows(slot, &raw mut heap.rs_ctup, heap.rs_cbuf)
            || !count_row::<BITMAP>((*scan).rs_rd)
        {
            return false;
        }
        let page = tuple::page(heap.rs_cbuf);
        let offset = heap.rs_vistuples[index];
        let Some((data, len)) = tuple::item(page, offset) else { return false };
        heap.rs_cindex = (index + usize::from(BITMAP)) as _;
        heap.rs_ctup.t_data = data;
        heap.rs_ctup.t_len = len;
        heap.rs_ctup.t_self.ip_posid = offset;
        slot::next(slot);
        if BITMAP {
            fetch(page, heap, index + AHEAD..(index + AHEAD + 1).min(count));
        }
        true
    }
}

/// How many rows of a bitmap scan are brought into the cache before they are opened.
const AHEAD: usize = 3;

/// Has rows of a bitmap scan brought into the cache: they lie anywhere on their page, and of each one heapam has looked
/// at the header alone.
#[inline]
unsafe fn fetch(page: pg_sys::Page, heap: &pg_sys::HeapScanDescData, rows: Range<usize>) {
    for index in rows {
        // SAFETY: the scan has the page pinned; so many rows of it are known.
        if let Some((row, len)) = unsafe { tuple::item(page, heap.rs_vistuples[index]) } {
            slot::fetch(row.cast(), len as usize);
        }
    }
}

/// The same for the first rows of a page, of which heapam has handed out the very first. Returns `found`.
#[inline]
unsafe fn fetch_first<const BITMAP: bool>(scan: pg_sys::TableScanDesc, found: bool) -> bool {
    // SAFETY: heap began the scan; while there are rows left of `rs_vistuples`, their page is pinned.
    unsafe {
        let heap = &*scan.cast::<pg_sys::HeapScanDescData>();
        if found && heap.rs_cindex as usize == usize::from(BITMAP) && heap.rs_cbuf != 0 {
            fetch(tuple::page(heap.rs_cbuf), heap, 0..(AHEAD + 1).min(heap.rs_ntuples as usize));
        }
    }
    found
}

/// Whether `TestForOldSnapshot()` may raise, which is for heap to ask.
#[cfg(any(feature = "pg15", feature = "pg16"))]
#[inline]
fn may_be_too_old() -> bool {
    // SAFETY: a setting, fixed at server start.
    unsafe { pg_sys::old_snapshot_threshold >= 0 }
}

#[cfg(any(feature = "pg17", feature = "pg18"))]
#[inline]
fn may_be_too_old() -> bool {
    false
}

/// `pgstat_count_heap_getnext()`, or of a bitmap scan `pgstat_count_heap_fetch()`; false if the table has no counters yet.
#[inline]
unsafe fn count_row<const BITMAP: bool>(rel: pg_sys::Relation) -> bool {
    // SAFETY: an open relation; its counters belong to this backend.
    unsafe {
        let Some(stat) = (*rel).pgstat_info.as_mut() else { return !(*rel).pgstat_enabled };
        #[cfg(feature = "pg15")]
        let (returned, fetched) =
            (&mut stat.t_counts.t_tuples_returned, &mut stat.t_counts.t_tuples_fetched);
        #[cfg(not(feature = "pg15"))]
        let (returned, fetched) =
            (&mut stat.counts.tuples_returned, &mut stat.counts.tuples_fetched);
        *(if BITMAP { fetched } else { returned }) += 1;
    }
    true
}

pub unsafe extern "C-unwind" fn scan_getnextslot(
    scan: pg_sys::TableScanDesc,
    direction: pg_sys::ScanDirection::Type,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    // SAFETY: arguments as heap's callback takes them; see the module's note.
    unsafe {
        let heap = scan.cast::<pg_sys::HeapScanDescData>();
        if direction == pg_sys::ScanDirection::ForwardScanDirection
            && (*scan).rs_flags & pg_sys::ScanOptions::SO_ALLOW_PAGEMODE != 0
            && (*scan).rs_key.is_null()
            && (*heap).rs_inited
            && !may_be_too_old()
            && next_of_page::<false>(scan, slot)
        {
            return true;
        }
        // Whoever looked at the row before looks at this one.
        let read =
            (*scan).rs_flags & pg_sys::ScanOptions::SO_ALLOW_PAGEMODE != 0 && slot::is_read(slot);
        let found = |r: &bool| if read { fetch_first::<false>(scan, *r) } else { *r };
        through!(slot, (*scan).rs_rd, found, |s| of_heap!(scan_getnextslot)(scan, direction, s))
    }
}

pub unsafe extern "C-unwind" fn scan_getnextslot_tidrange(
    scan: pg_sys::TableScanDesc,
    direction: pg_sys::ScanDirection::Type,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    // SAFETY: as above.
    unsafe {
        through!(slot, (*scan).rs_rd, |r: &bool| *r, |s| of_heap!(scan_getnextslot_tidrange)(
            scan, direction, s
        ))
    }
}

pub unsafe extern "C-unwind" fn index_fetch_tuple(
    scan: *mut pg_sys::IndexFetchTableData,
    tid: pg_sys::ItemPointer,
    snapshot: pg_sys::Snapshot,
    slot: *mut pg_sys::TupleTableSlot,
    call_again: *mut bool,
    all_dead: *mut bool,
) -> bool {
    // SAFETY: as above.
    unsafe {
        through!(slot, (*scan).rel, |r: &bool| *r && slot::fetch_inner(slot), |s| of_heap!(
            index_fetch_tuple
        )(
            scan, tid, snapshot, s, call_again, all_dead
        ))
    }
}

pub unsafe extern "C-unwind" fn tuple_fetch_row_version(
    rel: pg_sys::Relation,
    tid: pg_sys::ItemPointer,
    snapshot: pg_sys::Snapshot,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    // SAFETY: as above.
    unsafe {
        through!(slot, rel, |r: &bool| *r, |s| of_heap!(tuple_fetch_row_version)(
            rel, tid, snapshot, s
        ))
    }
}

#[allow(clippy::too_many_arguments)]
pub unsafe extern "C-unwind" fn tuple_lock(
    rel: pg_sys::Relation,
    tid: pg_sys::ItemPointer,
    snapshot: pg_sys::Snapshot,
    slot: *mut pg_sys::TupleTableSlot,
    cid: pg_sys::CommandId,
    mode: pg_sys::LockTupleMode::Type,
    wait_policy: pg_sys::LockWaitPolicy::Type,
    flags: u8,
    tmfd: *mut pg_sys::TM_FailureData,
) -> pg_sys::TM_Result::Type {
    // SAFETY: as above. heap fills the slot whatever the result is.
    unsafe {
        through!(slot, rel, |_: &pg_sys::TM_Result::Type| true, |s| of_heap!(tuple_lock)(
            rel,
            tid,
            snapshot,
            s,
            cid,
            mode,
            wait_policy,
            flags,
            tmfd
        ))
    }
}

/// ANALYZE: counts every row and samples none, so no value ever reaches `pg_statistic`.
///
/// `acquire_sample_rows()` derives reltuples from the counts, and `do_analyze_rel()` computes
/// statistics only if it was given a row. No key is needed and nothing is opened. Only
/// `sealed.plaintext_statistics = on` lets rows through.
pub unsafe extern "C-unwind" fn scan_analyze_next_tuple(
    scan: pg_sys::TableScanDesc,
    oldest_xmin: pg_sys::TransactionId,
    live: *mut f64,
    dead: *mut f64,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    // SAFETY: as above; heap's callback is called until it has let go of the page.
    unsafe {
        if !slot::is_lazy(slot) {
            return of_heap!(scan_analyze_next_tuple)(scan, oldest_xmin, live, dead, slot);
        }
        let s = slot::inner(slot);
        while of_heap!(scan_analyze_next_tuple)(scan, oldest_xmin, live, dead, s) {
            if crate::guc::plaintext_statistics() {
                slot::serve(slot, Reader::Sampler);
                slot::taken(slot, (*scan).rs_rd, true);
                return true;
            }
        }
        slot::taken(slot, (*scan).rs_rd, false);
        false
    }
}

/// Before ANALYZE's page step. heap's callback keeps the page locked until its rows were asked for,
/// and a sampled row is opened under that lock: the keys and kept values are brought here, before it is taken.
unsafe extern "C-unwind" fn before_analyze_block(rel: pg_sys::Relation) {
    callback!({
        if crate::guc::plaintext_statistics() && !super::is_toast(rel) {
            let owner = super::owner(rel);
            let ready = crate::keyring::preload(owner)
                .and_then(|()| missing::of(owner).map(drop))
                .and_then(|()| mixed::of(owner));
            if let Err(e) = ready {
                e.report();
            }
        }
    })
}

#[cfg(any(feature = "pg15", feature = "pg16"))]
pub unsafe extern "C-unwind" fn scan_analyze_next_block(
    scan: pg_sys::TableScanDesc,
    block: pg_sys::BlockNumber,
    strategy: pg_sys::BufferAccessStrategy,
) -> bool {
    // SAFETY: as above.
    unsafe {
        before_analyze_block((*scan).rs_rd);
        of_heap!(scan_analyze_next_block)(scan, block, strategy)
    }
}

#[cfg(any(feature = "pg17", feature = "pg18"))]
pub unsafe extern "C-unwind" fn scan_analyze_next_block(
    scan: pg_sys::TableScanDesc,
    stream: *mut pg_sys::ReadStream,
) -> bool {
    // SAFETY: as above.
    unsafe {
        before_analyze_block((*scan).rs_rd);
        of_heap!(scan_analyze_next_block)(scan, stream)
    }
}

#[cfg(not(feature = "pg18"))]
pub unsafe extern "C-unwind" fn scan_bitmap_next_tuple(
    scan: pg_sys::TableScanDesc,
    page: *mut pg_sys::TBMIterateResult,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    // SAFETY: as above.
    unsafe {
        if next_of_page::<true>(scan, slot) {
            return true;
        }
        through!(slot, (*scan).rs_rd, |r: &bool| fetch_first::<true>(scan, *r), |s| of_heap!(
            scan_bitmap_next_tuple
        )(
            scan, page, s
        ))
    }
}

#[cfg(feature = "pg18")]
pub unsafe extern "C-unwind" fn scan_bitmap_next_tuple(
    scan: pg_sys::TableScanDesc,
    slot: *mut pg_sys::TupleTableSlot,
    recheck: *mut bool,
    lossy_pages: *mut u64,
    exact_pages: *mut u64,
) -> bool {
    // SAFETY: as above.
    unsafe {
        if next_of_page::<true>(scan, slot) {
            return true;
        }
        // heapam's has a row of the page then, and takes no step itself.
        through!(slot, (*scan).rs_rd, |r: &bool| fetch_first::<true>(scan, *r), |s| {
            bitmap::has_row(scan, recheck, lossy_pages, exact_pages)
                && of_heap!(scan_bitmap_next_tuple)(scan, s, recheck, lossy_pages, exact_pages)
        })
    }
}

pub unsafe extern "C-unwind" fn scan_sample_next_tuple(
    scan: pg_sys::TableScanDesc,
    state: *mut pg_sys::SampleScanState,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    // SAFETY: as above.
    unsafe {
        through!(slot, (*scan).rs_rd, |r: &bool| *r, |s| of_heap!(scan_sample_next_tuple)(
            scan, state, s
        ))
    }
}

/// Whether the row in `slot` is visible to `snapshot` (RI checks, ON CONFLICT).
///
/// heap's own wants the buffer that its slot pins; a materialised lazy slot has none, so the header
/// is read again at the row's TID.
pub unsafe extern "C-unwind" fn tuple_satisfies_snapshot(
    rel: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    snapshot: pg_sys::Snapshot,
) -> bool {
    callback!({
        // SAFETY: every pg_sys call is guarded; the resource owner drops lock and pin if one raises.
        unsafe {
            if !slot::is_lazy(slot) {
                return call_c(|| of_heap!(tuple_satisfies_snapshot)(rel, slot, snapshot));
            }
            let tid = (*slot).tts_tid;
            let buffer = pg_sys::ReadBuffer(rel, tuple::block(&tid));
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            let item = tuple::item(pg_sys::BufferGetPage(buffer), tid.ip_posid);
            let visible = item.is_some_and(|(data, len)| {
                let mut t = pg_sys::HeapTupleData {
                    t_len: len,
                    t_self: tid,
                    t_tableOid: (*rel).rd_id,
                    t_data: data,
                };
                pg_sys::HeapTupleSatisfiesVisibility(&mut t, snapshot, buffer)
            });
            pg_sys::UnlockReleaseBuffer(buffer);
            visible
        }
    })
}
