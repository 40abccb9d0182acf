//! Any bytes as a key record: no panic, what parses is what would be written, and nothing but the
//! golden record unwraps.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sealed_crypto::{
    Id, KeyRecord, MasterKey, MasterSeed, Mode, Suite, parse_key_header, unwrap_key,
};

static MASTERS: LazyLock<Vec<MasterKey>> = LazyLock::new(|| {
    let seed = MasterSeed::from_fn(|b| b.iter_mut().zip(0x40..).for_each(|(b, i)| *b = i));
    let derive = |suite| MasterKey::derive(Id([0xa1; 16]), suite, &seed).ok();
    Suite::ALL.into_iter().filter_map(derive).collect()
});

fuzz_target!(|input: &[u8]| {
    let parsed = KeyRecord::parse(input);
    assert_eq!(parse_key_header(input), parsed.map(|r| r.header));
    let Ok(record) = parsed else {
        assert!(MASTERS.iter().all(|m| unwrap_key(m, input).is_err()));
        return;
    };
    assert_eq!(record.to_bytes(), input);
    for master in MASTERS.iter() {
        // Half a millisecond each, so only where the cheap checks let it through.
        if record.header.suite == master.suite() {
            if let Ok((header, _)) = unwrap_key(master, input) {
                assert_eq!(record.mode, Mode::Psk);
                assert_eq!((header, header.recipient_id), (record.header, master.id()));
                assert_eq!(
                    (header.created_us, header.key_id.0[0] & 0xfc),
                    (850_000_000_000_000, 0xd0)
                );
            }
        }
    }
});
