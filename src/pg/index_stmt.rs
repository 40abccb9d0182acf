//! CREATE INDEX and constraints, turned into ones with sealed keys before they run.

use std::ffi::{CStr, CString, c_char};

use pgrx::pg_sys::{self, Oid};

use super::class;
use super::class::find;
use super::hook::Command;

/// `BTREE_AM_OID` of `catalog/pg_am.dat`.
const BTREE: Oid = Oid::from_u32(403);
/// The name of the access method.
pub const METHOD: &CStr = c"sealed_btree";

/// The name of the one of keyed hashes.
pub const HASH_METHOD: &CStr = c"sealed_hash";
/// Both.
pub const METHODS: [&CStr; 2] = [METHOD, HASH_METHOD];

/// Whether an access method is one of ours.
pub fn is_ours(method: Oid) -> bool {
    METHODS.iter().any(|name| class::index_method(name) == Some(method))
}

/// The option that constraints with sealed keys have: their definitions as text, which pg_dump and pg_upgrade go by, say
/// nothing of an access method, and this would be an error to btree.
pub const OPTION: &CStr = c"sealing";
/// Its value unless something else is said: equal values look different.
pub const RANDOM: &CStr = c"random";
/// Equal values look the same.
pub const DETERMINISTIC: &CStr = c"deterministic";

/// Whether such an index may be unique: before 18 a unique index that is not nbtree's own breaks every ON CONFLICT on its
/// table, and foreign keys.
pub const CAN_BE_UNIQUE: bool = cfg!(feature = "pg18");

/// An index or constraint that is asked for, as far as it is decided by.
pub struct Asked {
    /// The table; none that is made by the same command.
    pub table: Option<Oid>,
    /// Its columns, if it has no expressions and no predicate, and they can be told.
    pub columns: Option<Vec<String>>,
    /// It is to be unique.
    pub unique: bool,
    /// It is a constraint's, and has the option of those with sealed keys.
    pub marked: bool,
}

/// Decides whether an index is to have sealed keys.
pub type Decide = fn(&Asked) -> bool;

/// Whether an index or constraint may be made by another method than the statement says: one of nbtree's.
unsafe fn is_btree(method: *const c_char) -> bool {
    // SAFETY: null or a C string of the parse tree.
    method.is_null() || unsafe { CStr::from_ptr(method) } == c"btree"
}

/// Changes what is to be changed in a statement. If it is somebody else's, a copy is.
///
/// # Safety
/// `statement` is a planned statement around a utility statement.
pub unsafe fn adapt(
    statement: *mut pg_sys::PlannedStmt,
    read_only: bool,
    decide: Decide,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: the tag says which struct a node is; a copy lives in the current context, as long as the command.
    unsafe {
        let tag = match (*statement).utilityStmt.as_ref() {
            Some(node) => node.type_,
            None => return statement,
        };
        let concerns = match tag {
            pg_sys::NodeTag::T_IndexStmt => {
                index(&mut *(*statement).utilityStmt.cast(), decide, false)
            }
            pg_sys::NodeTag::T_AlterTableStmt => {
                alter_table(&mut *(*statement).utilityStmt.cast(), decide, false)
            }
            _ => false,
        };
        if !concerns {
            return statement;
        }
        let mut statement = statement;
        if read_only {
            statement = pg_sys::copyObjectImpl(statement.cast()).cast();
        }
        match tag {
            pg_sys::NodeTag::T_IndexStmt => {
                index(&mut *(*statement).utilityStmt.cast(), decide, true)
            }
            _ => alter_table(&mut *(*statement).utilityStmt.cast(), decide, true),
        };
        statement
    }
}

unsafe fn index(stmt: &mut pg_sys::IndexStmt, decide: Decide, change: bool) -> bool {
    // SAFETY: a node of the parse tree.
    unsafe {
        // Of an index that is there already nothing is made.
        #[cfg(feature = "pg15")]
        let old = stmt.oldNode != pg_sys::InvalidOid;
        #[cfg(not(feature = "pg15"))]
        let old = stmt.oldNumber != pg_sys::RelFileNumber::default();
        if !is_btree(stmt.accessMethod) || !stmt.excludeOpNames.is_null() || old {
            return false;
        }
        let constraint = stmt.primary || stmt.isconstraint;
        let unique = stmt.unique || constraint;
        let marked = marked(stmt.options);
        let asked = Asked { table: find(stmt.relation), columns: columns(stmt), unique, marked };
        if !decide(&asked) {
            if marked && change {
                stmt.options = without_mark(stmt.options);
            }
            return marked;
        }
        if change {
            if constraint {
                stmt.options = with_mark(stmt.options);
            } else {
                let table = asked.table.map(class::relation_name).unwrap_or_default();
                pgrx::notice!("index on sealed table \"{table}\" is made USING sealed_btree");
            }
            stmt.accessMethod = METHOD.as_ptr().cast_mut();
            for list in [stmt.indexParams, stmt.indexIncludingParams] {
                for element in class::nodes(list) {
                    qualify(&mut *element.cast::<pg_sys::IndexElem>());
                }
            }
        }
        true
    }
}

/// What CREATE INDEX, or what CREATE TABLE makes of a constraint, asks for.
pub(super) fn command(statement: &pg_sys::IndexStmt) -> Option<Command> {
    let table = find(statement.relation)?;
    let columns = columns(statement);
    if statement.isconstraint || statement.primary {
        let columns = columns.filter(|_| statement.excludeOpNames.is_null());
        return columns.map(|columns| Command::UniqueConstraint { table, columns });
    }
    let method = statement.accessMethod;
    // SAFETY: not null, so a C string of the parse tree.
    let ours = |name| METHODS.contains(&unsafe { CStr::from_ptr(name) });
    let sealed = !method.is_null() && ours(method);
    Some(Command::CreateIndex { table, columns, sealed, unique: statement.unique })
}

/// The columns of an index to be; None if it has an expression or a predicate.
fn columns(statement: &pg_sys::IndexStmt) -> Option<Vec<String>> {
    if !statement.whereClause.is_null() {
        return None;
    }
    let elements = [statement.indexParams, statement.indexIncludingParams];
    let elements = elements.into_iter().flat_map(class::nodes);
    elements
        .map(|element| {
            // SAFETY: the lists hold IndexElem nodes; the name is null of an expression.
            let name = unsafe { (*element.cast::<pg_sys::IndexElem>()).name };
            // SAFETY: not null, so a C string of the parse tree.
            (!name.is_null())
                .then(|| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
        })
        .collect()
}

/// Whether options have the mark.
pub unsafe fn marked(options: *mut pg_sys::List) -> bool {
    // SAFETY: a list of DefElem nodes, or none.
    unsafe { class::nodes(options).into_iter().any(|node| is_mark(node)) }
}

unsafe fn is_mark(node: *mut pg_sys::Node) -> bool {
    // SAFETY: a DefElem, which has a name.
    unsafe { CStr::from_ptr((*node.cast::<pg_sys::DefElem>()).defname) == OPTION }
}

/// The value of the mark, if it is none that it can have.
pub unsafe fn unknown_mark(options: *mut pg_sys::List) -> Option<String> {
    // SAFETY: as above; the value as text is palloc'd, or the node's.
    unsafe {
        let mut marks = class::nodes(options).into_iter().filter(|node| is_mark(*node));
        marks.find_map(|node| {
            let value = CStr::from_ptr(pg_sys::defGetString(node.cast()));
            (value != RANDOM && value != DETERMINISTIC)
                .then(|| value.to_string_lossy().into_owned())
        })
    }
}

/// Whether an index is to seal equal values the same each time.
pub unsafe fn is_deterministic(index: Oid) -> bool {
    // SAFETY: system cache look-ups; the row is released when its options have been copied.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::RELOID as i32;
        let row = pg_sys::SearchSysCache1(cache, index.into());
        if row.is_null() {
            return false;
        }
        let mut is_null = false;
        let number = pg_sys::Anum_pg_class_reloptions as pg_sys::AttrNumber;
        let options = pg_sys::SysCacheGetAttr(cache, row, number, &mut is_null);
        let all =
            if is_null { std::ptr::null_mut() } else { pg_sys::untransformRelOptions(options) };
        let is = class::nodes(all).into_iter().any(|node| {
            is_mark(node) && CStr::from_ptr(pg_sys::defGetString(node.cast())) == DETERMINISTIC
        });
        pg_sys::ReleaseSysCache(row);
        is
    }
}

unsafe fn with_mark(options: *mut pg_sys::List) -> *mut pg_sys::List {
    // SAFETY: as above; the new nodes live as long as the command.
    unsafe {
        if marked(options) {
            return options;
        }
        let value = pg_sys::makeString(RANDOM.as_ptr().cast_mut());
        let mark = pg_sys::makeDefElem(OPTION.as_ptr().cast_mut(), value.cast(), -1);
        pg_sys::lappend(options, mark.cast())
    }
}

/// The options that are not the mark, in a new list.
pub unsafe fn without_mark(options: *mut pg_sys::List) -> *mut pg_sys::List {
    // SAFETY: as above.
    unsafe {
        let others = class::nodes(options).into_iter().filter(|node| !is_mark(*node));
        others.fold(std::ptr::null_mut(), |list, node| pg_sys::lappend(list, node.cast()))
    }
}

/// An operator class of btree, by its name alone or with its schema, becomes ours.
unsafe fn qualify(element: &mut pg_sys::IndexElem) {
    // SAFETY: a list of String nodes or none; the new ones are palloc'd.
    unsafe {
        let names = class::nodes(element.opclass);
        let name = |node: &*mut pg_sys::Node| {
            CStr::from_ptr((*node.cast::<pg_sys::String>()).sval).to_owned()
        };
        let names: Vec<_> = names.iter().map(name).collect();
        let ours = match &names[..] {
            // Found by the search path.
            [_] => match btree_class(element.opclass) {
                Some((schema, name)) if schema.as_c_str() != c"pg_catalog" => {
                    let joined = [schema.to_bytes(), b"_", name.to_bytes()].concat();
                    CString::new(joined).unwrap_or_default()
                }
                _ => names[0].clone(),
            },
            [schema, name] if schema.as_c_str() == c"pg_catalog" => name.clone(),
            [schema, name] if schema.as_c_str() != c"sealed" => {
                let joined = [schema.to_bytes(), b"_", name.to_bytes()].concat();
                CString::new(joined).unwrap_or_default()
            }
            _ => return,
        };
        let mut list = std::ptr::null_mut();
        for part in [c"sealed", &ours] {
            let part = pg_sys::makeString(pg_sys::pstrdup(part.as_ptr()));
            list = pg_sys::lappend(list, part.cast());
        }
        element.opclass = list;
    }
}

/// The schema and the name of the operator class of btree that a name means.
unsafe fn btree_class(names: *mut pg_sys::List) -> Option<(CString, CString)> {
    // SAFETY: system cache look-ups; the row is copied from before it is released.
    unsafe {
        let class = pg_sys::get_opclass_oid(BTREE, names, true);
        if class == pg_sys::InvalidOid {
            return None;
        }
        let cache = pg_sys::SysCacheIdentifier::CLAOID as i32;
        let row = pg_sys::SearchSysCache1(cache, class.into());
        if row.is_null() {
            return None;
        }
        let form = &*pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_opclass>();
        let name = CStr::from_ptr(form.opcname.data.as_ptr()).to_owned();
        let schema = pg_sys::get_namespace_name(form.opcnamespace);
        pg_sys::ReleaseSysCache(row);
        (!schema.is_null()).then(|| (CStr::from_ptr(schema).to_owned(), name))
    }
}

unsafe fn alter_table(stmt: &mut pg_sys::AlterTableStmt, decide: Decide, change: bool) -> bool {
    // SAFETY: the lists hold nodes of these kinds.
    unsafe {
        let Some(table) = find(stmt.relation) else { return false };
        let mut any = false;
        for node in class::nodes(stmt.cmds) {
            let command = &mut *node.cast::<pg_sys::AlterTableCmd>();
            match command.subtype {
                pg_sys::AlterTableType::AT_AddConstraint if !command.def.is_null() => {
                    any |= constraint(command.def, table, None, decide, change);
                }
                pg_sys::AlterTableType::AT_AddColumn if !command.def.is_null() => {
                    let column = &mut *command.def.cast::<pg_sys::ColumnDef>();
                    let name = CStr::from_ptr(column.colname).to_string_lossy().into_owned();
                    for node in class::nodes(column.constraints) {
                        any |= constraint(node, table, Some(&name), decide, change);
                    }
                }
                _ => {}
            }
        }
        any
    }
}

/// The columns of a PRIMARY KEY or UNIQUE that nbtree is to make an index for; none of what is something else. One that
/// is said behind its column names none.
///
/// # Safety
/// A node of the parse tree.
pub unsafe fn unique_columns(node: *mut pg_sys::Node) -> Option<Vec<String>> {
    // SAFETY: the tag says which struct a node is; the lists hold String nodes.
    unsafe {
        if (*node).type_ != pg_sys::NodeTag::T_Constraint {
            return None;
        }
        let constraint = &*node.cast::<pg_sys::Constraint>();
        let unique = matches!(
            constraint.contype,
            pg_sys::ConstrType::CONSTR_PRIMARY | pg_sys::ConstrType::CONSTR_UNIQUE
        );
        // One of periods is made USING gist.
        #[cfg(feature = "pg18")]
        let unique = unique && !constraint.without_overlaps;
        if !unique || !constraint.indexname.is_null() || !is_btree(constraint.access_method) {
            return None;
        }
        let name = |node: *mut pg_sys::Node| {
            let name = CStr::from_ptr((*node.cast::<pg_sys::String>()).sval);
            name.to_string_lossy().into_owned()
        };
        let lists = [constraint.keys, constraint.including];
        Some(lists.into_iter().flat_map(class::nodes).map(name).collect())
    }
}

unsafe fn constraint(
    node: *mut pg_sys::Node,
    table: Oid,
    column: Option<&str>,
    decide: Decide,
    change: bool,
) -> bool {
    // SAFETY: as above.
    unsafe {
        let Some(mut columns) = unique_columns(node) else { return false };
        columns.extend(column.map(str::to_owned));
        let constraint = &mut *node.cast::<pg_sys::Constraint>();
        let marked = marked(constraint.options);
        let table = Some(table);
        let columns = Some(columns);
        let decided = decide(&Asked { table, columns, unique: true, marked });
        if change {
            if decided {
                constraint.access_method = METHOD.as_ptr().cast_mut();
                constraint.options = with_mark(constraint.options);
            } else {
                constraint.options = without_mark(constraint.options);
            }
        }
        decided || marked
    }
}
