//! `sealed.verify_index`: opens every key of an index, and holds it against its neighbours and against the rows.

use std::ffi::c_void;
use std::hash::{BuildHasher, Hasher, RandomState};

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::column::Column;
use super::{compare, hash, pages, shadow, value};
use crate::error::Error;
use crate::pg::call::{self, call_c, callback};
use crate::pg::ffi;
use crate::pg::{class, index_stmt, user};
use crate::policy;

/// Flags of a page: half dead, and to be ignored (`P_IGNORE`).
const IGNORED: u16 = 1 << 2 | 1 << 4;
const DESC: i16 = pg_sys::INDOPTION_DESC as i16;
const NULLS_FIRST: i16 = pg_sys::INDOPTION_NULLS_FIRST as i16;

/// Opens every key of the index, checks their order, and that every visible row has its entry. A row of the result for
/// each thing that is wrong: the block of the index, or none of an entry that is missing. Privilege: owner of the table, or
/// a role of the extension.
#[pg_extern(sql = false)]
fn verify_index(
    index: pg_sys::Oid,
) -> TableIterator<'static, (name!(block, Option<i64>), name!(message, String))> {
    // SAFETY: runs in a transaction, called by the function manager.
    let findings = call::for_pgrx(|| unsafe { check(index) }.unwrap_or_else(|e| e.report()));
    TableIterator::new(findings)
}

/// The block of an index, if it is of one, and what is wrong.
pub type Findings = Vec<(Option<i64>, String)>;

/// Which entries the index has, as a set that may err on the side of having one (a Bloom filter).
struct Entries {
    bits: Vec<u64>,
    hash: RandomState,
}

impl Entries {
    fn new(pages: u32) -> Self {
        // A page has some 200 entries of the shortest kind; 16 bits for each: one in two thousand errs.
        let words = (pages as usize * 200 * 16 / 64).clamp(1 << 10, 1 << 26);
        Self { bits: vec![0; words.next_power_of_two()], hash: RandomState::new() }
    }

    fn places(&self, hash: u64) -> [usize; 4] {
        let bits = self.bits.len() * 64;
        std::array::from_fn(|i| (hash.rotate_left(16 * i as u32) as usize) % bits)
    }

    fn add(&mut self, hash: u64) {
        for place in self.places(hash) {
            self.bits[place / 64] |= 1 << (place % 64);
        }
    }

    fn has(&self, hash: u64) -> bool {
        self.places(hash).iter().all(|place| self.bits[place / 64] >> (place % 64) & 1 == 1)
    }
}

/// Adds what a value is to a hash: its bytes, however it is stored.
unsafe fn add(hasher: &mut impl Hasher, column: &Column, value: Option<pg_sys::Datum>) {
    let Some(value) = value else { return hasher.write_u8(0) };
    hasher.write_u8(1);
    let kind = column.kind;
    // SAFETY: a value of the column's type.
    unsafe {
        if kind.by_val {
            let len = kind.len as usize;
            return hasher.write(&value.value().to_le_bytes()[..len]);
        }
        let at = value.cast_mut_ptr::<u8>();
        match kind.len {
            -1 => {
                let plain = ffi::pg_detoast_datum_packed(at.cast());
                hasher.write(value::data(plain.cast()));
            }
            -2 => hasher.write(std::ffi::CStr::from_ptr(at.cast()).to_bytes()),
            len => hasher.write(std::slice::from_raw_parts(at, len as usize)),
        }
        hasher.write_u8(2);
    }
}

/// Does that.
///
/// # Safety
/// Called in a transaction; an ERROR unwinds.
pub unsafe fn check(index: pg_sys::Oid) -> Result<Findings, Error> {
    // SAFETY: both are locked, opened and closed here; an ERROR leaves them to the resource owner.
    unsafe {
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        let not_ours = || Error::BadArgument {
            what: format!("\"{}\" is not an index with sealed keys", class::relation_name(index)),
            hint: "Look at sealed.indexes.".to_owned(),
        };
        let class = class::class(index).filter(|class| {
            class.kind == pg_sys::RELKIND_INDEX && index_stmt::is_ours(class.access_method)
        });
        if class.is_none() {
            return Err(not_ours());
        }
        let table = pg_sys::IndexGetRelation(index, false);
        let heap = pg_sys::table_open(table, lock);
        policy::check_verify(heap)?;
        let rel = pg_sys::index_open(index, lock);
        if !(*(*rel).rd_index).indisvalid {
            let name = class::relation_name(index);
            return Ok(vec![(None, format!("index \"{name}\" is not valid"))]);
        }
        let shadow = shadow::of(rel)?;
        super::scan::bring_keys(rel);
        // Before the index is read: what this sees is in the index from then on.
        let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetTransactionSnapshot());
        check_horizon(rel, snapshot)?;
        let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
        let blocks = pg_sys::RelationGetNumberOfBlocksInFork(rel, fork);
        let mut entries = Entries::new(blocks);
        let mut findings = Vec::new();
        let mut buffer = Vec::new();
        // VACUUM moves entries of a bucket to its earlier pages: what is missing is looked for again.
        for _ in 0..if shadow.is_hash() { 3 } else { 0 } {
            (entries, findings) = (Entries::new(blocks * 2), Vec::new());
            check_buckets(rel, &mut entries, &mut findings);
            check_rows(heap, rel, &shadow, snapshot, &entries, &mut findings);
            if findings.is_empty() {
                break;
            }
        }
        if !shadow.is_hash() {
            // All of them, those of inner pages too.
            pages::each_key(index, |block, column, bytes| {
                if let Err(error) = value::open(&shadow.columns()[column], bytes, &mut buffer) {
                    findings.push((Some(i64::from(block)), error.to_string()));
                }
                findings.len() < 1000
            });
        }
        if findings.is_empty() && !shadow.is_hash() {
            check_leaves(rel, &shadow, &mut entries, &mut findings);
            check_rows(heap, rel, &shadow, snapshot, &entries, &mut findings);
        }
        value::wipe(&mut buffer);
        pg_sys::UnregisterSnapshot(snapshot);
        pg_sys::index_close(rel, lock);
        pg_sys::table_close(heap, lock);
        Ok(findings)
    }
}

/// Refuses an index that has no entries for what an older snapshot of this transaction may see, as amcheck does.
unsafe fn check_horizon(rel: pg_sys::Relation, snapshot: pg_sys::Snapshot) -> Result<(), Error> {
    // SAFETY: an open index, with its row of pg_index; a registered snapshot.
    unsafe {
        let old = pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32;
        if !old || !(*(*rel).rd_index).indcheckxmin {
            return Ok(());
        }
        let made = pg_sys::HeapTupleHeaderGetXmin((*(*rel).rd_indextuple).t_data);
        if pg_sys::TransactionIdPrecedes(made, (*snapshot).xmin) {
            return Ok(());
        }
        let name = class::relation_name((*rel).rd_id);
        Err(Error::BadArgument {
            what: format!(
                "index \"{name}\" cannot be verified with a snapshot of this transaction"
            ),
            hint: "Verify it in a READ COMMITTED transaction.".to_owned(),
        })
    }
}

/// Notes the entries of an index of keyed hashes.
unsafe fn check_buckets(rel: pg_sys::Relation, entries: &mut Entries, findings: &mut Findings) {
    // SAFETY: an open index.
    unsafe {
        hash::each_entry(rel, |block, tid, code, belongs| {
            let mut hasher = entries.hash.build_hasher();
            hasher.write(&tid);
            hasher.write_u32(code);
            entries.add(hasher.finish());
            if !belongs && findings.len() < 1000 {
                let message = "an entry is in another bucket than its code's".to_owned();
                findings.push((Some(i64::from(block)), message));
            }
        });
    }
}

/// Goes from the first leaf to the last, by their links: what is split meanwhile goes to the right.
unsafe fn check_leaves(
    rel: pg_sys::Relation,
    shadow: &shadow::Use,
    entries: &mut Entries,
    findings: &mut Findings,
) {
    // SAFETY: an open index; arrays of as many as it has key columns.
    unsafe {
        let keys = (*(*rel).rd_index).indnkeyatts as usize;
        let columns = shadow.columns();
        let options = std::slice::from_raw_parts((*rel).rd_indoption, keys);
        let collations = std::slice::from_raw_parts((*rel).rd_indcollation, keys);
        let mut before: Option<Vec<u8>> = None;
        let mut buffer = Vec::new();
        let mut block = pages::first_leaf(rel);
        while let Some(page) = block.map(|block| pages::copy(rel, block)) {
            call::check_for_interrupts();
            let at = block.unwrap_or_default();
            block = page.next();
            if page.flags() & IGNORED != 0 {
                continue;
            }
            for tuple in page.entries() {
                let values = pages::values(tuple, columns.len());
                let mut hasher = entries.hash.build_hasher();
                hasher.write(&tuple[..6]);
                for (column, value) in columns.iter().zip(&values) {
                    let opened =
                        value.map(|v| value::open(column, value::data(v.as_ptr()), &mut buffer));
                    match opened.transpose() {
                        Ok(value) => add(&mut hasher, column, value),
                        Err(error) => findings.push((Some(i64::from(at)), error.to_string())),
                    }
                }
                entries.add(hasher.finish());
                if let Some(before) = &before {
                    let other = pages::values(before, columns.len());
                    if !in_order(columns, &other, &values, options, collations) {
                        findings
                            .push((Some(i64::from(at)), "keys are not in their order".to_owned()));
                    }
                }
                before = Some(tuple.to_vec());
            }
        }
        value::wipe(&mut buffer);
    }
}

unsafe fn in_order(
    columns: &[Box<Column>],
    a: &[Option<&[u8]>],
    b: &[Option<&[u8]>],
    options: &[i16],
    collations: &[pg_sys::Oid],
) -> bool {
    for (at, (option, collation)) in options.iter().zip(collations).enumerate() {
        let order = match (a[at], b[at]) {
            (None, None) => 0,
            (None, Some(_)) => {
                if option & NULLS_FIRST != 0 {
                    -1
                } else {
                    1
                }
            }
            (Some(_), None) => {
                if option & NULLS_FIRST != 0 {
                    1
                } else {
                    -1
                }
            }
            (Some(a), Some(b)) => {
                let datum = |bytes: &[u8]| pg_sys::Datum::from(bytes.as_ptr());
                // SAFETY: varlenas of this column, which have been opened before.
                let order = unsafe { compare::order(&columns[at], datum(a), datum(b), *collation) };
                if option & DESC != 0 { -order.signum() } else { order.signum() }
            }
        };
        if order != 0 {
            return order < 0;
        }
    }
    true
}

/// What the callback of the table's scan needs.
struct Rows<'a> {
    entries: &'a Entries,
    shadow: &'a shadow::Use,
    findings: &'a mut Findings,
}

unsafe fn check_rows(
    heap: pg_sys::Relation,
    rel: pg_sys::Relation,
    shadow: &shadow::Use,
    snapshot: pg_sys::Snapshot,
    entries: &Entries,
    findings: &mut Findings,
) {
    // SAFETY: as amcheck does it: a scan of our own, which the build's scan ends, and an IndexInfo of the index.
    unsafe {
        let info = pg_sys::BuildIndexInfo(rel);
        (*info).ii_Unique = false;
        (*info).ii_Concurrent = true;
        let flags = pg_sys::ScanOptions::SO_TYPE_SEQSCAN
            | pg_sys::ScanOptions::SO_ALLOW_PAGEMODE
            | pg_sys::ScanOptions::SO_ALLOW_STRAT;
        let am = &*(*heap).rd_tableam;
        let begin = am.scan_begin.unwrap_unchecked();
        let null = std::ptr::null_mut();
        let scan = call_c(|| begin(heap, snapshot, 0, std::ptr::null_mut(), null, flags));
        let mut rows = Rows { entries, shadow, findings };
        let build = am.index_build_range_scan.unwrap_unchecked();
        let state = (&raw mut rows).cast::<c_void>();
        let all = pg_sys::InvalidBlockNumber;
        // Expressions and predicates are the owner's functions.
        user::as_owner(heap, || {
            call_c(|| build(heap, rel, info, true, false, false, 0, all, Some(row), state, scan))
        });
    }
}

unsafe extern "C-unwind" fn row(
    _index: pg_sys::Relation,
    tid: pg_sys::ItemPointer,
    values: *mut pg_sys::Datum,
    isnull: *mut bool,
    alive: bool,
    state: *mut c_void,
) {
    callback!({
        // SAFETY: `check_rows` passed it; a value and a flag for each column.
        unsafe {
            let rows = &mut *state.cast::<Rows>();
            let mut hasher = rows.entries.hash.build_hasher();
            hasher.write(std::slice::from_raw_parts(tid.cast::<u8>(), 6));
            let is_hash = rows.shadow.is_hash();
            if is_hash {
                if *isnull {
                    return;
                }
                let code = hash::of(rows.shadow, None, *values);
                hasher.write_u32(code.unwrap_or_else(|error| error.report()).value() as u32);
            }
            for (at, column) in rows.shadow.columns().iter().enumerate().filter(|_| !is_hash) {
                let value = (!*isnull.add(at)).then(|| *values.add(at));
                add(&mut hasher, column, value);
            }
            if alive && !rows.entries.has(hasher.finish()) && rows.findings.len() < 1000 {
                let tid = crate::pg::tuple::display(&*tid);
                rows.findings.push((None, format!("row {tid} has no entry with its values")));
            }
        }
    })
}
