//! What sealed tables may not take part in: publications, and indexes in plaintext.
//!
//! Decided twice: early, where the command is read (`sql::ddl`), and at the choke points of the
//! table access method, which no command gets past.

use std::cell::RefCell;
use std::collections::HashSet;

use sealed_columns::Column;

use crate::error::Error;
use crate::guc::{self, PlaintextIndex};
use crate::keyring::{self, columns};
use crate::pg::catalog::Oid;
use crate::pg::class::{self, Class, Relation};
use crate::pg::local::backend_local;
use crate::pg::xact::{self, Listener};
use crate::pg::{hook, index_stmt, user};

backend_local! {
    /// Tables that were found in no publication, until PostgreSQL says that something changed.
    static UNPUBLISHED: RefCell<HashSet<Oid>> = RefCell::default();
}

/// Called once, in the postmaster.
pub fn init() {
    xact::listen(Listener {
        transaction_end: |_| {},
        relation_changed: |relation| {
            UNPUBLISHED.with_borrow_mut(|known| match relation {
                Some(relation) => drop(known.remove(&relation)),
                None => known.clear(),
            });
        },
        exit: || {},
    });
}

/// The table access method `sealed_heap`, where the extension is installed.
pub fn sealed_method() -> Option<Oid> {
    class::table_method(c"sealed_heap")
}

/// The relation, if it is a sealed table or a sealed materialized view.
pub fn sealed(relation: Oid) -> Option<Class> {
    let method = sealed_method()?;
    class::class(relation).filter(|class| class.has_rows() && class.access_method == method)
}

/// Whether the relation is a sealed table or a sealed materialized view.
pub fn is_sealed(relation: Oid) -> bool {
    sealed(relation).is_some()
}

/// Raises the error of a sealed table that is in a publication. For every statement that writes:
/// a publication made while the library was not looking must not replicate rows as NULLs.
pub fn check_not_published(table: Relation) -> Result<(), Error> {
    let table = class::oid_of(table);
    if UNPUBLISHED.with_borrow(|known| known.contains(&table)) {
        return Ok(());
    }
    // A transient table is published, or not, as the one it is to become.
    let class = class::class(table);
    let class = class.and_then(|c| c.rewrites.map_or(Some(c), class::class));
    if let Some(class) = class {
        check_class_not_published(&class)?;
    }
    UNPUBLISHED.with_borrow_mut(|known| known.insert(table));
    Ok(())
}

/// The same for a table whose definition is at hand; does not ask whether it is sealed.
pub fn check_class_not_published(class: &Class) -> Result<(), Error> {
    // Temporary and unlogged tables and materialized views are never published.
    if !class.permanent || !class.is_table() {
        return Ok(());
    }
    let mut published = class::publications(class.oid, class.schema);
    for ancestor in class::partition_ancestors(class.oid) {
        if let Some(ancestor) = class::class(ancestor) {
            published.extend(class::publications(ancestor.oid, ancestor.schema));
        }
    }
    refuse_published(&class.name, published)
}

/// The error for the first of some publications.
///
/// Below `wal_level = logical` nothing is published, whatever publications say, and they are as free as
/// for heap. A server that is restarted with `logical` refuses what is written to such a table.
pub fn refuse_published(table: &str, publications: Vec<String>) -> Result<(), Error> {
    match publications.into_iter().next() {
        Some(publication) if xact::wal_is_logical() => {
            Err(Error::Published { relation: table.to_owned(), publication })
        }
        _ => Ok(()),
    }
}

/// Decides about an index of a sealed table that is about to be filled. What is rebuilt was decided
/// about when it was made; TOAST indexes hold no values.
pub fn check_index_policy(table: Relation, index: Relation) -> Result<(), Error> {
    // What an ALTER TABLE that rewrites the table has added is first filled by a reindexing.
    let new = class::is_new(index);
    let (table, index) = (class::oid_of(table), class::oid_of(index));
    let rebuilt = class::being_reindexed(index) && !new || hook::reindexing();
    // A worker of a parallel build does what its leader was allowed to do.
    if rebuilt || xact::is_parallel_worker() {
        return Ok(());
    }
    match class::class(table) {
        Some(class) if class.has_rows() => check_index(&class, index),
        _ => Ok(()),
    }
}

/// Checks that the relation is a sealed table and that the caller may have it verified: messages of
/// `sealed.verify` name rows, so not everybody.
pub fn check_verify(table: Relation) -> Result<(), Error> {
    let oid = class::oid_of(table);
    let Some(class) = sealed(oid) else {
        return Err(Error::NotSealed { relation: class::relation_name(oid) });
    };
    let roles = [c"sealed_operator", c"sealed_auditor", c"sealed_key_admin"];
    if user::owns(oid) || user::has_role(&roles) {
        return Ok(());
    }
    let needs =
        "ownership of the table, or role sealed_operator, sealed_auditor or sealed_key_admin";
    Err(Error::NotAllowed {
        what: format!("verify table \"{}\"", class.name),
        needs: needs.to_owned(),
    })
}

/// Decides about one index, whether it is there already or not.
pub fn check_index(table: &Class, index: Oid) -> Result<(), Error> {
    if index_setting() == PlaintextIndex::Allow {
        return Ok(());
    }
    let index = class::index(index);
    let whole = !index.partial && !index.columns.contains(&0);
    if whole && index_stmt::is_ours(index.method) {
        return Ok(());
    }
    if !index.partial && holds_plain_columns_only(table.oid, &index.columns)? {
        return Ok(());
    }
    let error = Error::PlaintextIndex {
        relation: table.name.clone(),
        what: format!("index \"{}\"", class::relation_name(index.oid)),
        unique: index.unique_constraint && !index_stmt::CAN_BE_UNIQUE,
    };
    if index_setting() == PlaintextIndex::Constraints && is_gated(table.oid, &index)? {
        return Err(error);
    }
    match index_setting() {
        PlaintextIndex::Allow => {}
        PlaintextIndex::Warning => error.warn(),
        // (One of periods. Before 18 there is none with sealed keys, so that most would be here.)
        PlaintextIndex::Constraints if index.unique_constraint && index_stmt::CAN_BE_UNIQUE => {
            error.warn();
        }
        PlaintextIndex::Constraints | PlaintextIndex::Error => return Err(error),
    }
    Ok(())
}

/// Whether an index holds values of a column under a column key, which it shows to whoever may read the table.
fn is_gated(table: Oid, index: &class::Index) -> Result<bool, Error> {
    let policy = columns::policy(table)?;
    let gated = |(_, column): &(String, Column)| matches!(column, Column::SealedUnder(_));
    let any = index.partial || index.columns.contains(&0);
    let column = |number: &i16| {
        let column = usize::from(number.unsigned_abs()).checked_sub(1);
        *number > 0 && column.and_then(|at| policy.columns.get(at)).is_some_and(gated)
    };
    Ok(any && policy.columns.iter().any(gated) || index.columns.iter().any(column))
}

/// Decides about the indexes of a table of which a column, or all of them, has just got another label.
pub fn check_labelled(table: &Class, column: Option<&str>) -> Result<(), Error> {
    let column = column.map(|name| class::column_number(table.oid, name).unwrap_or(0));
    check_indexes(table, |index| {
        column.is_none_or(|number| number > 0 && index.columns.contains(&number))
    })
}

/// Decides about the indexes of a table that has become a partition: those of columns that are under column keys now.
pub fn check_attached(table: &Class) -> Result<(), Error> {
    check_indexes(table, |_| false)
}

/// Decides about the indexes of a table that are `concerned`, or show what is under a column key.
fn check_indexes(table: &Class, concerned: impl Fn(&class::Index) -> bool) -> Result<(), Error> {
    for index in class::indexes(table.oid) {
        if concerned(&index) || is_gated(table.oid, &index)? {
            check_index(table, index.oid)?;
        }
    }
    Ok(())
}

/// Whether an index holds only columns that are not sealed anyway.
fn holds_plain_columns_only(table: Oid, columns: &[i16]) -> Result<bool, Error> {
    let policy = columns::policy(table)?;
    let plain = |number: &i16| {
        let column = usize::from(number.unsigned_abs()).checked_sub(1);
        let column = column.and_then(|index| policy.columns.get(index));
        *number > 0 && column.is_some_and(|(_, policy)| *policy == Column::Plain)
    };
    Ok(columns.iter().all(plain))
}

/// Decides about CREATE INDEX, which is no constraint, before anything is done: a concurrent build
/// that failed later would leave an invalid index.
pub fn check_new_index(
    table: &Class,
    columns: Option<&[String]>,
    unique: bool,
) -> Result<(), Error> {
    let numbers = |names: &[String]| {
        let number = |name: &String| class::column_number(table.oid, name).unwrap_or(0);
        names.iter().map(number).collect::<Vec<_>>()
    };
    if let Some(columns) = columns
        && holds_plain_columns_only(table.oid, &numbers(columns))?
    {
        return Ok(());
    }
    match index_setting() {
        PlaintextIndex::Allow | PlaintextIndex::Warning => Ok(()),
        PlaintextIndex::Constraints | PlaintextIndex::Error => Err(Error::PlaintextIndex {
            relation: table.name.clone(),
            what: "the index".to_owned(),
            unique: unique && !index_stmt::CAN_BE_UNIQUE,
        }),
    }
}

/// Whether a unique constraint can only be made if its column becomes plain, and the column may: before 18 no unique index
/// has sealed keys, and values that the server makes up say no more than that a row is there. Not if a label says what the
/// column is to be. The table is one that is, or is to be, sealed.
pub fn wants_plain(table: Oid, columns: &[String]) -> Result<bool, Error> {
    let [column] = columns else { return Ok(false) };
    let number = class::column_number(table, column).filter(|_| labels_keys(table));
    let Some(number) = number else { return Ok(false) };
    // Rows come into a partition with the values that the partitioned table makes.
    let tables = std::iter::once(table).chain(class::partition_ancestors(table));
    let mut named = tables.filter_map(|table| Some((table, class::column_number(table, column)?)));
    Ok(named.any(|(table, number)| class::is_surrogate(table, number))
        && !columns::has_label(table, column)
        && !holds_plain_columns_only(table, &[number])?)
}

/// Whether columns of surrogate keys of a table may become plain by themselves.
pub fn labels_keys(table: Oid) -> bool {
    // Who may not add a constraint or a partition is told so by PostgreSQL.
    !index_stmt::CAN_BE_UNIQUE
        && index_setting() == PlaintextIndex::Constraints
        && user::owns(table)
}

/// Whether a table is sealed, or, if it is partitioned, has sealed partitions or will have.
pub fn is_sealed_somewhere(table: Oid) -> bool {
    let (Some(method), Some(class)) = (sealed_method(), class::class(table)) else { return false };
    if !class.is_partitioned() {
        return class.has_rows() && class.access_method == method;
    }
    let tables = class::with_inheritors(table).into_iter().filter_map(class::class);
    let mut leaves = tables.filter(Class::has_rows).peekable();
    leaves.peek().is_none() && will_have_sealed(&class, method)
        || leaves.any(|leaf| leaf.access_method == method)
}

/// Whether partitions that are to come are sealed, unless they say something else.
fn will_have_sealed(partitioned: &Class, method: Oid) -> bool {
    partitioned.access_method == method
        || partitioned.access_method == Oid::INVALID
            && class::default_table_method() == Some(method)
}

/// The first index of a table that has sealed keys.
pub fn sealed_index(table: Oid) -> Option<Oid> {
    let indexes = class::indexes(table);
    indexes.iter().find(|index| index_stmt::is_ours(index.method)).map(|index| index.oid)
}

/// Whether an index or a constraint that is asked for is to have sealed keys. What cannot have them is refused, or
/// made in plaintext, as the setting says.
pub fn make_sealed(asked: &index_stmt::Asked) -> bool {
    let (Some(method), Some(table)) = (sealed_method(), asked.table) else { return false };
    let Some(columns) = &asked.columns else { return false };
    if asked.unique && !index_stmt::CAN_BE_UNIQUE {
        return false;
    }
    // What the file of a constraint's index holds, that the old server has, only its option says; any other index says
    // its access method.
    if xact::is_binary_upgrade() {
        return asked.marked;
    }
    if index_setting() == PlaintextIndex::Allow && !asked.marked {
        return false;
    }
    let tables: Vec<_> =
        class::with_partitions(table).into_iter().filter_map(class::class).collect();
    let mut leaves = tables.iter().filter(|class| class.has_rows()).peekable();
    let Some(first) = tables.first() else { return false };
    if leaves.peek().is_none() {
        return will_have_sealed(first, method);
    }
    let mut any = asked.marked;
    for leaf in leaves {
        // An index of all partitions is of one access method, and this one is for sealed tables.
        if leaf.access_method != method || is_being_unsealed(leaf.oid) {
            return false;
        }
        let number = |name: &String| class::column_number(leaf.oid, name).unwrap_or(0);
        let numbers: Vec<_> = columns.iter().map(number).collect();
        match holds_plain_columns_only(leaf.oid, &numbers) {
            Ok(plain) => any |= !plain,
            Err(error) => error.report(),
        }
    }
    any
}

/// Whether a sealed table is on its way to heap, where no index may have sealed keys.
pub fn is_being_unsealed(table: Oid) -> bool {
    let mixed = keyring::mixed(table).unwrap_or_else(|error| error.report());
    mixed.is_some_and(|mixed| mixed.target == keyring::Kind::Plain)
}

/// Decides about another type, or expression, for a column. PostgreSQL makes the constraints on it anew, from texts that
/// name no access method: they would be in plaintext. `dropped`: constraints that the same command drops.
pub fn check_type_change(table: Oid, column: &str, dropped: &[String]) -> Result<(), Error> {
    let Some(method) = class::index_method(index_stmt::METHOD) else { return Ok(()) };
    for relation in class::with_inheritors(table) {
        // Not a composite type, which is altered so too, nor a table of another access method.
        let concerns =
            |class: &Class| class.is_partitioned() || Some(class.access_method) == sealed_method();
        if !class::class(relation).is_some_and(|class| concerns(&class)) {
            continue;
        }
        let Some(number) = class::column_number(relation, column) else { continue };
        for index in class::indexes(relation) {
            let name = class::relation_name(index.oid);
            let remade = index.method == method && index.unique_constraint;
            if remade && index.columns.contains(&number) && !dropped.contains(&name) {
                return Err(Error::SealedConstraint {
                    relation: class::relation_name(relation),
                    column: column.to_owned(),
                    constraint: name,
                });
            }
        }
    }
    Ok(())
}

/// The setting, as far as it is asked: the indexes that pg_upgrade makes were decided about when they
/// were made, perhaps under another setting.
fn index_setting() -> PlaintextIndex {
    if xact::is_binary_upgrade() { PlaintextIndex::Allow } else { guc::plaintext_index() }
}
