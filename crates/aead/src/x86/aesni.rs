//! The kernel of one block an instruction.
//!
//! The blocks of a message stand in the order of its counters, and behind them, as the last, what becomes the mask
//! of the tag: counter 1. In the same place of the hash stands the block of lengths. So the encryption of all is
//! one stretch of independent instructions, and GHASH another.

use core::arch::x86_64::*;

use aes::cipher::inout::InOutBuf;

use super::{Block, Message, POWERS, Sum, Tables, load, padded, put, reversed, store};
use crate::Tag;

/// Whole blocks at once in what is longer.
const STEP: usize = 8;
/// Blocks in the tail at most: those that do not make up a step, and the mask.
const TAIL: usize = STEP + 1;

/// The counter blocks from `first` on.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
fn counters<const N: usize>(iv: __m128i, first: u32) -> [__m128i; N] {
    // The counter alone is big-endian: reversed in the last four bytes.
    let mut blocks = [iv; N];
    for (block, i) in blocks.iter_mut().zip(0..) {
        *block = _mm_insert_epi32::<3>(iv, first.wrapping_add(i).swap_bytes() as i32);
    }
    blocks
}

#[inline]
#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
fn encrypt<const N: usize>(tables: &Tables, blocks: &mut [__m128i; N]) {
    let [first, middle @ .., last] = &tables.round_keys;
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

/// Where a message is: what of it is behind.
struct State {
    counter: u32,
    /// To be added to the next block that is hashed.
    hash: __m128i,
    sum: Sum,
    /// Where the next block's power is. [`Self::long`] as long as there are more blocks than powers.
    at: usize,
}

impl State {
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
    fn new(message: &Message, len: usize) -> Self {
        let mut state = Self { counter: 2, hash: message.hash, sum: Sum::new(), at: 0 };
        state.aim(len);
        state
    }

    /// If what is left, with the block of lengths, has no more blocks than there are powers, it is hashed with
    /// one reduction at its end.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
    fn aim(&mut self, left: usize) {
        self.at = POWERS.saturating_sub(left.div_ceil(16) + 1);
    }

    /// Hashes whole blocks. With `reduce`, they are all there is behind the sum.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
    fn hash_step(&mut self, tables: &Tables, blocks: [__m128i; STEP], reduce: bool) {
        let first = if reduce { POWERS - STEP } else { self.at };
        for (i, block) in blocks.into_iter().enumerate() {
            let block = _mm_xor_si128(reversed(block), self.hash);
            self.hash = _mm_setzero_si128();
            self.sum.add(block, tables, first + i);
        }
        if reduce {
            self.hash = self.sum.reduced();
            self.sum = Sum::new();
        } else {
            self.at += STEP;
        }
    }

    /// Hashes the last blocks, padded with zeros, with the lengths in place of the mask.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
    fn tag<const N: usize>(
        mut self,
        tables: &Tables,
        message: &Message,
        blocks: &[__m128i; N],
        mask: __m128i,
    ) -> __m128i {
        for (i, block) in blocks.iter().enumerate() {
            let block = if i == N - 1 { message.lengths } else { reversed(*block) };
            let block = _mm_xor_si128(block, self.hash);
            self.hash = _mm_setzero_si128();
            self.sum.add(block, tables, POWERS - N + i);
        }
        _mm_xor_si128(reversed(self.sum.reduced()), mask)
    }
}

/// Whether there are more blocks left than powers.
fn is_long(left: usize) -> bool {
    left > 16 * (POWERS - 1)
}

/// Calls the function for this many blocks, the mask's with them.
macro_rules! tail {
    ($len:expr, $f:ident($($argument:expr),*)) => {
        match $len.div_ceil(16) {
            0 => $f::<1>($($argument),*),
            1 => $f::<2>($($argument),*),
            2 => $f::<3>($($argument),*),
            3 => $f::<4>($($argument),*),
            4 => $f::<5>($($argument),*),
            5 => $f::<6>($($argument),*),
            6 => $f::<7>($($argument),*),
            7 => $f::<8>($($argument),*),
            _ => $f::<TAIL>($($argument),*),
        }
    };
}

#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
pub(super) fn seal(tables: &Tables, message: &Message, text: InOutBuf<'_, '_, u8>) -> Tag {
    let mut state = State::new(message, text.len());
    let mut rest = text;
    while rest.len() >= 16 * STEP {
        let long = is_long(rest.len());
        let (mut now, behind) = rest.split_at(16 * STEP);
        rest = behind;
        let blocks = apply_step(tables, message, &mut state, &mut now);
        state.hash_step(tables, blocks, long);
        if long {
            state.aim(rest.len());
        }
    }
    let tag = tail!(rest.len(), seal_tail(tables, message, state, rest));
    let mut out = [0; 16];
    store(&mut out, tag);
    out
}

/// Whether the tag is right. If not, nothing is written.
#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
pub(super) fn open(
    tables: &Tables,
    message: &Message,
    tag: &Tag,
    text: InOutBuf<'_, '_, u8>,
) -> bool {
    let mut state = State::new(message, text.len());
    let tag = load(tag);
    let len = text.len() / (16 * STEP) * (16 * STEP);
    let (mut steps, rest) = text.split_at(len);
    let mut left = len + rest.len();
    let (chunks, _) = steps.get_in().as_chunks::<16>().0.as_chunks::<STEP>();
    for blocks in chunks {
        let long = is_long(left);
        left -= 16 * STEP;
        let mut registers = [_mm_setzero_si128(); STEP];
        for (register, block) in registers.iter_mut().zip(blocks) {
            *register = load(block);
        }
        state.hash_step(tables, registers, long);
        if long {
            state.aim(left);
        }
    }
    state.counter += (len / 16) as u32;
    if !tail!(rest.len(), open_tail(tables, message, state, tag, rest)) {
        return false;
    }
    let mut state = State::new(message, len);
    while !steps.is_empty() {
        let (mut now, behind) = steps.split_at(16 * STEP);
        steps = behind;
        apply_step(tables, message, &mut state, &mut now);
    }
    true
}

/// Adds the keystream to whole blocks, and returns what they are then.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
fn apply_step(
    tables: &Tables,
    message: &Message,
    state: &mut State,
    text: &mut InOutBuf<'_, '_, u8>,
) -> [__m128i; STEP] {
    let mut blocks = counters::<STEP>(message.iv, state.counter);
    state.counter = state.counter.wrapping_add(STEP as u32);
    encrypt(tables, &mut blocks);
    for (block, text) in blocks.iter_mut().zip(text.get_in().as_chunks().0) {
        *block = _mm_xor_si128(*block, load(text));
    }
    for (block, text) in blocks.iter().zip(text.get_out().as_chunks_mut().0) {
        store(text, *block);
    }
    blocks
}

/// The keystream of less than a step, and the mask of the tag behind it.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
fn keystream<const N: usize>(
    tables: &Tables,
    message: &Message,
    state: &State,
) -> ([__m128i; N], __m128i) {
    let mut blocks = counters::<N>(message.iv, state.counter);
    blocks[N - 1] = _mm_insert_epi32::<3>(message.iv, 1_u32.swap_bytes() as i32);
    encrypt(tables, &mut blocks);
    (blocks, blocks[N - 1])
}

/// The text in blocks, padded with zeros. All but the last are whole; behind them is the mask's.
#[inline]
#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
fn blocks_of<const N: usize>(text: &[u8]) -> [__m128i; N] {
    let mut blocks = [_mm_setzero_si128(); N];
    let (whole, end) = text.split_at(16 * N.saturating_sub(2));
    for (block, text) in blocks.iter_mut().zip(whole.as_chunks().0) {
        *block = load(text);
    }
    if let Some(last) = blocks.iter_mut().nth_back(1) {
        *last = match end.try_into() {
            Ok(whole) => load(whole),
            Err(_) => load(&padded(end)),
        };
    }
    blocks
}

#[inline]
#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
fn write<const N: usize>(blocks: &[__m128i; N], text: &mut [u8]) {
    let (whole, end) = text.split_at_mut(16 * N.saturating_sub(2));
    for (block, text) in blocks.iter().zip(whole.as_chunks_mut().0) {
        store(text, *block);
    }
    if let Some(last) = blocks.iter().nth_back(1) {
        match end.try_into() {
            Ok(whole) => store(whole, *last),
            Err(_) => put(*last, end),
        }
    }
}

#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
fn seal_tail<const N: usize>(
    tables: &Tables,
    message: &Message,
    state: State,
    mut text: InOutBuf<'_, '_, u8>,
) -> __m128i {
    let (mut blocks, mask) = keystream::<N>(tables, message, &state);
    let plain = blocks_of::<N>(text.get_in());
    for (block, plain) in blocks.iter_mut().zip(plain) {
        *block = _mm_xor_si128(*block, plain);
    }
    write(&blocks, text.get_out());
    // The keystream behind the end of the text is not part of it.
    let over = text.len() % 16;
    if let (1.., Some(last)) = (over, blocks.iter_mut().nth_back(1)) {
        let kept = !(u128::MAX << (8 * over));
        let kept = _mm_set_epi64x((kept >> 64) as i64, kept as i64);
        *last = _mm_and_si128(*last, kept);
    }
    state.tag(tables, message, &blocks, mask)
}

#[target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1")]
fn open_tail<const N: usize>(
    tables: &Tables,
    message: &Message,
    state: State,
    tag: __m128i,
    mut text: InOutBuf<'_, '_, u8>,
) -> bool {
    let (mut blocks, mask) = keystream::<N>(tables, message, &state);
    let sealed = blocks_of::<N>(text.get_in());
    let expected = state.tag(tables, message, &sealed, mask);
    if !equal(expected, tag) {
        return false;
    }
    for (block, sealed) in blocks.iter_mut().zip(sealed) {
        *block = _mm_xor_si128(*block, sealed);
    }
    write(&blocks, text.get_out());
    true
}

/// All sixteen bytes at once: where they differ does not show in the time.
#[inline]
#[target_feature(enable = "sse4.1")]
pub(super) fn equal(a: __m128i, b: __m128i) -> bool {
    _mm_movemask_epi8(_mm_cmpeq_epi8(a, b)) == 0xffff
}

const _: () = assert!(size_of::<Block>() == 16 && TAIL <= POWERS);
