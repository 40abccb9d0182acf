//! Any bytes as a seed blob: no panic, what parses has the header that would be written, and what
//! unwraps is the golden seed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealed_crypto::{Id, Secret, Suite, parse_seed_blob, unwrap_seed};

fuzz_target!(|input: &[u8]| {
    let kek =
        Secret::from_fn(|b: &mut [u8; 32]| b.iter_mut().zip(0x80..).for_each(|(b, i)| *b = i));
    let parsed = parse_seed_blob(input);
    if let Ok((id, suite)) = parsed {
        let header = [b"PGSS\x01", &(suite as u16).to_be_bytes()[..], &id.0].concat();
        assert_eq!(header, input[..header.len()]);
        assert_eq!(input.len(), sealed_crypto::seed::BLOB_LEN);
    }
    for suite in Suite::ALL {
        if let Ok(seed) = unwrap_seed(&kek, &Id([0xa1; 16]), suite, input) {
            assert_eq!(parsed, Ok((Id([0xa1; 16]), suite)));
            assert_eq!(seed.expose()[..2], [0x40, 0x41]);
        }
    }
});
