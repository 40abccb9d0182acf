//! Values that do not fit: compressed in plaintext, cut into sealed chunks, fetched by slices.
//!
//! Core's toaster is kept away from sealed rows (`pg::shadow`), because it would store chunks in
//! plaintext. The order of work is `heap_toast_insert_or_update()`'s (access/heap/heaptoast.c),
//! against the size of the sealed row. The chunks of a value are rows of an ordinary TOAST table,
//! chunk_id and chunk_seq in clear, chunk_data sealed (docs/format.md).

use std::ffi::c_int;

use pgrx::pg_sys;
use sealed_crypto::{CHUNK_PLAIN, ChunkId, OVERHEAD};

use super::slot::GROWTH;
use super::{is_toast, owner};
use crate::error::Error;
use crate::pg::call::{self, callback};
use crate::pg::ffi::{self, ToastAttrInfo, ToastTupleContext};
use crate::pg::relation;
use crate::pg::tuple::{self, HEADER, HEAPTUPLESIZE, bitmap_len, maxalign, varlena};
use crate::table_am::row::{self, NotOpened};

/// A stored tuple is kept below this (`TOAST_TUPLE_THRESHOLD`, four tuples a page).
const TUPLE_THRESHOLD: usize = maximum_bytes_per_tuple(4);
/// For columns of storage MAIN (`TOAST_TUPLE_TARGET_MAIN`, one tuple a page).
const TARGET_MAIN: usize = maximum_bytes_per_tuple(1);

/// `MaximumBytesPerTuple` of `access/heaptoast.h`.
const fn maximum_bytes_per_tuple(per_page: usize) -> usize {
    ((pg_sys::BLCKSZ as usize - maxalign(24 + per_page * 4)) / per_page) & !7
}

/// What a column's type and place say about its storage.
pub struct Attribute {
    /// Fixed width in bytes, or -1 for a varlena, -2 for a C string.
    pub len: i16,
    /// Passed by value.
    pub by_val: bool,
    /// `attstorage`.
    pub storage: u8,
    /// `attisdropped`.
    pub dropped: bool,
}

/// The column at `index` (from 0).
pub unsafe fn attribute(desc: pg_sys::TupleDesc, index: usize) -> Attribute {
    // SAFETY: the caller stays below natts.
    unsafe {
        let a = &*tuple::attribute(desc, index);
        Attribute {
            len: a.attlen,
            by_val: a.attbyval,
            storage: a.attstorage as u8,
            dropped: a.attisdropped,
        }
    }
}

/// Whether rows of `rel` can have values outside.
pub unsafe fn may_have(rel: pg_sys::Relation) -> bool {
    // SAFETY: an open relation.
    unsafe { (*(*rel).rd_rel).reltoastrelid != pg_sys::InvalidOid }
}

/// A row taken apart.
struct Deformed {
    values: Vec<pg_sys::Datum>,
    isnull: Vec<bool>,
}

impl Deformed {
    unsafe fn of(t: pg_sys::HeapTuple, desc: pg_sys::TupleDesc) -> Self {
        // SAFETY: a plaintext row that fits `desc`; the vectors have room for every column, and an
        // ERROR unwinds, so they are freed.
        unsafe {
            let natts = (*desc).natts as usize;
            let mut d =
                Deformed { values: vec![pg_sys::Datum::null(); natts], isnull: vec![true; natts] };
            pg_sys::heap_deform_tuple(t, desc, d.values.as_mut_ptr(), d.isnull.as_mut_ptr());
            d
        }
    }

    /// The on-disk pointers of the row, by column.
    unsafe fn external(&self, desc: pg_sys::TupleDesc) -> Vec<(usize, *const u8)> {
        // SAFETY: a varlena column that is not NULL holds a pointer to its value.
        unsafe {
            (0..self.values.len())
                .filter(|&i| !self.isnull[i] && attribute(desc, i).len == -1)
                .map(|i| (i, self.values[i].cast_mut_ptr::<u8>().cast_const()))
                .filter(|&(_, p)| varlena::is_ondisk(p))
                .collect()
        }
    }
}

/// The external values of an opened row: column (from 0) and pointer.
pub unsafe fn external_values(
    row: pg_sys::HeapTuple,
    desc: pg_sys::TupleDesc,
) -> Vec<(usize, pg_sys::varatt_external)> {
    // SAFETY: `row` fits `desc`.
    unsafe {
        let pointers = Deformed::of(row, desc).external(desc);
        pointers.into_iter().map(|(i, p)| (i, varlena::pointer(p))).collect()
    }
}

/// Gives back the row as it is to be sealed: `user` itself, or a copy (current memory context) whose
/// big values were compressed or moved out. `old` is the opened version an update replaces: values
/// it shares with the new row stay where they are.
pub unsafe fn store(
    rel: pg_sys::Relation,
    user: pg_sys::HeapTuple,
    old: Option<pg_sys::HeapTuple>,
    options: i32,
) -> pg_sys::HeapTuple {
    // SAFETY: executor's relation and row.
    unsafe {
        let small = (*user).t_len as usize + GROWTH <= TUPLE_THRESHOLD;
        if small && !tuple::has_external(user) {
            return user;
        }
        let desc = (*rel).rd_att;
        let mut new = Deformed::of(user, desc);
        let mut before = old.filter(|&o| tuple::has_external(o)).map(|o| Deformed::of(o, desc));
        let mut attr = vec![
            ToastAttrInfo {
                oldexternal: std::ptr::null_mut(),
                size: 0,
                colflags: 0,
                compression: 0
            };
            new.values.len()
        ];
        let mut ttc = ToastTupleContext {
            rel,
            values: new.values.as_mut_ptr(),
            isnull: new.isnull.as_mut_ptr(),
            oldvalues: before.as_mut().map_or(std::ptr::null_mut(), |b| b.values.as_mut_ptr()),
            oldisnull: before.as_mut().map_or(std::ptr::null_mut(), |b| b.isnull.as_mut_ptr()),
            flags: 0,
            attr: attr.as_mut_ptr(),
        };
        ffi::toast_tuple_init(&mut ttc);
        shrink(rel, &mut ttc, options);
        // What the old version alone refers to is deleted by the caller, after heap_update() said
        // TM_Ok; palloc'd values go with the memory context.
        if ttc.flags & ffi::TOAST_NEEDS_CHANGE == 0 {
            return user;
        }
        reform(user, desc, &mut new, ttc.flags & ffi::TOAST_HAS_NULLS != 0)
    }
}

/// Compresses and moves values out until the sealed row fits its target, in core's four rounds.
unsafe fn shrink(rel: pg_sys::Relation, ttc: &mut ToastTupleContext, options: i32) {
    // SAFETY: `ttc` was initialised by toast_tuple_init() for `rel`.
    unsafe {
        let desc = (*rel).rd_att;
        let natts = (*desc).natts as usize;
        let has_toast = may_have(rel);
        let bitmap = if ttc.flags & ffi::TOAST_HAS_NULLS != 0 { bitmap_len(natts) } else { 0 };
        let hoff = maxalign(HEADER + bitmap) + GROWTH;
        let size = |ttc: &ToastTupleContext| {
            pg_sys::heap_compute_data_size(desc, ttc.values, ttc.isnull) as usize
        };
        let biggest = |ttc: &mut ToastTupleContext, compress, main| {
            usize::try_from(ffi::toast_tuple_find_biggest_attribute(ttc, compress, main)).ok()
        };

        let target = target(rel).saturating_sub(hoff);
        // 1: compress EXTENDED; move what alone is over the target out at once.
        while size(ttc) > target {
            let Some(i) = biggest(ttc, true, false) else { break };
            let info = ttc.attr.add(i);
            if attribute(desc, i).storage == pg_sys::TYPSTORAGE_EXTENDED as u8 {
                ffi::toast_tuple_try_compression(ttc, i as c_int);
            } else {
                (*info).colflags |= ffi::TOASTCOL_INCOMPRESSIBLE;
            }
            if (*info).size as usize > target && has_toast {
                externalize(rel, ttc, i, options);
            }
        }
        // 2: move EXTENDED and EXTERNAL out.
        while has_toast && size(ttc) > target {
            let Some(i) = biggest(ttc, false, false) else { break };
            externalize(rel, ttc, i, options);
        }
        // 3: compress MAIN.
        while size(ttc) > target {
            let Some(i) = biggest(ttc, true, true) else { break };
            ffi::toast_tuple_try_compression(ttc, i as c_int);
        }
        // 4: move MAIN out, only where the row would not fit a page.
        let target = TARGET_MAIN - hoff;
        while has_toast && size(ttc) > target {
            let Some(i) = biggest(ttc, false, true) else { break };
            externalize(rel, ttc, i, options);
        }
    }
}

/// `RelationGetToastTupleTarget` of `utils/rel.h`.
unsafe fn target(rel: pg_sys::Relation) -> usize {
    // SAFETY: rd_options of a table with a heap-like AM is a StdRdOptions, or null.
    unsafe {
        let options = (*rel).rd_options.cast::<pg_sys::StdRdOptions>();
        if options.is_null() { TUPLE_THRESHOLD } else { (*options).toast_tuple_target as usize }
    }
}

/// `toast_tuple_externalize` with our chunks.
unsafe fn externalize(
    rel: pg_sys::Relation,
    ttc: &mut ToastTupleContext,
    index: usize,
    options: i32,
) {
    // SAFETY: `index` came from toast_tuple_find_biggest_attribute(): a varlena that is not null.
    unsafe {
        let info = &mut *ttc.attr.add(index);
        let value = ttc.values.add(index);
        info.colflags |= ffi::TOASTCOL_IGNORE;
        let pointer = save(rel, (*value).cast_mut_ptr(), info.oldexternal.cast(), options);
        *value = pg_sys::Datum::from(pointer);
        ttc.flags |= ffi::TOAST_NEEDS_CHANGE | ffi::TOAST_NEEDS_FREE;
    }
}

/// Builds the row anew from changed values (end of `heap_toast_insert_or_update`).
unsafe fn reform(
    user: pg_sys::HeapTuple,
    desc: pg_sys::TupleDesc,
    new: &mut Deformed,
    has_nulls: bool,
) -> pg_sys::HeapTuple {
    // SAFETY: one palloc'd block with room for header, bitmap and data, as heap_form_tuple() makes.
    unsafe {
        let natts = new.values.len();
        let hoff = maxalign(HEADER + if has_nulls { bitmap_len(natts) } else { 0 });
        let (values, isnull) = (new.values.as_mut_ptr(), new.isnull.as_mut_ptr());
        let size = pg_sys::heap_compute_data_size(desc, values, isnull) as usize;
        let t = pg_sys::palloc0(HEAPTUPLESIZE + hoff + size).cast::<pg_sys::HeapTupleData>();
        let data = t.cast::<u8>().add(HEAPTUPLESIZE);
        (*t).t_len = (hoff + size) as u32;
        (*t).t_self = (*user).t_self;
        (*t).t_tableOid = (*user).t_tableOid;
        (*t).t_data = data.cast();
        std::ptr::copy_nonoverlapping((*user).t_data.cast::<u8>(), data, HEADER);
        let header = tuple::header(t);
        header.t_infomask2 = header.t_infomask2 & !tuple::NATTS_MASK | natts as u16;
        header.t_hoff = hoff as u8;
        let bits = if has_nulls { data.add(HEADER) } else { std::ptr::null_mut() };
        pg_sys::heap_fill_tuple(
            desc,
            values,
            isnull,
            data.add(hoff).cast(),
            size as _,
            &mut header.t_infomask,
            bits,
        );
        t
    }
}

/// The open TOAST table and its indexes; closed when dropped, unless an ERROR is unwinding, in which
/// case the resource owner does it.
struct ToastTable {
    rel: pg_sys::Relation,
    indexes: *mut pg_sys::Relation,
    count: c_int,
    valid: usize,
}

impl ToastTable {
    unsafe fn open(oid: pg_sys::Oid, lock: pg_sys::LOCKMODE) -> Self {
        // SAFETY: guarded calls; the lock is kept to the end of the transaction.
        unsafe { Self::of(ffi::table_open(oid, lock), lock) }
    }

    unsafe fn of(rel: pg_sys::Relation, lock: pg_sys::LOCKMODE) -> Self {
        let mut indexes = std::ptr::null_mut();
        let mut count = 0;
        // SAFETY: `rel` is open; the array is palloc'd by the callee.
        let valid = unsafe { ffi::toast_open_indexes(rel, lock, &mut indexes, &mut count) };
        ToastTable { rel, indexes, count, valid: valid as usize }
    }

    unsafe fn valid_index(&self) -> pg_sys::Relation {
        // SAFETY: toast_open_indexes() returns a place in the array.
        unsafe { *self.indexes.add(self.valid) }
    }

    unsafe fn close_indexes(&self, lock: pg_sys::LOCKMODE) {
        // SAFETY: opened by `of`.
        unsafe { ffi::toast_close_indexes(self.indexes, self.count, lock) };
    }

    unsafe fn close(self) {
        // SAFETY: opened by `open`; locks stay until the transaction ends, as toast_save_datum()
        // does it, so that a REINDEX of the TOAST table waits for us.
        unsafe {
            self.close_indexes(pg_sys::NoLock as i32);
            pg_sys::table_close(self.rel, pg_sys::NoLock as i32);
        }
    }

    /// Whether a value of this id has a chunk, dead or alive (`toastrel_valueid_exists`).
    unsafe fn has_value(&self, value: pg_sys::Oid) -> bool {
        // SAFETY: guarded calls on the open table.
        unsafe {
            let mut key = pg_sys::ScanKeyData::default();
            pg_sys::ScanKeyInit(
                &mut key,
                1,
                pg_sys::BTEqualStrategyNumber as u16,
                pg_sys::Oid::from(pg_sys::F_OIDEQ),
                pg_sys::Datum::from(value),
            );
            let scan = pg_sys::systable_beginscan(
                self.rel,
                (*self.valid_index()).rd_id,
                true,
                (&raw mut pg_sys::SnapshotAnyData).cast(),
                1,
                &mut key,
            );
            let found = !pg_sys::systable_getnext(scan).is_null();
            pg_sys::systable_endscan(scan);
            found
        }
    }

    unsafe fn new_value_id(&self) -> pg_sys::Oid {
        // SAFETY: guarded call on the open table.
        unsafe { ffi::GetNewOidWithIndex(self.rel, (*self.valid_index()).rd_id, 1) }
    }

    /// Stores one sealed chunk.
    unsafe fn insert(
        &self,
        value: pg_sys::Oid,
        seq: u32,
        data: *mut u8,
        cid: pg_sys::CommandId,
        options: i32,
    ) {
        // SAFETY: `data` is a varlena of at most TOAST_MAX_CHUNK_SIZE + 4 bytes. As in
        // toast_save_datum(): the index columns are the table's first ones.
        unsafe {
            let mut values = [
                pg_sys::Datum::from(value),
                pg_sys::Datum::from(seq as i32),
                pg_sys::Datum::from(data),
            ];
            let mut isnull = [false; 3];
            let t = pg_sys::heap_form_tuple(
                (*self.rel).rd_att,
                values.as_mut_ptr(),
                isnull.as_mut_ptr(),
            );
            ffi::heap_insert(self.rel, t, cid, options, std::ptr::null_mut());
            for i in 0..self.count as usize {
                let index = *self.indexes.add(i);
                let shape = &*(*index).rd_index;
                if !shape.indisready {
                    continue;
                }
                let check = if shape.indisunique {
                    pg_sys::IndexUniqueCheck::UNIQUE_CHECK_YES
                } else {
                    pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO
                };
                ffi::index_insert(
                    index,
                    values.as_mut_ptr(),
                    isnull.as_mut_ptr(),
                    &mut (*t).t_self,
                    self.rel,
                    check,
                    false,
                    std::ptr::null_mut(),
                );
            }
            pg_sys::heap_freetuple(t);
        }
    }
}

/// The payload of an inline value and the pointer that will stand for it, without ids.
unsafe fn payload<'a>(p: *const u8) -> (&'a [u8], pg_sys::varatt_external) {
    // SAFETY: `p` is an inline varlena: short, compressed or plain. The sizes are
    // toast_save_datum()'s: va_rawsize counts a full header, va_extinfo the stored bytes and, in
    // its upper two bits, the compression method (as in the compressed value's own second word).
    unsafe {
        let mut to = pg_sys::varatt_external::default();
        let data = if varlena::is_short(p) {
            let data = std::slice::from_raw_parts(p.add(1), varlena::size_short(p) - 1);
            to.va_rawsize = (data.len() + varlena::VARHDRSZ) as i32;
            to.va_extinfo = data.len() as u32;
            data
        } else {
            let len = varlena::size(p) - varlena::VARHDRSZ;
            let data = std::slice::from_raw_parts(p.add(varlena::VARHDRSZ), len);
            to.va_extinfo = len as u32;
            if varlena::is_compressed(p) {
                let info = p.add(varlena::VARHDRSZ).cast::<u32>().read_unaligned();
                to.va_rawsize = ((info & 0x3fff_ffff) as usize + varlena::VARHDRSZ) as i32;
                to.va_extinfo |= info & 0xc000_0000;
            } else {
                to.va_rawsize = (len + varlena::VARHDRSZ) as i32;
            }
            data
        };
        (data, to)
    }
}

/// Cuts a value into sealed chunks and returns the pointer to it (`toast_save_datum`).
unsafe fn save(
    rel: pg_sys::Relation,
    value: *mut u8,
    oldexternal: *const u8,
    options: i32,
) -> *mut u8 {
    // SAFETY: `value` is an inline varlena; `oldexternal` the pointer it was fetched from, or null.
    unsafe {
        let table =
            ToastTable::open((*(*rel).rd_rel).reltoastrelid, pg_sys::RowExclusiveLock as i32);
        let cid = pg_sys::GetCurrentCommandId(true);
        let (mut data, mut to) = payload(value);
        let total = data.len() as u32;
        if let Some(id) = choose_value_id(rel, &table, oldexternal) {
            to.va_valueid = id.id;
            if id.stored {
                data = &[];
            }
        }
        to.va_toastrelid = if (*rel).rd_toastoid == pg_sys::InvalidOid {
            (*table.rel).rd_id
        } else {
            (*rel).rd_toastoid
        };
        // A speculative row's chunks are ordinary rows (heap_toast_insert_or_update); and no chunk
        // is ever for logical decoding, which would take ciphertext for the value.
        let options = options & !(pg_sys::HEAP_INSERT_SPECULATIVE as i32)
            | pg_sys::HEAP_INSERT_NO_LOGICAL as i32;
        // A varlena header, the seal, the chunk: aligned like chunk_data in toast_save_datum().
        let mut chunk = [0u32; (varlena::VARHDRSZ + OVERHEAD + CHUNK_PLAIN).div_ceil(4)];
        let chunk = chunk.as_mut_ptr().cast::<u8>();
        for (seq, part) in (0u32..).zip(data.chunks(CHUNK_PLAIN)) {
            call::check_for_interrupts();
            let len = OVERHEAD + part.len();
            let sealed = std::slice::from_raw_parts_mut(chunk.add(varlena::VARHDRSZ), len);
            sealed[OVERHEAD..].copy_from_slice(part);
            let id = ChunkId { value_id: to.va_valueid.to_u32(), seq, total };
            if let Err(e) = row::seal_chunk(owner(rel), &id, sealed) {
                e.report();
            }
            varlena::set_size(chunk, varlena::VARHDRSZ + len);
            table.insert(to.va_valueid, seq, chunk, cid, options);
        }
        table.close();
        let result = pg_sys::palloc(varlena::TOAST_POINTER_SIZE).cast::<u8>();
        varlena::write_pointer(result, to);
        result
    }
}

struct ValueId {
    id: pg_sys::Oid,
    /// The new TOAST table already holds the value (a rewrite copies live and recently dead
    /// versions of a row that share one).
    stored: bool,
}

/// Chooses a value id as toast_save_datum() does: unused, or in a rewrite the one it had.
unsafe fn choose_value_id(
    rel: pg_sys::Relation,
    table: &ToastTable,
    oldexternal: *const u8,
) -> Option<ValueId> {
    // SAFETY: as for `save`.
    unsafe {
        let rewritten = (*rel).rd_toastoid;
        if rewritten == pg_sys::InvalidOid {
            return Some(ValueId { id: table.new_value_id(), stored: false });
        }
        if !oldexternal.is_null() && varlena::is_ondisk(oldexternal) {
            let from = varlena::pointer(oldexternal);
            if from.va_toastrelid == rewritten {
                return Some(ValueId {
                    id: from.va_valueid,
                    stored: table.has_value(from.va_valueid),
                });
            }
        }
        let old = ToastTable::open(rewritten, pg_sys::AccessShareLock as i32);
        let id = loop {
            let id = table.new_value_id();
            if !old.has_value(id) {
                break id;
            }
        };
        old.close();
        Some(ValueId { id, stored: false })
    }
}

/// Deletes the chunks of every external value of an opened row.
pub unsafe fn delete_of(rel: pg_sys::Relation, row: pg_sys::HeapTuple, is_speculative: bool) {
    // SAFETY: `row` fits the relation's descriptor.
    unsafe {
        if tuple::has_external(row) {
            let mut d = Deformed::of(row, (*rel).rd_att);
            ffi::toast_delete_external(
                rel,
                d.values.as_mut_ptr(),
                d.isnull.as_mut_ptr(),
                is_speculative,
            );
        }
    }
}

/// Deletes the chunks that only the old version of an updated row refers to.
pub unsafe fn delete_replaced(
    rel: pg_sys::Relation,
    old: pg_sys::HeapTuple,
    new: pg_sys::HeapTuple,
) {
    // SAFETY: both are opened rows of `rel`.
    unsafe { delete_difference(rel, old, Some(new)) }
}

/// Deletes the chunks written for a new version that heapam did not store.
pub unsafe fn delete_new(
    rel: pg_sys::Relation,
    old: Option<pg_sys::HeapTuple>,
    new: pg_sys::HeapTuple,
) {
    // SAFETY: both are opened rows of `rel`.
    unsafe { delete_difference(rel, new, old) }
}

/// Deletes the external values of `of` that `except` does not refer to in the same column.
unsafe fn delete_difference(
    rel: pg_sys::Relation,
    of: pg_sys::HeapTuple,
    except: Option<pg_sys::HeapTuple>,
) {
    // SAFETY: both are opened rows of `rel`, in live memory.
    unsafe {
        if !tuple::has_external(of) {
            return;
        }
        let desc = (*rel).rd_att;
        let d = Deformed::of(of, desc);
        let kept = except.filter(|&t| tuple::has_external(t)).map(|t| Deformed::of(t, desc));
        let kept = kept.as_ref().map_or(Vec::new(), |k| k.external(desc));
        let bytes = |p: *const u8| std::slice::from_raw_parts(p, varlena::TOAST_POINTER_SIZE);
        for (i, p) in d.external(desc) {
            if !kept.iter().any(|&(j, q)| i == j && bytes(p) == bytes(q)) {
                ffi::toast_delete_datum(rel, pg_sys::Datum::from(p.cast_mut()), false);
            }
        }
    }
}

/// `relation_fetch_toast_slice`: called on the TOAST table when core detoasts a pointer.
pub unsafe extern "C-unwind" fn relation_fetch_toast_slice(
    toastrel: pg_sys::Relation,
    valueid: pg_sys::Oid,
    attrsize: i32,
    offset: i32,
    length: i32,
    result: *mut pg_sys::varlena,
) {
    callback!({
        // SAFETY: core allocated `result` for a header and `length` bytes (detoast.c), with
        // 0 <= offset <= offset + length <= attrsize.
        unsafe {
            let into = std::slice::from_raw_parts_mut(
                result.cast::<u8>().add(varlena::VARHDRSZ),
                length as usize,
            );
            if let Err(e) = fetch_slice(toastrel, valueid, attrsize as u32, offset as usize, into) {
                e.report();
            }
        }
    })
}

/// Reads `into.len()` bytes from `offset` of a value of `total` stored bytes, opening every chunk it
/// touches. Everything is closed again before an Err is returned.
pub unsafe fn fetch_slice(
    toastrel: pg_sys::Relation,
    value: pg_sys::Oid,
    total: u32,
    offset: usize,
    into: &mut [u8],
) -> Result<(), Error> {
    if into.is_empty() {
        return Ok(());
    }
    // SAFETY: the caller holds the TOAST table open and locked.
    unsafe {
        let table = ToastTable::of(toastrel, pg_sys::AccessShareLock as i32);
        let first = offset / CHUNK_PLAIN;
        let last = (offset + into.len() - 1) / CHUNK_PLAIN;
        let mut keys = [pg_sys::ScanKeyData::default(); 3];
        let mut key = |i: usize, column: i16, strategy: u32, f: u32, value: pg_sys::Datum| {
            pg_sys::ScanKeyInit(&mut keys[i], column, strategy as u16, pg_sys::Oid::from(f), value);
        };
        use pg_sys::{
            BTEqualStrategyNumber, BTGreaterEqualStrategyNumber, BTLessEqualStrategyNumber,
        };
        key(0, 1, BTEqualStrategyNumber, pg_sys::F_OIDEQ, pg_sys::Datum::from(value));
        key(
            1,
            2,
            BTGreaterEqualStrategyNumber,
            pg_sys::F_INT4GE,
            pg_sys::Datum::from(first as i32),
        );
        key(2, 2, BTLessEqualStrategyNumber, pg_sys::F_INT4LE, pg_sys::Datum::from(last as i32));
        let mut storage = pg_sys::SnapshotData::default();
        let scan = pg_sys::systable_beginscan_ordered(
            toastrel,
            table.valid_index(),
            ffi::toast_snapshot(&mut storage),
            3,
            keys.as_mut_ptr(),
        );
        let result = copy_chunks(scan, toastrel, value, total, (first, last), offset, into);
        pg_sys::systable_endscan_ordered(scan);
        table.close_indexes(pg_sys::AccessShareLock as i32);
        result
    }
}

unsafe fn copy_chunks(
    scan: pg_sys::SysScanDesc,
    toastrel: pg_sys::Relation,
    value: pg_sys::Oid,
    total: u32,
    (first, last): (usize, usize),
    offset: usize,
    into: &mut [u8],
) -> Result<(), Error> {
    // SAFETY: an open ordered scan of chunk rows; each row stays pinned until the next is asked for.
    unsafe {
        let owner = owner_of_toast(toastrel);
        let damaged = |seq: usize| Error::DamagedChunk {
            relation: relation::name(owner),
            value: value.to_u32(),
            seq: seq as u32,
        };
        let mut plain = [0u8; CHUNK_PLAIN];
        let mut seq = first;
        loop {
            let t =
                ffi::systable_getnext_ordered(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if t.is_null() {
                break;
            }
            let (stored_seq, sealed) =
                chunk_of(t, (*toastrel).rd_att).ok_or_else(|| damaged(seq))?;
            let len = (total as usize - seq * CHUNK_PLAIN).min(CHUNK_PLAIN);
            if stored_seq as usize != seq || seq > last || sealed.len() != len + OVERHEAD {
                return Err(damaged(seq));
            }
            let id = ChunkId { value_id: value.to_u32(), seq: seq as u32, total };
            row::open_chunk(owner, &id, sealed, &mut plain[..len]).map_err(|why| match why {
                NotOpened::Damaged | NotOpened::Foreign => damaged(seq),
                NotOpened::Keyring(e) => e,
            })?;
            let begin = seq * CHUNK_PLAIN;
            let from = offset.max(begin);
            let to = (offset + into.len()).min(begin + len);
            into[from - offset..to - offset].copy_from_slice(&plain[from - begin..to - begin]);
            seq += 1;
        }
        if seq == last + 1 { Ok(()) } else { Err(damaged(seq)) }
    }
}

/// chunk_seq and chunk_data of a chunk row.
unsafe fn chunk_of<'a>(t: pg_sys::HeapTuple, desc: pg_sys::TupleDesc) -> Option<(i32, &'a [u8])> {
    // SAFETY: a row of a TOAST table: oid, int4, bytea; nothing of it is ever toasted.
    unsafe {
        let mut values = [pg_sys::Datum::null(); 3];
        let mut isnull = [true; 3];
        pg_sys::heap_deform_tuple(t, desc, values.as_mut_ptr(), isnull.as_mut_ptr());
        if isnull.contains(&true) {
            return None;
        }
        let p = values[2].cast_mut_ptr::<u8>().cast_const();
        if varlena::is_external(p) || (!varlena::is_short(p) && varlena::is_compressed(p)) {
            return None;
        }
        let data = if varlena::is_short(p) {
            std::slice::from_raw_parts(p.add(1), varlena::size_short(p) - 1)
        } else {
            std::slice::from_raw_parts(
                p.add(varlena::VARHDRSZ),
                varlena::size(p) - varlena::VARHDRSZ,
            )
        };
        Some((values[1].value() as i32, data))
    }
}

/// The table whose keys a TOAST table's chunks are sealed under.
///
/// The fetch callback gets only the TOAST table. A pg_toast_<oid> name is not proof, so the owner is
/// found the way core links them: the pg_class row whose reltoastrelid it is; remembered per
/// relation. The seal itself names the layout, and the layout the owner.
unsafe fn owner_of_toast(toastrel: pg_sys::Relation) -> pg_sys::Oid {
    debug_assert!(is_toast(toastrel));
    // SAFETY: the caller holds the TOAST table open.
    unsafe { relation::toast_owner(toastrel) }
}
