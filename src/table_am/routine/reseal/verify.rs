//! Whether everything that lies in a table is under one layout, whatever its visibility.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use super::{Lying, Place, Snapshot, Table, count_blocks, lying};
use crate::pg::call;

/// What no step can seal again.
pub struct Stuck<'a> {
    /// Rows that did not open.
    pub rows: &'a HashSet<Place>,
    /// Values that no row refers to.
    pub values: &'a HashSet<u32>,
}

impl Stuck<'_> {
    fn has(&self, chunks: bool, block: u32, t: &Lying) -> bool {
        if chunks { self.values.contains(&t.value) } else { self.rows.contains(&(block, t.offset)) }
    }
}

/// How far a verification came.
#[derive(Clone, Copy, Default)]
pub struct Verified {
    /// The next block of the table.
    pub block: u32,
    /// Of so many.
    pub blocks: u32,
    /// The next block of the TOAST table.
    pub chunk_block: u32,
    /// Of so many.
    pub chunk_blocks: u32,
    /// Rows and chunks on the way that no step can seal again.
    pub stuck: u64,
}

impl Verified {
    fn next(&self) -> bool {
        self.block < self.blocks || self.chunk_block < self.chunk_blocks
    }

    fn advance(&mut self) {
        if self.block < self.blocks {
            self.block += 1;
        } else {
            self.chunk_block += 1;
        }
    }
}

/// What a verification found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// The end, with nothing left.
    Clean,
    /// There is more to look at.
    More,
    /// A visible row or chunk that is not under the target.
    Visible,
    /// A version that is dead, or will be.
    Dead,
}

impl Table {
    /// Looks at every tuple, whatever its visibility, from the given blocks on.
    pub fn verify(&self, from: Verified, stuck: &Stuck<'_>, time: Duration) -> (Verified, Finding) {
        let began = Instant::now();
        let mut at = from;
        // SAFETY: this table is open in this transaction.
        unsafe {
            let snapshot = Snapshot::take();
            let bulk = pg_sys::BufferAccessStrategyType::BAS_BULKREAD;
            let strategy = pg_sys::GetAccessStrategy(bulk);
            at.blocks = count_blocks(self.rel);
            at.chunk_blocks = if self.toast.is_null() { 0 } else { count_blocks(self.toast) };
            let mut finding = Finding::Clean;
            while at.next() {
                if began.elapsed() >= time {
                    finding = Finding::More;
                    break;
                }
                call::check_for_interrupts();
                let chunks = at.block >= at.blocks;
                let (rel, block) =
                    if chunks { (self.toast, at.chunk_block) } else { (self.rel, at.block) };
                let tuples = lying(rel, block, chunks.then_some(self.mixed), strategy, snapshot.0);
                let old = tuples.iter().filter(|t| !self.is_current(t));
                let (mut visible, mut dead, mut lost) = (false, false, 0);
                for t in old {
                    if !t.visible {
                        dead = true;
                    } else if stuck.has(chunks, block, t) {
                        lost += 1;
                    } else {
                        visible = true;
                    }
                }
                if visible || dead {
                    finding = if visible { Finding::Visible } else { Finding::Dead };
                    break;
                }
                at.stuck += lost;
                at.advance();
            }
            snapshot.drop();
            (at, finding)
        }
    }
}
