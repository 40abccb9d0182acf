//! What the library was compiled to need of the processor (.cargo/config.toml).

use crate::error::Error;

/// Refuses a processor without the instructions that were compiled in statically.
///
/// `is_x86_feature_detected!` would answer from the build flags, so CPUID is asked (Intel SDM, leaf
/// 1, ECX).
#[cfg(target_arch = "x86_64")]
pub fn check() -> Result<(), Error> {
    const PCLMULQDQ: u32 = 1 << 1;
    const SSE4_2: u32 = 1 << 20;
    const AES: u32 = 1 << 25;
    const AVX: u32 = 1 << 27 | 1 << 28;
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 processor has CPUID and leaf 1.
    let ecx = unsafe { std::arch::x86_64::__cpuid(1) }.ecx;
    let needed = [
        (cfg!(target_feature = "sse4.2"), SSE4_2, "SSE4.2"),
        (cfg!(target_feature = "aes"), AES, "AES-NI"),
        (cfg!(target_feature = "pclmulqdq"), PCLMULQDQ, "PCLMULQDQ"),
        (cfg!(target_feature = "avx"), AVX, "AVX"),
    ];
    match needed.into_iter().find(|&(built, bits, _)| built && ecx & bits != bits) {
        Some((_, _, feature)) => Err(Error::Processor { feature }),
        None => Ok(()),
    }
}

/// Nothing is compiled in beyond the architecture's baseline.
#[cfg(not(target_arch = "x86_64"))]
pub fn check() -> Result<(), Error> {
    Ok(())
}
