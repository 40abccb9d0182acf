//! Tables on their way from heap to `sealed_heap` or back while they are used: plain rows and sealed
//! ones lie side by side (`sealed.mixed_table`).
//!
//! What is written is of the target's kind. A plain row refers to plain chunks and a sealed row to sealed
//! ones; of a chunk alone, which is all that PostgreSQL's fetching of a value has, a mark tells (docs/format.md).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use pgrx::pg_sys::Oid;

use crate::error::Error;
use crate::keyring;
pub use crate::keyring::{Kind, Mixed};
use crate::pg::local::backend_local;
use crate::pg::{fault, method, xact};

/// Marks of chunks (docs/format.md).
const SEALED: u8 = 1;
const PLAIN: u8 = 2;

backend_local! {
    static KNOWN: RefCell<HashMap<Oid, Option<Mixed>>> = RefCell::default();
    /// The table that was asked for last and is not mixed: a statement writes to one table, row after row.
    static PURE: Cell<Oid> = const { Cell::new(Oid::INVALID) };
}

/// How a table is mixed; None if every row of it is sealed. Reads the catalog, so not for where a
/// buffer is locked.
#[inline]
pub fn of(owner: Oid) -> Result<Option<Mixed>, Error> {
    if PURE.get() == owner {
        return Ok(None);
    }
    find(owner)
}

#[cold]
fn find(owner: Oid) -> Result<Option<Mixed>, Error> {
    let known = KNOWN.with_borrow(|known| known.get(&owner).copied());
    let mixed = match known {
        Some(mixed) => mixed,
        None => {
            let (mixed, keep) = xact::reading(|| keyring::mixed(owner))?;
            if !keep {
                return Ok(mixed);
            }
            KNOWN.with_borrow_mut(|known| known.insert(owner, mixed));
            mixed
        }
    };
    if mixed.is_none() {
        PURE.set(owner);
    }
    Ok(mixed)
}

/// What rows and chunks that are written now are.
pub fn target(mixed: Option<Mixed>) -> Kind {
    mixed.map_or(Kind::Sealed, |m| m.target)
}

/// The mark of chunks that are written now. A table that is not mixed needs none: there is nothing to tell
/// apart, and once it is mixed, what has no mark is what everything was.
pub fn mark(mixed: Option<Mixed>) -> Option<u8> {
    mixed.map(|m| match m.target {
        Kind::Sealed => SEALED,
        Kind::Plain => PLAIN,
    })
}

/// What a chunk is, by its mark; None if that is no mark of ours. Marks of earlier times tell the truth,
/// but a table that is not mixed has no use for them.
pub fn of_chunk(mixed: Option<Mixed>, mark: Option<u8>) -> Option<Kind> {
    match (mixed, mark) {
        (None, _) => Some(Kind::Sealed),
        (Some(m), None) => Some(m.origin),
        (Some(_), Some(SEALED)) => Some(Kind::Sealed),
        (Some(_), Some(PLAIN)) => Some(Kind::Plain),
        (Some(_), Some(_)) => None,
    }
}

/// Every row is what it was to become: a sealed table is strict again, a plain one is heap's. Only for who
/// has verified that, of every row and chunk there is, and has the table locked: alone if it is to be heap's.
pub fn finish(owner: Oid) -> Result<(), Error> {
    let Some(mixed) = keyring::mixed(owner)? else { return Ok(()) };
    keyring::unmix(owner)?;
    fault::place("finish:unmixed");
    match mixed.target {
        Kind::Sealed => {
            method::forget_missing(owner);
            keyring::note_plaintext_wal(owner)
        }
        Kind::Plain => {
            method::set(owner, method::HEAP);
            fault::place("finish:heap");
            keyring::drop_missing(owner)
        }
    }
}

/// Forgets what is known of one table, or of all.
pub fn forget(relation: Option<Oid>) {
    PURE.set(Oid::INVALID);
    KNOWN.with_borrow_mut(|known| match relation {
        Some(relation) => drop(known.remove(&relation)),
        None => known.clear(),
    });
}
