//! Values as they stand in index files.
//!
//! A key of an index names the layout it is sealed under, as a row does, and opens without anything else
//! than that layout's key for its column. There are two lengths of values and two ways to seal each:
//!
//! | | random (the default) | the same each time |
//! |---|---|---|
//! | 8 bytes | one AES-256 block of value 8, tweak 4, zeros 4 | one block of value 8, zeros 8 |
//! | any other | XAES-256-GCM, as a row | AES-SIV (RFC 5297) |
//!
//! A `sealed_hash` index keeps nothing but a keyed hash of 4 bytes ([`IndexKey::hash`]).
//!
//! The key is that of a column and not of an index: PostgreSQL gives the file of an index to another one,
//! with another OID, when the type of a column changes in name only, and nothing of an index but its
//! columns' numbers survives that.

use core::fmt;

use aes_gcm::aead::inout::InOutBuf;
use aes_siv::{KeyInit, siv::Aes256Siv};
use ctutils::CtEq;
use sealed_aead::Aes256;
use zeroize::Zeroizing;

use crate::nonce::Nonce;
use crate::row::{self, AAD_LEN, LayoutKey, OVERHEAD, Under};
use crate::xaes::{SubkeyCache, Xaes};
use crate::{Error, LayoutId, kdf};

/// Head 4 and one block.
pub const SHORT_LEN: usize = 20;
/// What sealing adds to a long value that is sealed the same each time: head 4, tag 16.
pub const SIV_OVERHEAD: usize = 20;

/// The formats, in the four highest bits of the head.
const SHORT: u32 = 3;
const LONG: u32 = 4;
const SAME_SHORT: u32 = 5;
const SAME_LONG: u32 = 6;

/// Whether a sealed value is a block or has a length of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plain {
    /// Eight bytes.
    Short,
    /// As many as this.
    Long(usize),
}

/// How to seal.
#[derive(Debug)]
pub enum Seal {
    /// So that equal values look different.
    Random(Nonce),
    /// So that equal values look the same.
    Same,
}

/// The keys of one column under one layout. Wiped on drop.
pub struct IndexKey(Box<Inner>);

struct Inner {
    layout: LayoutId,
    short: Aes256,
    long: Xaes,
    same_short: Aes256,
    same_long: Zeroizing<[u8; 64]>,
    hash: Aes256,
    aad: [u8; AAD_LEN],
}

impl IndexKey {
    /// Derives the keys of a column, by its number in the table; 0 is what is computed from several.
    pub fn derive(key: &LayoutKey, column: u16) -> Self {
        let (from, aad) = key.index(column);
        let number = column.to_be_bytes();
        let expand = |label: &[u8], out: &mut [u8]| kdf::expand(from, &[label, &number], out);
        let key32 = |label: &[u8]| {
            let mut key = Zeroizing::new([0; 32]);
            expand(label, &mut key[..]);
            key
        };
        let mut same_long = Zeroizing::new([0; 64]);
        expand(b"same long v1", &mut same_long[..]);
        Self(Box::new(Inner {
            layout: key.layout(),
            short: Aes256::new(&key32(b"short v1")),
            long: Xaes::new(&key32(b"long v1")),
            same_short: Aes256::new(&key32(b"same short v1")),
            same_long,
            hash: Aes256::new(&key32(b"hash v1")),
            aad,
        }))
    }

    /// The layout these keys belong to.
    #[inline]
    pub fn layout(&self) -> LayoutId {
        self.0.layout
    }

    fn head(&self, format: u32) -> u32 {
        format << 28 | self.0.layout.get()
    }

    fn long(&self) -> Under<'_> {
        Under { xaes: &self.0.long, head: self.head(LONG), aad: &self.0.aad, more: &[] }
    }

    /// Seals eight bytes.
    pub fn seal_short(&self, how: Seal, value: [u8; 8]) -> [u8; SHORT_LEN] {
        let (format, aes, tweak) = match how {
            Seal::Same => (SAME_SHORT, &self.0.same_short, [0; 4]),
            // A counter that no two seals under one salt share, from a place that the salt gives it: so
            // equal values look different even where there are very many, as 4 random bytes would not.
            Seal::Random(nonce) => {
                let [s0, s1, s2, s3, ..] = nonce.salt;
                let place = u32::from_be_bytes([s0, s1, s2, s3]);
                (SHORT, &self.0.short, nonce.counter.wrapping_add(place).to_be_bytes())
            }
        };
        let mut plain = [0; 16];
        plain[..8].copy_from_slice(&value);
        plain[8..12].copy_from_slice(&tweak);
        aes.encrypt(&mut plain);
        let mut out = [0; SHORT_LEN];
        out[..4].copy_from_slice(&self.head(format).to_be_bytes());
        out[4..].copy_from_slice(&plain);
        out
    }

    /// Opens what [`Self::seal_short`] made.
    #[inline]
    pub fn open_short(&self, sealed: &[u8]) -> Result<[u8; 8], Error> {
        let Ok(sealed) = <&[u8; SHORT_LEN]>::try_from(sealed) else {
            return Err(Error::WrongLength);
        };
        let (Some((head, _)), Some(block)) =
            (sealed.split_first_chunk(), sealed.last_chunk::<16>())
        else {
            return Err(Error::WrongLength);
        };
        let (aes, checked) = match self.format(*head)? {
            SHORT => (&self.0.short, 4),
            SAME_SHORT => (&self.0.same_short, 8),
            _ => return Err(Error::WrongLength),
        };
        let mut block = *block;
        aes.decrypt(&mut block);
        let (rest, check) = block.split_at(16 - checked);
        let (zeros, _) = [0; 8].split_at(checked);
        match rest.first_chunk() {
            Some(value) if bool::from(check.ct_eq(zeros)) => Ok(*value),
            _ => Err(Error::Damaged),
        }
    }

    /// The code that a `sealed_hash` index keeps of a value, of the 4 bytes that its type's hash function gives: the
    /// first 4 bytes of one block of them and 12 zeros, so nobody without the key can guess the value or its hash.
    #[inline]
    pub fn hash(&self, value: u32) -> u32 {
        let mut block = [0; 16];
        block[..4].copy_from_slice(&value.to_be_bytes());
        self.0.hash.encrypt(&mut block);
        let [a, b, c, d, ..] = block;
        u32::from_be_bytes([a, b, c, d])
    }

    /// Seals bytes of any length. `payload` is [`Self::room`] bytes, whatever they hold, followed by them.
    pub fn seal_long(
        &self,
        how: Seal,
        cache: &mut SubkeyCache,
        payload: &mut [u8],
    ) -> Result<(), Error> {
        match how {
            Seal::Random(nonce) => row::seal(self.long(), cache, nonce, payload),
            Seal::Same => {
                let head = self.head(SAME_LONG).to_be_bytes();
                let Some((front, body)) = payload.split_first_chunk_mut::<SIV_OVERHEAD>() else {
                    return Err(Error::WrongLength);
                };
                let tag = self
                    .siv()
                    .encrypt_inout_detached([&self.0.aad], InOutBuf::from(body))
                    .map_err(|_| Error::WrongLength)?;
                front[..4].copy_from_slice(&head);
                front[4..].copy_from_slice(&tag);
                Ok(())
            }
        }
    }

    /// The room that [`Self::seal_long`] wants in front.
    pub const fn room(how: &Seal) -> usize {
        match how {
            Seal::Random(_) => OVERHEAD,
            Seal::Same => SIV_OVERHEAD,
        }
    }

    /// Opens what [`Self::seal_long`] made into `out`, which is as long as [`plain_len`] says. On error it is
    /// all zero.
    #[inline]
    pub fn open_long(
        &self,
        cache: &mut SubkeyCache,
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<(), Error> {
        let Some((head, _)) = payload.split_first_chunk() else { return Err(Error::WrongLength) };
        match self.format(*head)? {
            LONG => row::open(self.long(), cache, payload, out),
            SAME_LONG => {
                let opened = self.open_same(payload, out);
                if opened.is_err() {
                    out.fill(0);
                }
                opened
            }
            _ => Err(Error::WrongLength),
        }
    }

    fn open_same(&self, payload: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let Some((front, body)) = payload.split_first_chunk::<SIV_OVERHEAD>() else {
            return Err(Error::WrongLength);
        };
        let (_, tag) = front.split_at(4);
        let (Ok(tag), Ok(text)) = (<[u8; 16]>::try_from(tag), InOutBuf::new(body, out)) else {
            return Err(Error::WrongLength);
        };
        self.siv()
            .decrypt_inout_detached([&self.0.aad], text, &tag.into())
            .map_err(|_| Error::Damaged)
    }

    fn siv(&self) -> Aes256Siv {
        Aes256Siv::new((&*self.0.same_long).into())
    }

    /// The format of a head, if it names this layout.
    #[inline]
    fn format(&self, head: [u8; 4]) -> Result<u32, Error> {
        let head = u32::from_be_bytes(head);
        if head & LayoutId::MAX != self.0.layout.get() {
            return Err(Error::WrongLayout);
        }
        match head >> 28 {
            format @ (SHORT | LONG | SAME_SHORT | SAME_LONG) => Ok(format),
            _ => Err(Error::UnknownFormat),
        }
    }
}

impl fmt::Debug for IndexKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexKey").field("layout", &self.0.layout).finish_non_exhaustive()
    }
}

/// The layout that a sealed value names. Nothing is verified by this.
#[inline]
pub fn index_layout(sealed: &[u8]) -> Result<LayoutId, Error> {
    plain_len(sealed)?;
    let Some((head, _)) = sealed.split_first_chunk() else { return Err(Error::WrongLength) };
    LayoutId::new(u32::from_be_bytes(*head) & LayoutId::MAX).map_err(|_| Error::Damaged)
}

/// How long a sealed value is when it is opened. Nothing is verified by this.
#[inline]
pub fn plain_len(sealed: &[u8]) -> Result<Plain, Error> {
    let Some((head, _)) = sealed.split_first_chunk() else { return Err(Error::WrongLength) };
    let long = |room: usize| sealed.len().checked_sub(room).ok_or(Error::WrongLength);
    match u32::from_be_bytes(*head) >> 28 {
        SHORT | SAME_SHORT if sealed.len() == SHORT_LEN => Ok(Plain::Short),
        SHORT | SAME_SHORT => Err(Error::WrongLength),
        LONG => long(OVERHEAD).map(Plain::Long),
        SAME_LONG => long(SIV_OVERHEAD).map(Plain::Long),
        _ => Err(Error::UnknownFormat),
    }
}

#[cfg(test)]
mod tests;
