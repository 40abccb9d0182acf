//! `sealed_btree`: nbtree with sealed keys.
//!
//! `routine` is the membrane: nbtree's own callbacks around a shadow of the index, the comparison that opens
//! what it compares. `key` is what sealing and opening mean for it; `gate`, who may look into an index.

mod gate;
mod key;
pub mod routine;

use crate::pg::xact::{self, End, Listener};

/// Called once, in the postmaster.
pub fn init() {
    routine::hide::install();
    xact::listen(Listener {
        transaction_end: |end| {
            if end != End::Commit {
                gate::forget();
                key::forget(None);
            }
            if end != End::SubAbort {
                key::transaction_end();
                routine::transaction_end();
            }
        },
        relation_changed: |relation| {
            gate::forget();
            key::forget(relation);
            routine::relation_changed();
        },
        exit: || key::forget(None),
    });
}
