//! The rows of the tables in schema `sealed`, typed.

use sealed_crypto::{Id, Suite};

use super::mixed::{Kind, Mixed};
use crate::error::Error;
use crate::pg::catalog::{self, Oid, Row, Table, Value, View};
use crate::pg::xact;

/// A row of `sealed.key_provider`.
pub struct ProviderRow {
    pub name: String,
    pub kind: String,
    pub options: serde_json::Value,
}

/// A row of `sealed.master_key`.
pub struct MasterRow {
    pub id: Id,
    pub suite: Suite,
    pub provider: String,
    pub public_key: Vec<u8>,
    pub check_value: Vec<u8>,
    pub wrapped_seed: Vec<u8>,
    pub active: bool,
    row: Row,
}

/// A row of `sealed.data_key`.
pub struct DataKeyRow {
    pub id: Id,
    pub relation: Oid,
    pub destroyed: bool,
    /// Not to be sealed under any more.
    pub retired: bool,
    pub version: i32,
    /// The table's uuid, or that of the column key.
    pub table: Id,
    row: Row,
}

/// A row of `sealed.data_key_wrap`.
pub struct WrapRow {
    pub data_key: Id,
    pub recipient: Id,
    pub record: Vec<u8>,
    row: Row,
}

/// A row of `sealed.recipient`.
pub struct RecipientRow {
    pub id: Id,
    pub name: String,
    pub suite: Suite,
    pub public_key: Vec<u8>,
    /// The active master key's word for it (`MasterKey::recipient_mac`).
    pub mac: Vec<u8>,
    row: Option<Row>,
}

/// A row of `sealed.missing_value`.
pub struct MissingRow {
    pub attnum: i16,
    pub value: Vec<u8>,
    row: Row,
}

/// A row of `sealed.mixed_table`.
pub struct MixedRow {
    pub mixed: Mixed,
    row: Row,
}

/// `state` of a key in use.
pub const ACTIVE: &str = "active";
/// `state` of a key that a newer one has replaced.
pub const RETIRED: &str = "retired";
/// `state` of a data key whose wraps were removed on purpose.
pub const DESTROYED: &str = "destroyed";

pub fn now() -> Value {
    Value::Time(xact::now_us())
}

fn suite_value(suite: Suite) -> Value {
    Value::Int2(suite as i16)
}

fn suite(row: &Row, at: usize) -> Result<Suite, Error> {
    Ok(Suite::try_from(u16::try_from(row.int2(at)?).unwrap_or(0))?)
}

pub fn first<T>(rows: Vec<Row>, parse: fn(Row) -> Result<T, Error>) -> Result<Option<T>, Error> {
    rows.into_iter().next().map(parse).transpose()
}

fn by_id(table: Table, index: catalog::Index, id: &Id, view: View) -> Result<Vec<Row>, Error> {
    catalog::scan(table, Some(index), &[(1, Value::Uuid(id.0))], view)
}

impl ProviderRow {
    fn parse(row: Row) -> Result<Self, Error> {
        Ok(Self { name: row.text(0)?, kind: row.text(1)?, options: row.json(2)? })
    }

    pub fn find(name: &str) -> Result<Option<Self>, Error> {
        let key = [(1, Value::Text(name.to_owned()))];
        let index = Some(c"key_provider_pkey");
        first(catalog::scan(Table::KeyProvider, index, &key, View::Committed)?, Self::parse)
    }

    pub fn insert(&self) -> Result<(), Error> {
        let values = [
            Value::Text(self.name.clone()),
            Value::Text(self.kind.clone()),
            Value::Json(self.options.clone()),
            now(),
        ];
        catalog::insert(Table::KeyProvider, &values)
    }
}

/// What a new master key is stored with.
pub struct NewMaster<'a> {
    pub id: Id,
    pub suite: Suite,
    pub provider: &'a str,
    pub public_key: Vec<u8>,
    pub check_value: [u8; 16],
    pub wrapped_seed: Vec<u8>,
}

impl MasterRow {
    fn parse(row: Row) -> Result<Self, Error> {
        Ok(Self {
            id: Id(row.uuid(0)?),
            suite: suite(&row, 1)?,
            provider: row.text(2)?,
            public_key: row.bytes(3)?,
            check_value: row.bytes(4)?,
            wrapped_seed: row.bytes(5)?,
            active: row.text(6)? == ACTIVE,
            row,
        })
    }

    pub fn find(id: &Id) -> Result<Option<Self>, Error> {
        let rows = by_id(Table::MasterKey, c"master_key_pkey", id, View::Committed)?;
        first(rows, Self::parse)
    }

    pub fn active() -> Result<Option<Self>, Error> {
        let rows = catalog::scan(Table::MasterKey, None, &[], View::Committed)?;
        for row in rows {
            if row.text(6)? == ACTIVE {
                return Self::parse(row).map(Some);
            }
        }
        Ok(None)
    }

    pub fn insert(new: NewMaster<'_>) -> Result<(), Error> {
        let values = [
            Value::Uuid(new.id.0),
            suite_value(new.suite),
            Value::Text(new.provider.to_owned()),
            Value::Bytes(new.public_key),
            Value::Bytes(new.check_value.to_vec()),
            Value::Bytes(new.wrapped_seed),
            Value::Text(ACTIVE.to_owned()),
            now(),
            Value::Null,
        ];
        catalog::insert(Table::MasterKey, &values)
    }

    pub fn delete(&self) -> Result<(), Error> {
        catalog::delete(&self.row)
    }

    /// Marks the key as replaced. Its seed stays: applications' records may name it.
    pub fn retire(&self) -> Result<(), Error> {
        let mut values = self.row.values().to_vec();
        values[6] = Value::Text(RETIRED.to_owned());
        values[8] = now();
        catalog::update(&self.row, &values)
    }
}

impl DataKeyRow {
    fn parse(row: Row) -> Result<Self, Error> {
        let state = row.text(5)?;
        Ok(Self {
            id: Id(row.uuid(0)?),
            relation: row.oid(1)?,
            destroyed: state == DESTROYED,
            retired: state == RETIRED,
            version: row.int4(2)?,
            table: Id(row.uuid(4)?),
            row,
        })
    }

    pub fn find(id: &Id) -> Result<Option<Self>, Error> {
        for view in [View::Committed, View::Own, View::InProgress] {
            let rows = by_id(Table::DataKey, c"data_key_pkey", id, view)?;
            if let Some(found) = first(rows, Self::parse)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    pub fn of_relation(relation: Oid) -> Result<Vec<Self>, Error> {
        let key = [(2, Value::Oid(relation))];
        let index = Some(c"data_key_relation_idx");
        let rows = catalog::scan(Table::DataKey, index, &key, View::Committed)?;
        rows.into_iter().map(Self::parse).collect()
    }

    pub fn insert(
        id: &Id,
        relation: Oid,
        version: i32,
        suite: Suite,
        table: &Id,
    ) -> Result<(), Error> {
        let values = [
            Value::Uuid(id.0),
            Value::Oid(relation),
            Value::Int4(version),
            suite_value(suite),
            Value::Uuid(table.0),
            Value::Text(ACTIVE.to_owned()),
            now(),
        ];
        catalog::insert(Table::DataKey, &values)
    }

    /// Marks the key as destroyed, for the rows that name it.
    pub fn destroy(&self) -> Result<(), Error> {
        self.set_state(DESTROYED)
    }

    /// Lets the key open rows and seal none.
    pub fn retire(&self) -> Result<(), Error> {
        self.set_state(RETIRED)
    }

    fn set_state(&self, state: &str) -> Result<(), Error> {
        let mut values = self.row.values().to_vec();
        values[5] = Value::Text(state.to_owned());
        catalog::update(&self.row, &values)
    }

    pub fn delete(&self) -> Result<(), Error> {
        catalog::delete(&self.row)
    }
}

impl WrapRow {
    fn parse(row: Row) -> Result<Self, Error> {
        let (data_key, recipient) = (Id(row.uuid(0)?), Id(row.uuid(1)?));
        Ok(Self { data_key, recipient, record: row.bytes(2)?, row })
    }

    pub fn of_key(data_key: &Id, view: View) -> Result<Vec<Self>, Error> {
        let rows = by_id(Table::DataKeyWrap, c"data_key_wrap_pkey", data_key, view)?;
        rows.into_iter().map(Self::parse).collect()
    }

    pub fn all() -> Result<Vec<Self>, Error> {
        let rows = catalog::scan(Table::DataKeyWrap, None, &[], View::Committed)?;
        rows.into_iter().map(Self::parse).collect()
    }

    pub fn insert(data_key: &Id, recipient: &Id, record: Vec<u8>) -> Result<(), Error> {
        let values = [Value::Uuid(data_key.0), Value::Uuid(recipient.0), Value::Bytes(record)];
        catalog::insert(Table::DataKeyWrap, &values)
    }

    pub fn delete(&self) -> Result<(), Error> {
        catalog::delete(&self.row)
    }
}

impl RecipientRow {
    fn parse(row: Row) -> Result<Self, Error> {
        let (id, name) = (Id(row.uuid(0)?), row.text(1)?);
        let (suite, public_key) = (suite(&row, 2)?, row.bytes(3)?);
        Ok(Self { id, name, suite, public_key, mac: row.bytes(6)?, row: Some(row) })
    }

    pub fn new(id: Id, name: &str, suite: Suite, public_key: Vec<u8>, mac: Vec<u8>) -> Self {
        Self { id, name: name.to_owned(), suite, public_key, mac, row: None }
    }

    pub fn all() -> Result<Vec<Self>, Error> {
        let rows = catalog::scan(Table::Recipient, None, &[], View::Committed)?;
        rows.into_iter().map(Self::parse).collect()
    }

    pub fn find(name: &str) -> Result<Option<Self>, Error> {
        let key = [(2, Value::Text(name.to_owned()))];
        let index = Some(c"recipient_name_key");
        first(catalog::scan(Table::Recipient, index, &key, View::Committed)?, Self::parse)
    }

    pub fn insert(&self) -> Result<(), Error> {
        let values = [
            Value::Uuid(self.id.0),
            Value::Text(self.name.clone()),
            suite_value(self.suite),
            Value::Bytes(self.public_key.clone()),
            Value::Bool(self.suite.is_legacy()),
            now(),
            Value::Bytes(self.mac.clone()),
        ];
        catalog::insert(Table::Recipient, &values)
    }

    /// Stores another master key's word for a row that was read.
    pub fn vouch(&self, mac: &[u8; 32]) -> Result<(), Error> {
        self.set_mac(mac)
    }

    /// Takes the word away: the key that gave it is lost.
    pub fn suspend(&self) -> Result<(), Error> {
        self.set_mac(&[])
    }

    /// Whether nobody's word is there to be checked. Such a recipient gets no key.
    pub fn suspended(&self) -> bool {
        self.mac.is_empty()
    }

    fn set_mac(&self, mac: &[u8]) -> Result<(), Error> {
        let Some(row) = &self.row else { return Ok(()) };
        let mut values = row.values().to_vec();
        if let Some(stored) = values.last_mut() {
            *stored = Value::Bytes(mac.to_vec());
        }
        catalog::update(row, &values)
    }

    pub fn delete(&self) -> Result<(), Error> {
        self.row.as_ref().map_or(Ok(()), catalog::delete)
    }
}

impl MissingRow {
    fn parse(row: Row) -> Result<Self, Error> {
        Ok(Self { attnum: row.int2(1)?, value: row.bytes(2)?, row })
    }

    /// For who has the table locked against others that change its rows. Those of the current command are
    /// seen too.
    pub fn of_relation(relation: Oid) -> Result<Vec<Self>, Error> {
        Self::seen(relation, View::Own)
    }

    /// For everybody else: one that is sealed again while we look could be missed by that view, whose rows
    /// are not of one moment, but not by the other.
    pub fn to_read(relation: Oid) -> Result<Vec<Self>, Error> {
        let mut found = Self::seen(relation, View::Committed)?;
        for row in Self::seen(relation, View::Own)? {
            match found.iter_mut().find(|known| known.attnum == row.attnum) {
                Some(known) => *known = row,
                None => found.push(row),
            }
        }
        Ok(found)
    }

    fn seen(relation: Oid, view: View) -> Result<Vec<Self>, Error> {
        let key = [(1, Value::Oid(relation))];
        let index = Some(c"missing_value_pkey");
        let rows = catalog::scan(Table::MissingValue, index, &key, view)?;
        rows.into_iter().map(Self::parse).collect()
    }

    pub fn insert(relation: Oid, attnum: i16, value: Vec<u8>) -> Result<(), Error> {
        let values = [Value::Oid(relation), Value::Int2(attnum), Value::Bytes(value)];
        catalog::insert(Table::MissingValue, &values)
    }

    /// Puts other bytes in the value's place.
    pub fn replace(&self, value: Vec<u8>) -> Result<(), Error> {
        let mut values = self.row.values().to_vec();
        values[2] = Value::Bytes(value);
        catalog::update(&self.row, &values)
    }

    pub fn delete(&self) -> Result<(), Error> {
        catalog::delete(&self.row)
    }
}

const PLAIN: &str = "plain";
const SEALED: &str = "sealed";

impl MixedRow {
    fn parse(row: Row) -> Result<Self, Error> {
        let kind = |at| match row.text(at)?.as_str() {
            PLAIN => Ok(Kind::Plain),
            SEALED => Ok(Kind::Sealed),
            _ => Err(row.misshapen()),
        };
        let mixed = Mixed { target: kind(1)?, origin: kind(2)? };
        Ok(Self { mixed, row })
    }

    /// A row is replaced only by who keeps everybody else out of the table.
    pub fn find(relation: Oid) -> Result<Option<Self>, Error> {
        let key = [(1, Value::Oid(relation))];
        let index = Some(c"mixed_table_pkey");
        first(catalog::scan(Table::Mixed, index, &key, View::Committed)?, Self::parse)
    }

    pub fn insert(relation: Oid, mixed: Mixed) -> Result<(), Error> {
        let values = [Value::Oid(relation), kind_value(mixed.target), kind_value(mixed.origin)];
        catalog::insert(Table::Mixed, &values)
    }

    /// The other target for the same rows.
    pub fn retarget(&self, target: Kind) -> Result<(), Error> {
        let mut values = self.row.values().to_vec();
        values[1] = kind_value(target);
        catalog::update(&self.row, &values)
    }

    pub fn delete(&self) -> Result<(), Error> {
        catalog::delete(&self.row)
    }
}

fn kind_value(kind: Kind) -> Value {
    Value::Text(
        match kind {
            Kind::Plain => PLAIN,
            Kind::Sealed => SEALED,
        }
        .to_owned(),
    )
}

/// Replaces or adds the row of a table in `sealed.plaintext_wal`.
pub fn note_plaintext_wal(relation: Oid, written_until: u64) -> Result<(), Error> {
    let values = [Value::Oid(relation), Value::Lsn(written_until), now()];
    match plaintext_wal(relation)? {
        Some(row) => catalog::update(&row, &values),
        None => catalog::insert(Table::PlaintextWal, &values),
    }
}

/// Removes it.
pub fn forget_plaintext_wal(relation: Oid) -> Result<(), Error> {
    plaintext_wal(relation)?.map_or(Ok(()), |row| catalog::delete(&row))
}

fn plaintext_wal(relation: Oid) -> Result<Option<Row>, Error> {
    let key = [(1, Value::Oid(relation))];
    let index = Some(c"plaintext_wal_pkey");
    Ok(catalog::scan(Table::PlaintextWal, index, &key, View::Committed)?.pop())
}
