//! What pg_class, pg_publication and pg_index say about relations.

use std::ffi::CStr;

use pgrx::pg_sys::ffi::pg_guard_ffi_boundary as guard;
use pgrx::pg_sys::{self, Oid};

pub use pgrx::pg_sys::Relation;

/// One row of pg_class.
#[derive(Clone, Debug)]
pub struct Class {
    /// The relation.
    pub oid: Oid,
    /// Its name, without the schema.
    pub name: String,
    /// Its schema.
    pub schema: Oid,
    /// Its owner.
    pub owner: Oid,
    /// Its access method.
    pub access_method: Oid,
    /// One of `pg_class.relkind`.
    pub kind: u8,
    /// The relation whose new storage this one is to become, if it is such a transient table.
    pub rewrites: Option<Oid>,
    /// Neither temporary nor unlogged.
    pub permanent: bool,
    /// One session's own.
    pub temporary: bool,
}

impl Class {
    /// An ordinary table, also a partition.
    pub fn is_table(&self) -> bool {
        self.kind == pg_sys::RELKIND_RELATION
    }

    /// A table whose rows are in its partitions.
    pub fn is_partitioned(&self) -> bool {
        self.kind == pg_sys::RELKIND_PARTITIONED_TABLE
    }

    /// Made by initdb (`FirstNormalObjectId` of `access/transam.h`).
    pub fn of_system(&self) -> bool {
        self.oid.to_u32() < pg_sys::FirstNormalObjectId
    }

    /// An ordinary table or a materialized view: what can be sealed and dropped with its keys.
    pub fn has_rows(&self) -> bool {
        self.kind == pg_sys::RELKIND_RELATION || self.kind == pg_sys::RELKIND_MATVIEW
    }
}

/// The OID of an open relation.
#[allow(clippy::not_unsafe_ptr_arg_deref)]
pub fn oid_of(relation: Relation) -> Oid {
    // SAFETY: a Relation is only ever had by opening one; callers hold it open.
    unsafe { (*relation).rd_id }
}

/// The relation, also if the current command made it just now.
pub fn class(relation: Oid) -> Option<Class> {
    // A null snapshot would miss what the current command wrote; nobody changes it under us.
    let own = &raw mut pg_sys::SnapshotSelfData;
    let key = (pg_sys::Anum_pg_class_oid, pg_sys::F_OIDEQ, pg_sys::Datum::from(relation));
    scan_class(Some(pg_sys::ClassOidIndexId), own, &[key]).pop()
}

/// All permanent ordinary tables with an access method, in one schema or in all, by name.
pub fn tables_with_method(method: Oid, schema: Option<Oid>) -> Vec<Class> {
    let mut keys =
        vec![(pg_sys::Anum_pg_class_relam, pg_sys::F_OIDEQ, pg_sys::Datum::from(method))];
    if let Some(schema) = schema {
        let schema = pg_sys::Datum::from(schema);
        keys.push((pg_sys::Anum_pg_class_relnamespace, pg_sys::F_OIDEQ, schema));
    }
    let mut found = scan_class(None, std::ptr::null_mut(), &keys);
    found.retain(|c| c.permanent && c.is_table());
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn scan_class(
    index: Option<u32>,
    snapshot: pg_sys::Snapshot,
    conditions: &[(u32, u32, pg_sys::Datum)],
) -> Vec<Class> {
    let mut keys: Vec<_> = conditions
        .iter()
        .map(|(attribute, operator, argument)| equals(*attribute as i16, *operator, *argument))
        .collect();
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: pg_class is always there.
    let pg_class = unsafe { pg_sys::table_open(pg_sys::RelationRelationId, lock) };
    // SAFETY: the keys are on OID columns of pg_class and outlive the scan.
    let scan = unsafe {
        pg_sys::systable_beginscan(
            pg_class,
            Oid::from(index.unwrap_or(0)),
            index.is_some(),
            snapshot,
            keys.len() as i32,
            keys.as_mut_ptr(),
        )
    };
    let mut found = Vec::new();
    loop {
        // SAFETY: the scan is open; the tuple is good until the next call.
        let tuple = unsafe { pg_sys::systable_getnext(scan) };
        if tuple.is_null() {
            break;
        }
        // SAFETY: the fixed part of a pg_class tuple has the form of this struct.
        let form = unsafe { &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_class>() };
        found.push(Class {
            oid: form.oid,
            name: name(&form.relname),
            schema: form.relnamespace,
            owner: form.relowner,
            access_method: form.relam,
            kind: form.relkind as u8,
            rewrites: valid(form.relrewrite),
            permanent: form.relpersistence as u8 == pg_sys::RELPERSISTENCE_PERMANENT,
            temporary: form.relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP,
        });
    }
    // SAFETY: ends the scan begun above, once.
    unsafe { pg_sys::systable_endscan(scan) };
    // SAFETY: closes what was opened above, once.
    unsafe { pg_sys::table_close(pg_class, lock) };
    found
}

/// A condition of a catalog scan: the column (attribute number, from 1) equals the argument by a built-in
/// function, one of `pg_sys::F_*EQ`.
pub fn equals(attribute: i16, operator: u32, argument: pg_sys::Datum) -> pg_sys::ScanKeyData {
    let mut key = pg_sys::ScanKeyData::default();
    let equal = pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber;
    // SAFETY: fills in the key; looks up a built-in function.
    unsafe { pg_sys::ScanKeyInit(&mut key, attribute, equal, Oid::from(operator), argument) };
    key
}

fn name(data: &pg_sys::NameData) -> String {
    // SAFETY: a name column always ends with a zero byte within its 64.
    unsafe { CStr::from_ptr(data.data.as_ptr()) }.to_string_lossy().into_owned()
}

/// The table access method of this name.
pub fn table_method(name: &CStr) -> Option<Oid> {
    // SAFETY: a system cache look-up; a missing one is an invalid OID.
    valid(unsafe { pg_sys::get_table_am_oid(name.as_ptr(), true) })
}

/// The OID of an index access method, if it is there.
pub fn index_method(name: &CStr) -> Option<Oid> {
    // SAFETY: a system cache look-up; a missing one is an invalid OID.
    valid(unsafe { pg_sys::get_index_am_oid(name.as_ptr(), true) })
}

/// The access method that new tables get when none is named.
pub fn default_table_method() -> Option<Oid> {
    // SAFETY: the string of a setting, never null; it is only read here.
    let name = unsafe { CStr::from_ptr(pg_sys::default_table_access_method) };
    table_method(name)
}

/// The relation and all that inherit from it, partitions included.
pub fn with_inheritors(relation: Oid) -> Vec<Oid> {
    let lock = pg_sys::NoLock as pg_sys::LOCKMODE;
    // SAFETY: reads pg_inherits; returns a list of OIDs that includes the relation.
    let list = unsafe { guard(|| raw::find_all_inheritors(relation, lock, std::ptr::null_mut())) };
    oids(list)
}

/// What a command on a table reaches that says nothing of what only inherits from it: a partitioned table and all
/// below it, or the table alone.
pub fn with_partitions(relation: Oid) -> Vec<Oid> {
    match class(relation) {
        Some(class) if class.is_partitioned() => with_inheritors(relation),
        _ => vec![relation],
    }
}

/// The partitioned tables that a partition belongs to, nearest first.
pub fn partition_ancestors(relation: Oid) -> Vec<Oid> {
    // SAFETY: reads pg_inherits; a relation that is no partition has an empty list.
    oids(unsafe { guard(|| raw::get_partition_ancestors(relation)) })
}

/// The names of the publications that name the relation, its schema, or all tables.
pub fn publications(relation: Oid, schema: Oid) -> Vec<String> {
    let mut found = schema_publications(schema);
    // SAFETY: a system cache list look-up.
    found.extend(publication_names(unsafe { pg_sys::GetRelationPublications(relation) }));
    found
}

/// The names of the publications of a schema or of all tables.
pub fn schema_publications(schema: Oid) -> Vec<String> {
    // SAFETY: a scan of pg_publication.
    let mut found = publication_names(unsafe { pg_sys::GetAllTablesPublications() });
    // SAFETY: a system cache list look-up.
    found.extend(publication_names(unsafe { pg_sys::GetSchemaPublications(schema) }));
    found
}

fn publication_names(list: *mut pg_sys::List) -> Vec<String> {
    oids(list)
        .into_iter()
        .filter_map(|oid| {
            // SAFETY: a system cache look-up; null if it was dropped meanwhile.
            let name = unsafe { pg_sys::get_publication_name(oid, true) };
            // SAFETY: not null, so a palloc'd C string.
            (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_string_lossy().into())
        })
        .collect()
}

/// The constraint that an index belongs to, if any.
pub fn has_constraint(index: Oid) -> bool {
    // SAFETY: reads pg_depend.
    valid(unsafe { pg_sys::get_index_constraint(index) }).is_some()
}

/// What the policy on plaintext indexes asks about an index.
pub struct Index {
    /// The index.
    pub oid: Oid,
    /// Of a PRIMARY KEY or UNIQUE constraint.
    pub unique_constraint: bool,
    /// The numbers of its columns, 0 for an expression; those of its predicate are not among them.
    pub columns: Vec<i16>,
    /// It has a predicate.
    pub partial: bool,
    /// Its access method.
    pub method: Oid,
    /// It is that of an exclusion constraint.
    pub exclusion: bool,
}

/// The indexes of a table.
pub fn indexes(table: Oid) -> Vec<Index> {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: opens by OID; raises an ERROR if it is gone.
    let relation = unsafe { pg_sys::table_open(table, lock) };
    // SAFETY: the relation is open; the list is a copy.
    let list = oids(unsafe { pg_sys::RelationGetIndexList(relation) });
    // SAFETY: opened above. The lock stays until the transaction ends.
    unsafe { pg_sys::table_close(relation, pg_sys::NoLock as pg_sys::LOCKMODE) };
    list.into_iter().map(index).collect()
}

/// Facts about one index.
pub fn index(oid: Oid) -> Index {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: opens by OID; raises an ERROR if it is gone.
    let relation = unsafe { pg_sys::index_open(oid, lock) };
    // SAFETY: an open index has its pg_index row.
    let form = unsafe { &*(*relation).rd_index };
    let unique = form.indisunique && !form.indisexclusion;
    let (primary, exclusion) = (form.indisprimary, form.indisexclusion);
    // SAFETY: an open index; the array has so many numbers, and the predicate is a list or null.
    let (columns, partial) = unsafe {
        let keys = std::slice::from_raw_parts(form.indkey.values.as_ptr(), form.indnatts as usize);
        (keys.to_vec(), !pg_sys::RelationGetIndexPredicate(relation).is_null())
    };
    // SAFETY: an open index.
    let method = unsafe { (*(*relation).rd_rel).relam };
    // SAFETY: opened above. The lock stays until the transaction ends.
    unsafe { pg_sys::index_close(relation, pg_sys::NoLock as pg_sys::LOCKMODE) };
    let unique_constraint = primary || (unique && has_constraint(oid));
    Index { oid, unique_constraint, columns, partial, method, exclusion }
}

/// Whether the index is being rebuilt, having been there before.
pub fn being_reindexed(index: Oid) -> bool {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::ReindexIsProcessingIndex(index) }
}

/// Whether an open relation was made by the running transaction.
pub fn is_new(relation: Relation) -> bool {
    // SAFETY: a Relation is only ever had by opening one; callers hold it open. 0 is `InvalidSubTransactionId`.
    unsafe { (*relation).rd_createSubid != 0 }
}

/// Removes what ANALYZE has stored about a table's values, extended statistics included.
pub fn remove_statistics(table: Oid) {
    // SAFETY: deletes from pg_statistic in this transaction; the caller holds a lock on the table.
    unsafe { pg_sys::RemoveStatistics(table, 0) };
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: opens by OID; raises an ERROR if it is gone.
    let relation = unsafe { pg_sys::table_open(table, lock) };
    // SAFETY: the relation is open; the list is a copy.
    let extended = oids(unsafe { pg_sys::RelationGetStatExtList(relation) });
    // SAFETY: opened above. The lock stays until the transaction ends.
    unsafe { pg_sys::table_close(relation, pg_sys::NoLock as pg_sys::LOCKMODE) };
    for statistics in extended {
        for inherited in [false, true] {
            // SAFETY: deletes the row if it is there.
            unsafe { pg_sys::RemoveStatisticsDataById(statistics, inherited) };
        }
    }
}

/// Keeps a table from being dropped or changed while its data key is rotated; rows may be written.
pub fn lock_for_rotation(table: Oid) {
    let lock = pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: an unknown OID is locked for nothing; an ERROR (cancel, deadlock) leaves no lock.
    unsafe { pg_sys::LockRelationOid(table, lock) };
}

/// Waits for those who write to a table, and keeps others from it, to the end of the transaction.
pub fn lock_against_writers(table: Oid) {
    let lock = pg_sys::ShareRowExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: as above.
    unsafe { pg_sys::LockRelationOid(table, lock) };
}

/// The number of a column, by its name; none of a column that was dropped, nor of a system column.
pub fn column_number(relation: Oid, name: &str) -> Option<i16> {
    let name = std::ffi::CString::new(name).ok()?;
    // SAFETY: a system cache look-up; 0 (`InvalidAttrNumber`) if there is none.
    let number = unsafe { pg_sys::get_attnum(relation, name.as_ptr()) };
    (number > 0).then_some(number)
}

/// Whether the server makes the values of a column up, so that they say no more than that a row is there: an identity
/// column, or one whose default is the next value of a sequence or a random UUID.
pub fn is_surrogate(table: Oid, number: i16) -> bool {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: opens by OID, with a column that is there; an ERROR leaves it to the resource owner. The default is a copy, null
    // if there is none, and the tag says which struct it is.
    unsafe {
        let relation = pg_sys::table_open(table, lock);
        let attribute = &*super::tuple::attribute((*relation).rd_att, number as usize - 1);
        let mut surrogate = attribute.attidentity != 0;
        // (While its table is being made an identity column has no sequence yet, which the default would be looked for in.)
        if !surrogate && attribute.attgenerated == 0 {
            let default = pg_sys::build_column_default(relation, number.into());
            let default = pg_sys::strip_implicit_coercions(default);
            surrogate = default.as_ref().is_some_and(|node| {
                node.type_ == pg_sys::NodeTag::T_FuncExpr
                    && makes_surrogates(&*default.cast::<pg_sys::FuncExpr>())
            });
        }
        pg_sys::table_close(relation, lock);
        surrogate
    }
}

unsafe fn makes_surrogates(call: &pg_sys::FuncExpr) -> bool {
    match call.funcid.to_u32() {
        pg_sys::F_NEXTVAL | pg_sys::F_GEN_RANDOM_UUID => true,
        // SAFETY: a system cache look-up; null if there is none, else palloc'd. The one of uuid-ossp, in whatever schema.
        _ => unsafe {
            let name = pg_sys::get_func_name(call.funcid);
            call.funcresulttype == pg_sys::UUIDOID
                && !name.is_null()
                && CStr::from_ptr(name) == c"uuid_generate_v4"
        },
    }
}

/// The name of a column, by its number.
pub fn column_name(relation: Oid, number: i16) -> Option<String> {
    // SAFETY: a system cache look-up; null if there is no such column, else palloc'd.
    unsafe {
        let name = pg_sys::get_attname(relation, number, true);
        (!name.is_null()).then(|| std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}

/// Whether a relation is temporary, so that only its own session can read its pages.
pub fn is_temporary(relation: Oid) -> bool {
    // SAFETY: a system cache look-up; 0 if there is none.
    let persistence = unsafe { pg_sys::get_rel_persistence(relation) };
    persistence as u8 == pg_sys::RELPERSISTENCE_TEMP
}

/// Keeps everybody else off a table, to the end of the transaction.
pub fn lock_exclusively(table: Oid) {
    let lock = pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: an unknown OID is locked for nothing; an ERROR (cancel, deadlock) leaves no lock.
    unsafe { pg_sys::LockRelationOid(table, lock) };
}

/// Catalogs that keep values of tables' columns: pg_statistic, pg_statistic_ext_data, pg_attribute.
pub const KEPT_VALUES_OF: [Oid; 3] =
    [Oid::from_u32(2619), Oid::from_u32(3429), Oid::from_u32(1249)];
/// The same with their TOAST tables, as far as they have one in every version.
pub const KEPT_VALUES: [Oid; 5] = [
    Oid::from_u32(2619),
    Oid::from_u32(2840),
    Oid::from_u32(3429),
    Oid::from_u32(3430),
    Oid::from_u32(1249),
];

/// Keeps a table from being dropped until the transaction ends, as a reader does; false if it is gone.
pub fn lock_if_there(table: Oid) -> bool {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: an unknown OID is locked for nothing; the look-up is of the catalog as it is after that.
    unsafe { pg_sys::LockRelationOid(table, lock) };
    class(table).is_some()
}

/// The name of a relation for messages; its number if it is gone.
pub fn relation_name(relation: Oid) -> String {
    // SAFETY: a system cache look-up; null if there is none.
    let name = unsafe { pg_sys::get_rel_name(relation) };
    if name.is_null() {
        return relation.to_u32().to_string();
    }
    // SAFETY: not null, so a palloc'd C string.
    unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
}

/// The name of a relation with its schema's; nothing if it is gone.
pub fn qualified_name(relation: Oid) -> Option<String> {
    // SAFETY: system cache look-ups; null if there is none.
    let (name, schema) = unsafe {
        (
            pg_sys::get_rel_name(relation),
            pg_sys::get_namespace_name(pg_sys::get_rel_namespace(relation)),
        )
    };
    if name.is_null() || schema.is_null() {
        return None;
    }
    // SAFETY: neither is null; both are palloc'd C strings, as is what is made of them.
    let quoted = unsafe { CStr::from_ptr(pg_sys::quote_qualified_identifier(schema, name)) };
    Some(quoted.to_string_lossy().into_owned())
}

fn valid(oid: Oid) -> Option<Oid> {
    (oid != Oid::INVALID).then_some(oid)
}

/// The members of a list of OIDs.
pub fn oids(list: *mut pg_sys::List) -> Vec<Oid> {
    // SAFETY: every caller passes a list of OIDs, so that member of the union is the one in use.
    cells(list).iter().map(|cell| unsafe { cell.oid_value }).collect()
}

/// The members of a list of nodes.
pub fn nodes(list: *mut pg_sys::List) -> Vec<*mut pg_sys::Node> {
    // SAFETY: every caller passes a list of pointers, so that member is the one in use.
    cells(list).iter().map(|cell| unsafe { cell.ptr_value }.cast()).collect()
}

fn cells<'a>(list: *mut pg_sys::List) -> &'a [pg_sys::ListCell] {
    if list.is_null() {
        return &[];
    }
    // SAFETY: a list that is not null has `length` cells at `elements`; the callers copy them
    // before anything could free the list.
    unsafe { std::slice::from_raw_parts((*list).elements, (*list).length as usize) }
}

/// The relation that a name in a statement means. No lock: what is decided here is decided again
/// where the rows are written.
pub fn find(range: *mut pg_sys::RangeVar) -> Option<Oid> {
    if range.is_null() {
        return None;
    }
    // SAFETY: a node of the parse tree; a missing relation is an invalid OID.
    let oid = unsafe {
        pg_sys::RangeVarGetRelidExtended(
            range,
            pg_sys::NoLock as pg_sys::LOCKMODE,
            pg_sys::RVROption::RVR_MISSING_OK,
            None,
            std::ptr::null_mut(),
        )
    };
    (oid != Oid::INVALID).then_some(oid)
}

/// Functions that pgrx has no binding for: `catalog/pg_inherits.h`, `catalog/partition.h`.
mod raw {
    use super::*;
    unsafe extern "C-unwind" {
        pub fn find_all_inheritors(
            parent: Oid,
            lock: pg_sys::LOCKMODE,
            num_parents: *mut *mut pg_sys::List,
        ) -> *mut pg_sys::List;
        pub fn get_partition_ancestors(relation: Oid) -> *mut pg_sys::List;
    }
}
