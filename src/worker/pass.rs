//! What a job remembers of the pass that it is in.

use std::collections::{HashMap, HashSet};

/// Where the phase `values` is.
#[derive(Default)]
pub struct Values {
    /// The next block of the TOAST table; `None` when all were looked at.
    pub chunk_block: Option<u32>,
    /// All that one look at them takes are there.
    pub collected: bool,
    /// Values whose rows are to be found.
    pub wanted: HashSet<u32>,
    /// How often no row was found to refer to a value.
    pub misses: HashMap<u32, u8>,
}

/// What was done since the operation was stored last.
#[derive(Default)]
pub struct Totals {
    /// Rows sealed again.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of this pass.
    pub skipped: u64,
}
