//! pg_sealed: sealed tables for stock PostgreSQL.
pgrx::pg_module_magic!();
