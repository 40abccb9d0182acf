//! Any bytes as a sealed row: no panic, no plaintext after a refusal. And any bytes as a body: what is
//! sealed opens to the same, and not at all with a byte changed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealed_crypto::{
    Dek, Id, LayoutId, LayoutKey, NonceBlock, OVERHEAD, SaltState, SubkeyCache, open_row, seal_row,
    sealed_layout,
};

fuzz_target!(|input: &[u8]| {
    let Ok(layout) = LayoutId::new(77) else { return };
    // The golden rows' keys, so that the seeds of the corpus open.
    let dek = Dek::from_fn(|b| b.iter_mut().zip(0x10..).for_each(|(b, i)| *b = i));
    let key = LayoutKey::derive(&dek, &Id([0x70; 16]), layout);
    let mut cache = SubkeyCache::new();

    let named = sealed_layout(input);
    let mut body = vec![0xaa; input.len().saturating_sub(OVERHEAD)];
    match open_row(&key, &mut cache, input, &mut body) {
        Ok(()) => assert_eq!(named, Ok(layout)),
        Err(_) => assert!(body.iter().all(|b| *b == 0)),
    }

    let Some((&[at0, at1, xor], plain)) = input.split_first_chunk() else { return };
    let reserved = SaltState::default().reserve(1, 0, || [at0; 8]);
    let Some(nonce) = NonceBlock::new(reserved, [at1; 6]).take() else { return };
    let mut payload = [&[0; OVERHEAD], plain].concat();
    assert!(seal_row(&key, &mut cache, nonce, &mut payload).is_ok());
    let mut body = vec![0; plain.len()];
    assert!(open_row(&key, &mut cache, &payload, &mut body).is_ok());
    assert_eq!(body, plain);
    let at = usize::from(u16::from_be_bytes([at0, at1])) % payload.len();
    payload[at] ^= xor;
    assert_eq!(open_row(&key, &mut cache, &payload, &mut body).is_ok(), xor == 0);
});
