//! The rows of `sealed.layout`.

use sealed_columns::Division;
use sealed_crypto::{Id, LayoutId};
use serde_json::json;

use super::records::{first, now};
use crate::error::Error;
use crate::pg::catalog::{self, Oid, Row, Table, Value, View};

/// A row of `sealed.layout`: how rows of a table are sealed, or one group of their columns.
pub struct LayoutRow {
    pub id: LayoutId,
    pub relation: Oid,
    pub version: i32,
    pub data_key: Id,
    pub table: Id,
    /// Of a group: the layout that it belongs to, and its number in that.
    pub group_of: Option<(LayoutId, u16)>,
    /// Of a layout of several parts: the columns of each, and the ids of the groups.
    pub parts: Option<(Division<Id>, Vec<LayoutId>)>,
    /// Made by this transaction, so it may still vanish.
    pub uncommitted: bool,
    row: Row,
}

/// What a new row says.
pub struct NewLayout<'a> {
    pub id: LayoutId,
    pub relation: Oid,
    pub version: i32,
    pub data_key: &'a Id,
    pub table: &'a Id,
    pub group_of: Option<(LayoutId, u16)>,
    pub parts: Option<(&'a Division<Id>, &'a [LayoutId])>,
}

impl LayoutRow {
    fn parse(row: Row) -> Result<Self, Error> {
        let null = |at: usize| matches!(row.values().get(at), Some(Value::Null));
        let group_of = match null(6) {
            true => None,
            false => Some((layout_id(row.int4(6)?)?, row.int2(7)?.unsigned_abs())),
        };
        let parts = match null(8) {
            true => None,
            false => Some(parts(&row.json(8)?).ok_or_else(|| row.misshapen())?),
        };
        Ok(Self {
            id: layout_id(row.int4(0)?)?,
            relation: row.oid(1)?,
            version: row.int4(2)?,
            data_key: Id(row.uuid(3)?),
            table: Id(row.uuid(4)?),
            group_of,
            parts,
            uncommitted: row.uncommitted,
            row,
        })
    }

    /// Rows of this table are never changed, so those of the current command may be seen too, and
    /// those of transactions whose rows we were made to look at before they ended.
    pub fn find(id: LayoutId) -> Result<Option<Self>, Error> {
        let key = [(1, Value::Int4(number(id)))];
        let index = Some(c"layout_pkey");
        if let Some(row) =
            first(catalog::scan(Table::Layout, index, &key, View::Own)?, Self::parse)?
        {
            return Ok(Some(row));
        }
        let rows = catalog::scan(Table::Layout, index, &key, View::InProgress)?;
        let row = first(rows, Self::parse)?;
        Ok(row.map(|row| Self { uncommitted: true, ..row }))
    }

    /// Those of a table, the groups' too.
    pub fn of_relation(relation: Oid, view: View) -> Result<Vec<Self>, Error> {
        let key = [(2, Value::Oid(relation))];
        let rows = catalog::scan(Table::Layout, Some(c"layout_relation_idx"), &key, view)?;
        rows.into_iter().map(Self::parse).collect()
    }

    /// Those of all tables.
    pub fn all() -> Result<Vec<Self>, Error> {
        let rows = catalog::scan(Table::Layout, None, &[], View::Committed)?;
        rows.into_iter().map(Self::parse).collect()
    }

    pub fn insert(new: NewLayout<'_>) -> Result<(), Error> {
        let (group_of, group) = match new.group_of {
            Some((layout, group)) => (Value::Int4(number(layout)), Value::Int2(group as i16)),
            None => (Value::Null, Value::Null),
        };
        let values = [
            Value::Int4(number(new.id)),
            Value::Oid(new.relation),
            Value::Int4(new.version),
            Value::Uuid(new.data_key.0),
            Value::Uuid(new.table.0),
            now(),
            group_of,
            group,
            new.parts.map_or(Value::Null, |(division, ids)| Value::Json(to_json(division, ids))),
        ];
        catalog::insert(Table::Layout, &values)
    }

    pub fn delete(&self) -> Result<(), Error> {
        catalog::delete(&self.row)
    }
}

/// As SQL has it: ids have 28 bits.
fn number(id: LayoutId) -> i32 {
    id.get() as i32
}

fn layout_id(number: i32) -> Result<LayoutId, Error> {
    Ok(LayoutId::new(u32::try_from(number).unwrap_or(0))?)
}

/// `{"columns": [part of column 1, ...], "later": part, "groups": [{"layout": id, "key": null or uuid}, ...]}`.
fn to_json(division: &Division<Id>, ids: &[LayoutId]) -> serde_json::Value {
    let (columns, later) = division.to_store();
    let groups: Vec<_> = (division.groups().iter().zip(ids))
        .map(|(key, id)| json!({"layout": number(*id), "key": key.map(|key| key.to_string())}))
        .collect();
    json!({"columns": columns, "later": later, "groups": groups})
}

fn parts(stored: &serde_json::Value) -> Option<(Division<Id>, Vec<LayoutId>)> {
    let part = |value: &serde_json::Value| value.as_u64().and_then(|n| u8::try_from(n).ok());
    let columns = stored.get("columns")?.as_array()?.iter().map(part).collect::<Option<_>>()?;
    let (mut keys, mut ids) = (Vec::new(), Vec::new());
    for group in stored.get("groups")?.as_array()? {
        let id = u32::try_from(group.get("layout")?.as_u64()?).ok()?;
        ids.push(LayoutId::new(id).ok()?);
        keys.push(match group.get("key")? {
            serde_json::Value::Null => None,
            key => Some(key.as_str()?.parse().ok()?),
        });
    }
    Some((Division::from_stored(columns, part(stored.get("later")?)?, keys)?, ids))
}
