//! The cryptography of `pg_sealed`: sealed rows and TOAST chunks, wrapped keys, wrapped seeds.
//!
//! Pure: nothing here reads a clock, a file or a socket. Random numbers and the time are arguments;
//! the one exception is [`KernelRng`], a generator for callers to pass in. Every stored byte is
//! drawn in [`mod@format`].
//!
//! | module | what is in it |
//! |---|---|
//! | [`row`] | [`LayoutKey`], [`seal_row`], [`open_row`], [`seal_chunk`], [`open_chunk`] |
//! | [`parts`] | [`Parts`], [`seal_parts`], [`open_part`]: rows of columns in clear and in sealed groups |
//! | [`index`] | [`IndexKey`]: values as they stand in index files |
//! | [`nonce`] | [`SaltState`], [`NonceBlock`], [`Nonce`]: no nonce is used twice, by types |
//! | [`body`] | [`RowBody`]: the three bytes in front of a sealed tuple |
//! | [`key`] | [`MasterKey`], [`wrap_key`], [`unwrap_key`] and the key record |
//! | [`seed`] | [`wrap_seed`], [`unwrap_seed`]: a master seed under a provider's key |
//! | [`audit`] | [`AuditEntry`]: the chain of the audit |
//! | [`id`], [`secret`], [`error`], [`rng`] | names, secrets, errors, the kernel's generator |
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

#[doc = include_str!("../../../docs/format.md")]
pub mod format {}

pub mod audit;
pub mod body;
pub mod error;
pub mod id;
pub mod index;
mod kdf;
mod kem;
pub mod key;
pub mod nonce;
pub mod parts;
pub mod rng;
pub mod row;
pub mod secret;
pub mod seed;
mod xaes;

pub use rand_core;
pub use sealed_aead::{Backend, Unusable, in_use as backend_in_use, select as select_backend};
pub use zeroize::Zeroizing;

pub use crate::audit::{AUDIT_START, AuditEntry};
pub use crate::body::RowBody;
pub use crate::error::Error;
pub use crate::id::{Id, LayoutId, Suite};
pub use crate::index::{IndexKey, Plain, SHORT_LEN, SIV_OVERHEAD, Seal, index_layout, plain_len};
pub use crate::key::{
    DataKeyHeader, KeyAge, KeyRecord, MasterKey, Mode, Purpose, check_public_key, fingerprint,
    generate_recipient, key_check_value, open_recipient_record, open_recovered, parse_key_header,
    recipient_public_key, unwrap_key, wrap_key, wrap_key_to,
};
pub use crate::nonce::{Nonce, NonceBlock, Reservation, SaltState};
pub use crate::parts::{MAX_GROUPS, Parts, open_part, seal_parts};
pub use crate::rng::KernelRng;
pub use crate::row::{
    Build, CHUNK_PLAIN, ChunkId, HEADER_LEN, LayoutKey, OVERHEAD, TAG_LEN, open_chunk, open_row,
    seal_chunk, seal_row, sealed_as, sealed_layout,
};
pub use crate::secret::{Dek, MasterSeed, Secret};
pub use crate::seed::{parse_seed_blob, unwrap_seed, wrap_seed};
pub use crate::xaes::SubkeyCache;
