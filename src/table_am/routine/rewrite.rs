//! CLUSTER and VACUUM FULL: every row is opened and sealed again under the table's current layout.
//!
//! `heapam_relation_copy_for_cluster` re-implemented, because it re-forms rows itself. Where core asks
//! for a sort, rows are sorted if that is certain to stay in memory (`sort`), and else read by the
//! index: nothing of a row is to reach a temporary file.

use pgrx::pg_sys;

use super::opened;
use super::sort::{self, Sort};
use super::target::{self, Target};
use super::{is_toast, owner, toast};
use crate::error::Error;
use crate::pg::call::{self, call_c, callback};
use crate::pg::ffi;
use crate::pg::shadow::{self, heap};
use crate::pg::{relation, tuple};
use crate::table_am::gate::Reader;
use crate::table_am::mixed::{self, Kind};

/// The rows of the old table with their buffers, in the order asked for.
enum Source {
    Table(pg_sys::TableScanDesc),
    Index(pg_sys::IndexScanDesc),
}

#[allow(clippy::too_many_arguments)]
pub unsafe extern "C-unwind" fn relation_copy_for_cluster(
    old: pg_sys::Relation,
    new: pg_sys::Relation,
    old_index: pg_sys::Relation,
    use_sort: bool,
    oldest_xmin: pg_sys::TransactionId,
    xid_cutoff: *mut pg_sys::TransactionId,
    multi_cutoff: *mut pg_sys::MultiXactId,
    num_tuples: *mut f64,
    tups_vacuumed: *mut f64,
    tups_recently_dead: *mut f64,
) {
    callback!({
        // SAFETY: arguments of core's; everything opened or palloc'd belongs to the command's resource
        // owner and memory context.
        unsafe {
            if is_toast(old) {
                // VACUUM FULL of a TOAST table by itself: its rows are ordinary, and a chunk's seal does
                // not depend on where it lies.
                refuse_mixed(old);
                let copy = heap().relation_copy_for_cluster.unwrap_unchecked();
                return call_c(|| {
                    copy(
                        old,
                        new,
                        old_index,
                        use_sort,
                        oldest_xmin,
                        xid_cutoff,
                        multi_cutoff,
                        num_tuples,
                        tups_vacuumed,
                        tups_recently_dead,
                    )
                });
            }
            let rewrite = ffi::begin_heap_rewrite(
                old,
                target::shadow_of(new),
                oldest_xmin,
                *xid_cutoff,
                *multi_cutoff,
            );
            let sort = (use_sort && sort::fits(old)).then(|| Sort::begin(old, old_index));
            let by = if sort.is_some() { std::ptr::null_mut() } else { old_index };
            let source = begin(old, by);
            let raw_slot = pg_sys::MakeSingleTupleTableSlot(
                shadow::no_columns(),
                &raw const pg_sys::TTSOpsBufferHeapTuple,
            );
            let per_row = pg_sys::AllocSetContextCreateInternal(
                pg_sys::CurrentMemoryContext,
                c"pg_sealed rewrite".as_ptr(),
                0,
                8 * 1024,
                8 * 1024 * 1024,
            );
            while next(&source, raw_slot) {
                call::check_for_interrupts();
                let raw = (*raw_slot.cast::<pg_sys::BufferHeapTupleTableSlot>()).base.tuple;
                let fate = fate(raw, raw_slot, oldest_xmin);
                match fate {
                    Fate::Dead => {
                        *tups_vacuumed += 1.0;
                        // The rewrite still needs to see it, for its chains.
                        if ffi::rewrite_heap_dead_tuple(rewrite, raw) {
                            *tups_vacuumed += 1.0;
                            *tups_recently_dead -= 1.0;
                        }
                        continue;
                    }
                    Fate::RecentlyDead => *tups_recently_dead += 1.0,
                    Fate::Live => {}
                }
                *num_tuples += 1.0;
                pg_sys::MemoryContextReset(per_row);
                let before = pg_sys::MemoryContextSwitchTo(per_row);
                let row = opened::open_copy(raw, old, Reader::Internal);
                if matches!(fate, Fate::Live) {
                    tuple::forget_failed_update(row);
                }
                if let Some(sort) = &sort {
                    pg_sys::MemoryContextSwitchTo(before);
                    sort.put(row);
                    progress(&source, *num_tuples, 0.0);
                    continue;
                }
                let sealed = reseal(old, new, row);
                pg_sys::MemoryContextSwitchTo(before);
                // Of the old row it reads t_self and the transaction fields, which an opened row has
                // from its sealed one.
                ffi::rewrite_heap_tuple(rewrite, row, sealed);
                progress(&source, *num_tuples, *num_tuples);
            }
            end(source);
            pg_sys::ExecDropSingleTupleTableSlot(raw_slot);
            if let Some(sort) = sort {
                report(
                    pg_sys::PROGRESS_CLUSTER_PHASE,
                    pg_sys::PROGRESS_CLUSTER_PHASE_SORT_TUPLES.into(),
                );
                sort.perform();
                report(
                    pg_sys::PROGRESS_CLUSTER_PHASE,
                    pg_sys::PROGRESS_CLUSTER_PHASE_WRITE_NEW_HEAP.into(),
                );
                let mut written = 0;
                loop {
                    call::check_for_interrupts();
                    let row = sort.next();
                    if row.is_null() {
                        break;
                    }
                    pg_sys::MemoryContextReset(per_row);
                    let before = pg_sys::MemoryContextSwitchTo(per_row);
                    let sealed = reseal(old, new, row);
                    pg_sys::MemoryContextSwitchTo(before);
                    ffi::rewrite_heap_tuple(rewrite, row, sealed);
                    written += 1;
                    report(pg_sys::PROGRESS_CLUSTER_HEAP_TUPLES_WRITTEN, written);
                }
                sort.end();
            }
            ffi::end_heap_rewrite(rewrite);
            // Every row has all its columns now, and is sealed unless the table is being unsealed.
            let done = crate::keyring::drop_missing(owner(old)).and_then(|()| finish_sealing(old));
            if let Err(e) = done {
                e.report();
            }
            pg_sys::MemoryContextDelete(per_row);
        }
    })
}

/// The marks of chunks get lost when heap forms their rows anew, which a mixed table cannot do without.
unsafe fn refuse_mixed(toastrel: pg_sys::Relation) {
    // SAFETY: an open TOAST table of a sealed table.
    let table = unsafe { relation::toast_owner(toastrel) };
    match mixed::of(table) {
        Ok(None) => {}
        Ok(Some(_)) => Error::Unsupported {
            what: format!("VACUUM FULL of the TOAST table of \"{}\" alone while that is being sealed or unsealed", relation::name(table)),
        }
        .report(),
        Err(e) => e.report(),
    }
}

/// A table that was being sealed is, with a rewrite of all its rows.
unsafe fn finish_sealing(old: pg_sys::Relation) -> Result<(), Error> {
    match mixed::of(owner(old))? {
        Some(m) if m.target == Kind::Sealed => crate::keyring::unmix(owner(old))
            .and_then(|()| crate::keyring::note_plaintext_wal(owner(old))),
        _ => Ok(()),
    }
}

/// Seals an opened row for the new table, without the columns that were dropped.
unsafe fn reseal(
    old: pg_sys::Relation,
    new: pg_sys::Relation,
    row: pg_sys::HeapTuple,
) -> pg_sys::HeapTuple {
    // SAFETY: a whole heap tuple; everything is palloc'd in the per-row context.
    unsafe {
        let desc = (*new).rd_att;
        let natts = (*desc).natts as usize;
        let mut values = vec![pg_sys::Datum::null(); natts];
        let mut isnull = vec![true; natts];
        pg_sys::heap_deform_tuple(row, (*old).rd_att, values.as_mut_ptr(), isnull.as_mut_ptr());
        for (i, null) in isnull.iter_mut().enumerate() {
            *null |= toast::attribute(desc, i).dropped;
        }
        let formed = pg_sys::heap_form_tuple(desc, values.as_mut_ptr(), isnull.as_mut_ptr());
        // heap_toast_insert_or_update() is told the same in raw_heap_insert().
        let target = Target::of(new);
        let options = pg_sys::HEAP_INSERT_SKIP_FSM as i32;
        let stored = toast::store(new, &target, formed, None, options);
        target::to_store(stored, new, &target)
    }
}

enum Fate {
    Live,
    RecentlyDead,
    Dead,
}

unsafe fn fate(
    raw: pg_sys::HeapTuple,
    slot: *mut pg_sys::TupleTableSlot,
    oldest_xmin: pg_sys::TransactionId,
) -> Fate {
    // SAFETY: the slot pins the tuple's page.
    unsafe {
        let buffer = (*slot.cast::<pg_sys::BufferHeapTupleTableSlot>()).buffer;
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
        let state = pg_sys::HeapTupleSatisfiesVacuum(raw, oldest_xmin, buffer);
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
        use pg_sys::HTSV_Result::*;
        // Under the exclusive lock of CLUSTER, "in progress" can only be our own transaction.
        match state {
            HEAPTUPLE_DEAD => Fate::Dead,
            HEAPTUPLE_RECENTLY_DEAD | HEAPTUPLE_DELETE_IN_PROGRESS => Fate::RecentlyDead,
            _ => Fate::Live,
        }
    }
}

unsafe fn begin(old: pg_sys::Relation, index: pg_sys::Relation) -> Source {
    let any = (&raw mut pg_sys::SnapshotAnyData).cast();
    // SAFETY: open relations; SnapshotAny is a static of the server. Progress as heapam reports it.
    unsafe {
        if index.is_null() {
            report(
                pg_sys::PROGRESS_CLUSTER_PHASE,
                pg_sys::PROGRESS_CLUSTER_PHASE_SEQ_SCAN_HEAP.into(),
            );
            let flags = pg_sys::ScanOptions::SO_TYPE_SEQSCAN
                | pg_sys::ScanOptions::SO_ALLOW_STRAT
                | pg_sys::ScanOptions::SO_ALLOW_SYNC
                | pg_sys::ScanOptions::SO_ALLOW_PAGEMODE;
            let scan = pg_sys::heap_beginscan(
                old,
                any,
                0,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                flags,
            );
            let blocks = (*scan.cast::<pg_sys::HeapScanDescData>()).rs_nblocks;
            report(pg_sys::PROGRESS_CLUSTER_TOTAL_HEAP_BLKS, blocks.into());
            return Source::Table(scan);
        }
        report(
            pg_sys::PROGRESS_CLUSTER_PHASE,
            pg_sys::PROGRESS_CLUSTER_PHASE_INDEX_SCAN_HEAP.into(),
        );
        report(pg_sys::PROGRESS_CLUSTER_INDEX_RELID, (*index).rd_id.to_u32().into());
        #[cfg(not(feature = "pg18"))]
        let scan = pg_sys::index_beginscan(old, index, any, 0, 0);
        #[cfg(feature = "pg18")]
        let scan = pg_sys::index_beginscan(old, index, any, std::ptr::null_mut(), 0, 0);
        pg_sys::index_rescan(scan, std::ptr::null_mut(), 0, std::ptr::null_mut(), 0);
        Source::Index(scan)
    }
}

fn report(param: u32, value: i64) {
    // SAFETY: writes to this backend's progress entry.
    unsafe { pg_sys::pgstat_progress_update_param(param as i32, value) };
}

unsafe fn progress(source: &Source, scanned: f64, written: f64) {
    report(pg_sys::PROGRESS_CLUSTER_HEAP_TUPLES_SCANNED, scanned as i64);
    report(pg_sys::PROGRESS_CLUSTER_HEAP_TUPLES_WRITTEN, written as i64);
    if let Source::Table(scan) = source {
        // SAFETY: a heap scan that began.
        let (at, start, blocks) = unsafe {
            let s = &*scan.cast::<pg_sys::HeapScanDescData>();
            (i64::from(s.rs_cblock), i64::from(s.rs_startblock), i64::from(s.rs_nblocks))
        };
        // The scan may start in the middle and wrap around.
        let done = (at + blocks - start) % blocks.max(1) + 1;
        report(pg_sys::PROGRESS_CLUSTER_HEAP_BLKS_SCANNED, done);
    }
}

/// Puts the next row into `slot`, pinned. heap's functions, not ours: the raw row and its buffer are
/// what HeapTupleSatisfiesVacuum() needs.
unsafe fn next(source: &Source, slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: an open scan; the C function pointer is called guarded.
    unsafe {
        match *source {
            Source::Table(scan) => {
                ffi::heap_getnextslot(scan, pg_sys::ScanDirection::ForwardScanDirection, slot)
            }
            Source::Index(scan) => loop {
                if !(*scan).xs_heap_continue
                    && ffi::index_getnext_tid(scan, pg_sys::ScanDirection::ForwardScanDirection)
                        .is_null()
                {
                    return false;
                }
                let fetch = heap().index_fetch_tuple.unwrap_unchecked();
                let (mut again, mut all_dead) = ((*scan).xs_heap_continue, false);
                let any = (&raw mut pg_sys::SnapshotAnyData).cast();
                let (again_at, dead_at) = (&raw mut again, &raw mut all_dead);
                let found = call_c(|| {
                    let tid = &raw mut (*scan).xs_heaptid;
                    fetch((*scan).xs_heapfetch, tid, any, slot, again_at, dead_at)
                });
                (*scan).xs_heap_continue = again;
                if found {
                    return true;
                }
            },
        }
    }
}

unsafe fn end(source: Source) {
    // SAFETY: ends what `begin` began.
    unsafe {
        match source {
            Source::Table(scan) => {
                // The last blocks may have had no row.
                let blocks = (*scan.cast::<pg_sys::HeapScanDescData>()).rs_nblocks;
                report(pg_sys::PROGRESS_CLUSTER_HEAP_BLKS_SCANNED, blocks.into());
                pg_sys::heap_endscan(scan);
            }
            Source::Index(scan) => pg_sys::index_endscan(scan),
        }
    }
}
