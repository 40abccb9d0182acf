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
}

backend_local! {
    static STATE: RefCell<State> = const { RefCell::new(State::EMPTY) };
}

/// The nonce for the next seal.
///
/// A statement that seals one row reserves one counter, one that seals a million reserves 256 at a
/// time. What is left is dropped at the end of the statement, and after a fork.
pub fn next_nonce() -> Result<Nonce, Error> {
    let statement = xact::statement_start();
    let process = xact::process_id();
    STATE.with_borrow_mut(|state| {
        if state.statement != statement || state.process != process {
            *state = State { statement, process, ..State::EMPTY };
        }
        if let Some(nonce) = state.block.as_mut().and_then(NonceBlock::take) {
            return Ok(nonce);
        }
        let mut block = reserve(state.length)?;
        state.length = (state.length * 2).min(NonceBlock::MAX_LEN);
        let nonce = block.take().ok_or(Error::Limit { what: "nonces of a block" });
        state.block = Some(block);
        nonce
    })
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
