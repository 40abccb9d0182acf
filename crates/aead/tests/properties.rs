//! Random messages.

mod common;

use common::{backends, check, theirs};
use proptest::prelude::*;
use sealed_aead::{Aes256, Backend, Gcm};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn equal_to_the_aes_gcm_crate(
        key in any::<[u8; 32]>(),
        iv in any::<[u8; 12]>(),
        aad in prop::collection::vec(any::<u8>(), 0..100),
        more in prop::collection::vec(any::<u8>(), 0..100),
        plain in prop::collection::vec(any::<u8>(), 0..1500),
    ) {
        check(&key, &iv, &aad, &more, &plain);
    }

    /// Where a text begins in memory does not matter.
    #[test]
    fn at_any_place(
        key in any::<[u8; 32]>(),
        plain in prop::collection::vec(any::<u8>(), 0..300),
        at in 0_usize..64,
        to in 0_usize..64,
    ) {
        let (sealed, tag) = theirs(&key, &[1; 12], &[], &plain);
        for backend in backends() {
            let gcm = Gcm::with(backend, &key, &[]).expect("backend");
            let mut space = vec![0; at + plain.len()];
            space[at..].copy_from_slice(&plain);
            prop_assert_eq!(gcm.seal(&[1; 12], &[], &mut space[at..]), Ok(tag));
            prop_assert_eq!(&space[at..], &sealed[..]);
            let mut out = vec![0; to + plain.len()];
            prop_assert_eq!(gcm.open(&[1; 12], &[], &space[at..], &tag, &mut out[to..]), Ok(()));
            prop_assert_eq!(&out[to..], &plain[..]);
        }
    }

    #[test]
    fn blocks_are_the_same_everywhere(key in any::<[u8; 32]>(), plain in any::<[u8; 16]>()) {
        let with = |backend| Aes256::with(backend, &key).expect("backend");
        let mut expected = plain;
        with(Backend::Portable).encrypt(&mut expected);
        for backend in backends() {
            let aes = with(backend);
            let mut block = plain;
            aes.encrypt(&mut block);
            prop_assert_eq!(block, expected);
            aes.decrypt(&mut block);
            prop_assert_eq!(block, plain);
        }
    }
}
