//! ML-KEM-1024 as a KEM of HPKE (draft-ietf-hpke-pq, section 3), with keys kept expanded.

use core::fmt;
use std::sync::Arc;

use hpke::kem::{Kem, MlKem1024 as Reference, SharedSecret};
use hpke::{Deserializable, HpkeError, Serializable};
use rand_core::CryptoRng;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use super::lattice::ml_kem_1024::{ENC_LEN, PUBLIC_LEN};
use super::lattice::{Code, SECRET_LEN, SEED_LEN, ml_kem_1024};
use super::then_wipe_stack;
use crate::Secret;

/// The KEM: `hpke`'s, with other forms of key.
pub(crate) struct MlKem1024;

type Short = <Reference as Kem>::PrivateKey;

/// A private key and what follows from it. A clone is the same key, not a copy of it.
#[derive(Clone)]
pub(crate) struct PrivateKey(Arc<Expanded>);

struct Expanded {
    seed: Secret<SEED_LEN>,
    lattice: ml_kem_1024::PrivateKey,
}

/// A public key and its matrix.
#[derive(Clone)]
pub(crate) struct PublicKey(Arc<Public>);

struct Public {
    bytes: [u8; PUBLIC_LEN],
    lattice: ml_kem_1024::PublicKey,
}

impl PrivateKey {
    fn expand(seed: Secret<SEED_LEN>) -> Self {
        let lattice =
            then_wipe_stack(|| ml_kem_1024::PrivateKey::from_seed(Code::best(), seed.expose()));
        Self(Arc::new(Expanded { seed, lattice }))
    }
}

impl Serializable for PrivateKey {
    type OutputSize = <Short as Serializable>::OutputSize;

    fn write_exact(&self, buf: &mut [u8]) {
        buf.copy_from_slice(self.0.seed.expose());
    }
}

impl Deserializable for PrivateKey {
    fn from_bytes(encoded: &[u8]) -> Result<Self, HpkeError> {
        Secret::from_slice(encoded)
            .map(Self::expand)
            .ok_or(HpkeError::IncorrectInputLength(SEED_LEN, encoded.len()))
    }
}

impl ConstantTimeEq for PrivateKey {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.seed.expose().ct_eq(other.0.seed.expose())
    }
}

impl Serializable for PublicKey {
    type OutputSize = <<Reference as Kem>::PublicKey as Serializable>::OutputSize;

    fn write_exact(&self, buf: &mut [u8]) {
        buf.copy_from_slice(&self.0.bytes);
    }
}

impl Deserializable for PublicKey {
    fn from_bytes(encoded: &[u8]) -> Result<Self, HpkeError> {
        let bytes: [u8; PUBLIC_LEN] = encoded
            .try_into()
            .map_err(|_| HpkeError::IncorrectInputLength(PUBLIC_LEN, encoded.len()))?;
        let lattice = ml_kem_1024::PublicKey::from_bytes(Code::best(), &bytes)
            .ok_or(HpkeError::ValidationError)?;
        Ok(Self(Arc::new(Public { bytes, lattice })))
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(..)")
    }
}

impl Kem for MlKem1024 {
    type PublicKey = PublicKey;
    type PrivateKey = PrivateKey;
    type EncappedKey = <Reference as Kem>::EncappedKey;
    type NSecret = <Reference as Kem>::NSecret;

    const KEM_ID: u16 = Reference::KEM_ID;

    fn sk_to_pk(sk: &PrivateKey) -> PublicKey {
        let lattice = &sk.0.lattice;
        PublicKey(Arc::new(Public { bytes: lattice.public_bytes(), lattice: lattice.public_key() }))
    }

    fn derive_keypair(ikm: &[u8]) -> (PrivateKey, PublicKey) {
        let seed = then_wipe_stack(|| {
            Secret::from_fn(|seed| Reference::derive_keypair(ikm).0.write_exact(seed))
        });
        let private = PrivateKey::expand(seed);
        let public = Self::sk_to_pk(&private);
        (private, public)
    }

    fn decap(
        sk: &PrivateKey,
        sender: Option<&PublicKey>,
        enc: &Self::EncappedKey,
    ) -> Result<SharedSecret<Self>, HpkeError> {
        // ML-KEM has no authenticated encapsulation.
        if sender.is_some() {
            return Err(HpkeError::DecapError);
        }
        let enc: [u8; ENC_LEN] =
            enc.to_bytes()[..].try_into().map_err(|_| HpkeError::DecapError)?;
        let mut shared = SharedSecret::default();
        then_wipe_stack(|| sk.0.lattice.decapsulate(&enc, &mut shared.0.0));
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
        let mut shared = SharedSecret::default();
        let enc = then_wipe_stack(|| {
            let mut m = Zeroizing::new([0; SECRET_LEN]);
            rng.fill_bytes(&mut m[..]);
            public.0.lattice.encapsulate(&m, &mut shared.0.0)
        });
        Ok((shared, Self::EncappedKey::from_bytes(&enc)?))
    }
}
