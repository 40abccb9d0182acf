//! The kernel of one block an instruction: AES-NI, and AES of aarch64.
//!
//! The blocks of a message stand in the order of its counters, and behind them, as the last, what becomes the mask
//! of the tag: counter 1. In the same place of the hash stands the block of lengths. So the encryption of all is
//! one stretch of independent instructions, and GHASH another.

use aes::cipher::inout::InOutBuf;

use crate::Tag;
use crate::ends::{padded, put};
use crate::kept::{Message, POWERS, Tables};
use crate::native::{
    Sum, Vector, and, count, encrypt_blocks, equal, load, reversed, settle, store, vector, xor,
    zero,
};

/// Whole blocks at once in what is longer.
const STEP: usize = 8;
/// Blocks in the tail at most: those that do not make up a step, and the mask.
const TAIL: usize = STEP + 1;

/// The counter blocks from `first` on.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1"))]
#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,aes"))]
fn counters<const N: usize>(iv: Vector, first: u32) -> [Vector; N] {
    let mut blocks = [iv; N];
    for (block, i) in blocks.iter_mut().zip(0..) {
        *block = count(iv, first.wrapping_add(i));
    }
    blocks
}

/// Where a message is: what of it is behind.
struct State {
    counter: u32,
    /// To be added to the next block that is hashed.
    hash: Vector,
    sum: Sum,
    /// Where the next block's power is. [`Self::long`] as long as there are more blocks than powers.
    at: usize,
}

impl State {
    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1"))]
    #[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,aes"))]
    fn new(message: &Message, len: usize) -> Self {
        let mut state = Self { counter: 2, hash: message.hash, sum: Sum::new(), at: 0 };
        state.aim(len);
        state
    }

    /// If what is left, with the block of lengths, has no more blocks than there are powers, it is hashed with
    /// one reduction at its end.
    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1"))]
    #[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,aes"))]
    fn aim(&mut self, left: usize) {
        self.at = POWERS.saturating_sub(left.div_ceil(16) + 1);
    }

    /// Hashes whole blocks. With `reduce`, they are all there is behind the sum.
    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1"))]
    #[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,aes"))]
    fn hash_step(&mut self, tables: &Tables, blocks: [Vector; STEP], reduce: bool) {
        let first = if reduce { POWERS - STEP } else { self.at };
        for (i, block) in blocks.into_iter().enumerate() {
            let block = xor(reversed(block), self.hash);
            self.hash = zero();
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
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1"))]
    #[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,aes"))]
    fn tag<const N: usize>(
        mut self,
        tables: &Tables,
        message: &Message,
        blocks: &[Vector; N],
        mask: Vector,
    ) -> Vector {
        for (i, block) in blocks.iter().enumerate() {
            let block = if i == N - 1 { message.lengths } else { reversed(*block) };
            let block = xor(block, self.hash);
            self.hash = zero();
            self.sum.add(block, tables, POWERS - N + i);
        }
        xor(reversed(self.sum.reduced()), mask)
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

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1"))]
#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,aes"))]
pub(crate) fn seal(tables: &Tables, message: &Message, text: InOutBuf<'_, '_, u8>) -> Tag {
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
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1"))]
#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,aes"))]
pub(crate) fn open(
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
        let mut registers = [zero(); STEP];
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
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1"))]
#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,aes"))]
fn apply_step(
    tables: &Tables,
    message: &Message,
    state: &mut State,
    text: &mut InOutBuf<'_, '_, u8>,
) -> [Vector; STEP] {
    let mut blocks = counters::<STEP>(message.iv, state.counter);
    state.counter = state.counter.wrapping_add(STEP as u32);
    encrypt_blocks(&tables.round_keys, &mut blocks);
    for (block, text) in blocks.iter_mut().zip(text.get_in().as_chunks().0) {
        *block = xor(*block, load(text));
    }
    for (block, text) in blocks.iter().zip(text.get_out().as_chunks_mut().0) {
        store(text, *block);
    }
    blocks
}

/// The keystream of less than a step, and the mask of the tag behind it.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1"))]
#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,aes"))]
fn keystream<const N: usize>(
    tables: &Tables,
    message: &Message,
    state: &State,
) -> ([Vector; N], Vector) {
    let mut blocks = counters::<N>(message.iv, state.counter);
    blocks[N - 1] = count(message.iv, 1);
    encrypt_blocks(&tables.round_keys, &mut blocks);
    blocks.iter_mut().for_each(settle);
    (blocks, blocks[N - 1])
}

/// The text in blocks, padded with zeros. All but the last are whole; behind them is the mask's.
#[inline]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1"))]
#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,aes"))]
fn blocks_of<const N: usize>(text: &[u8]) -> [Vector; N] {
    let mut blocks = [zero(); N];
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
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1"))]
#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,aes"))]
fn write<const N: usize>(blocks: &[Vector; N], text: &mut [u8]) {
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

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1"))]
#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,aes"))]
fn seal_tail<const N: usize>(
    tables: &Tables,
    message: &Message,
    state: State,
    mut text: InOutBuf<'_, '_, u8>,
) -> Vector {
    let (mut blocks, mask) = keystream::<N>(tables, message, &state);
    let plain = blocks_of::<N>(text.get_in());
    for (block, plain) in blocks.iter_mut().zip(plain) {
        *block = xor(*block, plain);
    }
    write(&blocks, text.get_out());
    // The keystream behind the end of the text is not part of it.
    let over = text.len() % 16;
    if let (1.., Some(last)) = (over, blocks.iter_mut().nth_back(1)) {
        let kept = !(u128::MAX << (8 * over));
        *last = and(*last, vector((kept >> 64) as u64, kept as u64));
    }
    state.tag(tables, message, &blocks, mask)
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "aes,pclmulqdq,ssse3,sse4.1"))]
#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,aes"))]
fn open_tail<const N: usize>(
    tables: &Tables,
    message: &Message,
    state: State,
    tag: Vector,
    mut text: InOutBuf<'_, '_, u8>,
) -> bool {
    let (mut blocks, mask) = keystream::<N>(tables, message, &state);
    let sealed = blocks_of::<N>(text.get_in());
    let expected = state.tag(tables, message, &sealed, mask);
    if !equal(expected, tag) {
        return false;
    }
    for (block, sealed) in blocks.iter_mut().zip(sealed) {
        *block = xor(*block, sealed);
    }
    write(&blocks, text.get_out());
    true
}

const _: () = assert!(TAIL <= POWERS);
