//! Keys of applications, wrapped for them with the same algorithms.

use sealed_crypto::{
    DataKeyHeader, Error as CryptoError, Id, KernelRng, Purpose, Secret, parse_key_header,
    unwrap_key, wrap_key_to,
};

use super::records::{MasterRow, RecipientRow};
use super::{layouts, master};
use crate::error::Error;
use crate::pg::xact;

/// Wraps a key of 16 to 64 bytes to the active master key, or to a recipient.
pub fn wrap_app_key(key: &[u8], recipient: Option<&str>) -> Result<Vec<u8>, Error> {
    if !(16..=64).contains(&key.len()) {
        return Err(Error::BadArgument {
            what: format!("invalid key of {} bytes", key.len()),
            hint: "A key has 16 to 64 bytes.".to_owned(),
        });
    }
    let id = Id::make(&mut KernelRng);
    let now = xact::now_us();
    let Some(name) = recipient else {
        let master = master::active()?;
        return layouts::wrap_verified(&master, &DataKeyHeader::app_key(&master, id, now), key);
    };
    let missing = || Error::NoSuchRecipient { name: name.to_owned() };
    let recipient = RecipientRow::find(name)?.ok_or_else(missing)?;
    master::check_recipient(&*master::active()?, &recipient)?;
    let header = DataKeyHeader {
        suite: recipient.suite,
        purpose: Purpose::AppKey,
        recipient_id: recipient.id,
        key_id: id,
        version: 1,
        table: Id::NIL,
        created_us: now,
    };
    let (suite, public_key) = (recipient.suite, &recipient.public_key);
    Ok(wrap_key_to(&mut KernelRng, suite, recipient.id, public_key, &header, key)?)
}

/// Unwraps a key that was wrapped to a master key of this database, active or replaced.
///
/// Never a data key of a table, whose record has the same form: those are not for callers.
pub fn unwrap_app_key(record: &[u8]) -> Result<Vec<u8>, Error> {
    let header = parse_key_header(record).map_err(|_| Error::DamagedRecord)?;
    if header.purpose != Purpose::AppKey {
        return Err(Error::NotAllowed {
            what: "unwrap the data key of a table".to_owned(),
            needs: "a record made by sealed.wrap_key or sealed.generate_key".to_owned(),
        });
    }
    if MasterRow::find(&header.recipient_id)?.is_none() {
        return Err(Error::ForeignRecord);
    }
    let master = master::unlock(&header.recipient_id)?;
    match unwrap_key(&master, record) {
        Ok((_, key)) => Ok(key.to_vec()),
        Err(CryptoError::NoRandomness) => Err(CryptoError::NoRandomness.into()),
        Err(_) => Err(Error::DamagedRecord),
    }
}

/// A new random key of 32 bytes, in clear and wrapped.
pub fn generate_key() -> Result<(Vec<u8>, Vec<u8>), Error> {
    let key = Secret::<32>::random(&mut KernelRng);
    let wrapped = wrap_app_key(key.expose(), None)?;
    Ok((key.expose().to_vec(), wrapped))
}
