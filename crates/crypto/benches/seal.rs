//! Nanoseconds to seal and open a row, by its length: `cargo bench -p sealed-crypto`.
//!
//! Each figure is the fastest of 61 batches of 1000 calls, so that other work on the machine does not
//! count. `seal` and `open` use one subkey; `hop` opens rows of 64 layouts in turn (in the cache, but
//! never the last one used); `miss` opens rows of 4096 layouts, so that each derives its subkey.
//! Copying the plaintext in for sealing is part of the figure, and so are the nonce and its share of
//! getrandom(2).
//!
//! 2026-11-23, AMD EPYC (Zen 4), 2 virtual CPUs with other work on them:
//!
//! ```text
//!  bytes     seal     open      hop     miss
//!     32       40       23       44      177
//!     64       40       25       56      182
//!    100       43       25       46      183
//!    150       46       29       59      188
//!    200       48       33       56      195
//!    512      130       72      101      240
//!   1958      301      218      265      406
//!   8192     1108      904      944     1166
//! ```
//!
//! That is with `vaes512`; the cipher alone, by backend: `cargo bench -p sealed-aead`. With GCM put together from
//! `aes` and `ghash` before: 82 to seal and 71 to open 100 bytes, 114 and 102 for 200; with `aes-gcm`: 150 and 154,
//! 169 and 178. With an IV that was stored byte by byte: 64 and 35, 73 and 43.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use nonces::Nonces;
use sealed_crypto::rand_core::Rng;
use sealed_crypto::{
    DataKeyHeader, Dek, Id, KernelRng, LayoutId, LayoutKey, MasterKey, MasterSeed, OVERHEAD,
    SubkeyCache, Suite, open_row, seal_row, unwrap_key, wrap_key,
};

mod nonces;

const LENGTHS: [usize; 8] = [32, 64, 100, 150, 200, 512, 1996 - OVERHEAD, 8192];
const CALLS: u32 = 1000;

fn main() {
    // `cargo test --all-targets` runs this binary too, without this argument.
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    rows();
    keys();
}

fn rows() {
    let dek = Dek::random(&mut KernelRng);
    let table = Id::make(&mut KernelRng);
    let keys: Vec<LayoutKey> = (1..=4096).map(|n| derive(&dek, &table, n)).collect();
    println!("{:>6} {:>8} {:>8} {:>8} {:>8}", "bytes", "seal", "open", "hop", "miss");
    for len in LENGTHS {
        let mut nonces = Nonces::default();
        let mut cache = SubkeyCache::new();
        let mut plain = vec![0; len];
        KernelRng.fill_bytes(&mut plain);
        let mut payload = vec![0; OVERHEAD + len];
        let mut body = vec![0; len];

        let seal = fastest(|| {
            payload[OVERHEAD..].copy_from_slice(&plain);
            seal_row(&keys[0], &mut cache, nonces.next(), black_box(&mut payload)).is_ok()
        });
        let open = fastest(|| {
            open_row(&keys[0], &mut cache, black_box(&payload), black_box(&mut body)).is_ok()
        });
        assert_eq!(body, plain);

        let sealed: Vec<Vec<u8>> = keys
            .iter()
            .map(|k| {
                let mut p = [&[0; OVERHEAD], &plain[..]].concat();
                seal_row(k, &mut cache, nonces.next(), &mut p).expect("seal");
                p
            })
            .collect();
        let mut in_turn = |layouts: usize| {
            let mut turn = 0;
            fastest(|| {
                turn = (turn + 1) % layouts;
                open_row(&keys[turn], &mut cache, black_box(&sealed[turn]), &mut body).is_ok()
            })
        };
        let hop = in_turn(64);
        let miss = in_turn(keys.len());
        println!("{len:>6} {seal:>8.0} {open:>8.0} {hop:>8.0} {miss:>8.0}");
    }
}

fn keys() {
    println!("{:>22} {:>8} {:>8} {:>8}   (us)", "suite", "derive", "wrap", "unwrap");
    for suite in Suite::ALL {
        let seed = MasterSeed::random(&mut KernelRng);
        let id = Id::make(&mut KernelRng);
        let master = MasterKey::derive(id, suite, &seed).expect("derive");
        let table = Id::make(&mut KernelRng);
        let header = DataKeyHeader::data_key(&master, id, 1, table, 0);
        let record = wrap_key(&mut KernelRng, &master, &header, &[7; 32]).expect("wrap");
        let us = |f: &mut dyn FnMut() -> bool| {
            let mut runs: Vec<f64> = (0..401)
                .map(|_| {
                    let start = Instant::now();
                    assert!(black_box(f()));
                    start.elapsed().as_nanos() as f64 / 1000.0
                })
                .collect();
            runs.sort_by(f64::total_cmp);
            runs[runs.len() / 2]
        };
        let derive = us(&mut || MasterKey::derive(id, suite, &seed).is_ok());
        let wrap = us(&mut || wrap_key(&mut KernelRng, &master, &header, &[7; 32]).is_ok());
        let unwrap = us(&mut || unwrap_key(&master, &record).is_ok());
        println!("{:>22} {derive:>8.0} {wrap:>8.0} {unwrap:>8.0}", suite.name());
    }
}

fn derive(dek: &Dek, table: &Id, layout: u32) -> LayoutKey {
    LayoutKey::derive(dek, table, LayoutId::new(layout).expect("layout id"))
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
