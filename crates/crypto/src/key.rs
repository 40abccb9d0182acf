//! Master keys, and keys wrapped under them: the key record.
//!
//! A record is `header | enc | ciphertext`, HPKE (RFC 9180) with the header as associated data, byte
//! for byte as stored. Records for the server's own master key are in PSK mode: in base mode anyone
//! who can write the catalog could plant a key he knows, as the public key is no secret. Records for
//! escrow recipients are in base mode, and [`unwrap_key`] does not open them.

use core::fmt;

use ctutils::CtEq;
use hpke::aead::AesGcm256;
use hpke::kdf::{HkdfSha256, HkdfSha384, Kdf};
use hpke::kem::{Kem, X25519HkdfSha256};
use hpke::{Deserializable, OpModeR, OpModeS, PskBundle, Serializable};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::kem::{MlKem1024, XWing};
use crate::{Error, Id, MasterSeed, Suite, kdf};

/// A master key: a KEM key pair and a pre-shared key, all derived from one seed.
pub struct MasterKey {
    id: Id,
    suite: Suite,
    pair: Pair,
    psk: Zeroizing<[u8; PSK_LEN]>,
    vouching: Zeroizing<[u8; 32]>,
    check_value: [u8; 16],
}

/// The pre-shared key is as long as the longest hash in use (HKDF-SHA384).
const PSK_LEN: usize = 48;

enum Pair {
    XWing(Box<(<XWing as Kem>::PrivateKey, <XWing as Kem>::PublicKey)>),
    MlKem1024(Box<(<MlKem1024 as Kem>::PrivateKey, <MlKem1024 as Kem>::PublicKey)>),
}

/// What a wrapped key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Purpose {
    /// The data key of a table. 32 bytes.
    DataKey = 1,
    /// A key of an application, wrapped for it. 16 to 64 bytes.
    AppKey = 2,
}

/// How a record is authenticated: the HPKE mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Mode {
    /// Not at all: whoever knows the public key could have made it. For escrow recipients.
    Base = 0,
    /// By a key that only holders of the master seed have.
    Psk = 1,
}

/// The fields of a key record that the caller chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataKeyHeader {
    /// Algorithms of the wrap.
    pub suite: Suite,
    /// What the key is for.
    pub purpose: Purpose,
    /// The master key or the escrow recipient it is wrapped to.
    pub recipient_id: Id,
    /// The key.
    pub key_id: Id,
    /// Its version within the table.
    pub version: u32,
    /// The table, [`Id::NIL`] for application keys.
    pub table: Id,
    /// When the key was made, in microseconds; the epoch is the caller's.
    pub created_us: i64,
}

/// How old a data key is, measured against the bound of docs/format.md on what one key may seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAge {
    /// Less than [`DataKeyHeader::DUE_US`].
    Fresh,
    /// A new version should be started.
    Due,
    /// Older than [`DataKeyHeader::SPENT_US`]: nothing more may be sealed under it.
    Spent,
}

/// A key record taken apart. Nothing is verified by parsing.
#[derive(Clone, Copy, Debug)]
pub struct KeyRecord<'a> {
    /// The chosen fields.
    pub header: DataKeyHeader,
    /// How it is authenticated.
    pub mode: Mode,
    /// Check value of a data key; zero for application keys.
    pub check_value: [u8; 16],
    aad: &'a [u8],
    enc: &'a [u8],
    ciphertext: &'a [u8],
}

const MAGIC: &[u8; 4] = b"PGSK";
const FORMAT: u8 = 1;
const HEADER_LEN: usize = 89;
const TAG_LEN: usize = 16;
const DATA_KEY_LEN: usize = 32;
const APP_KEY_LEN: core::ops::RangeInclusive<usize> = 16..=64;
const INFO: &[u8] = b"pg_sealed key wrap v1";

impl MasterKey {
    /// Derives the key pair, the pre-shared key and the check value from a seed.
    ///
    /// Of a legacy suite there are none.
    pub fn derive(id: Id, suite: Suite, seed: &MasterSeed) -> Result<Self, Error> {
        let mut ikm = Zeroizing::new([0; 64]);
        kdf::from_seed(suite, seed.expose(), b"kem v1", &mut ikm[..]);
        let pair = match suite {
            Suite::XWingAes256 => Pair::XWing(Box::new(XWing::derive_keypair(&ikm[..]))),
            Suite::MlKem1024Aes256 => {
                Pair::MlKem1024(Box::new(MlKem1024::derive_keypair(&ikm[..])))
            }
            Suite::X25519Aes256 => return Err(Error::UnknownSuite),
        };
        let mut psk = Zeroizing::new([0; PSK_LEN]);
        kdf::from_seed(suite, seed.expose(), b"dek-wrap psk v1", &mut psk[..]);
        let mut vouching = Zeroizing::new([0; 32]);
        kdf::from_seed(suite, seed.expose(), b"recipient v1", &mut vouching[..]);
        let mut check_value = [0; 16];
        kdf::from_seed(suite, seed.expose(), b"kcv v1", &mut check_value);
        Ok(Self { id, suite, pair, psk, vouching, check_value })
    }

    /// Its id.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Its suite.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The public half. To be compared with a stored one, which is not to be trusted.
    pub fn public_key(&self) -> Vec<u8> {
        match &self.pair {
            Pair::XWing(p) => p.1.to_bytes().to_vec(),
            Pair::MlKem1024(p) => p.1.to_bytes().to_vec(),
        }
    }

    /// A value that tells whether a seed is the right one and tells nothing else.
    pub fn check_value(&self) -> [u8; 16] {
        self.check_value
    }

    /// The 32-byte authenticator of an escrow recipient, stored beside it.
    ///
    /// Records for recipients are in base mode, so nothing else says that a public key is one that
    /// somebody with the master key added: whoever can write the catalog could add his own and have
    /// every later data key wrapped to it. HKDF-Expand serves as the PRF (RFC 5869, section 2.3).
    pub fn recipient_mac(&self, id: &Id, suite: Suite, public_key: &[u8]) -> [u8; 32] {
        let mut mac = [0; 32];
        let suite = (suite as u16).to_be_bytes();
        kdf::expand(&self.vouching, &[b"recipient v1", &id.0, &suite, public_key], &mut mac);
        mac
    }

    /// Whether `mac` is the authenticator of that recipient, in constant time.
    pub fn vouches_for(&self, id: &Id, suite: Suite, public_key: &[u8], mac: &[u8]) -> bool {
        self.recipient_mac(id, suite, public_key)[..].ct_eq(mac).into()
    }

    fn psk(&self) -> Result<PskBundle<'_>, Error> {
        PskBundle::new(&self.psk[..], &self.id.0).map_err(|_| Error::BadHeader)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, suite, .. } = self;
        f.debug_struct("MasterKey").field("id", id).field("suite", suite).finish_non_exhaustive()
    }
}

impl DataKeyHeader {
    /// After two years the keyring starts a new version of a data key.
    pub const DUE_US: i64 = 2 * YEAR_US;
    /// After five years nothing is sealed under it any more.
    pub const SPENT_US: i64 = 5 * YEAR_US;

    /// The header of a data key wrapped to `master`.
    pub fn data_key(
        master: &MasterKey,
        key_id: Id,
        version: u32,
        table: Id,
        created_us: i64,
    ) -> Self {
        let (suite, recipient_id) = (master.suite, master.id);
        let purpose = Purpose::DataKey;
        Self { suite, purpose, recipient_id, key_id, version, table, created_us }
    }

    /// The header of an application's key wrapped to `master`.
    pub fn app_key(master: &MasterKey, key_id: Id, created_us: i64) -> Self {
        let (suite, recipient_id, version) = (master.suite, master.id, 1);
        let (purpose, table) = (Purpose::AppKey, Id::NIL);
        Self { suite, purpose, recipient_id, key_id, version, table, created_us }
    }

    /// Enforces the bound on one data key: ask before sealing under it. A key from the future, as
    /// seen by a clock set back, is fresh.
    pub fn age(&self, now_us: i64) -> KeyAge {
        match now_us.saturating_sub(self.created_us) {
            age if age >= Self::SPENT_US => KeyAge::Spent,
            age if age >= Self::DUE_US => KeyAge::Due,
            _ => KeyAge::Fresh,
        }
    }

    fn check(&self, key_len: usize) -> Result<(), Error> {
        let right_len = match self.purpose {
            Purpose::DataKey => key_len == DATA_KEY_LEN,
            Purpose::AppKey => APP_KEY_LEN.contains(&key_len),
        };
        if !right_len {
            return Err(Error::WrongLength);
        }
        if self.table.is_nil() != (self.purpose == Purpose::AppKey) {
            return Err(Error::BadHeader);
        }
        Ok(())
    }

    fn encode(&self, mode: Mode, check_value: &[u8; 16]) -> [u8; HEADER_LEN] {
        let [kem, kdf, aead] = self.suite.hpke_ids();
        let mut out = [0; HEADER_LEN];
        let mut w = Writer(&mut out);
        w.put(MAGIC);
        w.put(&[FORMAT]);
        w.put(&kem.to_be_bytes());
        w.put(&kdf.to_be_bytes());
        w.put(&aead.to_be_bytes());
        w.put(&[mode as u8, self.purpose as u8]);
        w.put(&self.recipient_id.0);
        w.put(&self.key_id.0);
        w.put(&self.version.to_be_bytes());
        w.put(&self.table.0);
        w.put(&self.created_us.to_be_bytes());
        w.put(check_value);
        debug_assert!(w.0.is_empty());
        out
    }
}

const YEAR_US: i64 = 365 * 86_400 * 1_000_000;

impl<'a> KeyRecord<'a> {
    /// Takes a record apart. Every field must have a value this code could have written, and the
    /// lengths must add up to exactly the whole.
    pub fn parse(record: &'a [u8]) -> Result<Self, Error> {
        let Some((aad, rest)) = record.split_at_checked(HEADER_LEN) else {
            return Err(Error::WrongLength);
        };
        let mut r = Reader(aad);
        if r.take()? != *MAGIC || r.take()? != [FORMAT] {
            return Err(Error::UnknownFormat);
        }
        let ids = [r.u16()?, r.u16()?, r.u16()?];
        let suite = Suite::from_hpke_ids(ids)?;
        let mode = match r.take()? {
            [0] => Mode::Base,
            [1] => Mode::Psk,
            _ => return Err(Error::UnknownFormat),
        };
        let purpose = match r.take()? {
            [1] => Purpose::DataKey,
            [2] => Purpose::AppKey,
            _ => return Err(Error::UnknownFormat),
        };
        let header = DataKeyHeader {
            suite,
            purpose,
            recipient_id: Id(r.take()?),
            key_id: Id(r.take()?),
            version: u32::from_be_bytes(r.take()?),
            table: Id(r.take()?),
            created_us: i64::from_be_bytes(r.take()?),
        };
        let check_value = r.take()?;
        let mut r = Reader(rest);
        let enc = r.prefixed()?;
        let ciphertext = r.prefixed()?;
        let key_len = ciphertext.len().checked_sub(TAG_LEN).ok_or(Error::WrongLength)?;
        if !r.0.is_empty() || enc.len() != suite.enc_len() {
            return Err(Error::WrongLength);
        }
        header.check(key_len).map_err(|e| match e {
            Error::WrongLength => Error::WrongLength,
            _ => Error::Damaged,
        })?;
        if purpose == Purpose::AppKey && check_value != [0; 16] {
            return Err(Error::Damaged);
        }
        Ok(Self { header, mode, check_value, aad, enc, ciphertext })
    }

    /// The record again: byte for byte what was parsed, so no record has two forms.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut record = self.header.encode(self.mode, &self.check_value).to_vec();
        put_prefixed(&mut record, self.enc);
        put_prefixed(&mut record, self.ciphertext);
        record
    }

    fn check_key(&self, key: &[u8]) -> Result<(), Error> {
        let expected = stored_check_value(self.header.purpose, key);
        if expected.ct_eq(&self.check_value).into() { Ok(()) } else { Err(Error::Damaged) }
    }
}

/// Reads the header of a key record. The whole record must have the right form; nothing is verified.
pub fn parse_key_header(record: &[u8]) -> Result<DataKeyHeader, Error> {
    KeyRecord::parse(record).map(|r| r.header)
}

/// A value that tells whether a data key is the right one and tells nothing else.
pub fn key_check_value(key: &[u8; DATA_KEY_LEN]) -> [u8; 16] {
    let mut value = [0; 16];
    kdf::expand(key, &[b"kcv v1"], &mut value);
    value
}

/// Wraps a key to a master key, authenticated. `header` must name that master key and its suite.
pub fn wrap_key(
    rng: &mut impl CryptoRng,
    master: &MasterKey,
    header: &DataKeyHeader,
    key: &[u8],
) -> Result<Vec<u8>, Error> {
    if header.recipient_id != master.id || header.suite != master.suite {
        return Err(Error::BadHeader);
    }
    let psk = master.psk()?;
    match &master.pair {
        Pair::XWing(p) => {
            seal::<HkdfSha256, XWing>(rng, &OpModeS::Psk(psk), Mode::Psk, &p.1, header, key)
        }
        Pair::MlKem1024(p) => {
            seal::<HkdfSha384, MlKem1024>(rng, &OpModeS::Psk(psk), Mode::Psk, &p.1, header, key)
        }
    }
}

/// Opens a record that [`wrap_key`] made for this master key.
pub fn unwrap_key(
    master: &MasterKey,
    record: &[u8],
) -> Result<(DataKeyHeader, Zeroizing<Vec<u8>>), Error> {
    let record = KeyRecord::parse(record)?;
    if record.mode != Mode::Psk {
        return Err(Error::BaseMode);
    }
    if record.header.recipient_id != master.id || record.header.suite != master.suite {
        return Err(Error::WrongRecipient);
    }
    let psk = master.psk()?;
    let key = match &master.pair {
        Pair::XWing(p) => open::<HkdfSha256, XWing>(&OpModeR::Psk(psk), &p.0, &record)?,
        Pair::MlKem1024(p) => open::<HkdfSha384, MlKem1024>(&OpModeR::Psk(psk), &p.0, &record)?,
    };
    Ok((record.header, key))
}

/// Wraps a key to an escrow recipient's public key, in base mode. `header` must name that recipient
/// and suite.
pub fn wrap_key_to(
    rng: &mut impl CryptoRng,
    suite: Suite,
    recipient_id: Id,
    public_key: &[u8],
    header: &DataKeyHeader,
    key: &[u8],
) -> Result<Vec<u8>, Error> {
    if header.recipient_id != recipient_id || header.suite != suite {
        return Err(Error::BadHeader);
    }
    match suite {
        Suite::XWingAes256 => {
            let public = parse_public::<XWing>(public_key)?;
            seal::<HkdfSha256, XWing>(rng, &OpModeS::Base, Mode::Base, &public, header, key)
        }
        Suite::MlKem1024Aes256 => {
            let public = parse_public::<MlKem1024>(public_key)?;
            seal::<HkdfSha384, MlKem1024>(rng, &OpModeS::Base, Mode::Base, &public, header, key)
        }
        Suite::X25519Aes256 => {
            let public = parse_public::<X25519HkdfSha256>(public_key)?;
            seal::<HkdfSha256, X25519HkdfSha256>(
                rng,
                &OpModeS::Base,
                Mode::Base,
                &public,
                header,
                key,
            )
        }
    }
}

/// Opens a record in base mode with an escrow recipient's private key. For tools and tests: the
/// server never does this by itself, since such a record proves nothing about who made it.
pub fn open_recipient_record(
    private: &[u8],
    record: &[u8],
) -> Result<(DataKeyHeader, Zeroizing<Vec<u8>>), Error> {
    let record = KeyRecord::parse(record)?;
    if record.mode != Mode::Base {
        return Err(Error::WrongRecipient);
    }
    let key = match record.header.suite {
        Suite::XWingAes256 => {
            open::<HkdfSha256, XWing>(&OpModeR::Base, &parse_private::<XWing>(private)?, &record)
        }
        Suite::MlKem1024Aes256 => {
            let private = parse_private::<MlKem1024>(private)?;
            open::<HkdfSha384, MlKem1024>(&OpModeR::Base, &private, &record)
        }
        Suite::X25519Aes256 => {
            let private = parse_private::<X25519HkdfSha256>(private)?;
            open::<HkdfSha256, X25519HkdfSha256>(&OpModeR::Base, &private, &record)
        }
    }?;
    Ok((record.header, key))
}

/// Makes a key pair for an escrow recipient: the private key, a seed as HPKE writes it, and the
/// public key.
pub fn generate_recipient(rng: &mut impl CryptoRng, suite: Suite) -> (Zeroizing<Vec<u8>>, Vec<u8>) {
    fn make<K: Kem>(rng: &mut impl CryptoRng) -> (Zeroizing<Vec<u8>>, Vec<u8>) {
        let (private, public) = K::gen_keypair_with_rng(rng);
        (Zeroizing::new(private.to_bytes().to_vec()), public.to_bytes().to_vec())
    }
    match suite {
        Suite::XWingAes256 => make::<XWing>(rng),
        Suite::MlKem1024Aes256 => make::<MlKem1024>(rng),
        Suite::X25519Aes256 => make::<X25519HkdfSha256>(rng),
    }
}

/// Whether these bytes are a public key of the suite.
pub fn check_public_key(suite: Suite, public_key: &[u8]) -> Result<(), Error> {
    match suite {
        Suite::XWingAes256 => parse_public::<XWing>(public_key).map(drop),
        Suite::MlKem1024Aes256 => parse_public::<MlKem1024>(public_key).map(drop),
        Suite::X25519Aes256 => parse_public::<X25519HkdfSha256>(public_key).map(drop),
    }
}

fn parse_public<K: Kem>(bytes: &[u8]) -> Result<K::PublicKey, Error> {
    K::PublicKey::from_bytes(bytes).map_err(|_| Error::BadPublicKey)
}

fn parse_private<K: Kem>(bytes: &[u8]) -> Result<K::PrivateKey, Error> {
    K::PrivateKey::from_bytes(bytes).map_err(|_| Error::WrongLength)
}

fn seal<D: Kdf, K: Kem>(
    rng: &mut impl CryptoRng,
    hpke_mode: &OpModeS<'_, K>,
    mode: Mode,
    public: &K::PublicKey,
    header: &DataKeyHeader,
    key: &[u8],
) -> Result<Vec<u8>, Error> {
    header.check(key.len())?;
    let aad = header.encode(mode, &stored_check_value(header.purpose, key));
    let (enc, ciphertext) = hpke::single_shot_seal_with_rng::<AesGcm256, D, K>(
        hpke_mode,
        public,
        &info(header),
        key,
        &aad,
        rng,
    )
    .map_err(|_| Error::BadPublicKey)?;
    let enc = enc.to_bytes();
    let mut record = Vec::with_capacity(HEADER_LEN + 4 + enc.len() + ciphertext.len());
    record.extend_from_slice(&aad);
    put_prefixed(&mut record, &enc);
    put_prefixed(&mut record, &ciphertext);
    Ok(record)
}

fn open<D: Kdf, K: Kem>(
    hpke_mode: &OpModeR<'_, K>,
    private: &K::PrivateKey,
    record: &KeyRecord<'_>,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let enc = K::EncappedKey::from_bytes(record.enc).map_err(|_| Error::WrongLength)?;
    let key = hpke::single_shot_open::<AesGcm256, D, K>(
        hpke_mode,
        private,
        &enc,
        &info(&record.header),
        record.ciphertext,
        record.aad,
    )
    .map(Zeroizing::new)
    .map_err(|_| Error::Damaged)?;
    record.check_key(&key)?;
    Ok(key)
}

/// HPKE's `info`: label and version, purpose, suite.
fn info(header: &DataKeyHeader) -> Vec<u8> {
    let mut info = INFO.to_vec();
    info.push(header.purpose as u8);
    for id in header.suite.hpke_ids() {
        info.extend_from_slice(&id.to_be_bytes());
    }
    info
}

/// Data keys are random, so their check value tells nothing. What an application hands over may be
/// guessable, and a clear check value would let anyone test guesses: there it is zero.
fn stored_check_value(purpose: Purpose, key: &[u8]) -> [u8; 16] {
    match (purpose, key.try_into()) {
        (Purpose::DataKey, Ok(key)) => key_check_value(key),
        _ => [0; 16],
    }
}

/// Only for an enc and a ciphertext, whose lengths fit in 16 bits.
fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Fills a buffer front to back.
pub(crate) struct Writer<'a>(pub(crate) &'a mut [u8]);

impl Writer<'_> {
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        let (now, rest) = core::mem::take(&mut self.0).split_at_mut(bytes.len());
        now.copy_from_slice(bytes);
        self.0 = rest;
    }
}

/// Reads a buffer front to back; too short is [`Error::WrongLength`].
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (now, rest) = self.0.split_first_chunk().ok_or(Error::WrongLength)?;
        self.0 = rest;
        Ok(*now)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Error> {
        self.take().map(u16::from_be_bytes)
    }

    pub(crate) fn prefixed(&mut self) -> Result<&'a [u8], Error> {
        let len = self.u16()?;
        let (now, rest) = self.0.split_at_checked(len.into()).ok_or(Error::WrongLength)?;
        self.0 = rest;
        Ok(now)
    }
}

mod recovery;

pub use recovery::{fingerprint, open_recovered, recipient_public_key};

#[cfg(test)]
mod tests;
