use proptest::prelude::*;

use super::*;
use crate::{Build, Dek, Id, sealed_as, sealed_layout};

const LAYOUT: u32 = 77;

fn id(n: u32) -> LayoutId {
    LayoutId::new(n).expect("layout id")
}

fn key(n: u16) -> LayoutKey {
    let dek = Dek::from_fn(|b| b.fill(n as u8));
    LayoutKey::derive_group(&dek, &Id([7; 16]), id(100 + u32::from(n)), n)
}

fn nonce() -> Nonce {
    Nonce { salt: *b"saltsalt", rnd: *b"random", counter: 5 }
}

fn sealed(keys: &[LayoutKey], clear: &[u8], groups: &[Vec<u8>]) -> (Parts, Vec<u8>) {
    let parts = Parts::new(clear.len(), groups.iter().map(Vec::len)).expect("parts");
    let mut payload = vec![0xee; parts.len()];
    payload[parts.clear()].copy_from_slice(clear);
    for (i, text) in groups.iter().enumerate() {
        payload[parts.group(i).expect("group")].copy_from_slice(text);
    }
    let keys: Vec<_> = keys[..groups.len()].iter().collect();
    let mut cache = SubkeyCache::new();
    seal_parts(id(LAYOUT), &keys, &mut cache, nonce(), &parts, &mut payload).expect("seal");
    (parts, payload)
}

fn opened(key: &LayoutKey, group: usize, parts: &Parts, payload: &[u8]) -> Result<Vec<u8>, Error> {
    let mut out = vec![0xaa; parts.group(group).expect("group").len()];
    match open_part(group, key, &mut SubkeyCache::new(), parts, payload, &mut out) {
        Ok(()) => Ok(out),
        Err(e) => {
            assert!(out.iter().all(|&b| b == 0), "something is left behind");
            Err(e)
        }
    }
}

fn keys() -> Vec<LayoutKey> {
    (1..=MAX_GROUPS as u16).map(key).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_group_comes_back_alone(
        clear in proptest::collection::vec(any::<u8>(), 0..600),
        groups in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..1300), 0..=MAX_GROUPS),
    ) {
        let keys = keys();
        let (parts, payload) = sealed(&keys, &clear, &groups);
        prop_assert_eq!(sealed_as(&payload), Ok((Build::Parts, id(LAYOUT))));
        prop_assert_eq!(sealed_layout(&payload), Err(Error::UnknownFormat));
        prop_assert_eq!(Parts::read(&payload, groups.len()), Ok(parts));
        prop_assert_eq!(&payload[parts.clear()], &clear[..]);
        for (i, text) in groups.iter().enumerate().rev() {
            prop_assert_eq!(&opened(&keys[i], i, &parts, &payload).expect("open"), text);
            for (j, other) in keys.iter().enumerate().filter(|(j, _)| *j != i) {
                prop_assert_eq!(opened(other, i, &parts, &payload), Err(Error::Damaged), "key {}", j);
            }
        }
    }

    /// Every byte but those of other groups is verified with a group.
    #[test]
    fn no_byte_can_be_changed(
        clear in proptest::collection::vec(any::<u8>(), 0..60),
        groups in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..60), 2..4),
        bit in 0u8..8,
    ) {
        let keys = keys();
        let (parts, mut payload) = sealed(&keys, &clear, &groups);
        let front = parts.clear().end;
        for at in 0..payload.len() {
            payload[at] ^= 1 << bit;
            match Parts::read(&payload, groups.len()) {
                // A length: the parts are no longer the whole, or other ones.
                Err(e) => prop_assert_eq!(e, Error::WrongLength),
                Ok(read) => {
                    let mut verified = false;
                    for (i, text) in groups.iter().enumerate() {
                        match opened(&keys[i], i, &read, &payload) {
                            Ok(out) => {
                                prop_assert_eq!(&out, text);
                                prop_assert!(at >= front, "byte {} is not verified by group {}", at, i);
                            }
                            Err(_) => verified = true,
                        }
                    }
                    prop_assert!(verified, "byte {} can be changed", at);
                }
            }
            payload[at] ^= 1 << bit;
        }
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300), count in 0usize..12) {
        if let Ok(parts) = Parts::read(&bytes, count) {
            prop_assert_eq!(parts.len(), bytes.len());
            prop_assert!(count <= MAX_GROUPS);
            for (i, key) in keys().iter().take(count).enumerate() {
                prop_assert_eq!(opened(key, i, &parts, &bytes), Err(Error::Damaged));
            }
        }
    }
}

#[test]
fn a_group_opens_only_beside_what_it_was_sealed_with() {
    let keys = keys();
    let (parts, one) = sealed(&keys, b"clear one", &[b"first".to_vec(), b"other".to_vec()]);
    let (_, two) = sealed(&keys, b"clear two", &[b"FIRST".to_vec(), b"OTHER".to_vec()]);
    // Nonce and key are the same here, which they never are: only the clear part tells them apart.
    let mut mixed = one.clone();
    let group = parts.group(1).expect("group");
    let group = group.start - TAG_LEN..group.end;
    mixed[group.clone()].copy_from_slice(&two[group]);
    assert_eq!(opened(&keys[0], 0, &parts, &mixed), Ok(b"first".to_vec()));
    assert_eq!(opened(&keys[1], 1, &parts, &mixed), Err(Error::Damaged));
}

#[test]
fn too_much_is_refused() {
    assert_eq!(Parts::new(1 << 16, []), Err(Error::WrongLength));
    assert_eq!(Parts::new(0, [1 << 16]), Err(Error::WrongLength));
    assert_eq!(Parts::new(0, [1; MAX_GROUPS + 1]), Err(Error::WrongLength));
    let (parts, payload) = sealed(&keys(), b"c", &[b"g".to_vec()]);
    assert_eq!(Parts::read(&payload, 0), Err(Error::WrongLength));
    assert_eq!(Parts::read(&payload, 2), Err(Error::WrongLength));
    let key = key(1);
    let mut again = payload.clone();
    let sealed = seal_parts(id(LAYOUT), &[], &mut SubkeyCache::new(), nonce(), &parts, &mut again);
    assert_eq!(sealed, Err(Error::WrongLength));
    let mut cache = SubkeyCache::new();
    assert_eq!(
        open_part(0, &key, &mut cache, &parts, &payload, &mut [0; 2]),
        Err(Error::WrongLength)
    );
    assert_eq!(
        open_part(1, &key, &mut cache, &parts, &payload, &mut [0; 1]),
        Err(Error::WrongLength)
    );
}
