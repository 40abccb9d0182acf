//! Background work: a launcher, and a worker for each database that has something to do.
//!
//! What comes next is decided by `sealed_lifecycle`; what a step does to a table is in
//! `table_am::routine::reseal`; this executes one after the other, each in a short transaction, and may be
//! killed at any moment.

mod database;
mod indexes;
mod job;
mod launcher;
mod pass;
mod throttle;

use crate::pg::worker::{self, Mains};

/// Registers the launcher. Called once, by `_PG_init`.
pub fn init() {
    worker::init(Mains { launcher: launcher::run, database: database::run });
}
