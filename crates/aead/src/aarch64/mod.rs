//! aarch64: AES and PMULL, for the kernel of one block an instruction (`blocks.rs`).
//!
//! AESE adds the round key first, so the last one is added by itself; AESD does the same. PMULL multiplies the low
//! halves of two vectors, PMULL2 the high ones, and nothing multiplies across: the powers are kept by halves
//! ([`Tables::put`]), so that no block of a message has its halves swapped.

use core::arch::aarch64::*;
use core::arch::asm;
use std::arch::is_aarch64_feature_detected;

use aes::cipher::inout::InOutBuf;

use crate::kept::{Kept, ROUND_KEYS, RoundKeys, Schedule, Tables};
use crate::{Backend, Block, Iv, Tag, blocks};

/// Sixteen bytes.
pub(crate) type Vector = uint8x16_t;

/// Whether the processor has the instructions of a backend.
pub(crate) fn has(backend: Backend) -> bool {
    backend == Backend::AesPmull && has_aes_pmull()
}

/// What `blocks` is compiled for. The target feature `aes` is both FEAT_AES and FEAT_PMULL; asked for at run time
/// it is the first alone. Numbers are laid into vectors as little-endian ones.
fn has_aes_pmull() -> bool {
    cfg!(target_endian = "little")
        && is_aarch64_feature_detected!("neon")
        && is_aarch64_feature_detected!("aes")
        && is_aarch64_feature_detected!("pmull")
}

impl Schedule {
    /// `None` if the processor lacks the instructions: that there is one says that it has them.
    pub(crate) fn encrypting(backend: Backend, key: &[u8; 32]) -> Option<Self> {
        if !has(backend) {
            return None;
        }
        let mut round_keys = [[0; 16]; ROUND_KEYS];
        // SAFETY: `has_aes_pmull` was asked.
        unsafe { expand(key, &mut round_keys) };
        Some(Self(round_keys))
    }

    /// The same key in the other direction.
    pub(crate) fn decrypting(&self) -> Self {
        let mut round_keys = [[0; 16]; ROUND_KEYS];
        // SAFETY: a schedule is only made where `has_aes_pmull`.
        unsafe { invert(&self.0, &mut round_keys) };
        Self(round_keys)
    }

    #[inline]
    pub(crate) fn encrypt(&self, block: &mut Block) {
        // SAFETY: a schedule is only made where `has_aes_pmull`.
        unsafe { store(block, encrypt(&self.0, load(block))) }
    }

    #[inline]
    pub(crate) fn decrypt(&self, block: &mut Block) {
        // SAFETY: a schedule is only made where `has_aes_pmull`.
        unsafe { store(block, decrypt(&self.0, load(block))) }
    }
}

/// A key of GCM.
pub(crate) struct Keys {
    pub(crate) kept: Kept,
}

impl Keys {
    /// `None` if the processor lacks the instructions: that there is one says that it has them.
    pub(crate) fn new(backend: Backend, key: &[u8; 32], aad: &[u8]) -> Option<Self> {
        if !has(backend) {
            return None;
        }
        let mut keys = Self { kept: Kept::empty() };
        keys.set(key, aad);
        Some(keys)
    }

    pub(crate) fn set(&mut self, key: &[u8; 32], aad: &[u8]) {
        // SAFETY: keys are only made where `has_aes_pmull`.
        unsafe { self.kept.set(key, aad) };
    }

    #[inline]
    pub(crate) fn seal(&self, iv: &Iv, more: &[u8], text: &mut [u8]) -> Tag {
        // SAFETY: keys are only made where `has_aes_pmull`.
        unsafe {
            let message = self.kept.message(iv, more, text.len());
            blocks::seal(&self.kept.tables, &message, text.into())
        }
    }

    /// Whether the tag is right. If not, nothing is written.
    #[inline]
    pub(crate) fn open(&self, iv: &Iv, more: &[u8], tag: &Tag, text: InOutBuf<'_, '_, u8>) -> bool {
        // SAFETY: as above.
        unsafe {
            let message = self.kept.message(iv, more, text.len());
            blocks::open(&self.kept.tables, &message, tag, text)
        }
    }
}

/// A sum of products that are not yet reduced.
#[derive(Clone, Copy)]
pub(crate) struct Sum {
    f: Vector,
    r: Vector,
}

impl Sum {
    #[inline]
    #[target_feature(enable = "neon,aes")]
    pub(crate) fn new() -> Self {
        Self { f: zero(), r: zero() }
    }

    /// Adds `m` times the power of H that stands at `at`.
    #[inline]
    #[target_feature(enable = "neon,aes")]
    pub(crate) fn add(&mut self, m: Vector, tables: &Tables, at: usize) {
        let (low, high) = (load(&tables.h[at]), load(&tables.d[at]));
        self.f = xor(self.f, times_low(m, low));
        self.f = xor(self.f, times_high(m, low));
        self.r = xor(self.r, times_low(m, high));
        self.r = xor(self.r, times_high(m, high));
    }

    #[inline]
    #[target_feature(enable = "neon,aes")]
    pub(crate) fn reduced(self) -> Vector {
        xor(xor(self.r, swapped(self.f)), times_low(self.f, p1()))
    }
}

/// As that of x86-64.
#[inline(always)]
pub(crate) fn settle(x: &mut Vector) {
    // SAFETY: no instruction. NEON is part of aarch64.
    unsafe { asm!("/* {0:v} */", inout(vreg) * x, options(nomem, nostack, preserves_flags)) };
}

/// x^63 + x^62 + x^57.
#[inline]
#[target_feature(enable = "neon")]
fn p1() -> Vector {
    vreinterpretq_u8_u64(vdupq_n_u64(0xc2_u64.rotate_right(8)))
}

/// The product of the low halves.
#[inline]
#[target_feature(enable = "neon,aes")]
fn times_low(a: Vector, b: Vector) -> Vector {
    let (a, b) = (vreinterpretq_p64_u8(a), vreinterpretq_p64_u8(b));
    vreinterpretq_u8_p128(vmull_p64(vgetq_lane_p64::<0>(a), vgetq_lane_p64::<0>(b)))
}

/// The product of the high halves.
#[inline]
#[target_feature(enable = "neon,aes")]
fn times_high(a: Vector, b: Vector) -> Vector {
    let product = vmull_high_p64(vreinterpretq_p64_u8(a), vreinterpretq_p64_u8(b));
    vreinterpretq_u8_p128(product)
}

/// The halves in the other order.
#[inline]
#[target_feature(enable = "neon")]
fn swapped(x: Vector) -> Vector {
    vextq_u8::<8>(x, x)
}

/// Bytes in the other order.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn reversed(x: Vector) -> Vector {
    swapped(vrev64q_u8(x))
}

/// The first byte of a vector is the lowest of `low`.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn vector(high: u64, low: u64) -> Vector {
    vreinterpretq_u8_u64(vcombine_u64(vcreate_u64(low), vcreate_u64(high)))
}

#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn zero() -> Vector {
    vdupq_n_u8(0)
}

#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn xor(a: Vector, b: Vector) -> Vector {
    veorq_u8(a, b)
}

#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn and(a: Vector, b: Vector) -> Vector {
    vandq_u8(a, b)
}

/// The counter block: the IV's twelve bytes, and a number big-endian.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn count(iv: Vector, n: u32) -> Vector {
    vreinterpretq_u8_u32(vsetq_lane_u32::<3>(n.swap_bytes(), vreinterpretq_u32_u8(iv)))
}

/// All sixteen bytes at once: where they differ does not show in the time.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn equal(a: Vector, b: Vector) -> bool {
    vmaxvq_u32(vreinterpretq_u32_u8(xor(a, b))) == 0
}

#[inline(always)]
pub(crate) fn load(block: &Block) -> Vector {
    // SAFETY: sixteen bytes are read, which `block` has, at any alignment. NEON is part of aarch64 with floats.
    unsafe { vld1q_u8(block.as_ptr()) }
}

#[inline(always)]
pub(crate) fn store(block: &mut Block, x: Vector) {
    // SAFETY: sixteen bytes are written, which `block` has, at any alignment. NEON as above.
    unsafe { vst1q_u8(block.as_mut_ptr(), x) }
}

/// The key schedule of AES-256 (FIPS-197, 5.2). AESE of a block of four equal columns is SubWord of the column, since
/// there is nothing for ShiftRows to move.
#[target_feature(enable = "neon,aes")]
pub(crate) fn expand(key: &[u8; 32], round_keys: &mut RoundKeys) {
    /// Each word becomes the sum of those up to it.
    #[inline]
    #[target_feature(enable = "neon")]
    fn summed(x: Vector) -> Vector {
        let x = xor(x, vextq_u8::<12>(zero(), x));
        xor(x, vextq_u8::<8>(zero(), x))
    }
    /// The bytes of the last word that `order` names, in every column, each put through the S-box.
    #[inline]
    #[target_feature(enable = "neon,aes")]
    fn substituted(x: Vector, order: u32) -> Vector {
        vaeseq_u8(vqtbl1q_u8(x, vreinterpretq_u8_u32(vdupq_n_u32(order))), zero())
    }
    let (halves, _) = key.as_chunks();
    let (mut even, mut odd) = (load(&halves[0]), load(&halves[1]));
    // The last word as it is and rotated by a byte.
    let (last, rotated) = (0x0f0e0d0c, 0x0c0f0e0d);
    let mut rcon = vdupq_n_u32(1);
    let (pairs, end) = round_keys.as_chunks_mut::<2>();
    for [a, b] in pairs {
        store(a, even);
        store(b, odd);
        let word = xor(substituted(odd, rotated), vreinterpretq_u8_u32(rcon));
        even = xor(summed(even), word);
        odd = xor(summed(odd), substituted(even, last));
        rcon = vshlq_n_u32::<1>(rcon);
    }
    store(&mut end[0], even);
}

/// The schedule of the equivalent inverse cipher (FIPS-197, 5.3.5).
#[target_feature(enable = "neon,aes")]
fn invert(round_keys: &RoundKeys, inverse: &mut RoundKeys) {
    for (i, (from, to)) in round_keys.iter().rev().zip(inverse).enumerate() {
        let key = load(from);
        store(to, if i == 0 || i == ROUND_KEYS - 1 { key } else { vaesimcq_u8(key) });
    }
}

#[inline]
#[target_feature(enable = "neon,aes")]
pub(crate) fn encrypt(round_keys: &RoundKeys, block: Vector) -> Vector {
    let [rounds @ .., before, last] = round_keys;
    let x = rounds.iter().fold(block, |x, key| vaesmcq_u8(vaeseq_u8(x, load(key))));
    xor(vaeseq_u8(x, load(before)), load(last))
}

#[inline]
#[target_feature(enable = "neon,aes")]
fn decrypt(round_keys: &RoundKeys, block: Vector) -> Vector {
    let [rounds @ .., before, last] = round_keys;
    let x = rounds.iter().fold(block, |x, key| vaesimcq_u8(vaesdq_u8(x, load(key))));
    xor(vaesdq_u8(x, load(before)), load(last))
}

/// Side by side: processors take AESE and the AESMC behind it as one, and a next block each cycle or two.
#[inline]
#[target_feature(enable = "neon,aes")]
pub(crate) fn encrypt_blocks<const N: usize>(round_keys: &RoundKeys, blocks: &mut [Vector; N]) {
    let [rounds @ .., before, last] = round_keys;
    for key in rounds {
        let key = load(key);
        for block in &mut *blocks {
            *block = vaesmcq_u8(vaeseq_u8(*block, key));
        }
    }
    let (before, last) = (load(before), load(last));
    for block in blocks {
        *block = xor(vaeseq_u8(*block, before), last);
    }
}

impl Tables {
    /// The power that `put` put there.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(crate) fn power(&self, at: usize) -> Vector {
        let (low, high) = (load(&self.h[at]), load(&self.d[at]));
        vreinterpretq_u8_u64(vzip2q_u64(vreinterpretq_u64_u8(low), vreinterpretq_u64_u8(high)))
    }

    /// A power H, and D, what it is divided by x^64: the half of a reduction. F is made of their low halves and R of
    /// the high ones, in both D's times the low half of a block, and H's times the high half.
    #[inline]
    #[target_feature(enable = "neon,aes")]
    pub(crate) fn put(&mut self, at: usize, h: Vector) {
        let d = xor(swapped(h), times_low(h, p1()));
        let (h, d) = (vreinterpretq_u64_u8(h), vreinterpretq_u64_u8(d));
        store(&mut self.h[at], vreinterpretq_u8_u64(vzip1q_u64(d, h)));
        store(&mut self.d[at], vreinterpretq_u8_u64(vzip2q_u64(d, h)));
    }
}
