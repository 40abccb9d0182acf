//! Rows.

use sealed_crypto::{
    ChunkId, Error, HEADER_LEN, LayoutKey, OVERHEAD, RowBody, SubkeyCache, open_chunk, open_row,
    seal_row, sealed_layout,
};

use crate::common::{Fixed, layout_key, nonce};

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
