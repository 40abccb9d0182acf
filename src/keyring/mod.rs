//! The keyring: master keys, data keys and layouts, from the catalog to the secret memory.
//!
//! `current_layout`, `layout` and `next_nonce` are what the table access method needs. They may be
//! called inside its callbacks, but never under a buffer lock: they can read the catalog and, once
//! per server start, ask a provider.

mod apps;
pub mod audit;
mod cache;
pub mod columns;
mod destroy;
mod escrow;
mod layout_row;
mod layouts;
mod master;
mod missing;
mod mixed;
mod nonce;
mod operations;
mod records;
mod rotate;
mod shared;

use sealed_columns::Division;
use sealed_crypto::{Backend, Id, LayoutId, LayoutKey, Unusable};

use crate::error::Error;
use crate::guc::{self, CipherBackend};
use crate::pg::catalog::{self, Oid, Table};
use crate::pg::xact::{self, Listener};

pub use apps::{generate_key, unwrap_app_key, wrap_app_key};
pub use destroy::{destroy_keys, drop_master_key};
pub use escrow::{
    drop_recipient, export_wraps, import_wraps, master_public, replace_lost_master_key,
    rewrap_recipients, vouch_recipient,
};
pub use layouts::{
    bring_layouts, chunk_layouts, current_layout, drop_keys, index_layout, is_known, layout,
    preload,
};
pub use master::{add_provider, add_recipient, create_master_key};
pub use missing::{drop_missing, keep_missing, missing, missing_columns};
pub use mixed::{Kind, Mixed, forget_mixed, mix, mixed, note_plaintext_wal, unmix};
pub use nonce::next_nonce;
pub use operations::{
    Operation, announce, begin_operation, has_old_keys, keep_keys, lock_operation, newest_key_made,
    newest_layout, operation, replace_missing, retire_keys, running_operations, tables_with_keys,
};
pub use rotate::{rotate_data_key, rotate_master_key};
pub use shared::{salt, usage};

/// How the rows of one table are sealed, with the key that does it.
#[derive(Debug)]
pub struct Layout {
    /// What each row carries.
    pub id: LayoutId,
    /// The table whose rows these are.
    pub relation: Oid,
    /// Which version of the table's data key.
    pub version: i32,
    /// Row and chunk keys. Of a layout of several parts: the chunk key of columns in clear.
    pub key: LayoutKey,
    /// If rows have several parts: which.
    pub parts: Option<Parts>,
    /// When a new version is to be made, in microseconds since 2000.
    pub due_us: i64,
}

/// The parts of the rows of a layout.
#[derive(Debug)]
pub struct Parts {
    /// Which columns are in which.
    pub division: Division<Id>,
    /// The layouts of the groups: part 1 and on.
    pub groups: Vec<LayoutId>,
}

impl Layout {
    /// The layout under which chunks of a column's large values are, and its kept default. `attnum` is from 1.
    pub fn of_chunks(&self, attnum: i16) -> LayoutId {
        let Some(parts) = &self.parts else { return self.id };
        let part = parts.division.part_of(usize::from(attnum.unsigned_abs()).saturating_sub(1));
        part.checked_sub(1).and_then(|group| parts.groups.get(group)).copied().unwrap_or(self.id)
    }
}

/// Decides in the postmaster, for all its processes, what rows are sealed and opened with.
fn select_cipher() {
    let asked = match guc::cipher_backend() {
        CipherBackend::Auto => None,
        CipherBackend::Vaes512 => Some(Backend::Vaes512),
        CipherBackend::Aesni => Some(Backend::Aesni),
        CipherBackend::AesPmull => Some(Backend::AesPmull),
        CipherBackend::Portable => Some(Backend::Portable),
    };
    match sealed_crypto::select_backend(asked) {
        Ok(chosen) if asked.is_none() && chosen != Backend::fastest() => {
            Error::Cipher(Unusable::Broken(Backend::fastest())).warn();
        }
        Ok(_) => {}
        Err(unusable) => Error::Cipher(unusable).report(),
    }
}

/// Makes settings, shared memory and the secret memory. Called once, by `_PG_init`.
pub fn init() {
    if !xact::preloading() {
        Error::NotPreloaded.report();
    }
    xact::preloaded();
    guc::init();
    select_cipher();
    if let Err(error) = shared::init() {
        error.report();
    }
    xact::before_commit(audit::before_commit);
    xact::listen(Listener {
        transaction_end: |end| {
            audit::transaction_end(end);
            destroy::transaction_end(end);
            nonce::drop_block();
            cache::transaction_end(end);
            if end != xact::End::Commit {
                columns::forget();
                catalog::forget(None);
            }
        },
        relation_changed: |relation| {
            if catalog::may_be(Table::MasterKey, relation) {
                cache::forget_masters();
            }
            if catalog::may_be(Table::ColumnKeyGrant, relation) {
                columns::forget();
            }
            catalog::forget(relation);
            cache::forget(relation);
        },
        exit: || {
            nonce::drop_block();
            cache::wipe();
        },
    });
}

/// Bytes as two lower-case digits each, as people compare them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
