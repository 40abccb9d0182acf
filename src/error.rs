//! The errors of the extension, and the one place that gives each its SQLSTATE and hint.

use std::fmt;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode};

/// Whatever can go wrong in the extension.
///
/// No variant holds a secret, so any of them may be shown to a client and written to a log.
#[derive(Debug)]
pub enum Error {
    /// The library is not in `shared_preload_libraries`.
    NotPreloaded,
    /// The processor lacks an instruction set that the library was built for.
    Processor {
        /// Its name.
        feature: &'static str,
    },
    /// The secret mapping could not be made.
    SecretMemory(std::io::Error),
    /// The extension was not created in this database.
    NotInstalled,
    /// A catalog table has other columns than this version of the library knows.
    CatalogShape {
        /// Its name in schema `sealed`.
        table: String,
    },
    /// There is no active master key.
    NoMasterKey,
    /// The provider that a master key names is not there.
    NoSuchProvider {
        /// Its name.
        name: String,
    },
    /// A recipient that a call names is not there.
    NoSuchRecipient {
        /// Its name.
        name: String,
    },
    /// A name that a call gives does not name anything.
    NoSuchName {
        /// What was given.
        name: String,
    },
    /// The name is taken.
    Exists {
        /// provider, recipient.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// There is an active master key, so another one is made by rotation.
    MasterKeyExists,
    /// The master key that a record names is not in `sealed.master_key`.
    MasterKeyGone {
        /// Its id.
        id: String,
    },
    /// The key of an application's record is not a master key of this database.
    ForeignRecord,
    /// The master key does not vouch for a recipient.
    DamagedRecipient {
        /// Its name.
        name: String,
    },
    /// The stored key record of a master key does not fit what the provider returned.
    DamagedMasterKey {
        /// Its id.
        id: String,
    },
    /// A data key record does not unwrap.
    DamagedDataKey {
        /// Its id.
        id: String,
    },
    /// A key record given by a user does not unwrap.
    DamagedRecord,
    /// A layout id of a row is not in `sealed.layout`.
    LayoutGone {
        /// The id.
        layout: u32,
    },
    /// A data key of a layout is not in `sealed.data_key`, or has no wrap for a master key.
    DataKeyGone {
        /// Its id.
        id: String,
    },
    /// The data key was destroyed on purpose.
    KeyDestroyed {
        /// Its id.
        id: String,
    },
    /// The kept value of a column that rows were written without does not verify.
    DamagedMissing {
        /// The table.
        relation: String,
        /// The column's number.
        attnum: i16,
    },
    /// A row does not verify.
    DamagedRow {
        /// The table.
        relation: String,
        /// Where the row is.
        ctid: String,
    },
    /// A row names a layout that is not there: its own bytes are wrong, or `sealed.layout` is.
    RowLayoutGone {
        /// The table.
        relation: String,
        /// Where the row is.
        ctid: String,
        /// What the row names.
        layout: u32,
    },
    /// A chunk of a large value does not verify or is missing.
    DamagedChunk {
        /// The table.
        relation: String,
        /// The value's id in the TOAST table.
        value: u32,
        /// Which chunk.
        seq: u32,
    },
    /// A row was sealed for another table.
    ForeignRow {
        /// The table it was found in.
        relation: String,
        /// Where.
        ctid: String,
    },
    /// A plain row in a table that may hold none.
    PlainRow {
        /// The table.
        relation: String,
        /// Where the row is.
        ctid: String,
    },
    /// A limit of the stored format.
    Limit {
        /// Which.
        what: &'static str,
    },
    /// The table access method cannot do this.
    Unsupported {
        /// What.
        what: String,
    },
    /// The caller lacks a privilege.
    NotAllowed {
        /// What he tried.
        what: String,
        /// The role or privilege that allows it.
        needs: String,
    },
    /// An argument is wrong.
    BadArgument {
        /// How.
        what: String,
        /// What to give instead.
        hint: String,
    },
    /// An index would hold column values in plaintext.
    PlaintextIndex {
        /// The table.
        relation: String,
        /// What would be made.
        what: String,
    },
    /// A sealed table would be published.
    Published {
        /// The table or tables.
        relation: String,
        /// The publication.
        publication: String,
    },
    /// The relation is not a sealed table.
    NotSealed {
        /// Its name.
        relation: String,
    },
    /// The provider failed.
    Provider {
        /// Its name in `sealed.key_provider`, or empty if it has none yet.
        name: String,
        /// How.
        error: sealed_provider::Error,
    },
    /// Cryptography failed, with nothing more to say about where.
    Crypto(sealed_crypto::Error),
}

use PgSqlErrorCode as Code;

impl Error {
    /// Raises the error in PostgreSQL.
    pub fn report(self) -> ! {
        ErrorReport::from(self).report(PgLogLevel::ERROR);
        unreachable!("an ERROR does not return")
    }

    /// Tells the client about the error and goes on.
    pub fn warn(self) {
        ErrorReport::from(self).report(PgLogLevel::WARNING);
    }

    /// The SQLSTATE. The only such table.
    pub fn sqlstate(&self) -> Code {
        match self {
            Self::NotPreloaded
            | Self::NotInstalled
            | Self::NoMasterKey
            | Self::MasterKeyExists
            | Self::NotSealed { .. } => Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::KeyDestroyed { .. } => Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::Processor { .. }
            | Self::Unsupported { .. }
            | Self::PlaintextIndex { .. }
            | Self::Published { .. } => Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            Self::SecretMemory(_) => Code::ERRCODE_OUT_OF_MEMORY,
            Self::NoSuchProvider { .. }
            | Self::NoSuchRecipient { .. }
            | Self::NoSuchName { .. } => Code::ERRCODE_UNDEFINED_OBJECT,
            Self::Exists { .. } => Code::ERRCODE_DUPLICATE_OBJECT,
            Self::CatalogShape { .. }
            | Self::MasterKeyGone { .. }
            | Self::DamagedMasterKey { .. }
            | Self::DamagedRecipient { .. }
            | Self::DamagedDataKey { .. }
            | Self::LayoutGone { .. }
            | Self::RowLayoutGone { .. }
            | Self::DataKeyGone { .. }
            | Self::DamagedRow { .. }
            | Self::DamagedMissing { .. }
            | Self::DamagedChunk { .. }
            | Self::ForeignRow { .. }
            | Self::PlainRow { .. } => Code::ERRCODE_DATA_CORRUPTED,
            // The caller's bytes, not ours: the database is not corrupt.
            Self::DamagedRecord | Self::ForeignRecord => Code::ERRCODE_DATA_EXCEPTION,
            Self::Limit { .. } => Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            Self::NotAllowed { .. } => Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
            Self::BadArgument { .. } => Code::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::Provider { error, .. } => provider_sqlstate(error),
            Self::Crypto(error) => crypto_sqlstate(*error),
        }
    }

    fn hint(&self) -> Option<String> {
        const RESTORE: &str = "Restore the tables of schema sealed from a backup that is as new as \
                               this one.";
        let hint = match self {
            Self::NotPreloaded => {
                "Add pg_sealed to shared_preload_libraries in postgresql.conf and restart the \
                 server: shared_preload_libraries = 'pg_sealed'"
            }
            Self::Processor { .. } => "Build pg_sealed on this machine without .cargo/config.toml.",
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
            Self::PlainRow { .. } => "Something wrote to the table's file past the server.",
            Self::PlaintextIndex { .. } => {
                "Setting sealed.plaintext_index to warning or allow permits it; the indexed values \
                 are then readable in the index's files and WAL."
            }
            Self::Published { .. } => {
                "Logical replication would have to send the rows in plaintext. Publish the other \
                 tables one by one with FOR TABLE."
            }
            Self::NotSealed { .. } => {
                "ALTER TABLE ... SET ACCESS METHOD sealed_heap seals a table."
            }
            Self::BadArgument { hint, .. } => hint.as_str(),
            Self::NotAllowed { needs, .. } => return Some(format!("It needs {needs}.")),
            Self::Provider { error, .. } => return provider_hint(error),
            Self::ForeignRecord => {
                "The key record was made in another database, or its master key was removed."
            }
            Self::Exists { .. }
            | Self::NoSuchName { .. }
            | Self::DamagedRecord
            | Self::Limit { .. }
            | Self::Unsupported { .. }
            | Self::Crypto(_) => return None,
        };
        Some(hint.to_owned())
    }

    fn detail(&self) -> Option<String> {
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

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPreloaded => {
                f.write_str("pg_sealed must be loaded through shared_preload_libraries")
            }
            Self::Processor { feature } => write!(f, "pg_sealed needs a processor with {feature}"),
            Self::SecretMemory(error) => write!(f, "no memory for secrets: {error}"),
            Self::NotInstalled => f.write_str("extension pg_sealed is not installed"),
            Self::CatalogShape { table } => {
                write!(f, "catalog table sealed.{table} does not have the expected columns")
            }
            Self::NoMasterKey => f.write_str("there is no master key in this database"),
            Self::NoSuchProvider { name } => write!(f, "key provider \"{name}\" does not exist"),
            Self::NoSuchRecipient { name } => write!(f, "recipient \"{name}\" does not exist"),
            Self::NoSuchName { name } => write!(f, "\"{name}\" does not exist"),
            Self::Exists { what, name } => write!(f, "{what} \"{name}\" already exists"),
            Self::MasterKeyExists => f.write_str("there already is an active master key"),
            Self::MasterKeyGone { id } => write!(f, "master key {id} is missing"),
            Self::ForeignRecord => {
                f.write_str("the key record is wrapped to a master key of another database")
            }
            Self::DamagedRecipient { name } => {
                write!(
                    f,
                    "recipient \"{name}\" was not added by this database's key administrators"
                )
            }
            Self::DamagedMasterKey { id } => write!(f, "the record of master key {id} is damaged"),
            Self::DamagedDataKey { id } => write!(f, "the record of data key {id} is damaged"),
            Self::DamagedRecord => f.write_str("the key record is damaged"),
            Self::LayoutGone { layout } => write!(f, "layout {layout} is missing"),
            Self::RowLayoutGone { relation, ctid, layout } => write!(
                f,
                "row {ctid} of sealed table \"{relation}\" is damaged, or layout {layout} is missing"
            ),
            Self::DataKeyGone { id } => write!(f, "data key {id} is missing"),
            Self::KeyDestroyed { id } => write!(f, "data key {id} has been destroyed"),
            Self::DamagedMissing { relation, attnum } => {
                write!(
                    f,
                    "the kept value of column {attnum} of sealed table \"{relation}\" is damaged"
                )
            }
            Self::DamagedRow { relation, ctid } => {
                write!(f, "row {ctid} of sealed table \"{relation}\" is damaged")
            }
            Self::DamagedChunk { relation, value, seq } => {
                write!(f, "chunk {seq} of large value {value} of \"{relation}\" is damaged")
            }
            Self::ForeignRow { relation, ctid } => {
                write!(f, "row {ctid} of sealed table \"{relation}\" belongs to another table")
            }
            Self::PlainRow { relation, ctid } => {
                write!(f, "row {ctid} of sealed table \"{relation}\" is not sealed")
            }
            Self::Limit { what } => write!(f, "limit of sealed tables reached: {what}"),
            Self::Unsupported { what } => write!(f, "sealed tables do not support {what}"),
            Self::NotAllowed { what, .. } => write!(f, "permission denied to {what}"),
            Self::BadArgument { what, .. } => f.write_str(what),
            Self::PlaintextIndex { relation, what } => {
                write!(f, "{what} would store values of sealed table \"{relation}\" in plaintext")
            }
            Self::Published { relation, publication } => {
                write!(f, "sealed table \"{relation}\" cannot be in publication \"{publication}\"")
            }
            Self::NotSealed { relation } => write!(f, "\"{relation}\" is not a sealed table"),
            Self::Provider { name, error } if name.is_empty() => write!(f, "{error}"),
            Self::Provider { name, error } => write!(f, "key provider \"{name}\": {error}"),
            Self::Crypto(error) => write!(f, "{error}"),
        }
    }
}

impl From<Error> for ErrorReport {
    fn from(error: Error) -> Self {
        let mut report = Self::new(error.sqlstate(), error.to_string(), "pg_sealed");
        if let Some(detail) = error.detail() {
            report = report.set_detail(detail);
        }
        if let Some(hint) = error.hint() {
            report = report.set_hint(hint);
        }
        report
    }
}

impl From<sealed_crypto::Error> for Error {
    fn from(error: sealed_crypto::Error) -> Self {
        Self::Crypto(error)
    }
}

impl From<sealed_provider::Error> for Error {
    fn from(error: sealed_provider::Error) -> Self {
        Self::Provider { name: String::new(), error }
    }
}

fn crypto_sqlstate(error: sealed_crypto::Error) -> Code {
    use sealed_crypto::Error as E;
    match error {
        E::Damaged
        | E::WrongKey
        | E::WrongRecipient
        | E::WrongLayout
        | E::UnknownFormat
        | E::WrongLength
        | E::BaseMode
        | E::BadLayoutId
        | E::BadRowBody => Code::ERRCODE_DATA_CORRUPTED,
        E::UnknownSuite | E::BadPublicKey => Code::ERRCODE_INVALID_PARAMETER_VALUE,
        E::BadHeader => Code::ERRCODE_INTERNAL_ERROR,
        E::LimitReached => Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        E::NoRandomness => Code::ERRCODE_SYSTEM_ERROR,
    }
}

fn provider_sqlstate(error: &sealed_provider::Error) -> Code {
    use sealed_provider::Error as E;
    match error {
        E::UnknownKind { .. }
        | E::NotAnObject
        | E::UnknownOption { .. }
        | E::MissingOption { .. }
        | E::WrongType { .. }
        | E::OutOfRange { .. }
        | E::Conflict { .. }
        | E::NotAbsolute { .. } => Code::ERRCODE_INVALID_PARAMETER_VALUE,
        E::KeyFileGone { .. } | E::PassphraseFileGone { .. } => Code::ERRCODE_UNDEFINED_FILE,
        // The server's files are set up wrongly: for who keeps the machine.
        E::InDataDirectory { .. }
        | E::NotRegularFile { .. }
        | E::WrongOwner { .. }
        | E::OpenPermissions { .. }
        | E::BadKeyFile { .. } => Code::ERRCODE_CONFIG_FILE_ERROR,
        E::Io { .. } | E::CommandIo { .. } => Code::ERRCODE_IO_ERROR,
        E::CommandStart { .. } | E::CommandFailed { .. } | E::CommandOutput { .. } => {
            Code::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION
        }
        E::CommandTimedOut { .. } => Code::ERRCODE_SYSTEM_ERROR,
        E::Cancelled => Code::ERRCODE_QUERY_CANCELED,
        // Not XX001: the passphrase commits to its key, so that a wrong one is told from damage, and
        // the cure is another. Drivers take class 28 for a failed login only while they connect.
        E::WrongPassphrase
        | E::WrongKeyFile { .. }
        | E::PassphraseEmpty
        | E::PassphraseTooShort { .. }
        | E::PassphraseTooLong { .. }
        | E::PassphraseNotText => Code::ERRCODE_INVALID_PASSWORD,
        E::OutOfMemory { .. } => Code::ERRCODE_OUT_OF_MEMORY,
        E::UnknownFormat | E::BlobLimit => Code::ERRCODE_DATA_CORRUPTED,
        E::Seed(error) => crypto_sqlstate(*error),
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
