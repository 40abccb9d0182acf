//! AES-256-GCM for messages of a hundred bytes or two, with the key schedule and the powers of the hash key
//! kept; and AES-256 of single blocks.
//!
//! | backend | instructions | what it is |
//! |---|---|---|
//! | [`Backend::Vaes512`] | VAES, VPCLMULQDQ, AVX-512 F, BW, VL, DQ | four blocks an instruction, tails by masks |
//! | [`Backend::Aesni`] | AES-NI, PCLMULQDQ, SSE4.1 | up to nine blocks side by side |
//! | [`Backend::AesPmull`] | AES and PMULL of aarch64 | the same |
//! | [`Backend::Portable`] | any | the crates `aes` and `ghash`, which `aes-gcm` is made of |
//!
//! All give the same bytes. [`select`] decides once for the process which is used, after a test with known
//! answers. Rules of every backend:
//!
//! - No branch and no index depends on a key or a text; on lengths they do, which are no secret.
//! - The tag is verified before a byte of plaintext is written, in messages of any length.
//! - Nothing is allocated by sealing and opening.
//! - Keys, and what is computed from them, are wiped on drop. Registers and what the compiler spills of them to
//!   the stack are not.
//!
//! Unsafe code stands in `x86/` and `aarch64/` only (scripts/layers): what calls instructions that the processor was
//! asked for, and loads and stores of slices.
#![deny(unsafe_code)]

use core::fmt;

use aes::cipher::inout::InOutBuf;
use zeroize::Zeroize;

#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code)]
mod aarch64;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod blocks;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod ends;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod kept;
mod portable;
mod select;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86;

/// What `blocks` and `kept` are made of.
#[cfg(target_arch = "aarch64")]
use aarch64 as native;
#[cfg(target_arch = "x86_64")]
use x86 as native;

pub use select::{Backend, Unusable, in_use, select};

/// A tag.
pub type Tag = [u8; 16];
/// What is different in each message under one key.
pub type Iv = [u8; 12];
type Block = [u8; 16];

/// The longest text: the 32-bit counter has 1 and the first block's 2 behind it (SP 800-38D, 5.2.1.1).
const MAX_TEXT: u64 = (u32::MAX as u64 - 1) * 16;

/// Why a message was not sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The tag is not that of this text and associated data under this key.
    Refused,
    /// The text is too long for the mode, or not as long as the place to open it into.
    Length,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "the tag is wrong",
            Self::Length => "the length is wrong",
        })
    }
}

impl core::error::Error for Error {}

/// AES-256-GCM with one key, and with associated data that begins the same each time. About 830 bytes, wiped on
/// drop.
pub struct Gcm(Cipher);

// The large one is what is used. Keys live in boxes of their users.
#[allow(clippy::large_enum_variant)]
enum Cipher {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    Native(native::Keys),
    Portable(portable::Keys),
}

impl Gcm {
    /// A key, with what all associated data begins with, for the backend in use.
    pub fn new(key: &[u8; 32], aad: &[u8]) -> Self {
        let make = |backend| Self::with(backend, key, aad);
        make(in_use()).unwrap_or_else(|_| Self(Cipher::Portable(portable::Keys::new(key, aad))))
    }

    /// The same, for a backend of the caller's choice. It is not tested.
    pub fn with(backend: Backend, key: &[u8; 32], aad: &[u8]) -> Result<Self, Unusable> {
        let lacks = Unusable::Lacks(backend);
        match backend {
            Backend::Portable => Ok(Cipher::Portable(portable::Keys::new(key, aad))),
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            _ => native::Keys::new(backend, key, aad).map(Cipher::Native).ok_or(lacks),
            #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
            _ => Err(lacks),
        }
        .map(Self)
    }

    /// Puts another key in the place of this one, which is overwritten. The schedule is computed where it stays, but
    /// that of the portable backend, which its crate returns by value. The backend stays.
    pub fn rekey(&mut self, key: &[u8; 32], aad: &[u8]) {
        match &mut self.0 {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            Cipher::Native(keys) => keys.set(key, aad),
            Cipher::Portable(keys) => *keys = portable::Keys::new(key, aad),
        }
    }

    /// Seals in place. `more` is what the associated data goes on with, behind what the key has of it.
    // Always: the tag would be copied out of the result in pieces, which waits for it.
    #[inline(always)]
    pub fn seal(&self, iv: &Iv, more: &[u8], text: &mut [u8]) -> Result<Tag, Error> {
        fits(text.len())?;
        Ok(match &self.0 {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            Cipher::Native(keys) => keys.seal(iv, more, text),
            Cipher::Portable(keys) => keys.seal(iv, more, text),
        })
    }

    /// Opens into a place of the same length. Nothing is written to it unless the tag is right.
    // Always, as what calls it: a row is opened in a quarter of a scan's time, and each call on the way saves registers.
    #[inline(always)]
    pub fn open(
        &self,
        iv: &Iv,
        more: &[u8],
        sealed: &[u8],
        tag: &Tag,
        out: &mut [u8],
    ) -> Result<(), Error> {
        let text = InOutBuf::new(sealed, out).map_err(|_| Error::Length)?;
        self.open_text(iv, more, tag, text)
    }

    /// Opens in place. The text stays sealed unless the tag is right.
    #[inline]
    pub fn open_in_place(
        &self,
        iv: &Iv,
        more: &[u8],
        text: &mut [u8],
        tag: &Tag,
    ) -> Result<(), Error> {
        self.open_text(iv, more, tag, text.into())
    }

    #[inline(always)]
    fn open_text(
        &self,
        iv: &Iv,
        more: &[u8],
        tag: &Tag,
        text: InOutBuf<'_, '_, u8>,
    ) -> Result<(), Error> {
        fits(text.len())?;
        let opened = match &self.0 {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            Cipher::Native(keys) => keys.open(iv, more, tag, text),
            Cipher::Portable(keys) => keys.open(iv, more, tag, text),
        };
        if opened { Ok(()) } else { Err(Error::Refused) }
    }
}

impl fmt::Debug for Gcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gcm").finish_non_exhaustive()
    }
}

fn fits(len: usize) -> Result<(), Error> {
    if len as u64 > MAX_TEXT { Err(Error::Length) } else { Ok(()) }
}

/// AES-256 of single blocks, in one direction: for deriving keys. Wiped on drop.
pub struct Aes256Enc(Enc);

#[allow(clippy::large_enum_variant)]
enum Enc {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    Native(kept::Schedule),
    Portable(aes::Aes256Enc),
}

impl Aes256Enc {
    /// For the backend in use.
    pub fn new(key: &[u8; 32]) -> Self {
        Self::with(in_use(), key).unwrap_or_else(|_| Self::portable(key))
    }

    /// For a backend of the caller's choice. [`Backend::Vaes512`] is the same as [`Backend::Aesni`] here.
    pub fn with(backend: Backend, key: &[u8; 32]) -> Result<Self, Unusable> {
        let lacks = Unusable::Lacks(backend);
        match backend {
            Backend::Portable => Ok(Self::portable(key)),
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            _ => kept::Schedule::encrypting(backend, key)
                .map(|schedule| Self(Enc::Native(schedule)))
                .ok_or(lacks),
            #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
            _ => Err(lacks),
        }
    }

    fn portable(key: &[u8; 32]) -> Self {
        use aes::cipher::KeyInit;
        Self(Enc::Portable(aes::Aes256Enc::new(key.into())))
    }

    /// Encrypts a block in place.
    #[inline]
    pub fn encrypt(&self, block: &mut [u8; 16]) {
        match &self.0 {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            Enc::Native(schedule) => schedule.encrypt(block),
            Enc::Portable(aes) => {
                use aes::cipher::BlockCipherEncrypt;
                aes.encrypt_block(block.into());
            }
        }
    }
}

/// AES-256 of single blocks, in both directions: for values that fit one. Wiped on drop.
pub struct Aes256 {
    enc: Aes256Enc,
    dec: Dec,
}

#[allow(clippy::large_enum_variant)]
enum Dec {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    Native(kept::Schedule),
    Portable(aes::Aes256Dec),
}

impl Aes256 {
    /// For the backend in use.
    pub fn new(key: &[u8; 32]) -> Self {
        Self::of(Aes256Enc::new(key), key)
    }

    /// For a backend of the caller's choice, as [`Aes256Enc::with`].
    pub fn with(backend: Backend, key: &[u8; 32]) -> Result<Self, Unusable> {
        Aes256Enc::with(backend, key).map(|enc| Self::of(enc, key))
    }

    fn of(enc: Aes256Enc, key: &[u8; 32]) -> Self {
        use aes::cipher::KeyInit;
        let dec = match &enc.0 {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            Enc::Native(schedule) => Dec::Native(schedule.decrypting()),
            Enc::Portable(_) => Dec::Portable(aes::Aes256Dec::new(key.into())),
        };
        Self { enc, dec }
    }

    /// Encrypts a block in place.
    #[inline]
    pub fn encrypt(&self, block: &mut [u8; 16]) {
        self.enc.encrypt(block);
    }

    /// Decrypts a block in place.
    #[inline]
    pub fn decrypt(&self, block: &mut [u8; 16]) {
        match &self.dec {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            Dec::Native(schedule) => schedule.decrypt(block),
            Dec::Portable(aes) => {
                use aes::cipher::BlockCipherDecrypt;
                aes.decrypt_block(block.into());
            }
        }
    }
}

impl fmt::Debug for Aes256Enc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aes256Enc").finish_non_exhaustive()
    }
}

impl fmt::Debug for Aes256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aes256").finish_non_exhaustive()
    }
}

/// What of the constant associated data did not make up a block.
#[derive(Clone, Default)]
struct Pending {
    bytes: Block,
    len: usize,
}

impl Pending {
    fn new(rest: &[u8]) -> Self {
        let mut pending = Self::default();
        pending.len = pending.fill(rest);
        pending
    }

    /// Puts the beginning of `bytes` behind what there is, up to a whole block; how much it was.
    fn fill(&mut self, bytes: &[u8]) -> usize {
        let (_, place) = self.bytes.split_at_mut(self.len);
        let len = place.len().min(bytes.len());
        for (place, byte) in place.iter_mut().zip(bytes) {
            *place = *byte;
        }
        len
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}
