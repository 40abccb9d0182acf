//! Properties over random inputs: what is written is read, what is read was written, and nothing
//! that is not ours gets through.

mod common;

use common::{Fixed, layout_key, master, nonce, secret};
use proptest::prelude::*;
use sealed_crypto::{
    ChunkId, DataKeyHeader, Id, IndexKey, KeyRecord, LayoutId, OVERHEAD, Plain, Seal, SubkeyCache,
    Suite, index_layout, open_chunk, open_row, parse_key_header, parse_seed_blob, plain_len,
    seal_chunk, seal_row, sealed_layout, unwrap_key, unwrap_seed, wrap_key, wrap_seed,
};

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..max)
}

fn suite() -> impl Strategy<Value = Suite> {
    prop::sample::select(&Suite::ALL[..])
}

proptest! {
    #[test]
    fn rows_round_trip(body in bytes(3000), dek: u8, layout in 1..=LayoutId::MAX, label: String) {
        let key = layout_key(dek, 1, layout);
        let mut cache = SubkeyCache::new();
        let mut payload = [&[0; OVERHEAD], &body[..]].concat();
        seal_row(&key, &mut cache, nonce(&mut Fixed::new(&label)), &mut payload)?;
        prop_assert_eq!(sealed_layout(&payload).map(LayoutId::get), Ok(layout));
        let mut out = vec![1; body.len()];
        open_row(&key, &mut cache, &payload, &mut out)?;
        prop_assert_eq!(&out, &body);
        // In an empty cache too.
        open_row(&key, &mut SubkeyCache::new(), &payload, &mut out)?;
        prop_assert_eq!(out, body);
    }

    #[test]
    fn index_keys_round_trip(
        body in bytes(3000),
        value: [u8; 8],
        dek: u8,
        layout in 1..=LayoutId::MAX,
        column: u16,
        same: bool,
        label: String,
    ) {
        let key = IndexKey::derive(&layout_key(dek, 1, layout), column);
        let (mut cache, mut rng) = (SubkeyCache::new(), Fixed::new(&label));
        let mut how = || if same { Seal::Same } else { Seal::Random(nonce(&mut rng)) };
        let short = key.seal_short(how(), value);
        prop_assert_eq!(index_layout(&short).map(LayoutId::get), Ok(layout));
        prop_assert_eq!(plain_len(&short), Ok(Plain::Short));
        prop_assert_eq!(key.open_short(&short), Ok(value));
        let how = how();
        let mut long = [&vec![0; IndexKey::room(&how)], &body[..]].concat();
        key.seal_long(how, &mut cache, &mut long)?;
        prop_assert_eq!(index_layout(&long).map(LayoutId::get), Ok(layout));
        prop_assert_eq!(plain_len(&long), Ok(Plain::Long(body.len())));
        let mut out = vec![1; body.len()];
        key.open_long(&mut SubkeyCache::new(), &long, &mut out)?;
        prop_assert_eq!(out, body);
    }

    #[test]
    fn damaged_index_keys_never_open(
        body in bytes(100),
        at: prop::sample::Index,
        xor in 1_u8..,
        same: bool,
        label: String,
    ) {
        let key = IndexKey::derive(&layout_key(1, 1, 1), 1);
        let (mut cache, mut rng) = (SubkeyCache::new(), Fixed::new(&label));
        let mut how = || if same { Seal::Same } else { Seal::Random(nonce(&mut rng)) };
        let mut short = key.seal_short(how(), [7; 8]);
        short[at.index(short.len())] ^= xor;
        prop_assert!(key.open_short(&short).is_err());
        let how = how();
        let mut long = [&vec![0; IndexKey::room(&how)], &body[..]].concat();
        key.seal_long(how, &mut cache, &mut long)?;
        let at = at.index(long.len());
        long[at] ^= xor;
        // In the head it may have another length, or be another format.
        if let Ok(Plain::Long(len)) = plain_len(&long) {
            let mut out = vec![1; len];
            prop_assert!(key.open_long(&mut cache, &long, &mut out).is_err());
            prop_assert!(out.iter().all(|byte| *byte == 0) || at < 4);
        }
    }

    #[test]
    fn equal_rows_do_not_look_equal(body in bytes(100), label: String) {
        let (key, mut cache, mut rng) = (layout_key(1, 1, 1), SubkeyCache::new(), Fixed::new(&label));
        let mut seal = || {
            let mut payload = [&[0; OVERHEAD], &body[..]].concat();
            seal_row(&key, &mut cache, nonce(&mut rng), &mut payload).map(|()| payload)
        };
        prop_assert_ne!(seal()?, seal()?);
    }

    #[test]
    fn damaged_rows_never_open(
        body in bytes(200),
        at: prop::sample::Index,
        xor in 1_u8..,
        label: String,
    ) {
        let (key, mut cache) = (layout_key(1, 1, 1), SubkeyCache::new());
        let mut payload = [&[0; OVERHEAD], &body[..]].concat();
        seal_row(&key, &mut cache, nonce(&mut Fixed::new(&label)), &mut payload)?;
        payload[at.index(OVERHEAD + body.len())] ^= xor;
        let mut out = vec![1; body.len()];
        prop_assert!(open_row(&key, &mut cache, &payload, &mut out).is_err());
        prop_assert!(out.iter().all(|b| *b == 0));
    }

    #[test]
    fn garbage_is_no_row(mut garbage in bytes(300), as_ours: bool) {
        if let (true, Some(head)) = (as_ours, garbage.get_mut(..4)) {
            head.copy_from_slice(&[0x10, 0, 0, 1]);
        }
        let mut out = vec![1; garbage.len().saturating_sub(OVERHEAD)];
        let opened = open_row(&layout_key(1, 1, 1), &mut SubkeyCache::new(), &garbage, &mut out);
        prop_assert!(opened.is_err());
        prop_assert!(out.iter().all(|b| *b == 0));
    }

    #[test]
    fn chunks_open_only_as_what_they_are(
        plain in bytes(200),
        id: (u32, u32, u32),
        other: (u32, u32, u32),
        label: String,
    ) {
        let chunk = |(value_id, seq, total)| ChunkId { value_id, seq, total };
        let (key, mut cache) = (layout_key(1, 1, 1), SubkeyCache::new());
        let mut payload = [&[0; OVERHEAD], &plain[..]].concat();
        let n = nonce(&mut Fixed::new(&label));
        seal_chunk(&key, &mut cache, n, &chunk(id), &mut payload)?;
        let mut out = vec![1; plain.len()];
        open_chunk(&key, &mut cache, &chunk(id), &payload, &mut out)?;
        prop_assert_eq!(&out, &plain);
        let opened = open_chunk(&key, &mut cache, &chunk(other), &payload, &mut out);
        prop_assert_eq!(opened.is_ok(), other == id);
    }

    #[test]
    fn seed_blobs_round_trip(suite in suite(), kek: u8, seed: u8, id: [u8; 16], label: String) {
        let blob = wrap_seed(&mut Fixed::new(&label), &secret(kek), &Id(id), suite, &secret(seed));
        prop_assert_eq!(parse_seed_blob(&blob), Ok((Id(id), suite)));
        prop_assert_eq!(unwrap_seed(&secret(kek), &Id(id), suite, &blob), Ok(secret(seed)));
    }

    #[test]
    fn garbage_is_no_seed_blob(mut garbage in bytes(160), as_ours: bool) {
        if let (true, Some(head)) = (as_ours, garbage.get_mut(..7)) {
            head.copy_from_slice(b"PGSS\x01\0\x01");
        }
        let _ = parse_seed_blob(&garbage);
        prop_assert!(unwrap_seed(&secret(0), &Id::NIL, Suite::XWingAes256, &garbage).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn key_records_round_trip(
        suite in suite(),
        app: bool,
        key_id: [u8; 16],
        table: [u8; 16],
        version: u32,
        created_us: i64,
        app_len in 16_usize..=64,
        label: String,
    ) {
        let (master, mut rng) = (master(suite), Fixed::new(&label));
        prop_assume!(table != [0; 16]);
        let (header, key) = if app {
            (DataKeyHeader::app_key(&master, Id(key_id), created_us), rng.vec(app_len))
        } else {
            let (id, table) = (Id(key_id), Id(table));
            (DataKeyHeader::data_key(&master, id, version, table, created_us), rng.vec(32))
        };
        let record = wrap_key(&mut rng, &master, &header, &key)?;
        prop_assert_eq!(parse_key_header(&record), Ok(header));
        let (h, k) = unwrap_key(&master, &record)?;
        prop_assert_eq!((h, &*k), (header, &key));
    }

    #[test]
    fn damaged_key_records_never_open(
        suite in suite(),
        at: prop::sample::Index,
        xor in 1_u8..,
        label: String,
    ) {
        let (master, mut rng) = (master(suite), Fixed::new(&label));
        let header = DataKeyHeader::data_key(&master, Id([1; 16]), 1, Id([2; 16]), 3);
        let mut record = wrap_key(&mut rng, &master, &header, &[4; 32])?;
        let at = at.index(record.len());
        record[at] ^= xor;
        prop_assert!(unwrap_key(&master, &record).is_err());
    }
}

proptest! {
    #[test]
    fn garbage_is_no_key_record(
        mut garbage in bytes(1500),
        suite in suite(),
        as_ours: bool,
        right_lengths: bool,
    ) {
        if as_ours && garbage.len() > 100 {
            garbage[..5].copy_from_slice(b"PGSK\x01");
            for (at, id) in [5, 7, 9].into_iter().zip(suite.hpke_ids()) {
                garbage[at..at + 2].copy_from_slice(&id.to_be_bytes());
            }
            garbage[11] = 1;
            garbage[12] = 1;
            if right_lengths {
                garbage.resize(89 + 2 + suite.enc_len() + 2 + 48, 7);
                garbage[89..91].copy_from_slice(&(suite.enc_len() as u16).to_be_bytes());
                let at = 91 + suite.enc_len();
                garbage[at..at + 2].copy_from_slice(&[0, 48]);
                prop_assert!(KeyRecord::parse(&garbage).is_ok());
            }
        } else {
            prop_assert!(KeyRecord::parse(&garbage).is_err());
        }
        prop_assert!(unwrap_key(&master(suite), &garbage).is_err());
    }
}
