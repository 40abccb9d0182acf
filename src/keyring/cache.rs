//! What this backend knows: layouts with their keys, master keys. Bounded, and wiped at exit.
//!
//! A layout that this very transaction made is marked, and dropped by any abort: later rows must
//! not be sealed under a key that the rollback has removed from the catalog.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use sealed_crypto::{Id, LayoutId, MasterKey};

use super::Layout;
use crate::pg::catalog::Oid;
use crate::pg::local::backend_local;
use crate::pg::xact::{self, End};

struct Entry {
    layout: Rc<Layout>,
    uncommitted: bool,
}

#[derive(Default)]
struct Cache {
    layouts: HashMap<LayoutId, Entry>,
    current: HashMap<Oid, Rc<Layout>>,
    /// The one of `current` that was asked for last: rows of one table come in a row.
    last: Option<Rc<Layout>>,
    masters: HashMap<Id, Rc<MasterKey>>,
}

/// Layouts kept; beyond this, those of committed transactions are dropped and loaded again.
const LIMIT: usize = 1024;

backend_local! {
    static CACHE: RefCell<Cache> = RefCell::default();
    static ANY_UNCOMMITTED: Cell<bool> = const { Cell::new(false) };
}

/// The current layout of a table, if known.
#[inline]
pub fn current(owner: Oid) -> Option<Rc<Layout>> {
    CACHE.with_borrow_mut(|cache| match &cache.last {
        Some(last) if last.relation == owner => Some(Rc::clone(last)),
        _ => {
            cache.last = cache.current.get(&owner).cloned();
            cache.last.clone()
        }
    })
}

/// A layout by its id, if known.
#[inline]
pub fn layout(id: LayoutId) -> Option<Rc<Layout>> {
    CACHE.with_borrow(|cache| cache.layouts.get(&id).map(|e| Rc::clone(&e.layout)))
}

/// Whether this very transaction made a layout.
pub fn is_uncommitted(id: LayoutId) -> bool {
    ANY_UNCOMMITTED.get()
        && CACHE.with_borrow(|cache| cache.layouts.get(&id).is_some_and(|e| e.uncommitted))
}

/// Keeps a layout.
pub fn add(layout: &Rc<Layout>, uncommitted: bool) {
    xact::call_at_exit();
    CACHE.with_borrow_mut(|cache| {
        if cache.layouts.len() >= LIMIT {
            cache.layouts.retain(|_, e| e.uncommitted);
            cache.current.clear();
            cache.last = None;
        }
        let entry = Entry { layout: Rc::clone(layout), uncommitted };
        cache.layouts.insert(layout.id, entry);
    });
    if uncommitted {
        ANY_UNCOMMITTED.set(true);
    }
}

/// Makes a layout, which was added before, the current one of its table.
pub fn make_current(layout: &Rc<Layout>) {
    CACHE.with_borrow_mut(|cache| {
        cache.current.insert(layout.relation, Rc::clone(layout));
        cache.last = None;
    });
}

/// A master key, if unlocked in this backend.
pub fn master(id: &Id) -> Option<Rc<MasterKey>> {
    CACHE.with_borrow(|cache| cache.masters.get(id).cloned())
}

/// Keeps a master key. There are few: one, and those it replaced.
pub fn add_master(master: &Rc<MasterKey>) {
    xact::call_at_exit();
    CACHE.with_borrow_mut(|cache| cache.masters.insert(master.id(), Rc::clone(master)));
}

/// Forgets the layouts of one table, or of all: their keys may have been destroyed.
///
/// Not those of this transaction, which nobody else can have changed, nor seen.
pub fn forget(relation: Option<Oid>) {
    CACHE.with_borrow_mut(|cache| {
        match relation {
            Some(relation) => drop(cache.current.remove(&relation)),
            None => cache.current.clear(),
        }
        cache
            .layouts
            .retain(|_, e| e.uncommitted || relation.is_some_and(|r| r != e.layout.relation));
        if relation.is_none_or(|r| cache.last.as_ref().is_some_and(|last| last.relation == r)) {
            cache.last = None;
        }
    });
}

/// Forgets the master keys: one may have been removed.
pub fn forget_masters() {
    CACHE.with_borrow_mut(|cache| cache.masters.clear());
}

/// Forgets everything about one table.
pub fn remove(relation: Oid) {
    CACHE.with_borrow_mut(|cache| {
        cache.current.remove(&relation);
        cache.last = None;
        cache.layouts.retain(|_, e| e.layout.relation != relation);
    });
}

/// What was made in a transaction stays after its commit and goes with any abort.
///
/// An aborted subtransaction takes also what its living parents made: that is read again.
pub fn transaction_end(end: End) {
    if !ANY_UNCOMMITTED.get() {
        return;
    }
    CACHE.with_borrow_mut(|cache| match end {
        End::Commit => cache.layouts.values_mut().for_each(|e| e.uncommitted = false),
        End::Abort | End::SubAbort => {
            cache.last = None;
            cache.layouts.retain(|_, e| !e.uncommitted);
            let layouts = &cache.layouts;
            cache.current.retain(|_, layout| layouts.contains_key(&layout.id));
        }
    });
    ANY_UNCOMMITTED.set(false);
}

/// Drops all, so that the keys are wiped.
pub fn wipe() {
    CACHE.with_borrow_mut(|cache| *cache = Cache::default());
}
