use sealed_crypto::{MasterKey, MasterSeed, key_check_value, open_recovered, unwrap_key};

use super::*;

fn master(suite: Suite) -> (MasterKey, String, String) {
    let id = Id::make(&mut KernelRng);
    let master = MasterKey::derive(id, suite, &MasterSeed::random(&mut KernelRng)).expect("derive");
    let line = format!("{MASTER}:{suite}:{id}:{}\n", to_hex(&master.public_key()));
    let fingerprint = show_fingerprint(&master.public_key());
    (master, line, fingerprint)
}

fn record(key: &RecoveryKey, data_key: &[u8; 32]) -> (DataKeyHeader, Vec<u8>) {
    let header = DataKeyHeader {
        suite: key.suite(),
        purpose: Purpose::DataKey,
        recipient_id: Id::make(&mut KernelRng),
        key_id: Id::make(&mut KernelRng),
        version: 7,
        table: Id::make(&mut KernelRng),
        created_us: -5,
    };
    let public = key.public_key().expect("public");
    let record =
        wrap_key_to(&mut KernelRng, key.suite(), header.recipient_id, &public, &header, data_key);
    (header, record.expect("wrap"))
}

#[test]
fn a_data_key_comes_back_through_any_pair_of_suites() {
    for from in Suite::WITH_LEGACY {
        for to in Suite::ALL {
            let key = RecoveryKey::generate(from);
            let (master, line, fingerprint) = master(to);
            let (header, record) = record(&key, &[9; 32]);
            let to = MasterPublic::parse(&line, &fingerprint).expect("master");
            let again = rewrap(&key, &to, &record).expect("rewrap");
            let (new, opened) = open_recovered(&master, &again).expect("open");
            assert_eq!(opened[..], [9; 32]);
            let same =
                DataKeyHeader { suite: header.suite, recipient_id: header.recipient_id, ..new };
            assert_eq!((same, new.recipient_id), (header, master.id()));
            let parsed = sealed_crypto::KeyRecord::parse(&again).expect("parse");
            assert_eq!(parsed.check_value, key_check_value(&[9; 32]));
            // What anybody can make is never taken for what the server has made.
            assert!(unwrap_key(&master, &again).is_err());
        }
    }
}

#[test]
fn another_fingerprint_or_key_is_refused() {
    let (_, line, fingerprint) = master(Suite::XWingAes256);
    let (_, other, _) = master(Suite::XWingAes256);
    assert!(MasterPublic::parse(&line, &fingerprint.to_uppercase()).is_ok());
    assert!(matches!(MasterPublic::parse(&other, &fingerprint), Err(Error::Fingerprint { .. })));
    for wrong in ["", "x", &line[1..], &line[..line.len() - 3], &line.replace("xwing", "xwin")] {
        assert!(matches!(MasterPublic::parse(wrong, &fingerprint), Err(Error::Text(_))), "{wrong}");
    }
    let key = RecoveryKey::generate(Suite::XWingAes256);
    let (_, record) = record(&RecoveryKey::generate(Suite::XWingAes256), &[9; 32]);
    assert!(matches!(key.open(&record), Err(Error::Crypto(_))));
}

#[test]
fn every_changed_bit_of_a_record_is_refused() {
    let key = RecoveryKey::generate(Suite::XWingAes256);
    let (_, record) = record(&key, &[9; 32]);
    for at in (0..record.len()).step_by(13) {
        let mut bad = record.clone();
        bad[at] ^= 1;
        assert!(key.open(&bad).is_err(), "byte {at}");
    }
}

#[test]
fn files_come_back_and_only_private_ones() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("dir");
    for suite in Suite::WITH_LEGACY {
        let path = dir.path().join(suite.name());
        let key = RecoveryKey::generate(suite);
        key.write(&path).expect("write");
        let again = RecoveryKey::read(&path).expect("read");
        assert_eq!(again.public_key().expect("public"), key.public_key().expect("public"));
        assert!(matches!(key.write(&path), Err(Error::Io(..))), "never over an old one");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("chmod");
        assert!(matches!(RecoveryKey::read(&path), Err(Error::OpenPermissions(_))));
    }
    for wrong in ["", "pg-sealed-recovery-key-v1", "pg-sealed-recovery-key-v1:xwing-aes256gcm:00"] {
        assert!(RecoveryKey::parse(wrong).is_err());
    }
}

#[test]
fn records_are_read_as_copy_and_psql_write_them() {
    let read = |text: &str| records(text).map(|r| r.map(|(_, r)| r)).collect::<Result<Vec<_>, _>>();
    let want = vec![vec![0xab, 0xcd], vec![1]];
    assert_eq!(read("\\\\xabcd\n\\\\x01\n").expect("copy"), want);
    assert_eq!(read("\\xABCD\n\n\\x01").expect("psql"), want);
    assert_eq!(read("abcd\n01\n").expect("hex"), want);
    assert!(read("\\xabc").is_err() && read("\\xzz").is_err());
}
