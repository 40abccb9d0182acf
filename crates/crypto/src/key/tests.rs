use super::*;
use crate::KernelRng;

fn master(suite: Suite) -> MasterKey {
    let seed = MasterSeed::from_fn(|b| b.fill(0x42));
    MasterKey::derive(Id([1; 16]), suite, &seed).expect("derive")
}

#[test]
fn keys_come_back() {
    for suite in Suite::ALL {
        let master = master(suite);
        assert_eq!(master.public_key().len(), suite.public_key_len());
        let header = DataKeyHeader::data_key(&master, Id([2; 16]), 3, Id([4; 16]), 5);
        let record = wrap_key(&mut KernelRng, &master, &header, &[6; 32]).expect("wrap");
        assert_eq!(record.len(), HEADER_LEN + 2 + suite.enc_len() + 2 + 48);
        assert_eq!(parse_key_header(&record), Ok(header));
        let (h, key) = unwrap_key(&master, &record).expect("unwrap");
        assert_eq!((h, &key[..]), (header, &[6; 32][..]));
        assert_eq!(
            open_recipient_record(&[0; 32], &record).map(|_| ()),
            Err(Error::WrongRecipient)
        );

        for len in 0..70 {
            let header = DataKeyHeader::app_key(&master, Id([2; 16]), 5);
            let wrapped = wrap_key(&mut KernelRng, &master, &header, &vec![9; len]);
            if (16..=64).contains(&len) {
                let (h, key) = unwrap_key(&master, &wrapped.expect("wrap")).expect("unwrap");
                assert_eq!((h, &key[..]), (header, &vec![9; len][..]));
            } else {
                assert_eq!(wrapped, Err(Error::WrongLength));
            }
        }
    }
}

#[test]
fn a_master_key_vouches_for_the_recipients_it_knows_and_no_other() {
    for suite in Suite::ALL {
        let master = master(suite);
        let mac = master.recipient_mac(&Id([2; 16]), Suite::XWingAes256, &[3; 1216]);
        assert!(master.vouches_for(&Id([2; 16]), Suite::XWingAes256, &[3; 1216], &mac));
        assert!(!master.vouches_for(&Id([9; 16]), Suite::XWingAes256, &[3; 1216], &mac));
        assert!(!master.vouches_for(&Id([2; 16]), Suite::MlKem1024Aes256, &[3; 1216], &mac));
        assert!(!master.vouches_for(&Id([2; 16]), Suite::XWingAes256, &[4; 1216], &mac));
        assert!(!master.vouches_for(&Id([2; 16]), Suite::XWingAes256, &[3; 1216], &mac[..31]));
        assert!(!master.vouches_for(&Id([2; 16]), Suite::XWingAes256, &[3; 1216], &[]));
        let other = MasterSeed::from_fn(|b| b.fill(0x43));
        let other = MasterKey::derive(Id([1; 16]), suite, &other).expect("derive");
        assert!(!other.vouches_for(&Id([2; 16]), Suite::XWingAes256, &[3; 1216], &mac));
    }
}

#[test]
fn recipients_get_keys_too_and_the_server_does_not_open_those() {
    for suite in Suite::ALL {
        let (private, public) = generate_recipient(&mut KernelRng, suite);
        assert_eq!(private.len(), suite.private_key_len());
        assert_eq!(check_public_key(suite, &public), Ok(()));
        let server = master(suite);
        let header = DataKeyHeader::data_key(&server, Id([2; 16]), 3, Id([4; 16]), 5);
        let id = header.recipient_id;
        let record =
            wrap_key_to(&mut KernelRng, suite, id, &public, &header, &[6; 32]).expect("wrap");
        assert_eq!(KeyRecord::parse(&record).map(|r| r.mode), Ok(Mode::Base));
        assert_eq!(unwrap_key(&server, &record).map(|_| ()), Err(Error::BaseMode));
        let (h, key) = open_recipient_record(&private, &record).expect("open");
        assert_eq!((h, &key[..]), (header, &[6; 32][..]));
    }
}

#[test]
fn headers_must_agree_with_the_key_they_name() {
    let (one, two) = (master(Suite::XWingAes256), master(Suite::MlKem1024Aes256));
    let good = DataKeyHeader::data_key(&one, Id([2; 16]), 3, Id([4; 16]), 5);
    let wrap =
        |m: &MasterKey, h: &DataKeyHeader| wrap_key(&mut KernelRng, m, h, &[6; 32]).map(drop);
    assert_eq!(wrap(&one, &good), Ok(()));
    assert_eq!(wrap(&two, &good), Err(Error::BadHeader));
    assert_eq!(
        wrap(&one, &DataKeyHeader { recipient_id: Id([9; 16]), ..good }),
        Err(Error::BadHeader)
    );
    assert_eq!(wrap(&one, &DataKeyHeader { table: Id::NIL, ..good }), Err(Error::BadHeader));
    assert_eq!(
        wrap(&one, &DataKeyHeader { purpose: Purpose::AppKey, ..good }),
        Err(Error::BadHeader)
    );
    let short = wrap_key(&mut KernelRng, &one, &good, &[6; 31]);
    assert_eq!(short.map(drop), Err(Error::WrongLength));
}

#[test]
fn derivation_is_repeatable_and_tells_suites_and_seeds_apart() {
    let (one, two) = (master(Suite::XWingAes256), master(Suite::MlKem1024Aes256));
    assert_eq!(one.public_key(), master(Suite::XWingAes256).public_key());
    assert_eq!(one.check_value(), master(Suite::XWingAes256).check_value());
    assert_ne!(one.check_value(), two.check_value());
    assert_ne!(*one.psk, *two.psk);
    let other = MasterSeed::from_fn(|b| b.fill(0x43));
    let other = MasterKey::derive(one.id, one.suite, &other).expect("derive");
    assert_ne!(one.check_value(), other.check_value());
    assert_eq!(
        format!("{one:?}"),
        r#"MasterKey { id: Id([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]), suite: XWingAes256, .. }"#
    );
}

#[test]
fn keys_grow_old() {
    let header =
        DataKeyHeader::data_key(&master(Suite::XWingAes256), Id::NIL, 1, Id([4; 16]), 1000);
    let at = |age: i64| header.age(age.saturating_add(1000));
    assert_eq!(at(0), KeyAge::Fresh);
    assert_eq!(at(i64::MIN), KeyAge::Fresh);
    assert_eq!(at(-1), KeyAge::Fresh);
    assert_eq!(at(DataKeyHeader::DUE_US - 1), KeyAge::Fresh);
    assert_eq!(at(DataKeyHeader::DUE_US), KeyAge::Due);
    assert_eq!(at(DataKeyHeader::SPENT_US - 1), KeyAge::Due);
    assert_eq!(at(DataKeyHeader::SPENT_US), KeyAge::Spent);
    assert_eq!(at(i64::MAX), KeyAge::Spent);
}

#[test]
fn other_public_keys_are_refused() {
    let public = master(Suite::XWingAes256).public_key();
    assert_eq!(check_public_key(Suite::MlKem1024Aes256, &public), Err(Error::BadPublicKey));
    assert_eq!(check_public_key(Suite::XWingAes256, &public[1..]), Err(Error::BadPublicKey));
    // A coefficient of 4095 is not reduced modulo 3329.
    let mut high = public;
    high[..2].fill(0xff);
    assert_eq!(check_public_key(Suite::XWingAes256, &high), Err(Error::BadPublicKey));
}

/// Authentic, but with the check value of another key: a writer with the seed and a bug.
#[test]
fn a_wrong_check_value_is_refused_even_if_authentic() {
    let master = master(Suite::XWingAes256);
    let Pair::XWing(pair) = &master.pair else { unreachable!() };
    let header = DataKeyHeader::data_key(&master, Id([2; 16]), 3, Id([4; 16]), 5);
    let record = |check_value: [u8; 16]| {
        let mut record = header.encode(Mode::Psk, &check_value).to_vec();
        let (enc, ciphertext) = hpke::single_shot_seal_with_rng::<AesGcm256, HkdfSha256, XWing>(
            &OpModeS::Psk(master.psk().expect("psk")),
            &pair.1,
            &info(&header),
            &[6; 32],
            &record,
            &mut KernelRng,
        )
        .expect("seal");
        put_prefixed(&mut record, &enc.to_bytes());
        put_prefixed(&mut record, &ciphertext);
        unwrap_key(&master, &record).map(|(_, key)| key.to_vec())
    };
    assert_eq!(record(key_check_value(&[6; 32])), Ok(vec![6; 32]));
    assert_eq!(record(key_check_value(&[7; 32])), Err(Error::Damaged));
}

#[test]
fn application_keys_have_no_check_value() {
    let master = master(Suite::XWingAes256);
    let header = DataKeyHeader::app_key(&master, Id([2; 16]), 5);
    let mut record = wrap_key(&mut KernelRng, &master, &header, &[6; 32]).expect("wrap");
    assert_eq!(KeyRecord::parse(&record).map(|r| r.check_value), Ok([0; 16]));
    record[73] = 1;
    assert_eq!(parse_key_header(&record), Err(Error::Damaged));
}
