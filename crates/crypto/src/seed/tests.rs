use super::*;
use crate::KernelRng;

#[test]
fn a_seed_comes_back_and_only_to_its_key() {
    let kek = Secret::random(&mut KernelRng);
    let seed = MasterSeed::random(&mut KernelRng);
    for suite in Suite::ALL {
        let id = Id::make(&mut KernelRng);
        let blob = wrap_seed(&mut KernelRng, &kek, &id, suite, &seed);
        assert_eq!(blob.len(), BLOB_LEN);
        assert_eq!(parse_seed_blob(&blob), Ok((id, suite)));
        assert_eq!(unwrap_seed(&kek, &id, suite, &blob), Ok(seed.copy()));
        let other = Secret::random(&mut KernelRng);
        assert_eq!(unwrap_seed(&other, &id, suite, &blob), Err(Error::WrongKey));
        assert_eq!(unwrap_seed(&kek, &Id::NIL, suite, &blob), Err(Error::WrongRecipient));
        assert_ne!(blob, wrap_seed(&mut KernelRng, &kek, &id, suite, &seed));
    }
}

#[test]
fn every_flipped_bit_and_every_other_length_is_refused() {
    let (kek, seed) = (Secret::random(&mut KernelRng), MasterSeed::random(&mut KernelRng));
    let (id, suite) = (Id::make(&mut KernelRng), Suite::XWingAes256);
    let blob = wrap_seed(&mut KernelRng, &kek, &id, suite, &seed);
    for bit in 0..blob.len() * 8 {
        let mut bad = blob.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(unwrap_seed(&kek, &id, suite, &bad).is_err(), "bit {bit}");
    }
    for len in 0..blob.len() {
        assert_eq!(unwrap_seed(&kek, &id, suite, &blob[..len]), Err(Error::WrongLength));
    }
    let long = [&blob[..], &[0]].concat();
    assert_eq!(unwrap_seed(&kek, &id, suite, &long), Err(Error::WrongLength));
}
