//! Nonces for this backend, in blocks that grow within a statement.

use std::cell::RefCell;

use sealed_crypto::{KernelRng, Nonce, NonceBlock};

use super::shared;
use crate::error::Error;
use crate::pg::local::backend_local;
use crate::pg::xact;

struct State {
    block: Option<NonceBlock>,
    length: u32,
    statement: i64,
    process: i32,
}

impl State {
    const EMPTY: Self = Self { block: None, length: 1, statement: 0, process: 0 };

    /// A nonce of the block, if it is of this statement and process.
    #[inline]
    fn take(&mut self) -> Option<Nonce> {
        let same = self.statement == xact::statement_start() && self.process == xact::process_id();
        self.block.as_mut().filter(|_| same)?.take()
    }

    #[cold]
    fn next_block(&mut self) -> Result<Nonce, Error> {
        let statement = xact::statement_start();
        let process = xact::process_id();
        if self.statement != statement || self.process != process {
            *self = State { statement, process, ..State::EMPTY };
        }
        let mut block = reserve(self.length)?;
        self.length = (self.length * 2).min(NonceBlock::MAX_LEN);
        let nonce = block.take().ok_or(Error::Limit { what: "nonces of a block" });
        self.block = Some(block);
        nonce
    }
}

backend_local! {
    static STATE: RefCell<State> = const { RefCell::new(State::EMPTY) };
}

/// The nonce for the next seal.
///
/// A statement that seals one row reserves one counter, one that seals a million reserves 256 at a
/// time. What is left is dropped at the end of the statement, and after a fork.
#[inline]
pub fn next_nonce() -> Result<Nonce, Error> {
    // Without an error on the way, whose size a nonce would have to be copied with.
    match STATE.with_borrow_mut(State::take) {
        Some(nonce) => Ok(nonce),
        None => STATE.with_borrow_mut(State::next_block),
    }
}

/// Drops what is left of the block.
pub fn drop_block() {
    STATE.with_borrow_mut(|state| *state = State::EMPTY);
}

fn reserve(length: u32) -> Result<NonceBlock, Error> {
    // Drawn before the lock is taken and for each block: a resumed copy of this machine draws
    // other bytes. The salt is used only if a new one is due.
    let mut drawn = [0; 14];
    KernelRng::fill(&mut drawn)?;
    let [s0, s1, s2, s3, s4, s5, s6, s7, random @ ..] = drawn;
    let salt = [s0, s1, s2, s3, s4, s5, s6, s7];
    let now = xact::now_us();
    let reservation = shared::with_salt(|state| state.reserve(length, now, || salt));
    Ok(NonceBlock::new(reservation, random))
}
