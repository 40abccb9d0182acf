//! That nothing depends on a secret but what must: keys and texts are made undefined memory, and valgrind counts
//! the branches and the addresses that are made of such. It has no AVX-512, so `vaes512` is not reached by this: its
//! code is searched. `tests/memcheck` does both.

use core::arch::asm;

use crate::{Aes256, Backend, Gcm};

/// A client request (valgrind.h, amd64): rotations that come to nothing, but valgrind knows them. `None` without it.
fn request(args: [u64; 6]) -> u64 {
    let mut answer = u64::MAX;
    // SAFETY: a register is rotated by 128 bits and another one exchanged with itself. Valgrind reads the six
    // numbers and answers in RDX.
    unsafe {
        asm!(
            "rol rdi, 3", "rol rdi, 13", "rol rdi, 61", "rol rdi, 51", "xchg rbx, rbx",
            inout("rdx") answer, in("rax") args.as_ptr(), options(nostack),
        );
    }
    answer
}

const RUNNING: u64 = 0x1001;
const COUNT_ERRORS: u64 = 0x1201;
const UNDEFINED: u64 = 0x4d43_0001;
const DEFINED: u64 = 0x4d43_0002;

fn mark(as_what: u64, bytes: &mut [u8]) {
    request([as_what, bytes.as_mut_ptr().addr() as u64, bytes.len() as u64, 0, 0, 0]);
}

/// How often something depended on a secret.
fn counted<T>(call: impl FnOnce() -> T) -> (u64, T) {
    let before = request([COUNT_ERRORS, 0, 0, 0, 0, 0]);
    let result = call();
    (request([COUNT_ERRORS, 0, 0, 0, 0, 0]) - before, result)
}

#[test]
#[ignore = "under valgrind: tests/memcheck"]
fn only_the_decision_depends_on_secrets() {
    assert_eq!(request([RUNNING, 0, 0, 0, 0, 0]), 1, "run it under valgrind");
    // The method works.
    let mut secret = [1_u8; 16];
    mark(UNDEFINED, &mut secret);
    let branch =
        || if core::hint::black_box(secret[3]) > 100 { core::hint::black_box(7) } else { 0 };
    assert_eq!(counted(branch).0, 1);

    for backend in Backend::ALL.into_iter().filter(|b| b.is_available()) {
        let (mut key, aad, more) = ([0x5c; 32], [1; 39], [2; 21]);
        mark(UNDEFINED, &mut key);
        let (count, gcm) = counted(|| Gcm::with(backend, &key, &aad).expect("backend"));
        assert_eq!(count, 0, "{backend:?}: a key");
        for len in (0..300).chain([1000, 2011]) {
            let more = &more[..len % 22];
            let mut text = vec![3; len];
            mark(UNDEFINED, &mut text);
            let (count, tag) = counted(|| gcm.seal(&[9; 12], more, &mut text));
            assert_eq!(count, 0, "{backend:?}: seals {len} bytes");
            let mut tag = tag.expect("seal");
            // What is sealed, everybody may see. That it is right or wrong, too: one branch.
            mark(DEFINED, &mut text);
            mark(DEFINED, &mut tag);
            let mut out = vec![0; len];
            let (count, opened) = counted(|| gcm.open(&[9; 12], more, &text, &tag, &mut out));
            assert_eq!((count, opened.is_ok()), (1, true), "{backend:?}: opens {len} bytes");
            tag[len % 16] ^= 1;
            let (count, opened) = counted(|| gcm.open(&[9; 12], more, &text, &tag, &mut out));
            assert_eq!((count, opened.is_ok()), (1, false), "{backend:?}: refuses {len} bytes");
        }
        let (count, ()) = counted(|| {
            let aes = Aes256::with(backend, &key).expect("backend");
            let mut block = secret;
            aes.encrypt(&mut block);
            aes.decrypt(&mut block);
        });
        assert_eq!(count, 0, "{backend:?}: blocks");
        let (count, ()) = counted(|| drop(gcm));
        assert_eq!(count, 0, "{backend:?}: wipes");
    }
}
