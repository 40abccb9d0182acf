//! Callbacks that build and validate indexes.
//!
//! heap's own build does the scan (HOT chains, visibility, parallel workers), over the shadow and
//! with an IndexInfo whose one "expression" hands out the raw tuple. Our callback opens that row and
//! evaluates the real predicate and expressions.

use std::ffi::c_void;

use pgrx::pg_sys;

use super::is_toast;
use super::{missing, opened};
use crate::error::Error;
use crate::index_am::routine as index_am;
use crate::pg::call::{self, call_c, callback};
use crate::pg::ffi;
use crate::pg::shadow::{self, heap};
use crate::pg::{relation, tuple};
use crate::table_am::gate::Reader;
use crate::table_am::row;

/// What opens rows and computes index values from them.
pub(super) struct RowReader {
    info: *mut pg_sys::IndexInfo,
    rel: pg_sys::Relation,
    estate: *mut pg_sys::EState,
    econtext: *mut pg_sys::ExprContext,
    slot: *mut pg_sys::TupleTableSlot,
    predicate: *mut pg_sys::ExprState,
    /// The row at hand, if it was opened into `buffer`.
    head: pg_sys::HeapTupleData,
    buffer: Vec<u64>,
}

/// Index columns of one row.
pub(super) struct IndexRow {
    pub(super) values: [pg_sys::Datum; pg_sys::INDEX_MAX_KEYS as usize],
    pub(super) isnull: [bool; pg_sys::INDEX_MAX_KEYS as usize],
}

impl RowReader {
    pub(super) unsafe fn new(rel: pg_sys::Relation, info: *mut pg_sys::IndexInfo) -> Self {
        // Rows are opened past slots here, and a duplicate is told with its values.
        crate::pg::log::uses_sealed_table();
        // SAFETY: executor state in the current context; freed by `free` or with the context.
        unsafe {
            let estate = pg_sys::CreateExecutorState();
            let econtext = pg_sys::MakePerTupleExprContext(estate);
            let slot =
                pg_sys::MakeSingleTupleTableSlot((*rel).rd_att, &raw const pg_sys::TTSOpsHeapTuple);
            (*econtext).ecxt_scantuple = slot;
            let predicate = ffi::ExecPrepareQual((*info).ii_Predicate, estate);
            let head = pg_sys::HeapTupleData::default();
            RowReader { info, rel, estate, econtext, slot, predicate, head, buffer: Vec::new() }
        }
    }

    /// The index columns of a raw row, or None if the predicate leaves it out.
    unsafe fn read(&mut self, raw: pg_sys::HeapTuple) -> Option<IndexRow> {
        // SAFETY: `raw` is a pinned tuple of the table.
        unsafe {
            let rel = self.rel;
            // Expressions are somebody's functions, which see what the current user may.
            let code =
                !(*self.info).ii_Expressions.is_null() || !(*self.info).ii_Predicate.is_null();
            let reader = if code { Reader::Writer } else { Reader::Internal };
            let near = self.open_near(raw);
            self.columns(|| near.unwrap_or_else(|| opened::open_copy(raw, rel, reader)))
        }
    }

    /// Opens a row of one part with what is at hand, into memory that is used again; None says "ask `open_copy`".
    unsafe fn open_near(&mut self, raw: pg_sys::HeapTuple) -> Option<pg_sys::HeapTuple> {
        // SAFETY: as for `read`. The buffer is as long as the row; the slot lets go of it before the next one.
        unsafe {
            if !opened::is_sealed(raw) {
                return None;
            }
            let (words, owner) = (((*raw).t_len as usize).div_ceil(8), super::owner(self.rel));
            if self.buffer.len() < words {
                self.buffer.resize(words, 0);
            }
            let buffer = self.buffer.as_mut_ptr().cast();
            let (payload, body) = opened::views(raw, buffer);
            let whole = row::open_near(owner, payload, body)
                && opened::write_header(raw, buffer, &mut self.head)
                && !missing::may_lack(&mut self.head, (*self.rel).rd_att, owner);
            whole.then_some(&raw mut self.head)
        }
    }

    /// The same for an opened row, which `row` gives.
    pub(super) unsafe fn columns(
        &mut self,
        row: impl FnOnce() -> pg_sys::HeapTuple,
    ) -> Option<IndexRow> {
        // SAFETY: what is palloc'd here lives in the per-tuple context until the next row.
        unsafe {
            pg_sys::MemoryContextReset((*self.econtext).ecxt_per_tuple_memory);
            let old = pg_sys::MemoryContextSwitchTo((*self.econtext).ecxt_per_tuple_memory);
            ffi::ExecStoreHeapTuple(row(), self.slot, false);
            let wanted = self.holds();
            let result = wanted.then(|| {
                let mut row = IndexRow {
                    values: [pg_sys::Datum::null(); pg_sys::INDEX_MAX_KEYS as usize],
                    isnull: [false; pg_sys::INDEX_MAX_KEYS as usize],
                };
                ffi::FormIndexDatum(
                    self.info,
                    self.slot,
                    self.estate,
                    row.values.as_mut_ptr(),
                    row.isnull.as_mut_ptr(),
                );
                row
            });
            pg_sys::MemoryContextSwitchTo(old);
            result
        }
    }

    /// Whether the row in the slot satisfies the predicate (`ExecQual`).
    unsafe fn holds(&self) -> bool {
        // SAFETY: ExecPrepareQual() made the state; a qual never returns NULL.
        unsafe {
            let (state, econtext) = (self.predicate, self.econtext);
            if state.is_null() {
                return true;
            }
            let eval = (*state).evalfunc.unwrap_unchecked();
            let mut isnull = false;
            let null_at = &raw mut isnull;
            let value = call_c(|| eval(state, econtext, null_at));
            value.value() & 0xff != 0
        }
    }

    pub(super) unsafe fn free(self) {
        // SAFETY: made by `new`. The states FormIndexDatum() cached belong to our EState.
        unsafe {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            pg_sys::FreeExecutorState(self.estate);
            (*self.info).ii_ExpressionsState = std::ptr::null_mut();
            (*self.info).ii_PredicateState = std::ptr::null_mut();
        }
    }
}

/// State of our build callback.
struct Build {
    rows: RowReader,
    callback: pg_sys::IndexBuildCallback,
    state: *mut c_void,
    /// An index is made, not held against the table.
    building: bool,
}

/// The pseudo-expression: returns the raw tuple in heap's scan slot.
unsafe extern "C-unwind" fn raw_tuple(
    _expr: *mut pg_sys::ExprState,
    econtext: *mut pg_sys::ExprContext,
    isnull: *mut bool,
) -> pg_sys::Datum {
    // SAFETY: heapam_index_build_range_scan() evaluates it on its own buffer slot, filled.
    unsafe {
        *isnull = false;
        let slot = (*econtext).ecxt_scantuple.cast::<pg_sys::BufferHeapTupleTableSlot>();
        pg_sys::Datum::from((*slot).base.tuple)
    }
}

unsafe extern "C-unwind" fn build_callback(
    index: pg_sys::Relation,
    tid: pg_sys::ItemPointer,
    values: *mut pg_sys::Datum,
    _isnull: *mut bool,
    alive: bool,
    state: *mut c_void,
) {
    callback!({
        // SAFETY: `state` is the Build of the running scan; the page is pinned and unlocked.
        unsafe {
            let build = &mut *state.cast::<Build>();
            if let Some(mut row) = build.rows.read((*values).cast_mut_ptr())
                && let Some(callback) = build.callback
            {
                let (values, isnull, state) =
                    (row.values.as_mut_ptr(), row.isnull.as_mut_ptr(), build.state);
                if !build.building {
                    return call_c(|| callback(index, tid, values, isnull, alive, state));
                }
                index_am::sealed_for_build(index, values, isnull, |values| {
                    call_c(|| callback(index, tid, values, isnull, alive, state));
                });
            }
        }
    })
}

#[allow(clippy::too_many_arguments)]
pub unsafe extern "C-unwind" fn index_build_range_scan(
    rel: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
    allow_sync: bool,
    anyvisible: bool,
    progress: bool,
    start: pg_sys::BlockNumber,
    blocks: pg_sys::BlockNumber,
    callback: pg_sys::IndexBuildCallback,
    state: *mut c_void,
    scan: pg_sys::TableScanDesc,
) -> f64 {
    callback!({
        // SAFETY: arguments of core's; heap's callback is a C function pointer, called guarded with
        // plain values.
        unsafe {
            let heap_build = heap().index_build_range_scan.unwrap_unchecked();
            if is_toast(rel) {
                let shadow = shadow::of_toast(rel);
                return on_shadow(scan, shadow, || {
                    heap_build(
                        shadow, index, info, allow_sync, anyvisible, progress, start, blocks,
                        callback, state, scan,
                    )
                });
            }
            // A scan of somebody else's that is no parallel build's is amcheck's, on an index that is
            // there already. The mode says nothing: a parallel query may call amcheck too.
            let building = scan.is_null() || !(*scan).rs_parallel.is_null();
            if building && let Err(e) = crate::policy::check_index_policy(rel, index) {
                e.report();
            }
            let mut copy = *info;
            let opened = one_raw_column(&mut copy);
            let mut build = Build { rows: RowReader::new(rel, info), callback, state, building };
            let shadow = shadow::of(rel);
            let build_state = (&raw mut build).cast();
            let tuples = on_shadow(scan, shadow, || {
                heap_build(
                    shadow,
                    index,
                    opened,
                    allow_sync,
                    anyvisible,
                    progress,
                    start,
                    blocks,
                    Some(build_callback),
                    build_state,
                    scan,
                )
            });
            (*info).ii_BrokenHotChain |= copy.ii_BrokenHotChain;
            build.rows.free();
            tuples
        }
    })
}

/// Runs heap's build with its scan on the shadow.
///
/// A parallel scan was opened on the real table, and heap_getnext() insists on heap's own access
/// method. The end of the scan then drops the shadow's reference, so the real one is dropped here.
unsafe fn on_shadow(
    scan: pg_sys::TableScanDesc,
    shadow: pg_sys::Relation,
    build: impl FnOnce() -> f64,
) -> f64 {
    // SAFETY: `scan` is null or a heap scan that heap's build ends; an ERROR leaves both references
    // to the resource owner.
    unsafe {
        if scan.is_null() {
            return call_c(build);
        }
        pg_sys::RelationIncrementReferenceCount(shadow);
        let real = std::mem::replace(&mut (*scan).rs_rd, shadow);
        let tuples = call_c(build);
        pg_sys::RelationDecrementReferenceCount(real);
        tuples
    }
}

/// Turns a copy of the IndexInfo into one whose only column is the raw tuple.
unsafe fn one_raw_column(copy: &mut pg_sys::IndexInfo) -> *mut pg_sys::IndexInfo {
    // SAFETY: nodes palloc'd in the current context, which outlives the build. FormIndexDatum()
    // prepares expressions only if ii_ExpressionsState is NIL, so ours is used as it is.
    unsafe {
        let expr = pg_sys::palloc0(size_of::<pg_sys::ExprState>()).cast::<pg_sys::ExprState>();
        (*expr).type_ = pg_sys::NodeTag::T_ExprState;
        (*expr).evalfunc = Some(raw_tuple);
        let placeholder = pg_sys::palloc0(size_of::<pg_sys::Const>()).cast::<pg_sys::Const>();
        (*placeholder).xpr.type_ = pg_sys::NodeTag::T_Const;
        copy.ii_NumIndexAttrs = 1;
        copy.ii_NumIndexKeyAttrs = 1;
        copy.ii_IndexAttrNumbers[0] = 0;
        copy.ii_Expressions = pg_sys::lappend(std::ptr::null_mut(), placeholder.cast());
        copy.ii_ExpressionsState = pg_sys::lappend(std::ptr::null_mut(), expr.cast());
        copy.ii_Predicate = std::ptr::null_mut();
        copy.ii_PredicateState = std::ptr::null_mut();
        copy
    }
}

/// Second scan of CREATE INDEX CONCURRENTLY (`heapam_index_validate_scan`, which has no callback to
/// step into): inserts what the index misses.
pub unsafe extern "C-unwind" fn index_validate_scan(
    rel: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
    snapshot: pg_sys::Snapshot,
    state: *mut pg_sys::ValidateIndexState,
) {
    callback!({
        // SAFETY: arguments of core's. The scan and the pins belong to the resource owner.
        unsafe {
            if is_toast(rel) {
                let validate = heap().index_validate_scan.unwrap_unchecked();
                let shadow = shadow::of_toast(rel);
                return call_c(|| validate(shadow, index, info, snapshot, state));
            }
            let mut rows = RowReader::new(rel, info);
            let flags = pg_sys::ScanOptions::SO_TYPE_SEQSCAN
                | pg_sys::ScanOptions::SO_ALLOW_PAGEMODE
                | pg_sys::ScanOptions::SO_ALLOW_STRAT;
            let scan = pg_sys::heap_beginscan(
                shadow::of(rel),
                snapshot,
                0,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                flags,
            );
            let heap_scan = scan.cast::<pg_sys::HeapScanDescData>();
            let mut tids = SortedTids { state, current: None, done: false };
            let mut page = RootsOfPage::none();
            loop {
                let t = ffi::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
                if t.is_null() {
                    break;
                }
                call::check_for_interrupts();
                (*state).htups += 1.0;
                if (*heap_scan).rs_cblock != page.block {
                    page.read((*heap_scan).rs_cbuf, (*heap_scan).rs_cblock);
                }
                let mut root = (*t).t_self;
                if tuple::is_heap_only(t) {
                    root.ip_posid = page.root_of((*t).t_self.ip_posid, rel);
                }
                tids.advance_to(&root, &mut page);
                if tids.has(&root) || page.in_index(root.ip_posid) {
                    continue;
                }
                let Some(mut row) = rows.read(t) else { continue };
                let unique = if (*info).ii_Unique {
                    pg_sys::IndexUniqueCheck::UNIQUE_CHECK_YES
                } else {
                    pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO
                };
                ffi::index_insert(
                    index,
                    row.values.as_mut_ptr(),
                    row.isnull.as_mut_ptr(),
                    &mut root,
                    rel,
                    unique,
                    false,
                    info,
                );
                (*state).tups_inserted += 1.0;
            }
            let end = heap().scan_end.unwrap_unchecked();
            call_c(|| end(scan));
            rows.free();
        }
    })
}

/// `MaxHeapTuplesPerPage` of `access/htup_details.h`: a header and a line pointer each.
const OFFSETS: usize = (pg_sys::BLCKSZ as usize - 24) / (24 + 4);

/// Root line pointers of the HOT chains of one page, and which of them the index already has.
struct RootsOfPage {
    block: pg_sys::BlockNumber,
    roots: [pg_sys::OffsetNumber; OFFSETS],
    indexed: [bool; OFFSETS],
}

impl RootsOfPage {
    fn none() -> Self {
        RootsOfPage {
            block: pg_sys::InvalidBlockNumber,
            roots: [0; OFFSETS],
            indexed: [false; OFFSETS],
        }
    }

    unsafe fn read(&mut self, buffer: pg_sys::Buffer, block: pg_sys::BlockNumber) {
        // SAFETY: the scan holds the page pinned.
        unsafe {
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            pg_sys::heap_get_root_tuples(pg_sys::BufferGetPage(buffer), self.roots.as_mut_ptr());
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
        }
        self.indexed = [false; OFFSETS];
        self.block = block;
    }

    fn root_of(&self, offset: pg_sys::OffsetNumber, rel: pg_sys::Relation) -> pg_sys::OffsetNumber {
        let root = self.roots[usize::from(offset) - 1];
        if root == 0 {
            // SAFETY: an open relation.
            let relation = relation::name(unsafe { (*rel).rd_id });
            let ctid = format!("({},{offset})", self.block);
            Error::DamagedRow { relation, ctid }.report();
        }
        root
    }

    fn in_index(&self, offset: pg_sys::OffsetNumber) -> bool {
        self.indexed[usize::from(offset) - 1]
    }
}

/// The TIDs the index has, in order.
struct SortedTids {
    state: *mut pg_sys::ValidateIndexState,
    current: Option<(pg_sys::BlockNumber, pg_sys::OffsetNumber)>,
    done: bool,
}

impl SortedTids {
    /// Skips TIDs before `root`, noting those of the same page: later rows of the page may have them
    /// as roots, since a HOT chain's root need not come before its members.
    unsafe fn advance_to(&mut self, root: &pg_sys::ItemPointerData, page: &mut RootsOfPage) {
        let goal = tuple::tid(root);
        while !self.done && self.current.is_none_or(|c| c < goal) {
            if let Some((block, offset)) = self.current
                && block == page.block
            {
                page.indexed[usize::from(offset) - 1] = true;
            }
            // SAFETY: the tuplesort belongs to core's validate_index().
            match unsafe { self.next() } {
                Some(tid) => self.current = Some(tid),
                None => {
                    self.done = true;
                    self.current = None;
                }
            }
        }
    }

    fn has(&self, root: &pg_sys::ItemPointerData) -> bool {
        self.current == Some(tuple::tid(root))
    }

    unsafe fn next(&mut self) -> Option<(pg_sys::BlockNumber, pg_sys::OffsetNumber)> {
        let (mut value, mut isnull) = (pg_sys::Datum::null(), false);
        // SAFETY: as above; TIDs were encoded by itemptr_encode() (catalog/index.c).
        unsafe {
            let sort = (*self.state).tuplesort;
            #[cfg(feature = "pg15")]
            let more = pg_sys::tuplesort_getdatum(
                sort,
                true,
                &mut value,
                &mut isnull,
                std::ptr::null_mut(),
            );
            #[cfg(not(feature = "pg15"))]
            let more = pg_sys::tuplesort_getdatum(
                sort,
                true,
                false,
                &mut value,
                &mut isnull,
                std::ptr::null_mut(),
            );
            more.then(|| {
                let code = value.value() as u64;
                ((code >> 16) as u32, code as u16)
            })
        }
    }
}
