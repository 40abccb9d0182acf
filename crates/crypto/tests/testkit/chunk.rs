//! TOAST chunks.

use sealed_crypto::{
    ChunkId, Error, LayoutKey, OVERHEAD, SubkeyCache, open_chunk, open_row, seal_chunk,
};

use crate::common::{Fixed, layout_key, nonce};

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
