//! One named defect a test: what an attacker or a bad disk does to a stored thing, and the answer.

#[path = "../common/mod.rs"]
mod common;

mod chunk;
mod record;
mod row;
mod seed;
