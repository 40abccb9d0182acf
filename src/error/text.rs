//! The message of every error, worded as PostgreSQL words its own.

use std::fmt;

use sealed_crypto::Unusable;

use super::Error;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPreloaded => {
                f.write_str("pg_sealed must be loaded through shared_preload_libraries")
            }
            Self::Processor { feature } => write!(f, "pg_sealed needs a processor with {feature}"),
            Self::Cipher(Unusable::Lacks(backend)) => {
                write!(
                    f,
                    "the processor lacks the instructions of cipher backend \"{}\"",
                    backend.name()
                )
            }
            Self::Cipher(Unusable::Broken(backend)) => {
                write!(f, "cipher backend \"{}\" gives wrong answers", backend.name())
            }
            Self::SecretMemory(error) => write!(f, "no memory for secrets: {error}"),
            Self::NotInstalled => f.write_str("extension pg_sealed is not installed"),
            Self::CatalogShape { table } => {
                write!(f, "catalog table sealed.{table} does not have the expected columns")
            }
            Self::NoMasterKey => f.write_str("there is no master key in this database"),
            Self::NoSuchProvider { name } => write!(f, "key provider \"{name}\" does not exist"),
            Self::NoSuchRecipient { name } => write!(f, "recipient \"{name}\" does not exist"),
            Self::NoSuchColumn { relation, column } => {
                write!(f, "column \"{column}\" of relation \"{relation}\" does not exist")
            }
            Self::ColumnDenied { relation, column, .. } => {
                write!(f, "permission denied for column \"{column}\" of relation \"{relation}\"")
            }
            Self::TooManyGroups { relation } => write!(
                f,
                "columns of \"{relation}\" cannot be sealed under more than {} keys",
                sealed_columns::MAX_GROUPS
            ),
            Self::NoSuchRole { name } => write!(f, "role \"{name}\" does not exist"),
            Self::NoSuchColumnKey { name } => write!(f, "column key \"{name}\" does not exist"),
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
            Self::BadRecovery { id, why } => write!(f, "data key {id} is not imported: {why}"),
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
            Self::IndexNotSealed { relation, method } => {
                write!(f, "{method} cannot index table \"{relation}\", which is not sealed")
            }
            Self::SealedConstraint { relation, column, constraint } => write!(
                f,
                "cannot alter type of column \"{column}\" of \"{relation}\" while constraint \"{constraint}\" has sealed keys"
            ),
            Self::PatternCollation { type_name } => write!(
                f,
                "nondeterministic collations are not supported for pattern operator classes of type {type_name}"
            ),
            Self::NotAdopted { table, column, method } => write!(
                f,
                "the type of column \"{column}\" of \"{table}\" has no default operator class for access \
                 method \"{method}\" yet"
            ),
            Self::DamagedIndexKey { relation } => {
                write!(f, "a key in an index of sealed table \"{relation}\" is damaged")
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
            Self::PlaintextIndex { relation, what, .. } => {
                write!(f, "{what} would store values of sealed table \"{relation}\" in plaintext")
            }
            Self::Published { relation, publication } => {
                write!(f, "sealed table \"{relation}\" cannot be in publication \"{publication}\"")
            }
            Self::NoOperation { relation } => {
                write!(f, "no operation on table \"{relation}\" is running, paused or failed")
            }
            Self::NotSealed { relation } => write!(f, "\"{relation}\" is not a sealed table"),
            Self::Provider { name, error } if name.is_empty() => write!(f, "{error}"),
            Self::Provider { name, error } => write!(f, "key provider \"{name}\": {error}"),
            Self::Crypto(error) => write!(f, "{error}"),
        }
    }
}
