//! Which tables hold plain and sealed rows side by side (`sealed.mixed_table`).

use super::audit::{self, Subject};
use super::records::{self, MixedRow};
use crate::error::Error;
use crate::pg::catalog::{self, Oid};
use crate::pg::xact;

/// What a row or chunk is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// As heap stores it.
    Plain,
    /// Encrypted and authenticated.
    Sealed,
}

impl Kind {
    /// The other of the two.
    pub const fn other(self) -> Self {
        match self {
            Self::Plain => Self::Sealed,
            Self::Sealed => Self::Plain,
        }
    }
}

/// How a table is mixed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mixed {
    /// What all rows are to become, and what is written is.
    pub target: Kind,
    /// What all rows were, and what chunks without a mark are.
    pub origin: Kind,
}

/// How a table is mixed; None if it is not.
pub fn mixed(relation: Oid) -> Result<Option<Mixed>, Error> {
    Ok(MixedRow::find(relation)?.map(|row| row.mixed))
}

/// Gives a table rows of both kinds from now on, and the one they are to become.
pub fn mix(relation: Oid, target: Kind) -> Result<(), Error> {
    match MixedRow::find(relation)? {
        Some(row) if row.mixed.target == target => return Ok(()),
        Some(row) => row.retarget(target)?,
        None => MixedRow::insert(relation, Mixed { target, origin: target.other() })?,
    }
    let event = match target {
        Kind::Sealed => "seal_table",
        Kind::Plain => "unseal_table",
    };
    audit::record(event, Subject { relation: Some(relation), ..Subject::default() });
    catalog::relation_changed(relation);
    Ok(())
}

/// Every row of the table is of one kind again. A rollback brings the mixture back.
pub fn unmix(relation: Oid) -> Result<(), Error> {
    if let Some(row) = MixedRow::find(relation)? {
        row.delete()?;
        catalog::relation_changed(relation);
    }
    Ok(())
}

/// Notes that the WAL up to now holds rows of a table in plaintext, for `sealed.leaks`.
pub fn note_plaintext_wal(relation: Oid) -> Result<(), Error> {
    records::note_plaintext_wal(relation, xact::wal_position())
}

/// Forgets what is noted here of a table that is being dropped.
pub fn forget_mixed(relation: Oid) -> Result<(), Error> {
    records::forget_plaintext_wal(relation)?;
    unmix(relation)
}
