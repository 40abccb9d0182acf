//! What commands ask for, read from their parse trees.

use std::ffi::CStr;

use pgrx::pg_sys::{self, Oid};

use super::{Command, Published};
use crate::pg::class::{self, find};
use crate::pg::index_stmt;

/// What a statement asks for, as far as it concerns us.
///
/// # Safety
/// `node` is null or a parse tree that outlives the call.
pub(super) unsafe fn commands(node: *mut pg_sys::Node) -> Vec<Command> {
    if node.is_null() {
        return Vec::new();
    }
    // SAFETY: every node begins with its tag.
    let tag = unsafe { (*node).type_ };
    // SAFETY (all arms): the tag says which struct the node is.
    match tag {
        // SAFETY: see above.
        pg_sys::NodeTag::T_IndexStmt => unsafe {
            index_stmt::command(&*node.cast::<pg_sys::IndexStmt>()).into_iter().collect()
        },
        // SAFETY: see above.
        pg_sys::NodeTag::T_CreateStmt => unsafe {
            create_partition(&*node.cast::<pg_sys::CreateStmt>()).into_iter().collect()
        },
        // SAFETY: see above.
        pg_sys::NodeTag::T_AlterTableStmt => unsafe {
            alter_table(&*node.cast::<pg_sys::AlterTableStmt>())
        },
        // SAFETY: see above.
        pg_sys::NodeTag::T_AlterObjectSchemaStmt => unsafe {
            let s = &*node.cast::<pg_sys::AlterObjectSchemaStmt>();
            let schema = pg_sys::get_namespace_oid(s.newschema, true);
            let moved =
                find(s.relation).filter(|_| s.objectType == pg_sys::ObjectType::OBJECT_TABLE);
            moved.map(|table| Command::SetSchema { table, schema }).into_iter().collect()
        },
        // SAFETY: see above.
        pg_sys::NodeTag::T_CreatePublicationStmt => unsafe {
            let s = &*node.cast::<pg_sys::CreatePublicationStmt>();
            vec![publish(s.pubname, s.pubobjects, s.for_all_tables)]
        },
        // SAFETY: see above.
        pg_sys::NodeTag::T_AlterPublicationStmt => unsafe {
            let s = &*node.cast::<pg_sys::AlterPublicationStmt>();
            if s.action == pg_sys::AlterPublicationAction::AP_DropObjects {
                return Vec::new();
            }
            vec![publish(s.pubname, s.pubobjects, s.for_all_tables)]
        },
        _ => Vec::new(),
    }
}

fn create_partition(statement: &pg_sys::CreateStmt) -> Option<Command> {
    if statement.partbound.is_null() || statement.relation.is_null() {
        return None;
    }
    let parent = find(class::nodes(statement.inhRelations).first()?.cast())?;
    let method = if statement.accessMethod.is_null() {
        // From 17 on a partitioned table may have a method, which its partitions take.
        let inherited = class::class(parent).map(|class| class.access_method);
        inherited.filter(|m| *m != Oid::INVALID).or_else(class::default_table_method)
    } else {
        // SAFETY: not null, so a C string of the parse tree.
        class::table_method(unsafe { CStr::from_ptr(statement.accessMethod) })
    };
    // SAFETY: a relation that is to be made has a name.
    let name = unsafe { CStr::from_ptr((*statement.relation).relname) };
    Some(Command::CreatePartition { parent, name: name.to_string_lossy().into_owned(), method })
}

fn alter_table(statement: &pg_sys::AlterTableStmt) -> Vec<Command> {
    let mut commands = Vec::new();
    let all = || {
        let nodes = class::nodes(statement.cmds).into_iter();
        // SAFETY: the list holds AlterTableCmd nodes.
        nodes.map(|node| unsafe { &*node.cast::<pg_sys::AlterTableCmd>() })
    };
    let name = |command: &pg_sys::AlterTableCmd| {
        // SAFETY: both kinds of command that this is asked of have a name.
        unsafe { CStr::from_ptr(command.name) }.to_string_lossy().into_owned()
    };
    let marks = |command: &pg_sys::AlterTableCmd| {
        // SAFETY: only asked of a command whose definition is a list of options.
        unsafe { index_stmt::marked(command.def.cast()) }
    };
    for command in all() {
        match command.subtype {
            pg_sys::AlterTableType::AT_AddConstraint if !command.def.is_null() => {
                // SAFETY: the definition of this kind is a Constraint, or for a domain another node.
                let columns = unsafe { index_stmt::unique_columns(command.def) };
                let constraint = find(statement.relation).zip(columns);
                commands.extend(
                    constraint.map(|(table, columns)| Command::UniqueConstraint { table, columns }),
                );
            }
            pg_sys::AlterTableType::AT_ResetRelOptions if marks(command) => {
                commands.push(Command::LoseMark);
            }
            subtype if changes_type(subtype) => {
                let drops = |c: &&pg_sys::AlterTableCmd| {
                    c.subtype == pg_sys::AlterTableType::AT_DropConstraint
                };
                let dropped = all().filter(drops).map(name).collect();
                let column = name(command);
                let table = find(statement.relation);
                commands.extend(table.map(|table| Command::AlterType { table, column, dropped }));
            }
            pg_sys::AlterTableType::AT_SetAccessMethod => {
                let method = if command.name.is_null() {
                    class::default_table_method()
                } else {
                    // SAFETY: not null, so a C string of the parse tree.
                    class::table_method(unsafe { CStr::from_ptr(command.name) })
                };
                if let Some(table) = find(statement.relation) {
                    commands.push(Command::SetAccessMethod { table, method });
                }
            }
            pg_sys::AlterTableType::AT_SetLogged => {
                commands.extend(find(statement.relation).map(|table| Command::SetLogged { table }));
            }
            pg_sys::AlterTableType::AT_AttachPartition => {
                // SAFETY: this subcommand's definition is a PartitionCmd; for an index it has the
                // same form and `find` finds an index, which is never sealed.
                let partition = unsafe { (*command.def.cast::<pg_sys::PartitionCmd>()).name };
                if let (Some(parent), Some(partition)) = (find(statement.relation), find(partition))
                {
                    commands.push(Command::AttachPartition { parent, partition });
                }
            }
            _ => {}
        }
    }
    commands
}

/// Whether a command has the constraints of a column made anew.
fn changes_type(subtype: pg_sys::AlterTableType::Type) -> bool {
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    if subtype == pg_sys::AlterTableType::AT_SetExpression {
        return true;
    }
    subtype == pg_sys::AlterTableType::AT_AlterColumnType
}

fn publish(name: *mut core::ffi::c_char, objects: *mut pg_sys::List, all: bool) -> Command {
    use pg_sys::PublicationObjSpecType as T;
    let mut published = Vec::new();
    if all {
        published.push(Published::AllTables);
    }
    for node in class::nodes(objects) {
        // SAFETY: the list holds PublicationObjSpec nodes.
        let object = unsafe { &*node.cast::<pg_sys::PublicationObjSpec>() };
        match object.pubobjtype {
            T::PUBLICATIONOBJ_TABLE => {
                // SAFETY: this type of object has a table, which has a name.
                let range = unsafe { (*object.pubtable).relation };
                // SAFETY: as above.
                let inherited = unsafe { (*range).inh };
                if let Some(table) = find(range) {
                    published.push(Published::Table { table, inherited });
                }
            }
            T::PUBLICATIONOBJ_TABLES_IN_SCHEMA => {
                // SAFETY: this type of object has a name; a missing schema is an invalid OID.
                let schema = unsafe { pg_sys::get_namespace_oid(object.name, true) };
                published.push(Published::Schema(schema));
            }
            T::PUBLICATIONOBJ_TABLES_IN_CUR_SCHEMA => {
                // SAFETY: returns a copy of the search path.
                let path = class::oids(unsafe { pg_sys::fetch_search_path(false) });
                published.extend(path.first().map(|schema| Published::Schema(*schema)));
            }
            _ => {}
        }
    }
    // SAFETY: a publication statement has a name.
    let publication = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
    Command::Publish { publication, objects: published }
}
