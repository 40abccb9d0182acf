//! PostgreSQL's hooks: what commands ask for, which relations come and go.
//!
//! Each hook calls the one that was there before it. The functions that decide are registered, so
//! that this module knows nothing of them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::pg_guard;
use pgrx::pg_sys::{self, Oid};

use super::{add_column, index_stmt, label};
use crate::error::Error;

mod read;

use read::commands;

/// A command that the extension has an opinion on.
#[derive(Debug)]
pub enum Command {
    /// CREATE INDEX, not of a constraint.
    CreateIndex {
        /// The table.
        table: Oid,
        /// Its columns, if it has no expressions and no predicate.
        columns: Option<Vec<String>>,
        /// Its keys are to be sealed.
        sealed: bool,
        /// It is to be unique.
        unique: bool,
    },
    /// PRIMARY KEY or UNIQUE of a table that is there.
    UniqueConstraint {
        /// The table.
        table: Oid,
        /// Its columns.
        columns: Vec<String>,
    },
    /// ALTER TABLE ... ALTER COLUMN ... TYPE or SET EXPRESSION.
    AlterType {
        /// The table.
        table: Oid,
        /// The column.
        column: String,
        /// Constraints that the same command drops.
        dropped: Vec<String>,
    },
    /// ALTER INDEX ... RESET of the option of constraints with sealed keys.
    LoseMark,
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
    /// ALTER TABLE ... SET LOGGED.
    SetLogged {
        /// The table.
        table: Oid,
    },
    /// ALTER TABLE ... ATTACH PARTITION.
    AttachPartition {
        /// The partitioned table.
        parent: Oid,
        /// The new partition.
        partition: Oid,
    },
    /// CREATE TABLE ... PARTITION OF.
    CreatePartition {
        /// The partitioned table.
        parent: Oid,
        /// The new partition's name, without a schema.
        name: String,
        /// The method it asks for, else its parent's, else the default one.
        method: Option<Oid>,
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
    /// Whether a relation is a sealed table.
    pub is_sealed: fn(Oid) -> bool,
    /// Whether an index or constraint that is asked for is to have sealed keys.
    pub make_sealed: index_stmt::Decide,
    /// Before a command runs.
    pub before: fn(&Command) -> Result<(), Error>,
    /// After a table's access method was set.
    pub method_set: fn(Oid) -> Result<(), Error>,
    /// After a relation came into being, still in the same command.
    pub created: fn(Oid) -> Result<(), Error>,
    /// Before a relation is dropped.
    pub dropped: fn(Oid) -> Result<(), Error>,
    /// Before a role is dropped.
    pub role_dropped: fn(Oid) -> Result<(), Error>,
    /// After a security label of ours on a table (column 0) or a column was stored.
    pub labelled: fn(Oid, i16) -> Result<(), Error>,
    /// After a table has become a partition.
    pub attached: fn(Oid) -> Result<(), Error>,
    /// After COMMIT PREPARED. What was prepared is committed by now, so it must not fail.
    pub prepared_committed: fn(),
    /// After a database came into being, still in the same command.
    pub database_created: fn(Oid),
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

/// Whether the last utility command is a REINDEX, which builds again what was there.
///
/// REINDEX CONCURRENTLY builds an index that PostgreSQL does not call a rebuild. Set anew by every
/// command, so that an ERROR leaves nothing behind that counts.
static REINDEXING: AtomicBool = AtomicBool::new(false);

/// Whether the last utility command is COMMIT PREPARED. Set anew as well.
static COMMITS_PREPARED: AtomicBool = AtomicBool::new(false);

/// Whether the running utility command is COPY of a table TO, which reads it without a plan.
static COPIES_OUT: AtomicBool = AtomicBool::new(false);

/// Whether COPY of a table TO runs, so that whatever reads a table shows it.
pub fn copies_out() -> bool {
    COPIES_OUT.load(Ordering::Relaxed)
}

/// A plan begins, or a transaction or a part of it ended: what reads a table from now on is no COPY. Without
/// this an UPDATE after a failed COPY would store what COPY may show in place of a value.
pub fn copy_out_ended() {
    COPIES_OUT.store(false, Ordering::Relaxed);
}

/// Whether indexes that are being built were there before, by the command's own word.
pub fn reindexing() -> bool {
    REINDEXING.load(Ordering::Relaxed)
}

/// A REINDEX begins that is no command: what it builds was there before.
pub fn reindex_begins() {
    REINDEXING.store(true, Ordering::Relaxed);
}

/// Makes settings named `sealed.*` that nobody defined an error.
pub fn reserve_setting_prefix() {
    // SAFETY: copies the string.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"sealed".as_ptr()) };
}

/// What is to be done after a command.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
struct After {
    /// The table that it gives another access method.
    method_set: Oid,
    /// The table that it makes a partition, whose columns have the labels of its parent's from then on.
    attached: Oid,
}

/// Around every utility command.
///
/// This frame and that of `object_access` are no `pg_guard`: an ERROR of the command itself jumps
/// over them, as it would over a hook written in C, and keeps its cursor position, context and
/// constraint name, which a way through Rust would lose. So they own nothing that is to be dropped.
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
    let next = match UTILITY_BEFORE_US.get() {
        Some(Some(previous)) => *previous,
        _ => raw::standard_ProcessUtility as unsafe extern "C-unwind" fn(_, _, _, _, _, _, _, _),
    };
    let mut statement = statement;
    // SAFETY: PostgreSQL passes a planned statement around a utility statement.
    let after = unsafe { before_command(&raw mut statement, read_only_tree, context) };
    // SAFETY: the arguments are passed on as they came; this frame has nothing to drop.
    unsafe {
        next(statement, query, read_only_tree, context, params, environment, receiver, completion)
    };
    let more =
        add_column::any_wrapped() || label::any() || COMMITS_PREPARED.load(Ordering::Relaxed);
    copy_out_ended();
    if after != After::default() || more {
        // SAFETY: plain arguments.
        unsafe { after_command(after) };
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn before_command(
    statement: *mut *mut pg_sys::PlannedStmt,
    read_only: bool,
    context: pg_sys::ProcessUtilityContext::Type,
) -> After {
    let mut after = After::default();
    let Some(deciders) = DECIDERS.get() else { return after };
    // SAFETY: the caller's promise.
    let node = unsafe {
        *statement = index_stmt::adapt(*statement, read_only, deciders.make_sealed);
        (**statement).utilityStmt
    };
    // A command within another one (of an event trigger) leaves what that has begun.
    let whole = context == pg_sys::ProcessUtilityContext::PROCESS_UTILITY_TOPLEVEL;
    if whole {
        // What a command before left that an ERROR ended.
        label::take_labelled();
    }
    // SAFETY: every node begins with its tag.
    let tag = unsafe { node.as_ref() }.map(|node| node.type_);
    REINDEXING.store(tag == Some(pg_sys::NodeTag::T_ReindexStmt), Ordering::Relaxed);
    let commits_prepared = tag == Some(pg_sys::NodeTag::T_TransactionStmt)
        // SAFETY: the tag says which struct the node is.
        && unsafe { (*node.cast::<pg_sys::TransactionStmt>()).kind }
            == pg_sys::TransactionStmtKind::TRANS_STMT_COMMIT_PREPARED;
    COMMITS_PREPARED.store(commits_prepared, Ordering::Relaxed);
    let copies_out = tag == Some(pg_sys::NodeTag::T_CopyStmt) && {
        // SAFETY: the tag says which struct the node is.
        let copy = unsafe { &*node.cast::<pg_sys::CopyStmt>() };
        !copy.is_from && copy.query.is_null()
    };
    COPIES_OUT.store(copies_out, Ordering::Relaxed);
    let alters = tag == Some(pg_sys::NodeTag::T_AlterTableStmt);
    if whole || alters && context != pg_sys::ProcessUtilityContext::PROCESS_UTILITY_SUBCOMMAND {
        // SAFETY: as above.
        unsafe { add_column::begin(node) };
    }
    // SAFETY: as above.
    for command in unsafe { commands(node) } {
        if let Err(error) = (deciders.before)(&command) {
            error.report();
        }
        match command {
            Command::SetAccessMethod { table, .. } => after.method_set = table,
            Command::AttachPartition { partition, .. } => after.attached = partition,
            _ => {}
        }
    }
    after
}

#[pg_guard]
unsafe extern "C-unwind" fn after_command(after: After) {
    let Some(deciders) = DECIDERS.get() else { return };
    let mut done = add_column::unwrap();
    if after.method_set != Oid::INVALID {
        done = done.and_then(|()| (deciders.method_set)(after.method_set));
    }
    if let Some((table, column)) = label::take_labelled() {
        done = done.and_then(|()| (deciders.labelled)(table, column));
    }
    if after.attached != Oid::INVALID {
        done = done.and_then(|()| (deciders.attached)(after.attached));
    }
    if COMMITS_PREPARED.swap(false, Ordering::Relaxed) {
        (deciders.prepared_committed)();
    }
    if let Err(error) = done {
        error.report();
    }
}

/// When an object comes, goes or is looked at. See `process_utility` for why it is no `pg_guard`.
unsafe extern "C-unwind" fn object_access(
    access: pg_sys::ObjectAccessType::Type,
    class: Oid,
    object: Oid,
    sub: i32,
    arg: *mut core::ffi::c_void,
) {
    if let Some(Some(previous)) = ACCESS_BEFORE_US.get() {
        // SAFETY: the arguments are passed on as they came; this frame has nothing to drop.
        unsafe { previous(access, class, object, sub, arg) };
    }
    // SAFETY: as above.
    unsafe {
        if class == pg_sys::RelationRelationId && sub == 0 {
            relation_access(access, object, arg);
        } else if class == pg_sys::DatabaseRelationId {
            database_access(access, object);
        } else if class == pg_sys::AuthIdRelationId {
            role_access(access, object);
        } else if access == pg_sys::ObjectAccessType::OAT_POST_CREATE && sub > 0 {
            column_access(class, object, sub as i16);
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn column_access(class: Oid, table: Oid, attnum: i16) {
    let hook = match class {
        pg_sys::RelationRelationId => add_column::added,
        // Of a default, the object is the table too.
        add_column::PG_ATTRDEF => add_column::default_stored,
        _ => return,
    };
    if DECIDERS.get().is_some_and(|deciders| (deciders.is_sealed)(table))
        && let Err(error) = hook(table, attnum)
    {
        error.report();
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn role_access(access: pg_sys::ObjectAccessType::Type, role: Oid) {
    if access == pg_sys::ObjectAccessType::OAT_DROP
        && let Some(deciders) = DECIDERS.get()
        && let Err(error) = (deciders.role_dropped)(role)
    {
        error.report();
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn database_access(access: pg_sys::ObjectAccessType::Type, database: Oid) {
    if access == pg_sys::ObjectAccessType::OAT_POST_CREATE
        && let Some(deciders) = DECIDERS.get()
    {
        (deciders.database_created)(database);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_access(
    access: pg_sys::ObjectAccessType::Type,
    relation: Oid,
    arg: *mut core::ffi::c_void,
) {
    let Some(deciders) = DECIDERS.get() else { return };
    let decided = match access {
        pg_sys::ObjectAccessType::OAT_DROP => (deciders.dropped)(relation),
        pg_sys::ObjectAccessType::OAT_POST_CREATE => {
            let arg = arg.cast::<pg_sys::ObjectAccessPostCreate>();
            // SAFETY: for this access type the argument is null or of this type. Internal ones are
            // the transient tables of a rewrite.
            let internal = !arg.is_null() && unsafe { (*arg).is_internal };
            // Such as that of a rewrite, which begins when every default was looked at.
            add_column::evaluated();
            if internal { Ok(()) } else { (deciders.created)(relation) }
        }
        _ => Ok(()),
    };
    if let Err(error) = decided {
        error.report();
    }
}

/// The server's own function, not the guarded one of pgrx.
mod raw {
    use super::*;
    unsafe extern "C-unwind" {
        pub fn standard_ProcessUtility(
            statement: *mut pg_sys::PlannedStmt,
            query: *const core::ffi::c_char,
            read_only_tree: bool,
            context: pg_sys::ProcessUtilityContext::Type,
            params: pg_sys::ParamListInfo,
            environment: *mut pg_sys::QueryEnvironment,
            receiver: *mut pg_sys::DestReceiver,
            completion: *mut pg_sys::QueryCompletion,
        );
    }
}
