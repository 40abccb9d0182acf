//! What these tests share.
#![allow(dead_code)]

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use sealed_aead::{Backend, Error, Gcm, Tag};

/// Those of this processor. There are always two kinds of code at least where the reference is another crate.
pub fn backends() -> impl Iterator<Item = Backend> {
    Backend::ALL.into_iter().filter(|b| b.is_available())
}

pub fn bytes(len: usize, seed: usize) -> Vec<u8> {
    let mut x = seed as u64 | 1 << 40;
    let mut next = || {
        x = x.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (x >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Text and tag of the `aes-gcm` crate.
pub fn theirs(key: &[u8; 32], iv: &[u8; 12], aad: &[u8], plain: &[u8]) -> (Vec<u8>, Tag) {
    let mut text = plain.to_vec();
    let gcm = Aes256Gcm::new(key.into());
    let tag = gcm.encrypt_inout_detached(&(*iv).into(), aad, text[..].as_mut().into());
    (text, tag.expect("seal").into())
}

/// Every backend seals as the `aes-gcm` crate does, and opens that, in place and out of it; and not with a byte
/// changed somewhere.
pub fn check(key: &[u8; 32], iv: &[u8; 12], aad: &[u8], more: &[u8], plain: &[u8]) {
    let (sealed, tag) = theirs(key, iv, &[aad, more].concat(), plain);
    for backend in backends() {
        let gcm = Gcm::with(backend, key, aad).expect("backend");
        let mut text = plain.to_vec();
        let name = (backend, plain.len(), aad.len(), more.len());
        assert_eq!(gcm.seal(iv, more, &mut text), Ok(tag), "{name:?}");
        assert!(text == sealed, "{name:?}");
        let mut out = vec![0xaa; plain.len()];
        assert_eq!(gcm.open(iv, more, &text, &tag, &mut out), Ok(()), "{name:?}");
        assert!(out == plain, "{name:?}");
        assert_eq!(gcm.open_in_place(iv, more, &mut text, &tag), Ok(()), "{name:?}");
        assert!(text == plain, "{name:?}");

        let at = plain.len() * 7 + more.len();
        let mut wrong = tag;
        wrong[at % 16] ^= 1 << (at % 8);
        out.fill(0xaa);
        assert_eq!(gcm.open(iv, more, &sealed, &wrong, &mut out), Err(Error::Refused), "{name:?}");
        assert!(out.iter().all(|b| *b == 0xaa), "{name:?}: written before it was verified");
        if !plain.is_empty() {
            text.copy_from_slice(&sealed);
            text[at % plain.len()] ^= 0x80;
            assert_eq!(gcm.open(iv, more, &text, &tag, &mut out), Err(Error::Refused), "{name:?}");
            assert!(out.iter().all(|b| *b == 0xaa), "{name:?}: written before it was verified");
        }
    }
}
