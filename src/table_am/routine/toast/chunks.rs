//! The chunks of a value: stored sealed in the TOAST table, opened again by slices.

use std::ffi::c_int;

use pgrx::pg_sys;
use sealed_crypto::{CHUNK_PLAIN, ChunkId, OVERHEAD};

use super::super::{is_toast, owner};
use crate::error::Error;
use crate::pg::call::{self, callback};
use crate::pg::tuple::{self, varlena};
use crate::pg::{ffi, relation};
use crate::table_am::mixed::{self, Kind, Mixed};
use crate::table_am::row::{self, NotOpened};

/// Bytes of a plain chunk: heap's own (`TOAST_MAX_CHUNK_SIZE`), so that heap can read what is unsealed.
const CHUNK_HEAP: usize = CHUNK_PLAIN + OVERHEAD;

/// Bytes of the value in a full chunk.
const fn piece(kind: Kind) -> usize {
    match kind {
        Kind::Plain => CHUNK_HEAP,
        Kind::Sealed => CHUNK_PLAIN,
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

    /// Hands an ordered scan of chunks `first` to `last` of a value to `f`. Ended again, unless `f` raises.
    unsafe fn scan<T>(
        &self,
        value: pg_sys::Oid,
        first: usize,
        last: usize,
        f: impl FnOnce(pg_sys::SysScanDesc) -> T,
    ) -> T {
        use pg_sys::{
            BTEqualStrategyNumber, BTGreaterEqualStrategyNumber, BTLessEqualStrategyNumber,
        };
        let mut keys = [pg_sys::ScanKeyData::default(); 3];
        let values = [
            (1, BTEqualStrategyNumber, pg_sys::F_OIDEQ, pg_sys::Datum::from(value)),
            (2, BTGreaterEqualStrategyNumber, pg_sys::F_INT4GE, pg_sys::Datum::from(first as i32)),
            (2, BTLessEqualStrategyNumber, pg_sys::F_INT4LE, pg_sys::Datum::from(last as i32)),
        ];
        let mut storage = pg_sys::SnapshotData::default();
        // SAFETY: the open table and its index; keys and snapshot outlive the scan.
        unsafe {
            for (key, (column, strategy, function, argument)) in keys.iter_mut().zip(values) {
                let function = pg_sys::Oid::from(function);
                pg_sys::ScanKeyInit(key, column, strategy as u16, function, argument);
            }
            let scan = pg_sys::systable_beginscan_ordered(
                self.rel,
                self.valid_index(),
                ffi::toast_snapshot(&mut storage),
                3,
                keys.as_mut_ptr(),
            );
            let result = f(scan);
            pg_sys::systable_endscan_ordered(scan);
            result
        }
    }

    unsafe fn new_value_id(&self) -> pg_sys::Oid {
        // SAFETY: guarded call on the open table.
        unsafe { ffi::GetNewOidWithIndex(self.rel, (*self.valid_index()).rd_id, 1) }
    }

    /// Stores one chunk.
    unsafe fn insert(
        &self,
        value: pg_sys::Oid,
        seq: u32,
        data: *mut u8,
        mark: Option<u8>,
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
            if let Some(mark) = mark {
                tuple::set_chunk_mark(t, mark);
            }
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

/// Cuts a value into chunks, sealed unless the table is being unsealed,
/// and returns the pointer to it (`toast_save_datum`).
pub unsafe fn save(
    rel: pg_sys::Relation,
    attnum: i16,
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
        let id = choose_value_id(rel, &table, oldexternal);
        to.va_valueid = id.id;
        if id.stored {
            data = &[];
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
        let mut chunk = [0u32; (varlena::VARHDRSZ + CHUNK_HEAP).div_ceil(4)];
        let chunk = chunk.as_mut_ptr().cast::<u8>();
        let mixed = mixed::of(owner(rel)).unwrap_or_else(|e| e.report());
        let kind = mixed::target(mixed);
        for (seq, part) in (0u32..).zip(data.chunks(piece(kind))) {
            call::check_for_interrupts();
            let seal = if kind == Kind::Sealed { OVERHEAD } else { 0 };
            let len = seal + part.len();
            let stored = std::slice::from_raw_parts_mut(chunk.add(varlena::VARHDRSZ), len);
            stored[seal..].copy_from_slice(part);
            let id = ChunkId { value_id: to.va_valueid.to_u32(), seq, total };
            if kind == Kind::Sealed
                && let Err(e) = row::seal_chunk(owner(rel), attnum, &id, stored)
            {
                e.report();
            }
            varlena::set_size(chunk, varlena::VARHDRSZ + len);
            table.insert(to.va_valueid, seq, chunk, mixed::mark(mixed), cid, options);
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
) -> ValueId {
    // SAFETY: as for `save`.
    unsafe {
        let rewritten = (*rel).rd_toastoid;
        if rewritten == pg_sys::InvalidOid {
            return ValueId { id: table.new_value_id(), stored: false };
        }
        if !oldexternal.is_null() && varlena::is_ondisk(oldexternal) {
            let from = varlena::pointer(oldexternal);
            if from.va_toastrelid == rewritten {
                let id = from.va_valueid;
                return ValueId { id, stored: table.has_value(id) };
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
        ValueId { id, stored: false }
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
        let wanted = Wanted { value, total, mixed: mixed::of(owner_of_toast(toastrel))? };
        // A mixed table's first chunk says how the others are cut.
        let kind = match wanted.mixed {
            None => Kind::Sealed,
            Some(_) => table.scan(value, 0, 0, |scan| wanted.first_kind(scan, toastrel))?,
        };
        let first = offset / piece(kind);
        let last = (offset + into.len() - 1) / piece(kind);
        let result = table.scan(value, first, last, |scan| {
            wanted.copy(scan, toastrel, kind, (first, last), offset, into)
        });
        table.close_indexes(pg_sys::AccessShareLock as i32);
        result
    }
}

/// A value that is being fetched.
#[derive(Clone, Copy)]
struct Wanted {
    value: pg_sys::Oid,
    /// Its stored bytes.
    total: u32,
    mixed: Option<Mixed>,
}

impl Wanted {
    fn damaged(&self, toastrel: pg_sys::Relation, seq: usize) -> Error {
        // SAFETY: an open TOAST table.
        let relation = relation::name(unsafe { owner_of_toast(toastrel) });
        Error::DamagedChunk { relation, value: self.value.to_u32(), seq: seq as u32 }
    }

    /// What the value's first chunk is.
    unsafe fn first_kind(
        &self,
        scan: pg_sys::SysScanDesc,
        toastrel: pg_sys::Relation,
    ) -> Result<Kind, Error> {
        // SAFETY: an open ordered scan of chunk rows.
        unsafe {
            let t =
                ffi::systable_getnext_ordered(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if t.is_null() {
                return Err(self.damaged(toastrel, 0));
            }
            mixed::of_chunk(self.mixed, tuple::chunk_mark(t))
                .ok_or_else(|| self.damaged(toastrel, 0))
        }
    }

    /// Opens and copies chunks `first` to `last`, which `scan` brings.
    unsafe fn copy(
        &self,
        scan: pg_sys::SysScanDesc,
        toastrel: pg_sys::Relation,
        kind: Kind,
        (first, last): (usize, usize),
        offset: usize,
        into: &mut [u8],
    ) -> Result<(), Error> {
        let Wanted { value, total, mixed } = *self;
        let (piece, seal) = (piece(kind), if kind == Kind::Sealed { OVERHEAD } else { 0 });
        // SAFETY: an open ordered scan of chunk rows; each row stays pinned until the next is asked for.
        unsafe {
            let owner = owner_of_toast(toastrel);
            let damaged = |seq: usize| self.damaged(toastrel, seq);
            let mut plain = [0u8; CHUNK_HEAP];
            let mut seq = first;
            loop {
                let t = ffi::systable_getnext_ordered(
                    scan,
                    pg_sys::ScanDirection::ForwardScanDirection,
                );
                if t.is_null() {
                    break;
                }
                let (stored_seq, stored) =
                    chunk_of(t, (*toastrel).rd_att).ok_or_else(|| damaged(seq))?;
                if stored_seq as usize != seq
                    || seq > last
                    || mixed::of_chunk(mixed, tuple::chunk_mark(t)) != Some(kind)
                {
                    return Err(damaged(seq));
                }
                let len = (total as usize - seq * piece).min(piece);
                if stored.len() != len + seal {
                    return Err(damaged(seq));
                }
                let id = ChunkId { value_id: value.to_u32(), seq: seq as u32, total };
                match kind {
                    Kind::Plain => {
                        plain[..len].copy_from_slice(stored);
                        Ok(())
                    }
                    Kind::Sealed => row::open_chunk(owner, &id, stored, &mut plain[..len]),
                }
                .map_err(|why| match why {
                    // The row that named the value was opened, so its layout is there: the chunk names another.
                    NotOpened::Damaged
                    | NotOpened::Foreign
                    | NotOpened::Keyring(Error::LayoutGone { .. }) => damaged(seq),
                    NotOpened::Keyring(e) => e,
                })?;
                let begin = seq * piece;
                let from = offset.max(begin);
                let to = (offset + into.len()).min(begin + len);
                into[from - offset..to - offset].copy_from_slice(&plain[from - begin..to - begin]);
                seq += 1;
            }
            if seq == last + 1 { Ok(()) } else { Err(damaged(seq)) }
        }
    }
}

/// Which value a stored chunk is of, and the layout it is sealed under; nothing is opened. For a page that
/// is locked: neither allocates nor raises.
pub unsafe fn chunk_layout(
    t: pg_sys::HeapTuple,
    desc: pg_sys::TupleDesc,
) -> (u32, Option<sealed_crypto::LayoutId>) {
    // SAFETY: a row of a TOAST table; heap_deform_tuple() only follows its own lengths.
    unsafe {
        let mut values = [pg_sys::Datum::null(); 3];
        let mut isnull = [true; 3];
        pg_sys::heap_deform_tuple(t, desc, values.as_mut_ptr(), isnull.as_mut_ptr());
        let value = if isnull[0] { 0 } else { values[0].value() as u32 };
        let layout =
            chunk_of(t, desc).and_then(|(_, data)| sealed_crypto::sealed_layout(data).ok());
        (value, layout)
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
        // A damaged header or length leads out of the tuple.
        let end = (*t).t_data.cast::<u8>().cast_const().add((*t).t_len as usize);
        let room = end.addr().checked_sub(p.addr()).filter(|&room| room >= varlena::VARHDRSZ)?;
        if varlena::is_external(p) || (!varlena::is_short(p) && varlena::is_compressed(p)) {
            return None;
        }
        let (head, size) = if varlena::is_short(p) {
            (1, varlena::size_short(p))
        } else {
            (varlena::VARHDRSZ, varlena::size(p))
        };
        if size < head || size > room {
            return None;
        }
        let data = std::slice::from_raw_parts(p.add(head), size - head);
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
