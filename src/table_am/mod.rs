//! `sealed_heap`: the table access method.
//!
//! `routine` is the membrane (callbacks, slots, everything that touches PostgreSQL's structs);
//! `row` is what sealing and opening mean for it.

pub mod routine;
mod row;

use crate::pg::xact::{self, Listener};

/// Called once, in the postmaster.
pub fn init() {
    crate::pg::log::install();
    xact::listen(Listener {
        transaction_end: |end| {
            if end != xact::End::Commit {
                row::forget();
            }
        },
        relation_changed: |_| {},
        exit: row::wipe,
    });
}
