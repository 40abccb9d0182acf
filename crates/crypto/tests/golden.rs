//! Golden files: bytes of formats v1 to v3, which every later version must open. New files may be added;
//! an existing one is never edited or written again (`tests/data/README.md`).
//!
//! A file has one `name = hex` a line. What was put in is in the file too, so that another
//! implementation can be checked with the files and docs/format.md alone.

mod common;

use common::{File, Fixed, layout_key, master, nonce, secret};
use sealed_crypto::{
    Build, ChunkId, DataKeyHeader, Dek, Id, IndexKey, LayoutId, LayoutKey, MasterKey, MasterSeed,
    OVERHEAD, Parts, Plain, RowBody, Seal, Secret, SubkeyCache, Suite, generate_recipient,
    index_layout, key_check_value, open_chunk, open_part, open_recipient_record, open_row,
    plain_len, seal_chunk, seal_parts, seal_row, sealed_as, sealed_layout, unwrap_key, unwrap_seed,
    wrap_key, wrap_key_to, wrap_seed,
};

#[test]
fn rows_v1() {
    let files = ["row_empty", "row_short", "row_nulls", "row_long", "row_max_layout"];
    for name in files {
        let f = golden(name);
        let key = layout_key_of(&f);
        let (body, payload) = (f.bytes("body"), f.bytes("payload"));
        assert_eq!(sealed_layout(&payload), Ok(key.layout()), "{name}");
        let mut out = vec![0xaa; payload.len() - OVERHEAD];
        open_row(&key, &mut SubkeyCache::new(), &payload, &mut out).expect(name);
        assert_eq!(out, body, "{name}");
    }
    let nulls = RowBody::parse(&golden("row_nulls").bytes("body"));
    let expected =
        RowBody { natts: 9, has_null: true, has_varwidth: true, has_external: false, hoff: 32 };
    assert_eq!(nulls, Ok(expected));
}

#[test]
fn chunks_v1() {
    for name in ["chunk_first", "chunk_last"] {
        let f = golden(name);
        let (plain, payload) = (f.bytes("plain"), f.bytes("payload"));
        let id = ChunkId { value_id: f.u32("value_id"), seq: f.u32("seq"), total: f.u32("total") };
        let mut out = vec![0xaa; plain.len()];
        let mut cache = SubkeyCache::new();
        open_chunk(&layout_key_of(&f), &mut cache, &id, &payload, &mut out).expect(name);
        assert_eq!(out, plain, "{name}");
    }
}

#[test]
fn index_keys_v3() {
    for name in ["index_short", "index_long", "index_same_short", "index_same_long"] {
        let f = File::read("v3", name);
        let key = IndexKey::derive(&layout_key_of(&f), f.u32("column") as u16);
        let (plain, sealed) = (f.bytes("plain"), f.bytes("sealed"));
        assert_eq!(index_layout(&sealed), Ok(key.layout()), "{name}");
        let opened = match plain_len(&sealed).expect(name) {
            Plain::Short => key.open_short(&sealed).expect(name).to_vec(),
            Plain::Long(len) => {
                let mut out = vec![0xaa; len];
                key.open_long(&mut SubkeyCache::new(), &sealed, &mut out).expect(name);
                out
            }
        };
        assert_eq!(opened, plain, "{name}");
    }
}

#[test]
fn index_hash_v3() {
    let f = File::read("v3", "index_hash");
    let key = IndexKey::derive(&layout_key_of(&f), f.u32("column") as u16);
    assert_eq!(key.hash(f.u32("plain")).to_be_bytes(), f.bytes("hash")[..]);
}

/// Wrote its file, once.
#[test]
#[ignore = "writes a golden file that is there already"]
fn generate_index_hash() {
    let key = IndexKey::derive(&layout_key(0x10, 0x70, 77), 3);
    let plain = Fixed::new("index_hash").vec(4);
    let value = u32::from_be_bytes(plain[..].try_into().expect("4 bytes"));
    let mut f = layout_fields(77);
    f.put("column", &3_u32.to_be_bytes());
    f.put("plain", &plain);
    f.put("hash", &key.hash(value).to_be_bytes());
    f.save("v3", "index_hash");
}

/// Wrote the files of v3, once.
#[test]
#[ignore = "writes golden files that are there already"]
fn generate_index_keys() {
    let layout = layout_key(0x10, 0x70, 77);
    let key = IndexKey::derive(&layout, 3);
    for (name, same, len) in [
        ("index_short", false, 8),
        ("index_long", false, 25),
        ("index_same_short", true, 8),
        ("index_same_long", true, 25),
    ] {
        let mut rng = Fixed::new(name);
        let plain = rng.vec(len);
        let how = if same { Seal::Same } else { Seal::Random(nonce(&mut rng)) };
        let sealed = match <[u8; 8]>::try_from(&plain[..]) {
            Ok(value) => key.seal_short(how, value).to_vec(),
            Err(_) => {
                let mut payload = [&vec![0; IndexKey::room(&how)], &plain[..]].concat();
                key.seal_long(how, &mut SubkeyCache::new(), &mut payload).expect("seal");
                payload
            }
        };
        let mut f = layout_fields(77);
        f.put("column", &3_u32.to_be_bytes());
        f.put("plain", &plain);
        f.put("sealed", &sealed);
        f.save("v3", name);
    }
}

#[test]
fn parts_v2() {
    for name in ["parts_none_clear", "parts_one", "parts_eight", "parts_nothing_sealed"] {
        let f = File::read("v2", name);
        let (clear, payload) = (f.bytes("clear"), f.bytes("payload"));
        let layout = LayoutId::new(f.u32("layout")).expect("layout id");
        assert_eq!(sealed_as(&payload), Ok((Build::Parts, layout)), "{name}");
        let parts = Parts::read(&payload, f.u32("groups") as usize).expect(name);
        assert_eq!(payload[parts.clear()], clear, "{name}");
        for group in 0..parts.count() {
            let number = group + 1;
            let body = f.bytes(&format!("body_{number}"));
            let layout = LayoutId::new(f.u32(&format!("layout_{number}"))).expect("layout id");
            let dek = Dek::from_slice(&f.bytes(&format!("dek_{number}"))).expect("32 bytes");
            let key = LayoutKey::derive_group(&dek, &Id(f.array("table")), layout, number as u16);
            let mut out = vec![0xaa; body.len()];
            open_part(group, &key, &mut SubkeyCache::new(), &parts, &payload, &mut out)
                .expect(name);
            assert_eq!(out, body, "{name}, group {number}");
        }
    }
}

/// Wrote the files of rows of several parts, which came later.
#[test]
#[ignore = "writes golden files of a format that is still missing them"]
fn generate_parts() {
    let tuple = |natts: u8, values: &[u8]| [&[0, natts, 24, 0][..], values].concat();
    let long = tuple(2, &Fixed::new("parts_long").vec(2000));
    let short = tuple(1, b"\x2a\0\0\0");
    write_parts("parts_none_clear", 1, b"", &[short.clone(), long.clone()]);
    write_parts(
        "parts_one",
        LayoutId::MAX,
        &tuple(2, b"\x01\0\0\0\x0bplain"),
        std::slice::from_ref(&short),
    );
    write_parts(
        "parts_eight",
        77,
        &short,
        &[&short, &long, &vec![], &short, &short, &short, &short, &short].map(Clone::clone),
    );
    write_parts("parts_nothing_sealed", 77, &short, &[]);
}

fn write_parts(name: &str, layout: u32, clear: &[u8], bodies: &[Vec<u8>]) {
    let mut f = File::default();
    f.put("table", &[0x70; 16]);
    f.put("layout", &layout.to_be_bytes());
    f.put("groups", &(bodies.len() as u32).to_be_bytes());
    f.put("clear", clear);
    let parts = Parts::new(clear.len(), bodies.iter().map(Vec::len)).expect("parts");
    let mut payload = vec![0; parts.len()];
    payload[parts.clear()].copy_from_slice(clear);
    let mut keys = Vec::new();
    for (i, body) in bodies.iter().enumerate() {
        let (number, dek) = (i as u16 + 1, secret(0x10 + i as u8));
        let layout = LayoutId::new(100 + u32::from(number)).expect("layout id");
        f.put(&format!("dek_{number}"), dek.expose());
        f.put(&format!("layout_{number}"), &layout.get().to_be_bytes());
        f.put(&format!("body_{number}"), body);
        keys.push(LayoutKey::derive_group(&dek, &Id([0x70; 16]), layout, number));
        payload[parts.group(i).expect("group")].copy_from_slice(body);
    }
    let layout = LayoutId::new(layout).expect("layout id");
    let keys: Vec<_> = keys.iter().collect();
    let n = nonce(&mut Fixed::new(name));
    seal_parts(layout, &keys, &mut SubkeyCache::new(), n, &parts, &mut payload).expect("seal");
    f.put("payload", &payload);
    f.save("v2", name);
}

#[test]
fn key_records_v1() {
    for suite in Suite::ALL {
        for name in ["data_key", "app_key"] {
            let f = golden(&format!("{name}_{suite}"));
            let seed: MasterSeed = Secret::from_slice(&f.bytes("master_seed")).expect("32 bytes");
            let master = MasterKey::derive(Id(f.array("master_id")), suite, &seed).expect("derive");
            assert_eq!(master.public_key(), f.bytes("public_key"));
            assert_eq!(master.check_value(), f.array("master_check_value"));
            let (header, key) = unwrap_key(&master, &f.bytes("record")).expect("unwrap");
            assert_eq!(*key, f.bytes("key"));
            assert_eq!(header.key_id, Id(f.array("key_id")));
            assert_eq!(header.table, Id(f.array("table")));
            assert_eq!(header.version, f.u32("version"));
            assert_eq!(header.created_us, i64::from_be_bytes(f.array("created_us")));
            if name == "data_key" {
                let key: [u8; 32] = f.array("key");
                assert_eq!(key_check_value(&key), f.array("check_value"));
            }
        }
        let f = golden(&format!("recipient_{suite}"));
        let opened = open_recipient_record(&f.bytes("private_key"), &f.bytes("record"));
        assert_eq!(*opened.expect("open").1, f.bytes("key"));
    }
}

#[test]
fn seed_blobs_v1() {
    for suite in Suite::ALL {
        let f = golden(&format!("seed_{suite}"));
        let kek = Secret::from_slice(&f.bytes("kek")).expect("32 bytes");
        let seed = unwrap_seed(&kek, &Id(f.array("master_id")), suite, &f.bytes("blob"));
        assert_eq!(seed.expect("unwrap").expose()[..], f.bytes("seed"));
    }
}

#[test]
fn legacy_recipient_records_v1() {
    let f = golden("recipient_x25519-aes256gcm");
    let (header, key) =
        open_recipient_record(&f.bytes("private_key"), &f.bytes("record")).expect("open");
    assert_eq!(*key, f.bytes("key"));
    assert_eq!((header.suite, header.version), (Suite::X25519Aes256, f.u32("version")));
    // The server has no master key of this suite, so nothing it trusts can be of it.
    let master = MasterKey::derive(header.recipient_id, Suite::X25519Aes256, &secret(0x40));
    assert!(master.is_err());
    assert!(unwrap_key(&common::master(Suite::XWingAes256), &f.bytes("record")).is_err());
}

/// Wrote the file of the legacy suite, which came later.
#[test]
#[ignore = "writes a golden file of a format that is still missing it"]
fn generate_legacy() {
    let suite = Suite::X25519Aes256;
    let mut rng = Fixed::new(suite.name());
    let key: Dek = secret(0x10);
    let (private, public) = generate_recipient(&mut rng, suite);
    let header = DataKeyHeader {
        suite,
        purpose: sealed_crypto::Purpose::DataKey,
        recipient_id: Id([0xe5; 16]),
        key_id: Id([0xd1; 16]),
        version: 7,
        table: Id([0x70; 16]),
        created_us: 850_000_000_000_000,
    };
    let mut f = record_fields(&header, key.expose());
    f.put("private_key", &private);
    f.put("public_key", &public);
    let id = header.recipient_id;
    let record = wrap_key_to(&mut rng, suite, id, &public, &header, key.expose());
    f.put("record", &record.expect("wrap"));
    f.save("v1", &format!("recipient_{suite}"));
}

/// Wrote the files. Refuses to touch one that is there.
#[test]
#[ignore = "writes golden files of a format that is still missing them"]
fn generate() {
    rows();
    chunks();
    records();
    seeds();
}

fn rows() {
    let parse_ok = |body: &[u8]| assert!(RowBody::parse(body).is_ok());
    // An empty body is no row of a table, but a valid message.
    write_row("row_empty", 1, b"");
    let short = [&[0x00, 3, 24, 0][..], b"\x2a\0\0\0"].concat();
    parse_ok(&short);
    write_row("row_short", 1, &short);
    // Nine attributes, HASNULL and HASVARWIDTH, two bytes of null bitmap, padded to hoff 32.
    let nulls = [&[0x18, 9, 32, 0xff, 0, 0, 0, 0, 0, 0, 0, 0][..], b"\x0dhello!"].concat();
    parse_ok(&nulls);
    write_row("row_nulls", 77, &nulls);
    let long = [&[0x30, 2, 24, 0][..], &Fixed::new("row_long").vec(5000)].concat();
    parse_ok(&long);
    write_row("row_long", 77, &long);
    write_row("row_max_layout", LayoutId::MAX, &short);
}

fn write_row(name: &str, layout: u32, body: &[u8]) {
    let mut payload = [&[0; OVERHEAD], body].concat();
    let key = layout_key(0x10, 0x70, layout);
    let n = nonce(&mut Fixed::new(name));
    seal_row(&key, &mut SubkeyCache::new(), n, &mut payload).expect("seal");
    let mut f = layout_fields(layout);
    f.put("body", body);
    f.put("payload", &payload);
    f.save("v1", name);
}

fn chunks() {
    let total = 3 * sealed_crypto::CHUNK_PLAIN as u32 + 100;
    for (name, seq, len) in [("chunk_first", 0, sealed_crypto::CHUNK_PLAIN), ("chunk_last", 3, 100)]
    {
        let mut rng = Fixed::new(name);
        let plain = rng.vec(len);
        let mut payload = [&[0; OVERHEAD], &plain[..]].concat();
        let id = ChunkId { value_id: 16_384, seq, total };
        let key = layout_key(0x10, 0x70, 77);
        seal_chunk(&key, &mut SubkeyCache::new(), nonce(&mut rng), &id, &mut payload)
            .expect("seal");
        let mut f = layout_fields(77);
        f.put("value_id", &id.value_id.to_be_bytes());
        f.put("seq", &id.seq.to_be_bytes());
        f.put("total", &id.total.to_be_bytes());
        f.put("plain", &plain);
        f.put("payload", &payload);
        f.save("v1", name);
    }
}

fn records() {
    for suite in Suite::ALL {
        let master = master(suite);
        let mut rng = Fixed::new(suite.name());
        let created = 850_000_000_000_000;
        let data_key = DataKeyHeader::data_key(&master, Id([0xd1; 16]), 7, Id([0x70; 16]), created);
        let app_key = DataKeyHeader::app_key(&master, Id([0xd2; 16]), created);
        let key: Dek = secret(0x10);
        for (name, header, key) in
            [("data_key", data_key, &key.expose()[..]), ("app_key", app_key, b"sixteen byte key")]
        {
            let mut f = record_fields(&header, key);
            f.put("master_seed", secret(0x40).expose());
            f.put("master_id", &master.id().0);
            f.put("master_check_value", &master.check_value());
            f.put("public_key", &master.public_key());
            f.put("record", &wrap_key(&mut rng, &master, &header, key).expect("wrap"));
            f.save("v1", &format!("{name}_{suite}"));
        }
        let (private, public) = generate_recipient(&mut rng, suite);
        let header = DataKeyHeader { recipient_id: Id([0xe5; 16]), ..data_key };
        let id = header.recipient_id;
        let mut f = record_fields(&header, key.expose());
        f.put("private_key", &private);
        f.put("public_key", &public);
        let record = wrap_key_to(&mut rng, suite, id, &public, &header, key.expose());
        f.put("record", &record.expect("wrap"));
        f.save("v1", &format!("recipient_{suite}"));
    }
}

fn seeds() {
    for suite in Suite::ALL {
        let mut rng = Fixed::new(&format!("seed {suite}"));
        let (kek, seed, id) = (secret(0x80), secret(0x40), Id([0xa1; 16]));
        let mut f = File::default();
        f.put("kek", kek.expose());
        f.put("master_id", &id.0);
        f.put("seed", seed.expose());
        f.put("blob", &wrap_seed(&mut rng, &kek, &id, suite, &seed));
        f.save("v1", &format!("seed_{suite}"));
    }
}

fn layout_fields(layout: u32) -> File {
    let mut f = File::default();
    f.put("dek", secret(0x10).expose());
    f.put("table", &[0x70; 16]);
    f.put("layout", &layout.to_be_bytes());
    f
}

fn layout_key_of(f: &File) -> LayoutKey {
    let layout = LayoutId::new(f.u32("layout")).expect("layout id");
    let dek = Dek::from_slice(&f.bytes("dek")).expect("32 bytes");
    LayoutKey::derive(&dek, &Id(f.array("table")), layout)
}

fn record_fields(header: &DataKeyHeader, key: &[u8]) -> File {
    let mut f = File::default();
    f.put("key", key);
    if let Ok(key) = key.try_into() {
        f.put("check_value", &key_check_value(key));
    }
    f.put("recipient_id", &header.recipient_id.0);
    f.put("key_id", &header.key_id.0);
    f.put("table", &header.table.0);
    f.put("version", &header.version.to_be_bytes());
    f.put("created_us", &header.created_us.to_be_bytes());
    f
}

fn golden(name: &str) -> File {
    File::read("v1", name)
}
