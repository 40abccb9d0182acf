//! Any text as the files that sealed-recover reads: no panic; a key that is read has the length of its suite, a
//! record comes back as it was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealed_recover::{MasterPublic, RecoveryKey, records, to_hex};

fuzz_target!(|text: &str| {
    if let Ok(key) = RecoveryKey::parse(text) {
        assert_eq!(key.public_key().map(|k| k.len()).ok(), Some(key.suite().public_key_len()));
    }
    assert!(MasterPublic::parse(text, "").is_err());
    for (_, record) in records(text).flatten() {
        let again = format!("\\\\x{}\n", to_hex(&record));
        let read: Vec<_> = records(&again).flatten().map(|(_, record)| record).collect();
        // An empty record is an empty line to nobody but us.
        assert!(read == [record.clone()] || record.is_empty());
    }
});
