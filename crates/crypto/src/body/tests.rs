use super::*;
use proptest::prelude::*;

fn bytes(b: RowBody, tuple_len: usize) -> Result<Vec<u8>, Error> {
    let mut head = [0; RowBody::LEN];
    b.write(&mut head)?;
    Ok([&head[..], &vec![0; tuple_len]].concat())
}

fn body(natts: u16, has_null: bool) -> RowBody {
    let hoff = RowBody::hoff_for(natts, has_null) as u8;
    RowBody { natts, has_null, has_varwidth: false, has_external: false, hoff }
}

#[test]
fn hoff_is_postgresqls() {
    assert_eq!(RowBody::hoff_for(0, false), 24);
    assert_eq!(RowBody::hoff_for(1600, false), 24);
    assert_eq!(RowBody::hoff_for(0, true), 24);
    assert_eq!(RowBody::hoff_for(8, true), 24);
    assert_eq!(RowBody::hoff_for(9, true), 32);
    assert_eq!(RowBody::hoff_for(1600, true), 224);
}

#[test]
fn bits_are_where_format_md_draws_them() {
    let all = RowBody { has_varwidth: true, has_external: true, ..body(0x555, true) };
    let all = RowBody { hoff: RowBody::hoff_for(0x555, true) as u8, ..all };
    assert_eq!(bytes(all, 300).map(|b| b[..3].to_vec()), Ok(vec![0b0011_1101, 0x55, all.hoff]));
    assert_eq!(bytes(body(3, false), 1).map(|b| b[..3].to_vec()), Ok(vec![0, 3, 24]));
}

#[test]
fn contradictions_are_refused() {
    let bad = |b: &[u8]| assert_eq!(RowBody::parse(b), Err(Error::BadRowBody), "{b:?}");
    bad(&[]);
    bad(&[0, 3]);
    // The tuple must reach to hoff: one byte of padding after the 23 of the header.
    bad(&[0, 3, 24]);
    assert_eq!(RowBody::parse(&[0, 3, 24, 0]), Ok(body(3, false)));
    for hoff in (0..=255).filter(|h| *h != 24) {
        bad(&[&[0, 3, hoff][..], &[0; 400]].concat());
    }
    for unused in [0x40, 0x80, 0xc0] {
        bad(&[unused, 3, 24, 0]);
    }
    // 1601 attributes
    bad(&[&[0x06, 0x41, 24][..], &[0; 9]].concat());
    assert_eq!(bytes(body(1601, false), 9), Err(Error::BadRowBody));
    assert_eq!(bytes(RowBody { hoff: 32, ..body(3, false) }, 9), Err(Error::BadRowBody));
    assert_eq!(bytes(RowBody { natts: 3 | 1 << 11, ..body(3, false) }, 9), Err(Error::BadRowBody));
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        natts in 0..=RowBody::MAX_NATTS,
        has_null: bool,
        has_varwidth: bool,
        has_external: bool,
        more in 0_usize..64,
    ) {
        let b = RowBody { has_varwidth, has_external, ..body(natts, has_null) };
        let need = usize::from(b.hoff) - RowBody::TUPLE_FROM;
        prop_assert_eq!(RowBody::parse(&bytes(b, need + more)?), Ok(b));
        prop_assert_eq!(RowBody::parse(&bytes(b, need - 1)?), Err(Error::BadRowBody));
    }

    #[test]
    fn what_is_read_is_written_back(input in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(b) = RowBody::parse(&input) {
            let mut head = [0; RowBody::LEN];
            b.write(&mut head)?;
            prop_assert_eq!(&head[..], &input[..RowBody::LEN]);
            prop_assert!(usize::from(b.hoff) <= input.len() - RowBody::LEN + RowBody::TUPLE_FROM);
        }
    }
}
