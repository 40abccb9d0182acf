//! `sealed_hash`: PostgreSQL's hash index, whose codes are keyed.
//!
//! hash stores a code of 32 bits for each value and nothing of the value, and has the executor check again what it finds. Here
//! the code is a keyed hash of what the type's hash function gives. It is worked out before hash sees it: the shadow's
//! support function returns its argument.
//!
//! All codes of a file are under one layout, which the file's metapage names where hash keeps the OID of its support function
//! and never reads it: `hashm_procid`, in WAL from the beginning of a file on. So the layout goes wherever the file goes,
//! to a replica, a backup, another index (REINDEX CONCURRENTLY), another server (pg_upgrade).

use pgrx::pg_sys::{self, Datum, Oid};
use sealed_crypto::LayoutId;

use super::column::Hash;
use super::scan::{Swapped, bring_keys};
use super::shadow::{self, Use};
use super::{amvalidate, pages, write};
use crate::error::Error;
use crate::index_am::key;
use crate::pg::call::{call_c, callback};
use crate::pg::{class, index_stmt, xact};

/// Places in the metapage behind its header of 24 bytes (`HashMetaPageData`), and its first word.
const MAGIC_AT: usize = 24;
const LOW_MASK_AT: usize = 24 + 32;
const PROCEDURE_AT: usize = 24 + 48;
const MAGIC: u32 = 0x0644_0640;
/// Kinds of pages that have entries: of a bucket, and what it has run over to (`LH_BUCKET_PAGE`, `LH_OVERFLOW_PAGE`).
const WITH_ENTRIES: u16 = 1 << 1 | 1;

/// hash's own routine, as `hashhandler` makes it.
fn core() -> &'static pg_sys::IndexAmRoutine {
    static ROUTINE: super::Core = super::Core::new();
    ROUTINE.of(pg_sys::F_HASHHANDLER)
}

/// Our routine: hash's, with these callbacks replaced.
fn routine() -> pg_sys::IndexAmRoutine {
    let mut am = *core();
    am.amadjustmembers = None;
    am.amvalidate = Some(amvalidate);
    am.ambuild = Some(ambuild);
    am.ambuildempty = Some(ambuildempty);
    am.aminsert = Some(aminsert);
    am.ambulkdelete = Some(ambulkdelete);
    am.amvacuumcleanup = Some(amvacuumcleanup);
    am.amrescan = Some(amrescan);
    am.amgettuple = Some(amgettuple);
    am.amgetbitmap = Some(amgetbitmap);
    am.amendscan = Some(amendscan);
    am
}

/// `sealed.sealed_hash_handler(internal) returns index_am_handler`.
///
/// # Safety
/// Called by PostgreSQL's function manager.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sealed_hash_handler_wrapper(
    _fcinfo: pg_sys::FunctionCallInfo,
) -> Datum {
    callback!({
        // SAFETY: palloc'd in one piece, as core wants it.
        unsafe { super::made(routine()) }
    })
}

/// Whether it is the access method of such indexes.
pub fn is_method(method: Oid) -> bool {
    class::index_method(index_stmt::HASH_METHOD) == Some(method)
}

/// The shadow's support function: what it is given is the code.
pub unsafe extern "C-unwind" fn code(fcinfo: pg_sys::FunctionCallInfo) -> Datum {
    // SAFETY: hash calls it with one argument, which is not NULL.
    unsafe { (*fcinfo).args.as_slice(1)[0].value }
}

/// The code of a value that is not NULL, of the column's type or another of its operator family.
pub unsafe fn of(shadow: &Use, other: Option<Oid>, value: Datum) -> Result<Datum, Error> {
    let layout = shadow.layout()?;
    // SAFETY: an index of one column, which has a hash function and a collation.
    unsafe {
        let rel = shadow.relation();
        let collation = *(*rel).rd_indcollation;
        let (Some(column), family) = (shadow.columns().first(), *(*rel).rd_opfamily) else {
            return Err(key::damaged((*rel).rd_id));
        };
        let hash = match (other, &column.hash) {
            (Some(other), _) => {
                Hash::of(family, other, pg_sys::CurrentMemoryContext)?.call(collation, value)
            }
            (None, Some(hash)) => hash.call(collation, value),
            (None, None) => return Err(key::damaged((*rel).rd_id)),
        };
        let code = key::hash(column.table, column.number, layout, hash)?;
        Ok(Datum::from(code))
    }
}

/// The layout that a file says its codes are under.
pub unsafe fn layout(rel: pg_sys::Relation, table: Oid) -> Result<LayoutId, Error> {
    // SAFETY: an open index, none of whose pages is locked.
    let meta = unsafe { pages::copy(rel, 0) };
    match (meta.word(MAGIC_AT), LayoutId::new(meta.word(PROCEDURE_AT))) {
        (MAGIC, Ok(layout)) => Ok(layout),
        _ => Err(key::damaged(table)),
    }
}

/// The layouts that an index is under: of its file, and of the empty one that it is to have after a crash.
pub fn layouts(index: Oid) -> Vec<LayoutId> {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: the index stays open, and locked, for the transaction.
    unsafe {
        let rel = pg_sys::index_open(index, lock);
        let mut forks = vec![pg_sys::ForkNumber::MAIN_FORKNUM];
        if (*(*rel).rd_rel).relpersistence as u8 == pg_sys::RELPERSISTENCE_UNLOGGED {
            forks.push(pg_sys::ForkNumber::INIT_FORKNUM);
        }
        forks.retain(|fork| pg_sys::RelationGetNumberOfBlocksInFork(rel, *fork) > 0);
        let named = forks.into_iter().filter_map(|fork| {
            // One that names none has no entry that anybody finds.
            LayoutId::new(pages::copy_of(rel, fork, 0).word(PROCEDURE_AT)).ok()
        });
        let named = named.collect();
        pg_sys::index_close(rel, lock);
        named
    }
}

/// Chooses the layout of a file that is about to be made.
unsafe fn choose(shadow: &Use) -> Result<(), Error> {
    // What pg_upgrade makes here is replaced by the old server's file.
    if xact::is_binary_upgrade() {
        return Ok(());
    }
    if let Some(column) = shadow.columns().first() {
        shadow.set_layout(key::hashing_layout(column.table, column.number)?);
    }
    Ok(())
}

pub unsafe extern "C-unwind" fn ambuild(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
) -> *mut pg_sys::IndexBuildResult {
    callback!({
        // SAFETY: arguments of core's.
        unsafe {
            let shadow = write::prepare(heap, index).unwrap_or_else(|error| error.report());
            choose(&shadow).unwrap_or_else(|error| error.report());
            let (build, relation) = (core().ambuild.unwrap_unchecked(), shadow.relation());
            shadow.written(|| call_c(|| build(heap, relation, info)))
        }
    })
}

pub unsafe extern "C-unwind" fn ambuildempty(index: pg_sys::Relation) {
    callback!({
        // SAFETY: an open index.
        unsafe {
            let shadow = shadow::of(index).unwrap_or_else(|error| error.report());
            choose(&shadow).unwrap_or_else(|error| error.report());
            let (build, relation) = (core().ambuildempty.unwrap_unchecked(), shadow.relation());
            call_c(|| build(relation))
        }
    })
}

#[allow(clippy::too_many_arguments)]
pub unsafe extern "C-unwind" fn aminsert(
    index: pg_sys::Relation,
    values: *mut Datum,
    isnull: *mut bool,
    tid: pg_sys::ItemPointer,
    heap: pg_sys::Relation,
    unique: pg_sys::IndexUniqueCheck::Type,
    unchanged: bool,
    info: *mut pg_sys::IndexInfo,
) -> bool {
    callback!({
        // SAFETY: arguments of core's.
        unsafe {
            if *isnull {
                return false;
            }
            let shadow = shadow::of(index).unwrap_or_else(|error| error.report());
            bring_keys(index);
            let mut code = of(&shadow, None, *values).unwrap_or_else(|error| error.report());
            let (insert, relation) = (core().aminsert.unwrap_unchecked(), shadow.relation());
            call_c(|| insert(relation, &mut code, isnull, tid, heap, unique, unchanged, info))
        }
    })
}

pub unsafe extern "C-unwind" fn ambulkdelete(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
    delete: pg_sys::IndexBulkDeleteCallback,
    state: *mut std::ffi::c_void,
) -> *mut pg_sys::IndexBulkDeleteResult {
    callback!({
        // SAFETY: arguments of core's. It goes by the codes that are there, and needs no key.
        unsafe {
            let shadow = shadow::of((*info).index).unwrap_or_else(|error| error.report());
            let mut info = *info;
            info.index = shadow.relation();
            let (bulk, info) = (core().ambulkdelete.unwrap_unchecked(), &raw mut info);
            call_c(|| bulk(info, stats, delete, state))
        }
    })
}

pub unsafe extern "C-unwind" fn amvacuumcleanup(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
) -> *mut pg_sys::IndexBulkDeleteResult {
    callback!({
        // SAFETY: as above.
        unsafe {
            let shadow = shadow::of((*info).index).unwrap_or_else(|error| error.report());
            let mut info = *info;
            info.index = shadow.relation();
            let (clean, info) = (core().amvacuumcleanup.unwrap_unchecked(), &raw mut info);
            call_c(|| clean(info, stats))
        }
    })
}

pub unsafe extern "C-unwind" fn amrescan(
    scan: pg_sys::IndexScanDesc,
    keys: pg_sys::ScanKey,
    nkeys: i32,
    orders: pg_sys::ScanKey,
    norders: i32,
) {
    callback!({
        // SAFETY: core's scan and keys; the copies live until hash has copied them.
        unsafe {
            let swapped = Swapped::new(scan);
            let shadow = swapped.shadow();
            shadow.check().unwrap_or_else(|e| e.report());
            let given = if keys.is_null() { 0 } else { nkeys.max(0) as usize };
            let mut copies = match given {
                0 => Vec::new(),
                given => std::slice::from_raw_parts(keys, given).to_vec(),
            };
            for key in &mut copies {
                let subtype = std::mem::replace(&mut key.sk_subtype, pg_sys::InvalidOid);
                if key.sk_flags & pg_sys::SK_ISNULL as i32 == 0 {
                    let input = shadow.columns().first().map(|column| column.input);
                    let other =
                        (subtype != Oid::INVALID && Some(subtype) != input).then_some(subtype);
                    let code = of(shadow, other, key.sk_argument);
                    key.sk_argument = code.unwrap_or_else(|error| error.report());
                }
            }
            let rescan = core().amrescan.unwrap_unchecked();
            let at = if given == 0 { keys } else { copies.as_mut_ptr() };
            call_c(|| rescan(scan, at, nkeys, orders, norders));
        }
    })
}

pub unsafe extern "C-unwind" fn amgettuple(
    scan: pg_sys::IndexScanDesc,
    direction: pg_sys::ScanDirection::Type,
) -> bool {
    callback!({
        // SAFETY: an open scan.
        unsafe {
            let swapped = Swapped::new(scan);
            swapped.shadow().check_again().unwrap_or_else(|e| e.report());
            let next = core().amgettuple.unwrap_unchecked();
            call_c(|| next(scan, direction))
        }
    })
}

pub unsafe extern "C-unwind" fn amgetbitmap(
    scan: pg_sys::IndexScanDesc,
    bitmap: *mut pg_sys::TIDBitmap,
) -> i64 {
    callback!({
        // SAFETY: an open scan.
        unsafe {
            let _swapped = Swapped::new(scan);
            let all = core().amgetbitmap.unwrap_unchecked();
            call_c(|| all(scan, bitmap))
        }
    })
}

pub unsafe extern "C-unwind" fn amendscan(scan: pg_sys::IndexScanDesc) {
    callback!({
        // SAFETY: an open scan, whose descriptor core frees after this.
        unsafe {
            let _swapped = Swapped::new(scan);
            let end = core().amendscan.unwrap_unchecked();
            call_c(|| end(scan));
        }
    })
}

/// Hands out every entry of an index: its block, its row's place, its code, and whether that belongs into its bucket.
pub unsafe fn each_entry(rel: pg_sys::Relation, mut with: impl FnMut(u32, [u8; 6], u32, bool)) {
    // SAFETY: an open index; each page is a copy.
    unsafe {
        let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
        let low_mask = pages::copy(rel, 0).word(LOW_MASK_AT);
        for block in 1..pg_sys::RelationGetNumberOfBlocksInFork(rel, fork) {
            crate::pg::call::check_for_interrupts();
            let page = pages::copy(rel, block);
            // `HashPageOpaqueData`: pages before and behind 8, bucket 4, flags 2, mark 2.
            let Some(special) = page.special(16) else { continue };
            let bucket = page.word(special + 8);
            if page.word(special + 12) as u16 & WITH_ENTRIES == 0 {
                continue;
            }
            for entry in page.items() {
                let (Some(tid), Some(code)) = (entry.first_chunk(), entry.get(8..12)) else {
                    continue;
                };
                let code = u32::from_ne_bytes([code[0], code[1], code[2], code[3]]);
                // A split takes more of the code's bits, and none away.
                with(block, *tid, code, (code ^ bucket) & low_mask == 0);
            }
        }
    }
}
