//! ALTER TABLE ... ADD COLUMN with a default, on a sealed table.
//!
//! PostgreSQL does not write a constant default into the rows that are there: it evaluates it once and
//! keeps the value in `pg_attribute.attmissingval`, in plaintext, for as long as one such row lives
//! (ATExecAddColumn() in `commands/tablecmds.c`). A default that is NULL it does not keep. So while the
//! column is being added, its default is wrapped in a call of `sealed.kept_default()`, which at that
//! evaluation keeps the value sealed in our own catalog and returns NULL, and else returns its argument:
//! should the same command rewrite the table for another reason, the rows get the value. At the end of
//! the command the default is what the command said.
//!
//! Two of PostgreSQL's access hooks do it: one is called when the column is in `pg_attribute` and its
//! default is not stored yet, the other when the default is in `pg_attrdef` and was not looked at yet.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;

use pgrx::pg_sys::ffi::pg_guard_ffi_boundary as guard;
use pgrx::pg_sys::{self, Oid};

use super::{class, tuple};
use crate::error::Error;
use crate::pg::local::backend_local;

/// `AttrDefaultRelationId` of `catalog/pg_attrdef.h`, which pgrx has no binding for.
pub const PG_ATTRDEF: Oid = Oid::from_u32(2604);
/// Its index on adrelid and adnum, `AttrDefaultIndexId`.
const INDEX: Oid = Oid::from_u32(2656);
/// The numbers of its columns.
const ADRELID: i16 = 2;
const ADNUM: i16 = 3;
const ADBIN: i32 = 4;

/// A column: its table and number.
type Column = (Oid, i16);

backend_local! {
    /// The columns to which the running ALTER TABLE gives a default in so many words; None outside of one.
    static DEFAULTED: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
    /// The column that was added last.
    static ADDED: Cell<Column> = const { Cell::new((Oid::INVALID, 0)) };
    /// The column whose default PostgreSQL is about to evaluate, to keep it.
    static KEEPING: Cell<Column> = const { Cell::new((Oid::INVALID, 0)) };
    /// The columns whose default is wrapped, and whether the default is their type's: one entry a column.
    /// One that a rollback left behind is seen to be that by `unwrap`, or replaced.
    static WRAPPED: RefCell<Vec<(Column, bool)>> = const { RefCell::new(Vec::new()) };
}

/// Before a command that is not part of another one.
///
/// # Safety
/// `node` is null or a parse tree.
pub unsafe fn begin(node: *mut pg_sys::Node) {
    // SAFETY: every node begins with its tag, which says what it is.
    let defaulted = unsafe {
        (!node.is_null() && (*node).type_ == pg_sys::NodeTag::T_AlterTableStmt)
            .then(|| defaulted(&*node.cast::<pg_sys::AlterTableStmt>()))
    };
    DEFAULTED.set(defaulted);
    ADDED.set((Oid::INVALID, 0));
    evaluated();
}

/// PostgreSQL has gone on: the default of the column that was added last was evaluated, or is not kept.
pub fn evaluated() {
    KEEPING.set((Oid::INVALID, 0));
}

/// Whether this is the evaluation of a column's default whose value is to be kept. Once.
pub fn keeps(table: Oid, attnum: i16) -> bool {
    KEEPING.replace((Oid::INVALID, 0)) == (table, attnum)
}

fn defaulted(statement: &pg_sys::AlterTableStmt) -> Vec<String> {
    let mut names = Vec::new();
    for node in class::nodes(statement.cmds) {
        // SAFETY: the list holds AlterTableCmd nodes; the definition of this kind is a ColumnDef, whose
        // list holds Constraint nodes.
        unsafe {
            let command = &*node.cast::<pg_sys::AlterTableCmd>();
            if command.subtype != pg_sys::AlterTableType::AT_AddColumn || command.def.is_null() {
                continue;
            }
            let column = &*command.def.cast::<pg_sys::ColumnDef>();
            let default = |node: *mut pg_sys::Node| {
                (*node.cast::<pg_sys::Constraint>()).contype == pg_sys::ConstrType::CONSTR_DEFAULT
            };
            if !column.raw_default.is_null()
                || class::nodes(column.constraints).into_iter().any(default)
            {
                names.push(CStr::from_ptr(column.colname).to_string_lossy().into_owned());
            }
        }
    }
    names
}

/// A column of a sealed table is in `pg_attribute`, its default is not stored yet. Wraps the default of
/// its type, if that is the one it is to have.
pub fn added(table: Oid, attnum: i16) -> Result<(), Error> {
    ADDED.set((table, attnum));
    evaluated();
    // SAFETY: makes the new column visible, as ATExecAddColumn() is about to do; it holds the table open
    // and locked.
    unsafe { pg_sys::CommandCounterIncrement() };
    let relation = Open::table(table);
    let (name, plain) = relation.column(attnum);
    if !plain || DEFAULTED.with_borrow(|d| d.as_ref().is_some_and(|d| d.contains(&name))) {
        return Ok(());
    }
    // SAFETY: an open relation and a column of it; null if the type has no default.
    let default = unsafe { pg_sys::build_column_default(relation.0, i32::from(attnum)) };
    if default.is_null() {
        return Ok(());
    }
    // What `wrap` is about to store is not a default that the command gave.
    ADDED.set((Oid::INVALID, 0));
    wrap(&relation, attnum, default, true)
}

/// A default of a sealed table's column is in `pg_attrdef`. Wraps it if the column was added just now.
pub fn default_stored(table: Oid, attnum: i16) -> Result<(), Error> {
    if ADDED.replace((Oid::INVALID, 0)) != (table, attnum) {
        return Ok(());
    }
    // SAFETY: makes the default visible, as ATExecAddColumn() is about to do.
    unsafe { pg_sys::CommandCounterIncrement() };
    let relation = Open::table(table);
    if !relation.column(attnum).1 {
        return Ok(());
    }
    match stored(table, attnum) {
        Some(default) => wrap(&relation, attnum, default, false),
        None => Ok(()),
    }
}

/// Whether `unwrap` has something to do.
#[inline]
pub fn any_wrapped() -> bool {
    WRAPPED.with_borrow(|wrapped| !wrapped.is_empty())
}

/// After a command: defaults are again what it said. Columns of commands that were rolled back are passed over.
pub fn unwrap() -> Result<(), Error> {
    let wrapped = WRAPPED.take();
    // SAFETY: reads the state of the transaction.
    if !unsafe { pg_sys::IsTransactionState() } {
        // The command was the ROLLBACK after one that failed: nothing is left of that, and outside
        // of a transaction no catalog can be read.
        return Ok(());
    }
    for ((table, attnum), of_type) in wrapped {
        let Some(default) = stored(table, attnum) else { continue };
        // SAFETY: an expression node, which is only read; the tag says which.
        let said = unsafe {
            let call = default.cast::<pg_sys::FuncExpr>();
            if (*default).type_ != pg_sys::NodeTag::T_FuncExpr || (*call).funcid != wrapper()? {
                continue;
            }
            class::nodes((*call).args)[0]
        };
        let relation = Open::table(table);
        relation.remove_default(attnum);
        if !of_type {
            relation.store_default(attnum, said);
        }
    }
    Ok(())
}

fn wrap(
    relation: &Open,
    attnum: i16,
    default: *mut pg_sys::Node,
    of_type: bool,
) -> Result<(), Error> {
    let column = (relation.oid(), attnum);
    if !relation.keeps_values(attnum, default) {
        return Ok(());
    }
    // PostgreSQL before 15.13, 16.9 and 17.5 has stored the value when it calls; and only inside a command
    // that `unwrap` follows may the default be changed.
    if relation.has_missing(attnum) || DEFAULTED.with_borrow(Option::is_none) {
        return Err(Error::Unsupported {
            what: "ADD COLUMN with a default that PostgreSQL keeps in its catalog".to_owned(),
        });
    }
    let wrapper = wrapper()?;
    // SAFETY: nodes in the current memory context, which outlives the command's phase; the call has the
    // type and the collation of its argument.
    let call = unsafe {
        let collation = pg_sys::exprCollation(default);
        let mut args = std::ptr::null_mut();
        args = pg_sys::lappend(args, default.cast());
        let none = Oid::INVALID;
        let table = pg_sys::makeConst(pg_sys::OIDOID, -1, none, 4, column.0.into(), false, true);
        args = pg_sys::lappend(args, table.cast());
        let number = pg_sys::makeConst(pg_sys::INT2OID, -1, none, 2, attnum.into(), false, true);
        args = pg_sys::lappend(args, number.cast());
        pg_sys::makeFuncExpr(
            wrapper,
            pg_sys::exprType(default),
            args,
            collation,
            collation,
            pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
        )
    };
    if !of_type {
        relation.remove_default(attnum);
    }
    relation.store_default(attnum, call.cast());
    WRAPPED.with_borrow_mut(|wrapped| {
        wrapped.retain(|(other, _)| *other != column);
        wrapped.push((column, of_type));
    });
    KEEPING.set(column);
    Ok(())
}

/// `sealed.kept_default(anyelement, oid, int2)`.
fn wrapper() -> Result<Oid, Error> {
    // SAFETY: a look-up in the catalog by a list of two strings; a missing function is an invalid OID.
    let oid = unsafe {
        let name = [c"sealed", c"kept_default"].into_iter().fold(
            std::ptr::null_mut(),
            |list: *mut pg_sys::List, part| {
                let part = pg_sys::makeString(pg_sys::pstrdup(part.as_ptr()));
                pg_sys::lappend(list, part.cast())
            },
        );
        let arguments = [pg_sys::ANYELEMENTOID, pg_sys::OIDOID, pg_sys::INT2OID];
        pg_sys::LookupFuncName(name, 3, arguments.as_ptr(), true)
    };
    if oid == Oid::INVALID {
        let what = "ADD COLUMN with a default without the function sealed.kept_default()";
        return Err(Error::Unsupported { what: what.to_owned() });
    }
    Ok(oid)
}

/// The expression in `pg_attrdef`, also if the current command put it there.
fn stored(table: Oid, attnum: i16) -> Option<*mut pg_sys::Node> {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    let mut keys = [
        class::equals(ADRELID, pg_sys::F_OIDEQ, table.into()),
        class::equals(ADNUM, pg_sys::F_INT2EQ, attnum.into()),
    ];
    // SAFETY: pg_attrdef is always there and the keys are on its index's columns. The tuple is good
    // until the scan ends, and the expression is made of a copy of its text.
    unsafe {
        let pg_attrdef = pg_sys::table_open(PG_ATTRDEF, lock);
        let scan = pg_sys::systable_beginscan(
            pg_attrdef,
            INDEX,
            true,
            &raw mut pg_sys::SnapshotSelfData,
            2,
            keys.as_mut_ptr(),
        );
        let tuple = pg_sys::systable_getnext(scan);
        let mut found = None;
        if !tuple.is_null() {
            let mut null = false;
            let text = pg_sys::heap_getattr(tuple, ADBIN, (*pg_attrdef).rd_att, &mut null);
            let text = pg_sys::text_to_cstring(text.cast_mut_ptr());
            found = Some(pg_sys::stringToNode(text).cast());
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(pg_attrdef, lock);
        found
    }
}

/// A table that the running command holds locked.
struct Open(pg_sys::Relation);

impl Open {
    fn table(oid: Oid) -> Self {
        // SAFETY: raises an ERROR if it is gone. Closed by `drop`, or by the abort of the transaction.
        Self(unsafe { pg_sys::table_open(oid, pg_sys::NoLock as pg_sys::LOCKMODE) })
    }

    fn oid(&self) -> Oid {
        class::oid_of(self.0)
    }

    /// A column's name, and whether it is neither generated nor an identity.
    fn column(&self, attnum: i16) -> (String, bool) {
        let row = self.attribute(attnum);
        // SAFETY: a name ends with a zero byte within its 64.
        let name = unsafe { CStr::from_ptr(row.attname.data.as_ptr()) };
        let plain = row.attgenerated == 0 && row.attidentity == 0;
        (name.to_string_lossy().into_owned(), plain)
    }

    /// Whether PostgreSQL evaluates the default once and keeps the value, by its own rules.
    fn keeps_values(&self, attnum: i16, default: *mut pg_sys::Node) -> bool {
        // SAFETY: an open relation and an expression of the column's, of which the planner gets a copy.
        unsafe {
            let table = (*(*self.0).rd_rel).relkind as u8 == pg_sys::RELKIND_RELATION;
            let copy = pg_sys::copyObjectImpl(default.cast()).cast::<pg_sys::Expr>();
            table
                && !pg_sys::DomainHasConstraints(self.attribute(attnum).atttypid)
                && !pg_sys::contain_volatile_functions(pg_sys::expression_planner(copy).cast())
        }
    }

    fn has_missing(&self, attnum: i16) -> bool {
        self.attribute(attnum).atthasmissing
    }

    fn attribute(&self, attnum: i16) -> pg_sys::FormData_pg_attribute {
        // SAFETY: an open relation has its descriptor, a hook names a column that is there.
        unsafe { *tuple::attribute((*self.0).rd_att, attnum as usize - 1) }
    }

    fn remove_default(&self, attnum: i16) {
        // SAFETY: deletes from the catalog in this transaction, as SET DEFAULT does.
        unsafe {
            let restrict = pg_sys::DropBehavior::DROP_RESTRICT;
            guard(|| raw::RemoveAttrDefault(self.oid(), attnum, restrict, false, true));
            pg_sys::CommandCounterIncrement();
        }
    }

    fn store_default(&self, attnum: i16, default: *mut pg_sys::Node) {
        // SAFETY: adds to the catalog in this transaction; the expression is of the column's type.
        unsafe {
            guard(|| {
                #[cfg(not(feature = "pg18"))]
                raw::StoreAttrDefault(self.0, attnum, default, true, false);
                #[cfg(feature = "pg18")]
                raw::StoreAttrDefault(self.0, attnum, default, true);
            });
            pg_sys::CommandCounterIncrement();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // While an ERROR unwinds, the resource owner is what closes it.
        if std::thread::panicking() {
            return;
        }
        // SAFETY: opened in `table` and not closed before. The command keeps its lock.
        unsafe { pg_sys::table_close(self.0, pg_sys::NoLock as pg_sys::LOCKMODE) }
    }
}

/// Functions that pgrx has no binding for: `catalog/pg_attrdef.h`.
mod raw {
    use super::*;
    unsafe extern "C-unwind" {
        pub fn StoreAttrDefault(
            rel: pg_sys::Relation,
            attnum: pg_sys::AttrNumber,
            expr: *mut pg_sys::Node,
            is_internal: bool,
            #[cfg(not(feature = "pg18"))] add_column_mode: bool,
        ) -> Oid;
        pub fn RemoveAttrDefault(
            relid: Oid,
            attnum: pg_sys::AttrNumber,
            behavior: pg_sys::DropBehavior::Type,
            complain: bool,
            internal: bool,
        );
    }
}
