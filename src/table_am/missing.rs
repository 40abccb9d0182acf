//! What rows have in columns that were added after they were written (`sealed.missing_value`).
//!
//! A value is sealed as a chunk is: value id the column's number, chunk number 2^32 - 1, which no chunk
//! has (docs/format.md).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use pgrx::pg_sys::Oid;
use sealed_crypto::{ChunkId, OVERHEAD, Zeroizing};

use super::row::{self, NotOpened};
use crate::error::Error;
use crate::keyring;
use crate::pg::local::backend_local;
use crate::pg::{class, xact};

/// The value of one column.
pub struct Missing {
    /// The column's number, from 1.
    pub attnum: i16,
    /// The bytes of its datum, in words so that they are aligned as in a tuple.
    words: Zeroizing<Vec<u64>>,
}

impl Missing {
    fn new(attnum: i16, bytes: &[u8]) -> Self {
        let mut words = Zeroizing::new(vec![0u64; bytes.len().div_ceil(8)]);
        for (word, part) in words.iter_mut().zip(bytes.chunks(8)) {
            let mut full = [0; 8];
            full[..part.len()].copy_from_slice(part);
            *word = u64::from_ne_bytes(full);
        }
        Self { attnum, words }
    }

    /// The value, 8-byte aligned; of one passed by value, the datum itself.
    pub fn words(&self) -> &[u64] {
        &self.words
    }
}

backend_local! {
    static KNOWN: RefCell<HashMap<Oid, Rc<[Missing]>>> = RefCell::default();
    /// The table without such values that was asked for last.
    static NONE: Cell<Oid> = const { Cell::new(Oid::INVALID) };
}

/// Whether it is known without a look that a table has no such values: rows of it that are short stay so.
#[inline]
pub fn known_none(owner: Oid) -> bool {
    NONE.get() == owner
}

/// The values of a table, opened. Reads the catalog, so not for where a buffer is locked.
pub fn of(owner: Oid) -> Result<Rc<[Missing]>, Error> {
    let known = KNOWN.with_borrow(|known| known.get(&owner).cloned());
    let values = match known {
        Some(values) => values,
        None => {
            let (values, keep): (Rc<[Missing]>, _) = xact::reading(|| {
                let all = keyring::missing(owner)?.into_iter();
                all.map(|(attnum, sealed)| open(owner, attnum, &sealed)).collect::<Result<_, _>>()
            })?;
            if !keep {
                return Ok(values);
            }
            KNOWN.with_borrow_mut(|known| known.insert(owner, Rc::clone(&values)));
            values
        }
    };
    if values.is_empty() {
        NONE.set(owner);
    }
    Ok(values)
}

/// Keeps the value of a new column for the rows that are there.
pub fn keep(owner: Oid, attnum: i16, bytes: &[u8]) -> Result<(), Error> {
    keyring::keep_missing(owner, attnum, seal(owner, attnum, bytes)?)?;
    forget(Some(owner));
    Ok(())
}

/// Seals the kept values of a table again that are not under its newest layout. The caller has the table
/// locked against who keeps or forgets one.
pub fn reseal(owner: Oid) -> Result<(), Error> {
    let newest = keyring::current_layout(owner)?;
    for (attnum, sealed) in keyring::missing(owner)? {
        if sealed_crypto::sealed_layout(&sealed) != Ok(newest.of_chunks(attnum)) {
            let bytes = open_bytes(owner, attnum, &sealed)?;
            keyring::replace_missing(owner, attnum, seal(owner, attnum, &bytes)?)?;
        }
    }
    forget(Some(owner));
    Ok(())
}

fn seal(owner: Oid, attnum: i16, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut payload = vec![0; OVERHEAD];
    payload.extend_from_slice(bytes);
    row::seal_chunk(owner, attnum, &id(attnum, bytes.len())?, &mut payload)?;
    Ok(payload)
}

fn open(owner: Oid, attnum: i16, sealed: &[u8]) -> Result<Missing, Error> {
    Ok(Missing::new(attnum, &open_bytes(owner, attnum, sealed)?))
}

fn open_bytes(owner: Oid, attnum: i16, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let damaged = || Error::DamagedMissing { relation: class::relation_name(owner), attnum };
    let len = sealed.len().checked_sub(OVERHEAD).ok_or_else(damaged)?;
    let mut bytes = Zeroizing::new(vec![0; len]);
    row::open_chunk(owner, &id(attnum, len)?, sealed, &mut bytes).map_err(|why| match why {
        NotOpened::Keyring(e) => e,
        NotOpened::Damaged | NotOpened::Foreign => damaged(),
    })?;
    Ok(bytes)
}

fn id(attnum: i16, len: usize) -> Result<ChunkId, Error> {
    let limit = || Error::Limit { what: "bytes of a column's default" };
    let total = u32::try_from(len).map_err(|_| limit())?;
    let value_id = u32::try_from(attnum).map_err(|_| limit())?;
    Ok(ChunkId { value_id, seq: u32::MAX, total })
}

/// Forgets the values of one table, or of all.
pub fn forget(relation: Option<Oid>) {
    NONE.set(Oid::INVALID);
    KNOWN.with_borrow_mut(|known| match relation {
        Some(relation) => drop(known.remove(&relation)),
        None => known.clear(),
    });
}
