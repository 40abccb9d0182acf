//! Security labels of provider `sealed` (SECURITY LABEL FOR sealed ON TABLE ..., COLUMN ...): the policy for
//! columns. pg_dump and pg_upgrade carry them.

use std::cell::Cell;
use std::ffi::{CStr, c_char};
use std::sync::OnceLock;

use pgrx::pg_sys::{self, Oid};
use pgrx::{PgSqlErrorCode, ereport, pg_guard};

use super::tuple;
use crate::error::Error;
use crate::pg::local::backend_local;

/// The name of the provider.
const PROVIDER: &CStr = c"sealed";

/// Says whether a label may be put on a table (column 0) or a column of it. `None` takes the label away.
pub type Check = fn(Oid, i16, Option<&str>) -> Result<(), Error>;

static CHECK: OnceLock<Check> = OnceLock::new();

backend_local! {
    /// The table that the running SECURITY LABEL is about, and the column; 0 for the table.
    static LABELLED: Cell<(Oid, i16)> = const { Cell::new((Oid::INVALID, 0)) };
}

/// Registers the provider. Called once, in the postmaster.
pub fn init(check: Check) {
    if CHECK.set(check).is_err() {
        return;
    }
    // SAFETY: copies the name; the function lives as long as the library.
    unsafe { pg_sys::register_label_provider(PROVIDER.as_ptr(), Some(relabel)) };
}

/// Whether `take_labelled` has something.
#[inline]
pub fn any() -> bool {
    LABELLED.get().0 != Oid::INVALID
}

/// The table that the last SECURITY LABEL was about, and the column, once.
pub fn take_labelled() -> Option<(Oid, i16)> {
    Some(LABELLED.replace((Oid::INVALID, 0))).filter(|(table, _)| *table != Oid::INVALID)
}

/// Called by ExecSecLabelStmt() before it stores the label; it has checked who owns the object and locked it.
#[pg_guard]
unsafe extern "C-unwind" fn relabel(object: *const pg_sys::ObjectAddress, label: *const c_char) {
    // SAFETY: PostgreSQL passes an address, and a C string or null.
    let (object, label) =
        unsafe { (*object, (!label.is_null()).then(|| CStr::from_ptr(label).to_string_lossy())) };
    if object.classId != pg_sys::RelationRelationId {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "security labels of provider \"sealed\" are for tables and columns"
        );
    }
    let Some(check) = CHECK.get() else { return };
    if let Err(error) = check(object.objectId, object.objectSubId as i16, label.as_deref()) {
        error.report();
    }
    LABELLED.set((object.objectId, object.objectSubId as i16));
}

/// A column of a table, as far as its policy goes.
pub struct Column {
    /// Its name.
    pub name: String,
    /// It was dropped; the name is PostgreSQL's.
    pub dropped: bool,
    /// Its label.
    pub label: Option<String>,
}

/// The label of a table, and its columns in the order of their numbers.
pub fn of_table(table: Oid) -> (Option<String>, Vec<Column>) {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: the descriptor is good while the table is open; an ERROR leaves it to the resource owner.
    unsafe {
        let rel = pg_sys::table_open(table, lock);
        let desc = (*rel).rd_att;
        let mut columns = Vec::with_capacity((*desc).natts as usize);
        for index in 0..(*desc).natts as usize {
            let attribute = &*tuple::attribute(desc, index);
            let name = CStr::from_ptr(attribute.attname.data.as_ptr()).to_string_lossy();
            columns.push(Column {
                name: name.into_owned(),
                dropped: attribute.attisdropped,
                label: (!attribute.attisdropped).then(|| get(table, index as i32 + 1)).flatten(),
            });
        }
        pg_sys::table_close(rel, lock);
        (get(table, 0), columns)
    }
}

/// The label of a column, or of the table (column 0).
pub fn get(table: Oid, column: i32) -> Option<String> {
    let object = pg_sys::ObjectAddress {
        classId: pg_sys::RelationRelationId,
        objectId: table,
        objectSubId: column,
    };
    // SAFETY: reads pg_seclabel; the string is palloc'd.
    unsafe {
        let label = pg_sys::GetSecurityLabel(&object, PROVIDER.as_ptr());
        (!label.is_null()).then(|| CStr::from_ptr(label).to_string_lossy().into_owned())
    }
}

/// Puts a label on a table (column 0) or a column, as SECURITY LABEL does after its checks.
pub fn set(table: Oid, column: i16, label: Option<&CStr>) {
    let object = pg_sys::ObjectAddress {
        classId: pg_sys::RelationRelationId,
        objectId: table,
        objectSubId: column.into(),
    };
    let label = label.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: changes pg_seclabel in this transaction.
    unsafe { pg_sys::SetSecurityLabel(&object, PROVIDER.as_ptr(), label) };
}
