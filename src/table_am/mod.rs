//! `sealed_heap`: the table access method.
//!
//! `routine` is the membrane (callbacks, slots, everything that touches PostgreSQL's structs);
//! `row` is what sealing and opening mean for it; `missing`, what rows have in columns that came after them.

pub mod gate;
pub mod missing;
pub mod mixed;
pub mod routine;
mod row;

use crate::pg::xact::{self, Listener};
use crate::pg::{add_column, hook};

/// Called once, in the postmaster.
pub fn init() {
    crate::pg::log::install();
    routine::wanted::install();
    xact::listen(Listener {
        transaction_end: |end| {
            if end != xact::End::Commit {
                gate::forget();
                gate::checks_end(0);
                row::forget();
                missing::forget(None);
                mixed::forget(None);
                // The command that would have gone on is over.
                add_column::evaluated();
                hook::copy_out_ended();
            }
        },
        relation_changed: |relation| {
            gate::forget();
            row::forget_relation(relation);
            missing::forget(relation);
            mixed::forget(relation);
        },
        exit: || {
            missing::forget(None);
            row::wipe();
        },
    });
}
