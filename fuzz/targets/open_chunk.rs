//! Any bytes as a chunk and its place: no panic, no plaintext after a refusal. And a sealed chunk
//! opens at its own place only.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealed_crypto::{
    ChunkId, Dek, Id, LayoutId, LayoutKey, NonceBlock, OVERHEAD, SaltState, SubkeyCache,
    open_chunk, seal_chunk,
};

fuzz_target!(|input: &[u8]| {
    let Ok(layout) = LayoutId::new(77) else { return };
    let dek = Dek::from_fn(|b| b.iter_mut().zip(0x10..).for_each(|(b, i)| *b = i));
    let key = LayoutKey::derive(&dek, &Id([0x70; 16]), layout);
    let mut cache = SubkeyCache::new();

    // The place of the golden chunk `chunk_first`.
    let golden = ChunkId { value_id: 16_384, seq: 0, total: 3 * 1958 + 100 };
    let mut plain = vec![0xaa; input.len().saturating_sub(OVERHEAD)];
    if open_chunk(&key, &mut cache, &golden, input, &mut plain).is_err() {
        assert!(plain.iter().all(|b| *b == 0));
    }

    let Some((place, rest)) = input.split_first_chunk::<24>() else { return };
    let word = |i: usize| u32::from_be_bytes(std::array::from_fn(|j| place[4 * i + j]));
    let id = ChunkId { value_id: word(0), seq: word(1), total: word(2) };
    let other = ChunkId { value_id: word(3), seq: word(4), total: word(5) };
    let reserved = SaltState::default().reserve(1, 0, || [1; 8]);
    let Some(nonce) = NonceBlock::new(reserved, [2; 6]).take() else { return };
    let mut payload = [&[0; OVERHEAD], rest].concat();
    assert!(seal_chunk(&key, &mut cache, nonce, &id, &mut payload).is_ok());
    let mut plain = vec![0; rest.len()];
    assert!(open_chunk(&key, &mut cache, &id, &payload, &mut plain).is_ok());
    assert_eq!(plain, rest);
    let opened = open_chunk(&key, &mut cache, &other, &payload, &mut plain);
    assert_eq!(opened.is_ok(), id == other);
});
