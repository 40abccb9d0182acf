use super::*;
use crate::{Dek, Id, NonceBlock, SaltState};

fn key(dek: u8, layout: u32, column: u16) -> IndexKey {
    let layout = LayoutId::new(layout).expect("layout id");
    let dek = Dek::from_fn(|b| b.fill(dek));
    IndexKey::derive(&LayoutKey::derive(&dek, &Id([7; 16]), layout), column)
}

fn nonces() -> NonceBlock {
    NonceBlock::new(SaltState::default().reserve(256, 0, || [0xfe; 8]), [3; 6])
}

fn random(block: &mut NonceBlock) -> Seal {
    Seal::Random(block.take().expect("nonce"))
}

fn long(key: &IndexKey, how: Seal, body: &[u8]) -> Vec<u8> {
    let mut payload = [&vec![0; IndexKey::room(&how)], body].concat();
    key.seal_long(how, &mut SubkeyCache::new(), &mut payload).expect("seal");
    payload
}

fn open(key: &IndexKey, sealed: &[u8]) -> Result<Vec<u8>, Error> {
    match plain_len(sealed)? {
        Plain::Short => key.open_short(sealed).map(Vec::from),
        Plain::Long(len) => {
            let mut out = vec![0xaa; len];
            key.open_long(&mut SubkeyCache::new(), sealed, &mut out).map(|()| out)
        }
    }
}

#[test]
fn a_key_opens_its_own() {
    let (key, mut block) = (key(1, 5, 2), nonces());
    for sealed in [
        key.seal_short(random(&mut block), *b"12345678").to_vec(),
        key.seal_short(Seal::Same, *b"12345678").to_vec(),
        long(&key, random(&mut block), b"12345678"),
        long(&key, Seal::Same, b"12345678"),
    ] {
        assert_eq!(index_layout(&sealed).map(LayoutId::get), Ok(5));
        assert_eq!(open(&key, &sealed).as_deref(), Ok(&b"12345678"[..]));
    }
    for how in [random(&mut block), Seal::Same] {
        assert_eq!(open(&key, &long(&key, how, b"")), Ok(vec![]));
    }
}

#[test]
fn nothing_else_opens_it() {
    let (mine, mut block) = (key(1, 5, 2), nonces());
    for other in [key(2, 5, 2), key(1, 5, 3)] {
        assert_eq!(open(&other, &mine.seal_short(Seal::Same, [9; 8])), Err(Error::Damaged));
        assert_eq!(open(&other, &long(&mine, random(&mut block), b"x")), Err(Error::Damaged));
        assert_eq!(open(&other, &long(&mine, Seal::Same, b"x")), Err(Error::Damaged));
        // One in 2^32 of these opens; not this one.
        let short = mine.seal_short(random(&mut block), [9; 8]);
        assert_eq!(open(&other, &short), Err(Error::Damaged));
    }
    let other = key(1, 6, 2);
    assert_eq!(open(&other, &mine.seal_short(Seal::Same, [9; 8])), Err(Error::WrongLayout));
    assert_eq!(open(&other, &long(&mine, Seal::Same, b"x")), Err(Error::WrongLayout));
}

#[test]
fn equal_values_look_different_unless_asked_otherwise() {
    let (key, mut block) = (key(1, 5, 2), nonces());
    let mut seen = std::collections::HashSet::new();
    for _ in 0..100 {
        assert!(seen.insert(key.seal_short(random(&mut block), [1; 8]).to_vec()));
        assert!(seen.insert(long(&key, random(&mut block), b"same")));
    }
    assert_eq!(key.seal_short(Seal::Same, [1; 8]), key.seal_short(Seal::Same, [1; 8]));
    assert_eq!(long(&key, Seal::Same, b"same"), long(&key, Seal::Same, b"same"));
}

#[test]
fn lengths_and_formats_are_checked() {
    let key = key(1, 5, 2);
    let short = key.seal_short(Seal::Same, [1; 8]);
    assert_eq!(open(&key, &short[..19]), Err(Error::WrongLength));
    assert_eq!(open(&key, &[&short[..], &[0]].concat()), Err(Error::WrongLength));
    assert_eq!(plain_len(&[]), Err(Error::WrongLength));
    for format in [0, 1, 2, 7, 15] {
        let mut other = short;
        other[0] = format << 4 | other[0] & 15;
        assert_eq!(open(&key, &other), Err(Error::UnknownFormat));
        assert_eq!(key.open_short(&other), Err(Error::UnknownFormat));
    }
    // A value of one length is not taken for one of the other.
    let mut same = long(&key, Seal::Same, b"12345678");
    same[0] = short[0];
    assert_eq!(key.open_short(&same), Err(Error::WrongLength));
    let mut out = [0; 0];
    let opened = key.open_long(&mut SubkeyCache::new(), &short, &mut out);
    assert_eq!(opened, Err(Error::WrongLength));
}

#[test]
fn a_hash_depends_on_the_key_alone() {
    let hash = |dek, layout, column| key(dek, layout, column).hash(7);
    assert_eq!(hash(1, 5, 2), hash(1, 5, 2));
    for other in [hash(2, 5, 2), hash(1, 6, 2), hash(1, 5, 3), key(1, 5, 2).hash(8), 7] {
        assert_ne!(hash(1, 5, 2), other);
    }
}
