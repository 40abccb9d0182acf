//! A master seed wrapped under a key of a provider: the seed blob.
//!
//! Each blob has a random salt, from which and from the provider's key an AES-256-GCM key of its own
//! is derived; so there is no nonce to repeat. A commitment derived beside it tells a wrong key
//! (a wrong passphrase, say) from a damaged blob, and ties the blob to one key.

use aes_gcm::aead::KeyInit;
use aes_gcm::{AeadInOut, Aes256Gcm};
use ctutils::CtEq;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::key::{Reader, Writer};
use crate::{Error, Id, MasterSeed, Secret, Suite, kdf};

const MAGIC: &[u8; 4] = b"PGSS";
const FORMAT: u8 = 1;
const NAME_LEN: usize = 23;
const SALT_LEN: usize = 32;
const COMMITMENT_LEN: usize = 32;
const HEADER_LEN: usize = NAME_LEN + SALT_LEN + COMMITMENT_LEN;
const SEED_LEN: usize = 32;
const CIPHERTEXT_LEN: usize = SEED_LEN + 16;

/// Length of a seed blob.
pub const BLOB_LEN: usize = HEADER_LEN + 2 + CIPHERTEXT_LEN;

/// Wraps the seed of the master key `master_id`.
pub fn wrap_seed(
    rng: &mut impl CryptoRng,
    kek: &Secret<32>,
    master_id: &Id,
    suite: Suite,
    seed: &MasterSeed,
) -> Vec<u8> {
    let mut salt = [0; SALT_LEN];
    rng.fill_bytes(&mut salt);
    let name = name(master_id, suite);
    let (cipher, iv, commitment) = derive(kek, &salt, &name);

    let mut header = [0; HEADER_LEN];
    let mut w = Writer(&mut header);
    w.put(&name);
    w.put(&salt);
    w.put(&commitment);

    let mut body = Zeroizing::new(*seed.expose());
    let tag = cipher.encrypt_inout_detached(&iv.into(), &header, (&mut body[..]).into());
    let Ok(tag) = tag else { unreachable!("32 bytes are not too long for GCM") };

    let mut blob = Vec::with_capacity(BLOB_LEN);
    blob.extend_from_slice(&header);
    blob.extend_from_slice(&(CIPHERTEXT_LEN as u16).to_be_bytes());
    blob.extend_from_slice(&body[..]);
    blob.extend_from_slice(&tag);
    blob
}

/// Opens a seed blob. [`Error::WrongKey`] if `kek` is not the key it was wrapped under,
/// [`Error::WrongRecipient`] if it is the seed of another master key.
pub fn unwrap_seed(
    kek: &Secret<32>,
    master_id: &Id,
    suite: Suite,
    blob: &[u8],
) -> Result<MasterSeed, Error> {
    let parts = Parts::parse(blob)?;
    let name = name(master_id, suite);
    if parts.name != name {
        return Err(Error::WrongRecipient);
    }
    let (cipher, iv, commitment) = derive(kek, &parts.salt, &name);
    if !bool::from(commitment.ct_eq(&parts.commitment)) {
        return Err(Error::WrongKey);
    }
    let mut opened = Ok(());
    let seed = MasterSeed::from_fn(|out| {
        out.copy_from_slice(&parts.ciphertext);
        opened = cipher.decrypt_inout_detached(
            &iv.into(),
            parts.header,
            (&mut out[..]).into(),
            (&parts.tag).into(),
        );
    });
    opened.map(|()| seed).map_err(|_| Error::Damaged)
}

/// Whose seed a blob is. Nothing is verified by this.
pub fn parse_seed_blob(blob: &[u8]) -> Result<(Id, Suite), Error> {
    Parts::parse(blob).map(|p| (p.id, p.suite))
}

struct Parts<'a> {
    header: &'a [u8],
    name: [u8; NAME_LEN],
    id: Id,
    suite: Suite,
    salt: [u8; SALT_LEN],
    commitment: [u8; COMMITMENT_LEN],
    ciphertext: [u8; SEED_LEN],
    tag: [u8; 16],
}

impl<'a> Parts<'a> {
    fn parse(blob: &'a [u8]) -> Result<Self, Error> {
        let Some((header, rest)) = blob.split_at_checked(HEADER_LEN) else {
            return Err(Error::WrongLength);
        };
        let mut r = Reader(header);
        let name: [u8; NAME_LEN] = r.take()?;
        let (salt, commitment) = (r.take()?, r.take()?);
        let mut r = Reader(&name);
        if r.take()? != *MAGIC || r.take()? != [FORMAT] {
            return Err(Error::UnknownFormat);
        }
        let suite = Suite::try_from(r.u16()?)?;
        let id = Id(r.take()?);
        let mut r = Reader(rest);
        let sealed = r.prefixed()?;
        if !r.0.is_empty() || sealed.len() != CIPHERTEXT_LEN {
            return Err(Error::WrongLength);
        }
        let mut r = Reader(sealed);
        let (ciphertext, tag) = (r.take()?, r.take()?);
        Ok(Self { header, name, id, suite, salt, commitment, ciphertext, tag })
    }
}

fn name(master_id: &Id, suite: Suite) -> [u8; NAME_LEN] {
    let mut name = [0; NAME_LEN];
    let mut w = Writer(&mut name);
    w.put(MAGIC);
    w.put(&[FORMAT]);
    w.put(&(suite as u16).to_be_bytes());
    w.put(&master_id.0);
    name
}

fn derive(
    kek: &Secret<32>,
    salt: &[u8; SALT_LEN],
    name: &[u8; NAME_LEN],
) -> (Aes256Gcm, [u8; 12], [u8; COMMITMENT_LEN]) {
    let mut key = Zeroizing::new([0; 32]);
    let mut iv = [0; 12];
    let mut commitment = [0; COMMITMENT_LEN];
    kdf::extract_expand(salt, kek.expose(), &[b"seed-wrap key v1", name], &mut key[..]);
    kdf::extract_expand(salt, kek.expose(), &[b"seed-wrap iv v1", name], &mut iv);
    kdf::extract_expand(salt, kek.expose(), &[b"seed-wrap commit v1", name], &mut commitment);
    (Aes256Gcm::new((&*key).into()), iv, commitment)
}

#[cfg(test)]
mod tests;
