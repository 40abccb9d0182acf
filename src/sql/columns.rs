//! Policy for columns: security labels, and the keys that columns share.

use std::ffi::CString;

use pgrx::prelude::*;
use sealed_columns::{Column, is_key_name};

use super::keys::{given, or_report};
use super::{KEY_ADMIN, require_role, rotation};
use crate::error::Error;
use crate::keyring::columns::Denied;
use crate::keyring::{self, columns};
use crate::pg::catalog::{self, Oid};
use crate::pg::{class, label, user, xact};
use crate::{guc, policy};

/// Says whether a label may be put on a table (column 0) or a column.
pub(super) fn check_label(relation: Oid, column: i16, label: Option<&str>) -> Result<(), Error> {
    // The keys' tables of a server that pg_upgrade makes are still empty; it had the labels.
    if xact::is_binary_upgrade() {
        return Ok(());
    }
    let labelled = class::class(relation);
    if column < 0 || !labelled.is_some_and(|class| class.has_rows() || class.is_partitioned()) {
        return Err(Error::Unsupported {
            what: format!(
                "a security label of provider \"sealed\" on \"{}\"",
                class::relation_name(relation)
            ),
        });
    }
    let Some(label) = label else { return Ok(()) };
    let bad = |why: sealed_columns::BadLabel| Error::BadArgument {
        what: format!("security label \"{label}\" is not understood"),
        hint: format!("{}.", capitalised(&why.to_string())),
    };
    if column == 0 {
        label.parse::<sealed_columns::Table>().map_err(bad)?;
    } else if let Column::SealedUnder(name) = label.parse().map_err(bad)? {
        columns::ColumnKey::expect(&name)?;
    }
    Ok(())
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

/// What was granted to a role goes with it, in this database.
pub(super) fn role_dropped(role: Oid) -> Result<(), Error> {
    if catalog::installed() { columns::forget_role(role) } else { Ok(()) }
}

/// After a label was stored or taken away: new rows are as it says from now on, the others are brought there.
pub(super) fn labelled(relation: Oid, column: i16) -> Result<(), Error> {
    if xact::is_binary_upgrade() {
        return Ok(());
    }
    catalog::advance_command();
    let name = class::column_name(relation, column);
    for table in class::with_inheritors(relation) {
        if let Some(class) = policy::sealed(table) {
            columns::wanted(table)?;
            policy::check_labelled(&class, name.as_deref())?;
            follow(table)?;
        }
    }
    Ok(())
}

/// After a table has become a partition: its columns have the labels of the tables above it from now on.
pub(super) fn attached(partition: Oid) -> Result<(), Error> {
    catalog::advance_command();
    for table in class::with_inheritors(partition) {
        if let Some(class) = policy::sealed(table).filter(|_| !xact::is_binary_upgrade()) {
            policy::check_attached(&class)?;
            follow(table)?;
        }
    }
    Ok(())
}

/// Has rows of a sealed table be what its labels say.
fn follow(table: Oid) -> Result<(), Error> {
    // Somebody who writes the first row makes its key by the labels that he sees, and nobody sees that key yet.
    if keyring::newest_key_made(table)?.is_none() {
        class::lock_against_writers(table);
    }
    if !columns::is_stale(table)? {
        return Ok(());
    }
    class::lock_for_rotation(table);
    keyring::rotate_data_key(table)?;
    if guc::reseal() {
        rotation::reseal(table)?;
    }
    Ok(())
}

#[pg_extern(sql = false)]
fn seal_column(relation: Oid, column: &str, key: Option<&str>) {
    xact::prevent_if_read_only(c"sealed.seal_column()");
    let label = key.map_or(Column::Sealed, |key| Column::SealedUnder(key.to_owned()));
    or_report(set_label(relation, column, "seal a column of this table", &label));
}

#[pg_extern(sql = false)]
fn unseal_column(relation: Oid, column: &str) {
    xact::prevent_if_read_only(c"sealed.unseal_column()");
    or_report(set_label(relation, column, "unseal a column of this table", &Column::Plain));
}

/// Puts a label on a column, as its owner may.
pub(super) fn set_label(
    relation: Oid,
    column: &str,
    what: &str,
    label: &Column,
) -> Result<(), Error> {
    if !user::owns(relation) {
        let needs = "ownership of the table".to_owned();
        return Err(Error::NotAllowed { what: what.to_owned(), needs });
    }
    // As SECURITY LABEL does.
    class::lock_for_rotation(relation);
    let Some(number) = class::column_number(relation, column) else {
        return Err(Error::NoSuchColumn {
            relation: class::relation_name(relation),
            column: column.to_owned(),
        });
    };
    let text = label.to_string();
    check_label(relation, number, Some(&text))?;
    label::set(relation, number, CString::new(text).ok().as_deref());
    labelled(relation, number)
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn column_policies(
    relation: Oid,
) -> TableIterator<'static, (name!(attnum, i16), name!(column_name, String), name!(policy, String))>
{
    let policy = or_report(columns::policy(relation));
    let columns = (1..).zip(policy.columns);
    TableIterator::new(columns.map(|(number, (name, column))| (number, name, column.to_string())))
}

#[pg_extern(sql = false)]
fn create_column_key(name: Option<&str>) -> pgrx::Uuid {
    let create = || {
        xact::prevent_if_read_only(c"sealed.create_column_key()");
        require_role("create a column key", &[KEY_ADMIN])?;
        let name = given("name", name)?;
        if !is_key_name(name) {
            return Err(Error::BadArgument {
                what: format!("\"{name}\" cannot be the name of a column key"),
                hint: "Use 1 to 63 letters, digits, and any of _ - .".to_owned(),
            });
        }
        let id = columns::create_column_key(name)?;
        // For what else this command calls.
        catalog::advance_command();
        Ok(id)
    };
    pgrx::Uuid::from_bytes(or_report(create()).0)
}

#[pg_extern(sql = false)]
fn rotate_column_key(name: Option<&str>) -> i32 {
    let rotate = || {
        xact::prevent_if_read_only(c"sealed.rotate_column_key()");
        require_role("rotate a column key", &[KEY_ADMIN])?;
        let (version, tables) = columns::rotate_column_key(given("name", name)?)?;
        catalog::advance_command();
        for table in tables {
            class::lock_for_rotation(table);
            if policy::is_sealed(table) {
                keyring::rotate_data_key(table)?;
                if guc::reseal() {
                    rotation::reseal(table)?;
                }
            }
        }
        Ok(version)
    };
    or_report(rotate())
}

#[pg_extern(sql = false)]
fn alter_column_key(
    name: Option<&str>,
    denied: Option<&str>,
    mask: Option<&str>,
    allow_superuser: Option<bool>,
) {
    let alter = || {
        xact::prevent_if_read_only(c"sealed.alter_column_key()");
        require_role("alter a column key", &[KEY_ADMIN])?;
        let key = columns::ColumnKey::expect(given("name", name)?)?;
        let denied = match (denied, mask) {
            (None, None) => key.denied.clone(),
            (Some("error"), None) => Denied::Error,
            (Some("null"), None) => Denied::Null,
            (Some("mask") | None, Some(mask)) => Denied::Mask(mask.to_owned()),
            _ => {
                return Err(Error::BadArgument {
                    what: "denied and mask do not fit each other".to_owned(),
                    hint: "Give denied => 'error' or 'null', or mask => 'TEXT'.".to_owned(),
                });
            }
        };
        columns::alter(&key.name, &denied, allow_superuser.unwrap_or(key.allow_superuser))
    };
    or_report(alter());
}

#[pg_extern(sql = false)]
fn grant_key(name: Option<&str>, role: Option<&str>) {
    let grant = || {
        xact::prevent_if_read_only(c"sealed.grant_key()");
        require_role("grant a column key", &[KEY_ADMIN])?;
        columns::grant(given("name", name)?, role_named(given("role", role)?)?)
    };
    or_report(grant());
}

#[pg_extern(sql = false)]
fn revoke_key(name: Option<&str>, role: Option<&str>) {
    let revoke = || {
        xact::prevent_if_read_only(c"sealed.revoke_key()");
        require_role("revoke a column key", &[KEY_ADMIN])?;
        let (name, role) = (given("name", name)?, given("role", role)?);
        if !columns::revoke(name, role_named(role)?)? {
            pgrx::warning!("column key \"{name}\" was not granted to role \"{role}\"");
        }
        Ok(())
    };
    or_report(revoke());
}

fn role_named(name: &str) -> Result<Oid, Error> {
    user::role(name).ok_or_else(|| Error::NoSuchRole { name: name.to_owned() })
}

#[pg_extern(sql = false)]
fn drop_column_key(name: Option<&str>) {
    let remove = || {
        xact::prevent_if_read_only(c"sealed.drop_column_key()");
        require_role("drop a column key", &[KEY_ADMIN])?;
        columns::drop_column_key(given("name", name)?)
    };
    or_report(remove());
}
