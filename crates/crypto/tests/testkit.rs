//! One named defect a test: what an attacker or a bad disk does to a stored thing, and the answer.

mod common;

use common::{Fixed, layout_key, master, nonce, secret};
use sealed_crypto::{
    ChunkId, DataKeyHeader, Error, HEADER_LEN, Id, KeyRecord, LayoutKey, MasterKey, Mode, OVERHEAD,
    RowBody, Secret, SubkeyCache, Suite, key_check_value, open_chunk, open_row, parse_key_header,
    parse_seed_blob, seal_chunk, seal_row, sealed_layout, unwrap_key, unwrap_seed, wrap_key,
    wrap_key_to, wrap_seed,
};

/// Rows.
mod row {
    use super::*;

    const BODY: &[u8] = b"\x00\x02\x18\0account 17\0balance 1000";

    fn sealed(key: &LayoutKey) -> Vec<u8> {
        let mut payload = [&[0; OVERHEAD], BODY].concat();
        let n = nonce(&mut Fixed::new("testkit row"));
        seal_row(key, &mut SubkeyCache::new(), n, &mut payload).expect("seal");
        payload
    }

    /// Opens into a buffer that is dirty before, and must be clean after a refusal.
    fn open(key: &LayoutKey, payload: &[u8]) -> Result<Vec<u8>, Error> {
        let mut body = vec![0xaa; payload.len().saturating_sub(OVERHEAD)];
        let opened = open_row(key, &mut SubkeyCache::new(), payload, &mut body);
        if opened.is_err() {
            assert!(body.iter().all(|b| *b == 0), "plaintext left behind");
        }
        opened.map(|()| body)
    }

    fn row_key() -> LayoutKey {
        layout_key(1, 2, 3)
    }

    fn flipped_at(range: std::ops::Range<usize>) {
        let payload = sealed(&row_key());
        for i in range {
            for bit in 0..8 {
                let mut bad = payload.clone();
                bad[i] ^= 1 << bit;
                assert!(open(&row_key(), &bad).is_err(), "byte {i} bit {bit}");
            }
        }
    }

    #[test]
    fn row_intact() {
        assert_eq!(open(&row_key(), &sealed(&row_key())).as_deref(), Ok(BODY));
    }

    #[test]
    fn row_format_flipped() {
        let mut bad = sealed(&row_key());
        for format in (0..16).filter(|f| *f != 1) {
            bad[0] = format << 4;
            assert_eq!(open(&row_key(), &bad), Err(Error::UnknownFormat));
            assert_eq!(sealed_layout(&bad), Err(Error::UnknownFormat));
        }
    }

    #[test]
    fn row_layout_flipped() {
        let mut bad = sealed(&row_key());
        bad[3] ^= 1;
        assert_eq!(open(&row_key(), &bad), Err(Error::WrongLayout));
        // Also when the reader is led to the keys of that layout.
        assert_eq!(open(&layout_key(1, 2, 2), &bad), Err(Error::Damaged));
    }

    #[test]
    fn row_layout_zero() {
        let mut bad = sealed(&row_key());
        bad[..4].copy_from_slice(&[0x10, 0, 0, 0]);
        assert_eq!(sealed_layout(&bad), Err(Error::Damaged));
        assert_eq!(open(&row_key(), &bad), Err(Error::Damaged));
    }

    #[test]
    fn row_salt_flipped() {
        flipped_at(4..12);
    }

    #[test]
    fn row_rnd_flipped() {
        flipped_at(12..18);
    }

    #[test]
    fn row_counter_flipped() {
        flipped_at(18..HEADER_LEN);
    }

    #[test]
    fn row_tag_flipped() {
        flipped_at(HEADER_LEN..OVERHEAD);
    }

    #[test]
    fn row_ciphertext_flipped() {
        flipped_at(OVERHEAD..OVERHEAD + BODY.len());
    }

    #[test]
    fn row_truncated() {
        let payload = sealed(&row_key());
        for len in 0..payload.len() {
            let expected = if len < OVERHEAD { Error::WrongLength } else { Error::Damaged };
            assert_eq!(open(&row_key(), &payload[..len]), Err(expected), "{len}");
        }
    }

    #[test]
    fn row_trailing_garbage() {
        let bad = [&sealed(&row_key())[..], &[0]].concat();
        assert_eq!(open(&row_key(), &bad), Err(Error::Damaged));
    }

    #[test]
    fn row_buffer_of_another_length() {
        let payload = sealed(&row_key());
        for len in [0, BODY.len() - 1, BODY.len() + 1] {
            let mut body = vec![0xaa; len];
            let opened = open_row(&row_key(), &mut SubkeyCache::new(), &payload, &mut body);
            assert_eq!(opened, Err(Error::WrongLength));
            assert!(body.iter().all(|b| *b == 0));
        }
    }

    #[test]
    fn row_from_other_table() {
        // Same data key and layout number: a database copied by CREATE DATABASE, say.
        assert_eq!(open(&layout_key(1, 9, 3), &sealed(&row_key())), Err(Error::Damaged));
    }

    #[test]
    fn row_from_other_data_key() {
        assert_eq!(open(&layout_key(9, 2, 3), &sealed(&row_key())), Err(Error::Damaged));
    }

    #[test]
    fn row_from_other_layout() {
        assert_eq!(open(&layout_key(1, 2, 4), &sealed(&row_key())), Err(Error::WrongLayout));
    }

    #[test]
    fn row_as_chunk() {
        let payload = sealed(&row_key());
        let id = ChunkId { value_id: 0, seq: 0, total: 0 };
        let mut plain = vec![0xaa; BODY.len()];
        let opened = open_chunk(&row_key(), &mut SubkeyCache::new(), &id, &payload, &mut plain);
        assert_eq!(opened, Err(Error::Damaged));
        assert!(plain.iter().all(|b| *b == 0));
    }

    #[test]
    fn rows_spliced() {
        // Header and tag of one row, ciphertext of another under the same subkey.
        let (key, mut rng) = (row_key(), Fixed::new("rows_spliced"));
        let mut one = [&[0; OVERHEAD], &b"one"[..]].concat();
        let mut two = [&[0; OVERHEAD], &b"two"[..]].concat();
        seal_row(&key, &mut SubkeyCache::new(), nonce(&mut rng), &mut one).expect("seal");
        seal_row(&key, &mut SubkeyCache::new(), nonce(&mut rng), &mut two).expect("seal");
        let bad = [&one[..OVERHEAD], &two[OVERHEAD..]].concat();
        assert_eq!(open(&key, &bad), Err(Error::Damaged));
    }

    #[test]
    fn row_body_claims_another_shape() {
        // What authentication cannot catch: a writer with the key and a bug.
        let good = [0, 9, 24, 0];
        assert!(RowBody::parse(&good).is_ok());
        let bad = |b: [u8; 4]| assert_eq!(RowBody::parse(&b), Err(Error::BadRowBody));
        bad([0x08, 9, 24, 0]); // a null bitmap of two bytes does not fit in t_hoff 24
        bad([0x80, 9, 24, 0]); // unknown flag
        bad([0, 9, 32, 0]); // t_hoff beyond the end, and not what nine attributes have
        bad([0x07, 0xff, 24, 0]); // 2047 attributes
    }
}

/// TOAST chunks.
mod chunk {
    use super::*;

    const ID: ChunkId = ChunkId { value_id: 16_400, seq: 1, total: 5000 };
    const PLAIN: &[u8] = b"a piece of a long value";

    fn sealed() -> Vec<u8> {
        let mut payload = [&[0; OVERHEAD], PLAIN].concat();
        let n = nonce(&mut Fixed::new("testkit chunk"));
        seal_chunk(&key(), &mut SubkeyCache::new(), n, &ID, &mut payload).expect("seal");
        payload
    }

    fn key() -> LayoutKey {
        layout_key(1, 2, 3)
    }

    fn open_as(id: ChunkId, payload: &[u8]) -> Result<Vec<u8>, Error> {
        let mut plain = vec![0xaa; payload.len().saturating_sub(OVERHEAD)];
        let opened = open_chunk(&key(), &mut SubkeyCache::new(), &id, payload, &mut plain);
        if opened.is_err() {
            assert!(plain.iter().all(|b| *b == 0), "plaintext left behind");
        }
        opened.map(|()| plain)
    }

    #[test]
    fn chunk_intact() {
        assert_eq!(open_as(ID, &sealed()).as_deref(), Ok(PLAIN));
    }

    #[test]
    fn chunk_reordered() {
        assert_eq!(open_as(ChunkId { seq: 2, ..ID }, &sealed()), Err(Error::Damaged));
    }

    #[test]
    fn chunk_from_other_value() {
        assert_eq!(open_as(ChunkId { value_id: 16_401, ..ID }, &sealed()), Err(Error::Damaged));
    }

    #[test]
    fn chunks_dropped_from_the_end() {
        assert_eq!(open_as(ChunkId { total: 4999, ..ID }, &sealed()), Err(Error::Damaged));
    }

    #[test]
    fn chunk_fields_shifted() {
        // The fields are of fixed width, so that no two of them can trade bytes.
        let id = ChunkId { value_id: ID.seq, seq: ID.value_id, total: ID.total };
        assert_eq!(open_as(id, &sealed()), Err(Error::Damaged));
    }

    #[test]
    fn chunk_truncated() {
        let payload = sealed();
        for len in 0..payload.len() {
            assert!(open_as(ID, &payload[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn chunk_flipped() {
        let payload = sealed();
        for bit in 0..payload.len() * 8 {
            let mut bad = payload.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(open_as(ID, &bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn chunk_as_row() {
        let mut body = vec![0xaa; PLAIN.len()];
        let opened = open_row(&key(), &mut SubkeyCache::new(), &sealed(), &mut body);
        assert_eq!(opened, Err(Error::Damaged));
    }
}

/// Key records.
mod record {
    use super::*;

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
    }
}

/// Seed blobs.
mod seed {
    use super::*;

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
}
