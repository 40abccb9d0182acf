//! What is kept of a key, by the kernels of x86-64 and of aarch64: the key schedule, the powers of the hash key, the
//! constant associated data. All of it is wiped on drop.
//!
//! GHASH is computed as POLYVAL (RFC 8452, appendix A): blocks are reversed byte by byte, the hash key is
//! multiplied by x, and a product is divided by x^128, which needs no shifts. A multiplication by a fixed H takes
//! four carry-less multiplications and half a reduction: with D = H / x^64, known beforehand,
//!
//! ```text
//! M * H / x^128 = (M1 * H + M0 * D) / x^64         M = M1 * x^64 + M0, the same with H and D
//!               = R + swap(F) + F0 * P1            R = M1 * H1 + M0 * D1,  F = M1 * H0 + M0 * D0
//! ```
//!
//! where P1 * x^64 are the middle terms of the modulus. R and F of many blocks, each with the power of H that its
//! place asks for, are added up before they are reduced once.

use zeroize::Zeroize;

use crate::ends::padded;
use crate::native::{Sum, Vector, encrypt, expand, load, reversed, store, vector, xor, zero};
use crate::{Block, Iv, Pending};

/// How many powers of the hash key there are: so many blocks are hashed with one reduction.
pub(crate) const POWERS: usize = 16;
/// Round keys of AES-256.
pub(crate) const ROUND_KEYS: usize = 15;
pub(crate) type RoundKeys = [Block; ROUND_KEYS];

/// The round keys of one direction. Those of decryption are of the equivalent inverse cipher (FIPS-197, 5.3.5).
pub(crate) struct Schedule(pub(crate) RoundKeys);

impl Drop for Schedule {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// In one piece and in this order: where fewer than four powers are left, `vaes512` loads what stands behind them
/// for lanes that have nothing to multiply.
#[repr(C, align(16))]
pub(crate) struct Tables {
    /// H^16, ... H^2, H. On aarch64 the low halves of these, each above that of `d`.
    pub(crate) h: [Block; POWERS],
    /// The same divided by x^64. On aarch64 the high halves of both.
    pub(crate) d: [Block; POWERS],
    pub(crate) round_keys: RoundKeys,
}

impl Tables {
    /// Computes the powers from the round keys: each doubling of their number needs only those before it.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1"))]
    #[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,aes"))]
    fn raise(&mut self) {
        let mut h = [0; 16];
        store(&mut h, encrypt(&self.round_keys, zero()));
        // Times x; what leaves at the top comes back as the modulus, by a mask.
        let mut power = u128::from_be_bytes(h);
        let carry = (power >> 127).wrapping_neg();
        power = power << 1 ^ carry & (0xc2 << 120 | 1);
        h.zeroize();
        self.put(POWERS - 1, vector((power >> 64) as u64, power as u64));
        power.zeroize();
        for known in [1, 2, 4, 8] {
            // H^(known + i) = H^i * H^known.
            for i in 1..=known {
                let mut sum = Sum::new();
                sum.add(self.power(POWERS - i), self, POWERS - known);
                self.put(POWERS - known - i, sum.reduced());
            }
        }
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        self.h.zeroize();
        self.d.zeroize();
        self.round_keys.zeroize();
    }
}

/// A key of GCM.
pub(crate) struct Kept {
    pub(crate) tables: Tables,
    /// GHASH after the whole blocks of the constant associated data, and after all of it with its padding.
    blocks: Block,
    padded: Block,
    pending: Pending,
    aad_len: u64,
}

impl Kept {
    /// A place for a key.
    pub(crate) fn empty() -> Self {
        Self {
            tables: Tables {
                h: [[0; 16]; POWERS],
                d: [[0; 16]; POWERS],
                round_keys: [[0; 16]; ROUND_KEYS],
            },
            blocks: [0; 16],
            padded: [0; 16],
            pending: Pending::default(),
            aad_len: 0,
        }
    }

    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1"))]
    #[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,aes"))]
    pub(crate) fn set(&mut self, key: &[u8; 32], aad: &[u8]) {
        let (blocks, rest) = aad.split_at(aad.len() / 16 * 16);
        self.pending = Pending::new(rest);
        self.aad_len = aad.len() as u64;
        expand(key, &mut self.tables.round_keys);
        self.tables.raise();
        let hash = absorb(&self.tables, zero(), blocks);
        store(&mut self.blocks, hash);
        store(&mut self.padded, absorb(&self.tables, hash, rest));
    }

    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1"))]
    #[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,aes"))]
    pub(crate) fn message(&self, iv: &Iv, more: &[u8], len: usize) -> Message {
        let hash = if more.is_empty() { load(&self.padded) } else { self.absorb_more(more) };
        let [i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, i10, i11] = *iv;
        let low = u64::from_le_bytes([i0, i1, i2, i3, i4, i5, i6, i7]);
        let high = u32::from_le_bytes([i8, i9, i10, i11]);
        let aad_bits = (self.aad_len + more.len() as u64) * 8;
        Message {
            iv: vector(u64::from(high), low),
            hash,
            lengths: vector(aad_bits, len as u64 * 8),
        }
    }

    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1"))]
    #[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,aes"))]
    fn absorb_more(&self, more: &[u8]) -> Vector {
        let (mut hash, mut rest) = (load(&self.blocks), more);
        if self.pending.len != 0 {
            let mut joint = self.pending.clone();
            (_, rest) = rest.split_at(joint.fill(rest));
            hash = absorb(&self.tables, hash, &joint.bytes);
        }
        absorb(&self.tables, hash, rest)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.blocks.zeroize();
        self.padded.zeroize();
    }
}

/// What of a message is not its text.
#[derive(Clone, Copy)]
pub(crate) struct Message {
    /// The IV, and a counter of 0.
    pub(crate) iv: Vector,
    /// POLYVAL after the associated data.
    pub(crate) hash: Vector,
    /// The block of lengths, reversed as POLYVAL has it.
    pub(crate) lengths: Vector,
}

/// POLYVAL from `hash` on over these bytes, padded to whole blocks.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1"))]
#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,aes"))]
fn absorb(tables: &Tables, mut hash: Vector, bytes: &[u8]) -> Vector {
    for part in bytes.chunks(16 * POWERS) {
        let mut sum = Sum::new();
        let first = POWERS - part.len().div_ceil(16);
        for (bytes, at) in part.chunks(16).zip(first..) {
            let block = match bytes.try_into() {
                Ok(whole) => load(whole),
                Err(_) => load(&padded(bytes)),
            };
            sum.add(xor(hash, reversed(block)), tables, at);
            hash = zero();
        }
        hash = sum.reduced();
    }
    hash
}

#[cfg(test)]
mod tests;
