//! Every backend of the processor against the `aes-gcm` crate, with keys, associated data and texts of any bytes and
//! lengths; and what is changed opens in none of them.
#![no_main]

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use libfuzzer_sys::fuzz_target;
use sealed_aead::{Backend, Error, Gcm};

fuzz_target!(|input: &[u8]| {
    // Key and IV from a few bytes, so that mutations go into the lengths and the texts.
    let Some((&[a, b, cut, more_len, at0, at1, flip], rest)) = input.split_first_chunk() else {
        return;
    };
    let key: [u8; 32] = core::array::from_fn(|i| a.rotate_left(i as u32) ^ b.wrapping_mul(i as u8));
    let iv: [u8; 12] = core::array::from_fn(|i| b.wrapping_add(a.wrapping_mul(i as u8)));
    let (aad, plain) = rest.split_at(usize::from(more_len).min(rest.len()));
    let (first, more) = aad.split_at(usize::from(cut).min(aad.len()));

    let mut expected = plain.to_vec();
    let theirs = Aes256Gcm::new(&key.into());
    let tag = theirs.encrypt_inout_detached(&iv.into(), aad, expected[..].as_mut().into());
    let Ok(tag) = tag.map(<[u8; 16]>::from) else { return };

    for backend in Backend::ALL.into_iter().filter(|b| b.is_available()) {
        let Ok(gcm) = Gcm::with(backend, &key, first) else { unreachable!() };
        // Of exactly this length on the heap: what is read or written beside it is beside an allocation.
        let mut text: Box<[u8]> = plain.into();
        assert_eq!(gcm.seal(&iv, more, &mut text), Ok(tag), "{backend:?}");
        assert_eq!(&*text, &*expected, "{backend:?}");
        let mut out: Box<[u8]> = vec![0xaa; plain.len()].into();
        assert_eq!(gcm.open(&iv, more, &text, &tag, &mut out), Ok(()), "{backend:?}");
        assert_eq!(&*out, plain, "{backend:?}");

        let at = usize::from(u16::from_be_bytes([at0, at1])) % (text.len() + tag.len());
        let mut wrong = tag;
        match text.get_mut(at) {
            Some(byte) => *byte ^= flip,
            None => wrong[at - plain.len()] ^= flip,
        }
        let before = text.clone();
        let opened = gcm.open_in_place(&iv, more, &mut text, &wrong);
        if flip == 0 {
            assert_eq!((opened, &*text), (Ok(()), plain), "{backend:?}");
        } else {
            assert_eq!((opened, text), (Err(Error::Refused), before), "{backend:?}");
        }
    }
});
