//! X-Wing with the private key kept expanded, for keys that open many records.
//!
//! An X-Wing private key is 32 bytes, from which the `x-wing` crate derives the ML-KEM-768 and X25519
//! keys anew for each record it opens: a third of the time. Here they are derived once. Only opening is
//! done here; sealing, and everything of HPKE, is `hpke`'s. The same results byte for byte: tested
//! against `hpke`'s own X-Wing (draft-connolly-cfrg-xwing-kem, 5.2 and 5.4).

use hpke::kem::{Kem, SharedSecret, XWing};
use hpke::{Deserializable, HpkeError, Serializable};
use ml_kem::array::Array;
use ml_kem::kem::Decapsulate;
use ml_kem::{FromSeed, MlKem768, ml_kem_768};
use rand_core::CryptoRng;
use sha3::{Digest, Sha3_256};
use shake::{ExtendableOutput, Shake256, Update, XofReader};
use subtle::{Choice, ConstantTimeEq};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

/// The KEM: X-Wing, with another form of private key.
pub(crate) struct Expanded;

type Short = <XWing as Kem>::PrivateKey;

/// A private key with the two that it stands for. Each part wipes itself.
#[derive(Clone)]
pub(crate) struct PrivateKey {
    short: Short,
    lattice: ml_kem_768::DecapsulationKey,
    curve: StaticSecret,
    curve_public: PublicKey,
}

const LATTICE_SEED: usize = 64;
const LATTICE_ENC: usize = 1088;
const LABEL: &[u8; 6] = br"\.//^\";

impl PrivateKey {
    fn expand(short: Short) -> Self {
        let mut seed = short.to_bytes();
        let mut shake = Shake256::default();
        shake.update(&seed);
        seed.zeroize();
        let mut reader = shake.finalize_xof();
        let mut lattice_seed = Zeroizing::new([0; LATTICE_SEED]);
        reader.read(&mut lattice_seed[..]);
        let mut curve = Zeroizing::new([0; 32]);
        reader.read(&mut curve[..]);
        let mut lattice_seed = Array(*lattice_seed);
        let (lattice, _) = MlKem768::from_seed(&lattice_seed);
        lattice_seed.zeroize();
        let curve = StaticSecret::from(*curve);
        let curve_public = PublicKey::from(&curve);
        Self { short, lattice, curve, curve_public }
    }
}

impl Serializable for PrivateKey {
    type OutputSize = <Short as Serializable>::OutputSize;

    fn write_exact(&self, buf: &mut [u8]) {
        self.short.write_exact(buf);
    }
}

impl Deserializable for PrivateKey {
    fn from_bytes(encoded: &[u8]) -> Result<Self, HpkeError> {
        Short::from_bytes(encoded).map(Self::expand)
    }
}

impl ConstantTimeEq for PrivateKey {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.short.ct_eq(&other.short)
    }
}

impl Kem for Expanded {
    type PublicKey = <XWing as Kem>::PublicKey;
    type PrivateKey = PrivateKey;
    type EncappedKey = <XWing as Kem>::EncappedKey;
    type NSecret = <XWing as Kem>::NSecret;

    const KEM_ID: u16 = XWing::KEM_ID;

    fn sk_to_pk(sk: &PrivateKey) -> Self::PublicKey {
        XWing::sk_to_pk(&sk.short)
    }

    fn derive_keypair(ikm: &[u8]) -> (PrivateKey, Self::PublicKey) {
        let (short, public) = XWing::derive_keypair(ikm);
        (PrivateKey::expand(short), public)
    }

    fn decap(
        sk: &PrivateKey,
        sender: Option<&Self::PublicKey>,
        enc: &Self::EncappedKey,
    ) -> Result<SharedSecret<Self>, HpkeError> {
        let enc = enc.to_bytes();
        let (lattice_enc, curve_enc) =
            enc.split_at_checked(LATTICE_ENC).ok_or(HpkeError::DecapError)?;
        let lattice_enc = lattice_enc.try_into().map_err(|_| HpkeError::DecapError)?;
        let curve_enc: [u8; 32] = curve_enc.try_into().map_err(|_| HpkeError::DecapError)?;
        // X-Wing has no authenticated encapsulation.
        if sender.is_some() {
            return Err(HpkeError::DecapError);
        }
        let mut lattice_secret = sk.lattice.decapsulate(lattice_enc);
        let curve_secret = sk.curve.diffie_hellman(&PublicKey::from(curve_enc));
        let mut hash = Sha3_256::new();
        Digest::update(&mut hash, lattice_secret);
        Digest::update(&mut hash, curve_secret.as_bytes());
        Digest::update(&mut hash, curve_enc);
        Digest::update(&mut hash, sk.curve_public.as_bytes());
        Digest::update(&mut hash, LABEL);
        lattice_secret.zeroize();
        let mut shared = SharedSecret::default();
        let mut digest = hash.finalize();
        shared.0.copy_from_slice(&digest);
        digest.zeroize();
        Ok(shared)
    }

    fn encap_with_rng(
        public: &Self::PublicKey,
        sender: Option<(&PrivateKey, &Self::PublicKey)>,
        rng: &mut impl CryptoRng,
    ) -> Result<(SharedSecret<Self>, Self::EncappedKey), HpkeError> {
        if sender.is_some() {
            return Err(HpkeError::EncapError);
        }
        let (secret, enc) = XWing::encap_with_rng(public, None, rng)?;
        let mut shared = SharedSecret::default();
        shared.0.copy_from_slice(&secret.0);
        Ok((shared, enc))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::KernelRng;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn opens_what_hpke_opens_to_the_same_secret(ikm: [u8; 32]) {
            let (theirs, public) = XWing::derive_keypair(&ikm);
            let (ours, same_public) = Expanded::derive_keypair(&ikm);
            prop_assert!(public == same_public && Expanded::sk_to_pk(&ours) == public);
            prop_assert_eq!(ours.to_bytes(), theirs.to_bytes());
            let (sent, enc) = XWing::encap_with_rng(&public, None, &mut KernelRng).expect("encap");
            let opened = Expanded::decap(&ours, None, &enc).expect("decap");
            prop_assert_eq!(&opened.0[..], &sent.0[..]);
            let (sent, enc) = Expanded::encap_with_rng(&public, None, &mut KernelRng).expect("encap");
            let opened = XWing::decap(&theirs, None, &enc).expect("decap");
            prop_assert_eq!(&opened.0[..], &sent.0[..]);
        }

        /// A damaged or foreign encapsulation gives some secret, by ML-KEM's implicit rejection: the same.
        #[test]
        fn rejects_as_hpke_does(ikm: [u8; 32], enc in proptest::collection::vec(any::<u8>(), 1120)) {
            let (theirs, _) = XWing::derive_keypair(&ikm);
            let (ours, _) = Expanded::derive_keypair(&ikm);
            let enc = <XWing as Kem>::EncappedKey::from_bytes(&enc).expect("length");
            let ours = Expanded::decap(&ours, None, &enc).expect("decap");
            let theirs = XWing::decap(&theirs, None, &enc).expect("decap");
            prop_assert_eq!(&ours.0[..], &theirs.0[..]);
        }
    }

    #[test]
    fn a_key_read_back_is_the_same_key() {
        let (key, _) = Expanded::derive_keypair(b"some keying material");
        let again = PrivateKey::from_bytes(&key.to_bytes()).expect("length");
        assert!(bool::from(key.ct_eq(&again)));
        assert!(PrivateKey::from_bytes(&[0; 31]).is_err());
    }
}
