//! `sealed.verify`: opens every row of a table and every chunk it refers to.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::{owner, slot, toast};
use crate::error::Error;
use crate::pg::call;
use crate::pg::tuple::{self, varlena};

/// One thing that is wrong with a table.
struct Finding {
    ctid: pg_sys::ItemPointerData,
    attnum: Option<i16>,
    message: String,
}

/// Opens every visible row of `relation` and every TOAST chunk of it; a row of the result for each
/// that does not open. Privilege: owner of the table, or a role of
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

unsafe fn check_table(relation: pg_sys::Oid) -> Vec<Finding> {
    // SAFETY: guarded calls; relation, scan and snapshot belong to the resource owner if one raises.
    unsafe {
        let lock = pg_sys::AccessShareLock as i32;
        let rel = pg_sys::table_open(relation, lock);
        if let Err(e) = crate::policy::check_verify(rel) {
            e.report();
        }
        let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot());
        let flags = pg_sys::ScanOptions::SO_TYPE_SEQSCAN
            | pg_sys::ScanOptions::SO_ALLOW_PAGEMODE
            | pg_sys::ScanOptions::SO_ALLOW_STRAT;
        let none = std::ptr::null_mut();
        let scan = pg_sys::heap_beginscan(rel, snapshot, 0, none, std::ptr::null_mut(), flags);
        let raw_slot = pg_sys::MakeSingleTupleTableSlot(
            crate::pg::shadow::no_columns(),
            &raw const pg_sys::TTSOpsBufferHeapTuple,
        );
        let toast_oid = (*(*rel).rd_rel).reltoastrelid;
        let toastrel = if toast_oid == pg_sys::InvalidOid {
            std::ptr::null_mut()
        } else {
            pg_sys::table_open(toast_oid, lock)
        };
        let mut findings = Vec::new();
        let mut buffer: Vec<u64> = Vec::new();
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        while pg_sys::heap_getnextslot(scan, forward, raw_slot) {
            call::check_for_interrupts();
            let raw = (*raw_slot.cast::<pg_sys::BufferHeapTupleTableSlot>()).base.tuple;
            check_row(rel, toastrel, raw, &mut buffer, &mut findings);
        }
        pg_sys::ExecDropSingleTupleTableSlot(raw_slot);
        pg_sys::heap_endscan(scan);
        pg_sys::UnregisterSnapshot(snapshot);
        if !toastrel.is_null() {
            pg_sys::table_close(toastrel, lock);
        }
        pg_sys::table_close(rel, lock);
        findings
    }
}

unsafe fn check_row(
    rel: pg_sys::Relation,
    toastrel: pg_sys::Relation,
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
        let opened = slot::try_open(raw, owner(rel), buffer.as_mut_ptr().cast(), &mut head);
        if let Err(why) = opened {
            findings.push(Finding { ctid, attnum: None, message: says(&why.into_error(raw)) });
            return;
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
