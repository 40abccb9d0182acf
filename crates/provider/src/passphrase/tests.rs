use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn quiet() -> Env<'static> {
    let deadline = Duration::from_secs(5);
    Env { data_dir: Path::new("/nowhere"), deadline, cancelled: &|| false }
}

fn header() -> Header {
    Header { memory_kib: *MEMORY_KIB.start(), iterations: 2, salt: *b"sixteen of salt." }
}

#[test]
fn argon2id_is_the_one_of_rfc_9106() {
    // Section 5.3.
    let params = argon2::ParamsBuilder::new()
        .m_cost(32)
        .t_cost(3)
        .p_cost(4)
        .data(argon2::AssociatedData::new(&[4; 12]).expect("short"))
        .build()
        .expect("within limits");
    let argon2 =
        Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params).expect("ok");
    let mut tag = [0; 32];
    argon2.hash_password_into(&[1; 32], &[2; 16], &mut tag).expect("derived");
    let expected = [
        0x0d, 0x64, 0x0d, 0xf5, 0x8d, 0x78, 0x76, 0x6c, 0x08, 0xc0, 0x37, 0xa3, 0x4a, 0x8b, 0x53,
        0xc9, 0xd0, 0x1e, 0xf0, 0x45, 0x2d, 0x75, 0xb6, 0x5e, 0xb5, 0x25, 0x20, 0xe9, 0x6b, 0x01,
        0xe6, 0x59,
    ];
    assert_eq!(tag, expected);
}

#[test]
fn the_key_depends_on_everything() {
    let env = quiet();
    let key = header().derive("correct horse battery", &env).expect("derived");
    let same = header().derive("correct horse battery", &env).expect("derived");
    assert_eq!(key, same);
    let others = [
        header().derive("correct horse batterz", &env),
        Header { salt: *b"sixteen of salt!", ..header() }.derive("correct horse battery", &env),
        Header { iterations: 3, ..header() }.derive("correct horse battery", &env),
        Header { memory_kib: 20_000, ..header() }.derive("correct horse battery", &env),
    ];
    for other in others {
        assert_ne!(key, other.expect("derived"));
    }
}

#[test]
fn one_end_of_line_does_not_count() {
    for raw in ["open sesame 12", "open sesame 12\n", "open sesame 12\r\n"] {
        assert_eq!(line(raw.as_bytes()).expect("a line").as_str(), "open sesame 12");
    }
    assert_eq!(line(" ä \n".as_bytes()).expect("a line").as_str(), " ä ");
    let long = vec![b'x'; MAX_BYTES];
    assert_eq!(line(&long).expect("a line").len(), MAX_BYTES);
}

#[test]
fn what_is_not_a_line() {
    for empty in ["", "\n", "\r\n"] {
        assert_eq!(line(empty.as_bytes()), Err(Error::PassphraseEmpty));
    }
    for strange in [&b"two\nlines"[..], b"two\n\n", b"a\0b", b"tab\t", b"cr\r", b"\xff\xfe"] {
        assert_eq!(line(strange), Err(Error::PassphraseNotText), "{strange:?}");
    }
    assert_eq!(line(&vec![b'x'; MAX_BYTES + 1]), Err(Error::PassphraseTooLong { max: MAX_BYTES }));
}

#[test]
fn a_header_asking_for_too_much_is_refused() {
    let with = |memory_kib, iterations| Header { memory_kib, iterations, ..header() }.write();
    for (memory_kib, iterations) in [
        (0, 2),
        (19_455, 2),
        (1_048_577, 2),
        (u32::MAX, 2),
        (19_456, 0),
        (19_456, 17),
        (19_456, u32::MAX),
    ] {
        assert_eq!(Header::parse(&with(memory_kib, iterations)), Err(Error::BlobLimit));
    }
    let mut lanes = header().write();
    lanes[17] = 2;
    assert_eq!(Header::parse(&lanes), Err(Error::BlobLimit));
}

#[test]
fn a_header_that_is_not_ours_is_refused() {
    let whole = header().write();
    assert_eq!(Header::parse(&whole), Ok((header(), &[][..])));
    for end in 0..whole.len() {
        assert_eq!(Header::parse(&whole[..end]), Err(Error::UnknownFormat), "{end} bytes");
    }
    for place in 0..6 {
        let mut other = whole.clone();
        other[place] ^= 0x10;
        assert_eq!(Header::parse(&other), Err(Error::UnknownFormat), "byte {place}");
    }
}

proptest! {
    #[test]
    fn headers_survive_writing(memory_kib in MEMORY_KIB, iterations in ITERATIONS, salt: [u8; 16], rest: Vec<u8>) {
        let header = Header { memory_kib, iterations, salt };
        let mut blob = header.write();
        prop_assert_eq!(blob.len(), HEADER_LEN);
        blob.extend_from_slice(&rest);
        prop_assert_eq!(Header::parse(&blob), Ok((header, &rest[..])));
    }

    #[test]
    fn any_bytes_are_a_header_within_limits_or_an_error(mut blob: Vec<u8>, ours: bool) {
        if ours {
            blob.splice(0..0, *b"PGSP\x01\x01");
        }
        if let Ok((header, _)) = Header::parse(&blob) {
            prop_assert!(MEMORY_KIB.contains(&header.memory_kib));
            prop_assert!(ITERATIONS.contains(&header.iterations));
        }
    }

    #[test]
    fn any_bytes_are_a_line_or_an_error(raw: Vec<u8>) {
        if let Ok(phrase) = line(&raw) {
            prop_assert!(raw.starts_with(phrase.as_bytes()));
            prop_assert!(raw.len() - phrase.len() <= 2);
        }
    }
}
