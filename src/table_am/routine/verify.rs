//! `sealed.verify`: opens every row of a table and every chunk it refers to.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::parts::Sealed;
use super::{opened, owner, toast};
use crate::error::Error;
use crate::index_am::routine::{self as index_am, pages};
use crate::pg::tuple::{self, varlena};
use crate::pg::{call, class, ffi};
use crate::table_am::gate::Reader;
use crate::table_am::missing;

/// One thing that is wrong with a table.
struct Finding {
    ctid: pg_sys::ItemPointerData,
    attnum: Option<i16>,
    message: String,
}

/// Opens every visible row of `relation` and every TOAST chunk of it; a row of the result for each
/// that does not open, or cannot even be asked for. Privilege: owner of the table, or a role of
/// the extension (`policy::check_verify`).
#[pg_extern(sql = false)]
fn verify(
    relation: pg_sys::Oid,
) -> TableIterator<
    'static,
    (name!(ctid, pg_sys::ItemPointerData), name!(attnum, Option<i16>), name!(message, String)),
> {
    // SAFETY: runs in a transaction, called by the function manager.
    let findings = call::for_pgrx(|| unsafe { check_table(relation) });
    TableIterator::new(findings.into_iter().map(|f| (f.ctid, f.attnum, f.message)))
}

/// The table under verification, its TOAST table (or null) and the snapshot that says what is visible.
#[derive(Clone, Copy)]
struct Table {
    rel: pg_sys::Relation,
    toastrel: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
}

/// Blocks that are looked at in one go, if nothing is wrong with them.
const PIECE: u32 = 1024;

unsafe fn check_table(relation: pg_sys::Oid) -> Vec<Finding> {
    // SAFETY: guarded calls; relation and snapshot belong to the resource owner if one raises.
    unsafe {
        let lock = pg_sys::AccessShareLock as i32;
        let rel = pg_sys::table_open(relation, lock);
        if let Err(e) = crate::policy::check_verify(rel) {
            e.report();
        }
        let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot());
        let toast_oid = (*(*rel).rd_rel).reltoastrelid;
        let toastrel = if toast_oid == pg_sys::InvalidOid {
            std::ptr::null_mut()
        } else {
            pg_sys::table_open(toast_oid, lock)
        };
        let table = Table { rel, toastrel, snapshot };
        let mut findings = Vec::new();
        // Of no row: the values that rows have in columns which came after them.
        if let Err(e) = missing::of(owner(rel)) {
            let ctid = pg_sys::ItemPointerData::default();
            findings.push(Finding { ctid, attnum: None, message: says(&e) });
        }
        let blocks = pg_sys::RelationGetNumberOfBlocksInFork(rel, pg_sys::ForkNumber::MAIN_FORKNUM);
        let mut first = 0;
        while first < blocks {
            let count = PIECE.min(blocks - first);
            check_blocks(table, first, count, &mut findings);
            first += count;
        }
        pg_sys::UnregisterSnapshot(snapshot);
        // Indexes are held against the rows, so these have to open.
        if findings.is_empty() {
            for index in pages::sealed_indexes(relation) {
                check_index(index, &mut findings);
            }
        }
        if !toastrel.is_null() {
            pg_sys::table_close(toastrel, lock);
        }
        pg_sys::table_close(rel, lock);
        findings
    }
}

/// Checks an index with sealed keys. One that is not valid, since it is being built or its build has failed, is not used.
unsafe fn check_index(index: pg_sys::Oid, findings: &mut Vec<Finding>) {
    // SAFETY: what an ERROR leaves open belongs to the subtransaction.
    unsafe {
        if !pg_sys::get_index_isvalid(index) {
            return;
        }
        let found = call::attempt(says_damage, || {
            index_am::verify::check(index).unwrap_or_else(|error| error.report())
        });
        let found = found.unwrap_or_else(|message| vec![(None, message)]);
        let name = class::relation_name(index);
        findings.extend(found.into_iter().map(|(block, message)| {
            let place = block.map_or(String::new(), |block| format!(", block {block}"));
            let ctid = pg_sys::ItemPointerData::default();
            Finding { ctid, attnum: None, message: format!("index \"{name}\"{place}: {message}") }
        }));
    }
}

/// Whether an ERROR is PostgreSQL's word on damaged data: a page that is not one, a transaction that
/// never was, a file that ends too early. Cancel, memory and the like are not.
pub(super) fn says_damage(code: i32) -> bool {
    use PgSqlErrorCode::{ERRCODE_DATA_CORRUPTED, ERRCODE_SYSTEM_ERROR};
    // The first two characters (`ERRCODE_TO_CATEGORY` of `utils/elog.h`): XX and 58.
    let class = |code: i32| code & 0xfff;
    class(code) == class(ERRCODE_DATA_CORRUPTED as i32)
        || class(code) == class(ERRCODE_SYSTEM_ERROR as i32)
}

/// Checks some blocks. Where PostgreSQL itself stops at one, it is found by halves, and its rows are
/// asked for one by one.
unsafe fn check_blocks(table: Table, first: u32, count: u32, findings: &mut Vec<Finding>) {
    // SAFETY: an open table; the scan belongs to the subtransaction.
    unsafe {
        match call::attempt(says_damage, || scan_blocks(table, first, count)) {
            Ok(found) => findings.extend(found),
            Err(_) if count > 1 => {
                let half = count / 2;
                check_blocks(table, first, half, findings);
                check_blocks(table, first + half, count - half, findings);
            }
            Err(message) => check_each_row(table, first, message, findings),
        }
    }
}

unsafe fn scan_blocks(table: Table, first: u32, count: u32) -> Vec<Finding> {
    // SAFETY: guarded calls; the scan, its slot and their pins belong to the resource owner if one
    // raises.
    unsafe {
        let flags = pg_sys::ScanOptions::SO_TYPE_SEQSCAN
            | pg_sys::ScanOptions::SO_ALLOW_PAGEMODE
            | pg_sys::ScanOptions::SO_ALLOW_STRAT;
        let none = std::ptr::null_mut();
        let scan =
            pg_sys::heap_beginscan(table.rel, table.snapshot, 0, none, std::ptr::null_mut(), flags);
        pg_sys::heap_setscanlimits(scan, first, count);
        let raw_slot = pg_sys::MakeSingleTupleTableSlot(
            crate::pg::shadow::no_columns(),
            &raw const pg_sys::TTSOpsBufferHeapTuple,
        );
        let mut findings = Vec::new();
        let mut buffer: Vec<u64> = Vec::new();
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        while pg_sys::heap_getnextslot(scan, forward, raw_slot) {
            call::check_for_interrupts();
            let raw = (*raw_slot.cast::<pg_sys::BufferHeapTupleTableSlot>()).base.tuple;
            check_row(table, raw, &mut buffer, &mut findings);
        }
        pg_sys::ExecDropSingleTupleTableSlot(raw_slot);
        pg_sys::heap_endscan(scan);
        findings
    }
}

/// Checks the rows of one block that stopped a scan, with `message`.
unsafe fn check_each_row(table: Table, block: u32, message: String, findings: &mut Vec<Finding>) {
    let tid = |offset| tuple::at(block, offset);
    let before = findings.len();
    // SAFETY: an open table; what an ERROR leaves pinned belongs to the subtransaction.
    unsafe {
        let lines = call::attempt(says_damage, || count_lines(table.rel, block)).unwrap_or(0);
        for offset in 1..=lines {
            match call::attempt(says_damage, || check_one(table, tid(offset))) {
                Ok(found) => findings.extend(found),
                Err(message) => {
                    findings.push(Finding { ctid: tid(offset), attnum: None, message });
                }
            }
        }
    }
    // The page itself, then: no row of it can be asked for.
    if findings.len() == before {
        findings.push(Finding { ctid: tid(0), attnum: None, message });
    }
}

/// How many line pointers the page says it has.
unsafe fn count_lines(rel: pg_sys::Relation, block: u32) -> u16 {
    // SAFETY: the page is pinned and locked while it is looked at.
    unsafe {
        let buffer = pg_sys::ReadBuffer(rel, block);
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
        let lines = tuple::line_count(pg_sys::BufferGetPage(buffer));
        pg_sys::UnlockReleaseBuffer(buffer);
        lines
    }
}

/// Checks the row at a TID, if there is a visible one.
unsafe fn check_one(table: Table, ctid: pg_sys::ItemPointerData) -> Vec<Finding> {
    let mut findings = Vec::new();
    // SAFETY: a row that heap_fetch() finds has its page pinned until it is checked.
    unsafe {
        let mut t = pg_sys::HeapTupleData { t_self: ctid, ..Default::default() };
        let mut buffer: pg_sys::Buffer = 0;
        if ffi::heap_fetch(table.rel, table.snapshot, &mut t, &mut buffer, false) {
            check_row(table, &mut t, &mut Vec::new(), &mut findings);
            pg_sys::ReleaseBuffer(buffer);
        }
    }
    findings
}

unsafe fn check_row(
    Table { rel, toastrel, .. }: Table,
    raw: pg_sys::HeapTuple,
    buffer: &mut Vec<u64>,
    findings: &mut Vec<Finding>,
) {
    // SAFETY: `raw` is pinned by the scan's slot; the buffer is aligned for a heap tuple; what is
    // palloc'd has the length that is written, and goes with the memory context after an ERROR.
    unsafe {
        let ctid = (*raw).t_self;
        buffer.resize(((*raw).t_len as usize).div_ceil(8), 0);
        let mut head = pg_sys::HeapTupleData::default();
        let (owner, desc) = (owner(rel), (*rel).rd_att);
        let row = Sealed { row: raw, owner, desc, reader: Reader::Internal };
        match opened::try_open(row, buffer.as_mut_ptr().cast(), None, &mut head) {
            Ok(None) => {}
            Ok(Some(formed)) => head = *formed,
            Err(why) => {
                findings.push(Finding { ctid, attnum: None, message: says(&why.into_error(raw)) });
                return;
            }
        }
        if !tuple::has_external(&mut head) || toastrel.is_null() {
            return;
        }
        for (index, pointer) in toast::external_values(&mut head, (*rel).rd_att) {
            let total = varlena::extsize(&pointer);
            // The server's memory, not Rust's: where there is none, this is an ERROR and not the end
            // of the process.
            let bytes = pg_sys::palloc0(total as usize).cast::<u8>();
            let value = std::slice::from_raw_parts_mut(bytes, total as usize);
            let fetched = toast::fetch_slice(toastrel, pointer.va_valueid, total, 0, value);
            pg_sys::pfree(bytes.cast());
            if let Err(e) = fetched {
                findings.push(Finding { ctid, attnum: Some(index as i16 + 1), message: says(&e) });
            }
        }
    }
}

fn says(e: &Error) -> String {
    e.to_string()
}
