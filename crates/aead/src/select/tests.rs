use super::*;

const ALL: [Backend; 4] = Backend::ALL;

#[test]
fn the_fastest_that_there_is() {
    assert_eq!(choose(None, |_| true, |_| true), Ok(Backend::Vaes512));
    assert_eq!(choose(None, |b| b != Backend::Vaes512, |_| true), Ok(Backend::Aesni));
    let arm = |b| matches!(b, Backend::AesPmull | Backend::Portable);
    assert_eq!(choose(None, arm, |_| true), Ok(Backend::AesPmull));
    assert_eq!(choose(None, |b| b == Backend::Portable, |_| true), Ok(Backend::Portable));
}

#[test]
fn what_gives_wrong_answers_is_not_used() {
    let right = |b| b != Backend::Vaes512;
    assert_eq!(choose(None, |_| true, right), Ok(Backend::Portable));
    let asked = choose(Some(Backend::Vaes512), |_| true, right);
    assert_eq!(asked, Err(Unusable::Broken(Backend::Vaes512)));
    assert_eq!(choose(Some(Backend::Aesni), |_| true, right), Ok(Backend::Aesni));
    // Nothing is left to be asked for instead, so that is the one to be told.
    assert_eq!(choose(None, |_| true, |_| false), Err(Unusable::Broken(Backend::Portable)));
}

#[test]
fn what_is_asked_for_or_nothing() {
    for asked in ALL {
        assert_eq!(choose(Some(asked), |_| true, |_| true), Ok(asked));
        // Not tested either: it would run instructions that there are not.
        let tested = |_| -> bool { panic!("tested") };
        assert_eq!(choose(Some(asked), |_| false, tested), Err(Unusable::Lacks(asked)));
    }
}

/// Those of another processor are not there, and nothing is made for them.
#[test]
fn each_processor_has_its_own() {
    let x86 = [Backend::Vaes512, Backend::Aesni];
    for backend in ALL {
        let other = match backend {
            Backend::Portable => false,
            Backend::AesPmull => !cfg!(target_arch = "aarch64"),
            _ => !cfg!(target_arch = "x86_64"),
        };
        assert!(!(other && backend.is_available()), "{backend:?}");
        let made = (Gcm::with(backend, &[1; 32], &[]).err(), Aes256::with(backend, &[1; 32]).err());
        // Either of the two of x86-64 has the same single blocks.
        let block = backend.is_available() || x86.contains(&backend) && x86[1].is_available();
        let lacks = |there: bool| (!there).then_some(Unusable::Lacks(backend));
        assert_eq!(made, (lacks(backend.is_available()), lacks(block)), "{backend:?}");
        // What is kept of the choice is a number.
        assert_eq!(numbered(backend as u8), Some(backend));
    }
    assert_eq!(numbered(0), None);
}

/// The digest again, of the `aes-gcm` crate.
#[test]
fn the_known_answers_are_right() {
    use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
    let mut digest = [0; 16];
    for len in LENGTHS {
        let key: [u8; 32] = core::array::from_fn(|i| match i {
            0..16 => digest[i],
            _ => bytes(len).nth(i - 16).expect("endless"),
        });
        let aad: Vec<u8> = bytes(len + 1).take(64).collect();
        let (first, rest) = aad.split_at(len % 33);
        let aad = [first, &rest[..len % 31]].concat();
        let iv: [u8; 12] = core::array::from_fn(|i| (len >> i) as u8);
        let mut text: Vec<u8> = bytes(len + 2).take(len).collect();
        let gcm = Aes256Gcm::new(&key.into());
        let tag = gcm.encrypt_inout_detached(&iv.into(), &aad, text[..].as_mut().into());
        digest = tag.expect("seal").into();
    }
    assert_eq!(u128::from_be_bytes(digest), u128::from_be_bytes(DIGEST), "{digest:02x?}");
}

#[test]
fn all_of_this_processor_give_them() {
    for backend in ALL.into_iter().filter(|b| b.is_available()) {
        assert!(known_block(backend), "{backend:?}");
        assert_eq!(known_digest(backend), Some(DIGEST), "{backend:?}");
    }
    assert!(ALL.contains(&in_use()) && in_use().is_available());
}
