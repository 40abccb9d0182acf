//! The tables of schema `sealed`, read and written below SQL.
//!
//! Keys are needed inside table access method callbacks: in read-only transactions (temporary
//! tables), in the leader of a parallel plan, in the middle of a command. So nothing here runs SQL,
//! draws from a sequence or advances the command counter.

use std::cell::RefCell;
use std::ffi::CStr;

use pgrx::datum::{FromDatum, IntoDatum};
pub use pgrx::pg_sys::Oid;
use pgrx::{JsonB, PgMemoryContexts, pg_sys};

use super::{class, xact};
use crate::error::Error;
use crate::pg::local::backend_local;

/// A table of schema `sealed`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Table {
    /// Where root secrets live.
    KeyProvider,
    /// Master keys with their wrapped seeds.
    MasterKey,
    /// Data keys, without their bytes.
    DataKey,
    /// The bytes of a data key, wrapped to one master key or recipient each.
    DataKeyWrap,
    /// Escrow public keys.
    Recipient,
    /// How rows of a table are sealed.
    Layout,
    /// Sealed values of columns that rows were written without.
    MissingValue,
    /// Tables that hold plain and sealed rows.
    Mixed,
    /// Who did what to which key, chained.
    Audit,
    /// The same of prepared transactions, not yet chained.
    AuditPending,
    /// Background operations on tables.
    Operation,
    /// Up to where the WAL holds rows of a table in plaintext.
    PlaintextWal,
    /// Keys that columns of tables share.
    ColumnKey,
    /// Roles that may open what is under a column key.
    ColumnKeyGrant,
}

const TABLES: usize = 14;

impl Table {
    const fn name(self) -> &'static CStr {
        match self {
            Self::KeyProvider => c"key_provider",
            Self::MasterKey => c"master_key",
            Self::DataKey => c"data_key",
            Self::DataKeyWrap => c"data_key_wrap",
            Self::Recipient => c"recipient",
            Self::Layout => c"layout",
            Self::MissingValue => c"missing_value",
            Self::Mixed => c"mixed_table",
            Self::Audit => c"audit",
            Self::AuditPending => c"audit_pending",
            Self::Operation => c"operation",
            Self::PlaintextWal => c"plaintext_wal",
            Self::ColumnKey => c"column_key",
            Self::ColumnKeyGrant => c"column_key_grant",
        }
    }
}

/// An index of one of the tables, by its name in schema `sealed`.
pub type Index = &'static CStr;

/// One column value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// SQL null.
    Null,
    /// boolean
    Bool(bool),
    /// smallint
    Int2(i16),
    /// integer
    Int4(i32),
    /// bigint
    Int8(i64),
    /// oid
    Oid(Oid),
    /// uuid
    Uuid([u8; 16]),
    /// text
    Text(String),
    /// bytea
    Bytes(Vec<u8>),
    /// timestamptz, microseconds since 2000
    Time(i64),
    /// jsonb
    Json(serde_json::Value),
    /// pg_lsn
    Lsn(u64),
}

/// What a scan may see.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// What is committed now, and what earlier commands of this transaction wrote.
    Committed,
    /// That, and what the current command wrote. Only for tables whose rows are never changed: a
    /// row replaced while the scan runs could be missed.
    Own,
    /// That, and what transactions still in progress wrote. PostgreSQL itself reads rows of such
    /// transactions (ON CONFLICT, exclusion constraints), and their keys may be as young.
    InProgress,
}

/// A row that was read.
#[derive(Debug)]
pub struct Row {
    table: Table,
    values: Vec<Value>,
    place: pg_sys::ItemPointerData,
    /// Written by this very transaction, so it may still vanish.
    pub uncommitted: bool,
}

macro_rules! accessor {
    ($name:ident, $variant:ident, $type:ty) => {
        #[doc = concat!("Column `at` (from 0), which must be a `", stringify!($variant), "`.")]
        pub fn $name(&self, at: usize) -> Result<$type, Error> {
            match self.values.get(at) {
                Some(Value::$variant(value)) => Ok(value.clone()),
                _ => Err(self.misshapen()),
            }
        }
    };
}

impl Row {
    accessor!(int2, Int2, i16);
    accessor!(int4, Int4, i32);
    accessor!(int8, Int8, i64);
    accessor!(time, Time, i64);
    accessor!(oid, Oid, Oid);
    accessor!(uuid, Uuid, [u8; 16]);
    accessor!(text, Text, String);
    accessor!(bytes, Bytes, Vec<u8>);
    accessor!(json, Json, serde_json::Value);

    /// All columns, in order.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The error for a row whose columns are not what this version of the library expects.
    pub fn misshapen(&self) -> Error {
        Error::CatalogShape { table: self.table.name().to_string_lossy().into_owned() }
    }
}

backend_local! {
    static OIDS: RefCell<[Option<Oid>; TABLES]> = const { RefCell::new([None; TABLES]) };
}

/// Forgets where the tables are, if `relation` is one of them or unknown.
pub fn forget(relation: Option<Oid>) {
    OIDS.with_borrow_mut(|oids| {
        for oid in oids.iter_mut() {
            if relation.is_none() || *oid == relation {
                *oid = None;
            }
        }
    });
}

/// Whether a change of `relation` (of any, without one) may be one of the table.
pub fn may_be(table: Table, relation: Option<Oid>) -> bool {
    relation.is_none() || OIDS.with_borrow(|oids| oids[table as usize]) == relation
}

/// Whether the extension is there, in this database.
pub fn installed() -> bool {
    resolve(Table::Layout).is_some()
}

/// The table's OID, if it exists and belongs to this extension.
///
/// Somebody else's `sealed.layout` must not be taken for ours: its columns could be anything.
fn resolve(table: Table) -> Option<Oid> {
    let cached = OIDS.with_borrow(|oids| oids[table as usize]);
    if cached.is_some() {
        return cached;
    }
    let oid = relation_in_schema(table.name())?;
    // SAFETY: scans pg_depend; needs the transaction that every caller of catalog code has.
    let owner = unsafe { pg_sys::getExtensionOfObject(pg_sys::RelationRelationId, oid) };
    if owner == Oid::INVALID {
        return None;
    }
    // SAFETY: reads the system catalogs; a missing extension is an invalid OID.
    let ours = unsafe { pg_sys::get_extension_oid(c"pg_sealed".as_ptr(), true) };
    if owner != ours {
        return None;
    }
    OIDS.with_borrow_mut(|oids| oids[table as usize] = Some(oid));
    Some(oid)
}

/// Whether a schema is the one of the keys.
pub fn is_ours(schema: Oid) -> bool {
    // SAFETY: a system cache look-up; a missing schema is an invalid OID.
    let ours = unsafe { pg_sys::get_namespace_oid(c"sealed".as_ptr(), true) };
    ours != Oid::INVALID && ours == schema
}

fn relation_in_schema(name: &CStr) -> Option<Oid> {
    // SAFETY: system cache look-ups by name; what is missing is an invalid OID.
    let schema = unsafe { pg_sys::get_namespace_oid(c"sealed".as_ptr(), true) };
    if schema == Oid::INVALID {
        return None;
    }
    // SAFETY: as above.
    let oid = unsafe { pg_sys::get_relname_relid(name.as_ptr(), schema) };
    (oid != Oid::INVALID).then_some(oid)
}

/// An open table; closed when dropped.
struct Open {
    relation: pg_sys::Relation,
    table: Table,
    keep_lock: bool,
}

impl Open {
    fn with_lock(table: Table, lock: u32, keep_lock: bool) -> Result<Self, Error> {
        if !xact::is_preloaded() {
            return Err(Error::NotPreloaded);
        }
        let oid = resolve(table).ok_or(Error::NotInstalled)?;
        // SAFETY: opens by OID; raises an ERROR if it was dropped meanwhile.
        let relation = unsafe { pg_sys::table_open(oid, lock as pg_sys::LOCKMODE) };
        Ok(Self { relation, table, keep_lock })
    }

    fn reading(table: Table) -> Result<Self, Error> {
        Self::with_lock(table, pg_sys::AccessShareLock, false)
    }

    /// The lock is kept to the end of the transaction: a rotation that waits for it sees our rows.
    fn writing(table: Table) -> Result<Self, Error> {
        Self::with_lock(table, pg_sys::RowExclusiveLock, true)
    }

    fn descriptor(&self) -> pg_sys::TupleDesc {
        // SAFETY: the relation is open, so its descriptor is there and stays.
        unsafe { (*self.relation).rd_att }
    }

    fn width(&self) -> usize {
        // SAFETY: the descriptor of an open relation.
        unsafe { (*self.descriptor()).natts as usize }
    }

    fn type_of(&self, at: usize) -> Oid {
        // The system cache, and not the descriptor, whose attributes moved in PostgreSQL 18.
        // SAFETY: a cache look-up; a column that is not there has no type.
        unsafe { pg_sys::get_atttype((*self.relation).rd_id, at as pg_sys::AttrNumber + 1) }
    }

    fn misshapen(&self) -> Error {
        Error::CatalogShape { table: self.table.name().to_string_lossy().into_owned() }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // While an ERROR unwinds, the resource owner is what closes it.
        if std::thread::panicking() {
            return;
        }
        let lock = if self.keep_lock { pg_sys::NoLock } else { pg_sys::AccessShareLock };
        // SAFETY: opened by us and not closed before.
        unsafe { pg_sys::table_close(self.relation, lock as pg_sys::LOCKMODE) };
    }
}

/// Announces that this transaction writes to `table`; waits for who keeps writers out.
pub fn lock_for_writing(table: Table) -> Result<(), Error> {
    Open::writing(table).map(drop)
}

/// Makes writers of `table` wait until this transaction ends; waits for those that are at it.
pub fn lock_against_writers(table: Table) -> Result<(), Error> {
    Open::with_lock(table, pg_sys::ShareRowExclusiveLock, true).map(drop)
}

/// The rows whose columns (attribute numbers, from 1) equal the keys.
pub fn scan(
    table: Table,
    index: Option<Index>,
    keys: &[(i16, Value)],
    view: View,
) -> Result<Vec<Row>, Error> {
    in_own_memory(|| {
        let open = Open::reading(table)?;
        let mut scan_keys = Vec::with_capacity(keys.len());
        for (attribute, value) in keys {
            scan_keys.push(scan_key(*attribute, value).ok_or_else(|| open.misshapen())?);
        }
        let index_oid = index.and_then(relation_in_schema);
        let mut dirty = pg_sys::SnapshotData {
            snapshot_type: pg_sys::SnapshotType::SNAPSHOT_DIRTY,
            ..Default::default()
        };
        let snapshot = match view {
            View::Committed => std::ptr::null_mut(),
            View::Own => &raw mut pg_sys::SnapshotSelfData,
            // It is written to: who is in progress is noted in it.
            View::InProgress => &raw mut dirty,
        };
        let count = i32::try_from(scan_keys.len()).map_err(|_| open.misshapen())?;
        // SAFETY: the keys name columns with the operators of their types and outlive the scan; a
        // null snapshot means a fresh one of the catalogs, as these tables have no system cache.
        let scan = unsafe {
            pg_sys::systable_beginscan(
                open.relation,
                index_oid.unwrap_or(Oid::INVALID),
                index_oid.is_some(),
                snapshot,
                count,
                scan_keys.as_mut_ptr(),
            )
        };
        let mut rows = Vec::new();
        loop {
            // SAFETY: the scan is open; the tuple is good until the next call.
            let tuple = unsafe { pg_sys::systable_getnext(scan) };
            if tuple.is_null() {
                break;
            }
            rows.push(read_row(&open, tuple));
        }
        // SAFETY: ends the scan begun above, once.
        unsafe { pg_sys::systable_endscan(scan) };
        rows.into_iter().collect()
    })
}

/// In which order an index is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// From its first entry.
    Ascending,
    /// From its last.
    Descending,
}

/// Calls `f` with every row in the order of an index, until it says that it has seen enough.
///
/// Ascending sees what is committed at its begin, descending what is committed now: to find the last row
/// of a table whose writers are kept out, without a trace for serializable transactions to stumble over.
pub fn in_order(
    table: Table,
    index: Index,
    order: Order,
    mut f: impl FnMut(Row) -> Result<bool, Error>,
) -> Result<(), Error> {
    in_own_memory(|| {
        let open = Open::reading(table)?;
        let index = relation_in_schema(index).ok_or_else(|| open.misshapen())?;
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        let (snapshot, direction) = match order {
            Order::Ascending => (std::ptr::null_mut(), pg_sys::ScanDirection::ForwardScanDirection),
            Order::Descending => {
                (&raw mut pg_sys::SnapshotSelfData, pg_sys::ScanDirection::BackwardScanDirection)
            }
        };
        // SAFETY: opens by OID; raises an ERROR if it was dropped meanwhile.
        let index = unsafe { pg_sys::index_open(index, lock) };
        // SAFETY: both are open; no keys; a null snapshot means a fresh one of the catalogs, which the
        // scan registers.
        let scan = unsafe {
            pg_sys::systable_beginscan_ordered(
                open.relation,
                index,
                snapshot,
                0,
                std::ptr::null_mut(),
            )
        };
        let mut outcome = Ok(true);
        while matches!(outcome, Ok(true)) {
            // SAFETY: the scan is open; the tuple is good until the next call.
            let tuple = unsafe { pg_sys::systable_getnext_ordered(scan, direction) };
            if tuple.is_null() {
                break;
            }
            outcome = read_row(&open, tuple).and_then(&mut f);
        }
        // SAFETY: ends the scan begun above, once; then the index is closed, its lock released.
        unsafe {
            pg_sys::systable_endscan_ordered(scan);
            pg_sys::index_close(index, lock);
        }
        outcome.map(drop)
    })
}

/// Adds a row, with all its columns in order.
pub fn insert(table: Table, values: &[Value]) -> Result<(), Error> {
    in_own_memory(|| {
        let open = Open::writing(table)?;
        let tuple = form(&open, values)?;
        // SAFETY: a tuple formed by the table's own descriptor; the indexes are kept in step.
        unsafe { pg_sys::CatalogTupleInsert(open.relation, tuple) };
        Ok(())
    })
}

/// Puts new values in place of a row's that was read with `View::Committed`.
pub fn update(row: &Row, values: &[Value]) -> Result<(), Error> {
    in_own_memory(|| {
        let open = Open::writing(row.table)?;
        let tuple = form(&open, values)?;
        let mut place = row.place;
        // SAFETY: the place of a row of this table; an ERROR says if it changed meanwhile.
        unsafe { pg_sys::CatalogTupleUpdate(open.relation, &mut place, tuple) };
        Ok(())
    })
}

/// Removes a row that was read with `View::Committed`.
pub fn delete(row: &Row) -> Result<(), Error> {
    let open = Open::writing(row.table)?;
    let mut place = row.place;
    // SAFETY: the place of a row of this table; an ERROR says if it changed meanwhile.
    unsafe { pg_sys::CatalogTupleDelete(open.relation, &mut place) };
    Ok(())
}

/// Makes the transaction's earlier writes visible to its next reads; for SQL functions only.
pub fn advance_command() {
    // SAFETY: legal outside of parallel mode, where the functions that call it are not allowed.
    unsafe { pg_sys::CommandCounterIncrement() };
}

/// Tells every backend that what it knows about the relation is out of date, at commit.
pub fn relation_changed(relation: Oid) {
    // SAFETY: queues an invalidation message; the caller holds a lock on the relation.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(relation) };
}

/// The same about a table of ours, which the caller has locked for writing.
pub fn table_changed(table: Table) -> Result<(), Error> {
    relation_changed(resolve(table).ok_or(Error::NotInstalled)?);
    Ok(())
}

fn in_own_memory<R>(f: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
    // SAFETY: a result holds Rust memory only, nothing that dies with the context.
    unsafe { PgMemoryContexts::new("pg_sealed catalog access").switch_to(move |_| f()) }
}

fn scan_key(attribute: i16, value: &Value) -> Option<pg_sys::ScanKeyData> {
    let operator = match value {
        Value::Oid(_) => pg_sys::F_OIDEQ,
        Value::Int4(_) => pg_sys::F_INT4EQ,
        Value::Uuid(_) => pg_sys::F_UUID_EQ,
        Value::Text(_) => pg_sys::F_TEXTEQ,
        _ => return None,
    };
    Some(class::equals(attribute, operator, datum(value)?))
}

/// The value as a datum in the current memory context; `None` for null.
fn datum(value: &Value) -> Option<pg_sys::Datum> {
    match value {
        Value::Null => None,
        Value::Bool(v) => v.into_datum(),
        Value::Int2(v) => v.into_datum(),
        Value::Int4(v) => v.into_datum(),
        Value::Int8(v) => v.into_datum(),
        // (`into_datum` has 0, which belongs to no object, as null)
        Value::Oid(v) => Some(pg_sys::Datum::from(*v)),
        Value::Uuid(v) => pgrx::Uuid::from_bytes(*v).into_datum(),
        Value::Text(v) => v.as_str().into_datum(),
        Value::Bytes(v) => v.as_slice().into_datum(),
        Value::Time(v) => Some(pg_sys::Datum::from(*v)),
        Value::Lsn(v) => Some(pg_sys::Datum::from(*v)),
        Value::Json(v) => JsonB(v.clone()).into_datum(),
    }
}

fn type_matches(value: &Value, of: Oid) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(_) => of == pg_sys::BOOLOID,
        Value::Int2(_) => of == pg_sys::INT2OID,
        Value::Int4(_) => of == pg_sys::INT4OID,
        Value::Int8(_) => of == pg_sys::INT8OID,
        Value::Oid(_) => of == pg_sys::OIDOID,
        Value::Uuid(_) => of == pg_sys::UUIDOID,
        Value::Text(_) => of == pg_sys::TEXTOID,
        Value::Bytes(_) => of == pg_sys::BYTEAOID,
        Value::Time(_) => of == pg_sys::TIMESTAMPTZOID,
        Value::Lsn(_) => of == pg_sys::PG_LSNOID,
        Value::Json(_) => of == pg_sys::JSONBOID,
    }
}

fn form(open: &Open, values: &[Value]) -> Result<pg_sys::HeapTuple, Error> {
    if values.len() != open.width() {
        return Err(open.misshapen());
    }
    let mut datums = Vec::with_capacity(values.len());
    let mut nulls = Vec::with_capacity(values.len());
    for (at, value) in values.iter().enumerate() {
        if !type_matches(value, open.type_of(at)) {
            return Err(open.misshapen());
        }
        let datum = datum(value);
        nulls.push(datum.is_none());
        datums.push(datum.unwrap_or(pg_sys::Datum::null()));
    }
    // SAFETY: one datum of the right type for each column of the descriptor.
    Ok(unsafe {
        pg_sys::heap_form_tuple(open.descriptor(), datums.as_mut_ptr(), nulls.as_mut_ptr())
    })
}

fn read_row(open: &Open, tuple: pg_sys::HeapTuple) -> Result<Row, Error> {
    let width = open.width();
    let mut datums = vec![pg_sys::Datum::null(); width];
    let mut nulls = vec![true; width];
    // SAFETY: a tuple of this relation and one place for each of its columns.
    unsafe {
        pg_sys::heap_deform_tuple(tuple, open.descriptor(), datums.as_mut_ptr(), nulls.as_mut_ptr())
    };
    let mut values = Vec::with_capacity(width);
    for (at, (datum, null)) in datums.into_iter().zip(nulls).enumerate() {
        values.push(value(datum, null, open.type_of(at)).ok_or_else(|| open.misshapen())?);
    }
    // SAFETY: the tuple is good until the scan moves on.
    let (place, header) = unsafe { ((*tuple).t_self, &*(*tuple).t_data) };
    let uncommitted = {
        let frozen = (pg_sys::HEAP_XMIN_COMMITTED | pg_sys::HEAP_XMIN_INVALID) as u16;
        // SAFETY: a stored tuple has the heap form of this union, never a datum's.
        let xmin = unsafe { header.t_choice.t_heap.t_xmin };
        // SAFETY: looks at this backend's own transaction state.
        header.t_infomask & frozen != frozen
            && unsafe { pg_sys::TransactionIdIsCurrentTransactionId(xmin) }
    };
    Ok(Row { table: open.table, values, place, uncommitted })
}

fn value(datum: pg_sys::Datum, null: bool, of: Oid) -> Option<Value> {
    if null {
        return Some(Value::Null);
    }
    match of {
        // SAFETY: not null, and of the type that the column's descriptor says.
        pg_sys::BOOLOID => unsafe { bool::from_datum(datum, false) }.map(Value::Bool),
        // SAFETY: as above.
        pg_sys::INT2OID => unsafe { i16::from_datum(datum, false) }.map(Value::Int2),
        // SAFETY: as above.
        pg_sys::INT4OID => unsafe { i32::from_datum(datum, false) }.map(Value::Int4),
        // SAFETY: as above.
        pg_sys::INT8OID => unsafe { i64::from_datum(datum, false) }.map(Value::Int8),
        // SAFETY: as above.
        pg_sys::OIDOID => unsafe { Oid::from_datum(datum, false) }.map(Value::Oid),
        pg_sys::UUIDOID => {
            // SAFETY: as above.
            let uuid = unsafe { pgrx::Uuid::from_datum(datum, false) };
            uuid.map(|uuid| Value::Uuid(*uuid.as_bytes()))
        }
        // SAFETY: as above.
        pg_sys::TEXTOID => unsafe { String::from_datum(datum, false) }.map(Value::Text),
        // SAFETY: as above.
        pg_sys::BYTEAOID => unsafe { Vec::<u8>::from_datum(datum, false) }.map(Value::Bytes),
        pg_sys::TIMESTAMPTZOID => Some(Value::Time(datum.value() as i64)),
        pg_sys::PG_LSNOID => Some(Value::Lsn(datum.value() as u64)),
        // SAFETY: as above.
        pg_sys::JSONBOID => unsafe { JsonB::from_datum(datum, false) }.map(|v| Value::Json(v.0)),
        _ => None,
    }
}
