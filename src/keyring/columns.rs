//! Column keys (`sealed.column_key`), and what the labels of a table's columns ask for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use sealed_columns::{Column, Division, Table as Others};
use sealed_crypto::{Id, KernelRng};

use super::audit::{self, Subject};
use super::layout_row::LayoutRow;
use super::layouts;
use super::records::{DataKeyRow, WrapRow, first, now};
use super::shared::{self, Kind};
use crate::error::Error;
use crate::pg::catalog::{self, Oid, Row, Table, Value, View};
use crate::pg::local::backend_local;
use crate::pg::{class, label, user, xact};

/// What a role gets that may not open what is under a column key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Denied {
    /// An error that names the column.
    Error,
    /// NULL.
    Null,
    /// A text, in columns of string types; NULL in others.
    Mask(String),
}

/// A row of `sealed.column_key`.
pub struct ColumnKey {
    /// Its id, to which its data keys are bound.
    pub id: Id,
    /// Its name, in labels.
    pub name: String,
    /// What others get.
    pub denied: Denied,
    /// Superusers need no grant.
    pub allow_superuser: bool,
    /// The roles that it was granted to.
    pub roles: Vec<Oid>,
    row: Row,
}

backend_local! {
    /// Column keys that were asked for, until one of them changes.
    static KNOWN: RefCell<HashMap<Id, Rc<ColumnKey>>> = RefCell::default();
}

/// Forgets column keys and their grants.
pub fn forget() {
    KNOWN.with_borrow_mut(HashMap::clear);
}

impl ColumnKey {
    fn parse(row: Row) -> Result<Self, Error> {
        let id = Id(row.uuid(0)?);
        let denied = match row.text(2)?.as_str() {
            "error" => Denied::Error,
            "null" => Denied::Null,
            "mask" => Denied::Mask(row.text(3)?),
            _ => return Err(row.misshapen()),
        };
        let allow_superuser = row.values().get(4) == Some(&Value::Bool(true));
        let roles = grants(&id)?.iter().map(|row| row.oid(1)).collect::<Result<_, _>>()?;
        Ok(Self { id, name: row.text(1)?, denied, allow_superuser, roles, row })
    }

    /// The key of an id, as the keyring knows it.
    pub fn known(id: &Id) -> Result<Rc<Self>, Error> {
        if let Some(known) = KNOWN.with_borrow(|known| known.get(id).cloned()) {
            return Ok(known);
        }
        let key = [(1, Value::Uuid(id.0))];
        let index = Some(c"column_key_pkey");
        let (found, keep) = xact::reading(|| {
            first(catalog::scan(Table::ColumnKey, index, &key, View::Committed)?, Self::parse)
        })?;
        let found = Rc::new(found.ok_or_else(|| Error::DataKeyGone { id: id.to_string() })?);
        if keep {
            KNOWN.with_borrow_mut(|known| known.insert(*id, Rc::clone(&found)));
        }
        Ok(found)
    }

    /// The key of a name.
    pub fn named(name: &str) -> Result<Option<Self>, Error> {
        let key = [(2, Value::Text(name.to_owned()))];
        let index = Some(c"column_key_name_key");
        first(catalog::scan(Table::ColumnKey, index, &key, View::Committed)?, Self::parse)
    }

    /// The key of a name, which must be there.
    pub fn expect(name: &str) -> Result<Self, Error> {
        Self::named(name)?.ok_or_else(|| Error::NoSuchColumnKey { name: name.to_owned() })
    }
}

fn grants(key: &Id) -> Result<Vec<Row>, Error> {
    let key = [(1, Value::Uuid(key.0))];
    catalog::scan(Table::ColumnKeyGrant, Some(c"column_key_grant_pkey"), &key, View::Committed)
}

/// Lets a role, and who is a member of it, open what is under a column key.
pub fn grant(name: &str, role: Oid) -> Result<(), Error> {
    catalog::lock_against_writers(Table::ColumnKeyGrant)?;
    let key = ColumnKey::expect(name)?;
    if key.roles.contains(&role) {
        return Ok(());
    }
    let by = user::who().current_user;
    let values = [Value::Uuid(key.id.0), Value::Oid(role), Value::Text(by), now()];
    catalog::insert(Table::ColumnKeyGrant, &values)?;
    changed("grant_key", &key, format!("to {}", user::name(role)))
}

/// Takes that away. Whether there was something to take.
pub fn revoke(name: &str, role: Oid) -> Result<bool, Error> {
    catalog::lock_against_writers(Table::ColumnKeyGrant)?;
    let key = ColumnKey::expect(name)?;
    for row in grants(&key.id)? {
        if row.oid(1)? == role {
            catalog::delete(&row)?;
            changed("revoke_key", &key, format!("from {}", user::name(role)))?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes away whatever was granted to a role.
pub fn forget_role(role: Oid) -> Result<(), Error> {
    for row in catalog::scan(Table::ColumnKeyGrant, None, &[], View::Committed)? {
        if row.oid(1)? == role {
            let key = ColumnKey::known(&Id(row.uuid(0)?))?;
            catalog::lock_for_writing(Table::ColumnKeyGrant)?;
            catalog::delete(&row)?;
            changed("revoke_key", &key, format!("from {}, dropped", user::name(role)))?;
        }
    }
    Ok(())
}

/// Raises the error of a column that would no longer be under its column key, if the current user may not open
/// that: who may not read a column must not move it to where he may. `new`: what it is to be divided into;
/// None if the whole table is to be plain.
pub fn check_release(relation: Oid, new: Option<Option<&Division<Id>>>) -> Result<(), Error> {
    let Some((old, _)) = layouts::newest(relation)?.and_then(|row| row.parts) else {
        return Ok(());
    };
    let (columns, _) = old.to_store();
    for index in 0..columns.len() {
        let Some(before) = old.key_of(index) else { continue };
        let after = new.flatten().and_then(|new| new.key_of(index));
        let name = class::column_name(relation, index as i16 + 1);
        // (a column that was dropped has no name)
        let Some(column) = name.filter(|_| after != Some(before)) else { continue };
        let key = ColumnKey::known(before)?;
        if !user::is_one_of(user::current(), &key.roles, key.allow_superuser) {
            let (relation, key) = (class::relation_name(relation), key.name.clone());
            return Err(Error::ColumnDenied { relation, column, key });
        }
    }
    Ok(())
}

/// Says what roles without a grant get, and whether superusers need one.
pub fn alter(name: &str, denied: &Denied, allow_superuser: bool) -> Result<(), Error> {
    catalog::lock_against_writers(Table::ColumnKey)?;
    let key = ColumnKey::expect(name)?;
    let mut values = key.row.values().to_vec();
    let (word, mask) = match denied {
        Denied::Error => ("error", Value::Null),
        Denied::Null => ("null", Value::Null),
        Denied::Mask(mask) => ("mask", Value::Text(mask.clone())),
    };
    values[2] = Value::Text(word.to_owned());
    values[3] = mask;
    values[4] = Value::Bool(allow_superuser);
    catalog::update(&key.row, &values)?;
    changed("alter_column_key", &key, format!("denied: {word}, superusers: {allow_superuser}"))
}

fn changed(event: &'static str, key: &ColumnKey, detail: String) -> Result<(), Error> {
    catalog::table_changed(Table::ColumnKeyGrant)?;
    record(event, key.id, &key.name, detail);
    Ok(())
}

/// Marks data keys of column keys as retired of which no table has rows any more, now that one has none under
/// older layouts.
pub fn retire(relation: Oid) -> Result<(), Error> {
    let mut mine = LayoutRow::of_relation(relation, View::Committed)?;
    mine.retain(|row| row.group_of.is_some());
    let keys = DataKeyRow::of_relation(Oid::INVALID)?;
    if !mine.iter().any(|row| keys.iter().any(|key| key.id == row.data_key)) {
        return Ok(());
    }
    // Two tables that finish at the same time: the second sees what the first has retired.
    catalog::lock_against_writers(Table::ColumnKey)?;
    let all = LayoutRow::all()?;
    for key in keys.iter().filter(|key| !key.retired && !key.destroyed) {
        let newer = |other: &&DataKeyRow| other.table == key.table && other.version > key.version;
        if !keys.iter().any(|other| newer(&other)) {
            continue;
        }
        let mut used = false;
        for group in all.iter().filter(|row| row.group_of.is_some() && row.data_key == key.id) {
            // A table's own key, which every layout has anew, says whether rows under that may be left.
            let whole = all.iter().find(|row| group.group_of.is_some_and(|(id, _)| id == row.id));
            let own = whole.map(|row| DataKeyRow::find(&row.data_key)).transpose()?.flatten();
            used |= own.is_none_or(|own| !own.retired && !own.destroyed);
        }
        if !used {
            key.retire()?;
            let detail = format!("version {}", key.version);
            audit::record(
                "retire_data_key",
                Subject { key: Some(key.id), detail, ..Subject::default() },
            );
        }
    }
    Ok(())
}

/// What each column of a table is to be, by its labels and those of the partitioned tables above it; and
/// what columns are to be that come later.
pub struct Policy {
    /// By number, from 1. A dropped column is as later ones.
    pub columns: Vec<(String, Column)>,
    /// What the table's label says.
    pub others: Others,
}

/// The policy for the columns of a table.
pub fn policy(relation: Oid) -> Result<Policy, Error> {
    let (table, columns) = label::of_table(relation);
    let above: Vec<_> =
        class::partition_ancestors(relation).into_iter().map(label::of_table).collect();
    let tables = std::iter::once(&table).chain(above.iter().map(|(label, _)| label));
    let others = match tables.flatten().next() {
        Some(label) => label.parse().map_err(|e| bad_label(relation, label, e))?,
        None => Others::Sealed,
    };
    let other = || match others {
        Others::Plain => Column::Plain,
        Others::Sealed => Column::Sealed,
    };
    let columns = columns.into_iter().map(|column| {
        // Columns of a partition have the names of its parent's, but not always their numbers.
        let inherited = || {
            let above = above.iter().flat_map(|(_, columns)| columns);
            above.filter(|c| c.name == column.name && !c.dropped).find_map(|c| c.label.as_ref())
        };
        let label = (!column.dropped).then(|| column.label.as_ref().or_else(inherited)).flatten();
        let wanted = match label {
            None => other(),
            Some(label) => label.parse().map_err(|e| bad_label(relation, label, e))?,
        };
        Ok((column.name, wanted))
    });
    Ok(Policy { columns: columns.collect::<Result<_, Error>>()?, others })
}

/// Whether a column has a label, its own or that of a partitioned table above.
pub fn has_label(relation: Oid, column: &str) -> bool {
    let above = class::partition_ancestors(relation);
    std::iter::once(relation).chain(above).any(|table| {
        let number = class::column_number(table, column);
        number.is_some_and(|number| label::get(table, number.into()).is_some())
    })
}

/// How the columns of a table are to be divided; `None` if all are sealed under its own key.
pub fn wanted(relation: Oid) -> Result<Option<Division<Id>>, Error> {
    let policy = policy(relation)?;
    let key = |column: &Column| {
        Ok::<_, Error>(match column {
            Column::Plain => None,
            Column::Sealed => Some(None),
            Column::SealedUnder(name) => Some(Some(ColumnKey::expect(name)?.id)),
        })
    };
    let columns = policy.columns.iter().map(|(_, column)| key(column));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let others = match policy.others {
        Others::Plain => None,
        Others::Sealed => Some(None),
    };
    Division::new(others, &columns)
        .map_err(|_| Error::TooManyGroups { relation: class::relation_name(relation) })
}

/// Whether rows of a table are written otherwise than its labels ask for now. Of one that has no key yet they
/// are not.
pub fn is_stale(relation: Oid) -> Result<bool, Error> {
    let Some(newest) = layouts::newest(relation)? else { return Ok(false) };
    Ok(newest.parts.map(|(division, _)| division) != wanted(relation)?)
}

fn bad_label(relation: Oid, label: &str, why: sealed_columns::BadLabel) -> Error {
    Error::BadArgument {
        what: format!(
            "security label \"{label}\" of \"{}\" is not understood",
            class::relation_name(relation)
        ),
        hint: format!("Put another one there: {why}."),
    }
}

/// The newest data key of a column key.
pub fn current_key(column_key: &Id) -> Result<Id, Error> {
    let newest = data_keys(column_key)?.into_iter().max_by_key(|key| (key.version, key.id));
    newest.map(|key| key.id).ok_or_else(|| Error::DataKeyGone { id: column_key.to_string() })
}

fn data_keys(column_key: &Id) -> Result<Vec<DataKeyRow>, Error> {
    let mut found = DataKeyRow::of_relation(Oid::INVALID)?;
    found.retain(|key| key.table == *column_key);
    Ok(found)
}

/// Makes a column key and its first data key.
pub fn create_column_key(name: &str) -> Result<Id, Error> {
    catalog::lock_against_writers(Table::ColumnKey)?;
    if ColumnKey::named(name)?.is_some() {
        return Err(Error::Exists { what: "column key", name: name.to_owned() });
    }
    let id = Id::make(&mut KernelRng);
    let values = [
        Value::Uuid(id.0),
        Value::Text(name.to_owned()),
        Value::Text("error".to_owned()),
        Value::Null,
        Value::Bool(true),
        now(),
    ];
    catalog::insert(Table::ColumnKey, &values)?;
    layouts::make_data_key(Oid::INVALID, 1, Some(id))?;
    record("create_column_key", id, name, String::new());
    Ok(id)
}

/// Makes a new data key of a column key, for the layouts that are made from now on. Returns its version, and
/// the tables that have columns under the older ones.
pub fn rotate_column_key(name: &str) -> Result<(i32, Vec<Oid>), Error> {
    catalog::lock_against_writers(Table::ColumnKey)?;
    let id = ColumnKey::expect(name)?.id;
    let newest = data_keys(&id)?.iter().map(|key| key.version).max().unwrap_or(0);
    let tables = tables_under(&id)?;
    layouts::make_data_key(Oid::INVALID, newest + 1, Some(id))?;
    record("rotate_column_key", id, name, format!("version {}", newest + 1));
    Ok((newest + 1, tables))
}

/// The tables that have layouts with a group under a column key.
fn tables_under(column_key: &Id) -> Result<Vec<Oid>, Error> {
    let keys: Vec<Id> = data_keys(column_key)?.iter().map(|key| key.id).collect();
    let mut tables: Vec<Oid> = LayoutRow::all()?
        .into_iter()
        .filter(|row| row.group_of.is_some() && keys.contains(&row.data_key))
        .map(|row| row.relation)
        .collect();
    tables.sort_by_key(|oid| oid.to_u32());
    tables.dedup();
    Ok(tables)
}

/// Removes a column key that no table has rows under, nor had and may still have.
pub fn drop_column_key(name: &str) -> Result<(), Error> {
    catalog::lock_against_writers(Table::ColumnKey)?;
    let key = ColumnKey::expect(name)?;
    if let Some(table) = tables_under(&key.id)?.first() {
        return Err(Error::BadArgument {
            what: format!(
                "cannot drop column key \"{name}\": rows of \"{}\" are or were sealed under it",
                class::relation_name(*table)
            ),
            hint: "Keys of rows go with their tables. A backup may need it.".to_owned(),
        });
    }
    catalog::lock_for_writing(Table::DataKeyWrap)?;
    for data_key in data_keys(&key.id)? {
        for wrap in WrapRow::of_key(&data_key.id, View::Committed)? {
            wrap.delete()?;
        }
        data_key.delete()?;
        shared::remove(Kind::DataKey, &data_key.id);
    }
    for grant in grants(&key.id)? {
        catalog::delete(&grant)?;
    }
    changed("drop_column_key", &key, String::new())?;
    catalog::delete(&key.row)
}

fn record(event: &'static str, key: Id, name: &str, detail: String) {
    let object = name.to_owned();
    audit::record(event, Subject { key: Some(key), object, detail, ..Subject::default() });
}
