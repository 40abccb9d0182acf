//! The access method of a table, changed in the catalog alone: no row is touched.

use pgrx::pg_sys::ffi::pg_guard_ffi_boundary as guard;
use pgrx::pg_sys::{self, Oid};

use super::class;

/// `HEAP_TABLE_AM_OID` of `catalog/pg_am.dat`.
pub const HEAP: Oid = Oid::from_u32(2);

/// Waits until nobody else uses the table and its TOAST table, and keeps both until the transaction ends.
pub fn lock_alone(table: Oid) {
    class::lock_exclusively(table);
    let toast = toast_of(table);
    if toast != Oid::INVALID {
        class::lock_exclusively(toast);
    }
}

/// The TOAST table of a table that the caller has locked; an invalid OID if it has none.
pub fn toast_of(table: Oid) -> Oid {
    // SAFETY: opens by OID, raises an ERROR if it is gone; closed at once.
    unsafe {
        let rel = pg_sys::table_open(table, pg_sys::NoLock as pg_sys::LOCKMODE);
        let toast = (*(*rel).rd_rel).reltoastrelid;
        pg_sys::table_close(rel, pg_sys::NoLock as pg_sys::LOCKMODE);
        toast
    }
}

/// Raises 55006 if this very session has a cursor or trigger events open on the table, as ALTER TABLE does.
pub fn check_not_in_use(table: Oid, command: &std::ffi::CStr) {
    // SAFETY: as in `toast_of`.
    unsafe {
        let rel = pg_sys::table_open(table, pg_sys::NoLock as pg_sys::LOCKMODE);
        pg_sys::CheckTableNotInUse(rel, command.as_ptr());
        pg_sys::table_close(rel, pg_sys::NoLock as pg_sys::LOCKMODE);
    }
}

/// Puts another access method into the catalog rows of a table and its TOAST table, both locked by
/// `lock_alone`. It is told to every session when this transaction commits. Where the new method needs a
/// TOAST table and there is none, it is made.
pub fn set(table: Oid, method: Oid) {
    let toast = toast_of(table);
    let before = set_in_class(table, method);
    if toast != Oid::INVALID {
        set_in_class(toast, method);
    }
    let class = pg_sys::RelationRelationId;
    // SAFETY: changes pg_depend in this transaction. A TOAST table depends on its table only. As in
    // ALTER TABLE ... SET ACCESS METHOD (swap_relation_files() of commands/cluster.c).
    unsafe {
        let of = pg_sys::AccessMethodRelationId;
        pg_sys::changeDependencyFor(class, table, of, before, method);
        pg_sys::CommandCounterIncrement();
        let lock = pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE;
        guard(|| raw::AlterTableCreateToastTable(table, pg_sys::Datum::from(0usize), lock));
    }
}

/// Returns the method that was there.
fn set_in_class(relation: Oid, method: Oid) -> Oid {
    let lock = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: a copy of the pg_class row of a relation that the caller has locked, so it is there and nobody
    // else changes it. An ERROR leaves the catalog to the resource owner.
    unsafe {
        let pg_class = pg_sys::table_open(pg_sys::RelationRelationId, lock);
        let (id, none) = (pg_sys::SysCacheIdentifier::RELOID as i32, pg_sys::Datum::from(0usize));
        let row = pg_sys::SearchSysCacheCopy(id, relation.into(), none, none, none);
        if row.is_null() {
            pgrx::error!("cache lookup failed for relation {}", relation.to_u32());
        }
        let form = pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_class>(row);
        let before = std::mem::replace(&mut (*form).relam, method);
        pg_sys::CatalogTupleUpdate(pg_class, &mut (*row).t_self, row);
        pg_sys::heap_freetuple(row);
        pg_sys::table_close(pg_class, lock);
        before
    }
}

/// Forgets the values that core keeps, in plaintext, for rows that a column came after
/// (`pg_attribute.attmissingval`): every row has all its columns now.
pub fn forget_missing(table: Oid) {
    // SAFETY: as in `toast_of`; changes pg_attribute in this transaction.
    unsafe {
        let rel = pg_sys::table_open(table, pg_sys::NoLock as pg_sys::LOCKMODE);
        pg_sys::RelationClearMissing(rel);
        pg_sys::table_close(rel, pg_sys::NoLock as pg_sys::LOCKMODE);
    }
}

/// Functions that pgrx has no binding for: `catalog/toasting.h`.
mod raw {
    use super::*;
    unsafe extern "C-unwind" {
        pub fn AlterTableCreateToastTable(
            table: Oid,
            options: pg_sys::Datum,
            lock: pg_sys::LOCKMODE,
        );
    }
}
