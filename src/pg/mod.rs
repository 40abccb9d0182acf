//! The membrane: the only wrappers over the server's C interface.
#![allow(unsafe_code)]

pub mod catalog;
pub mod class;
pub mod hook;
pub mod memory;
pub mod shmem;
pub mod user;
pub mod xact;
