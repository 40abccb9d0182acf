//! Background operations: `sealed.operation`, and what they do to the states of data keys.
//!
//! A table has one row at most, of the operation that runs or of the last one. Whoever reads it to change
//! it holds `lock_operation` to the end of the transaction.

use std::str::FromStr;

use sealed_crypto::{Id, KernelRng, LayoutId};
use sealed_lifecycle::{KeyState, Kind, Phase, State};

use super::audit::{self, Subject};
use super::layout_row::LayoutRow;
use super::records::MissingRow;
use super::{columns, layouts};
use crate::error::Error;
use crate::pg::catalog::{self, Oid, Row, Table, Value, View};
use crate::pg::xact::{self, StepLock};

/// The lock on a table's operation (`StepLock`).
const OPERATION_STEP: u16 = 3;

/// An operation, as it is stored.
pub struct Operation {
    /// The table.
    pub relation: Oid,
    /// What it is to reach.
    pub kind: Kind,
    /// The layout that its phase was reached on the way to.
    pub target: Option<LayoutId>,
    /// Whether it is at work.
    pub state: State,
    /// What it is doing.
    pub phase: Phase,
    /// The block that is next in this phase: a hint.
    pub next_block: i64,
    /// Blocks of this phase.
    pub blocks: i64,
    /// Rows sealed again since it began.
    pub rows_done: i64,
    /// Rows left out in this pass, because somebody had them locked.
    pub rows_skipped: i64,
    /// Bytes of the rows sealed again.
    pub bytes: i64,
    /// How many times the rows were gone through.
    pub pass: i32,
    /// Rows a second, lately.
    pub rate: Option<i64>,
    /// What it waits for, or why it stopped.
    pub message: Option<String>,
    row: Row,
}

const STARTED_AT: usize = 13;

impl Operation {
    fn parse(row: Row) -> Result<Self, Error> {
        fn named<T: FromStr>(row: &Row, at: usize) -> Result<T, Error> {
            row.text(at)?.parse().map_err(|_| row.misshapen())
        }
        let target = match row.values().get(3) {
            Some(Value::Null) => None,
            _ => Some(LayoutId::new(u32::try_from(row.int4(3)?).unwrap_or(0))?),
        };
        Ok(Self {
            relation: row.oid(2)?,
            kind: named(&row, 1)?,
            target,
            state: named(&row, 4)?,
            phase: named(&row, 5)?,
            next_block: row.int8(6)?,
            blocks: row.int8(7)?,
            rows_done: row.int8(8)?,
            rows_skipped: row.int8(9)?,
            bytes: row.int8(10)?,
            pass: row.int4(11)?,
            rate: row.int8(16).ok(),
            message: row.text(17).ok(),
            row,
        })
    }

    /// Stores what was changed. `state` must be one that may follow the stored one.
    pub fn store(&self) -> Result<(), Error> {
        let mut values = self.row.values().to_vec();
        values[1] = text(self.kind.name());
        values[3] = self.target.map_or(Value::Null, |t| Value::Int4(t.get() as i32));
        values[4] = text(self.state.name());
        values[5] = text(self.phase.name());
        values[6] = Value::Int8(self.next_block);
        values[7] = Value::Int8(self.blocks);
        values[8] = Value::Int8(self.rows_done);
        values[9] = Value::Int8(self.rows_skipped);
        values[10] = Value::Int8(self.bytes);
        values[11] = Value::Int4(self.pass);
        values[14] = now();
        values[15] = if self.state.is_open() { Value::Null } else { now() };
        values[16] = self.rate.map_or(Value::Null, Value::Int8);
        values[17] = self.message.as_deref().map_or(Value::Null, text);
        catalog::update(&self.row, &values)
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn now() -> Value {
    Value::Time(xact::now_us())
}

fn all(keys: &[(i16, Value)]) -> Result<Vec<Row>, Error> {
    let index = (!keys.is_empty()).then_some(c"operation_relation_key");
    catalog::scan(Table::Operation, index, keys, View::Committed)
}

/// Keeps everybody else from changing the operation of a table until the transaction ends.
pub fn lock_operation(relation: Oid) {
    StepLock::wait_of(relation, OPERATION_STEP).keep();
}

/// The operation of a table, running or over.
pub fn operation(relation: Oid) -> Result<Option<Operation>, Error> {
    all(&[(3, Value::Oid(relation))])?.pop().map(Operation::parse).transpose()
}

/// Tables with an operation at work, the oldest first.
pub fn running_operations() -> Result<Vec<Oid>, Error> {
    let mut found = Vec::new();
    for row in all(&[])? {
        let started = match row.values().get(STARTED_AT) {
            Some(Value::Time(at)) => *at,
            _ => 0,
        };
        let operation = Operation::parse(row)?;
        if operation.state == State::Running {
            found.push((started, operation.relation));
        }
    }
    found.sort_by_key(|(started, _)| *started);
    Ok(found.into_iter().map(|(_, relation)| relation).collect())
}

/// Begins an operation, unless the table has an open one, which is returned: it goes to the newest layout by
/// itself. The caller holds `lock_operation`.
pub fn begin_operation(relation: Oid, kind: Kind, by: &str) -> Result<Option<Operation>, Error> {
    match operation(relation)? {
        Some(open) if open.state.is_open() && open.kind == kind => return Ok(Some(open)),
        // A rotation of a table that is to be something else now, or one way instead of the other.
        Some(mut open) if open.state.is_open() => {
            open.kind = kind;
            open.phase = Phase::Announce;
            open.target = None;
            open.store()?;
            return Ok(Some(open));
        }
        Some(over) => catalog::delete(&over.row)?,
        None => {}
    }
    let id = Id::make(&mut KernelRng);
    let values = [
        Value::Uuid(id.0),
        text(kind.name()),
        Value::Oid(relation),
        Value::Null,
        text(State::Running.name()),
        text(Phase::Announce.name()),
        Value::Int8(0),
        Value::Int8(0),
        Value::Int8(0),
        Value::Int8(0),
        Value::Int8(0),
        Value::Int4(1),
        text(by),
        now(),
        now(),
        Value::Null,
        Value::Null,
        Value::Null,
    ];
    catalog::insert(Table::Operation, &values)?;
    Ok(None)
}

/// Removes the operation of a table that is being dropped.
pub fn drop_operation(relation: Oid) -> Result<(), Error> {
    all(&[(3, Value::Oid(relation))])?.iter().try_for_each(catalog::delete)
}

/// The newest layout of a table.
pub fn newest_layout(relation: Oid) -> Result<Option<LayoutId>, Error> {
    Ok(layouts::newest(relation)?.map(|row| row.id))
}

/// Tells every backend, at commit, that a table's newest layout may be another one, and marks the keys of the
/// others as being on their way out.
pub fn announce(relation: Oid) -> Result<(), Error> {
    catalog::relation_changed(relation);
    change_keys(relation, KeyState::Active, KeyState::Retiring)
}

/// Marks the keys that are older than that of the newest layout as retired. Only for who has verified that
/// nothing is under them.
pub fn retire_keys(relation: Oid) -> Result<(), Error> {
    // One that an automatic new version left may never have been announced.
    change_keys(relation, KeyState::Active, KeyState::Retiring)?;
    catalog::advance_command();
    change_keys(relation, KeyState::Retiring, KeyState::Retired)?;
    catalog::advance_command();
    columns::retire(relation)
}

/// Marks the keys of an operation that was given up as in use.
pub fn keep_keys(relation: Oid) -> Result<(), Error> {
    change_keys(relation, KeyState::Retiring, KeyState::Active)
}

/// Whether a table has keys that are neither its newest one nor retired.
pub fn has_old_keys(relation: Oid) -> Result<bool, Error> {
    let old = older_keys(relation)?;
    for row in data_keys(relation)? {
        if old.contains(&Id(row.uuid(0)?))
            && row.text(5)?.parse().is_ok_and(KeyState::may_have_rows)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// When the newest data key of a table was made, in microseconds since 2000.
pub fn newest_key_made(relation: Oid) -> Result<Option<i64>, Error> {
    let Some(newest) = layouts::newest(relation)? else { return Ok(None) };
    for row in data_keys(relation)? {
        if row.uuid(0)? == newest.data_key.0 {
            return Ok(match row.values().get(6) {
                Some(Value::Time(at)) => Some(*at),
                _ => None,
            });
        }
    }
    Ok(None)
}

/// Tables that have a key.
pub fn tables_with_keys() -> Result<Vec<Oid>, Error> {
    let rows = catalog::scan(Table::Layout, None, &[], View::Committed)?;
    let mut found = rows.iter().map(|row| row.oid(1)).collect::<Result<Vec<_>, _>>()?;
    found.sort_by_key(|oid| oid.to_u32());
    found.dedup();
    Ok(found)
}

fn data_keys(relation: Oid) -> Result<Vec<Row>, Error> {
    let key = [(2, Value::Oid(relation))];
    catalog::scan(Table::DataKey, Some(c"data_key_relation_idx"), &key, View::Committed)
}

/// Data keys of layouts that came before the newest. In the order of layouts, so that one which is committed
/// in this moment is not among them, and not those of the newest itself.
fn older_keys(relation: Oid) -> Result<Vec<Id>, Error> {
    let Some(newest) = layouts::newest(relation)? else { return Ok(Vec::new()) };
    let rows = LayoutRow::of_relation(relation, View::Committed)?;
    let before = |row: &LayoutRow| (row.version, row.id) < (newest.version, newest.id);
    let older = rows.into_iter().filter(before).map(|row| row.data_key);
    Ok(older.filter(|key| *key != newest.data_key).collect())
}

fn change_keys(relation: Oid, from: KeyState, to: KeyState) -> Result<(), Error> {
    debug_assert!(from.may_become(to));
    let old = older_keys(relation)?;
    for row in data_keys(relation)? {
        if row.text(5)?.parse() == Ok(from) && old.contains(&Id(row.uuid(0)?)) {
            let mut values = row.values().to_vec();
            values[5] = text(to.name());
            catalog::update(&row, &values)?;
            if to == KeyState::Retired {
                let (key, detail) = (Some(Id(row.uuid(0)?)), format!("version {}", row.int4(2)?));
                let subject =
                    Subject { key, relation: Some(relation), detail, ..Subject::default() };
                audit::record("retire_data_key", subject);
            }
        }
    }
    Ok(())
}

/// Puts newly sealed bytes in place of a kept value's.
pub fn replace_missing(relation: Oid, attnum: i16, value: Vec<u8>) -> Result<(), Error> {
    for row in MissingRow::of_relation(relation)? {
        if row.attnum == attnum {
            row.replace(value)?;
            catalog::relation_changed(relation);
            return Ok(());
        }
    }
    Ok(())
}
