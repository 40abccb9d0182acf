//! The kernel's random numbers.

use core::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};

use crate::Error;

/// getrandom(2) with no state of ours in between: a copied process image (a fork, a resumed
/// virtual machine) cannot repeat its output.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelRng;

impl KernelRng {
    /// Fills `out`, or says that the kernel would not. Prefer this where an error can be returned.
    pub fn fill(out: &mut [u8]) -> Result<(), Error> {
        getrandom::fill(out).map_err(|_| Error::NoRandomness)
    }
}

/// As an infallible generator it panics if the kernel refuses, since no caller may go on without
/// randomness. Linux only refuses under a seccomp filter that forbids getrandom(2).
impl TryRng for KernelRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut b = [0; 4];
        self.try_fill_bytes(&mut b)?;
        Ok(u32::from_ne_bytes(b))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut b = [0; 8];
        self.try_fill_bytes(&mut b)?;
        Ok(u64::from_ne_bytes(b))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        match KernelRng::fill(dst) {
            Ok(()) => Ok(()),
            Err(e) => panic!("{e}"),
        }
    }
}

impl TryCryptoRng for KernelRng {}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::Rng;

    #[test]
    fn draws_differ() {
        let mut rng = KernelRng;
        assert_ne!(rng.next_u64(), rng.next_u64());
        let mut b = [0; 64];
        KernelRng::fill(&mut b).expect("getrandom");
        assert_ne!(b, [0; 64]);
    }
}
