//! Nonces that are used once, by types and by a small state machine.
//!
//! A nonce is `salt 8 | rnd 6 | counter 4` (the layout id in front of it comes from the key). The
//! salt and the counter belong to a [`SaltState`] that all backends share under a lock. A backend
//! reserves a run of counters, draws six fresh random bytes for the run ([`NonceBlock`]) and takes
//! one [`Nonce`] a seal. None of these can be cloned, and sealing consumes the nonce.

/// How many seals one salt serves.
pub const SALT_SEALS: u32 = 1 << 31;
/// How long one salt serves, in microseconds: an hour.
pub const SALT_AGE_US: i64 = 3_600_000_000;

/// The salt in use and the next free counter. Plain old data, for shared memory; all zero bytes
/// are a valid value, the undrawn one. The caller holds a lock around [`SaltState::reserve`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SaltState {
    salt: [u8; 8],
    next: u32,
    drawn_at_us: i64,
    drawn: bool,
}

/// A run of counters under one salt that nobody else gets. Becomes a [`NonceBlock`].
#[derive(Debug)]
#[must_use]
pub struct Reservation {
    salt: [u8; 8],
    first: u32,
    len: u32,
}

/// The nonces of one reservation, with random bytes of its own.
#[derive(Debug)]
pub struct NonceBlock {
    salt: [u8; 8],
    rnd: [u8; 6],
    next: u32,
    end: u32,
}

/// One nonce, for one seal.
#[derive(Debug)]
#[must_use]
pub struct Nonce {
    pub(crate) salt: [u8; 8],
    pub(crate) rnd: [u8; 6],
    pub(crate) counter: u32,
}

impl SaltState {
    /// Reserves `len` counters (at least 1, at most [`NonceBlock::MAX_LEN`]; other values are
    /// clamped). Draws a new salt if there is none yet, if the present one cannot serve all of
    /// `len` within its [`SALT_SEALS`], if it is [`SALT_AGE_US`] old, or if the clock was set back
    /// by more than that.
    pub fn reserve(
        &mut self,
        len: u32,
        now_us: i64,
        draw: impl FnOnce() -> [u8; 8],
    ) -> Reservation {
        let len = len.clamp(1, NonceBlock::MAX_LEN);
        if !self.drawn || self.is_spent(len) || self.is_old(now_us) {
            // The salt is drawn first: if drawing panics, the old state stays as it was.
            let salt = draw();
            *self = SaltState { salt, next: 0, drawn_at_us: now_us, drawn: true };
        }
        let first = self.next;
        self.next = first + len;
        Reservation { salt: self.salt, first, len }
    }

    /// Forgets the salt, so that the next reservation draws one. For orchestration that resumes
    /// memory snapshots.
    pub fn forget(&mut self) {
        *self = SaltState::default();
    }

    /// When the salt was drawn, if it was.
    pub fn drawn_at_us(&self) -> Option<i64> {
        self.drawn.then_some(self.drawn_at_us)
    }

    /// How many counters have been reserved under this salt.
    pub fn reserved(&self) -> u32 {
        self.next
    }

    fn is_spent(&self, len: u32) -> bool {
        self.next.checked_add(len).is_none_or(|end| end > SALT_SEALS)
    }

    fn is_old(&self, now_us: i64) -> bool {
        let age = now_us.saturating_sub(self.drawn_at_us);
        !(-SALT_AGE_US..SALT_AGE_US).contains(&age)
    }
}

impl NonceBlock {
    /// The longest run that can be reserved at once.
    pub const MAX_LEN: u32 = 256;

    /// Makes the nonces of a reservation usable. `rnd` must come from the kernel just now: it is
    /// what keeps two copies of a running machine apart.
    pub fn new(reservation: Reservation, rnd: [u8; 6]) -> Self {
        let Reservation { salt, first, len } = reservation;
        Self { salt, rnd, next: first, end: first + len }
    }

    /// The next nonce, or `None` when the block is used up.
    #[inline]
    pub fn take(&mut self) -> Option<Nonce> {
        let counter = self.next;
        if counter >= self.end {
            return None;
        }
        self.next = counter + 1;
        Some(Nonce { salt: self.salt, rnd: self.rnd, counter })
    }

    /// How many are left.
    pub fn remaining(&self) -> u32 {
        self.end - self.next
    }
}

#[cfg(test)]
mod tests;
