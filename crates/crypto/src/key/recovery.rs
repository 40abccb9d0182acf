//! What it takes to bring data keys back through an escrow recipient.

use hpke::kdf::{HkdfSha256, HkdfSha384};
use hpke::kem::{Kem, X25519HkdfSha256};
use hpke::{OpModeR, Serializable};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{DataKeyHeader, KeyRecord, MasterKey, Mode, Pair, open, parse_private};
use crate::kem::{MlKem1024, XWing};
use crate::{Error, Suite};

/// Opens a record that somebody wrapped to the public half of this master key, in base mode.
///
/// It proves nothing about who that was. Only for recovery, whose caller compares the key with what else he
/// knows of it, and lets it open rows but never seal one.
pub fn open_recovered(
    master: &MasterKey,
    record: &[u8],
) -> Result<(DataKeyHeader, Zeroizing<Vec<u8>>), Error> {
    let record = KeyRecord::parse(record)?;
    if record.mode != Mode::Base
        || record.header.recipient_id != master.id
        || record.header.suite != master.suite
    {
        return Err(Error::WrongRecipient);
    }
    let key = match &master.pair {
        Pair::XWing(p) => open::<HkdfSha256, XWing>(&OpModeR::Base, &p.0, &record)?,
        Pair::MlKem1024(p) => open::<HkdfSha384, MlKem1024>(&OpModeR::Base, &p.0, &record)?,
    };
    Ok((record.header, key))
}

/// The public half of a recipient's private key.
pub fn recipient_public_key(suite: Suite, private: &[u8]) -> Result<Vec<u8>, Error> {
    Ok(match suite {
        Suite::XWingAes256 => {
            XWing::sk_to_pk(&parse_private::<XWing>(private)?).to_bytes().to_vec()
        }
        Suite::MlKem1024Aes256 => {
            MlKem1024::sk_to_pk(&parse_private::<MlKem1024>(private)?).to_bytes().to_vec()
        }
        Suite::X25519Aes256 => {
            let private = parse_private::<X25519HkdfSha256>(private)?;
            X25519HkdfSha256::sk_to_pk(&private).to_bytes().to_vec()
        }
    })
}

/// What people compare instead of a public key: the first half of its SHA-256.
pub fn fingerprint(public_key: &[u8]) -> [u8; 16] {
    let hash: [u8; 32] = Sha256::digest(public_key).into();
    core::array::from_fn(|at| hash.get(at).copied().unwrap_or(0))
}
