//! Sealing and opening of values with this backend's keys.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use sealed_crypto::{IndexKey, LayoutId, OVERHEAD, SIV_OVERHEAD, Seal, SubkeyCache, index_layout};

use crate::error::Error;
use crate::keyring::{self, Layout};
use crate::pg::catalog::Oid;
use crate::pg::class;
use crate::pg::local::backend_local;
use crate::pg::xact;

/// Keys a backend finds at once: of a few indexes, each with a few layouts.
const NEAR: usize = 64;

struct Near {
    layout: LayoutId,
    column: i16,
    table: Oid,
    key: IndexKey,
}

struct State {
    subkeys: SubkeyCache,
    near: [Option<Near>; NEAR],
}

backend_local! {
    static STATE: RefCell<State> =
        RefCell::new(State { subkeys: SubkeyCache::new(), near: [const { None }; NEAR] });
    /// In place of a current layout that this transaction made: another one.
    static CHOSEN: Cell<Option<(LayoutId, LayoutId)>> = const { Cell::new(None) };
    /// VACUUM is at work.
    static CLEANING: Cell<bool> = const { Cell::new(false) };
    /// Tables whose layouts have been brought, with those of several parts.
    static BROUGHT: RefCell<HashMap<Oid, Rc<[Rc<Layout>]>>> = RefCell::default();
}

/// Forgets and wipes keys of a table, or of all.
pub fn forget(table: Option<Oid>) {
    CHOSEN.set(None);
    BROUGHT.with(|brought| {
        if let Ok(mut brought) = brought.try_borrow_mut() {
            match table {
                Some(table) => drop(brought.remove(&table)),
                None => brought.clear(),
            }
        }
    });
    forget_near(table);
}

/// Of these, the keys that are at hand.
fn forget_near(table: Option<Oid>) {
    STATE.with(|state| {
        let Ok(mut state) = state.try_borrow_mut() else { return };
        let mut any = false;
        for near in &mut state.near {
            if near.as_ref().is_some_and(|near| table.is_none_or(|table| table == near.table)) {
                *near = None;
                any = true;
            }
        }
        if any {
            state.subkeys.clear();
        }
    });
}

/// What the transaction made stays from now on.
pub fn transaction_end() {
    CHOSEN.set(None);
}

/// Runs VACUUM's part of the work, which needs no key: a key that does not open is said to be behind what is looked for.
///
/// VACUUM compares for one thing: to find the parent of a page that it removes, going down from the root and then to
/// the right until it is there (`_bt_pagedel`, `_bt_getstackbuf`). So too far left is a longer way, not a wrong one.
pub fn cleaning<R>(body: impl FnOnce() -> R) -> R {
    struct Back(bool);
    impl Drop for Back {
        fn drop(&mut self) {
            CLEANING.set(self.0);
        }
    }
    let _back = Back(CLEANING.replace(true));
    body()
}

/// Whether that is being done.
pub fn is_cleaning() -> bool {
    CLEANING.get()
}

/// Makes the first layout of a table, if it has none.
pub fn make_layout(table: Oid) -> Result<(), Error> {
    keyring::current_layout(table).map(drop)
}

/// The layouts of a table that have several parts. Brings all of its layouts, so that a comparison, which is
/// made under a lock on a page of the index, asks no provider and hardly ever reads the catalog.
pub fn divided(table: Oid) -> Result<Rc<[Rc<Layout>]>, Error> {
    if let Some(known) = BROUGHT.with_borrow(|brought| brought.get(&table).cloned()) {
        return Ok(known);
    }
    let (layouts, keep): (Rc<[_]>, _) = xact::reading(|| {
        let all = keyring::bring_layouts(table)?.into_iter();
        Ok::<_, Error>(all.filter(|layout| layout.parts.is_some()).collect())
    })?;
    if keep {
        BROUGHT.with_borrow_mut(|brought| brought.insert(table, Rc::clone(&layouts)));
    }
    Ok(layouts)
}

/// How an index seals its keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum How {
    /// So that equal values look different.
    #[default]
    Random,
    /// So that they look the same, under one key.
    Same,
}

impl How {
    fn seal(self) -> Result<Seal, Error> {
        Ok(match self {
            Self::Random => Seal::Random(keyring::next_nonce()?),
            Self::Same => Seal::Same,
        })
    }

    /// What `seal_long` wants in front of a value.
    pub fn room(self) -> usize {
        match self {
            Self::Random => OVERHEAD,
            Self::Same => SIV_OVERHEAD,
        }
    }
}

/// Seals eight bytes of a value of a column of a table; column 0 is computed from several.
pub fn seal_short(table: Oid, column: i16, how: How, value: [u8; 8]) -> Result<[u8; 20], Error> {
    let layout = sealing_layout(table, column)?;
    let seal = how.seal()?;
    with_key(table, column, layout, |key, _| Ok(key.seal_short(seal, value)))
}

/// Seals a value of any length in place, behind as much room as that wants.
pub fn seal_long(table: Oid, column: i16, how: How, payload: &mut [u8]) -> Result<(), Error> {
    let layout = sealing_layout(table, column)?;
    let seal = how.seal()?;
    with_key(table, column, layout, |key, cache| Ok(key.seal_long(seal, cache, payload)?))
}

/// The layout that the codes of a new `sealed_hash` index of a column are to be under.
pub fn hashing_layout(table: Oid, column: i16) -> Result<LayoutId, Error> {
    sealing_layout(table, column)
}

/// The code that such an index under a layout keeps of a hash.
#[inline]
pub fn hash(table: Oid, column: i16, layout: LayoutId, value: u32) -> Result<u32, Error> {
    with_key(table, column, layout, |key, _| Ok(key.hash(value)))
}

/// Opens what `seal_short` made if its key is at hand; `None` says to ask `open_short`. For comparisons: what is
/// returned fits registers, which a `Result` with an error of ours does not.
#[inline]
pub fn open_short_near(table: Oid, column: i16, sealed: &[u8]) -> Option<[u8; 8]> {
    let layout = index_layout(sealed).ok()?;
    STATE.with(|state| match &state.try_borrow().ok()?.near[near(layout, column)] {
        Some(n) if n.layout == layout && n.column == column && n.table == table => {
            n.key.open_short(sealed).ok()
        }
        _ => None,
    })
}

/// Opens what `seal_short` made.
#[inline]
pub fn open_short(table: Oid, column: i16, sealed: &[u8]) -> Result<[u8; 8], Error> {
    let layout = index_layout(sealed).map_err(|_| damaged(table))?;
    let opened = with_key(table, column, layout, |key, _| Ok(key.open_short(sealed).ok()))?;
    opened.ok_or_else(|| damaged(table))
}

/// Opens what `seal_long` made.
#[inline]
pub fn open_long(table: Oid, column: i16, sealed: &[u8], out: &mut [u8]) -> Result<(), Error> {
    let layout = index_layout(sealed).map_err(|_| damaged(table))?;
    let open = |key: &IndexKey, cache: &mut SubkeyCache| Ok(key.open_long(cache, sealed, out).ok());
    with_key(table, column, layout, open)?.ok_or_else(|| damaged(table))
}

/// The error of a key that does not open.
#[cold]
pub fn damaged(table: Oid) -> Error {
    Error::DamagedIndexKey { relation: class::relation_name(table) }
}

/// The layout that new keys of a column are sealed under: that of its group.
fn sealing_layout(table: Oid, column: i16) -> Result<LayoutId, Error> {
    let current = keyring::current_layout(table)?;
    let layout = match CHOSEN.get() {
        Some((of, id)) if of == current.id => keyring::layout(id)?,
        _ => {
            let layout = keyring::index_layout(table)?;
            if layout.id != current.id {
                CHOSEN.set(Some((current.id, layout.id)));
            }
            layout
        }
    };
    Ok(if column > 0 && layout.parts.is_some() { layout.of_chunks(column) } else { layout.id })
}

fn near(layout: LayoutId, column: i16) -> usize {
    (layout.get() as usize).wrapping_mul(31).wrapping_add(column as u16 as usize) % NEAR
}

#[inline]
fn with_key<R>(
    table: Oid,
    column: i16,
    layout: LayoutId,
    body: impl FnOnce(&IndexKey, &mut SubkeyCache) -> Result<R, Error>,
) -> Result<R, Error> {
    let at = near(layout, column);
    let mut body = Some(body);
    let mut with_near = || {
        STATE.with_borrow_mut(|state| match &state.near[at] {
            Some(n) if n.layout == layout && n.column == column && n.table == table => {
                body.take().map(|body| body(&n.key, &mut state.subkeys))
            }
            _ => None,
        })
    };
    if let Some(done) = with_near() {
        return done;
    }
    let (key, keep) = xact::reading(|| bring(table, column, layout))?;
    STATE.with_borrow_mut(|state| state.near[at] = Some(Near { layout, column, table, key }));
    let done = with_near().unwrap_or_else(|| Err(damaged(table)));
    if !keep {
        forget_near(Some(table));
    }
    done
}

/// Brings a key. Reads the catalog on a miss, so nothing is borrowed here.
#[cold]
fn bring(table: Oid, column: i16, layout: LayoutId) -> Result<IndexKey, Error> {
    if CLEANING.get() && !keyring::is_known(layout) {
        return Err(damaged(table));
    }
    let found = match keyring::layout(layout) {
        // The bytes are wrong, or the catalog is.
        Err(Error::LayoutGone { .. }) => return Err(damaged(table)),
        found => found?,
    };
    // Without this a key copied from another sealed table's index would open here.
    if found.relation != table {
        return Err(damaged(table));
    }
    Ok(IndexKey::derive(&found.key, column as u16))
}
