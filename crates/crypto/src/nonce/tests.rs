use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

/// Draws 1, 2, 3 … and counts.
#[derive(Default)]
struct Draws(u64);

impl Draws {
    fn draw(&mut self) -> [u8; 8] {
        self.0 += 1;
        self.0.to_be_bytes()
    }
}

fn nonces(mut block: NonceBlock) -> Vec<Nonce> {
    core::iter::from_fn(move || block.take()).collect()
}

/// Fails to compile if any of these can be cloned: both implementations would fit then.
#[test]
fn nobody_can_clone_a_nonce() {
    trait Once<Which> {
        fn once() {}
    }
    struct Cloneable;
    impl<T> Once<()> for T {}
    impl<T: Clone> Once<Cloneable> for T {}
    <Reservation as Once<_>>::once();
    <NonceBlock as Once<_>>::once();
    <Nonce as Once<_>>::once();
}

#[test]
fn zero_bytes_in_shared_memory_are_the_undrawn_state() {
    let s = SaltState::default();
    assert_eq!((s.salt, s.next, s.drawn_at_us, s.drawn), ([0; 8], 0, 0, false));
    assert_eq!(s.drawn_at_us(), None);
}

#[test]
fn a_block_gives_each_nonce_once() {
    let mut s = SaltState::default();
    let mut block = NonceBlock::new(s.reserve(3, 0, || *b"saltsalt"), *b"random");
    assert_eq!(block.remaining(), 3);
    for counter in 0..3 {
        let n = block.take().expect("nonce");
        assert_eq!((n.salt, n.rnd, n.counter), (*b"saltsalt", *b"random", counter));
    }
    assert_eq!(block.remaining(), 0);
    assert!(block.take().is_none());
    assert!(block.take().is_none());
    let next = s.reserve(1, 0, || unreachable!());
    assert_eq!(next.first, 3);
}

#[test]
fn lengths_are_clamped() {
    let mut s = SaltState::default();
    for (asked, given) in [(0, 1), (1, 1), (256, 256), (257, 256), (u32::MAX, 256)] {
        let r = s.reserve(asked, 0, || [1; 8]);
        assert_eq!(r.len, given);
        assert_eq!(nonces(NonceBlock::new(r, [0; 6])).len(), given as usize);
    }
}

#[test]
fn no_salt_serves_more_than_2_to_the_31() {
    let mut draws = Draws::default();
    let near = SaltState { salt: [9; 8], next: SALT_SEALS - 10, drawn_at_us: 0, drawn: true };
    let mut s = near;
    let r = s.reserve(10, 0, || draws.draw());
    assert_eq!((r.first, r.len, draws.0), (SALT_SEALS - 10, 10, 0));
    let r = s.reserve(1, 0, || draws.draw());
    assert_eq!((r.first, draws.0), (0, 1));
    // A run that does not fit is not split over two salts.
    let mut s = near;
    let r = s.reserve(11, 0, || draws.draw());
    assert_eq!((r.salt, r.first, draws.0), (2_u64.to_be_bytes(), 0, 2));
    // Even a state that should not exist ends in a new salt, not in an overflow.
    let mut s = SaltState { next: u32::MAX, ..near };
    assert_eq!(s.reserve(1, 0, || draws.draw()).first, 0);
}

#[test]
fn a_salt_serves_an_hour() {
    let mut draws = Draws::default();
    let mut s = SaltState::default();
    let mut reserve = |now| {
        let _ = s.reserve(1, now, || draws.draw());
        draws.0
    };
    let start = 1_000_000_000_000;
    assert_eq!(reserve(start), 1);
    assert_eq!(reserve(start + SALT_AGE_US - 1), 1);
    assert_eq!(reserve(start + SALT_AGE_US), 2);
    // The clock goes back: a little is nothing, more than an hour draws.
    assert_eq!(reserve(start), 2);
    assert_eq!(reserve(start - 1), 3);
    assert_eq!(reserve(i64::MIN), 4);
    assert_eq!(reserve(i64::MAX), 5);
}

#[test]
fn forgetting_draws_again() {
    let mut draws = Draws::default();
    let mut s = SaltState::default();
    let _ = s.reserve(5, 0, || draws.draw());
    s.forget();
    assert_eq!(s.reserve(1, 0, || draws.draw()).first, 0);
    assert_eq!(draws.0, 2);
}

#[test]
fn a_failing_generator_leaves_the_old_state() {
    let old = SaltState { salt: [9; 8], next: 7, drawn_at_us: 0, drawn: true };
    let mut s = old;
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        s.reserve(1, SALT_AGE_US, || panic!("no randomness"))
    }));
    assert!(failed.is_err());
    assert_eq!((s.salt, s.next, s.drawn), (old.salt, old.next, old.drawn));
}

#[derive(Clone, Debug)]
enum Step {
    /// A backend reserves and begins to use a block.
    Reserve { backend: usize, len: u32 },
    /// A backend takes up to so many nonces of its block.
    Take { backend: usize, count: usize },
    /// A statement ends: the rest of the block is dropped.
    EndStatement { backend: usize },
    /// Time passes, or the clock jumps.
    Clock(i64),
    /// The counter is moved close to its end, as after many seals.
    ManySeals(u32),
    /// Restart: new shared memory, no blocks.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let backend = 0_usize..8;
    prop_oneof![
        6 => (backend.clone(), 0_u32..300).prop_map(|(backend, len)| Step::Reserve { backend, len }),
        8 => (backend.clone(), 1_usize..40).prop_map(|(backend, count)| Step::Take { backend, count }),
        2 => backend.prop_map(|backend| Step::EndStatement { backend }),
        2 => (-2 * SALT_AGE_US..2 * SALT_AGE_US).prop_map(Step::Clock),
        1 => (0_u32..600).prop_map(Step::ManySeals),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Many backends, reserves, redraws and restarts: no (salt, counter) is given out twice, even
    /// if all random bytes of the blocks were equal; every counter is below the bound.
    #[test]
    fn no_nonce_twice(steps in prop::collection::vec(step(), 1..200)) {
        let (mut shared, mut draws, mut now) = (SaltState::default(), Draws::default(), 0_i64);
        let mut blocks: HashMap<usize, NonceBlock> = HashMap::new();
        let mut seen = HashSet::new();
        let mut per_salt: HashMap<[u8; 8], u64> = HashMap::new();
        for step in steps {
            match step {
                Step::Reserve { backend, len } => {
                    let r = shared.reserve(len, now, || draws.draw());
                    *per_salt.entry(r.salt).or_default() += u64::from(r.len);
                    blocks.insert(backend, NonceBlock::new(r, [0; 6]));
                }
                Step::Take { backend, count } => {
                    let Some(block) = blocks.get_mut(&backend) else { continue };
                    for n in core::iter::from_fn(|| block.take()).take(count) {
                        prop_assert!(n.counter < SALT_SEALS);
                        prop_assert!(seen.insert((n.salt, n.counter)));
                    }
                }
                Step::EndStatement { backend } => {
                    blocks.remove(&backend);
                }
                Step::Clock(by) => now = now.saturating_add(by),
                Step::ManySeals(left) => {
                    let to = shared.next.max(SALT_SEALS - left);
                    if shared.drawn {
                        *per_salt.entry(shared.salt).or_default() += u64::from(to - shared.next);
                        shared.next = to;
                    }
                }
                Step::Restart => {
                    shared = SaltState::default();
                    blocks.clear();
                }
            }
        }
        for served in per_salt.values() {
            prop_assert!(*served <= u64::from(SALT_SEALS));
        }
    }

    /// A reservation is never longer-lived than its salt: it fits below the bound, its salt was
    /// drawn at most an hour ago, and a redraw happens only for one of the four reasons.
    #[test]
    fn redraws_are_for_a_reason(
        next in prop_oneof![0..1000_u32, SALT_SEALS - 1000..=SALT_SEALS],
        drawn: bool,
        drawn_at_us: i64,
        len in 0_u32..400,
        since in -2 * SALT_AGE_US..2 * SALT_AGE_US,
    ) {
        let before = SaltState { salt: [7; 8], next, drawn_at_us, drawn };
        let now = drawn_at_us.saturating_add(since);
        let mut s = before;
        let mut drew = false;
        let r = s.reserve(len, now, || { drew = true; [8; 8] });
        let len = len.clamp(1, 256);
        let age = now.saturating_sub(drawn_at_us);
        let reason = !drawn || next + len > SALT_SEALS || age >= SALT_AGE_US || -age > SALT_AGE_US;
        prop_assert_eq!(drew, reason);
        prop_assert_eq!(r.len, len);
        prop_assert!(r.first + r.len <= SALT_SEALS);
        prop_assert_eq!(s.next, r.first + r.len);
        if drew {
            prop_assert_eq!((r.salt, r.first, s.drawn_at_us), ([8; 8], 0, now));
        } else {
            prop_assert_eq!((r.salt, r.first, s.drawn_at_us), ([7; 8], next, drawn_at_us));
        }
    }
}
