//! The membrane: the only wrappers over the server's C interface.
#![allow(unsafe_code)]

pub mod add_column;
pub mod call;
pub mod catalog;
pub mod class;
pub mod cpu;
pub mod errors;
pub mod fault;
pub mod ffi;
pub mod hook;
pub mod index_stmt;
pub mod label;
pub mod local;
pub mod log;
pub mod memory;
pub mod method;
pub mod relation;
mod reserve;
pub mod shadow;
pub mod shmem;
pub mod tuple;
pub mod user;
pub mod worker;
pub mod xact;
