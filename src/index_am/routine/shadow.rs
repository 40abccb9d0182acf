//! The shadow of an index: the `RelationData` that nbtree gets to see.
//!
//! A copy of the real entry that says: a btree index, all of whose columns are of type `sealed.key` and are
//! compared by our function, which finds its column in `fn_expr`. The live relcache entry is never changed. See
//! `pg::shadow` for what holds for any shadow.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use pgrx::pg_sys::{self, Oid};
use sealed_crypto::LayoutId;

use super::column::{BTREE, Column, HASH, ORDER};
use super::{compare, hash, only};
use crate::error::Error;
use crate::index_am::gate;
use crate::index_am::key::How;
use crate::pg::index_stmt;
use crate::pg::local::backend_local;
use crate::pg::shadow::{close_smgr, copy_options, same_storage};
use crate::pg::xact;

/// What nbtree sees of an index, and what we know of its columns.
pub struct Shadow {
    rel: pg_sys::RelationData,
    class: pg_sys::FormData_pg_class,
    options: Vec<u64>,
    functions: Vec<pg_sys::FmgrInfo>,
    procedures: Vec<Oid>,
    families: Vec<Oid>,
    types: Vec<Oid>,
    /// Its columns, those of INCLUDE too.
    #[allow(clippy::vec_box)]
    columns: Vec<Box<Column>>,
    /// See `Use::numbers`.
    tells_of: Vec<i16>,
    /// Some of them are not for everybody.
    gated: Cell<bool>,
    /// Of the columns as an index-only scan shows them; null until one does.
    shown: Cell<pg_sys::TupleDesc>,
    /// Of an index of keyed hashes, the layout that they are under, once it was looked up.
    layout: Cell<Option<LayoutId>>,
    definition: Definition,
    /// For what comparison functions keep, and nbtree's copy of the metapage.
    memory: pg_sys::MemoryContext,
    /// When it was copied, in changes of relations.
    filled: u64,
    /// Calls that use it now, and open scans.
    uses: Cell<u32>,
}

/// What an index is, as far as `columns` is made of it.
#[derive(PartialEq, Eq)]
struct Definition {
    table: Oid,
    numbers: Vec<i16>,
    families: Vec<Oid>,
    inputs: Vec<Oid>,
}

/// Shadows above this number are dropped when nothing uses them.
const KEEP: usize = 512;

backend_local! {
    // Boxed: scans, nbtree and (on 15, 16) smgr keep pointers into a shadow.
    static SHADOWS: RefCell<HashMap<Oid, Box<Shadow>>> = RefCell::new(HashMap::new());
    /// The shadow used last.
    static LAST: Cell<(Oid, *mut Shadow)> = const { Cell::new((Oid::INVALID, std::ptr::null_mut())) };
    /// How often PostgreSQL said that a relation has changed.
    static CHANGES: Cell<u64> = const { Cell::new(1) };
    /// The shadow of the index that is being built or inserted into.
    static WRITTEN: Cell<*const Shadow> = const { Cell::new(std::ptr::null()) };
    /// The shadow of the index that is being scanned.
    static SCANNED: Cell<*const Shadow> = const { Cell::new(std::ptr::null()) };
}

/// A shadow that is in use, for one call into nbtree or one scan.
pub struct Use(*mut Shadow);

impl Use {
    /// The relation for nbtree.
    pub fn relation(&self) -> pg_sys::Relation {
        // SAFETY: a shadow that is in use is not dropped.
        unsafe { &raw mut (*self.0).rel }
    }

    /// Its columns.
    pub fn columns(&self) -> &[Box<Column>] {
        // SAFETY: as above; columns are never changed.
        unsafe { &(*self.0).columns }
    }

    /// The table.
    pub fn table(&self) -> Oid {
        // SAFETY: as above.
        unsafe { (*self.0).definition.table }
    }

    /// Raises 42501 if the current user may not look into it: when a scan begins.
    pub fn check(&self) -> Result<(), Error> {
        // SAFETY: as above.
        let shadow = unsafe { &*self.0 };
        let gated = gate::check(shadow.rel.rd_id, self.table(), self.numbers())?;
        shadow.gated.set(gated);
        Ok(())
    }

    /// The same while it goes on: another user may go on with a cursor, or what he may open be less.
    #[inline]
    pub fn check_again(&self) -> Result<(), Error> {
        // SAFETY: as above.
        if unsafe { (*self.0).gated.get() } { self.check() } else { Ok(()) }
    }

    /// The numbers of the columns of the table that it tells of, 0 for any: its own, and those of a predicate.
    fn numbers(&self) -> &[i16] {
        // SAFETY: as above.
        unsafe { &(*self.0).tells_of }
    }

    /// Where what lives as long as the shadow may be kept.
    pub fn memory(&self) -> pg_sys::MemoryContext {
        // SAFETY: as above.
        unsafe { (*self.0).memory }
    }

    /// Its columns' own types, for what an index-only scan shows.
    pub fn descriptor(&self) -> pg_sys::TupleDesc {
        // SAFETY: as above; what is made lives as long as the shadow.
        unsafe {
            if (*self.0).shown.get().is_null() {
                (*self.0).shown.set(only::descriptor(self.columns(), self.memory()));
            }
            (*self.0).shown.get()
        }
    }

    /// Type `sealed.key`.
    pub fn key_type(&self) -> Oid {
        // SAFETY: as above.
        unsafe { (*self.0).types.first().copied().unwrap_or(Oid::INVALID) }
    }

    /// Whether it is an index of keyed hashes.
    pub fn is_hash(&self) -> bool {
        self.columns().first().is_some_and(|column| column.hash.is_some())
    }

    /// The layout that the codes of an index of keyed hashes are under: the file says it.
    pub fn layout(&self) -> Result<LayoutId, Error> {
        // SAFETY: as above; no page is locked where this is asked.
        unsafe {
            if let Some(layout) = (*self.0).layout.get() {
                return Ok(layout);
            }
            let layout = hash::layout(self.relation(), (*self.0).definition.table)?;
            (*self.0).layout.set(Some(layout));
            Ok(layout)
        }
    }

    /// Says under which layout the codes are that are about to be built. hash writes it into the file as the OID of its
    /// hash function (`hashm_procid`), which it never reads.
    pub fn set_layout(&self, layout: LayoutId) {
        // SAFETY: as above; of an index of keyed hashes the first procedure is no function's.
        unsafe {
            let shadow = &mut *self.0;
            shadow.layout.set(Some(layout));
            if let Some(first) = shadow.procedures.first_mut() {
                *first = Oid::from_u32(layout.get());
            }
        }
    }

    /// Makes it the one that is being scanned; returns what was.
    pub fn scanned(&self) -> Scanned {
        Scanned(SCANNED.replace(self.0))
    }

    /// The OID of the function that compares.
    pub fn order(&self) -> Oid {
        // SAFETY: as above.
        unsafe { (*self.0).procedures.first().copied().unwrap_or(Oid::INVALID) }
    }

    /// Makes it the one that is being written, until the end of `body`.
    pub fn written<R>(&self, body: impl FnOnce() -> R) -> R {
        struct Back(*const Shadow);
        impl Drop for Back {
            fn drop(&mut self) {
                WRITTEN.set(self.0);
            }
        }
        let _back = Back(WRITTEN.replace(self.0));
        body()
    }
}

impl Clone for Use {
    fn clone(&self) -> Self {
        // SAFETY: as above.
        unsafe { (*self.0).uses.set((*self.0).uses.get() + 1) };
        Self(self.0)
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { (*self.0).uses.set((*self.0).uses.get() - 1) };
    }
}

/// The one that was being scanned before.
pub struct Scanned(*const Shadow);

impl Drop for Scanned {
    fn drop(&mut self) {
        SCANNED.set(self.0);
    }
}

/// A key column of the index that is being scanned.
pub fn scanned_column(attno: i16) -> Option<*const Column> {
    // SAFETY: set for as long as the shadow is in use.
    let shadow = unsafe { SCANNED.get().as_ref() }?;
    let column = shadow.columns.get(usize::from(attno.unsigned_abs()).wrapping_sub(1))?;
    column.is_key().then_some(&raw const **column)
}

/// Notes that a relation has changed.
pub fn relation_changed() {
    CHANGES.set(CHANGES.get() + 1);
}

/// The column of the index that is being built.
pub fn building(attno: i16) -> *const Column {
    let shadow = WRITTEN.get();
    // SAFETY: set by `written` for as long as the shadow is in use.
    let columns = unsafe { shadow.as_ref() }.map(|shadow| &shadow.columns);
    let column = columns.and_then(|c| c.get(usize::from(attno.unsigned_abs()).wrapping_sub(1)));
    match column {
        Some(column) => &raw const **column,
        None => Error::Unsupported { what: "calls of this function but by an index".to_owned() }
            .report(),
    }
}

/// The shadow of the index that is being written.
pub fn written() -> Option<Use> {
    let shadow = WRITTEN.get().cast_mut();
    // SAFETY: as above.
    unsafe { shadow.as_ref() }?.uses.update(|uses| uses + 1);
    Some(Use(shadow))
}

/// The shadow of an open index, as it is now.
pub fn of(index: pg_sys::Relation) -> Result<Use, Error> {
    // SAFETY: an open relation. See pg::shadow about pgstat.
    let (oid, real) = unsafe {
        if (*index).pgstat_info.is_null() && (*index).pgstat_enabled {
            pg_sys::pgstat_assoc_relation(index);
        }
        ((*index).rd_id, &*index)
    };
    let last = LAST.get();
    if last.0 == oid {
        // SAFETY: LAST is reset wherever a shadow is dropped.
        let last = unsafe { &mut *last.1 };
        // What it was filled from was looked at then.
        if is_same(last, real) || last.definition.is_of(real) {
            return Ok(used(last, real));
        }
    }
    let known = SHADOWS.with_borrow_mut(|all| all.get_mut(&oid).map(|s| &raw mut **s));
    // SAFETY: boxed; nobody else has a reference to it, as no call into nbtree is under way in this frame.
    let known = known.filter(|s| unsafe { &(**s).definition }.is_of(real));
    let shadow = match known {
        Some(shadow) => shadow,
        None => {
            // SAFETY: an open index.
            let made = Box::new(unsafe { make(index)? });
            SHADOWS.with_borrow_mut(|all| {
                LAST.set((Oid::INVALID, std::ptr::null_mut()));
                if all.len() >= KEEP {
                    all.retain(|_, s| s.keep());
                }
                // An OID that was used again: what was there may be in use by a scan that has not ended.
                if let Some(mut before) = all.remove(&oid)
                    && before.keep()
                {
                    Box::leak(before);
                }
                &raw mut **all.entry(oid).or_insert(made)
            })
        }
    };
    LAST.set((oid, shadow));
    // SAFETY: as above.
    Ok(unsafe { used(&mut *shadow, real) })
}

impl Definition {
    fn of(index: &pg_sys::RelationData) -> Self {
        // SAFETY: an open index has its pg_index row, and arrays of so many.
        unsafe {
            let form = &*index.rd_index;
            let keys = form.indnkeyatts as usize;
            let slice = |at: *mut Oid| std::slice::from_raw_parts(at, keys).to_vec();
            let numbers = form.indkey.values.as_ptr();
            Self {
                table: form.indrelid,
                numbers: std::slice::from_raw_parts(numbers, form.indnatts as usize).to_vec(),
                families: slice(index.rd_opfamily),
                inputs: slice(index.rd_opcintype),
            }
        }
    }

    #[inline]
    fn is_of(&self, index: &pg_sys::RelationData) -> bool {
        // SAFETY: as above.
        unsafe {
            let form = &*index.rd_index;
            let (keys, all) = (form.indnkeyatts as usize, form.indnatts as usize);
            form.indrelid == self.table
                && std::slice::from_raw_parts(form.indkey.values.as_ptr(), all) == self.numbers
                && std::slice::from_raw_parts(index.rd_opfamily, keys) == self.families
                && std::slice::from_raw_parts(index.rd_opcintype, keys) == self.inputs
        }
    }
}

impl Shadow {
    /// Whether it is in use; if not, frees what is outside of it.
    fn keep(&mut self) -> bool {
        if self.uses.get() > 0 {
            return true;
        }
        close_smgr(&mut self.rel);
        // SAFETY: nothing in it is used any more.
        unsafe { pg_sys::MemoryContextDelete(self.memory) };
        false
    }
}

/// Type `sealed.key`'s operator class: its family and input type.
unsafe fn key_class(index: pg_sys::Relation) -> (Oid, Oid) {
    // SAFETY: system cache look-ups; a missing class is an ERROR.
    unsafe {
        let name = [c"sealed", c"key_ops"].into_iter().fold(std::ptr::null_mut(), |list, part| {
            pg_sys::lappend(list, pg_sys::makeString(part.as_ptr().cast_mut()).cast())
        });
        let class = pg_sys::get_opclass_oid((*(*index).rd_rel).relam, name, false);
        (pg_sys::get_opclass_family(class), pg_sys::get_opclass_input_type(class))
    }
}

unsafe fn make(index: pg_sys::Relation) -> Result<Shadow, Error> {
    if !xact::is_preloaded() {
        return Err(Error::NotPreloaded);
    }
    // SAFETY: an open index. A context that an ERROR leaves behind is small, and belongs to the one that is
    // freed with the transaction until all is made.
    unsafe {
        let real = &*index;
        let memory = pg_sys::AllocSetContextCreateInternal(
            pg_sys::CurrentMemoryContext,
            c"sealed index".as_ptr(),
            0,
            1024,
            8192,
        );
        let definition = Definition::of(real);
        let columns = (0..definition.numbers.len())
            .map(|at| Column::of(index, at, memory).map(Box::new))
            .collect::<Result<Vec<_>, _>>()?;
        let mut tells_of = definition.numbers.clone();
        if !pg_sys::RelationGetIndexPredicate(index).is_null() {
            tells_of.push(0);
        }
        let (keys, procs) = (definition.families.len(), usize::from((*real.rd_indam).amsupport));
        let (mut functions, mut procedures) = (Vec::new(), Vec::new());
        // What a scan or an insertion of an index of keyed hashes gives to hash is the code itself.
        let is_hash = !(*real.rd_indam).amcanorder;
        let (families, types, address, oid): (_, _, pg_sys::PGFunction, _) = if is_hash {
            let same = Oid::from_u32(pg_sys::F_HASHINT4);
            (definition.families.clone(), definition.inputs.clone(), Some(hash::code), same)
        } else {
            let (family, input) = key_class(index);
            let order = pg_sys::get_opfamily_proc(family, input, input, ORDER);
            let of_all = |oid| vec![oid; columns.len()];
            (of_all(family), of_all(input), Some(compare::key_order_wrapper), order)
        };
        for column in &columns[..keys] {
            functions.push(compare::function(address, oid, column, memory));
            functions.resize_with(functions.len() + procs - 1, Default::default);
            procedures.push(oid);
            procedures.resize(procedures.len() + procs - 1, Oid::INVALID);
        }
        let shadow = Shadow {
            rel: std::mem::zeroed(),
            class: std::mem::zeroed(),
            options: Vec::new(),
            functions,
            procedures,
            families,
            types,
            columns,
            tells_of,
            gated: Cell::new(false),
            layout: Cell::new(None),
            shown: Cell::new(std::ptr::null_mut()),
            definition,
            memory,
            filled: 0,
            uses: Cell::new(0),
        };
        pg_sys::MemoryContextSetParent(memory, pg_sys::TopMemoryContext);
        Ok(shadow)
    }
}

#[inline]
fn used(s: &mut Shadow, real: &pg_sys::RelationData) -> Use {
    if !is_same(s, real) {
        fill(s, real);
    }
    s.rel.pgstat_info = real.pgstat_info;
    s.uses.set(s.uses.get() + 1);
    Use(s)
}

/// Whether the shadow has all that the real entry says.
#[inline]
fn is_same(s: &Shadow, real: &pg_sys::RelationData) -> bool {
    s.filled == CHANGES.get()
        && s.rel.rd_id == real.rd_id
        // An entry that was made anew has others, whether a change was said or not.
        && s.rel.rd_index == real.rd_index
        && s.rel.rd_indcollation == real.rd_indcollation
        && same_storage(&s.rel, real)
        // These change without a message, at the end of a subtransaction.
        && s.rel.rd_createSubid == real.rd_createSubid
        && new_storage(&s.rel) == new_storage(real)
}

#[cfg(feature = "pg15")]
fn new_storage(rel: &pg_sys::RelationData) -> (u32, u32) {
    (rel.rd_newRelfilenodeSubid, rel.rd_firstRelfilenodeSubid)
}

#[cfg(not(feature = "pg15"))]
fn new_storage(rel: &pg_sys::RelationData) -> (u32, u32) {
    (rel.rd_newRelfilelocatorSubid, rel.rd_firstRelfilelocatorSubid)
}

/// Copies what the real entry says now.
fn fill(s: &mut Shadow, real: &pg_sys::RelationData) {
    // What nbtree remembers of the metapage goes with any change, as it does in the relcache: TRUNCATE of a table that
    // this transaction made builds its indexes anew in the same files.
    if !s.rel.rd_amcache.is_null() {
        // SAFETY: nbtree palloc'd it in our context, and keeps no pointer to it beyond a look at the metapage.
        unsafe { pg_sys::pfree(s.rel.rd_amcache) };
        s.rel.rd_amcache = std::ptr::null_mut();
    }
    if !same_storage(&s.rel, real) {
        close_smgr(&mut s.rel);
    }
    let (smgr, refcnt) = (s.rel.rd_smgr, s.rel.rd_refcnt);
    // SAFETY: both are RelationData. What is not replaced below stays valid while the index is open: an index that
    // is open is reloaded in place (RelationReloadIndexInfo).
    unsafe {
        std::ptr::copy_nonoverlapping(real, &mut s.rel, 1);
        std::ptr::copy_nonoverlapping(real.rd_rel, &mut s.class, 1);
    }
    s.filled = CHANGES.get();
    // SAFETY: an open index; no page is locked where a shadow is filled.
    let how = match unsafe { index_stmt::is_deterministic(real.rd_id) } {
        true => How::Same,
        false => How::Random,
    };
    s.columns.iter().for_each(|column| column.how.set(how));
    s.layout.set(None);
    let is_hash = s.columns.first().is_some_and(|column| column.hash.is_some());
    s.class.relam = if is_hash { HASH } else { BTREE };
    s.rel.rd_smgr = smgr;
    s.rel.rd_refcnt = refcnt;
    s.rel.rd_rel = &mut s.class;
    s.rel.rd_options = copy_options(real, &mut s.options);
    s.rel.rd_amcache = std::ptr::null_mut();
    s.rel.rd_indexcxt = s.memory;
    s.rel.rd_support = s.procedures.as_mut_ptr();
    s.rel.rd_supportinfo = s.functions.as_mut_ptr();
    s.rel.rd_opfamily = s.families.as_mut_ptr();
    s.rel.rd_opcintype = s.types.as_mut_ptr();
}

/// The shadow that is being written, of which `index` is either the relation or the real index.
pub fn of_written(index: pg_sys::Relation) -> Use {
    let shadow = WRITTEN.get().cast_mut();
    // SAFETY: set by `written` for as long as the shadow is in use.
    match unsafe { shadow.as_ref() } {
        // SAFETY: an open index.
        Some(s) if s.rel.rd_id == unsafe { (*index).rd_id } => {
            s.uses.set(s.uses.get() + 1);
            Use(shadow)
        }
        _ => of(index).unwrap_or_else(|error| error.report()),
    }
}
