//! The hint and the detail of every error. A hint names the next command.

use sealed_crypto::{Backend, Unusable};

use super::Error;

impl Error {
    pub(super) fn hint(&self) -> Option<String> {
        const RESTORE: &str = "Restore the tables of schema sealed from a backup that is as new as \
                               this one.";
        let hint = match self {
            Self::NotPreloaded => {
                "Add pg_sealed to shared_preload_libraries in postgresql.conf and restart the \
                 server: shared_preload_libraries = 'pg_sealed'"
            }
            Self::Processor { .. } => "Build pg_sealed on this machine without .cargo/config.toml.",
            Self::Cipher(Unusable::Lacks(_)) => {
                "Set sealed.cipher_backend = auto in postgresql.conf, or to one that this processor has."
            }
            Self::Cipher(Unusable::Broken(Backend::Portable)) => {
                "Have this machine checked: nothing that it computes can be trusted."
            }
            Self::Cipher(Unusable::Broken(_)) => {
                "Set sealed.cipher_backend = portable in postgresql.conf, and have this machine checked."
            }
            Self::SecretMemory(_) => {
                "Lower sealed.keyring_size or raise the limit on locked memory (ulimit -l)."
            }
            Self::NotInstalled => "Run CREATE EXTENSION pg_sealed in this database.",
            Self::CatalogShape { .. } => {
                "Install the library that belongs to the extension, or run ALTER EXTENSION \
                 pg_sealed UPDATE."
            }
            Self::NoMasterKey => {
                "Call sealed.add_key_provider(...) and then sealed.create_master_key(...)."
            }
            Self::NoSuchProvider { .. } => "Add it with sealed.add_key_provider(...).",
            Self::NoSuchRecipient { .. } => "Add it with sealed.add_recipient(...).",
            Self::TooManyGroups { .. } => {
                "Let some of the columns share a key, or be under the table's own: SECURITY LABEL FOR \
                 sealed ON COLUMN ... IS 'sealed'."
            }
            Self::NoSuchColumnKey { .. } => "Make it with sealed.create_column_key(...).",
            Self::MasterKeyExists => "To replace it, call sealed.rotate_master_key(...).",
            Self::MasterKeyGone { .. } | Self::LayoutGone { .. } | Self::DataKeyGone { .. } => {
                RESTORE
            }
            Self::DamagedMasterKey { .. }
            | Self::DamagedDataKey { .. }
            | Self::DamagedMissing { .. } => RESTORE,
            Self::DamagedRecipient { .. } => {
                "Somebody wrote to sealed.recipient. Find out who, delete the row, and add true \
                 recipients with sealed.add_recipient(...)."
            }
            Self::BadRecovery { .. } => {
                "Find out who wrote to sealed.data_key_wrap or to the file. Import the other records \
                 without this one; its rows need a backup."
            }
            Self::KeyDestroyed { .. } => {
                "The key was destroyed on purpose, so these rows cannot be opened again. The table \
                 can still be dropped or truncated."
            }
            Self::RowLayoutGone { .. } => {
                "Find all damaged rows with sealed.verify(...). If it is a few, restore those from a \
                 backup; if it is all, restore the tables of schema sealed."
            }
            Self::DamagedRow { .. } | Self::DamagedChunk { .. } | Self::ForeignRow { .. } => {
                "Find all damaged rows with sealed.verify(...) and restore them from a backup."
            }
            Self::IndexNotSealed { .. } => {
                "Use btree, or seal the table with sealed.seal_table(...). Before a table is unsealed, its \
                 indexes with sealed keys are dropped."
            }
            Self::SealedConstraint { relation, column, constraint } => {
                return Some(format!(
                    "Make the constraint anew in the same command: ALTER TABLE {relation} DROP CONSTRAINT {constraint}, \
                     ALTER COLUMN {column} ..., ADD CONSTRAINT {constraint} ...;"
                ));
            }
            Self::NotAdopted { .. } => "Call sealed.adopt_types().",
            Self::DamagedIndexKey { .. } => {
                "Rebuild its indexes with REINDEX TABLE: they are made of the rows alone."
            }
            Self::PlainRow { .. } => "Something wrote to the table's file past the server.",
            Self::PlaintextIndex { unique: true, .. } => {
                "Before PostgreSQL 18 a unique index cannot have sealed keys. Label its columns plain (SECURITY LABEL FOR \
                 sealed ON COLUMN ... IS 'plain') and add it then, or add EXCLUDE USING sealed_hash (... WITH =) in its \
                 place, or use PostgreSQL 18. Setting sealed.plaintext_index to warning or allow permits it in plaintext."
            }
            Self::PlaintextIndex { unique: false, .. } => {
                "Setting sealed.plaintext_index to warning or allow permits it; the indexed values \
                 are then readable in the index's files and WAL."
            }
            Self::Published { .. } => {
                "Logical replication would have to send the rows in plaintext. Publish the other \
                 tables one by one with FOR TABLE."
            }
            Self::NoOperation { .. } => {
                "Begin one with sealed.rotate_data_key(...); see sealed.progress."
            }
            Self::NotSealed { .. } => {
                "ALTER TABLE ... SET ACCESS METHOD sealed_heap seals a table."
            }
            Self::BadArgument { hint, .. } => hint.as_str(),
            Self::NotAllowed { needs, .. } => return Some(format!("It needs {needs}.")),
            Self::ColumnDenied { key, .. } => {
                return Some(format!(
                    "It is sealed under column key \"{key}\", which sealed.grant_key('{key}', 'ROLE') lets a role open."
                ));
            }
            Self::Provider { error, .. } => return provider_hint(error),
            Self::ForeignRecord => {
                "The key record was made in another database, or its master key was removed."
            }
            Self::Exists { .. }
            | Self::NoSuchName { .. }
            | Self::DamagedRecord
            | Self::Limit { .. }
            | Self::Unsupported { .. }
            | Self::PatternCollation { .. }
            | Self::NoSuchColumn { .. }
            | Self::NoSuchRole { .. }
            | Self::Crypto(_) => return None,
        };
        Some(hint.to_owned())
    }

    pub(super) fn detail(&self) -> Option<String> {
        match self {
            Self::NoMasterKey => {
                Some("Sealed tables need a master key to wrap their data keys.".to_owned())
            }
            Self::NotPreloaded => Some(
                "Keys and counters live in shared memory that is made when the server starts."
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

fn provider_hint(error: &sealed_provider::Error) -> Option<String> {
    use sealed_provider::Error as E;
    let hint = match error {
        E::UnknownKind { .. } => {
            let kinds: Vec<_> = sealed_provider::Kind::ALL.iter().map(|k| k.name()).collect();
            return Some(format!("Kinds are {}.", kinds.join(", ")));
        }
        E::NotAnObject | E::MissingOption { .. } | E::UnknownOption { .. } => {
            "Options of kind file: path, allow_in_data_directory. Of kind passphrase: command or \
             file, memory_kib, iterations."
        }
        E::KeyFileGone { .. } => {
            "Put the root key file back from its backup. Without it, and without an escrow \
             recipient's private key, nothing that is sealed can be opened."
        }
        E::PassphraseFileGone { .. } => "Put the file with the passphrase back.",
        E::InDataDirectory { .. } => {
            "Every base backup would carry the key beside the data. Choose another directory, or, for \
             kind file, set the option \"allow_in_data_directory\"."
        }
        E::OpenPermissions { .. } => "Allow the server's user only: chmod 0600.",
        E::WrongOwner { .. } => "The file must belong to the user that the server runs as.",
        E::WrongPassphrase => "Give the passphrase that the master key was made with.",
        E::WrongKeyFile { .. } => "Put back the root key file that the master key was made with.",
        E::CommandTimedOut { .. } => "The limit is the setting sealed.provider_timeout.",
        E::OutOfMemory { .. } => "The provider option \"memory_kib\" says how much it takes.",
        E::CommandStart { .. } | E::CommandFailed { .. } => {
            "What the program wrote to its standard error is in the server's log."
        }
        E::WrongType { .. }
        | E::OutOfRange { .. }
        | E::Conflict { .. }
        | E::NotAbsolute { .. }
        | E::NotRegularFile { .. }
        | E::BadKeyFile { .. }
        | E::Io { .. }
        | E::CommandOutput { .. }
        | E::CommandIo { .. }
        | E::Cancelled
        | E::PassphraseEmpty
        | E::PassphraseTooShort { .. }
        | E::PassphraseTooLong { .. }
        | E::PassphraseNotText
        | E::UnknownFormat
        | E::BlobLimit
        | E::Seed(_) => return None,
    };
    Some(hint.to_owned())
}
