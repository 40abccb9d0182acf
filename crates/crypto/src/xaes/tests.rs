//! The published vectors, through the cached path, and against another implementation.

use proptest::prelude::*;
use shake::Shake128;
use shake::digest::{ExtendableOutput, Update, XofReader};
use xaes_256_gcm::Xaes256Gcm;

use super::*;

/// Seals as row.rs does: prefix to a cached subkey, the rest to GCM.
fn seal(
    cache: &mut SubkeyCache,
    key: &[u8; 32],
    nonce: &[u8; 24],
    aad: &[u8],
    plain: &[u8],
) -> Vec<u8> {
    let [h0, h1, h2, h3, s0, s1, s2, s3, s4, s5, s6, s7, iv @ ..] = *nonce;
    let head = u32::from_be_bytes([h0, h1, h2, h3]);
    let prefix = Prefix { head, salt: [s0, s1, s2, s3, s4, s5, s6, s7] };
    let mut out = plain.to_vec();
    let key = Xaes::new(key);
    let mut tag = || {
        out.copy_from_slice(plain);
        let gcm = cache.subkey(&key, prefix, aad);
        let tag = gcm.seal(&iv, &[], &mut out).expect("seal");
        let mut opened = vec![0; plain.len()];
        assert_eq!(gcm.open(&iv, &[], &out, &tag, &mut opened), Ok(()));
        assert_eq!(opened, plain);
        tag
    };
    // Twice: once a miss, once a hit.
    let (miss, hit) = (tag(), tag());
    assert_eq!(miss, hit);
    out.extend_from_slice(&hit);
    out
}

#[test]
fn a_filled_cache_stays_small() {
    assert!(size_of::<Slot>() <= 864, "SubkeyCache documents this: {}", size_of::<Slot>());
    assert!(size_of::<Xaes>() <= 288, "{}", size_of::<Xaes>());
}

#[test]
fn c2sp_single_vectors() {
    let (mut cache, nonce) = (SubkeyCache::new(), b"ABCDEFGHIJKLMNOPQRSTUVWX");
    // MSB(L) = 0
    let sealed = seal(&mut cache, &[1; 32], nonce, b"", b"XAES-256-GCM");
    assert_eq!(hex(&sealed), "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271");
    // MSB(L) = 1
    let aad = b"c2sp.org/XAES-256-GCM";
    let sealed = seal(&mut cache, &[3; 32], nonce, aad, b"XAES-256-GCM");
    assert_eq!(hex(&sealed), "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d");
}

#[test]
fn c2sp_accumulated_10_000() {
    let sum = accumulated(10_000);
    assert_eq!(sum, "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939");
}

/// A minute without optimisation, five seconds with: `cargo test --release -- --ignored`.
#[test]
#[ignore = "a minute in a debug build"]
fn c2sp_accumulated_1_000_000() {
    let sum = accumulated(1_000_000);
    assert_eq!(sum, "2163ae1445985a30b60585ee67daa55674df06901b890593e824b8a7c885ab15");
}

fn accumulated(iterations: u32) -> String {
    let mut source = Shake128::default().finalize_xof();
    let mut sum = Shake128::default();
    let mut cache = SubkeyCache::new();
    for _ in 0..iterations {
        let (mut key, mut nonce, mut len) = ([0; 32], [0; 24], [0]);
        source.read(&mut key);
        source.read(&mut nonce);
        source.read(&mut len);
        let mut plain = vec![0; len[0].into()];
        source.read(&mut plain);
        source.read(&mut len);
        let mut aad = vec![0; len[0].into()];
        source.read(&mut aad);
        sum.update(&seal(&mut cache, &key, &nonce, &aad, &plain));
    }
    let mut out = [0; 32];
    sum.finalize_xof().read(&mut out);
    hex(&out)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

proptest! {
    #[test]
    fn equal_to_the_xaes_256_gcm_crate(
        calls in prop::collection::vec(
            // Few keys and prefixes, so that the cache is hit, missed and overwritten.
            (0_u8..3, 0_u8..4, any::<[u8; 12]>(), prop::collection::vec(any::<u8>(), 0..80)),
            1..20,
        ),
        aad in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        use xaes_256_gcm::aead::{Aead, KeyInit, Payload};
        let mut cache = SubkeyCache::new();
        for (key, prefix, iv, plain) in calls {
            let (key, mut nonce) = ([key; 32], [prefix; 24]);
            nonce[12..].copy_from_slice(&iv);
            let theirs = Xaes256Gcm::new(&key.into())
                .encrypt(&nonce.into(), Payload { msg: &plain, aad: &aad })
                .expect("seal");
            prop_assert_eq!(seal(&mut cache, &key, &nonce, &aad, &plain), theirs);
        }
    }
}
