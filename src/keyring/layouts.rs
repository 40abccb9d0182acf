//! Layouts and data keys of tables: found, made, removed.

use std::rc::Rc;

use sealed_crypto::rand_core::Rng;
use sealed_crypto::{
    DataKeyHeader, Dek, Id, KernelRng, LayoutId, LayoutKey, MasterKey, parse_key_header,
    unwrap_key, wrap_key, wrap_key_to,
};

use super::audit::{self, Subject};
use super::layout_row::{LayoutRow, NewLayout};
use super::records::{DataKeyRow, RecipientRow, WrapRow};
use super::shared::{self, Kind};
use super::{Layout, Parts, cache, columns, master};
use crate::error::Error;
use crate::pg::catalog::{self, Oid, Table, View};
use crate::pg::{fault, xact};

/// The layout for new rows of a table. At first need it makes the data key and the layout, inside
/// the caller's transaction.
///
/// Ask for each statement at least, and again after anything that could end a subtransaction: what
/// was made in one that is rolled back must not be used on.
#[inline]
pub fn current_layout(owner: Oid) -> Result<Rc<Layout>, Error> {
    match cache::current(owner) {
        Some(layout) if xact::statement_start() < layout.due_us => Ok(layout),
        _ => find_current(owner),
    }
}

/// The layout that a row names, for reading.
#[inline]
pub fn layout(id: LayoutId) -> Result<Rc<Layout>, Error> {
    match cache::layout(id) {
        Some(layout) => Ok(layout),
        None => load(&LayoutRow::find(id)?.ok_or(Error::LayoutGone { layout: id.get() })?),
    }
}

/// The layouts that chunks of a table may be under whose rows are under this one: itself, and its groups'.
pub fn chunk_layouts(id: LayoutId) -> Result<Vec<LayoutId>, Error> {
    let groups = LayoutRow::find(id)?.and_then(|row| row.parts).map(|(_, groups)| groups);
    Ok(std::iter::once(id).chain(groups.unwrap_or_default()).collect())
}

/// Brings every layout of a table, so that a row of it can be opened where the catalog cannot be read.
pub fn preload(owner: Oid) -> Result<(), Error> {
    let load_all =
        || LayoutRow::of_relation(owner, View::Own)?.iter().try_for_each(|row| load(row).map(drop));
    xact::reading(load_all).map(drop)
}

/// The layout for new keys of a table's indexes: one that stays, whatever becomes of this transaction.
///
/// What an aborted transaction has put into an index is still compared with what comes later. So where this
/// transaction made the current layout, it is the newest of those before; and where there is none, the first that
/// this transaction made: that of the index, which would vanish with it, since a build makes one.
pub fn index_layout(owner: Oid) -> Result<Rc<Layout>, Error> {
    let current = current_layout(owner)?;
    if !cache::is_uncommitted(current.id) {
        return Ok(current);
    }
    let mut rows = LayoutRow::of_relation(owner, View::Own)?;
    rows.retain(|row| row.group_of.is_none());
    rows.sort_by_key(|row| (row.version, row.id));
    let before = rows.iter().rev().filter(|row| !row.uncommitted);
    let candidates = before.chain(rows.iter().filter(|row| row.uncommitted));
    // The key of one may be destroyed; what is under that opens no more anyway.
    Ok(candidates.filter_map(|row| load(row).ok()).next().unwrap_or(current))
}

/// Whether a layout is at hand: neither the catalog nor a provider is asked.
pub fn is_known(id: LayoutId) -> bool {
    cache::layout(id).is_some()
}

/// Every layout of a table, also of transactions in progress, whose keys an index may hold. One whose key is destroyed
/// or damaged is left out: who meets it says why.
pub fn bring_layouts(owner: Oid) -> Result<Vec<Rc<Layout>>, Error> {
    let mut rows = LayoutRow::of_relation(owner, View::Own)?;
    rows.extend(LayoutRow::of_relation(owner, View::InProgress)?);
    rows.sort_by_key(|row| row.id);
    rows.dedup_by_key(|row| row.id);
    let mut layouts = Vec::new();
    for row in &rows {
        match load(row) {
            Ok(layout) => layouts.push(layout),
            Err(
                Error::KeyDestroyed { .. }
                | Error::DataKeyGone { .. }
                | Error::DamagedDataKey { .. }
                | Error::MasterKeyGone { .. },
            ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(layouts)
}

#[cold]
fn find_current(owner: Oid) -> Result<Rc<Layout>, Error> {
    let (layout, keep) = xact::reading(|| {
        let Some(row) = newest(owner)? else { return make(owner, 1, None) };
        match load(&row) {
            Ok(layout) if xact::statement_start() < layout.due_us => Ok(layout),
            // A key wears out with years of sealing (docs/format.md): a new version begins. So it
            // does after the key was destroyed: the table stays usable for new rows.
            Ok(_) | Err(Error::KeyDestroyed { .. }) => {
                make(owner, row.version + 1, Some(row.table))
            }
            Err(error) => Err(error),
        }
    })?;
    // Else the next row asks again.
    if keep {
        cache::make_current(&layout);
    }
    Ok(layout)
}

/// The newest layout of a table, also one that this very command made. Not one of a group of columns.
///
/// Two sessions that make one at the same time both succeed: the ids tell the layouts apart, and
/// the larger id is the current one of a version for everybody who sees both.
pub fn newest(owner: Oid) -> Result<Option<LayoutRow>, Error> {
    let rows = LayoutRow::of_relation(owner, View::Own)?;
    let whole = rows.into_iter().filter(|row| row.group_of.is_none());
    Ok(whole.max_by_key(|row| (row.version, row.id)))
}

fn load(row: &LayoutRow) -> Result<Rc<Layout>, Error> {
    if let Some(layout) = cache::layout(row.id) {
        return Ok(layout);
    }
    let ((dek, due_us), keep) = xact::reading(|| data_key(row))?;
    let key = match row.group_of {
        None => LayoutKey::derive(&dek, &row.table, row.id),
        Some((_, group)) => LayoutKey::derive_group(&dek, &row.table, row.id, group),
    };
    let parts = row.parts.clone().map(|(division, groups)| Parts { division, groups });
    let (id, relation, version) = (row.id, row.relation, row.version);
    let layout = Rc::new(Layout { id, relation, version, key, parts, due_us });
    // (what this transaction made nobody else can have changed)
    if row.uncommitted || keep {
        cache::add(&layout, row.uncommitted);
    }
    Ok(layout)
}

/// The data key of a layout, from the secret memory, else unwrapped by a master key; and when a new one is due.
///
/// The catalog is asked first, so that a key that was destroyed is not used on from memory.
fn data_key(row: &LayoutRow) -> Result<(Dek, i64), Error> {
    let id = row.data_key;
    let known = DataKeyRow::find(&id)?.ok_or_else(|| Error::DataKeyGone { id: id.to_string() })?;
    if known.destroyed {
        return Err(Error::KeyDestroyed { id: id.to_string() });
    }
    // A key that was recovered from outside, for instance, opens rows and seals none.
    let due_us = |created_us: i64| match known.retired {
        true => i64::MIN,
        false => created_us.saturating_add(DataKeyHeader::DUE_US),
    };
    let damaged = || Error::DamagedDataKey { id: id.to_string() };
    let (master_id, record) = master_wrap(&id)?;
    let header = parse_key_header(&record).map_err(|_| damaged())?;
    // A column key is no table's.
    let of_table = known.relation != Oid::INVALID;
    if header.key_id != id || header.table != known.table || of_table && known.table != row.table {
        return Err(damaged());
    }
    if let Some(dek) = shared::find(Kind::DataKey, &id) {
        return Ok((dek, due_us(header.created_us)));
    }
    let master = master::unlock(&master_id)?;
    let (header, key) = unwrap_key(&master, &record).map_err(|_| damaged())?;
    let dek = Dek::from_slice(&key).ok_or_else(damaged)?;
    if !row.uncommitted {
        shared::store(Kind::DataKey, &id, &dek);
    }
    Ok((dek, due_us(header.created_us)))
}

/// The wrap of a data key to a master key of this database, the active one if there are several.
fn master_wrap(data_key: &Id) -> Result<(Id, Vec<u8>), Error> {
    for view in [View::Committed, View::Own, View::InProgress] {
        let mut found = None;
        for wrap in WrapRow::of_key(data_key, view)? {
            if let Some(master) = super::records::MasterRow::find(&wrap.recipient)?
                && (found.is_none() || master.active)
            {
                found = Some((wrap.recipient, wrap.record));
            }
        }
        if let Some(found) = found {
            return Ok(found);
        }
    }
    Err(Error::DataKeyGone { id: data_key.to_string() })
}

/// Makes a new data key and layout of a table, by what the labels of its columns say now.
pub fn make(owner: Oid, version: i32, table: Option<Id>) -> Result<Rc<Layout>, Error> {
    // Before the lock below, which is held for longer.
    let division = columns::wanted(owner)?;
    columns::check_release(owner, Some(division.as_ref()))?;
    let (data_key, dek, table, due_us, recipients) = make_data_key(owner, version, table)?;
    fault::place("make_layout:key");
    let id = unused_layout_id()?;
    let mut parts = None;
    if let Some(division) = division {
        let mut groups = Vec::new();
        for (number, column_key) in (1..).zip(division.groups()) {
            let group = unused_layout_id()?;
            let key = match column_key {
                None => data_key,
                Some(column_key) => columns::current_key(column_key)?,
            };
            LayoutRow::insert(NewLayout {
                id: group,
                relation: owner,
                version,
                data_key: &key,
                table: &table,
                group_of: Some((id, number)),
                parts: None,
            })?;
            groups.push(group);
        }
        parts = Some(Parts { division, groups });
    }
    LayoutRow::insert(NewLayout {
        id,
        relation: owner,
        version,
        data_key: &data_key,
        table: &table,
        group_of: None,
        parts: parts.as_ref().map(|parts| (&parts.division, &parts.groups[..])),
    })?;
    fault::place("make_layout:layout");
    let detail = format!("version {version}, layout {id}, wrapped to {recipients} recipients");
    audit::record(
        "create_data_key",
        Subject { key: Some(data_key), relation: Some(owner), detail, ..Subject::default() },
    );
    let key = LayoutKey::derive(&dek, &table, id);
    let layout = Rc::new(Layout { id, relation: owner, version, key, parts, due_us });
    cache::add(&layout, true);
    Ok(layout)
}

/// Makes a data key of a table, or of a column key (then `owner` is no table and `table` its id), and wraps
/// it to the master key and to every recipient. Returns its id, itself, the uuid it belongs to, when it is
/// due for a new version, and the number of recipients.
pub fn make_data_key(
    owner: Oid,
    version: i32,
    table: Option<Id>,
) -> Result<(Id, Dek, Id, i64, usize), Error> {
    // Before looking for the active master key: a rotation that holds the lock is waited for, one
    // that comes later waits for us and sees what we write.
    catalog::lock_for_writing(Table::DataKeyWrap)?;
    let master = master::active()?;
    let mut rng = KernelRng;
    let dek = Dek::random(&mut rng);
    let id = Id::make(&mut rng);
    let table = table.unwrap_or_else(|| Id::make(&mut rng));
    let number = u32::try_from(version).map_err(|_| Error::Limit { what: "data key versions" })?;
    let now = xact::now_us();
    let header = DataKeyHeader::data_key(&master, id, number, table, now);

    let record = wrap_verified(&master, &header, dek.expose())?;
    DataKeyRow::insert(&id, owner, version, master.suite(), &table)?;
    WrapRow::insert(&id, &master.id(), record)?;
    let mut recipients = 0;
    for recipient in RecipientRow::all()? {
        if recipient.suspended() {
            continue;
        }
        master::check_recipient(&master, &recipient)?;
        insert_escrow(&recipient, &header, dek.expose())?;
        recipients += 1;
    }
    Ok((id, dek, table, now.saturating_add(DataKeyHeader::DUE_US), recipients))
}

/// Wraps a key to a master key and proves, by unwrapping it, that the record is good.
pub fn wrap_verified(
    master: &MasterKey,
    header: &DataKeyHeader,
    key: &[u8],
) -> Result<Vec<u8>, Error> {
    let record = wrap_key(&mut KernelRng, master, header, key)?;
    let (again, opened) = unwrap_key(master, &record)?;
    if again != *header || opened[..] != *key {
        return Err(Error::DamagedDataKey { id: header.key_id.to_string() });
    }
    Ok(record)
}

/// Wraps a data key to an escrow recipient too.
pub fn insert_escrow(
    recipient: &RecipientRow,
    header: &DataKeyHeader,
    key: &[u8],
) -> Result<(), Error> {
    let (suite, id) = (recipient.suite, recipient.id);
    let header = DataKeyHeader { suite, recipient_id: id, ..*header };
    let record = wrap_key_to(&mut KernelRng, suite, id, &recipient.public_key, &header, key)?;
    WrapRow::insert(&header.key_id, &id, record)
}

/// A random id that no layout has. No sequence: drawing from one is refused in parallel mode.
fn unused_layout_id() -> Result<LayoutId, Error> {
    loop {
        let Ok(id) = LayoutId::new(KernelRng.next_u32() & LayoutId::MAX) else { continue };
        if LayoutRow::find(id)?.is_none() {
            return Ok(id);
        }
    }
}

/// Removes the keys and layouts of a table that is being dropped. A rollback brings them back.
pub fn drop_keys(relation: Oid) -> Result<(), Error> {
    let layouts = match super::forget_mixed(relation)
        .and_then(|()| LayoutRow::of_relation(relation, View::Committed))
    {
        // DROP EXTENSION takes the tables of keys before or after those of users.
        Err(Error::NotInstalled) => return Ok(()),
        found => found?,
    };
    if layouts.is_empty() {
        return Ok(());
    }
    match remove_rows(relation, layouts) {
        Err(Error::NotInstalled) => Ok(()),
        done => done,
    }
}

fn remove_rows(relation: Oid, layouts: Vec<LayoutRow>) -> Result<(), Error> {
    catalog::lock_for_writing(Table::DataKeyWrap)?;
    for key in DataKeyRow::of_relation(relation)? {
        for wrap in WrapRow::of_key(&key.id, View::Committed)? {
            wrap.delete()?;
        }
        key.delete()?;
        shared::remove(Kind::DataKey, &key.id);
        audit::record(
            "drop_data_key",
            Subject { key: Some(key.id), relation: Some(relation), ..Subject::default() },
        );
    }
    for layout in layouts {
        layout.delete()?;
    }
    super::drop_missing(relation)?;
    super::operations::drop_operation(relation)?;
    cache::remove(relation);
    Ok(())
}
