//! Index files as they lie there: under which layouts their keys are.

use pgrx::pg_sys::{self, Oid};
use sealed_crypto::{LayoutId, index_layout};

use super::{hash, value};
use crate::pg::call::{self, Failure, call_c};
use crate::pg::tuple::{self, varlena};
use crate::pg::{class, hook, index_stmt, worker};

/// Flags of a page, of a tuple's `t_info` and of its `t_tid` (`access/nbtree.h`, `access/itup.h`).
const DELETED: u16 = 1 << 2;
pub const SIZE: u16 = 0x1fff;
const ALT_TID: u16 = 0x2000;
pub const HAS_NULLS: u16 = 0x8000;
const POSTING: u16 = 0x2000;
const KEYS: u16 = 0x0fff;
/// `sizeof(IndexTupleData)`, and with a null bitmap, which is always of 32 bits (`INDEX_MAX_KEYS`).
pub const HEADER: usize = 8;
pub const HEADER_WITH_NULLS: usize = 16;

/// `BTPageOpaqueData`.
#[repr(C)]
pub struct Opaque {
    previous: u32,
    /// The page to the right; 0 if there is none.
    pub next: u32,
    level: u32,
    /// What kind of page it is.
    pub flags: u16,
    cycle: u16,
}

/// The sealed indexes of a table.
pub fn sealed_indexes(table: Oid) -> Vec<Oid> {
    let indexes = class::indexes(table).into_iter();
    indexes.filter(|index| index_stmt::is_ours(index.method)).map(|index| index.oid).collect()
}

/// Whether an index holds a key, of whatever use, that is under none of these layouts.
pub fn has_others(index: Oid, layouts: &[LayoutId]) -> bool {
    if class::class(index).is_some_and(|class| hash::is_method(class.access_method)) {
        return hash::layouts(index).iter().any(|layout| !layouts.contains(layout));
    }
    let mut found = false;
    let others = |bytes: &[u8]| match index_layout(bytes) {
        Ok(layout) => !layouts.contains(&layout),
        // It says nothing that could be believed, so it opens under no key.
        Err(_) => false,
    };
    each_key(index, |_, _, bytes| {
        found |= others(bytes);
        !found
    });
    found
}

/// Hands out every sealed value of an index with its block and column, those of inner pages and of entries
/// that are dead too, until told to stop.
pub fn each_key(index: Oid, mut with: impl FnMut(u32, usize, &[u8]) -> bool) {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: the index stays open, and locked, for the transaction; a page is read under a share lock from a copy,
    // as `with` may raise.
    unsafe {
        let rel = pg_sys::index_open(index, lock);
        let columns = (*(*rel).rd_att).natts as usize;
        let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
        let blocks = pg_sys::RelationGetNumberOfBlocksInFork(rel, fork);
        let strategy = pg_sys::GetAccessStrategy(pg_sys::BufferAccessStrategyType::BAS_BULKREAD);
        let mut page = vec![0_u64; pg_sys::BLCKSZ as usize / 8];
        let mut goes_on = true;
        // The first is the metapage.
        for block in 1..blocks {
            if !goes_on {
                break;
            }
            call::check_for_interrupts();
            let normal = pg_sys::ReadBufferMode::RBM_NORMAL;
            let buffer = pg_sys::ReadBufferExtended(rel, fork, block, normal, strategy);
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            let from = pg_sys::BufferGetPage(buffer).cast::<u64>();
            std::ptr::copy_nonoverlapping(from, page.as_mut_ptr(), page.len());
            pg_sys::UnlockReleaseBuffer(buffer);
            goes_on = on_page(page.as_ptr().cast(), columns, &mut |column, bytes| {
                with(block, column, bytes)
            });
        }
        pg_sys::FreeAccessStrategy(strategy);
        pg_sys::index_close(rel, lock);
    }
}

unsafe fn on_page(
    page: *const u8,
    columns: usize,
    with: &mut dyn FnMut(usize, &[u8]) -> bool,
) -> bool {
    // SAFETY: a page of 8 KiB; what it says of itself is held against that before it is followed.
    unsafe {
        let header = &*page.cast::<pg_sys::PageHeaderData>();
        let special = usize::from(header.pd_special);
        if special + size_of::<Opaque>() > pg_sys::BLCKSZ as usize {
            return true;
        }
        if (*page.add(special).cast::<Opaque>()).flags & DELETED != 0 {
            return true;
        }
        let lines = tuple::line_count(page.cast_mut().cast());
        for line in 0..usize::from(lines) {
            let item = &*page.add(24).cast::<pg_sys::ItemIdData>().add(line);
            let (at, len) = (item.lp_off() as usize, item.lp_len() as usize);
            if len < HEADER || at + len > special {
                continue;
            }
            let tuple = std::slice::from_raw_parts(page.add(at), len);
            if !in_tuple(tuple, columns, with) {
                return false;
            }
        }
        true
    }
}

fn in_tuple(tuple: &[u8], columns: usize, with: &mut dyn FnMut(usize, &[u8]) -> bool) -> bool {
    for (column, value) in values(tuple, columns).into_iter().enumerate() {
        let Some(value) = value else { continue };
        // SAFETY: `values` gives whole varlenas that are neither outside nor compressed.
        let bytes = unsafe { value::data(value.as_ptr()) };
        if !with(column, bytes) {
            return false;
        }
    }
    true
}

/// The values of one index tuple, with their length words, as far as it has them (`nocache_index_getattr` for columns
/// of type bytea).
pub fn values(tuple: &[u8], columns: usize) -> Vec<Option<&[u8]>> {
    let mut found = vec![None; columns];
    each_value(tuple, &mut found);
    found
}

/// Whether a tuple says that a column is NULL.
pub fn is_null(tuple: &[u8], column: usize) -> bool {
    let info = tuple.get(6..8).map_or(0, |info| u16::from_ne_bytes([info[0], info[1]]));
    info & HAS_NULLS != 0
        && tuple.get(HEADER + column / 8).is_none_or(|bits| bits >> (column % 8) & 1 == 0)
}

/// The same, into `found`, of as many columns as that has.
pub fn each_value<'a>(tuple: &'a [u8], found: &mut [Option<&'a [u8]>]) {
    let columns = found.len();
    let word = |at: usize| match tuple.get(at..at + 2) {
        Some(bytes) => u16::from_ne_bytes([bytes[0], bytes[1]]),
        None => 0,
    };
    // t_tid: block 4, offset 2; then t_info 2.
    let (offset, info) = (word(4), word(6));
    let pivot = info & ALT_TID != 0 && offset & POSTING == 0;
    let has = if pivot { usize::from(offset & KEYS) } else { columns };
    let nulls = info & HAS_NULLS != 0;
    let mut at = if nulls { HEADER_WITH_NULLS } else { HEADER };
    let end = usize::from(info & SIZE).min(tuple.len());
    for (column, found) in found.iter_mut().enumerate().take(has) {
        if is_null(tuple, column) {
            continue;
        }
        // A value with a length word is aligned for it, and what pads it is zero.
        if tuple.get(at) == Some(&0) {
            at = (at + 3) & !3;
        }
        let Some(first) = tuple.get(at).filter(|_| at < end) else { break };
        let (len, least) = if first & 1 == 1 {
            (usize::from(first >> 1), 1)
        } else {
            let Some(word) = tuple.get(at..at + 4) else { break };
            let word = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
            // Compressed: what is sealed never is.
            (if word & 3 == 0 { (word >> 2) as usize } else { 0 }, varlena::VARHDRSZ)
        };
        let Some(bytes) = tuple.get(at..at + len).filter(|bytes| bytes.len() > least) else {
            break;
        };
        *found = Some(bytes);
        at += len;
    }
}

/// A copy of a page.
pub struct Page(Vec<u64>);

/// Copies a page.
pub unsafe fn copy(rel: pg_sys::Relation, block: u32) -> Page {
    // SAFETY: the caller's.
    unsafe { copy_of(rel, pg_sys::ForkNumber::MAIN_FORKNUM, block) }
}

/// Copies a page of any fork.
pub unsafe fn copy_of(rel: pg_sys::Relation, fork: pg_sys::ForkNumber::Type, block: u32) -> Page {
    let mut page = vec![0_u64; pg_sys::BLCKSZ as usize / 8];
    // SAFETY: an open index; pinned and locked while it is copied.
    unsafe {
        let (normal, none) = (pg_sys::ReadBufferMode::RBM_NORMAL, std::ptr::null_mut());
        let buffer = pg_sys::ReadBufferExtended(rel, fork, block, normal, none);
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
        let from = pg_sys::BufferGetPage(buffer).cast::<u64>();
        std::ptr::copy_nonoverlapping(from, page.as_mut_ptr(), page.len());
        pg_sys::UnlockReleaseBuffer(buffer);
    }
    Page(page)
}

/// The leftmost leaf, if there is any page but the first.
pub unsafe fn first_leaf(rel: pg_sys::Relation) -> Option<u32> {
    // SAFETY: the metapage has these after its header: magic, version, root (`BTMetaPageData`).
    unsafe {
        let meta = copy(rel, 0);
        let mut block = *meta.0.as_ptr().cast::<u8>().add(24 + 8).cast::<u32>();
        for _ in 0..100 {
            if block == 0 {
                return None;
            }
            let page = copy(rel, block);
            if page.opaque()?.level == 0 {
                return Some(block);
            }
            let down = page.items().nth(usize::from(page.has_high_key()))?;
            // t_tid's block: high half, low half.
            let half = |at: usize| u32::from(u16::from_ne_bytes([down[at], down[at + 1]]));
            block = half(0) << 16 | half(2);
        }
        None
    }
}

impl Page {
    /// Its 8 KiB.
    pub fn bytes(&self) -> *const u8 {
        self.0.as_ptr().cast()
    }

    /// Four bytes of it; zero behind its end.
    pub fn word(&self, at: usize) -> u32 {
        // SAFETY: 8 KiB, aligned for anything.
        let bytes = unsafe { std::slice::from_raw_parts(self.bytes(), pg_sys::BLCKSZ as usize) };
        let word = bytes.get(at..).and_then(<[u8]>::first_chunk);
        word.map_or(0, |word| u32::from_ne_bytes(*word))
    }

    /// Where its special space begins, if that has so many bytes.
    pub fn special(&self, len: usize) -> Option<usize> {
        // SAFETY: a page begins with its header.
        let special =
            usize::from(unsafe { (*self.bytes().cast::<pg_sys::PageHeaderData>()).pd_special });
        (special % 8 == 0 && special + len <= pg_sys::BLCKSZ as usize).then_some(special)
    }

    fn opaque(&self) -> Option<&Opaque> {
        let special = self.special(size_of::<Opaque>())?;
        // SAFETY: 8 KiB, aligned, and it is in there.
        Some(unsafe { &*self.bytes().add(special).cast::<Opaque>() })
    }

    /// Its flags.
    pub fn flags(&self) -> u16 {
        self.opaque().map_or(DELETED, |opaque| opaque.flags)
    }

    /// The page to the right.
    pub fn next(&self) -> Option<u32> {
        self.opaque().map(|opaque| opaque.next).filter(|next| *next != 0)
    }

    fn has_high_key(&self) -> bool {
        self.next().is_some()
    }

    /// Its lines, each whole.
    pub fn items(&self) -> impl Iterator<Item = &[u8]> {
        // SAFETY: the page is this one, whole; each line is held against its length.
        unsafe {
            let page = self.bytes();
            let lines = usize::from(tuple::line_count(page.cast_mut().cast()));
            (0..lines).filter_map(move |line| {
                let item = &*page.add(24).cast::<pg_sys::ItemIdData>().add(line);
                let (at, len) = (item.lp_off() as usize, item.lp_len() as usize);
                let fits = len >= HEADER && at + len <= pg_sys::BLCKSZ as usize;
                fits.then(|| std::slice::from_raw_parts(page.add(at), len))
            })
        }
    }

    /// The entries of a leaf.
    pub fn entries(&self) -> impl Iterator<Item = &[u8]> {
        self.items().skip(usize::from(self.has_high_key()))
    }
}

/// Builds an index anew beside its users (REINDEX INDEX CONCURRENTLY, of an exclusion constraint REINDEX INDEX), so
/// that its keys are under the newest layout. In no transaction: it has its own.
pub fn reindex(index: Oid) -> Result<(), Failure> {
    let mut alone = false;
    in_own_memory(|memory| {
        let named = worker::transaction(|| {
            // SAFETY: a system cache look-up; unknown is null.
            let there = unsafe { !pg_sys::get_rel_name(index).is_null() };
            // PostgreSQL builds those of exclusion constraints in no other way than alone.
            alone = there && class::index(index).exclusion;
            there
        })?;
        if !named {
            return Ok(());
        }
        if alone {
            // Who waits for such a lock keeps others waiting.
            worker::set(c"lock_timeout", c"1s");
        }
        worker::transaction(|| {
            // SAFETY: the statement lives in that memory.
            unsafe {
                let name = pg_sys::get_rel_name(index);
                if name.is_null() {
                    return;
                }
                let before = pg_sys::MemoryContextSwitchTo(memory);
                let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(index));
                let name = pg_sys::get_rel_name(index);
                let size = size_of::<pg_sys::ReindexStmt>();
                let statement = pg_sys::palloc0(size).cast::<pg_sys::ReindexStmt>();
                (*statement).type_ = pg_sys::NodeTag::T_ReindexStmt;
                (*statement).kind = pg_sys::ReindexObjectType::REINDEX_OBJECT_INDEX;
                (*statement).relation = pg_sys::makeRangeVar(schema, name, -1);
                if !alone {
                    let option = c"concurrently".as_ptr().cast_mut();
                    let option = pg_sys::makeDefElem(option, std::ptr::null_mut(), -1);
                    (*statement).params = pg_sys::lappend(std::ptr::null_mut(), option.cast());
                }
                let state = pg_sys::make_parsestate(std::ptr::null_mut());
                pg_sys::MemoryContextSwitchTo(before);
                // It pops this one before it ends the transaction.
                pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
                hook::reindex_begins();
                call_c(|| ExecReindex(state, statement, true));
                if alone {
                    pg_sys::PopActiveSnapshot();
                }
            }
        })
    })
}

/// Calls `body` with memory that the transactions of a command do not end, where a portal's would be (as
/// `reseal::vacuum`).
fn in_own_memory<R>(body: impl FnOnce(pg_sys::MemoryContext) -> R) -> R {
    // SAFETY: made here and deleted when the command is over; nothing else knows of it then.
    unsafe {
        let memory = pg_sys::AllocSetContextCreateInternal(
            pg_sys::TopMemoryContext,
            c"pg_sealed command".as_ptr(),
            0,
            8 * 1024,
            64 * 1024,
        );
        let portal = std::ptr::replace(&raw mut pg_sys::PortalContext, memory);
        let done = body(memory);
        pg_sys::PortalContext = portal;
        pg_sys::MemoryContextDelete(memory);
        done
    }
}

/// Removes the indexes that REINDEX CONCURRENTLY of this table has left when it failed: not valid, and named as it
/// names them. As DROP INDEX CONCURRENTLY does: it waits for who has the table, and nobody waits for it.
pub fn remove_left(table: Oid) -> Result<(), Failure> {
    let left = worker::transaction(|| left_indexes(table))?;
    left.into_iter().try_for_each(|index| {
        in_own_memory(|memory| {
            worker::transaction(|| {
                // SAFETY: the locks of DROP INDEX CONCURRENTLY, in its order. What it needs beyond its transactions is
                // in that memory; it pops the snapshot before it ends the first.
                unsafe {
                    let lock = pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE;
                    pg_sys::LockRelationOid(table, lock);
                    pg_sys::LockRelationOid(index, lock);
                    if class::class(table).is_none() || !left_indexes(table).contains(&index) {
                        return;
                    }
                    let object = pg_sys::ObjectAddress {
                        classId: pg_sys::RelationRelationId,
                        objectId: index,
                        objectSubId: 0,
                    };
                    pg_sys::MemoryContextSwitchTo(memory);
                    pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
                    let how = pg_sys::PERFORM_DELETION_CONCURRENTLY as i32;
                    let restrict = pg_sys::DropBehavior::DROP_RESTRICT;
                    // `performDeletion` would lock it against everybody first.
                    let objects = pg_sys::new_object_addresses();
                    pg_sys::add_exact_object_address(&object, objects);
                    pg_sys::performMultipleDeletions(objects, restrict, how);
                    // Of the transaction that it ends in.
                    pg_sys::MemoryContextSwitchTo(pg_sys::TopTransactionContext);
                }
            })
        })
    })
}

/// Those, also ones that nobody may use any more.
fn left_indexes(table: Oid) -> Vec<Oid> {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    let mut found = Vec::new();
    // SAFETY: a scan of pg_index, whose tuples begin with this struct.
    unsafe {
        let argument = pg_sys::Datum::from(table);
        let number = pg_sys::Anum_pg_index_indrelid as i16;
        let mut keys = [class::equals(number, pg_sys::F_OIDEQ, argument)];
        let rel = pg_sys::table_open(pg_sys::IndexRelationId, lock);
        let none = std::ptr::null_mut();
        let by = Oid::from_u32(pg_sys::IndexIndrelidIndexId);
        let scan = pg_sys::systable_beginscan(rel, by, true, none, 1, keys.as_mut_ptr());
        loop {
            let row = pg_sys::systable_getnext(scan);
            if row.is_null() {
                break;
            }
            let form = &*pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_index>();
            if !form.indisvalid {
                found.push(form.indexrelid);
            }
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(rel, lock);
    }
    found.retain(|index| {
        let Some(class) = class::class(*index) else { return false };
        let number = class.name.trim_end_matches(|c: char| c.is_ascii_digit());
        index_stmt::is_ours(class.access_method)
            && (number.ends_with("_ccnew") || number.ends_with("_ccold"))
    });
    found
}

unsafe extern "C-unwind" {
    fn ExecReindex(
        state: *mut pg_sys::ParseState,
        statement: *mut pg_sys::ReindexStmt,
        top_level: bool,
    );
}
