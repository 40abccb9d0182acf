//! Master keys, the providers that hold their root secret, and escrow recipients.

use std::rc::Rc;

use sealed_crypto::{
    DataKeyHeader, Id, KernelRng, MasterKey, MasterSeed, Suite, check_public_key, parse_key_header,
    unwrap_key,
};
use sealed_provider::{Env, Provider};

use super::audit::{self, Subject};
use super::records::{MasterRow, NewMaster, ProviderRow, RecipientRow, WrapRow};
use super::shared::{self, Kind};
use super::{cache, layouts};
use crate::error::Error;
use crate::guc;
use crate::pg::catalog::{self, Table};
use crate::pg::fault;
use crate::pg::xact::{self, StepLock};

/// The step that backends do one after the other: deriving a root key takes much memory.
const UNLOCK_STEP: u16 = 1;

/// A master key of this database, unlocked: from this backend's memory, else from the secret
/// memory, else by its provider.
pub fn unlock(id: &Id) -> Result<Rc<MasterKey>, Error> {
    if let Some(master) = cache::master(id) {
        return Ok(master);
    }
    let row = MasterRow::find(id)?.ok_or_else(|| Error::MasterKeyGone { id: id.to_string() })?;
    unlock_row(&row)
}

/// The master key that new data keys are wrapped to.
pub fn active() -> Result<Rc<MasterKey>, Error> {
    let row = MasterRow::active()?.ok_or(Error::NoMasterKey)?;
    match cache::master(&row.id) {
        Some(master) => Ok(master),
        None => unlock_row(&row),
    }
}

fn unlock_row(row: &MasterRow) -> Result<Rc<MasterKey>, Error> {
    let seed = match shared::find(Kind::Seed, &row.id) {
        Some(seed) => seed,
        None => unlock_by_provider(row)?,
    };
    let master = Rc::new(MasterKey::derive(row.id, row.suite, &seed)?);
    if master.check_value()[..] != row.check_value[..] || master.public_key() != row.public_key {
        return Err(Error::DamagedMasterKey { id: row.id.to_string() });
    }
    shared::store(Kind::Seed, &row.id, &seed);
    cache::add_master(&master);
    Ok(master)
}

fn unlock_by_provider(row: &MasterRow) -> Result<MasterSeed, Error> {
    let _one_at_a_time = StepLock::wait_on_standby_too(UNLOCK_STEP);
    if let Some(seed) = shared::find(Kind::Seed, &row.id) {
        return Ok(seed);
    }
    let provider = provider_row(&row.provider)?;
    with_provider(&provider, |p| p.unwrap(&row.id, row.suite, &row.wrapped_seed))
}

fn provider_row(name: &str) -> Result<ProviderRow, Error> {
    let missing = || Error::NoSuchProvider { name: name.to_owned() };
    ProviderRow::find(name)?.ok_or_else(missing)
}

/// Calls a provider: with a deadline, stopped by a cancel, its errors under its name.
fn with_provider<R>(
    row: &ProviderRow,
    call: impl FnOnce(&Provider<'_>) -> Result<R, sealed_provider::Error>,
) -> Result<R, Error> {
    let data_dir = xact::data_directory();
    let env = Env {
        data_dir: &data_dir,
        deadline: guc::provider_timeout(),
        cancelled: &xact::interrupt_pending,
    };
    let answer = row
        .kind
        .parse()
        .and_then(|kind| Provider::parse(kind, &row.options, &env))
        .and_then(|provider| call(&provider));
    answer.map_err(|error| {
        // A cancel or a shutdown speaks for itself; anything else that was pending is served too.
        xact::check_interrupts();
        Error::Provider { name: row.name.clone(), error }
    })
}

/// Adds a provider, after it has shown that it can hold a root secret.
pub fn add_provider(name: &str, kind: &str, options: serde_json::Value) -> Result<(), Error> {
    check_name(name)?;
    catalog::lock_against_writers(Table::KeyProvider)?;
    if ProviderRow::find(name)?.is_some() {
        return Err(Error::Exists { what: "key provider", name: name.to_owned() });
    }
    let row = ProviderRow { name: name.to_owned(), kind: kind.to_owned(), options };
    with_provider(&row, |provider| provider.prepare(&mut KernelRng))?;
    row.insert()?;
    let detail = format!("kind {kind}");
    audit::record(
        "add_key_provider",
        Subject { object: name.to_owned(), detail, ..Subject::default() },
    );
    Ok(())
}

/// Makes the first master key of this database.
pub fn create_master_key(provider: &str, suite: Suite) -> Result<Id, Error> {
    catalog::lock_against_writers(Table::MasterKey)?;
    if MasterRow::active()?.is_some() {
        return Err(Error::MasterKeyExists);
    }
    let id = make(provider, suite)?.id();
    let detail = format!("suite {suite}");
    let object = provider.to_owned();
    audit::record(
        "create_master_key",
        Subject { key: Some(id), object, detail, ..Subject::default() },
    );
    Ok(id)
}

/// Makes a master key, has the provider wrap its seed, and proves that it comes back.
pub fn make(provider: &str, suite: Suite) -> Result<Rc<MasterKey>, Error> {
    let provider = provider_row(provider)?;
    let mut rng = KernelRng;
    let id = Id::make(&mut rng);
    let seed = MasterSeed::random(&mut rng);
    let master = Rc::new(MasterKey::derive(id, suite, &seed)?);
    fault::place("make_master_key:provider");
    let wrapped_seed = with_provider(&provider, |p| {
        let blob = p.wrap(&mut rng, &id, suite, &seed)?;
        Ok((p.unwrap(&id, suite, &blob)? == seed).then_some(blob))
    })?
    .ok_or_else(|| Error::DamagedMasterKey { id: id.to_string() })?;
    MasterRow::insert(NewMaster {
        id,
        suite,
        provider: &provider.name,
        public_key: master.public_key(),
        check_value: master.check_value(),
        wrapped_seed,
    })?;
    shared::store(Kind::Seed, &id, &seed);
    cache::add_master(&master);
    Ok(master)
}

/// Adds an escrow recipient and wraps every data key there is to it.
pub fn add_recipient(name: &str, public_key: Vec<u8>, suite: Suite) -> Result<Id, Error> {
    check_name(name)?;
    catalog::lock_against_writers(Table::Recipient)?;
    catalog::lock_against_writers(Table::DataKeyWrap)?;
    if RecipientRow::find(name)?.is_some() {
        return Err(Error::Exists { what: "recipient", name: name.to_owned() });
    }
    check_public_key(suite, &public_key).map_err(|_| Error::BadArgument {
        what: format!("invalid public key for suite {suite}"),
        hint: format!("A public key of this suite has {} bytes.", suite.public_key_len()),
    })?;
    let id = Id::make(&mut KernelRng);
    let mac = active()?.recipient_mac(&id, suite, &public_key).to_vec();
    let recipient = RecipientRow::new(id, name, suite, public_key, mac);
    recipient.insert()?;
    fault::place("add_recipient:added");
    let mut keys = 0;
    for_each_data_key(|header, key| {
        keys += 1;
        layouts::insert_escrow(&recipient, header, key)?;
        fault::place("add_recipient:wrapped");
        Ok(())
    })?;
    let detail = format!("suite {suite}, {keys} data keys wrapped");
    let object = name.to_owned();
    audit::record("add_recipient", Subject { key: Some(id), object, detail, ..Subject::default() });
    Ok(id)
}

/// Checks that a master key vouches for a recipient: anybody who can write the catalog can add a row.
pub fn check_recipient(master: &MasterKey, recipient: &RecipientRow) -> Result<(), Error> {
    let RecipientRow { id, suite, public_key, mac, .. } = recipient;
    if master.vouches_for(id, *suite, public_key, mac) {
        Ok(())
    } else {
        Err(Error::DamagedRecipient { name: recipient.name.clone() })
    }
}

/// Opens every data key by the wrap to a master key, once.
pub fn for_each_data_key(
    mut f: impl FnMut(&DataKeyHeader, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut done = std::collections::HashSet::new();
    for wrap in master_wraps()? {
        xact::check_interrupts();
        if !done.insert(wrap.data_key) {
            continue;
        }
        let (header, key) = open(&wrap)?;
        f(&header, &key)?;
    }
    Ok(())
}

/// The wraps to master keys, active and replaced.
pub fn master_wraps() -> Result<Vec<WrapRow>, Error> {
    let mut masters = std::collections::HashMap::new();
    let mut found = Vec::new();
    for wrap in WrapRow::all()? {
        let is_master = match masters.get(&wrap.recipient) {
            Some(known) => *known,
            None => {
                let known = MasterRow::find(&wrap.recipient)?.is_some();
                masters.insert(wrap.recipient, known);
                known
            }
        };
        if is_master {
            found.push(wrap);
        }
    }
    Ok(found)
}

/// Opens a wrap to a master key, checking that it is of the data key it is stored for.
pub fn open(wrap: &WrapRow) -> Result<(DataKeyHeader, sealed_crypto::Zeroizing<Vec<u8>>), Error> {
    let damaged = || Error::DamagedDataKey { id: wrap.data_key.to_string() };
    let header = parse_key_header(&wrap.record).map_err(|_| damaged())?;
    if header.key_id != wrap.data_key || header.recipient_id != wrap.recipient {
        return Err(damaged());
    }
    let master = unlock(&wrap.recipient)?;
    unwrap_key(&master, &wrap.record).map_err(|_| damaged())
}

fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > 63 {
        return Err(Error::BadArgument {
            what: "invalid name".to_owned(),
            hint: "A name has 1 to 63 bytes.".to_owned(),
        });
    }
    Ok(())
}
