use super::*;

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
    let Some(keys) = Keys::new(false, &[0x31; 32], &[]) else { return };
    let schedule = Schedule::encrypting(&[0x31; 32]).expect("has_aesni");
    let mut h = [0; 16];
    schedule.encrypt(&mut h);
    let h = u128::from_be_bytes(h);
    // GHASH of a block and k blocks of zeros is the block times H^(k + 1).
    let block: Block = core::array::from_fn(|i| (i * 37 + 5) as u8);
    let mut expected = u128::from_be_bytes(block);
    for k in 0..POWERS {
        expected = times(expected, h);
        let mut bytes = vec![0; 16 * (k + 1)];
        bytes[..16].copy_from_slice(&block);
        let mut hash = [0; 16];
        // SAFETY: there are keys.
        unsafe { store(&mut hash, absorb(&keys.tables, _mm_setzero_si128(), &bytes)) };
        assert_eq!(u128::from_le_bytes(hash), expected, "H^{}", k + 1);
    }
}

#[test]
fn small() {
    assert!(size_of::<Keys>() <= 832, "Gcm documents this: {}", size_of::<Keys>());
    assert_eq!(size_of::<Tables>(), 16 * (2 * POWERS + ROUND_KEYS), "powers() relies on it");
}
