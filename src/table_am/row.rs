//! Sealing and opening of rows and chunks with this backend's keys.

use std::cell::RefCell;
use std::rc::Rc;

use pgrx::pg_sys::Oid;
use sealed_crypto::{self as crypto, Build, ChunkId, LayoutId, MAX_GROUPS, Parts, SubkeyCache};

use crate::error::Error;
use crate::keyring::{self, Layout};
use crate::pg::local::backend_local;
use crate::pg::xact;

/// Layouts a backend finds without asking the keyring: a join reads a few tables in turn.
const NEAR: usize = 8;

struct State {
    subkeys: SubkeyCache,
    near: [Option<Rc<Layout>>; NEAR],
}

backend_local! {
    static STATE: RefCell<State> =
        RefCell::new(State { subkeys: SubkeyCache::new(), near: [const { None }; NEAR] });
}

/// Why a row or chunk did not open.
pub enum NotOpened {
    /// The bytes do not verify, or their header is not one of ours.
    Damaged,
    /// It is sealed, and opens, under another table's layout.
    Foreign,
    /// The keyring cannot give the key.
    Keyring(Error),
}

/// Opens a row if its layout is at hand; false means "ask `open`", never "damaged".
///
/// For the scan's inner loop: no PostgreSQL function is called, nothing can raise or panic.
#[inline]
pub fn open_near(owner: Oid, payload: &[u8], body: &mut [u8]) -> bool {
    STATE.with(|state| {
        let Ok(mut state) = state.try_borrow_mut() else { return false };
        let state = &mut *state;
        let Ok(id) = crypto::sealed_layout(payload) else { return false };
        match &state.near[near(id)] {
            Some(l) if l.id == id && l.relation == owner => {
                crypto::open_row(&l.key, &mut state.subkeys, payload, body).is_ok()
            }
            _ => false,
        }
    })
}

/// Opens a row of the table `owner`: `payload` is the seal and the ciphertext, `body` 38 bytes less.
pub fn open(owner: Oid, payload: &[u8], body: &mut [u8]) -> Result<(), NotOpened> {
    let layout = layout_of(owner, payload)?;
    STATE.with(|state| {
        crypto::open_row(&layout.key, &mut state.borrow_mut().subkeys, payload, body)
            .map_err(|_| NotOpened::Damaged)
    })
}

/// The layout of a row of several parts of the table `owner`.
#[inline]
pub fn layout_of_parts(owner: Oid, payload: &[u8]) -> Result<Rc<Layout>, NotOpened> {
    let (Build::Parts, id) = crypto::sealed_as(payload).map_err(|_| NotOpened::Damaged)? else {
        return Err(NotOpened::Damaged);
    };
    let layout = layout_named(owner, id)?;
    // Without a group nothing would be verified; no layout that was made has none.
    let whole = layout.parts.as_ref().is_some_and(|parts| !parts.groups.is_empty());
    if whole { Ok(layout) } else { Err(NotOpened::Damaged) }
}

/// Where the parts of a row of the layout are in its payload.
pub fn parts(layout: &Layout, payload: &[u8]) -> Result<Parts, NotOpened> {
    let count = layout.parts.as_ref().map_or(0, |parts| parts.groups.len());
    Parts::read(payload, count).map_err(|_| NotOpened::Damaged)
}

/// Opens a group, by its number from 0, of a row that `parts` has looked at.
pub fn open_group(
    layout: &Layout,
    parts: &Parts,
    group: usize,
    payload: &[u8],
    body: &mut [u8],
) -> Result<(), NotOpened> {
    let ids = layout.parts.as_ref().map_or(&[][..], |parts| &parts.groups);
    let id = *ids.get(group).ok_or(NotOpened::Damaged)?;
    let layout = layout_named(layout.relation, id)?;
    STATE.with(|state| {
        let subkeys = &mut state.borrow_mut().subkeys;
        crypto::open_part(group, &layout.key, subkeys, parts, payload, body)
            .map_err(|_| NotOpened::Damaged)
    })
}

/// Seals a row of several parts in place, which lie in `payload` where `parts` has them.
pub fn seal_parts(layout: &Layout, parts: &Parts, payload: &mut [u8]) -> Result<(), Error> {
    let ids = layout.parts.as_ref().map_or(&[][..], |parts| &parts.groups);
    let mut groups = [const { None }; MAX_GROUPS];
    for (group, id) in groups.iter_mut().zip(ids) {
        *group = Some(layout_near(*id)?);
    }
    let keys = groups.each_ref().map(|group| &group.as_deref().unwrap_or(layout).key);
    let keys = &keys[..ids.len().min(MAX_GROUPS)];
    let nonce = keyring::next_nonce()?;
    STATE.with(|state| {
        let subkeys = &mut state.borrow_mut().subkeys;
        Ok(crypto::seal_parts(layout.id, keys, subkeys, nonce, parts, payload)?)
    })
}

/// Opens one TOAST chunk of the table `owner`.
pub fn open_chunk(
    owner: Oid,
    id: &ChunkId,
    payload: &[u8],
    plain: &mut [u8],
) -> Result<(), NotOpened> {
    let layout = layout_of(owner, payload)?;
    STATE.with(|state| {
        crypto::open_chunk(&layout.key, &mut state.borrow_mut().subkeys, id, payload, plain)
            .map_err(|_| NotOpened::Damaged)
    })
}

/// Seals a row in place: 38 bytes of room, then the body.
pub fn seal(layout: &Layout, payload: &mut [u8]) -> Result<(), Error> {
    let nonce = keyring::next_nonce()?;
    STATE.with(|state| {
        Ok(crypto::seal_row(&layout.key, &mut state.borrow_mut().subkeys, nonce, payload)?)
    })
}

/// Seals one TOAST chunk of a value of column `attnum` of the table `owner` in place.
pub fn seal_chunk(owner: Oid, attnum: i16, id: &ChunkId, payload: &mut [u8]) -> Result<(), Error> {
    let mut layout = keyring::current_layout(owner)?;
    if layout.parts.is_some() {
        layout = keyring::layout(layout.of_chunks(attnum))?;
    }
    let nonce = keyring::next_nonce()?;
    STATE.with(|state| {
        Ok(crypto::seal_chunk(&layout.key, &mut state.borrow_mut().subkeys, nonce, id, payload)?)
    })
}

/// Forgets which layouts are near: an abort may have removed one.
pub fn forget() {
    STATE.with(|state| {
        if let Ok(mut state) = state.try_borrow_mut() {
            state.near = [const { None }; NEAR];
        }
    });
}

/// Drops and wipes what it takes to open rows of a table, or of any: its keys may have been destroyed.
pub fn forget_relation(relation: Option<Oid>) {
    let used = STATE.with(|state| {
        state.try_borrow().is_ok_and(|state| {
            let mut near = state.near.iter().flatten();
            near.any(|layout| relation.is_none_or(|relation| relation == layout.relation))
        })
    });
    if used {
        wipe();
    }
}

/// Drops and wipes every key this module holds.
pub fn wipe() {
    forget();
    STATE.with(|state| {
        if let Ok(mut state) = state.try_borrow_mut() {
            state.subkeys.clear();
        }
    });
}

fn near(id: LayoutId) -> usize {
    id.get() as usize % NEAR
}

/// The layout a sealed message names, if it is one of the table `owner`.
fn layout_of(owner: Oid, payload: &[u8]) -> Result<Rc<Layout>, NotOpened> {
    layout_named(owner, crypto::sealed_layout(payload).map_err(|_| NotOpened::Damaged)?)
}

fn layout_named(owner: Oid, id: LayoutId) -> Result<Rc<Layout>, NotOpened> {
    let layout = layout_near(id).map_err(NotOpened::Keyring)?;
    // Without this a row copied from another sealed table would open here.
    if layout.relation != owner { Err(NotOpened::Foreign) } else { Ok(layout) }
}

fn layout_near(id: LayoutId) -> Result<Rc<Layout>, Error> {
    match STATE.with(|s| s.borrow().near[near(id)].clone().filter(|l| l.id == id)) {
        Some(layout) => Ok(layout),
        None => {
            // Reads the catalog, so it may raise: no borrow is held here.
            let (layout, keep) = xact::reading(|| keyring::layout(id))?;
            if keep {
                STATE.with(|s| s.borrow_mut().near[near(id)] = Some(layout.clone()));
            }
            Ok(layout)
        }
    }
}
