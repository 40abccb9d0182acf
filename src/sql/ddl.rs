//! Commands that would send a sealed table's rows somewhere in plaintext, or that take its keys.

use sealed_columns::Column;

use super::columns;
use crate::error::Error;
use crate::keyring;
use crate::pg::catalog::{self, Oid};
use crate::pg::class::{self, Class};
use crate::pg::hook::{Command, Published};
use crate::policy;

/// Refuses, before a command runs, what can be seen to be wrong.
pub fn before(command: &Command) -> Result<(), Error> {
    match command {
        // On a partitioned table it reaches every partition.
        Command::CreateIndex { .. } if policy::sealed_method().is_none() => Ok(()),
        Command::CreateIndex { columns: Some(_), sealed: true, .. } => Ok(()),
        Command::CreateIndex { table, columns, unique, .. } => class::with_partitions(*table)
            .into_iter()
            .filter_map(policy::sealed)
            .try_for_each(|class| policy::check_new_index(&class, columns.as_deref(), *unique)),
        Command::UniqueConstraint { table, columns } => {
            if policy::is_sealed_somewhere(*table) {
                make_plain(*table, columns, class::lock_exclusively)
            } else {
                Ok(())
            }
        }
        Command::AlterType { table, column, dropped } => {
            policy::check_type_change(*table, column, dropped)
        }
        // pg_upgrade would take its index for one in plaintext.
        Command::LoseMark => Err(Error::Unsupported {
            what: "constraints whose indexes have lost option \"sealing\"".to_owned(),
        }),
        Command::SetAccessMethod { table, method } => {
            if method.is_some() && *method == policy::sealed_method() {
                seal_table(*table)
            } else {
                Ok(())
            }
        }
        Command::SetSchema { table, schema } => match policy::sealed(*table) {
            Some(_) if catalog::is_ours(*schema) => Err(keys_in_keys()),
            Some(class) if class.permanent && class.is_table() => {
                policy::refuse_published(&class.name, class::schema_publications(*schema))
            }
            _ => Ok(()),
        },
        Command::SetLogged { table } => match policy::sealed(*table) {
            Some(class) if class.is_table() => {
                policy::check_class_not_published(&Class { permanent: true, ..class })
            }
            _ => Ok(()),
        },
        Command::AttachPartition { parent, partition } => attach(*parent, *partition),
        Command::CreatePartition { parent, name, method } => {
            if method.is_none() || *method != policy::sealed_method() {
                return Ok(());
            }
            make_keys_plain(*parent, class::lock_exclusively)?;
            policy::refuse_published(name, published_above(*parent))
        }
        Command::Publish { publication, objects } => {
            objects.iter().try_for_each(|object| publish(publication, object))
        }
    }
}

/// Values that ANALYZE has kept of a table must not outlive its sealing.
pub fn method_set(table: Oid) -> Result<(), Error> {
    if policy::is_sealed(table) {
        class::remove_statistics(table);
        keyring::note_plaintext_wal(table)?;
    } else if catalog::installed() {
        // A table that was being sealed or unsealed was written anew, as heap.
        keyring::unmix(table)?;
    }
    Ok(())
}

/// A new table, however it was made, must not fall into a publication of all tables.
pub fn created(relation: Oid) -> Result<(), Error> {
    match policy::sealed(relation) {
        Some(class) if catalog::is_ours(class.schema) => Err(keys_in_keys()),
        Some(class) if class.permanent && class.is_table() => {
            policy::refuse_published(&class.name, class::schema_publications(class.schema))
        }
        _ => Ok(()),
    }
}

/// The keys of a table go with it.
///
/// Not only those of a sealed one: a table that went back to heap keeps its keys until now.
pub fn dropped(relation: Oid) -> Result<(), Error> {
    if catalog::installed() && class::class(relation).is_some_and(|class| class.has_rows()) {
        keyring::drop_keys(relation)?;
    }
    Ok(())
}

/// Reading a key would need the key: a sealed table in schema sealed could never be opened again.
fn keys_in_keys() -> Error {
    Error::Unsupported { what: "tables in schema \"sealed\", which holds their keys".to_owned() }
}

/// What must hold before the rows of a table may be sealed.
pub(super) fn seal_table(table: Oid) -> Result<(), Error> {
    let Some(class) = class::class(table) else { return Ok(()) };
    if !class.has_rows() || policy::is_sealed(table) {
        return Ok(());
    }
    if catalog::is_ours(class.schema) {
        return Err(keys_in_keys());
    }
    policy::check_class_not_published(&class)?;
    make_keys_plain(table, class::lock_exclusively)?;
    // The rewrite fills them again as a REINDEX would, which is not asked about.
    class::indexes(table).iter().try_for_each(|index| policy::check_index(&class, index.oid))?;
    // It may have been sealed before, and have got other labels since.
    if keyring::columns::is_stale(table)? {
        class::lock_for_rotation(table);
        keyring::rotate_data_key(table)?;
        catalog::advance_command();
    }
    Ok(())
}

/// Makes the column of a surrogate key plain where its constraint needs that. `lock`: as the command is about to lock the
/// table; with less, two such commands would wait for each other.
fn make_plain(table: Oid, key: &[String], lock: fn(Oid)) -> Result<(), Error> {
    if !policy::wants_plain(table, key)? {
        return Ok(());
    }
    lock(table);
    let column = &key[0];
    let name = class::relation_name(table);
    pgrx::notice!(
        "column \"{column}\" of sealed table \"{name}\" is labelled plain: before PostgreSQL 18 a unique index has no \
         sealed keys, and this column's values are made by the server"
    );
    columns::set_label(table, column, "label this column", &Column::Plain)
}

/// The same for the constraints that a table has.
fn make_keys_plain(table: Oid, lock: fn(Oid)) -> Result<(), Error> {
    if !policy::labels_keys(table) {
        return Ok(());
    }
    lock(table);
    for index in class::indexes(table).iter().filter(|index| index.unique_constraint) {
        let name = |number: &i16| class::column_name(table, *number).unwrap_or_default();
        make_plain(table, &index.columns.iter().map(name).collect::<Vec<_>>(), lock)?;
    }
    Ok(())
}

/// The publications of a partitioned table and of what it is a partition of.
fn published_above(parent: Oid) -> Vec<String> {
    std::iter::once(parent)
        .chain(class::partition_ancestors(parent))
        .filter_map(class::class)
        .flat_map(|class| class::publications(class.oid, class.schema))
        .collect()
}

fn attach(parent: Oid, partition: Oid) -> Result<(), Error> {
    if policy::is_sealed_somewhere(partition) {
        make_keys_plain(parent, class::lock_for_rotation)?;
    }
    let published = published_above(parent);
    if published.is_empty() {
        return Ok(());
    }
    for relation in class::with_inheritors(partition) {
        if let Some(class) = policy::sealed(relation) {
            policy::refuse_published(&class.name, published.clone())?;
        }
    }
    Ok(())
}

fn publish(publication: &str, object: &Published) -> Result<(), Error> {
    let Some(method) = policy::sealed_method() else { return Ok(()) };
    let refused = match object {
        Published::AllTables => class::tables_with_method(method, None).into_iter().next(),
        Published::Schema(schema) => {
            class::tables_with_method(method, Some(*schema)).into_iter().next()
        }
        Published::Table { table, inherited } => {
            let tables = if *inherited { class::with_inheritors(*table) } else { vec![*table] };
            tables.into_iter().find_map(policy::sealed).filter(|class| class.is_table())
        }
    };
    match refused {
        None => Ok(()),
        Some(class) => policy::refuse_published(&class.name, vec![publication.to_owned()]),
    }
}
