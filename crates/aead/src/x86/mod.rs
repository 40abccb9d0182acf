//! What both kernels of x86-64 share: the key schedule, the powers of the hash key, GHASH one block wide.
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

use core::arch::x86_64::*;

use aes::cipher::inout::InOutBuf;
use zeroize::Zeroize;

use crate::{Block, Iv, Pending, Tag};

mod aesni;
mod vaes512;

/// Whether the processor has what `aesni` is compiled for.
pub(crate) fn has_aesni() -> bool {
    is_x86_feature_detected!("aes")
        && is_x86_feature_detected!("pclmulqdq")
        && is_x86_feature_detected!("sse4.1")
        && is_x86_feature_detected!("ssse3")
}

/// Whether the processor has what `vaes512` is compiled for, and the system saves its registers.
pub(crate) fn has_vaes512() -> bool {
    has_aesni()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("vaes")
        && is_x86_feature_detected!("vpclmulqdq")
}

/// How many powers of the hash key there are: so many blocks are hashed with one reduction.
const POWERS: usize = 16;
/// Round keys of AES-256.
const ROUND_KEYS: usize = 15;

/// The round keys of one direction.
pub(crate) struct Schedule([Block; ROUND_KEYS]);

impl Schedule {
    /// `None` if the processor lacks the instructions: that there is one says that it has them.
    pub(crate) fn encrypting(key: &[u8; 32]) -> Option<Self> {
        if !has_aesni() {
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

impl Drop for Schedule {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// A key of GCM.
pub(crate) struct Keys {
    tables: Tables,
    /// GHASH after the whole blocks of the constant associated data, and after all of it with its padding.
    blocks: Block,
    padded: Block,
    pending: Pending,
    aad_len: u64,
    wide: bool,
}

/// In one piece and in this order: where fewer than four powers are left, `vaes512` loads what stands behind them
/// for lanes that have nothing to multiply.
#[repr(C, align(16))]
struct Tables {
    /// H^16, ... H^2, H.
    h: [Block; POWERS],
    /// The same divided by x^64.
    d: [Block; POWERS],
    round_keys: [Block; ROUND_KEYS],
}

impl Keys {
    /// `None` if the processor lacks the instructions: that there is one says that it has them.
    pub(crate) fn new(wide: bool, key: &[u8; 32], aad: &[u8]) -> Option<Self> {
        if !(if wide { has_vaes512() } else { has_aesni() }) {
            return None;
        }
        let mut keys = Self {
            tables: Tables {
                h: [[0; 16]; POWERS],
                d: [[0; 16]; POWERS],
                round_keys: [[0; 16]; ROUND_KEYS],
            },
            blocks: [0; 16],
            padded: [0; 16],
            pending: Pending::default(),
            aad_len: 0,
            wide,
        };
        keys.set(key, aad);
        Some(keys)
    }

    pub(crate) fn set(&mut self, key: &[u8; 32], aad: &[u8]) {
        let (blocks, rest) = aad.split_at(aad.len() / 16 * 16);
        self.pending = Pending::new(rest);
        self.aad_len = aad.len() as u64;
        // SAFETY: keys are only made where `has_aesni`.
        unsafe {
            expand(key, &mut self.tables.round_keys);
            self.tables.raise();
            let hash = absorb(&self.tables, _mm_setzero_si128(), blocks);
            store(&mut self.blocks, hash);
            store(&mut self.padded, absorb(&self.tables, hash, rest));
        }
    }

    #[inline]
    pub(crate) fn seal(&self, iv: &Iv, more: &[u8], text: &mut [u8]) -> Tag {
        // SAFETY: keys are only made where `has_aesni`, those with `wide` only where `has_vaes512`.
        unsafe {
            let message = self.message(iv, more, text.len());
            if self.wide {
                vaes512::seal(&self.tables, &message, text.into())
            } else {
                aesni::seal(&self.tables, &message, text.into())
            }
        }
    }

    /// Whether the tag is right. If not, nothing is written.
    #[inline]
    pub(crate) fn open(&self, iv: &Iv, more: &[u8], tag: &Tag, text: InOutBuf<'_, '_, u8>) -> bool {
        // SAFETY: as above.
        unsafe {
            let message = self.message(iv, more, text.len());
            if self.wide {
                vaes512::open(&self.tables, &message, tag, text)
            } else {
                aesni::open(&self.tables, &message, tag, text)
            }
        }
    }

    /// # Safety
    /// The processor must have `aes`, `pclmulqdq`, `ssse3` and `sse4.1`, as it has where there are `Keys`.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
    fn message(&self, iv: &Iv, more: &[u8], len: usize) -> Message {
        let hash = if more.is_empty() { load(&self.padded) } else { self.absorb_more(more) };
        let [i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, i10, i11] = *iv;
        let low = i64::from_le_bytes([i0, i1, i2, i3, i4, i5, i6, i7]);
        let high = u32::from_le_bytes([i8, i9, i10, i11]);
        let aad_bits = (self.aad_len + more.len() as u64) * 8;
        Message {
            iv: _mm_set_epi64x(i64::from(high), low),
            hash,
            lengths: _mm_set_epi64x(aad_bits as i64, (len as u64 * 8) as i64),
        }
    }

    #[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
    fn absorb_more(&self, more: &[u8]) -> __m128i {
        let (mut hash, mut rest) = (load(&self.blocks), more);
        if self.pending.len != 0 {
            let mut joint = self.pending.clone();
            (_, rest) = rest.split_at(joint.fill(rest));
            hash = absorb(&self.tables, hash, &joint.bytes);
        }
        absorb(&self.tables, hash, rest)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.tables.h.zeroize();
        self.tables.d.zeroize();
        self.tables.round_keys.zeroize();
        self.blocks.zeroize();
        self.padded.zeroize();
    }
}

/// What of a message is not its text.
#[derive(Clone, Copy)]
struct Message {
    /// The IV, and a counter of 0.
    iv: __m128i,
    /// POLYVAL after the associated data.
    hash: __m128i,
    /// The block of lengths, reversed as POLYVAL has it.
    lengths: __m128i,
}

/// A sum of products that are not yet reduced.
#[derive(Clone, Copy)]
struct Sum {
    f: __m128i,
    r: __m128i,
}

impl Sum {
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
    fn new() -> Self {
        Self { f: _mm_setzero_si128(), r: _mm_setzero_si128() }
    }

    /// Adds `m` times the power of H that stands at `at`.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
    fn add(&mut self, m: __m128i, tables: &Tables, at: usize) {
        let (h, d) = (load(&tables.h[at]), load(&tables.d[at]));
        self.f = _mm_xor_si128(self.f, _mm_clmulepi64_si128::<0x01>(m, h));
        self.f = _mm_xor_si128(self.f, _mm_clmulepi64_si128::<0x00>(m, d));
        self.r = _mm_xor_si128(self.r, _mm_clmulepi64_si128::<0x11>(m, h));
        self.r = _mm_xor_si128(self.r, _mm_clmulepi64_si128::<0x10>(m, d));
    }

    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
    fn reduced(self) -> __m128i {
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
fn reversed(x: __m128i) -> __m128i {
    _mm_shuffle_epi8(x, _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f))
}

#[inline(always)]
fn load(block: &Block) -> __m128i {
    // SAFETY: sixteen bytes are read, which `block` has, at any alignment. SSE2 is part of x86-64.
    unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
}

#[inline(always)]
fn store(block: &mut Block, x: __m128i) {
    // SAFETY: sixteen bytes are written, which `block` has, at any alignment. SSE2 is part of x86-64.
    unsafe { _mm_storeu_si128(block.as_mut_ptr().cast(), x) }
}

/// POLYVAL from `hash` on over these bytes, padded to whole blocks.
#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
fn absorb(tables: &Tables, mut hash: __m128i, bytes: &[u8]) -> __m128i {
    for part in bytes.chunks(16 * POWERS) {
        let mut sum = Sum::new();
        let first = POWERS - part.len().div_ceil(16);
        for (bytes, at) in part.chunks(16).zip(first..) {
            let block = match bytes.try_into() {
                Ok(whole) => load(whole),
                Err(_) => load(&padded(bytes)),
            };
            sum.add(_mm_xor_si128(hash, reversed(block)), tables, at);
            hash = _mm_setzero_si128();
        }
        hash = sum.reduced();
    }
    hash
}

/// At most 16 bytes, with zeros behind them. No loop over bytes: a row's last block is made this way.
#[inline(never)]
fn padded(bytes: &[u8]) -> Block {
    let len = bytes.len();
    // Where the first and the last bytes overlap they are the same ones.
    let at = |n: usize| 8 * (len - n);
    let whole = if let (Some(a), Some(b)) = (bytes.first_chunk(), bytes.last_chunk()) {
        u128::from(u64::from_le_bytes(*a)) | u128::from(u64::from_le_bytes(*b)) << at(8)
    } else if let (Some(a), Some(b)) = (bytes.first_chunk(), bytes.last_chunk()) {
        u128::from(u32::from_le_bytes(*a)) | u128::from(u32::from_le_bytes(*b)) << at(4)
    } else if let (Some(a), Some(b)) = (bytes.first_chunk(), bytes.last_chunk()) {
        u128::from(u16::from_le_bytes(*a)) | u128::from(u16::from_le_bytes(*b)) << at(2)
    } else {
        bytes.first().map_or(0, |b| u128::from(*b))
    };
    whole.to_le_bytes()
}

/// The beginning of a block into a place of at most 16 bytes.
#[inline(never)]
fn put(block: __m128i, place: &mut [u8]) {
    let mut bytes = [0; 16];
    store(&mut bytes, block);
    let (x, len) = (u128::from_le_bytes(bytes), place.len());
    let at = |n: usize| x >> (8 * (len - n));
    if len >= 8 {
        if let Some(a) = place.first_chunk_mut() {
            *a = (x as u64).to_le_bytes();
        }
        if let Some(b) = place.last_chunk_mut() {
            *b = (at(8) as u64).to_le_bytes();
        }
    } else if len >= 4 {
        if let Some(a) = place.first_chunk_mut() {
            *a = (x as u32).to_le_bytes();
        }
        if let Some(b) = place.last_chunk_mut() {
            *b = (at(4) as u32).to_le_bytes();
        }
    } else if len >= 2 {
        if let Some(a) = place.first_chunk_mut() {
            *a = (x as u16).to_le_bytes();
        }
        if let Some(b) = place.last_chunk_mut() {
            *b = (at(2) as u16).to_le_bytes();
        }
    } else if let Some(a) = place.first_mut() {
        *a = x as u8;
    }
}

/// The key schedule of AES-256 (FIPS-197, 5.2). AESENCLAST of a block of four equal columns is SubWord of the
/// column, since there is nothing for ShiftRows to move; its round key is Rcon.
#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
fn expand(key: &[u8; 32], round_keys: &mut [Block; ROUND_KEYS]) {
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
fn invert(round_keys: &[Block; ROUND_KEYS], inverse: &mut [Block; ROUND_KEYS]) {
    for (i, (from, to)) in round_keys.iter().rev().zip(inverse).enumerate() {
        let key = load(from);
        store(to, if i == 0 || i == ROUND_KEYS - 1 { key } else { _mm_aesimc_si128(key) });
    }
}

#[inline]
#[target_feature(enable = "aes")]
fn encrypt(round_keys: &[Block; ROUND_KEYS], block: __m128i) -> __m128i {
    let [first, middle @ .., last] = round_keys;
    let x = middle
        .iter()
        .fold(_mm_xor_si128(block, load(first)), |x, key| _mm_aesenc_si128(x, load(key)));
    _mm_aesenclast_si128(x, load(last))
}

#[inline]
#[target_feature(enable = "aes")]
fn decrypt(round_keys: &[Block; ROUND_KEYS], block: __m128i) -> __m128i {
    let [first, middle @ .., last] = round_keys;
    let x = middle
        .iter()
        .fold(_mm_xor_si128(block, load(first)), |x, key| _mm_aesdec_si128(x, load(key)));
    _mm_aesdeclast_si128(x, load(last))
}

impl Tables {
    /// Computes the powers from the round keys: each doubling of their number needs only those before it.
    #[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
    fn raise(&mut self) {
        let mut h = [0; 16];
        store(&mut h, encrypt(&self.round_keys, _mm_setzero_si128()));
        // Times x; what leaves at the top comes back as the modulus, by a mask.
        let mut power = u128::from_be_bytes(h);
        let carry = (power >> 127).wrapping_neg();
        power = power << 1 ^ carry & (0xc2 << 120 | 1);
        h.zeroize();
        self.put(POWERS - 1, _mm_set_epi64x((power >> 64) as i64, power as i64));
        power.zeroize();
        for known in [1, 2, 4, 8] {
            // H^(known + i) = H^i * H^known.
            for i in 1..=known {
                let mut sum = Sum::new();
                sum.add(load(&self.h[POWERS - i]), self, POWERS - known);
                self.put(POWERS - known - i, sum.reduced());
            }
        }
    }

    /// A power, and what it is divided by x^64: the half of a reduction.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
    fn put(&mut self, at: usize, h: __m128i) {
        store(&mut self.h[at], h);
        let folded = _mm_clmulepi64_si128::<0x00>(h, p1());
        store(&mut self.d[at], _mm_xor_si128(_mm_shuffle_epi32::<0x4e>(h), folded));
    }
}

#[cfg(test)]
mod secrets;
#[cfg(test)]
mod tests;
