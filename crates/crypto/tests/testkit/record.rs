//! Key records.

use sealed_crypto::{
    DataKeyHeader, Error, Id, KeyRecord, MasterKey, Mode, Suite, key_check_value, parse_key_header,
    unwrap_key, wrap_key, wrap_key_to,
};

use crate::common::{Fixed, master, secret};

const KEY: [u8; 32] = [0x33; 32];
// Offsets of docs/format.md.
const MODE: usize = 11;
const PURPOSE: usize = 12;
const RECIPIENT: usize = 13;
const KEY_ID: usize = 29;
const VERSION: usize = 45;
const TABLE: usize = 49;
const CREATED: usize = 65;
const CHECK_VALUE: usize = 73;
const ENC_LEN: usize = 89;

fn header(master: &MasterKey) -> DataKeyHeader {
    DataKeyHeader::data_key(master, Id([0xd1; 16]), 1, Id([0x70; 16]), 1_000_000)
}

fn record(suite: Suite) -> (MasterKey, Vec<u8>) {
    let master = master(suite);
    let mut rng = Fixed::new("testkit record");
    let record = wrap_key(&mut rng, &master, &header(&master), &KEY).expect("wrap");
    (master, record)
}

fn open(master: &MasterKey, record: &[u8]) -> Result<Vec<u8>, Error> {
    unwrap_key(master, record).map(|(_, key)| key.to_vec())
}

/// Flips a bit of each byte in a range, in records of both suites.
fn flipped(range: std::ops::Range<usize>, expected: Error) {
    for suite in Suite::ALL {
        let (master, good) = record(suite);
        for i in range.clone() {
            let mut bad = good.clone();
            bad[i] ^= 0x10;
            assert_eq!(open(&master, &bad), Err(expected), "{suite} byte {i}");
        }
    }
}

#[test]
fn record_intact() {
    for suite in Suite::ALL {
        let (master, good) = record(suite);
        assert_eq!(open(&master, &good).as_deref(), Ok(&KEY[..]));
    }
}

#[test]
fn record_truncated() {
    for suite in Suite::ALL {
        let (master, good) = record(suite);
        for len in 0..good.len() {
            assert_eq!(open(&master, &good[..len]), Err(Error::WrongLength), "{len}");
        }
    }
}

#[test]
fn record_trailing_garbage() {
    for suite in Suite::ALL {
        let (master, good) = record(suite);
        let bad = [&good[..], &[0]].concat();
        assert_eq!(open(&master, &bad), Err(Error::WrongLength));
    }
}

#[test]
fn record_magic_flipped() {
    flipped(0..4, Error::UnknownFormat);
}

#[test]
fn record_format_flipped() {
    flipped(4..5, Error::UnknownFormat);
}

#[test]
fn record_algorithms_flipped() {
    flipped(5..MODE, Error::UnknownSuite);
}

#[test]
fn record_suite_downgraded() {
    // The ids of another known suite, the lengths still of the first.
    let (master, one) = record(Suite::XWingAes256);
    let (_, two) = record(Suite::MlKem1024Aes256);
    let bad = [&one[..5], &two[5..MODE], &one[MODE..]].concat();
    assert_eq!(open(&master, &bad), Err(Error::WrongLength));
    // And the whole record, given to a master key of the other suite with the same id.
    assert_eq!(open(&master, &two), Err(Error::WrongRecipient));
}

#[test]
fn record_mode_unknown() {
    flipped(MODE..MODE + 1, Error::UnknownFormat);
}

#[test]
fn record_mode_relabelled() {
    let (master, good) = record(Suite::XWingAes256);
    let mut bad = good;
    bad[MODE] = Mode::Base as u8;
    assert_eq!(open(&master, &bad), Err(Error::BaseMode));
}

#[test]
fn record_mode_base_planted() {
    // An attacker who knows the public key, not the seed, makes a record for a key he knows.
    for suite in Suite::ALL {
        let master = master(suite);
        let mut rng = Fixed::new("attacker");
        let (h, public) = (header(&master), master.public_key());
        let planted = wrap_key_to(&mut rng, suite, h.recipient_id, &public, &h, &[0x66; 32]);
        let mut planted = planted.expect("wrap");
        assert_eq!(open(&master, &planted), Err(Error::BaseMode));
        // Relabelling it does not help: HPKE's key schedule names the mode.
        planted[MODE] = Mode::Psk as u8;
        assert_eq!(open(&master, &planted), Err(Error::Damaged));
    }
}

#[test]
fn record_purpose_unknown() {
    flipped(PURPOSE..PURPOSE + 1, Error::UnknownFormat);
}

#[test]
fn record_purpose_mixed() {
    // An application's key, which its user chose, put in the place of a table's.
    let (master, mut rng) = (master(Suite::XWingAes256), Fixed::new("record_purpose_mixed"));
    let app = DataKeyHeader::app_key(&master, Id([0xd1; 16]), 0);
    let mut bad = wrap_key(&mut rng, &master, &app, &KEY).expect("wrap");
    bad[PURPOSE] = 1;
    bad[TABLE..CREATED].fill(0x70);
    bad[CHECK_VALUE..ENC_LEN].copy_from_slice(&key_check_value(&KEY));
    assert!(parse_key_header(&bad).is_ok());
    assert_eq!(open(&master, &bad), Err(Error::Damaged));
}

#[test]
fn record_of_other_master() {
    flipped(RECIPIENT..KEY_ID, Error::WrongRecipient);
    let (_, good) = record(Suite::XWingAes256);
    let (mut id, suite) = (Id([0xa1; 16]), Suite::XWingAes256);
    // The right id and another seed: the pre-shared key differs, and the KEM key too.
    let other = MasterKey::derive(id, suite, &secret(0x41)).expect("derive");
    assert_eq!(open(&other, &good), Err(Error::Damaged));
    id.0[0] ^= 1;
    let other = MasterKey::derive(id, suite, &secret(0x40)).expect("derive");
    assert_eq!(open(&other, &good), Err(Error::WrongRecipient));
}

#[test]
fn record_key_id_flipped() {
    flipped(KEY_ID..VERSION, Error::Damaged);
}

#[test]
fn record_version_flipped() {
    flipped(VERSION..TABLE, Error::Damaged);
}

#[test]
fn record_moved_to_other_table() {
    flipped(TABLE..CREATED, Error::Damaged);
}

#[test]
fn record_created_flipped() {
    flipped(CREATED..CHECK_VALUE, Error::Damaged);
}

#[test]
fn record_check_value_flipped() {
    flipped(CHECK_VALUE..ENC_LEN, Error::Damaged);
}

#[test]
fn record_lengths_flipped() {
    flipped(ENC_LEN..ENC_LEN + 2, Error::WrongLength);
    for suite in Suite::ALL {
        let (master, good) = record(suite);
        for i in [0, 1] {
            let mut bad = good.clone();
            bad[ENC_LEN + 2 + suite.enc_len() + i] ^= 1;
            assert_eq!(open(&master, &bad), Err(Error::WrongLength));
        }
    }
}

#[test]
fn record_enc_flipped() {
    for suite in Suite::ALL {
        let (master, good) = record(suite);
        for i in (0..suite.enc_len()).step_by(131).chain([suite.enc_len() - 1]) {
            let mut bad = good.clone();
            bad[ENC_LEN + 2 + i] ^= 1;
            assert_eq!(open(&master, &bad), Err(Error::Damaged), "{suite} byte {i}");
        }
    }
}

#[test]
fn record_ciphertext_flipped() {
    for suite in Suite::ALL {
        let (master, good) = record(suite);
        for i in good.len() - 48..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 1;
            assert_eq!(open(&master, &bad), Err(Error::Damaged), "{suite} byte {i}");
        }
    }
}

#[test]
fn record_table_missing() {
    let (master, good) = record(Suite::XWingAes256);
    let mut bad = good;
    bad[TABLE..CREATED].fill(0);
    assert_eq!(parse_key_header(&bad), Err(Error::Damaged));
    assert_eq!(open(&master, &bad), Err(Error::Damaged));
}

#[test]
fn record_enc_of_another_record() {
    let (master, one) = record(Suite::XWingAes256);
    let mut rng = Fixed::new("another");
    let two = wrap_key(&mut rng, &master, &header(&master), &KEY).expect("wrap");
    let bad = [&one[..ENC_LEN + 2 + 1120], &two[ENC_LEN + 2 + 1120..]].concat();
    assert_eq!(open(&master, &bad), Err(Error::Damaged));
}

#[test]
fn record_with_a_low_order_x25519_share() {
    // The X25519 half of enc is zero: the shared secret of that half is known to everyone. The
    // other half and the pre-shared key still hold.
    let (master, good) = record(Suite::XWingAes256);
    let mut bad = good;
    bad[ENC_LEN + 2 + 1088..ENC_LEN + 2 + 1120].fill(0);
    assert_eq!(open(&master, &bad), Err(Error::Damaged));
}

#[test]
fn record_parses_alike_however_it_is_read() {
    let (master, good) = record(Suite::MlKem1024Aes256);
    let parsed = KeyRecord::parse(&good).expect("parse");
    assert_eq!(parsed.header, header(&master));
    assert_eq!(parsed.mode, Mode::Psk);
    assert_eq!(parsed.check_value, key_check_value(&KEY));
    assert_eq!(parse_key_header(&good), Ok(parsed.header));
    assert_eq!(parsed.to_bytes(), good);
}
