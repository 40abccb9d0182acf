//! The KEMs of the two suites, for `hpke`.
//!
//! X-Wing and ML-KEM-1024 as `hpke` has them, byte for byte (tested against it), but with ML-KEM done by
//! `libcrux-ml-kem` and with keys kept expanded, as one key wraps or opens many records: ML-KEM takes a tenth of what
//! it takes inside `hpke`.
//! HPKE itself stays `hpke`'s, DeriveKeyPair included; X25519 stays `x25519-dalek`'s.

pub(crate) mod lattice;
mod ml_kem_1024;
mod xwing;

use zeroize::optimization_barrier;

pub(crate) use ml_kem_1024::MlKem1024;
pub(crate) use xwing::XWing;

/// Secrets of ML-KEM-1024 lie up to 24 KiB down. The tests fail when a library goes deeper than this.
const DEPTH: usize = 40 << 10;

/// Runs `f`, then overwrites the stack that it used: `libcrux-ml-kem` wipes none of its variables.
///
/// Not for what `f` returns, and not for what its caller keeps.
fn then_wipe_stack<T>(f: impl FnOnce() -> T) -> T {
    // Not inlined, so that the frames of both begin at the same place.
    #[inline(never)]
    fn run<T>(f: impl FnOnce() -> T) -> T {
        f()
    }
    #[inline(never)]
    fn wipe() {
        // A variable: a reference to the expression would be to a constant.
        let area = [0_u8; DEPTH];
        optimization_barrier(&area);
    }
    let result = run(f);
    wipe();
    result
}

/// Overwrites a value of a type that can't do so itself, where it stands.
fn wipe<T: Default>(value: &mut T) {
    *value = T::default();
    optimization_barrier(value);
}

#[cfg(test)]
mod tests;
