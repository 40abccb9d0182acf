//! The kernel of four blocks an instruction. How a message is laid out: `blocks.rs`. Masks take the place of copies
//! of the last, incomplete block.

use core::arch::asm;
use core::arch::x86_64::*;
use core::ops::Range;

use aes::cipher::inout::InOutBuf;

use super::{Sum, equal, load, reversed as reversed1, store};
use crate::kept::{Message, POWERS, ROUND_KEYS, Tables};
use crate::{Block, Tag};

/// Bytes of a register.
const WIDTH: usize = 64;
/// Bytes at once in what is longer: as many blocks as there are powers.
const LONG: usize = 16 * POWERS;
/// Bytes in the tail at most: there must be a power for the block of lengths too.
const TAIL: usize = LONG - 16;

#[inline]
#[target_feature(enable = "avx512f")]
fn load4(text: &[u8; WIDTH]) -> __m512i {
    // SAFETY: 64 bytes are read, which `text` has, at any alignment.
    unsafe { _mm512_loadu_si512(text.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store4(text: &mut [u8; WIDTH], x: __m512i) {
    // SAFETY: 64 bytes are written, which `text` has, at any alignment.
    unsafe { _mm512_storeu_si512(text.as_mut_ptr().cast(), x) }
}

/// The bits of the bytes that a text of at most 64 bytes has.
#[inline]
#[target_feature(enable = "bmi2")]
fn bits(len: usize) -> __mmask64 {
    debug_assert!(len <= WIDTH);
    _bzhi_u64(u64::MAX, len as u32)
}

/// A text of at most 64 bytes, with zeros behind it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
fn load_part(text: &[u8]) -> __m512i {
    // SAFETY: only bytes whose bit is set are read; the others may lie in memory that can't be read. There are no
    // more bits than `text` has bytes: BZHI looks at the last eight bits of the length, which are not more than it.
    unsafe { _mm512_maskz_loadu_epi8(bits(text.len()), text.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
fn store_part(text: &mut [u8], x: __m512i) {
    // SAFETY: only bytes whose bit is set are written: no more than `text` has, as above.
    unsafe { _mm512_mask_storeu_epi8(text.as_mut_ptr().cast(), bits(text.len()), x) }
}

/// Four powers from `at` on; behind the last one what stands in `Tables` behind it.
#[inline]
#[target_feature(enable = "avx512f")]
fn powers(tables: &Tables, at: usize) -> (__m512i, __m512i) {
    assert!(at < POWERS);
    const { assert!(ROUND_KEYS >= 3) };
    let table: *const Block = (&raw const *tables).cast();
    // SAFETY: `Tables` is `repr(C)` and without padding: 16 blocks `h`, 16 blocks `d`, 15 round keys. Four blocks
    // from the 15th of `h` on at most end in `d`, from the 15th of `d` on in the round keys. The pointer is made of
    // the reference to all of it. All are bytes, which were written.
    unsafe {
        (
            _mm512_loadu_si512(table.add(at).cast()),
            _mm512_loadu_si512(table.add(POWERS + at).cast()),
        )
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn reversed(x: __m512i) -> __m512i {
    let order = _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f);
    _mm512_shuffle_epi8(x, _mm512_broadcast_i32x4(order))
}

/// The counter blocks from `first` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn counters<const N: usize>(iv: __m128i, first: u32) -> [__m512i; N] {
    // The counter alone is big-endian: reversed in the last four bytes.
    let order = _mm_set_epi64x(0x0c0d0e0f0b0a0908, 0x0706050403020100);
    let order = _mm512_broadcast_i32x4(order);
    let lanes = _mm512_set_epi32(3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0);
    let first = _mm512_maskz_set1_epi32(0x8888, first as i32);
    let mut next = _mm512_or_si512(_mm512_broadcast_i32x4(iv), _mm512_add_epi32(first, lanes));
    let four = _mm512_maskz_set1_epi32(0x8888, 4);
    let mut blocks = [next; N];
    for block in &mut blocks {
        *block = _mm512_shuffle_epi8(next, order);
        next = _mm512_add_epi32(next, four);
    }
    blocks
}

#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn encrypt<const N: usize>(tables: &Tables, blocks: &mut [__m512i; N]) {
    let [first, middle @ .., last] = &tables.round_keys;
    let key = _mm512_broadcast_i32x4(load(first));
    for block in &mut *blocks {
        *block = _mm512_xor_si512(*block, key);
    }
    for key in middle {
        let key = _mm512_broadcast_i32x4(load(key));
        for block in &mut *blocks {
            *block = _mm512_aesenc_epi128(*block, key);
        }
    }
    let key = _mm512_broadcast_i32x4(load(last));
    for block in blocks {
        *block = _mm512_aesenclast_epi128(*block, key);
    }
}

/// POLYVAL of these blocks, reversed already, the first with the power at `at`.
#[inline]
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1"
)]
fn hash<const N: usize>(tables: &Tables, blocks: &[__m512i; N], at: usize) -> __m128i {
    let (mut f, mut r) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    for (i, &m) in blocks.iter().enumerate() {
        let (h, d) = powers(tables, at + 4 * i);
        // 0x96: the sum of three.
        f = _mm512_ternarylogic_epi64::<0x96>(
            f,
            _mm512_clmulepi64_epi128::<0x01>(m, h),
            _mm512_clmulepi64_epi128::<0x00>(m, d),
        );
        r = _mm512_ternarylogic_epi64::<0x96>(
            r,
            _mm512_clmulepi64_epi128::<0x11>(m, h),
            _mm512_clmulepi64_epi128::<0x10>(m, d),
        );
    }
    Sum { f: folded(f), r: folded(r) }.reduced()
}

/// The sum of four lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512dq")]
fn folded(x: __m512i) -> __m128i {
    let x = _mm256_xor_si256(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64::<1>(x));
    _mm_xor_si128(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x))
}

/// Calls the function for this many registers.
macro_rules! tail {
    ($len:expr, $f:ident($($argument:expr),*)) => {
        match $len.div_ceil(16) / 4 {
            0 => $f::<1>($($argument),*),
            1 => $f::<2>($($argument),*),
            2 => $f::<3>($($argument),*),
            _ => $f::<4>($($argument),*),
        }
    };
}

/// How much of a text goes by [`LONG`] and then by [`WIDTH`], so that what is left is a tail.
fn split(len: usize) -> (usize, usize) {
    let long = len / LONG * LONG;
    (long, if len - long > TAIL { WIDTH } else { 0 })
}

#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1"
)]
pub(super) fn seal(tables: &Tables, message: &Message, text: InOutBuf<'_, '_, u8>) -> Tag {
    let (mut message, mut counter, mut text) = (*message, 2, text);
    if text.len() > TAIL {
        let (long, short) = split(text.len());
        let (steps, rest) = text.split_at(long);
        let (step, rest) = rest.split_at(short);
        text = rest;
        seal_steps::<4>(tables, &mut message, &mut counter, steps);
        seal_steps::<1>(tables, &mut message, &mut counter, step);
    }
    let tag = tail!(text.len(), seal_tail(tables, &message, counter, text));
    let mut out = [0; 16];
    store(&mut out, tag);
    out
}

/// Whether the tag is right. If not, nothing is written.
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1"
)]
pub(super) fn open(
    tables: &Tables,
    message: &Message,
    tag: &Tag,
    text: InOutBuf<'_, '_, u8>,
) -> bool {
    let tag = load(tag);
    if text.len() <= TAIL {
        return tail!(text.len(), open_tail(tables, message, 2, tag, text));
    }
    let (long, short) = split(text.len());
    let (steps, rest) = text.split_at(long);
    let (step, rest) = rest.split_at(short);
    let mut message = *message;
    hash_steps::<4>(tables, &mut message, steps.get_in());
    hash_steps::<1>(tables, &mut message, step.get_in());
    let counter = 2 + ((long + short) / 16) as u32;
    let right = tail!(rest.len(), open_tail(tables, &message, counter, tag, rest));
    if right {
        let mut counter = 2;
        open_steps::<4>(tables, &message, &mut counter, steps);
        open_steps::<1>(tables, &message, &mut counter, step);
    }
    right
}

/// Adds the keystream to the next `N` registers of a text that has them, and returns what they are then.
#[inline]
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1"
)]
fn apply<const N: usize>(
    tables: &Tables,
    message: &Message,
    counter: &mut u32,
    text: &mut InOutBuf<'_, '_, u8>,
) -> [__m512i; N] {
    let mut blocks = counters::<N>(message.iv, *counter);
    *counter = counter.wrapping_add(4 * N as u32);
    encrypt(tables, &mut blocks);
    for (block, text) in blocks.iter_mut().zip(text.get_in().as_chunks().0) {
        *block = _mm512_xor_si512(*block, load4(text));
    }
    for (block, text) in blocks.iter().zip(text.get_out().as_chunks_mut().0) {
        store4(text, *block);
    }
    blocks
}

#[inline]
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1"
)]
fn hash_step<const N: usize>(tables: &Tables, message: &mut Message, mut blocks: [__m512i; N]) {
    for block in &mut blocks {
        *block = reversed(*block);
    }
    blocks[0] = _mm512_xor_si512(blocks[0], _mm512_zextsi128_si512(message.hash));
    message.hash = hash(tables, &blocks, POWERS - 4 * N);
}

#[inline]
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1"
)]
fn seal_steps<const N: usize>(
    tables: &Tables,
    message: &mut Message,
    counter: &mut u32,
    mut text: InOutBuf<'_, '_, u8>,
) {
    while text.len() >= N * WIDTH {
        let (mut now, behind) = text.split_at(N * WIDTH);
        text = behind;
        let blocks = apply::<N>(tables, message, counter, &mut now);
        hash_step(tables, message, blocks);
    }
}

#[inline]
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1"
)]
fn hash_steps<const N: usize>(tables: &Tables, message: &mut Message, text: &[u8]) {
    for blocks in text.as_chunks::<WIDTH>().0.as_chunks::<N>().0 {
        let mut registers = [_mm512_setzero_si512(); N];
        for (register, block) in registers.iter_mut().zip(blocks) {
            *register = load4(block);
        }
        hash_step::<N>(tables, message, registers);
    }
}

#[inline]
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1"
)]
fn open_steps<const N: usize>(
    tables: &Tables,
    message: &Message,
    counter: &mut u32,
    mut text: InOutBuf<'_, '_, u8>,
) {
    while text.len() >= N * WIDTH {
        let (mut now, behind) = text.split_at(N * WIDTH);
        text = behind;
        apply::<N>(tables, message, counter, &mut now);
    }
}

/// As `settle` of one block.
#[inline]
#[target_feature(enable = "avx512f")]
fn settle(x: &mut __m512i) {
    // SAFETY: no instruction.
    unsafe { asm!("/* {0} */", inout(zmm_reg) * x, options(nomem, nostack, preserves_flags)) };
}

/// The keystream of the last registers, the mask of the tag in the lane behind the text's last block.
#[inline]
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1"
)]
fn keystream<const N: usize>(
    tables: &Tables,
    message: &Message,
    counter: u32,
    lane: usize,
) -> [__m512i; N] {
    let mut blocks = counters::<N>(message.iv, counter);
    let place = 8 << (4 * lane);
    let one = _mm512_set1_epi32(1_u32.swap_bytes() as i32);
    blocks[N - 1] = _mm512_mask_mov_epi32(blocks[N - 1], place, one);
    encrypt(tables, &mut blocks);
    for block in &mut blocks {
        settle(block);
    }
    blocks
}

/// What of a text is in the register `i`. Those before the last two are full; the last one but one may end within
/// the last block, with the mask's lane behind it in the last, which has no text then.
#[inline(always)]
fn range(len: usize, i: usize) -> Range<usize> {
    len.min(WIDTH * i)..len.min(WIDTH * (i + 1))
}

/// The text in registers, padded with zeros.
#[inline]
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1"
)]
fn registers_of<const N: usize>(text: &[u8]) -> [__m512i; N] {
    let mut registers = [_mm512_setzero_si512(); N];
    for (i, register) in registers.iter_mut().enumerate() {
        *register = load_part(&text[range(text.len(), i)]);
    }
    registers
}

#[inline]
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1"
)]
fn write<const N: usize>(blocks: &[__m512i; N], text: &mut [u8]) {
    let len = text.len();
    for (i, block) in blocks.iter().enumerate() {
        let place = &mut text[range(len, i)];
        match place.try_into() {
            // What is read soon can be forwarded from a store without a mask.
            Ok(whole) => store4(whole, *block),
            Err(_) => store_part(place, *block),
        }
    }
}

/// The tag of a message whose last blocks, padded with zeros, are these. `lane` is the one behind the last.
#[inline]
#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1"
)]
fn tag<const N: usize>(
    tables: &Tables,
    message: &Message,
    mut blocks: [__m512i; N],
    stream: __m512i,
    lane: usize,
) -> __m128i {
    for block in &mut blocks {
        *block = reversed(*block);
    }
    let place = 3 << (2 * lane);
    let lengths = _mm512_broadcast_i32x4(message.lengths);
    blocks[N - 1] = _mm512_mask_mov_epi64(blocks[N - 1], place, lengths);
    blocks[0] = _mm512_xor_si512(blocks[0], _mm512_zextsi128_si512(message.hash));
    let hash = hash(tables, &blocks, POWERS - (4 * (N - 1) + lane + 1));
    let mask = _mm512_castsi512_si128(_mm512_maskz_compress_epi64(place, stream));
    _mm_xor_si128(reversed1(hash), mask)
}

#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1"
)]
fn seal_tail<const N: usize>(
    tables: &Tables,
    message: &Message,
    counter: u32,
    mut text: InOutBuf<'_, '_, u8>,
) -> __m128i {
    let lane = text.len().div_ceil(16) % 4;
    let mut blocks = keystream::<N>(tables, message, counter, lane);
    let stream = blocks[N - 1];
    let plain = registers_of::<N>(text.get_in());
    for (block, plain) in blocks.iter_mut().zip(plain) {
        *block = _mm512_xor_si512(*block, plain);
    }
    write(&blocks, text.get_out());
    // The keystream behind the end of the text is not part of it.
    for (i, block) in blocks.iter_mut().enumerate() {
        *block = _mm512_maskz_mov_epi8(bits(range(text.len(), i).len()), *block);
    }
    tag(tables, message, blocks, stream, lane)
}

#[target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi2,vaes,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1"
)]
fn open_tail<const N: usize>(
    tables: &Tables,
    message: &Message,
    counter: u32,
    expected: __m128i,
    mut text: InOutBuf<'_, '_, u8>,
) -> bool {
    let lane = text.len().div_ceil(16) % 4;
    let mut blocks = keystream::<N>(tables, message, counter, lane);
    let sealed = registers_of::<N>(text.get_in());
    if !equal(tag(tables, message, sealed, blocks[N - 1], lane), expected) {
        return false;
    }
    for (block, sealed) in blocks.iter_mut().zip(sealed) {
        *block = _mm512_xor_si512(*block, sealed);
    }
    write(&blocks, text.get_out());
    true
}
