//! `calls WHAT BYTES TIMES`: one function, so many times over. `benches/instructions` runs it under callgrind, twice,
//! and takes the difference, so that what comes before and after the calls does not count. `calls backend 0 0` prints
//! which instructions the cipher is computed with.
#![allow(clippy::print_stdout)]

use std::hint::black_box;

use nonces::Nonces;
use sealed_crypto::{
    Dek, Id, IndexKey, KernelRng, LayoutId, LayoutKey, OVERHEAD, Seal, SubkeyCache, backend_in_use,
    open_row, seal_row,
};

#[path = "../benches/nonces/mod.rs"]
mod nonces;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [what, bytes, times] = &args[..] else { panic!("usage: calls WHAT BYTES TIMES") };
    let (bytes, times): (usize, u32) =
        (bytes.parse().expect("BYTES"), times.parse().expect("TIMES"));
    if what == "backend" {
        println!("{}", backend_in_use().name());
        return;
    }
    let layout = LayoutId::new(1).expect("layout id");
    let row_key =
        LayoutKey::derive(&Dek::random(&mut KernelRng), &Id::make(&mut KernelRng), layout);
    let index_key = IndexKey::derive(&row_key, 1);
    let mut cache = SubkeyCache::new();
    let mut nonces = Nonces::default();
    let mut payload = vec![7; OVERHEAD + bytes];
    let mut body = vec![0; bytes];
    let value = [7; 8];
    let mut block = index_key.seal_short(Seal::Random(nonces.next()), value);

    let run = |call: &mut dyn FnMut() -> bool| (0..times).for_each(|_| assert!(black_box(call())));
    match what.as_str() {
        "seal_row" => {
            run(&mut || {
                seal_row(&row_key, &mut cache, nonces.next(), black_box(&mut payload)).is_ok()
            });
        }
        "open_row" => {
            seal_row(&row_key, &mut cache, nonces.next(), &mut payload).expect("seal");
            run(&mut || open_row(&row_key, &mut cache, black_box(&payload), &mut body).is_ok());
        }
        "seal_key" if bytes == 8 => run(&mut || {
            block = index_key.seal_short(Seal::Random(nonces.next()), black_box(value));
            true
        }),
        "open_key" if bytes == 8 => run(&mut || index_key.open_short(black_box(&block)).is_ok()),
        "seal_key" => run(&mut || {
            let how = Seal::Random(nonces.next());
            index_key.seal_long(how, &mut cache, black_box(&mut payload)).is_ok()
        }),
        "open_key" => {
            let how = Seal::Random(nonces.next());
            index_key.seal_long(how, &mut cache, &mut payload).expect("seal");
            run(&mut || index_key.open_long(&mut cache, black_box(&payload), &mut body).is_ok());
        }
        "hash_key" => run(&mut || index_key.hash(black_box(7)) != 0),
        _ => panic!("no such function: {what}"),
    }
}
