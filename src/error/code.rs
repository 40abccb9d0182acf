//! The SQLSTATE of every error: the only such table.

use pgrx::PgSqlErrorCode as Code;

use sealed_crypto::Unusable;

use super::Error;

impl Error {
    /// The SQLSTATE.
    pub fn sqlstate(&self) -> Code {
        match self {
            Self::NotPreloaded
            | Self::NotInstalled
            | Self::NoMasterKey
            | Self::MasterKeyExists
            | Self::NoOperation { .. }
            | Self::NotSealed { .. } => Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            // Nothing else of ours has it: an application can tell what was shredded from what is broken.
            Self::KeyDestroyed { .. } => Code::ERRCODE_OPERATOR_INTERVENTION,
            Self::Processor { .. }
            | Self::Cipher(Unusable::Lacks(_))
            | Self::Unsupported { .. }
            | Self::PlaintextIndex { .. }
            | Self::IndexNotSealed { .. }
            | Self::SealedConstraint { .. }
            | Self::PatternCollation { .. }
            | Self::Published { .. } => Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            Self::Cipher(Unusable::Broken(_)) => Code::ERRCODE_INTERNAL_ERROR,
            Self::SecretMemory(_) => Code::ERRCODE_OUT_OF_MEMORY,
            Self::NoSuchProvider { .. }
            | Self::NoSuchRecipient { .. }
            | Self::NoSuchColumnKey { .. }
            | Self::NoSuchRole { .. }
            | Self::NotAdopted { .. }
            | Self::NoSuchName { .. } => Code::ERRCODE_UNDEFINED_OBJECT,
            Self::NoSuchColumn { .. } => Code::ERRCODE_UNDEFINED_COLUMN,
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
            Self::DamagedIndexKey { .. } => Code::ERRCODE_INDEX_CORRUPTED,
            // The caller's bytes, not ours: the database is not corrupt.
            Self::DamagedRecord | Self::ForeignRecord | Self::BadRecovery { .. } => {
                Code::ERRCODE_DATA_EXCEPTION
            }
            Self::Limit { .. } | Self::TooManyGroups { .. } => Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            Self::NotAllowed { .. } | Self::ColumnDenied { .. } => {
                Code::ERRCODE_INSUFFICIENT_PRIVILEGE
            }
            Self::BadArgument { .. } => Code::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::Provider { error, .. } => provider_sqlstate(error),
            Self::Crypto(error) => crypto_sqlstate(*error),
        }
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
