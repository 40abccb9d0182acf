//! x86-64: AES-NI and PCLMULQDQ, for the kernel of one block an instruction (`blocks.rs`), and VAES (`vaes512.rs`).

use core::arch::asm;
use core::arch::x86_64::*;

use aes::cipher::inout::InOutBuf;

use crate::kept::{Kept, ROUND_KEYS, RoundKeys, Schedule, Tables};
use crate::{Backend, Block, Iv, Tag, blocks};

mod vaes512;

/// Sixteen bytes.
pub(crate) type Vector = __m128i;

/// Whether the processor has the instructions of a backend.
pub(crate) fn has(backend: Backend) -> bool {
    match backend {
        Backend::Vaes512 => has_vaes512(),
        Backend::Aesni => has_aesni(),
        _ => false,
    }
}

/// What `blocks` is compiled for.
fn has_aesni() -> bool {
    is_x86_feature_detected!("aes")
        && is_x86_feature_detected!("pclmulqdq")
        && is_x86_feature_detected!("sse4.1")
        && is_x86_feature_detected!("ssse3")
}

/// What `vaes512` is compiled for, and that the system saves its registers.
fn has_vaes512() -> bool {
    has_aesni()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("vaes")
        && is_x86_feature_detected!("vpclmulqdq")
}

impl Schedule {
    /// `None` if the processor lacks the instructions: that there is one says that it has them.
    pub(crate) fn encrypting(backend: Backend, key: &[u8; 32]) -> Option<Self> {
        if !(matches!(backend, Backend::Vaes512 | Backend::Aesni) && has_aesni()) {
            return None;
        }
        let mut round_keys = [[0; 16]; ROUND_KEYS];
        // SAFETY: `has_aesni` was asked.
        unsafe { expand(key, &mut round_keys) };
        Some(Self(round_keys))
    }

    /// The same key in the other direction.
    pub(crate) fn decrypting(&self) -> Self {
        let mut round_keys = [[0; 16]; ROUND_KEYS];
        // SAFETY: a schedule is only made where `has_aesni`.
        unsafe { invert(&self.0, &mut round_keys) };
        Self(round_keys)
    }

    #[inline]
    pub(crate) fn encrypt(&self, block: &mut Block) {
        // SAFETY: a schedule is only made where `has_aesni`.
        unsafe { store(block, encrypt(&self.0, load(block))) }
    }

    #[inline]
    pub(crate) fn decrypt(&self, block: &mut Block) {
        // SAFETY: a schedule is only made where `has_aesni`.
        unsafe { store(block, decrypt(&self.0, load(block))) }
    }
}

/// A key of GCM.
pub(crate) struct Keys {
    pub(crate) kept: Kept,
    wide: bool,
}

impl Keys {
    /// `None` if the processor lacks the instructions: that there is one says that it has them.
    pub(crate) fn new(backend: Backend, key: &[u8; 32], aad: &[u8]) -> Option<Self> {
        if !has(backend) {
            return None;
        }
        let mut keys = Self { kept: Kept::empty(), wide: backend == Backend::Vaes512 };
        keys.set(key, aad);
        Some(keys)
    }

    pub(crate) fn set(&mut self, key: &[u8; 32], aad: &[u8]) {
        // SAFETY: keys are only made where `has_aesni`.
        unsafe { self.kept.set(key, aad) };
    }

    #[inline]
    pub(crate) fn seal(&self, iv: &Iv, more: &[u8], text: &mut [u8]) -> Tag {
        // SAFETY: keys are only made where `has_aesni`, those with `wide` only where `has_vaes512`.
        unsafe {
            let message = self.kept.message(iv, more, text.len());
            if self.wide {
                vaes512::seal(&self.kept.tables, &message, text.into())
            } else {
                blocks::seal(&self.kept.tables, &message, text.into())
            }
        }
    }

    /// Whether the tag is right. If not, nothing is written.
    #[inline]
    pub(crate) fn open(&self, iv: &Iv, more: &[u8], tag: &Tag, text: InOutBuf<'_, '_, u8>) -> bool {
        // SAFETY: as above.
        unsafe {
            let message = self.kept.message(iv, more, text.len());
            if self.wide {
                vaes512::open(&self.kept.tables, &message, tag, text)
            } else {
                blocks::open(&self.kept.tables, &message, tag, text)
            }
        }
    }
}

/// A sum of products that are not yet reduced.
#[derive(Clone, Copy)]
pub(crate) struct Sum {
    f: __m128i,
    r: __m128i,
}

impl Sum {
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
    pub(crate) fn new() -> Self {
        Self { f: _mm_setzero_si128(), r: _mm_setzero_si128() }
    }

    /// Adds `m` times the power of H that stands at `at`.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
    pub(crate) fn add(&mut self, m: __m128i, tables: &Tables, at: usize) {
        let (h, d) = (load(&tables.h[at]), load(&tables.d[at]));
        self.f = _mm_xor_si128(self.f, _mm_clmulepi64_si128::<0x01>(m, h));
        self.f = _mm_xor_si128(self.f, _mm_clmulepi64_si128::<0x00>(m, d));
        self.r = _mm_xor_si128(self.r, _mm_clmulepi64_si128::<0x11>(m, h));
        self.r = _mm_xor_si128(self.r, _mm_clmulepi64_si128::<0x10>(m, d));
    }

    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
    pub(crate) fn reduced(self) -> __m128i {
        let folded = _mm_clmulepi64_si128::<0x00>(self.f, p1());
        _mm_xor_si128(_mm_xor_si128(self.r, _mm_shuffle_epi32::<0x4e>(self.f)), folded)
    }
}

/// x^63 + x^62 + x^57.
#[inline]
#[target_feature(enable = "sse4.1")]
fn p1() -> __m128i {
    _mm_set_epi64x(0, 0xc2_u64.rotate_right(8) as i64)
}

/// Bytes in the other order.
#[inline]
#[target_feature(enable = "ssse3")]
pub(crate) fn reversed(x: __m128i) -> __m128i {
    _mm_shuffle_epi8(x, _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f))
}

/// The first byte of a vector is the lowest of `low`. Not of one number, which would go through memory.
#[inline]
#[target_feature(enable = "sse2")]
pub(crate) fn vector(high: u64, low: u64) -> Vector {
    _mm_set_epi64x(high as i64, low as i64)
}

/// Says that something looks at `x` here. What only a message with the right tag needs is moved behind that decision by the
/// compiler else, and the processor comes to it after the rest.
#[inline(always)]
pub(crate) fn settle(x: &mut Vector) {
    // SAFETY: no instruction. SSE is part of x86-64.
    unsafe { asm!("/* {0} */", inout(xmm_reg) * x, options(nomem, nostack, preserves_flags)) };
}

#[inline]
#[target_feature(enable = "sse2")]
pub(crate) fn zero() -> Vector {
    _mm_setzero_si128()
}

#[inline]
#[target_feature(enable = "sse2")]
pub(crate) fn xor(a: Vector, b: Vector) -> Vector {
    _mm_xor_si128(a, b)
}

#[inline]
#[target_feature(enable = "sse2")]
pub(crate) fn and(a: Vector, b: Vector) -> Vector {
    _mm_and_si128(a, b)
}

/// The counter block: the IV's twelve bytes, and a number big-endian.
#[inline]
#[target_feature(enable = "sse4.1")]
pub(crate) fn count(iv: Vector, n: u32) -> Vector {
    _mm_insert_epi32::<3>(iv, n.swap_bytes() as i32)
}

/// All sixteen bytes at once: where they differ does not show in the time.
#[inline]
#[target_feature(enable = "sse4.1")]
pub(crate) fn equal(a: __m128i, b: __m128i) -> bool {
    _mm_movemask_epi8(_mm_cmpeq_epi8(a, b)) == 0xffff
}

#[inline(always)]
pub(crate) fn load(block: &Block) -> __m128i {
    // SAFETY: sixteen bytes are read, which `block` has, at any alignment. SSE2 is part of x86-64.
    unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
}

#[inline(always)]
pub(crate) fn store(block: &mut Block, x: __m128i) {
    // SAFETY: sixteen bytes are written, which `block` has, at any alignment. SSE2 is part of x86-64.
    unsafe { _mm_storeu_si128(block.as_mut_ptr().cast(), x) }
}

/// The key schedule of AES-256 (FIPS-197, 5.2). AESENCLAST of a block of four equal columns is SubWord of the
/// column, since there is nothing for ShiftRows to move; its round key is Rcon.
#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
pub(crate) fn expand(key: &[u8; 32], round_keys: &mut RoundKeys) {
    /// Each word becomes the sum of those up to it.
    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn summed(x: __m128i) -> __m128i {
        let x = _mm_xor_si128(x, _mm_slli_si128::<4>(x));
        _mm_xor_si128(x, _mm_slli_si128::<8>(x))
    }
    let (halves, _) = key.as_chunks();
    let (mut even, mut odd) = (load(&halves[0]), load(&halves[1]));
    // The last word in every column, as it is and rotated by a byte.
    let last = _mm_set1_epi32(0x0f0e0d0c);
    let rotated = _mm_set1_epi32(0x0c0f0e0d);
    let mut rcon = _mm_set1_epi32(1);
    let (pairs, end) = round_keys.as_chunks_mut::<2>();
    for [a, b] in pairs {
        store(a, even);
        store(b, odd);
        let word = _mm_aesenclast_si128(_mm_shuffle_epi8(odd, rotated), rcon);
        even = _mm_xor_si128(summed(even), word);
        let word = _mm_aesenclast_si128(_mm_shuffle_epi8(even, last), _mm_setzero_si128());
        odd = _mm_xor_si128(summed(odd), word);
        rcon = _mm_slli_epi32::<1>(rcon);
    }
    store(&mut end[0], even);
}

/// The schedule of the equivalent inverse cipher (FIPS-197, 5.3.5).
#[target_feature(enable = "aes")]
fn invert(round_keys: &RoundKeys, inverse: &mut RoundKeys) {
    for (i, (from, to)) in round_keys.iter().rev().zip(inverse).enumerate() {
        let key = load(from);
        store(to, if i == 0 || i == ROUND_KEYS - 1 { key } else { _mm_aesimc_si128(key) });
    }
}

#[inline]
#[target_feature(enable = "aes")]
pub(crate) fn encrypt(round_keys: &RoundKeys, block: __m128i) -> __m128i {
    let [first, middle @ .., last] = round_keys;
    let x = middle
        .iter()
        .fold(_mm_xor_si128(block, load(first)), |x, key| _mm_aesenc_si128(x, load(key)));
    _mm_aesenclast_si128(x, load(last))
}

#[inline]
#[target_feature(enable = "aes")]
fn decrypt(round_keys: &RoundKeys, block: __m128i) -> __m128i {
    let [first, middle @ .., last] = round_keys;
    let x = middle
        .iter()
        .fold(_mm_xor_si128(block, load(first)), |x, key| _mm_aesdec_si128(x, load(key)));
    _mm_aesdeclast_si128(x, load(last))
}

#[inline]
#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
pub(crate) fn encrypt_blocks<const N: usize>(round_keys: &RoundKeys, blocks: &mut [Vector; N]) {
    let [first, middle @ .., last] = round_keys;
    let key = load(first);
    for block in &mut *blocks {
        *block = _mm_xor_si128(*block, key);
    }
    for key in middle {
        let key = load(key);
        for block in &mut *blocks {
            *block = _mm_aesenc_si128(*block, key);
        }
    }
    let key = load(last);
    for block in blocks {
        *block = _mm_aesenclast_si128(*block, key);
    }
}

impl Tables {
    /// The power that `put` put there.
    #[inline]
    pub(crate) fn power(&self, at: usize) -> Vector {
        load(&self.h[at])
    }

    /// A power, and what it is divided by x^64: the half of a reduction.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
    pub(crate) fn put(&mut self, at: usize, h: __m128i) {
        store(&mut self.h[at], h);
        let folded = _mm_clmulepi64_si128::<0x00>(h, p1());
        store(&mut self.d[at], _mm_xor_si128(_mm_shuffle_epi32::<0x4e>(h), folded));
    }
}

#[cfg(test)]
mod secrets;
