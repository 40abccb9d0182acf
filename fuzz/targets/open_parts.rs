//! Any bytes as a sealed row of several parts: no panic, no plaintext after a refusal. And any bytes as its parts:
//! what is sealed opens to the same, each group alone, and nothing opens with a byte of it changed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealed_crypto::{
    Dek, Id, LayoutId, LayoutKey, NonceBlock, Parts, SaltState, SubkeyCache, open_part, sealed_as,
    seal_parts,
};

fuzz_target!(|input: &[u8]| {
    let (Ok(row), Ok(first), Ok(second)) = (LayoutId::new(77), LayoutId::new(78), LayoutId::new(79))
    else {
        return;
    };
    let dek = Dek::from_fn(|b| b.iter_mut().zip(0x10..).for_each(|(b, i)| *b = i));
    let keys = [first, second].map(|id| LayoutKey::derive_group(&dek, &Id([0x70; 16]), id, 1));
    let mut cache = SubkeyCache::new();

    let _ = sealed_as(input);
    if let Ok(parts) = Parts::read(input, 2) {
        for (group, key) in keys.iter().enumerate() {
            let mut body = vec![0xaa; parts.group(group).map_or(0, |range| range.len())];
            if open_part(group, key, &mut cache, &parts, input, &mut body).is_err() {
                assert!(body.iter().all(|b| *b == 0));
            }
        }
    }

    let Some((&[at0, at1, xor, cut0, cut1], plain)) = input.split_first_chunk() else { return };
    let reserved = SaltState::default().reserve(1, 0, || [at0; 8]);
    let Some(nonce) = NonceBlock::new(reserved, [at1; 6]).take() else { return };
    let (clear, groups) = plain.split_at(usize::from(cut0) % (plain.len() + 1));
    let (one, two) = groups.split_at(usize::from(cut1) % (groups.len() + 1));
    let Ok(parts) = Parts::new(clear.len(), [one.len(), two.len()]) else { return };
    let mut payload = vec![0; parts.len()];
    let texts = [one, two];
    payload[parts.clear()].copy_from_slice(clear);
    for (group, text) in texts.iter().enumerate() {
        let Some(range) = parts.group(group) else { return };
        payload[range].copy_from_slice(text);
    }
    let both = [&keys[0], &keys[1]];
    assert!(seal_parts(row, &both, &mut cache, nonce, &parts, &mut payload).is_ok());
    assert_eq!(Parts::read(&payload, 2), Ok(parts));
    for (group, text) in texts.iter().enumerate() {
        let mut body = vec![0; text.len()];
        assert!(open_part(group, both[group], &mut cache, &parts, &payload, &mut body).is_ok());
        assert_eq!(&body, text);
        // Under the other group's key it is nothing.
        assert!(open_part(group, both[1 - group], &mut cache, &parts, &payload, &mut body).is_err());
    }
    // A changed byte of the front is seen by every group, one of a group by that group.
    let at = usize::from(u16::from_be_bytes([at0, at1])) % parts.clear().end;
    payload[at] ^= xor;
    for (group, text) in texts.iter().enumerate() {
        let mut body = vec![0; text.len()];
        let opened = open_part(group, both[group], &mut cache, &parts, &payload, &mut body);
        assert_eq!(opened.is_ok(), xor == 0);
    }
});
