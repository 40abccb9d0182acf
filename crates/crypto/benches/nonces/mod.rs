//! Nonces as a backend gets them: a block at a time, random bytes from the kernel.

use sealed_crypto::rand_core::Rng;
use sealed_crypto::{KernelRng, Nonce, NonceBlock, SaltState};

/// Where they come from.
#[derive(Default)]
pub struct Nonces {
    salt: SaltState,
    block: Option<NonceBlock>,
}

impl Nonces {
    /// The next one.
    pub fn next(&mut self) -> Nonce {
        loop {
            if let Some(nonce) = self.block.as_mut().and_then(NonceBlock::take) {
                return nonce;
            }
            let reserved = self.salt.reserve(NonceBlock::MAX_LEN, 0, random);
            self.block = Some(NonceBlock::new(reserved, random()));
        }
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut b = [0; N];
    KernelRng.fill_bytes(&mut b);
    b
}
