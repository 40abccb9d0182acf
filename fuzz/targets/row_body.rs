//! Any bytes as a row body: no panic, and what parses is what would be written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealed_crypto::RowBody;

fuzz_target!(|input: &[u8]| {
    let Ok(body) = RowBody::parse(input) else { return };
    let mut head = [0; RowBody::LEN];
    assert_eq!(body.write(&mut head), Ok(()));
    assert_eq!(head, input[..RowBody::LEN]);
    let bitmap = if body.has_null { usize::from(body.natts).div_ceil(8) } else { 0 };
    assert!(RowBody::TUPLE_FROM + bitmap <= usize::from(body.hoff));
    assert!(usize::from(body.hoff) % 8 == 0);
    assert!(input.len() - RowBody::LEN + RowBody::TUPLE_FROM >= usize::from(body.hoff));
});
