//! `sealed_heap`: the table access method.
//!
//! `routine` is the membrane (callbacks, slots, everything that touches PostgreSQL's structs);
//! `row` is what sealing and opening mean for it.

pub mod routine;
mod row;
