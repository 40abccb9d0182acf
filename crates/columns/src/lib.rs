//! Which columns of a table are sealed, and under which keys: what security labels say, and the division of
//! a row into parts that comes of it (docs/format.md, "Rows of several parts").
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod division;
mod label;

pub use division::{Division, MAX_GROUPS, TooManyGroups};
pub use label::{BadLabel, Column, Table, is_key_name};
