//! The errors of the extension: `code` gives each its SQLSTATE, `text` its message, `hint` its hint.

use pgrx::PgLogLevel;
use pgrx::pg_sys::panic::ErrorReport;

mod code;
mod hint;
mod text;

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
    /// The cipher backend that is asked for needs instructions that the processor lacks, or gives wrong answers.
    Cipher(sealed_crypto::Unusable),
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
    /// A column key that a label or a call names is not there.
    NoSuchColumnKey {
        /// Its name.
        name: String,
    },
    /// A role that a call names is not there.
    NoSuchRole {
        /// Its name.
        name: String,
    },
    /// A column that a call names is not there.
    NoSuchColumn {
        /// The table.
        relation: String,
        /// The column.
        column: String,
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
    /// A data key that was brought back from outside is refused.
    BadRecovery {
        /// Its id.
        id: String,
        /// Why.
        why: String,
    },
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
    /// An index with sealed keys would be on a table that is not sealed.
    IndexNotSealed {
        /// The table.
        relation: String,
        /// The access method.
        method: String,
    },
    /// A constraint with sealed keys would be made anew in plaintext.
    SealedConstraint {
        /// The table.
        relation: String,
        /// Its column that gets another type.
        column: String,
        /// The constraint.
        constraint: String,
    },
    /// An operator class for patterns would have to find equal what its comparison does not.
    PatternCollation {
        /// What the class is for.
        type_name: String,
    },
    /// A type has an operator class of btree, but none yet of sealed_btree.
    NotAdopted {
        /// The table.
        table: String,
        /// Its column.
        column: String,
        /// The access method.
        method: String,
    },
    /// A key of an index does not open.
    DamagedIndexKey {
        /// The table.
        relation: String,
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
    /// Columns of a table are to be under more keys than a row may have.
    TooManyGroups {
        /// The table.
        relation: String,
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
    /// A role may not open what is sealed under a column key.
    ColumnDenied {
        /// The table.
        relation: String,
        /// The column.
        column: String,
        /// The column key.
        key: String,
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
        /// It is unique, and would have sealed keys from 18 on.
        unique: bool,
    },
    /// A sealed table would be published.
    Published {
        /// The table or tables.
        relation: String,
        /// The publication.
        publication: String,
    },
    /// A table has no background operation that this could be done to.
    NoOperation {
        /// Its name.
        relation: String,
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
