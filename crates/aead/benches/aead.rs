//! Nanoseconds to seal and to open a message, by its length and backend: `cargo bench -p sealed-aead`.
//!
//! Each figure is the fastest of 61 batches of 1000 calls, so that other work on the machine does not count. All
//! have 32 bytes of associated data, which a kept key has hashed already; `aes-gcm` hashes it each time. `key` is
//! a new key. Opening is from one place into another, sealing in place.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use sealed_aead::{Aes256, Backend, Gcm};

const LENGTHS: [usize; 7] = [16, 64, 100, 128, 256, 1024, 8192];
const CALLS: u32 = 1000;

fn main() {
    // `cargo test --all-targets` runs this binary too, without this argument.
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    let (key, iv, aad) = ([7; 32], [9; 12], [3; 32]);
    print!("{:>10} {:>5}", "", "");
    LENGTHS.iter().for_each(|len| print!(" {len:>7}"));
    println!(" {:>7} {:>7}", "key", "block");
    for backend in Backend::ALL {
        let Ok(mut gcm) = Gcm::with(backend, &key, &aad) else { continue };
        let aes = Aes256::with(backend, &key).expect("backend");
        print!("{:>10} {:>5}", backend.name(), "seal");
        for len in LENGTHS {
            let mut text = vec![1; len];
            print!(" {:>7.1}", fastest(|| gcm.seal(&iv, &[], black_box(&mut text)).is_ok()));
        }
        println!(
            " {:>7.1}",
            fastest(|| {
                gcm.rekey(black_box(&key), &aad);
                true
            })
        );
        print!("{:>10} {:>5}", "", "open");
        for len in LENGTHS {
            let (mut text, mut out) = (vec![1; len], vec![0; len]);
            let tag = gcm.seal(&iv, &[], &mut text).expect("seal");
            let open = || gcm.open(&iv, &[], black_box(&text), &tag, black_box(&mut out)).is_ok();
            print!(" {:>7.1}", fastest(open));
        }
        let mut block = [1; 16];
        let decrypt = || {
            aes.decrypt(black_box(&mut block));
            true
        };
        println!(" {:>7} {:>7.1}", "", fastest(decrypt));
    }
    let gcm = Aes256Gcm::new(&key.into());
    print!("{:>10} {:>5}", "aes-gcm", "seal");
    for len in LENGTHS {
        let mut text = vec![1; len];
        let seal = || {
            let text = black_box(&mut text[..]);
            gcm.encrypt_inout_detached(&iv.into(), &aad, text.into()).is_ok()
        };
        print!(" {:>7.1}", fastest(seal));
    }
    print!("\n{:>10} {:>5}", "", "open");
    for len in LENGTHS {
        let (mut text, mut out) = (vec![1; len], vec![0; len]);
        let tag = gcm.encrypt_inout_detached(&iv.into(), &aad, text[..].as_mut().into());
        let tag = tag.expect("seal");
        let open = || {
            let text =
                InOutBuf::new(black_box(&text[..]), black_box(&mut out[..])).expect("length");
            gcm.decrypt_inout_detached(&iv.into(), &aad, text, &tag).is_ok()
        };
        print!(" {:>7.1}", fastest(open));
    }
    println!();
}

fn fastest(mut call: impl FnMut() -> bool) -> f64 {
    let runs: Vec<f64> = (0..61)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..CALLS {
                assert!(black_box(call()));
            }
            start.elapsed().as_nanos() as f64 / f64::from(CALLS)
        })
        .collect();
    runs.into_iter().fold(f64::INFINITY, f64::min)
}
