//! The last block of a text, where it is not whole.

use crate::Block;
use crate::native::{Vector, store};

/// At most 16 bytes, with zeros behind them. No loop over bytes: a row's last block is made this way.
#[inline(never)]
pub(crate) fn padded(bytes: &[u8]) -> Block {
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
pub(crate) fn put(block: Vector, place: &mut [u8]) {
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
