//! Both KEMs against those of `hpke`.

use core::convert::Infallible;

use hpke::kem::Kem;
use hpke::{Deserializable, HpkeError, Serializable};
use proptest::prelude::*;
use rand_core::{TryCryptoRng, TryRng};
use shake::{ExtendableOutput, Shake256, Shake256Reader, Update, XofReader};
use subtle::ConstantTimeEq;

use super::*;

/// The same numbers twice, however they are asked for.
struct Stream(Shake256Reader);

impl Stream {
    fn new(seed: &[u8]) -> Self {
        let mut shake = Shake256::default();
        shake.update(seed);
        Self(shake.finalize_xof())
    }
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut b = [0; 4];
        self.0.read(&mut b);
        Ok(u32::from_ne_bytes(b))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut b = [0; 8];
        self.0.read(&mut b);
        Ok(u64::from_ne_bytes(b))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.read(out);
        Ok(())
    }
}

impl TryCryptoRng for Stream {}

/// Whether both refuse, for the same reason, or both accept and read the same.
fn same_public<O: Kem, T: Kem>(bytes: &[u8]) -> bool {
    match (O::PublicKey::from_bytes(bytes), T::PublicKey::from_bytes(bytes)) {
        (Ok(ours), Ok(theirs)) => ours.to_bytes()[..] == theirs.to_bytes()[..],
        (Err(ours), Err(theirs)) => ours == theirs,
        _ => false,
    }
}

fn enc<K: Kem>(bytes: &[u8]) -> K::EncappedKey {
    K::EncappedKey::from_bytes(bytes).expect("length")
}

macro_rules! against_hpke {
    ($module:ident, $kem:ident, $public_len:literal, $enc_len:literal) => {
        mod $module {
            use super::*;

            type Ours = $kem;
            type Theirs = hpke::kem::$kem;

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(48))]

                #[test]
                fn does_what_hpke_does(ikm: [u8; 64], random: [u8; 32], at in 0_usize..$enc_len, flip in 1_u8..) {
                    let (theirs, public) = Theirs::derive_keypair(&ikm);
                    let (ours, our_public) = Ours::derive_keypair(&ikm);
                    prop_assert_eq!(&ours.to_bytes()[..], &theirs.to_bytes()[..]);
                    prop_assert_eq!(&our_public.to_bytes()[..], &public.to_bytes()[..]);
                    prop_assert!(Ours::sk_to_pk(&ours) == our_public);
                    let read = <Ours as Kem>::PublicKey::from_bytes(&public.to_bytes()).expect("valid");

                    let (secret, sent) = Theirs::encap_with_rng(&public, None, &mut Stream::new(&random)).expect("encap");
                    for public in [our_public, read] {
                        let (s, e) = Ours::encap_with_rng(&public, None, &mut Stream::new(&random)).expect("encap");
                        prop_assert_eq!(&s.0[..], &secret.0[..]);
                        prop_assert_eq!(&e.to_bytes()[..], &sent.to_bytes()[..]);
                    }
                    let opened = Ours::decap(&ours, None, &enc::<Ours>(&sent.to_bytes())).expect("decap");
                    prop_assert_eq!(&opened.0[..], &secret.0[..]);

                    // Damaged: another secret, the same by both.
                    let mut damaged = sent.to_bytes();
                    damaged[at] ^= flip;
                    let opened = Ours::decap(&ours, None, &enc::<Ours>(&damaged)).expect("decap");
                    prop_assert_ne!(&opened.0[..], &secret.0[..]);
                    let rejected = Theirs::decap(&theirs, None, &enc::<Theirs>(&damaged)).expect("decap");
                    prop_assert_eq!(&opened.0[..], &rejected.0[..]);
                }

                #[test]
                fn rejects_as_hpke_does(ikm: [u8; 64], foreign in proptest::collection::vec(any::<u8>(), $enc_len)) {
                    let (theirs, _) = Theirs::derive_keypair(&ikm);
                    let (ours, _) = Ours::derive_keypair(&ikm);
                    let ours = Ours::decap(&ours, None, &enc::<Ours>(&foreign)).expect("decap");
                    let theirs = Theirs::decap(&theirs, None, &enc::<Theirs>(&foreign)).expect("decap");
                    prop_assert_eq!(&ours.0[..], &theirs.0[..]);
                }

                #[test]
                fn reads_the_public_keys_that_hpke_reads(ikm: [u8; 64], at in 0_usize..$public_len, byte: u8) {
                    let mut bytes = Theirs::derive_keypair(&ikm).1.to_bytes();
                    prop_assert!(same_public::<Ours, Theirs>(&bytes));
                    bytes[at] = byte;
                    prop_assert!(same_public::<Ours, Theirs>(&bytes));
                    // In the middle of a coefficient: not reduced, wherever it is.
                    bytes[at..].fill(0xff);
                    prop_assert!(same_public::<Ours, Theirs>(&bytes));
                }
            }

            #[test]
            fn wrong_lengths_are_refused() {
                for len in [0, 1, 31, 32, 33, 64, $public_len - 32, $public_len - 1, $public_len + 1] {
                    let bytes = vec![0; len];
                    assert!(<Ours as Kem>::PublicKey::from_bytes(&bytes).is_err(), "{len}");
                    assert!(same_public::<Ours, Theirs>(&bytes), "{len}");
                    let ours = <Ours as Kem>::PrivateKey::from_bytes(&bytes).err();
                    assert_eq!(ours, <Theirs as Kem>::PrivateKey::from_bytes(&bytes).err(), "{len}");
                }
            }

            #[test]
            fn a_key_read_back_is_the_same_key() {
                let (key, public) = Ours::derive_keypair(b"some keying material");
                let again = <Ours as Kem>::PrivateKey::from_bytes(&key.to_bytes()).expect("length");
                assert!(bool::from(key.ct_eq(&again)) && bool::from(key.ct_eq(&key.clone())));
                assert!(Ours::sk_to_pk(&again) == public);
                let (other, other_public) = Ours::derive_keypair(b"another");
                assert!(!bool::from(key.ct_eq(&other)) && public != other_public);
                assert_eq!(format!("{public:?}"), "PublicKey(..)");
            }

            /// There is no authenticated encapsulation. `hpke` panics there.
            #[test]
            fn a_sender_is_refused() {
                let (key, public) = Ours::derive_keypair(b"some keying material");
                let sender = Some((&key, &public));
                let sealed = Ours::encap_with_rng(&public, sender, &mut Stream::new(b""));
                assert_eq!(sealed.err(), Some(HpkeError::EncapError));
                let opened = Ours::decap(&key, Some(&public), &enc::<Ours>(&[0; $enc_len]));
                assert_eq!(opened.err(), Some(HpkeError::DecapError));
            }
        }
    };
}
against_hpke!(xwing, XWing, 1216, 1120);
against_hpke!(ml_kem_1024, MlKem1024, 1568, 1568);

/// Points of low order, and one on the twist, in the place of an X25519 key: no error, as in the draft.
#[test]
fn x_wing_takes_every_x25519_key_as_hpke_does() {
    let (theirs, public) = hpke::kem::XWing::derive_keypair(&[1; 32]);
    let (ours, _) = XWing::derive_keypair(&[1; 32]);
    for point in [[0; 32], [0xff; 32], core::array::from_fn(|n| u8::from(n == 0)), [2; 32], [5; 32]]
    {
        let mut bytes = public.to_bytes();
        bytes[1184..].copy_from_slice(&point);
        assert!(same_public::<XWing, hpke::kem::XWing>(&bytes));
        let public = <XWing as Kem>::PublicKey::from_bytes(&bytes).expect("valid");
        let (secret, sent) =
            XWing::encap_with_rng(&public, None, &mut Stream::new(&point)).expect("encap");
        let public = <hpke::kem::XWing as Kem>::PublicKey::from_bytes(&bytes).expect("valid");
        let (same_secret, same_sent) =
            hpke::kem::XWing::encap_with_rng(&public, None, &mut Stream::new(&point))
                .expect("encap");
        assert_eq!(secret.0[..], same_secret.0[..]);
        assert_eq!(sent.to_bytes()[..], same_sent.to_bytes()[..]);

        let mut bytes = sent.to_bytes();
        bytes[1088..].copy_from_slice(&point);
        let opened = XWing::decap(&ours, None, &enc::<XWing>(&bytes)).expect("decap");
        let same = hpke::kem::XWing::decap(&theirs, None, &enc::<hpke::kem::XWing>(&bytes));
        assert_eq!(opened.0[..], same.expect("decap").0[..]);
    }
}

/// The vectors of draft-connolly-cfrg-xwing-kem.
#[test]
fn x_wing_is_the_drafts() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/xwing.json");
    let text = std::fs::read_to_string(path).expect("read");
    let vectors: serde_json::Value = serde_json::from_str(&text).expect("json");
    let vectors = vectors.as_array().expect("array");
    assert_eq!(vectors.len(), 3);
    for vector in vectors {
        let field = |name: &str| -> Vec<u8> {
            let hex = vector[name].as_str().expect("string").as_bytes();
            let digit = |b: &u8| char::from(*b).to_digit(16).expect("hex") as u8;
            hex.chunks(2).map(|pair| digit(&pair[0]) << 4 | digit(&pair[1])).collect()
        };
        let key = <XWing as Kem>::PrivateKey::from_bytes(&field("sk")).expect("length");
        assert_eq!(XWing::sk_to_pk(&key).to_bytes()[..], field("pk")[..]);
        let opened = XWing::decap(&key, None, &enc::<XWing>(&field("ct"))).expect("decap");
        assert_eq!(opened.0[..], field("ss")[..]);
        let public = <XWing as Kem>::PublicKey::from_bytes(&field("pk")).expect("valid");
        let (secret, sent) =
            XWing::encap_with_rng(&public, None, &mut Given(field("eseed"))).expect("encap");
        assert_eq!(secret.0[..], field("ss")[..]);
        assert_eq!(sent.to_bytes()[..], field("ct")[..]);
    }
}

/// These bytes, once.
struct Given(Vec<u8>);

impl TryRng for Given {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("only bytes are drawn")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("only bytes are drawn")
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.copy_from_slice(&self.0.drain(..out.len()).collect::<Vec<_>>());
        Ok(())
    }
}

impl TryCryptoRng for Given {}
