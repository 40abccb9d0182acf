use super::*;
use crate::ends::put;
use crate::native::Keys;
use crate::{Aes256Enc, Backend};

#[test]
fn bytes_and_blocks() {
    let text: [u8; 16] = core::array::from_fn(|i| i as u8 + 1);
    for len in 0..=16 {
        let mut expected = [0; 16];
        expected[..len].copy_from_slice(&text[..len]);
        assert_eq!(padded(&text[..len]), expected);
        let mut place = [0; 16];
        put(load(&text), &mut place[..len]);
        assert_eq!(place, expected);
    }
}

/// The powers against multiplication bit by bit, as SP 800-38D defines it.
#[test]
fn powers_of_the_hash_key() {
    /// Algorithm 1: bit 0 is the highest of the first byte.
    fn times(x: u128, y: u128) -> u128 {
        let (mut z, mut v) = (0, y);
        for i in (0..128).rev() {
            if x >> i & 1 == 1 {
                z ^= v;
            }
            v = v >> 1 ^ if v & 1 == 1 { 0xe1 << 120 } else { 0 };
        }
        z
    }
    let key = [0x31; 32];
    let mut h = [0; 16];
    Aes256Enc::with(Backend::Portable, &key).expect("portable").encrypt(&mut h);
    let h = u128::from_be_bytes(h);
    // GHASH of a block and k blocks of zeros is the block times H^(k + 1).
    let block: Block = core::array::from_fn(|i| (i * 37 + 5) as u8);
    let mut expected = u128::from_be_bytes(block);
    for k in 0..POWERS {
        expected = times(expected, h);
        let mut bytes = vec![0; 16 * (k + 1)];
        bytes[..16].copy_from_slice(&block);
        for keys in Backend::ALL.into_iter().filter_map(|b| Keys::new(b, &key, &bytes)) {
            assert_eq!(u128::from_le_bytes(keys.kept.blocks), expected, "H^{}", k + 1);
        }
    }
}

#[test]
fn small() {
    assert!(size_of::<Keys>() <= 832, "Gcm documents this: {}", size_of::<Keys>());
    assert_eq!(size_of::<Tables>(), 16 * (2 * POWERS + ROUND_KEYS), "powers() relies on it");
}
