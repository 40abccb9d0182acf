//! Rotation of the master key, and of a table's data key for new rows.

use sealed_crypto::{DataKeyHeader, Id, Suite};

use super::audit::{self, Subject};
use super::records::{MasterRow, RecipientRow, WrapRow};
use super::{cache, layouts, master};
use crate::error::Error;
use crate::pg::catalog::{self, Oid, Table};
use crate::pg::fault;

/// Puts a new master key in place of the active one, in this transaction.
///
/// The order is what makes a crash or a rollback harmless at any step: the new key is added, every
/// data key is wrapped to it and unwrapped again, and only then are the wraps to the old key
/// removed. The old key itself stays, as `retired`: applications' records may name it.
pub fn rotate_master_key(provider: Option<&str>, suite: Option<Suite>) -> Result<Id, Error> {
    catalog::lock_against_writers(Table::MasterKey)?;
    catalog::lock_against_writers(Table::DataKeyWrap)?;
    let old = MasterRow::active()?.ok_or(Error::NoMasterKey)?;
    let provider = provider.unwrap_or(&old.provider);
    let new = master::make(provider, suite.unwrap_or(old.suite))?;

    fault::place("rotate_master_key:made");
    let old_wraps = master::master_wraps()?;
    let mut keys = 0;
    master::for_each_data_key(|header, key| {
        let (suite, recipient_id) = (new.suite(), new.id());
        let header = DataKeyHeader { suite, recipient_id, ..*header };
        let record = layouts::wrap_verified(&new, &header, key)?;
        keys += 1;
        WrapRow::insert(&header.key_id, &new.id(), record)?;
        fault::place("rotate_master_key:wrapped");
        Ok(())
    })?;

    let old_key = master::unlock(&old.id)?;
    for recipient in RecipientRow::all()? {
        if recipient.suspended() {
            continue;
        }
        master::check_recipient(&old_key, &recipient)?;
        let RecipientRow { id, suite, public_key, .. } = &recipient;
        recipient.vouch(&new.recipient_mac(id, *suite, public_key))?;
        fault::place("rotate_master_key:vouched");
    }

    for wrap in old_wraps {
        wrap.delete()?;
        fault::place("rotate_master_key:unwrapped");
    }
    old.retire()?;
    fault::place("rotate_master_key:retired");
    catalog::advance_command();
    let detail = format!("replaces {}, suite {}, {keys} data keys wrapped", old.id, new.suite());
    let object = provider.to_owned();
    audit::record(
        "rotate_master_key",
        Subject { key: Some(new.id()), object, detail, ..Subject::default() },
    );
    Ok(new.id())
}

/// Starts a new version of a table's data key: new rows use it, old rows stay as they are.
pub fn rotate_data_key(relation: Oid) -> Result<i32, Error> {
    let (version, table) = match layouts::newest(relation)? {
        Some(row) => (row.version + 1, Some(row.table)),
        None => (1, None),
    };
    let layout = layouts::make(relation, version, table)?;
    cache::make_current(&layout);
    catalog::relation_changed(relation);
    fault::place("rotate_data_key:made");
    Ok(layout.version)
}
