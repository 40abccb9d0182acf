//! X-Wing (draft-connolly-cfrg-xwing-kem, 5.2 to 5.4) with keys kept expanded.
//!
//! An X-Wing private key is 32 bytes, from which the ML-KEM-768 and X25519 keys are derived.

use core::fmt;
use std::sync::Arc;

use hpke::kem::{Kem, SharedSecret, XWing as Reference};
use hpke::{Deserializable, HpkeError, Serializable};
use rand_core::CryptoRng;
use sha3::{Digest, Sha3_256};
use shake::{ExtendableOutput, Shake256, Update, XofReader};
use subtle::{Choice, ConstantTimeEq};
use x25519_dalek::StaticSecret;
use zeroize::{Zeroize, Zeroizing};

use super::lattice::ml_kem_768::{self, ENC_LEN};
use super::lattice::{Code, SECRET_LEN, SEED_LEN};
use super::then_wipe_stack;
use crate::Secret;

/// The KEM: `hpke`'s, with other forms of key.
pub(crate) struct XWing;

type Short = <Reference as Kem>::PrivateKey;

const SHORT_LEN: usize = 32;
const PUBLIC_LEN: usize = ml_kem_768::PUBLIC_LEN + 32;
const LABEL: &[u8; 6] = br"\.//^\";

/// A private key with the two that it stands for. A clone is the same key, not a copy of it.
#[derive(Clone)]
pub(crate) struct PrivateKey(Arc<Expanded>);

/// Each part wipes itself.
struct Expanded {
    short: Secret<SHORT_LEN>,
    lattice: ml_kem_768::PrivateKey,
    curve: StaticSecret,
    curve_public: x25519_dalek::PublicKey,
}

/// A public key and the matrix of its first part.
#[derive(Clone)]
pub(crate) struct PublicKey(Arc<Public>);

struct Public {
    lattice_bytes: [u8; ml_kem_768::PUBLIC_LEN],
    lattice: ml_kem_768::PublicKey,
    curve: x25519_dalek::PublicKey,
}

impl PrivateKey {
    fn expand(short: Secret<SHORT_LEN>) -> Self {
        then_wipe_stack(|| {
            let mut shake = Shake256::default();
            shake.update(short.expose());
            let mut reader = shake.finalize_xof();
            let mut seed = Zeroizing::new([0; SEED_LEN]);
            reader.read(&mut seed[..]);
            let mut curve = Zeroizing::new([0; 32]);
            reader.read(&mut curve[..]);
            let lattice = ml_kem_768::PrivateKey::from_seed(Code::best(), &seed);
            let curve = StaticSecret::from(*curve);
            let curve_public = (&curve).into();
            Self(Arc::new(Expanded { short, lattice, curve, curve_public }))
        })
    }
}

impl Serializable for PrivateKey {
    type OutputSize = <Short as Serializable>::OutputSize;

    fn write_exact(&self, buf: &mut [u8]) {
        buf.copy_from_slice(self.0.short.expose());
    }
}

impl Deserializable for PrivateKey {
    fn from_bytes(encoded: &[u8]) -> Result<Self, HpkeError> {
        Secret::from_slice(encoded)
            .map(Self::expand)
            .ok_or(HpkeError::IncorrectInputLength(SHORT_LEN, encoded.len()))
    }
}

impl ConstantTimeEq for PrivateKey {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.short.expose().ct_eq(other.0.short.expose())
    }
}

impl Serializable for PublicKey {
    type OutputSize = <<Reference as Kem>::PublicKey as Serializable>::OutputSize;

    fn write_exact(&self, buf: &mut [u8]) {
        let (lattice, curve) = buf.split_at_mut(ml_kem_768::PUBLIC_LEN);
        lattice.copy_from_slice(&self.0.lattice_bytes);
        curve.copy_from_slice(self.0.curve.as_bytes());
    }
}

impl Deserializable for PublicKey {
    fn from_bytes(encoded: &[u8]) -> Result<Self, HpkeError> {
        let wrong_length = || HpkeError::IncorrectInputLength(PUBLIC_LEN, encoded.len());
        let (lattice_bytes, curve) = encoded.split_first_chunk().ok_or_else(wrong_length)?;
        let curve: [u8; 32] = curve.try_into().map_err(|_| wrong_length())?;
        let lattice = ml_kem_768::PublicKey::from_bytes(Code::best(), lattice_bytes)
            .ok_or(HpkeError::ValidationError)?;
        let lattice_bytes = *lattice_bytes;
        Ok(Self(Arc::new(Public { lattice_bytes, lattice, curve: curve.into() })))
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.lattice_bytes == other.0.lattice_bytes && self.0.curve == other.0.curve
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(..)")
    }
}

impl Kem for XWing {
    type PublicKey = PublicKey;
    type PrivateKey = PrivateKey;
    type EncappedKey = <Reference as Kem>::EncappedKey;
    type NSecret = <Reference as Kem>::NSecret;

    const KEM_ID: u16 = Reference::KEM_ID;

    fn sk_to_pk(sk: &PrivateKey) -> PublicKey {
        let Expanded { lattice, curve_public, .. } = &*sk.0;
        PublicKey(Arc::new(Public {
            lattice_bytes: lattice.public_bytes(),
            lattice: lattice.public_key(),
            curve: *curve_public,
        }))
    }

    fn derive_keypair(ikm: &[u8]) -> (PrivateKey, PublicKey) {
        let short = then_wipe_stack(|| {
            Secret::from_fn(|short| Reference::derive_keypair(ikm).0.write_exact(short))
        });
        let private = PrivateKey::expand(short);
        let public = Self::sk_to_pk(&private);
        (private, public)
    }

    fn decap(
        sk: &PrivateKey,
        sender: Option<&PublicKey>,
        enc: &Self::EncappedKey,
    ) -> Result<SharedSecret<Self>, HpkeError> {
        // X-Wing has no authenticated encapsulation.
        if sender.is_some() {
            return Err(HpkeError::DecapError);
        }
        let enc = enc.to_bytes();
        let (lattice_enc, curve_enc) =
            enc.split_first_chunk::<ENC_LEN>().ok_or(HpkeError::DecapError)?;
        let curve_enc: [u8; 32] = curve_enc.try_into().map_err(|_| HpkeError::DecapError)?;
        let curve_enc = curve_enc.into();
        let mut shared = SharedSecret::default();
        then_wipe_stack(|| {
            let Expanded { lattice, curve, curve_public, .. } = &*sk.0;
            let mut secret = Zeroizing::new([0; SECRET_LEN]);
            lattice.decapsulate(lattice_enc, &mut secret);
            let curve_secret = curve.diffie_hellman(&curve_enc);
            combine(&secret, &curve_secret, &curve_enc, curve_public, &mut shared);
        });
        Ok(shared)
    }

    fn encap_with_rng(
        public: &PublicKey,
        sender: Option<(&PrivateKey, &PublicKey)>,
        rng: &mut impl CryptoRng,
    ) -> Result<(SharedSecret<Self>, Self::EncappedKey), HpkeError> {
        if sender.is_some() {
            return Err(HpkeError::EncapError);
        }
        let mut enc = [0; ENC_LEN + 32];
        let mut shared = SharedSecret::default();
        then_wipe_stack(|| {
            // One draw, as in `hpke`: with the same random numbers it gives the same.
            let mut random = Zeroizing::new([[0; 32]; 2]);
            rng.fill_bytes(random.as_flattened_mut());
            let [m, curve] = &*random;
            let Public { lattice, curve: curve_public, .. } = &*public.0;
            let mut secret = Zeroizing::new([0; SECRET_LEN]);
            let lattice_enc = lattice.encapsulate(m, &mut secret);
            let curve = StaticSecret::from(*curve);
            let curve_enc = (&curve).into();
            let curve_secret = curve.diffie_hellman(curve_public);
            combine(&secret, &curve_secret, &curve_enc, curve_public, &mut shared);
            let (first, last) = enc.split_at_mut(ENC_LEN);
            first.copy_from_slice(&lattice_enc);
            last.copy_from_slice(curve_enc.as_bytes());
        });
        Ok((shared, Self::EncappedKey::from_bytes(&enc)?))
    }
}

/// X-Wing's combiner.
fn combine(
    lattice_secret: &[u8; SECRET_LEN],
    curve_secret: &x25519_dalek::SharedSecret,
    curve_enc: &x25519_dalek::PublicKey,
    curve_public: &x25519_dalek::PublicKey,
    shared: &mut SharedSecret<XWing>,
) {
    let mut hash = Sha3_256::new();
    Digest::update(&mut hash, lattice_secret);
    Digest::update(&mut hash, curve_secret.as_bytes());
    Digest::update(&mut hash, curve_enc.as_bytes());
    Digest::update(&mut hash, curve_public.as_bytes());
    Digest::update(&mut hash, LABEL);
    let mut digest = hash.finalize();
    shared.0.copy_from_slice(&digest);
    digest.zeroize();
}
