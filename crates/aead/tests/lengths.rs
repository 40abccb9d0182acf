//! Every length, with each backend that this processor has, against the `aes-gcm` crate.

mod common;

use common::{backends, bytes, check, theirs};
use sealed_aead::{Error, Gcm};

#[test]
fn every_length_as_the_aes_gcm_crate_has_it() {
    let key = core::array::from_fn(|i| i as u8 ^ 0x42);
    for len in 0..=9000 {
        let plain = bytes(len, len);
        let mut iv = [0x5a; 12];
        iv[2..10].copy_from_slice(&len.to_be_bytes());
        // Short ones with and without blocks and remainders of associated data, on either side.
        let aad = bytes(len % 53, len + 1);
        let more = bytes(len % 7 * (len % 11), len + 2);
        check(&key, &iv, &aad, &more, &plain);
    }
}

#[test]
fn lengths_of_associated_data_as_the_aes_gcm_crate_has_them() {
    let key = core::array::from_fn(|i| i as u8 ^ 0x17);
    for len in [0, 1, 16, 100, 240, 241, 700] {
        let plain = bytes(len, len);
        for aad in (0..70).chain([255, 256, 257, 511, 512, 1000]) {
            for more in [0, 1, 5, 11, 15, 16, 17, 32, 100, 255, 256, 257, 600] {
                check(&key, &[3; 12], &bytes(aad, 1), &bytes(more, 2), &plain);
            }
        }
    }
}

#[test]
fn long_ones() {
    for len in [16_383, 16_384, 65_535, 65_536, 65_552, 1 << 20, (1 << 20) + 77] {
        check(&[9; 32], &[0xff; 12], b"aad", &[], &bytes(len, 3));
    }
}

/// All of a short message: each bit of text, tag, associated data and IV, and each bit of the key.
#[test]
fn every_bit_counts() {
    for backend in backends() {
        for len in [
            0, 1, 7, 8, 15, 16, 17, 33, 48, 49, 63, 64, 65, 100, 112, 113, 127, 128, 130, 200, 240,
            241, 256, 300,
        ] {
            let (key, iv) = (core::array::from_fn(|i| i as u8), core::array::from_fn(|i| !i as u8));
            let (aad, more, plain) = (bytes(20, 1), bytes(9, 2), bytes(len, 3));
            let gcm = Gcm::with(backend, &key, &aad).expect("backend");
            let mut text = plain.clone();
            let tag = gcm.seal(&iv, &more, &mut text).expect("seal");
            let refused = |gcm: &Gcm, iv: &[u8; 12], more: &[u8], text: &[u8], tag: &[u8; 16]| {
                let mut out = vec![0xaa; text.len()];
                assert_eq!(gcm.open(iv, more, text, tag, &mut out), Err(Error::Refused));
                assert!(out.iter().all(|b| *b == 0xaa), "written before it was verified");
                out.copy_from_slice(text);
                assert_eq!(gcm.open_in_place(iv, more, &mut out, tag), Err(Error::Refused));
                assert_eq!(out, text, "written before it was verified");
            };
            let flipped = |at: usize, of: &[u8]| {
                let mut of = of.to_vec();
                of[at / 8] ^= 1 << (at % 8);
                of
            };
            for bit in 0..8 * len {
                refused(&gcm, &iv, &more, &flipped(bit, &text), &tag);
            }
            for bit in 0..128 {
                let tag = flipped(bit, &tag).try_into().expect("tag");
                refused(&gcm, &iv, &more, &text, &tag);
            }
            for bit in 0..96 {
                let iv = flipped(bit, &iv).try_into().expect("iv");
                refused(&gcm, &iv, &more, &text, &tag);
            }
            for bit in 0..8 * more.len() {
                refused(&gcm, &iv, &flipped(bit, &more), &text, &tag);
            }
            for bit in 0..8 * aad.len() {
                let gcm = Gcm::with(backend, &key, &flipped(bit, &aad)).expect("backend");
                refused(&gcm, &iv, &more, &text, &tag);
            }
            for bit in 0..256 {
                let key = flipped(bit, &key).try_into().expect("key");
                refused(&Gcm::with(backend, &key, &aad).expect("backend"), &iv, &more, &text, &tag);
            }
            // Shorter and longer, and a byte moved from one kind of data to the other.
            if let Some((_, shorter)) = text.split_last() {
                refused(&gcm, &iv, &more, shorter, &tag);
            }
            refused(&gcm, &iv, &more, &[&text[..], &[0]].concat(), &tag);
            refused(&gcm, &iv, &[&more[..], &[0]].concat(), &text, &tag);
            refused(&gcm, &iv, &more[..8], &text, &tag);
            if len > 0 {
                let longer = [&more[..], &text[..1]].concat();
                refused(&gcm, &iv, &longer, &text[1..], &tag);
            }
            let mut out = vec![0; len];
            assert_eq!(gcm.open(&iv, &more, &text, &tag, &mut out), Ok(()));
            assert_eq!(out, plain);
        }
    }
}

#[test]
fn a_place_of_another_length_is_refused() {
    for backend in backends() {
        let gcm = Gcm::with(backend, &[1; 32], &[]).expect("backend");
        let mut text = [5; 30];
        let tag = gcm.seal(&[0; 12], &[], &mut text).expect("seal");
        for len in [0, 29, 31, 64] {
            let mut out = vec![0xaa; len];
            assert_eq!(gcm.open(&[0; 12], &[], &text, &tag, &mut out), Err(Error::Length));
            assert!(out.iter().all(|b| *b == 0xaa));
        }
    }
}

#[test]
fn another_key_in_the_same_place() {
    for backend in backends() {
        let mut gcm = Gcm::with(backend, &[1; 32], b"something else").expect("backend");
        for (key, aad) in [([2; 32], &b"short"[..]), ([3; 32], &[7; 32]), ([4; 32], &[])] {
            gcm.rekey(&key, aad);
            let mut text = bytes(77, 4);
            let tag = gcm.seal(&[8; 12], b"more", &mut text);
            let (sealed, expected) =
                theirs(&key, &[8; 12], &[aad, b"more"].concat(), &bytes(77, 4));
            assert_eq!((text, tag), (sealed, Ok(expected)));
        }
    }
}

/// What stands around a text is not touched.
#[test]
fn nothing_beyond_the_text_is_written() {
    for backend in backends() {
        let gcm = Gcm::with(backend, &[1; 32], &[]).expect("backend");
        for len in 0..600 {
            let mut space = vec![0xc3; len + 128];
            let tag = gcm.seal(&[0; 12], &[], &mut space[64..64 + len]).expect("seal");
            let sealed = space[64..64 + len].to_vec();
            let mut out = vec![0xc3; len + 128];
            gcm.open(&[0; 12], &[], &sealed, &tag, &mut out[64..64 + len]).expect("open");
            gcm.open_in_place(&[0; 12], &[], &mut space[64..64 + len], &tag).expect("open");
            assert_eq!(space, out);
            assert!(space[..64].iter().chain(&space[64 + len..]).all(|b| *b == 0xc3));
            assert!(space[64..64 + len].iter().all(|b| *b == 0xc3));
        }
    }
}
