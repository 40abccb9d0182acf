//! pg_sealed: sealed tables for stock PostgreSQL.
#![deny(unsafe_code)]

mod error;
mod guc;
#[allow(unsafe_code)]
mod index_am;
mod keyring;
mod pg;
mod policy;
mod sql;
#[allow(unsafe_code)]
mod table_am;
mod worker;

pgrx::pg_module_magic!();

/// Called by PostgreSQL when the library is loaded.
#[pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    if let Err(error) = pg::cpu::check() {
        error.report();
    }
    if pg::xact::may_come_bare() {
        return;
    }
    pg::errors::init();
    keyring::init();
    sql::init();
    table_am::init();
    index_am::init();
    worker::init();
}
