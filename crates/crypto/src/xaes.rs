//! XAES-256-GCM (C2SP) in its two halves: deriving a subkey from the first 12 bytes of the nonce,
//! which is worth caching, and AES-256-GCM with the last 12.

use core::fmt;

use sealed_aead::{Aes256Enc, Gcm};
use zeroize::{Zeroize, Zeroizing};

use crate::kdf;

/// An XAES key ready for deriving subkeys: an expanded AES-256 key and the CMAC constant K1.
pub(crate) struct Xaes {
    aes: Aes256Enc,
    k1: [u8; 16],
    /// Tells keys apart in the cache. Derived from the key, so the same key finds its subkeys
    /// again, and secret, so nobody can aim for a collision.
    print: u64,
}

impl Xaes {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let aes = Aes256Enc::new(key);
        let mut l = Zeroizing::new([0; 16]);
        aes.encrypt(&mut l);
        let l = Zeroizing::new(u128::from_be_bytes(*l));
        // What leaves at the top comes back by a mask: it is a secret, and no branch may depend on it.
        let k1 = (*l << 1) ^ ((*l >> 127).wrapping_neg() & 0x87);
        let mut print = [0; 8];
        kdf::expand(key, &[b"cache v1"], &mut print);
        Self { aes, k1: k1.to_be_bytes(), print: u64::from_ne_bytes(print) }
    }

    /// The key of AES-256-GCM for all nonces that begin with `prefix`.
    fn subkey(&self, prefix: &Prefix) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        for (i, half) in [1, 2].into_iter().zip(key.as_chunks_mut::<16>().0) {
            half[1] = i;
            half[2] = b'X';
            half[4..8].copy_from_slice(&prefix.head.to_be_bytes());
            half[8..16].copy_from_slice(&prefix.salt);
            for (m, k) in half.iter_mut().zip(self.k1) {
                *m ^= k;
            }
            self.aes.encrypt(half);
        }
        key
    }
}

impl Drop for Xaes {
    fn drop(&mut self) {
        self.k1.zeroize();
        self.print.zeroize();
    }
}

/// The first 12 bytes of a nonce.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub(crate) head: u32,
    pub(crate) salt: [u8; 8],
}

/// Subkeys used lately, in a direct-mapped table of 256 with a shortcut to the last one. Filled
/// slots cost about 860 bytes each, 220 KB all of them, and are reused in place. One per backend.
pub struct SubkeyCache {
    slots: Box<[Option<Box<Slot>>; 256]>,
    last: u8,
}

struct Slot {
    print: u64,
    prefix: Prefix,
    gcm: Gcm,
}

impl SubkeyCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self { slots: Box::new([const { None }; 256]), last: 0 }
    }

    /// Wipes and frees every subkey.
    pub fn clear(&mut self) {
        self.slots.fill_with(|| None);
    }

    /// How many subkeys are held.
    pub fn len(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    // An array of 256 indexed by a u8: no check is left in the code.
    #[allow(clippy::indexing_slicing)]
    pub(crate) fn subkey(&mut self, key: &Xaes, prefix: Prefix, aad: &[u8]) -> &Gcm {
        let hit = |slot: &Option<Box<Slot>>| {
            slot.as_ref().is_some_and(|s| s.print == key.print && s.prefix == prefix)
        };
        if !hit(&self.slots[usize::from(self.last)]) {
            let mixed = key.print ^ u64::from_ne_bytes(prefix.salt) ^ u64::from(prefix.head);
            self.last = (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
            let slot = &mut self.slots[usize::from(self.last)];
            if !hit(slot) {
                Self::fill(slot, key, prefix, aad);
            }
        }
        let slot = &mut self.slots[usize::from(self.last)];
        &slot.get_or_insert_with(|| Self::make(key, prefix, aad)).gcm
    }

    #[cold]
    fn fill(slot: &mut Option<Box<Slot>>, key: &Xaes, prefix: Prefix, aad: &[u8]) {
        match slot {
            Some(s) => {
                s.gcm.rekey(&key.subkey(&prefix), aad);
                s.print = key.print;
                s.prefix = prefix;
            }
            None => *slot = Some(Self::make(key, prefix, aad)),
        }
    }

    #[cold]
    fn make(key: &Xaes, prefix: Prefix, aad: &[u8]) -> Box<Slot> {
        Box::new(Slot { print: key.print, prefix, gcm: Gcm::new(&key.subkey(&prefix), aad) })
    }
}

impl Default for SubkeyCache {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SubkeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubkeyCache").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
