//! Which backend the process uses.

use core::fmt;
use core::sync::atomic::{AtomicU8, Ordering};

use crate::{Aes256, Error, Gcm};

/// Instructions that the cipher is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Backend {
    /// VAES and VPCLMULQDQ on registers of 512 bits.
    Vaes512 = 1,
    /// AES-NI and PCLMULQDQ.
    Aesni = 2,
    /// What the crates `aes` and `ghash` find.
    Portable = 3,
    /// AES and PMULL of aarch64.
    AesPmull = 4,
}

/// Why a backend cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// The processor does not have its instructions, or the system does not save its registers.
    Lacks(Backend),
    /// It gives wrong answers.
    Broken(Backend),
}

impl Backend {
    /// All of them, the fastest first.
    pub const ALL: [Self; 4] = [Self::Vaes512, Self::Aesni, Self::AesPmull, Self::Portable];

    /// Its name in settings and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vaes512 => "vaes512",
            Self::Aesni => "aesni",
            Self::AesPmull => "aespmull",
            Self::Portable => "portable",
        }
    }

    /// The fastest whose instructions the processor has.
    pub fn fastest() -> Self {
        fastest(Self::is_available)
    }

    /// Whether the processor has its instructions.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            _ => crate::native::has(self),
            #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
            _ => false,
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lacks(backend) => {
                write!(f, "the processor lacks the instructions of {}", backend.name())
            }
            Self::Broken(backend) => write!(f, "{} gives wrong answers", backend.name()),
        }
    }
}

impl core::error::Error for Unusable {}

/// 0 until there is one.
static IN_USE: AtomicU8 = AtomicU8::new(0);

/// The backend that keys are made for.
pub fn in_use() -> Backend {
    // Two threads may do this at once: they come to the same.
    numbered(IN_USE.load(Ordering::Relaxed))
        .unwrap_or_else(|| select(None).unwrap_or(Backend::Portable))
}

fn numbered(number: u8) -> Option<Backend> {
    Backend::ALL.into_iter().find(|&b| b as u8 == number)
}

/// Decides what keys made from now on are for: the one that is asked for, else the fastest that the processor
/// has. It must give known answers; where the fastest does not, the portable one is taken: what is returned is not
/// [`Backend::fastest`] then.
pub fn select(asked: Option<Backend>) -> Result<Backend, Unusable> {
    let chosen = choose(asked, Backend::is_available, answers_right)?;
    IN_USE.store(chosen as u8, Ordering::Relaxed);
    Ok(chosen)
}

fn fastest(available: impl Fn(Backend) -> bool) -> Backend {
    Backend::ALL.into_iter().find(|&b| available(b)).unwrap_or(Backend::Portable)
}

fn choose(
    asked: Option<Backend>,
    available: impl Fn(Backend) -> bool,
    right: impl Fn(Backend) -> bool,
) -> Result<Backend, Unusable> {
    if let Some(asked) = asked {
        return match (available(asked), available(asked) && right(asked)) {
            (false, _) => Err(Unusable::Lacks(asked)),
            (_, false) => Err(Unusable::Broken(asked)),
            _ => Ok(asked),
        };
    }
    // Not the next one in speed: what computes wrongly once is not to be trusted with its neighbours either.
    let fastest = fastest(available);
    let trusted = [fastest, Backend::Portable].into_iter().find(|&b| right(b));
    trusted.ok_or(Unusable::Broken(Backend::Portable))
}

/// Bytes that are different everywhere, from the FIPS-197 example key on.
fn bytes(seed: usize) -> impl Iterator<Item = u8> {
    (0..).map(move |i: usize| (i.wrapping_mul(i | 1).wrapping_add(seed) >> 2) as u8 ^ i as u8)
}

/// Lengths in which each loop and each tail of each backend has its turn.
const LENGTHS: [usize; 20] =
    [0, 1, 15, 16, 31, 48, 64, 100, 112, 127, 128, 160, 203, 240, 241, 256, 300, 497, 1024, 2011];

/// AES-256 of one block, both ways; the tag of a message of each length, with more associated data and without;
/// and that a changed one is refused. The answers are those of the `aes-gcm` crate (tests/lengths.rs).
fn answers_right(backend: Backend) -> bool {
    known_block(backend) && known_digest(backend) == Some(DIGEST)
}

/// FIPS-197, appendix C.3.
fn known_block(backend: Backend) -> bool {
    let key = core::array::from_fn(|i| i as u8);
    let plain: [u8; 16] = core::array::from_fn(|i| i as u8 * 0x11);
    let sealed = 0x8ea2b7ca516745bfeafc49904b496089_u128.to_be_bytes();
    let Ok(aes) = Aes256::with(backend, &key) else { return false };
    let mut block = plain;
    aes.encrypt(&mut block);
    let right = block == sealed;
    aes.decrypt(&mut block);
    right && block == plain
}

/// The tags of all these messages, each the beginning of the next one's key; `None` if one did not open, or a
/// changed one did.
fn known_digest(backend: Backend) -> Option<[u8; 16]> {
    let mut space = [0; 2011];
    let mut digest = [0; 16];
    for len in LENGTHS {
        let mut key = [0; 32];
        key.iter_mut().zip(digest.into_iter().chain(bytes(len))).for_each(|(k, b)| *k = b);
        let mut aad = [0; 64];
        aad.iter_mut().zip(bytes(len + 1)).for_each(|(a, b)| *a = b);
        let (aad, more) = aad.split_at(len % 33);
        let (more, _) = more.split_at(len % 31);
        let gcm = Gcm::with(backend, &key, aad).ok()?;
        let iv = core::array::from_fn(|i| (len >> i) as u8);
        let (text, _) = space.split_at_mut(len);
        text.iter_mut().zip(bytes(len + 2)).for_each(|(t, b)| *t = b);
        let mut tag = gcm.seal(&iv, more, text).ok()?;
        // What a changed text gives is in the digest too: that it is refused, and stays as it is.
        tag[len % 16] ^= 0x10;
        if gcm.open_in_place(&iv, more, text, &tag) != Err(Error::Refused) {
            return None;
        }
        tag[len % 16] ^= 0x10;
        gcm.open_in_place(&iv, more, text, &tag).ok()?;
        if !text.iter().copied().eq(bytes(len + 2).take(len)) {
            return None;
        }
        digest = tag;
    }
    Some(digest)
}

const DIGEST: [u8; 16] = 0x0f80_fc34_0cfe_b2f5_c08d_d375_bd45_b2d3_u128.to_be_bytes();

#[cfg(test)]
mod tests;
