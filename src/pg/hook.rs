//! PostgreSQL's hooks: what commands ask for, which relations come and go.
//!
//! Each hook calls the one that was there before it. The functions that decide are registered, so
//! that this module knows nothing of them.

use std::ffi::CStr;
use std::sync::OnceLock;

use pgrx::pg_guard;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary as guard;
use pgrx::pg_sys::{self, Oid};

use super::class;
use crate::error::Error;

/// A command that the extension has an opinion on.
#[derive(Debug)]
pub enum Command {
    /// CREATE INDEX, not of a constraint.
    CreateIndex {
        /// The table.
        table: Oid,
    },
    /// ALTER TABLE ... SET ACCESS METHOD.
    SetAccessMethod {
        /// The table.
        table: Oid,
        /// The method; `None` for the default one.
        method: Option<Oid>,
    },
    /// ALTER TABLE ... SET SCHEMA.
    SetSchema {
        /// The table.
        table: Oid,
        /// Where it goes.
        schema: Oid,
    },
    /// ALTER TABLE ... ATTACH PARTITION.
    AttachPartition {
        /// The partitioned table.
        parent: Oid,
        /// The new partition.
        partition: Oid,
    },
    /// CREATE PUBLICATION, or ALTER PUBLICATION that adds.
    Publish {
        /// Its name.
        publication: String,
        /// What it takes in.
        objects: Vec<Published>,
    },
}

/// What a publication takes in.
#[derive(Debug)]
pub enum Published {
    /// A table, and what inherits from it unless it says ONLY.
    Table {
        /// The table.
        table: Oid,
        /// Without ONLY.
        inherited: bool,
    },
    /// A schema.
    Schema(Oid),
    /// FOR ALL TABLES.
    AllTables,
}

/// The functions that decide.
pub struct Deciders {
    /// Before a command runs.
    pub before: Decide,
    /// After it ran.
    pub after: Decide,
    /// After a relation came into being, still in the same command.
    pub created: fn(Oid) -> Result<(), Error>,
    /// Before a relation is dropped.
    pub dropped: fn(Oid) -> Result<(), Error>,
}

static DECIDERS: OnceLock<Deciders> = OnceLock::new();
static UTILITY_BEFORE_US: OnceLock<pg_sys::ProcessUtility_hook_type> = OnceLock::new();
static ACCESS_BEFORE_US: OnceLock<pg_sys::object_access_hook_type> = OnceLock::new();

/// Puts the hooks in place. Called once, in the postmaster.
pub fn install(deciders: Deciders) {
    if DECIDERS.set(deciders).is_err() {
        return;
    }
    // SAFETY: the hooks are plain pointers that only this thread reads and writes; ours live as
    // long as the library, which is never unloaded.
    unsafe {
        let _ = UTILITY_BEFORE_US.set(pg_sys::ProcessUtility_hook);
        pg_sys::ProcessUtility_hook = Some(process_utility);
        let _ = ACCESS_BEFORE_US.set(pg_sys::object_access_hook);
        pg_sys::object_access_hook = Some(object_access);
    }
}

/// Makes settings named `sealed.*` that nobody defined an error.
pub fn reserve_setting_prefix() {
    // SAFETY: copies the string.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"sealed".as_ptr()) };
}

#[pg_guard]
#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn process_utility(
    statement: *mut pg_sys::PlannedStmt,
    query: *const core::ffi::c_char,
    read_only_tree: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    receiver: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: PostgreSQL passes a planned statement around a utility statement.
    let commands = unsafe { commands((*statement).utilityStmt) };
    decide(&commands, |deciders| deciders.before);
    // The Vec of commands must not live across the C call below without a guard around it: both
    // branches turn an ERROR into a panic, which unwinds and frees it.
    match UTILITY_BEFORE_US.get().copied().flatten() {
        // SAFETY: the arguments are passed on as they came; the guard catches an ERROR.
        Some(previous) => unsafe {
            guard(|| {
                previous(
                    statement,
                    query,
                    read_only_tree,
                    context,
                    params,
                    environment,
                    receiver,
                    completion,
                )
            })
        },
        // SAFETY: as above; this function is guarded by pgrx.
        None => unsafe {
            pg_sys::standard_ProcessUtility(
                statement,
                query,
                read_only_tree,
                context,
                params,
                environment,
                receiver,
                completion,
            )
        },
    }
    decide(&commands, |deciders| deciders.after);
}

/// What a decider of commands looks like.
type Decide = fn(&Command) -> Result<(), Error>;

fn decide(commands: &[Command], which: fn(&Deciders) -> Decide) {
    let Some(deciders) = DECIDERS.get() else { return };
    for command in commands {
        if let Err(error) = which(deciders)(command) {
            error.report();
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn object_access(
    access: pg_sys::ObjectAccessType::Type,
    class: Oid,
    object: Oid,
    sub: i32,
    arg: *mut core::ffi::c_void,
) {
    if let Some(previous) = ACCESS_BEFORE_US.get().copied().flatten() {
        // SAFETY: the arguments are passed on as they came; the guard catches an ERROR.
        unsafe { guard(|| previous(access, class, object, sub, arg)) };
    }
    if class != pg_sys::RelationRelationId || sub != 0 {
        return;
    }
    let Some(deciders) = DECIDERS.get() else { return };
    let decided = match access {
        pg_sys::ObjectAccessType::OAT_DROP => (deciders.dropped)(object),
        pg_sys::ObjectAccessType::OAT_POST_CREATE => {
            let arg = arg.cast::<pg_sys::ObjectAccessPostCreate>();
            // SAFETY: for this access type the argument is null or of this type. Internal ones are
            // the transient tables of a rewrite.
            let internal = !arg.is_null() && unsafe { (*arg).is_internal };
            if internal { Ok(()) } else { (deciders.created)(object) }
        }
        _ => Ok(()),
    };
    if let Err(error) = decided {
        error.report();
    }
}

/// What a statement asks for, as far as it concerns us.
///
/// # Safety
/// `node` is null or a parse tree that outlives the call.
unsafe fn commands(node: *mut pg_sys::Node) -> Vec<Command> {
    if node.is_null() {
        return Vec::new();
    }
    // SAFETY: every node begins with its tag.
    let tag = unsafe { (*node).type_ };
    // SAFETY (all arms): the tag says which struct the node is.
    match tag {
        // SAFETY: see above.
        pg_sys::NodeTag::T_IndexStmt => unsafe {
            let s = &*node.cast::<pg_sys::IndexStmt>();
            let constraint = s.isconstraint || s.primary;
            let table = if constraint { None } else { find(s.relation) };
            table.map(|table| Command::CreateIndex { table }).into_iter().collect()
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

fn alter_table(statement: &pg_sys::AlterTableStmt) -> Vec<Command> {
    let mut commands = Vec::new();
    for node in class::nodes(statement.cmds) {
        // SAFETY: the list holds AlterTableCmd nodes.
        let command = unsafe { &*node.cast::<pg_sys::AlterTableCmd>() };
        match command.subtype {
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

/// The relation that a name in a statement means. No lock: what is decided here is decided again
/// where the rows are written.
fn find(range: *mut pg_sys::RangeVar) -> Option<Oid> {
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
