//! The cryptography of pg_sealed.
