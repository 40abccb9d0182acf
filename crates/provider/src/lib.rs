//! Providers of the root secret.
