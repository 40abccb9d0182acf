//! Key derivation: HKDF with one label a purpose. The labels are listed in docs/format.md.

use hkdf::Hkdf;
use sha2::{Sha256, Sha384};

use crate::Suite;

/// HKDF-Expand of a uniformly random 32-byte key with SHA-256.
pub(crate) fn expand(key: &[u8; 32], info: &[&[u8]], out: &mut [u8]) {
    match Hkdf::<Sha256>::from_prk(key) {
        Ok(h) => fill(h.expand_multi_info(info, out).is_ok()),
        Err(_) => fill(false),
    }
}

/// HKDF (extract without salt, then expand) of a master seed, with the hash of its suite.
pub(crate) fn from_seed(suite: Suite, seed: &[u8; 32], label: &[u8], out: &mut [u8]) {
    let suite_id = (suite as u16).to_be_bytes();
    let info = [label, &suite_id];
    fill(match suite {
        // The latter has no master keys, but a hash it has.
        Suite::XWingAes256 | Suite::X25519Aes256 => {
            Hkdf::<Sha256>::new(None, seed).expand_multi_info(&info, out).is_ok()
        }
        Suite::MlKem1024Aes256 => {
            Hkdf::<Sha384>::new(None, seed).expand_multi_info(&info, out).is_ok()
        }
    });
}

/// HKDF with SHA-256, a salt and a key of any origin.
pub(crate) fn extract_expand(salt: &[u8], key: &[u8], info: &[&[u8]], out: &mut [u8]) {
    fill(Hkdf::<Sha256>::new(Some(salt), key).expand_multi_info(info, out).is_ok());
}

/// HKDF only fails for a PRK shorter than its hash or an output longer than 255 hashes; both are
/// constants here.
fn fill(done: bool) {
    assert!(done, "HKDF was asked for an impossible length");
}
