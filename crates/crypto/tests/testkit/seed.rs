//! Seed blobs.

use sealed_crypto::{Error, Id, Secret, Suite, parse_seed_blob, unwrap_seed, wrap_seed};

use crate::common::{Fixed, secret};

const ID: Id = Id([0xa1; 16]);
const SUITE: Suite = Suite::XWingAes256;

fn blob() -> Vec<u8> {
    wrap_seed(&mut Fixed::new("testkit seed"), &secret(0x80), &ID, SUITE, &secret(0x40))
}

fn open(blob: &[u8]) -> Result<Secret<32>, Error> {
    unwrap_seed(&secret(0x80), &ID, SUITE, blob)
}

fn flipped(range: std::ops::Range<usize>, expected: Error) {
    for i in range {
        let mut bad = blob();
        bad[i] ^= 0x10;
        assert_eq!(open(&bad), Err(expected), "byte {i}");
    }
}

#[test]
fn seed_intact() {
    assert_eq!(open(&blob()), Ok(secret(0x40)));
    assert_eq!(parse_seed_blob(&blob()), Ok((ID, SUITE)));
}

#[test]
fn seed_wrong_passphrase() {
    let opened = unwrap_seed(&secret(0x81), &ID, SUITE, &blob());
    assert_eq!(opened, Err(Error::WrongKey));
}

#[test]
fn seed_magic_or_format_flipped() {
    flipped(0..5, Error::UnknownFormat);
}

#[test]
fn seed_suite_flipped() {
    flipped(5..7, Error::UnknownSuite);
    let mut bad = blob();
    bad[6] = 2;
    assert_eq!(open(&bad), Err(Error::WrongRecipient));
    let as_other = unwrap_seed(&secret(0x80), &ID, Suite::MlKem1024Aes256, &bad);
    assert_eq!(as_other, Err(Error::WrongKey));
}

#[test]
fn seed_of_other_master() {
    flipped(7..23, Error::WrongRecipient);
}

#[test]
fn seed_salt_flipped() {
    flipped(23..55, Error::WrongKey);
}

#[test]
fn seed_commitment_flipped() {
    flipped(55..87, Error::WrongKey);
}

#[test]
fn seed_length_flipped() {
    flipped(87..89, Error::WrongLength);
}

#[test]
fn seed_ciphertext_or_tag_flipped() {
    flipped(89..137, Error::Damaged);
}

#[test]
fn seed_truncated_or_longer() {
    let good = blob();
    for len in 0..good.len() {
        assert_eq!(open(&good[..len]), Err(Error::WrongLength));
    }
    assert_eq!(open(&[&good[..], &[0]].concat()), Err(Error::WrongLength));
}
