//! Rows sealed again under the table's newest layout, for the background worker (docs/design.md 9).
//!
//! A row is replaced by one with the same contents, by heap_update() as an UPDATE would: readers and
//! writers meet nothing they would not meet beside any other session. What is left out is what UPDATE does
//! above heapam: triggers, constraints, and waiting for somebody who has the row locked.
//!
//! Functions here are called in a transaction of the worker's own. An ERROR unwinds through them; what they
//! had open belongs to the transaction.

mod rows;
mod verify;

use pgrx::pg_sys::{self, Oid};
use sealed_crypto::LayoutId;

use super::modify;
use super::opened;
use super::toast;
use crate::error::Error;
use crate::keyring;
use crate::pg::tuple::{self, SEALED_HOFF};
use crate::pg::{call, user};
use crate::policy;
use crate::table_am::mixed::{self, Kind, Mixed};

pub use rows::{Batch, Budget};
pub use verify::{Finding, Stuck, Verified};

/// What came of asking for a table.
pub enum Access<R> {
    /// It was dropped, or is no longer a sealed one.
    Gone,
    /// Somebody has it locked against writers, or waits for such a lock.
    Busy,
    /// It was open, and this came of it.
    Open(R),
}

/// What all rows of a table are to reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// The layout to be under.
    pub layout: LayoutId,
    /// Of a table that becomes plain: so many columns a row must have at least. The values kept for rows
    /// that later columns came after (`sealed.missing_value`) go with its sealed rows.
    pub natts: u16,
}

/// An open table of which rows are to be sealed again.
pub struct Table {
    rel: pg_sys::Relation,
    /// Its TOAST table, or null.
    toast: pg_sys::Relation,
    target: Target,
    /// What chunks may be under.
    chunk_layouts: Vec<LayoutId>,
    /// If plain and sealed rows lie in it: what they are to become.
    mixed: Option<Mixed>,
}

impl Table {
    /// What its rows are to reach.
    pub fn target(&self) -> Target {
        self.target
    }

    /// Whether a row or chunk is as it is to be.
    fn is_current(&self, t: &Lying) -> bool {
        match mixed::target(self.mixed) {
            Kind::Sealed if t.is_chunk => {
                t.layout.is_some_and(|layout| self.chunk_layouts.contains(&layout))
            }
            Kind::Sealed => t.layout == Some(self.target.layout),
            Kind::Plain => t.plain && (t.is_chunk || t.natts >= self.target.natts),
        }
    }
}

/// A place in a table: block and line.
pub type Place = (u32, u16);

/// Locks the table as a writer does, without waiting, and calls `work` as its owner: expressions of indexes
/// are somebody's code (as in VACUUM and REINDEX).
pub fn with_table<R>(relation: Oid, target: Target, work: impl FnOnce(&Table) -> R) -> Access<R> {
    let lock = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: all of this belongs to the transaction; an ERROR in `work` ends that, and with it the change
    // of the user.
    unsafe {
        if !pg_sys::ConditionalLockRelationOid(relation, lock) {
            return Access::Busy;
        }
        let none = pg_sys::NoLock as pg_sys::LOCKMODE;
        let rel = pg_sys::try_table_open(relation, none);
        if rel.is_null() {
            return Access::Gone;
        }
        let mixed = mixed::of(relation).unwrap_or_else(|e| e.report());
        if !policy::is_sealed(relation) {
            pg_sys::table_close(rel, none);
            return Access::Gone;
        }
        modify::refuse_published(rel);
        crate::pg::log::uses_sealed_table();
        let toast_oid = (*(*rel).rd_rel).reltoastrelid;
        let toast = if toast_oid == Oid::INVALID {
            std::ptr::null_mut()
        } else {
            pg_sys::table_open(toast_oid, lock)
        };
        let result = user::as_owner(rel, || {
            let layouts = keyring::chunk_layouts(target.layout).unwrap_or_else(|e| e.report());
            work(&Table { rel, toast, target, chunk_layouts: layouts, mixed })
        });
        if !toast.is_null() {
            pg_sys::table_close(toast, none);
        }
        pg_sys::table_close(rel, none);
        Access::Open(result)
    }
}

/// The transactions that may write to a table and began to before this call, so that they may not have heard
/// of its newest layout. To be called outside of the transaction that announced it.
pub fn writers(relation: Oid) -> Vec<pg_sys::VirtualTransactionId> {
    let mut count = 0;
    // SAFETY: SetLocktagRelationOid() for a table of this database; the array ends after `count` entries and
    // is copied. ShareLock is what conflicts with every lock that writers take.
    unsafe {
        let tag = pg_sys::LOCKTAG {
            locktag_field1: pg_sys::MyDatabaseId.to_u32(),
            locktag_field2: relation.to_u32(),
            locktag_field3: 0,
            locktag_field4: 0,
            locktag_type: pg_sys::LockTagType::LOCKTAG_RELATION as u8,
            locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
        };
        let found = pg_sys::GetLockConflicts(&tag, pg_sys::ShareLock as i32, &mut count);
        std::slice::from_raw_parts(found, count as usize).to_vec()
    }
}

/// Whether a transaction that `writers` found has not ended.
pub fn still_runs(transaction: pg_sys::VirtualTransactionId) -> bool {
    // SAFETY: does not wait.
    unsafe { !pg_sys::VirtualXactLock(transaction, false) }
}

/// Gives this transaction the isolation of serializable ones, before its first snapshot. It reads nothing
/// that counts as read, so it cannot fail by that; but the others' conflicts are noticed across it: a row
/// that one of them read and another updates is the same row, sealed again in between or not.
pub fn serializable() {
    // SAFETY: what SET TRANSACTION does, before a snapshot is taken.
    unsafe { pg_sys::XactIsoLevel = pg_sys::XACT_SERIALIZABLE as i32 };
}

/// The layout a tuple of a table is sealed under; `None` if it is no sealed row.
unsafe fn layout_of(data: *const u8, len: u32) -> Option<LayoutId> {
    // SAFETY: the caller has the page locked, and `len` bytes are there.
    unsafe {
        let header = &*data.cast::<pg_sys::HeapTupleHeaderData>();
        let start = usize::from(header.t_hoff);
        if header.t_infomask2 & tuple::NATTS_MASK != 0 || start != SEALED_HOFF {
            return None;
        }
        let payload =
            std::slice::from_raw_parts(data.add(start), (len as usize).checked_sub(start)?);
        sealed_crypto::sealed_as(payload).ok().map(|(_, layout)| layout)
    }
}

/// A tuple that lies on a page.
struct Lying {
    offset: u16,
    /// A snapshot sees it.
    visible: bool,
    /// Nobody has it locked, by its own header.
    free: bool,
    layout: Option<LayoutId>,
    /// It is as heap has it.
    plain: bool,
    /// The columns that a plain row has.
    natts: u16,
    is_chunk: bool,
    /// Of a chunk: the value's id.
    value: u32,
}

/// The tuples of a block, read under its lock and judged by `snapshot`; `chunks` says that they are chunks, of
/// a table that may be mixed.
unsafe fn lying(
    rel: pg_sys::Relation,
    block: u32,
    chunks: Option<Option<Mixed>>,
    strategy: pg_sys::BufferAccessStrategy,
    snapshot: pg_sys::Snapshot,
) -> Vec<Lying> {
    let mut found = Vec::new();
    // SAFETY: the page is pinned and locked while it is looked at. Nothing in between allocates for
    // PostgreSQL or raises, but the lock would be dropped with the transaction anyway.
    unsafe {
        let main = pg_sys::ForkNumber::MAIN_FORKNUM;
        let normal = pg_sys::ReadBufferMode::RBM_NORMAL;
        let buffer = pg_sys::ReadBufferExtended(rel, main, block, normal, strategy);
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
        let page = pg_sys::BufferGetPage(buffer);
        for offset in 1..=tuple::line_count(page) {
            let Some((header, len)) = tuple::item(page, offset) else { continue };
            let mut t = pg_sys::HeapTupleData {
                t_len: len,
                t_self: tid((block, offset)),
                t_tableOid: (*rel).rd_id,
                t_data: header,
            };
            let visible = pg_sys::HeapTupleSatisfiesVisibility(&mut t, snapshot, buffer);
            let free = (*header).t_infomask & pg_sys::HEAP_XMAX_INVALID as u16 != 0;
            let natts = (*header).t_infomask2 & tuple::NATTS_MASK;
            let (value, layout, plain) = match chunks {
                None => (0, layout_of(header.cast(), len), opened::is_plain(&mut t)),
                Some(mixed) => {
                    let (value, layout) = toast::chunk_layout(&mut t, (*rel).rd_att);
                    // Bytes of a plain chunk may look like the head of a sealed one.
                    match mixed::of_chunk(mixed, tuple::chunk_mark(&mut t)) {
                        Some(Kind::Sealed) => (value, layout, false),
                        Some(Kind::Plain) => (value, None, true),
                        None => (value, None, false),
                    }
                }
            };
            let is_chunk = chunks.is_some();
            found.push(Lying { offset, visible, free, layout, plain, natts, is_chunk, value });
        }
        pg_sys::UnlockReleaseBuffer(buffer);
    }
    found
}

fn tid((block, offset): Place) -> pg_sys::ItemPointerData {
    tuple::at(block, offset)
}

unsafe fn count_blocks(rel: pg_sys::Relation) -> u32 {
    // SAFETY: an open relation.
    unsafe { pg_sys::RelationGetNumberOfBlocksInFork(rel, pg_sys::ForkNumber::MAIN_FORKNUM) }
}

/// A snapshot for as long as it is held.
struct Snapshot(pg_sys::Snapshot);

impl Snapshot {
    unsafe fn take() -> Self {
        // SAFETY: in a transaction; TOAST wants it active.
        unsafe {
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            Self(pg_sys::GetActiveSnapshot())
        }
    }

    unsafe fn drop(self) {
        // SAFETY: pushed by `take`, and everything since was popped.
        unsafe { pg_sys::PopActiveSnapshot() };
    }
}

/// Whether an ERROR is PostgreSQL's or our word on damaged data.
pub fn says_damage(code: i32) -> bool {
    super::verify::says_damage(code)
}

/// Runs VACUUM on a table. In no transaction: it has its own.
pub fn vacuum(relation: Oid) -> Result<(), call::Failure> {
    // SAFETY: memory that the transactions of VACUUM do not end; it finds it where a portal's would be. It
    // is ours until it is deleted below, after an ERROR too, which `transaction` catches.
    let (portal, memory) = unsafe {
        let memory = pg_sys::AllocSetContextCreateInternal(
            pg_sys::TopMemoryContext,
            c"pg_sealed vacuum".as_ptr(),
            0,
            8 * 1024,
            64 * 1024,
        );
        (std::ptr::replace(&raw mut pg_sys::PortalContext, memory), memory)
    };
    let done = crate::pg::worker::transaction(|| {
        // SAFETY: the statement lives in that memory. Its list is of one table, by OID; one that is gone
        // meanwhile is passed over.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo(memory);
            let target =
                pg_sys::makeVacuumRelation(std::ptr::null_mut(), relation, std::ptr::null_mut());
            let statement =
                pg_sys::palloc0(size_of::<pg_sys::VacuumStmt>()).cast::<pg_sys::VacuumStmt>();
            (*statement).type_ = pg_sys::NodeTag::T_VacuumStmt;
            (*statement).rels = pg_sys::lappend(std::ptr::null_mut(), target.cast());
            (*statement).is_vacuumcmd = true;
            let state = pg_sys::make_parsestate(std::ptr::null_mut());
            pg_sys::MemoryContextSwitchTo(before);
            pg_sys::ExecVacuum(state, statement, true);
        }
    });
    // SAFETY: made above; VACUUM is over, and nothing else knows of it.
    unsafe {
        pg_sys::PortalContext = portal;
        pg_sys::MemoryContextDelete(memory);
    }
    done
}

/// The catalog's word on what rows are to reach now; None if the table has no key.
pub fn target(relation: Oid) -> Result<Option<Target>, Error> {
    let Some(layout) = keyring::newest_layout(relation)? else { return Ok(None) };
    let natts = match keyring::mixed(relation)? {
        Some(Mixed { target: Kind::Plain, .. }) => keyring::missing_columns(relation)?,
        _ => 0,
    };
    Ok(Some(Target { layout, natts }))
}
