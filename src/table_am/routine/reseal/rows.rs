//! Rows and large values sealed again, a batch at a time.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use super::{Lying, Place, Snapshot, Table, count_blocks, lying, tid};
use crate::pg::call;
use crate::pg::shadow::{self, Changed};
use crate::pg::tuple;
use crate::table_am::gate::Reader;
use crate::table_am::routine::build::RowReader;
use crate::table_am::routine::modify::{self, UpdateIndexes};
use crate::table_am::routine::target::{self, Target};
use crate::table_am::routine::{opened, toast, verify};

/// How much may be done in one transaction.
#[derive(Clone, Copy)]
pub struct Budget {
    /// Rows to seal again.
    pub rows: u64,
    /// Time, after which no other block is begun.
    pub time: Duration,
    /// Every row in a subtransaction of its own: one with a damaged large value is left out, where it would
    /// end the whole batch otherwise.
    pub careful: bool,
}

/// What a batch did.
#[derive(Default)]
pub struct Batch {
    /// The block that is next; `None` at the end of the table.
    pub next: Option<u32>,
    /// Blocks of the table.
    pub blocks: u32,
    /// Rows sealed again.
    pub done: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows that somebody has locked.
    pub skipped: u64,
    /// Rows that do not open.
    pub damaged: Vec<Place>,
    /// Large values that such rows were looked at for.
    pub damaged_values: Vec<u32>,
    /// Blocks in which a row was replaced.
    pub touched: Vec<u32>,
}

/// The indexes of a table, open, with what computes their columns.
struct Indexes {
    open: Vec<(pg_sys::Relation, *mut pg_sys::IndexInfo, RowReader)>,
}

impl Indexes {
    unsafe fn open(rel: pg_sys::Relation) -> Self {
        let mut open = Vec::new();
        // SAFETY: the list is a copy; an index that takes no entries yet is none of ours.
        unsafe {
            let list = pg_sys::RelationGetIndexList(rel);
            for oid in crate::pg::class::oids(list) {
                let index = pg_sys::index_open(oid, pg_sys::RowExclusiveLock as i32);
                if !(*(*index).rd_index).indisready {
                    pg_sys::index_close(index, pg_sys::NoLock as i32);
                    continue;
                }
                let info = pg_sys::BuildIndexInfo(index);
                open.push((index, info, RowReader::new(rel, info)));
            }
        }
        Self { open }
    }

    /// Adds entries for a new version of a row. Not as for a new row: its keys are those of the version it
    /// replaces, so that nobody else can have them, and there is nothing to check or to wait for.
    unsafe fn insert(
        &mut self,
        rel: pg_sys::Relation,
        row: pg_sys::HeapTuple,
        at: pg_sys::ItemPointer,
    ) {
        // SAFETY: an opened row of the table and where it was stored.
        unsafe {
            for (index, info, reader) in &mut self.open {
                let Some(mut columns) = reader.columns(|| row) else { continue };
                crate::pg::ffi::index_insert(
                    *index,
                    columns.values.as_mut_ptr(),
                    columns.isnull.as_mut_ptr(),
                    at,
                    rel,
                    pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO,
                    true,
                    *info,
                );
            }
        }
    }

    unsafe fn close(self) {
        // SAFETY: opened by `open`; locks stay until the transaction ends.
        unsafe {
            for (index, info, reader) in self.open {
                reader.free();
                #[cfg(any(feature = "pg17", feature = "pg18"))]
                pg_sys::index_insert_cleanup(index, info);
                let _ = info;
                pg_sys::index_close(index, pg_sys::NoLock as i32);
            }
        }
    }
}

/// What came of one row.
enum Outcome {
    /// Sealed again: its bytes.
    Done(u64),
    /// Somebody has it locked.
    Skipped,
    /// Somebody replaced or deleted it.
    Replaced,
    /// It does not open.
    Damaged,
}

/// A run over some blocks in one transaction.
struct Work<'a> {
    table: &'a Table,
    indexes: Option<Indexes>,
    snapshot: Snapshot,
    strategy: pg_sys::BufferAccessStrategy,
    memory: pg_sys::MemoryContext,
    began: Instant,
    budget: Budget,
    batch: Batch,
}

impl<'a> Work<'a> {
    unsafe fn begin(table: &'a Table, budget: Budget) -> Self {
        // SAFETY: in a transaction, whose memory this is.
        unsafe {
            let memory = pg_sys::AllocSetContextCreateInternal(
                pg_sys::CurrentMemoryContext,
                c"pg_sealed reseal".as_ptr(),
                0,
                8 * 1024,
                8 * 1024 * 1024,
            );
            let bulk = pg_sys::BufferAccessStrategyType::BAS_BULKREAD;
            Self {
                table,
                indexes: None,
                snapshot: Snapshot::take(),
                strategy: pg_sys::GetAccessStrategy(bulk),
                memory,
                began: Instant::now(),
                budget,
                batch: Batch { blocks: count_blocks(table.rel), ..Batch::default() },
            }
        }
    }

    fn is_over(&self) -> bool {
        self.batch.done >= self.budget.rows || self.began.elapsed() >= self.budget.time
    }

    /// Goes through the blocks from `first` on; `wanted` says which rows are to be sealed again.
    unsafe fn run(mut self, first: u32, wanted: impl Fn(&Self, Place, &Lying) -> bool) -> Batch {
        // SAFETY: as for the rest of this module.
        unsafe {
            let blocks = self.batch.blocks;
            let mut block = first.min(blocks);
            while block < blocks && !(self.is_over() && block > first) {
                call::check_for_interrupts();
                let rows = lying(self.table.rel, block, None, self.strategy, self.snapshot.0);
                let mut touched = false;
                for row in rows.iter().filter(|row| row.visible) {
                    let place = (block, row.offset);
                    if !wanted(&self, place, row) {
                        continue;
                    }
                    match self.one_of(place, row.free) {
                        Outcome::Done(bytes) => {
                            self.batch.done += 1;
                            self.batch.bytes += bytes;
                            touched = true;
                        }
                        Outcome::Skipped => self.batch.skipped += 1,
                        Outcome::Replaced => {}
                        Outcome::Damaged => self.batch.damaged.push(place),
                    }
                }
                if touched {
                    self.batch.touched.push(block);
                }
                block += 1;
            }
            self.batch.next = (block < blocks).then_some(block);
            if let Some(indexes) = self.indexes.take() {
                indexes.close();
            }
            self.snapshot.drop();
            self.batch
        }
    }

    unsafe fn one_of(&mut self, place: Place, free: bool) -> Outcome {
        // SAFETY: everything palloc'd for the row goes with the context. After a failed subtransaction the
        // indexes, which it may have opened, are opened anew.
        unsafe {
            pg_sys::MemoryContextReset(self.memory);
            let before = pg_sys::MemoryContextSwitchTo(self.memory);
            let outcome = if self.budget.careful {
                pg_sys::MemoryContextSwitchTo(before);
                if let Some(indexes) = self.indexes.take() {
                    indexes.close();
                }
                let tried = call::attempt(verify::says_damage, || {
                    let outcome = self.one(place, free);
                    if let Some(indexes) = self.indexes.take() {
                        indexes.close();
                    }
                    outcome
                });
                // What a failed one had open was closed with its subtransaction.
                self.indexes = None;
                tried.unwrap_or(Outcome::Damaged)
            } else {
                self.one(place, free)
            };
            pg_sys::MemoryContextSwitchTo(before);
            outcome
        }
    }

    unsafe fn one(&mut self, place: Place, free: bool) -> Outcome {
        let rel = self.table.rel;
        let mut at = tid(place);
        // SAFETY: the snapshot keeps the version from being removed; heapam looks again at whether it is
        // still the newest.
        unsafe {
            let mut failure = pg_sys::TM_FailureData::default();
            let cid = pg_sys::GetCurrentCommandId(true);
            if !free {
                // Locked by somebody, if only against its deletion, as by a foreign key: ours may go with
                // that. heap_update() itself would wait.
                let mut t = pg_sys::HeapTupleData { t_self: at, ..Default::default() };
                let mut buffer: pg_sys::Buffer = 0;
                let result = pg_sys::heap_lock_tuple(
                    shadow::of(rel),
                    &mut t,
                    cid,
                    pg_sys::LockTupleMode::LockTupleNoKeyExclusive,
                    pg_sys::LockWaitPolicy::LockWaitSkip,
                    false,
                    &mut buffer,
                    &mut failure,
                );
                pg_sys::ReleaseBuffer(buffer);
                match result {
                    pg_sys::TM_Result::TM_Ok => {}
                    pg_sys::TM_Result::TM_Updated | pg_sys::TM_Result::TM_Deleted => {
                        return Outcome::Replaced;
                    }
                    _ => return Outcome::Skipped,
                }
            }
            let mut damaged = false;
            let opened = modify::fetch_raw(rel, &mut at, |t| {
                match opened::try_open_copy(t, rel, Reader::Internal) {
                    Ok(row) => Some(row),
                    Err(why) if why.is_damage() => {
                        damaged = true;
                        None
                    }
                    Err(why) => why.report(t),
                }
            });
            let old = match opened {
                Some(row) => row,
                None if damaged => return Outcome::Damaged,
                None => return Outcome::Replaced,
            };
            let old = whole(old, (*rel).rd_att);
            // Without an old version to share them with, every large value is fetched, compressed as it is,
            // and stored anew.
            let target = Target::of(rel);
            let stored = toast::store(rel, &target, old, None, 0);
            let sealed = target::to_store(stored, rel, &target);
            let mut mode = pg_sys::LockTupleMode::LockTupleNoKeyExclusive;
            let mut indexed = UpdateIndexes::default();
            let heap = shadow::for_update(rel, self.table.mixed.is_some(), Changed::default());
            let result = modify::heap_update(
                heap,
                &mut at,
                sealed,
                cid,
                std::ptr::null_mut(),
                // Assertions want true. Who locked the row in this very moment is waited for as long as
                // lock_timeout says, which ends the batch.
                true,
                &mut failure,
                &mut mode,
                &mut indexed,
            );
            shadow::forget_bitmaps(heap);
            if result != pg_sys::TM_Result::TM_Ok {
                if stored != old {
                    toast::delete_new(rel, Some(old), stored);
                }
                return Outcome::Replaced;
            }
            crate::pg::fault::place("reseal:updated");
            toast::delete_replaced(rel, old, stored);
            if indexed != UpdateIndexes::default() {
                if self.indexes.is_none() {
                    let before = pg_sys::MemoryContextSwitchTo(pg_sys::CurTransactionContext);
                    self.indexes = Some(Indexes::open(rel));
                    pg_sys::MemoryContextSwitchTo(before);
                }
                if let Some(indexes) = &mut self.indexes {
                    indexes.insert(rel, stored, &mut (*sealed).t_self);
                }
            }
            Outcome::Done(u64::from((*sealed).t_len))
        }
    }
}

/// The row with all its columns: what core keeps for rows that were there before a column is forgotten when a
/// heap table is sealed.
unsafe fn whole(row: pg_sys::HeapTuple, desc: pg_sys::TupleDesc) -> pg_sys::HeapTuple {
    // SAFETY: an opened row that fits `desc`; the vectors have room for its columns.
    unsafe {
        let natts = (*desc).natts as usize;
        if usize::from(tuple::header(row).t_infomask2 & tuple::NATTS_MASK) == natts {
            return row;
        }
        let (mut values, mut isnull) = (vec![pg_sys::Datum::null(); natts], vec![true; natts]);
        pg_sys::heap_deform_tuple(row, desc, values.as_mut_ptr(), isnull.as_mut_ptr());
        let whole = pg_sys::heap_form_tuple(desc, values.as_mut_ptr(), isnull.as_mut_ptr());
        (*whole).t_self = (*row).t_self;
        (*whole).t_tableOid = (*row).t_tableOid;
        whole
    }
}

impl Table {
    /// Seals visible rows again that are not under the target, from block `first` on.
    pub fn rows(&self, first: u32, budget: Budget) -> Batch {
        // SAFETY: this table is open in this transaction.
        unsafe { Work::begin(self, budget).run(first, |work, _, row| !work.table.is_current(row)) }
    }

    /// Looks for large values with visible chunks that are not under the target, in the TOAST table from
    /// block `first` on, and adds their ids, up to `most` of them. Returns the block that is next.
    pub fn old_values(
        &self,
        first: u32,
        time: Duration,
        most: usize,
        into: &mut HashSet<u32>,
    ) -> Option<u32> {
        if self.toast.is_null() {
            return None;
        }
        let began = Instant::now();
        // SAFETY: this table is open in this transaction.
        unsafe {
            let snapshot = Snapshot::take();
            let bulk = pg_sys::BufferAccessStrategyType::BAS_BULKREAD;
            let strategy = pg_sys::GetAccessStrategy(bulk);
            let blocks = count_blocks(self.toast);
            let mut block = first.min(blocks);
            while block < blocks && (began.elapsed() < time || block == first) && into.len() < most
            {
                call::check_for_interrupts();
                let chunks = lying(self.toast, block, Some(self.mixed), strategy, snapshot.0);
                let old = chunks.iter().filter(|c| c.visible && !self.is_current(c));
                into.extend(old.map(|c| c.value));
                block += 1;
            }
            snapshot.drop();
            (block < blocks).then_some(block)
        }
    }

    /// Seals visible rows again that refer to one of the values, from block `first` on, and takes the values
    /// that were found from the set.
    pub fn rows_of_values(&self, first: u32, values: &mut HashSet<u32>, budget: Budget) -> Batch {
        let (rel, found) = (self.rel, std::cell::RefCell::new(Vec::new()));
        // SAFETY: this table is open in this transaction; an opened copy lives in the row's memory.
        let mut batch = unsafe {
            Work::begin(self, budget).run(first, |work, place, _| {
                pg_sys::MemoryContextReset(work.memory);
                modify::in_context(work.memory, || {
                    let row = modify::fetch_raw(rel, &mut tid(place), |t| {
                        opened::try_open_copy(t, rel, Reader::Internal).ok()
                    });
                    let Some(row) = row.filter(|&row| tuple::has_external(row)) else {
                        return false;
                    };
                    let external = toast::external_values(row, (*rel).rd_att);
                    let ids = external.iter().map(|(_, pointer)| pointer.va_valueid.to_u32());
                    let old: Vec<_> = ids.filter(|id| values.contains(id)).collect();
                    let any = !old.is_empty();
                    found.borrow_mut().extend(old.into_iter().map(|id| (place, id)));
                    any
                })
            })
        };
        for (place, id) in found.into_inner() {
            values.remove(&id);
            if batch.damaged.contains(&place) {
                batch.damaged_values.push(id);
            }
        }
        batch
    }

    /// Removes dead versions from blocks in which rows were replaced, as far as that is allowed by now, and
    /// tells where there is room: so the table does not grow by its own size.
    pub fn reclaim(&self, blocks: &[u32]) {
        let (Some(least), Some(most)) = (blocks.iter().min(), blocks.iter().max()) else { return };
        // SAFETY: as any scan does it, with a pin and without a lock (heap_page_prune_opt()).
        unsafe {
            let all = count_blocks(self.rel);
            for &block in blocks.iter().filter(|&&block| block < all) {
                let buffer = pg_sys::ReadBuffer(self.rel, block);
                pg_sys::heap_page_prune_opt(shadow::of(self.rel), buffer);
                pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
                let room = pg_sys::PageGetHeapFreeSpace(pg_sys::BufferGetPage(buffer));
                pg_sys::UnlockReleaseBuffer(buffer);
                pg_sys::RecordPageWithFreeSpace(self.rel, block, room);
            }
            pg_sys::FreeSpaceMapVacuumRange(self.rel, *least, (*most + 1).min(all));
        }
    }
}
