//! Escrow recipients after they were added, and recovery of data keys through them.
//!
//! Recovery is for when the provider's secret is lost. Data keys come back from outside, in records that
//! anybody could have made: HPKE in base mode proves nothing about its sender, neither here nor in the
//! recipient's own records that the offline tool opens. So an imported key must agree with the record that
//! the lost master key has left, rows must open under it (`sealed.verify`), and above all nothing is sealed
//! under it any more: the next row of the table begins a new data key, which this server makes.

use std::collections::HashSet;

use sealed_crypto::{DataKeyHeader, Id, KeyRecord, Purpose, Suite, open_recovered};

use super::audit::{self, Subject};
use super::records::{DataKeyRow, MasterRow, RecipientRow, WrapRow};
use super::{layouts, master};
use crate::error::Error;
use crate::pg::catalog::{self, Table, View};
use crate::pg::{class, fault, xact};

/// Wraps every data key to every recipient that lacks it, and removes the wraps of recipients that are gone.
/// Returns how many were added and removed.
pub fn rewrap_recipients() -> Result<(i32, i32), Error> {
    catalog::lock_against_writers(Table::Recipient)?;
    catalog::lock_against_writers(Table::DataKeyWrap)?;
    let active = master::active()?;
    let mut recipients = RecipientRow::all()?;
    let known: HashSet<Id> = recipients.iter().map(|r| r.id).collect();
    recipients.retain(|recipient| !recipient.suspended());
    recipients.iter().try_for_each(|r| master::check_recipient(&active, r))?;

    let mut have = HashSet::new();
    let mut removed = 0;
    for wrap in WrapRow::all()? {
        if known.contains(&wrap.recipient) {
            have.insert((wrap.data_key, wrap.recipient));
        } else if MasterRow::find(&wrap.recipient)?.is_none() {
            wrap.delete()?;
            removed += 1;
            fault::place("rewrap_recipients:unwrapped");
        }
    }
    let mut added = 0;
    master::for_each_data_key(|header, key| {
        for recipient in &recipients {
            if !have.contains(&(header.key_id, recipient.id)) {
                layouts::insert_escrow(recipient, header, key)?;
                added += 1;
                fault::place("rewrap_recipients:wrapped");
            }
        }
        Ok(())
    })?;
    catalog::advance_command();
    let detail = format!("{added} wraps added, {removed} removed");
    audit::record("rewrap_recipients", Subject { detail, ..Subject::default() });
    Ok((added, removed))
}

/// Removes a recipient with every wrap to it. Returns how many there were.
pub fn drop_recipient(name: &str) -> Result<i32, Error> {
    catalog::lock_against_writers(Table::Recipient)?;
    catalog::lock_against_writers(Table::DataKeyWrap)?;
    let recipient = find(name)?;
    let mut removed = 0;
    for wrap in WrapRow::all()? {
        if wrap.recipient == recipient.id {
            wrap.delete()?;
            removed += 1;
            fault::place("drop_recipient:unwrapped");
        }
    }
    recipient.delete()?;
    fault::place("drop_recipient:dropped");
    catalog::advance_command();
    let detail = format!("{removed} wraps removed");
    let (key, object) = (Some(recipient.id), name.to_owned());
    audit::record("drop_recipient", Subject { key, object, detail, ..Subject::default() });
    Ok(removed)
}

/// The records of data keys wrapped to a recipient.
pub fn export_wraps(recipient: &str) -> Result<Vec<Vec<u8>>, Error> {
    let id = find(recipient)?.id;
    let wraps = WrapRow::all()?.into_iter().filter(|wrap| wrap.recipient == id);
    Ok(wraps.map(|wrap| wrap.record).collect())
}

/// The active master key's id, suite and public half, which is derived and not the one that is stored.
pub fn master_public() -> Result<(Id, Suite, Vec<u8>), Error> {
    let master = master::active()?;
    Ok((master.id(), master.suite(), master.public_key()))
}

/// Puts a new master key in place of one that no provider gives back, without the data keys under it.
///
/// The recipients' authenticators were made by the lost key. Nobody can check them now, so they are taken
/// away: the recipients get no new key until somebody who has their public keys vouches for them again.
pub fn replace_lost_master_key(provider: &str, suite: Suite) -> Result<Id, Error> {
    catalog::lock_against_writers(Table::MasterKey)?;
    catalog::lock_against_writers(Table::DataKeyWrap)?;
    catalog::lock_against_writers(Table::Recipient)?;
    let lost = MasterRow::active()?.ok_or(Error::NoMasterKey)?;
    if master::unlock(&lost.id).is_ok() {
        return Err(Error::BadArgument {
            what: "the active master key is not lost".to_owned(),
            hint: "Call sealed.rotate_master_key(...), which takes the data keys along.".to_owned(),
        });
    }
    let new = master::make(provider, suite)?;
    fault::place("replace_lost_master_key:made");
    for recipient in RecipientRow::all()? {
        recipient.suspend()?;
        fault::place("replace_lost_master_key:suspended");
    }
    lost.retire()?;
    fault::place("replace_lost_master_key:retired");
    catalog::advance_command();
    let detail = format!("in place of {}, which is lost; suite {suite}", lost.id);
    let (key, object) = (Some(new.id()), provider.to_owned());
    audit::record("replace_lost_master_key", Subject { key, object, detail, ..Subject::default() });
    Ok(new.id())
}

/// Vouches again for a recipient whose public key the caller knows from elsewhere.
pub fn vouch_recipient(name: &str, public_key: &[u8]) -> Result<(), Error> {
    catalog::lock_against_writers(Table::Recipient)?;
    let recipient = find(name)?;
    if recipient.public_key != public_key {
        return Err(Error::BadArgument {
            what: format!("recipient \"{name}\" has another public key"),
            hint: "Somebody may have changed it. Call sealed.drop_recipient(...) and \
                   sealed.add_recipient(...) with the right one."
                .to_owned(),
        });
    }
    let active = master::active()?;
    recipient.vouch(&active.recipient_mac(&recipient.id, recipient.suite, public_key))?;
    fault::place("vouch_recipient:vouched");
    catalog::advance_command();
    let (key, object) = (Some(recipient.id), name.to_owned());
    audit::record("vouch_recipient", Subject { key, object, ..Subject::default() });
    Ok(())
}

/// Takes back data keys that the offline tool has wrapped to the active master key. Returns how many; those
/// that are there already do not count.
pub fn import_wraps(records: &[Vec<u8>]) -> Result<i32, Error> {
    catalog::lock_against_writers(Table::DataKeyWrap)?;
    let active = master::active()?;
    let mut imported = 0;
    for record in records {
        xact::check_interrupts();
        let (header, key) = open_recovered(&active, record).map_err(|_| Error::DamagedRecord)?;
        let refused = |why: &str| {
            Err(Error::BadRecovery { id: header.key_id.to_string(), why: why.to_owned() })
        };
        if header.purpose != Purpose::DataKey {
            return refused("it is not a table's data key");
        }
        let Some(row) = DataKeyRow::find(&header.key_id)? else {
            return refused("there is no such data key in this database");
        };
        if row.destroyed {
            return Err(Error::KeyDestroyed { id: header.key_id.to_string() });
        }
        let wraps = WrapRow::of_key(&header.key_id, View::Committed)?;
        if wraps.iter().any(|wrap| wrap.recipient == active.id()) {
            continue;
        }
        let mut lost = Vec::new();
        for wrap in wraps {
            if MasterRow::find(&wrap.recipient)?.is_some() {
                lost.push(wrap);
            }
        }
        if lost.is_empty() {
            return refused("no record of the lost master key is there to compare it with");
        }
        let check_value = KeyRecord::parse(record)?.check_value;
        let same = |wrap: &WrapRow| {
            KeyRecord::parse(&wrap.record).is_ok_and(|old| {
                old.check_value == check_value
                    && header
                        == DataKeyHeader {
                            suite: header.suite,
                            recipient_id: header.recipient_id,
                            ..old.header
                        }
            })
        };
        if row.table != header.table || !lost.iter().all(same) {
            return refused("it is not the key that the lost master key's record is of");
        }
        class::lock_for_rotation(row.relation);
        let record = layouts::wrap_verified(&active, &header, &key)?;
        WrapRow::insert(&header.key_id, &active.id(), record)?;
        fault::place("import_wraps:wrapped");
        lost.iter().try_for_each(WrapRow::delete)?;
        fault::place("import_wraps:unwrapped");
        row.retire()?;
        fault::place("import_wraps:retired");
        catalog::relation_changed(row.relation);
        catalog::advance_command();
        audit::record(
            "import_data_key",
            Subject {
                key: Some(header.key_id),
                relation: Some(row.relation),
                ..Subject::default()
            },
        );
        imported += 1;
    }
    Ok(imported)
}

fn find(name: &str) -> Result<RecipientRow, Error> {
    RecipientRow::find(name)?.ok_or_else(|| Error::NoSuchRecipient { name: name.to_owned() })
}
