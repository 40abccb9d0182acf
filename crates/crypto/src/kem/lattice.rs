//! ML-KEM (FIPS 203) with expanded keys, by `libcrux-ml-kem`.
//!
//! Its own choice among its implementations is only for keys that are not expanded, so it is made here:
//! AVX2 if the processor has it, else portable code. That for ARM is left alone: no machine of this
//! project could test it. All secrets are arguments or results by reference; what the library leaves on
//! the stack is the caller's to wipe (`then_wipe_stack`).

/// Which code of the library is used. Both give the same (tested).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Only where [`Code::best`] says so.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Code {
    /// The fastest that this processor runs.
    pub(crate) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            return Self::Avx2;
        }
        Self::Portable
    }
}

/// The seed of a key pair: d and z of FIPS 203.
pub(crate) const SEED_LEN: usize = 64;
/// A shared secret; also m, the randomness of an encapsulation.
pub(crate) const SECRET_LEN: usize = 32;

macro_rules! parameter_set {
    ($(#[$doc:meta])* $module:ident, $lib:ident, $pair:ident, $public:ident, $public_len:literal, $enc_len:literal) => {
        $(#[$doc])*
        pub(crate) mod $module {
            use libcrux_ml_kem::$lib::{self as lib, portable};
            #[cfg(target_arch = "x86_64")]
            use libcrux_ml_kem::$lib::avx2;

            use super::{Code, SECRET_LEN, SEED_LEN};
            use crate::kem::wipe;

            pub(crate) const PUBLIC_LEN: usize = $public_len;
            pub(crate) const ENC_LEN: usize = $enc_len;

            /// A decapsulation key with all that follows from its seed. Wiped on drop.
            pub(crate) struct PrivateKey(Pair);

            enum Pair {
                #[cfg(target_arch = "x86_64")]
                Avx2(Box<avx2::unpacked::$pair>),
                Portable(Box<portable::unpacked::$pair>),
            }

            impl PrivateKey {
                pub(crate) fn from_seed(code: Code, seed: &[u8; SEED_LEN]) -> Self {
                    Self(match code {
                        #[cfg(target_arch = "x86_64")]
                        Code::Avx2 => {
                            // In place: the library's other function returns the pair, through the stack.
                            let mut pair = Box::new(avx2::unpacked::init_key_pair());
                            avx2::unpacked::generate_key_pair_mut(*seed, &mut pair);
                            Pair::Avx2(pair)
                        }
                        Code::Portable => {
                            let mut pair = Box::new(portable::unpacked::init_key_pair());
                            portable::unpacked::generate_key_pair_mut(*seed, &mut pair);
                            Pair::Portable(pair)
                        }
                    })
                }

                pub(crate) fn public_key(&self) -> PublicKey {
                    PublicKey(match &self.0 {
                        #[cfg(target_arch = "x86_64")]
                        Pair::Avx2(pair) => Public::Avx2(Box::new(pair.public_key().clone())),
                        Pair::Portable(pair) => Public::Portable(Box::new(pair.public_key().clone())),
                    })
                }

                pub(crate) fn public_bytes(&self) -> [u8; PUBLIC_LEN] {
                    match &self.0 {
                        #[cfg(target_arch = "x86_64")]
                        Pair::Avx2(pair) => avx2::unpacked::key_pair_serialized_public_key(pair),
                        Pair::Portable(pair) => portable::unpacked::key_pair_serialized_public_key(pair),
                    }
                    .into()
                }

                /// A damaged encapsulation gives some other secret: implicit rejection.
                pub(crate) fn decapsulate(&self, enc: &[u8; ENC_LEN], secret: &mut [u8; SECRET_LEN]) {
                    let enc = enc.into();
                    *secret = match &self.0 {
                        #[cfg(target_arch = "x86_64")]
                        Pair::Avx2(pair) => avx2::unpacked::decapsulate(pair, &enc),
                        Pair::Portable(pair) => portable::unpacked::decapsulate(pair, &enc),
                    };
                }
            }

            impl Drop for PrivateKey {
                fn drop(&mut self) {
                    match &mut self.0 {
                        #[cfg(target_arch = "x86_64")]
                        Pair::Avx2(pair) => wipe(&mut **pair),
                        Pair::Portable(pair) => wipe(&mut **pair),
                    }
                }
            }

            /// An encapsulation key with its matrix.
            pub(crate) struct PublicKey(Public);

            enum Public {
                #[cfg(target_arch = "x86_64")]
                Avx2(Box<avx2::unpacked::$public>),
                Portable(Box<portable::unpacked::$public>),
            }

            impl PublicKey {
                /// `None` if a coefficient is not reduced: the modulus check of FIPS 203, 7.2.
                pub(crate) fn from_bytes(code: Code, bytes: &[u8; PUBLIC_LEN]) -> Option<Self> {
                    let key = bytes.into();
                    if !lib::validate_public_key(&key) {
                        return None;
                    }
                    Some(Self(match code {
                        #[cfg(target_arch = "x86_64")]
                        Code::Avx2 => {
                            let mut public = Box::new(avx2::unpacked::init_public_key());
                            avx2::unpacked::unpacked_public_key(&key, &mut public);
                            Public::Avx2(public)
                        }
                        Code::Portable => {
                            let mut public = Box::new(portable::unpacked::init_public_key());
                            portable::unpacked::unpacked_public_key(&key, &mut public);
                            Public::Portable(public)
                        }
                    }))
                }

                /// With `m`, which must be random and used for nothing else.
                pub(crate) fn encapsulate(
                    &self,
                    m: &[u8; SECRET_LEN],
                    secret: &mut [u8; SECRET_LEN],
                ) -> [u8; ENC_LEN] {
                    let enc;
                    (enc, *secret) = match &self.0 {
                        #[cfg(target_arch = "x86_64")]
                        Public::Avx2(public) => avx2::unpacked::encapsulate(public, *m),
                        Public::Portable(public) => portable::unpacked::encapsulate(public, *m),
                    };
                    enc.into()
                }
            }
        }
    };
}

parameter_set! {
    /// ML-KEM-768.
    ml_kem_768, mlkem768, MlKem768KeyPairUnpacked, MlKem768PublicKeyUnpacked, 1184, 1088
}
parameter_set! {
    /// ML-KEM-1024.
    ml_kem_1024, mlkem1024, MlKem1024KeyPairUnpacked, MlKem1024PublicKeyUnpacked, 1568, 1568
}

#[cfg(test)]
mod tests;
