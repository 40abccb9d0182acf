//! Secrets of a fixed size: boxed, wiped when dropped, printed as nothing.
//!
//! What this cannot reach: where a library returns a key or an expanded schedule by value, the compiler
//! may leave a copy of it on the stack. Those places are few (deriving a subkey, a master key, opening
//! a record), and the next deep call overwrites them.

use core::fmt;

use ctutils::CtEq;
use rand_core::CryptoRng;
use zeroize::Zeroize;

/// `N` secret bytes on the heap. They never move, are wiped on drop, are compared in constant time
/// and do not print. There is no `Clone`: a second copy has to be asked for by [`Secret::copy`].
pub struct Secret<const N: usize>(Box<[u8; N]>);

/// A data key.
pub type Dek = Secret<32>;
/// The seed of a master key.
pub type MasterSeed = Secret<32>;

impl<const N: usize> Secret<N> {
    /// Takes over a boxed array.
    pub fn new(bytes: Box<[u8; N]>) -> Self {
        Self(bytes)
    }

    /// Lets `fill` write the bytes in place, so that no copy is left on the stack.
    pub fn from_fn(fill: impl FnOnce(&mut [u8; N])) -> Self {
        let mut secret = Self(Box::new([0; N]));
        fill(&mut secret.0);
        secret
    }

    /// Copies a slice of exactly `N` bytes; `None` if it is of another length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; N] = bytes.try_into().ok()?;
        Some(Self::from_fn(|b| b.copy_from_slice(bytes)))
    }

    /// Draws the bytes.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        Self::from_fn(|b| rng.fill_bytes(b))
    }

    /// The bytes.
    #[inline]
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// A second copy.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self::from_fn(|b| b.copy_from_slice(self.expose()))
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> zeroize::ZeroizeOnDrop for Secret<N> {}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0[..].ct_eq(&other.0[..]).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_nothing() {
        let s = Secret::<32>::from_fn(|b| b.fill(0x41));
        assert_eq!(format!("{s:?}"), "Secret(..)");
        assert_eq!(format!("{s:#?}"), "Secret(..)");
    }

    #[test]
    fn equality_is_by_value() {
        let a = Secret::<4>::from_fn(|b| b.copy_from_slice(b"abcd"));
        assert_eq!(a, a.copy());
        assert_eq!(Some(a), Secret::from_slice(b"abcd"));
        assert_ne!(Secret::<4>::from_slice(b"abcd"), Secret::from_slice(b"abce"));
        assert_eq!(Secret::<4>::from_slice(b"abcde"), None);
    }
}
