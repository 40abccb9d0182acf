//! The life of a data key, and of the background work that brings a table from one key to another.
//!
//! Nothing here reads a clock, a catalog or a table: the extension says what it found, this crate says
//! what comes next, and `tests/model.rs` runs it against a model of sessions, rows and crashes.
//!
//! The rule that everything serves: **a key is retired only when nothing sealed under it can exist.**
//! Three facts together say that, and `Run` gives its `Retire` step only when it has all of them:
//! 1. *Nobody seals under it any more.* A newer layout is committed, every backend was told, and every
//!    transaction that could write to the table at that moment has ended (`Phase::Wait`).
//! 2. *Nothing kept names it*: the values of added columns were sealed again (`Phase::Missing`).
//! 3. *No row and no chunk is under it*, of whatever visibility, in any block (`Phase::Verify`). Since 1
//!    holds, a block that was found clean stays clean, so the blocks need not be read at one moment.
#![forbid(unsafe_code)]

mod key;
mod operation;
mod run;

pub use key::KeyState;
pub use operation::{Kind, Phase, State, gives_up};
pub use run::{Found, Left, Pace, Run};
