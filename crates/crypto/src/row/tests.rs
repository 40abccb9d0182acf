use super::*;
use crate::{NonceBlock, SaltState};

fn nonce(counter: u32) -> Nonce {
    Nonce { salt: *b"saltsalt", rnd: *b"random", counter }
}

fn key(dek: u8, layout: u32) -> LayoutKey {
    let layout = LayoutId::new(layout).expect("layout id");
    LayoutKey::derive(&Dek::from_fn(|b| b.fill(dek)), &Id([7; 16]), layout)
}

fn sealed(key: &LayoutKey, cache: &mut SubkeyCache, body: &[u8]) -> Vec<u8> {
    let mut payload = [&[0xee; OVERHEAD], body].concat();
    seal_row(key, cache, nonce(5), &mut payload).expect("seal");
    payload
}

#[test]
fn a_row_comes_back() {
    let (key, mut cache) = (key(1, 9), SubkeyCache::new());
    for len in [0, 1, 15, 16, 17, 100, 304, 305, 1024, 1025, 1958, 8192] {
        let body: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let payload = sealed(&key, &mut cache, &body);
        assert_eq!(sealed_layout(&payload), LayoutId::new(9));
        let mut out = vec![0xaa; len];
        open_row(&key, &mut cache, &payload, &mut out).expect("open");
        assert_eq!(out, body);
    }
    assert_eq!(cache.len(), 1);
}

#[test]
fn a_damaged_row_leaves_nothing_behind() {
    let (key, mut cache) = (key(1, 9), SubkeyCache::new());
    for len in [0, 1, 15, 16, 47, 48, 100, 304, 305, 1024, 1025] {
        let mut payload = sealed(&key, &mut cache, &vec![0x33; len]);
        for at in (12..payload.len()).step_by(5) {
            payload[at] ^= 1;
            let mut out = vec![0xaa; len];
            assert_eq!(open_row(&key, &mut cache, &payload, &mut out), Err(Error::Damaged));
            assert_eq!(out, vec![0; len]);
            payload[at] ^= 1;
        }
    }
}

#[test]
fn a_short_chunk_opens_only_at_its_place() {
    let (key, mut cache) = (key(1, 9), SubkeyCache::new());
    let id = ChunkId { value_id: 1, seq: 2, total: 3 };
    let mut payload = [&[0; OVERHEAD], &b"the end"[..]].concat();
    seal_chunk(&key, &mut cache, nonce(5), &id, &mut payload).expect("seal");
    let mut out = [0; 7];
    assert_eq!(open_chunk(&key, &mut cache, &id, &payload, &mut out), Ok(()));
    assert_eq!(&out, b"the end");
    for other in
        [ChunkId { value_id: 0, ..id }, ChunkId { seq: 0, ..id }, ChunkId { total: 0, ..id }]
    {
        let opened = open_chunk(&key, &mut cache, &other, &payload, &mut out);
        assert_eq!(opened, Err(Error::Damaged));
        assert_eq!(out, [0; 7]);
    }
    assert_eq!(open_row(&key, &mut cache, &payload, &mut out), Err(Error::Damaged));
}

#[test]
fn the_header_is_as_drawn() {
    let payload = sealed(&key(1, 0x0abc_def1), &mut SubkeyCache::new(), b"body");
    assert_eq!(&payload[..HEADER_LEN], b"\x1a\xbc\xde\xf1saltsaltrandom\0\0\0\x05");
}

#[test]
fn the_associated_data_is_as_drawn() {
    let aad = aad(What::Chunk, &Id([0x55; 16]), LayoutId::new(0x0102_0304).expect("layout id"), 0);
    assert_eq!(&aad[..10], b"pgsealed\x01\x02");
    assert_eq!(aad[10..26], [0x55; 16]);
    assert_eq!(aad[26..], [0, 0, 1, 2, 3, 4]);
    let id = ChunkId { value_id: 0x1112_1314, seq: 0x2122_2324, total: 0x3132_3334 };
    let with_id = [&aad[..], &id.bytes()].concat();
    assert_eq!(with_id[..32], aad);
    assert_eq!(&with_id[32..], b"\x11\x12\x13\x14\x21\x22\x23\x24\x31\x32\x33\x34");
}

#[test]
fn two_keys_of_one_layout_do_not_share_cached_subkeys() {
    let (a, b, mut cache) = (key(1, 9), key(2, 9), SubkeyCache::new());
    let of_a = sealed(&a, &mut cache, b"secret");
    let of_b = sealed(&b, &mut cache, b"secret");
    let mut out = [0; 6];
    assert_eq!(open_row(&b, &mut cache, &of_a, &mut out), Err(Error::Damaged));
    assert_eq!(open_row(&a, &mut cache, &of_b, &mut out), Err(Error::Damaged));
    assert_eq!(open_row(&a, &mut cache, &of_a, &mut out), Ok(()));
    assert_eq!(open_row(&b, &mut cache, &of_b, &mut out), Ok(()));
}

#[test]
fn the_cache_may_be_cleared_or_overflow_at_any_time() {
    let mut cache = SubkeyCache::new();
    let keys: Vec<_> = (1..=600).map(|layout| key(3, layout)).collect();
    let payloads: Vec<_> = keys.iter().map(|k| sealed(k, &mut cache, b"x")).collect();
    assert!(cache.len() <= 256);
    for round in 0..3 {
        for (k, p) in keys.iter().zip(&payloads) {
            let mut out = [0];
            assert_eq!(open_row(k, &mut cache, p, &mut out), Ok(()));
            assert_eq!(out, *b"x");
        }
        if round == 1 {
            cache.clear();
            assert!(cache.is_empty());
        }
    }
}

#[test]
fn many_salts_of_one_key_do_not_mix_in_the_cache() {
    let (key, mut cache) = (key(3, 1), SubkeyCache::new());
    let mut payloads: Vec<Vec<u8>> = Vec::new();
    for salt in 0..600_u64 {
        let nonce = Nonce { salt: salt.to_be_bytes(), rnd: [0; 6], counter: 0 };
        let mut payload = [&[0; OVERHEAD], &salt.to_be_bytes()[..]].concat();
        seal_row(&key, &mut cache, nonce, &mut payload).expect("seal");
        payloads.push(payload);
    }
    for _ in 0..2 {
        for (salt, payload) in (0..600_u64).zip(&payloads) {
            let mut out = [0; 8];
            assert_eq!(open_row(&key, &mut cache, payload, &mut out), Ok(()));
            assert_eq!(out, salt.to_be_bytes());
        }
    }
}

#[test]
fn sealing_needs_room() {
    let (key, mut cache) = (key(1, 1), SubkeyCache::new());
    for len in [0, 1, HEADER_LEN, OVERHEAD - 1] {
        let sealed = seal_row(&key, &mut cache, nonce(0), &mut vec![0; len]);
        assert_eq!(sealed, Err(Error::WrongLength));
        assert_eq!(open_row(&key, &mut cache, &vec![0x10; len], &mut []), Err(Error::WrongLength));
    }
}

#[test]
fn what_is_sealed_is_xaes_256_gcm() {
    use aes_gcm::aead::{Aead, KeyInit, Payload};
    use xaes_256_gcm::Xaes256Gcm;

    let (dek, table) = (Dek::from_fn(|b| b.fill(0x5a)), Id([3; 16]));
    let layout = LayoutId::new(77).expect("layout id");
    let key = LayoutKey::derive(&dek, &table, layout);
    let (mut salt, mut cache) = (SaltState::default(), SubkeyCache::new());
    let mut block =
        NonceBlock::new(salt.reserve(8, 0, || *b"\x01\x02\x03\x04\x05\x06\x07\x08"), [9; 6]);
    while let Some(nonce) = block.take() {
        let plain = format!("row {}", block.remaining());
        let mut payload = [&[0; OVERHEAD], plain.as_bytes()].concat();
        seal_row(&key, &mut cache, nonce, &mut payload).expect("seal");

        // As a stranger would, by docs/format.md.
        let mut row_key = [0; 32];
        let info = [&b"row v1"[..], &table.0, &77u32.to_be_bytes()];
        kdf::expand(dek.expose(), &info, &mut row_key);
        let xaes = Xaes256Gcm::new(&row_key.into());
        let mut n = [0; 24];
        n[..12].copy_from_slice(&payload[..12]);
        n[12..18].copy_from_slice(&payload[12..18]);
        n[20..].copy_from_slice(&payload[18..22]);
        let msg = [&payload[38..], &payload[22..38]].concat();
        let aad = [&b"pgsealed\x01\x01"[..], &table.0, &[0, 0], &77u32.to_be_bytes()].concat();
        let opened = xaes.decrypt(&n.into(), Payload { msg: &msg, aad: &aad }).expect("open");
        assert_eq!(opened, plain.as_bytes());
    }
}
