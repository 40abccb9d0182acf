//! The shadow of a sealed table: the `RelationData` that heapam gets to see.
//!
//! heapam decides HOT, the tuple lock, replica identity and TOAST from the relation it is handed.
//! The shadow is a copy of the real entry with relkind 't' (so that core never toasts), no
//! columns, heap as its access method, and bitmaps that say what the wrapper found out by comparing
//! plaintext (docs/design.md 5, pg-internals 3). The live relcache entry is never changed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::pg::local::backend_local;
use pgrx::pg_sys;

/// Which of heap_update()'s column sets really changed, found by comparing plaintext.
#[derive(Clone, Copy, Default)]
pub struct Changed {
    /// A column of an index that blocks HOT.
    pub hot: bool,
    /// A column of a summarizing index (16 and later).
    #[cfg_attr(feature = "pg15", allow(dead_code))]
    pub summarized: bool,
    /// A column of a key.
    pub key: bool,
    /// A column of the replica identity.
    pub identity: bool,
}

struct Shadow {
    rel: pg_sys::RelationData,
    class: pg_sys::FormData_pg_class,
    /// Copy of `rd_options`, as 8-byte words for its alignment.
    options: Vec<u64>,
}

/// Shadows above this number are dropped when nothing uses them.
const KEEP: usize = 512;

backend_local! {
    // A backend is one thread. Boxed: heapam, the resource owner and (on 15, 16) smgr keep
    // pointers into a shadow beyond the call, so its address must hold until the backend ends
    // or nothing refers to it.
    static SHADOWS: RefCell<HashMap<pg_sys::Oid, Box<Shadow>>> = RefCell::new(HashMap::new());
    /// The shadow used last: a statement writes to one table, row after row.
    static LAST: std::cell::Cell<(pg_sys::Oid, *mut Shadow)> =
        const { std::cell::Cell::new((pg_sys::InvalidOid, std::ptr::null_mut())) };
    static NO_COLUMNS: std::cell::Cell<pg_sys::TupleDesc> =
        const { std::cell::Cell::new(std::ptr::null_mut()) };
}

/// The descriptor of a sealed row as heapam sees it: no columns.
pub fn no_columns() -> pg_sys::TupleDesc {
    NO_COLUMNS.with(|cell| {
        if cell.get().is_null() {
            // SAFETY: TopMemoryContext lives as long as the backend; tdrefcount -1 means that
            // nobody counts references to it. An ERROR (out of memory) leaves the cell null.
            unsafe {
                let old = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
                let desc = pg_sys::CreateTemplateTupleDesc(0);
                (*desc).tdrefcount = -1;
                pg_sys::MemoryContextSwitchTo(old);
                cell.set(desc);
            }
        }
        cell.get()
    })
}

static HEAP: AtomicPtr<pg_sys::TableAmRoutine> = AtomicPtr::new(std::ptr::null_mut());

/// heap's own table AM routine.
#[inline]
pub fn heap() -> &'static pg_sys::TableAmRoutine {
    let known = HEAP.load(Ordering::Relaxed);
    if known.is_null() {
        return find_heap();
    }
    // SAFETY: only `find_heap` writes it, with a constant of the server.
    unsafe { &*known }
}

#[cold]
fn find_heap() -> &'static pg_sys::TableAmRoutine {
    // SAFETY: GetHeapamTableAmRoutine() returns the address of a constant of the server.
    unsafe {
        let found = pg_sys::GetHeapamTableAmRoutine();
        HEAP.store(found.cast_mut(), Ordering::Relaxed);
        &*found
    }
}

/// The shadow of `rel` for a call into heapam that does not update.
pub fn of(rel: pg_sys::Relation) -> pg_sys::Relation {
    refresh(rel, Kind::Opaque)
}

/// The shadow of a table whose rows may be plain. relkind 'r', because heapam takes a row with values
/// outside for a fault in relkind 't'; core's toaster finds no column to work on.
pub fn of_mixed(rel: pg_sys::Relation) -> pg_sys::Relation {
    refresh(rel, Kind::Mixed)
}

/// The shadow of a TOAST table: heap as access method, everything else as it is.
pub fn of_toast(rel: pg_sys::Relation) -> pg_sys::Relation {
    refresh(rel, Kind::Toast)
}

/// The shadow of `rel` for heap_update(), told what changed.
pub fn for_update(rel: pg_sys::Relation, mixed: bool, changed: Changed) -> pg_sys::Relation {
    let shadow = if mixed { of_mixed(rel) } else { of(rel) };
    // The whole-row attribute: HeapDetermineColumnsInfo() always reports it as modified. tableoid
    // it always reports as equal, so it stands for "a set, nothing in it changed".
    // SAFETY: the bitmaps are palloc'd in the caller's context and used within this callback only;
    // `forget_bitmaps` or the next `refresh` takes them out.
    unsafe {
        let whole = bit(0);
        let set =
            |yes: bool| if yes { pg_sys::bms_make_singleton(whole) } else { std::ptr::null_mut() };
        #[cfg(feature = "pg15")]
        {
            let tableoid = bit(pg_sys::TableOidAttributeNumber);
            let mut hot = pg_sys::bms_make_singleton(tableoid);
            if changed.hot {
                hot = pg_sys::bms_add_member(hot, whole);
            }
            (*shadow).rd_indexattr = hot;
        }
        #[cfg(not(feature = "pg15"))]
        {
            (*shadow).rd_hotblockingattr = set(changed.hot);
            (*shadow).rd_summarizedattr = set(changed.summarized);
        }
        (*shadow).rd_keyattr = set(changed.key);
        (*shadow).rd_idattr = set(changed.identity);
    }
    shadow
}

/// Takes the bitmaps of `for_update` out again (they live in a short memory context).
pub fn forget_bitmaps(shadow: pg_sys::Relation) {
    // SAFETY: `shadow` came from `for_update` and lives in SHADOWS.
    unsafe { clear_bitmaps(&mut *shadow) }
}

/// A column's place in a bitmap of attributes.
fn bit(attnum: i32) -> i32 {
    attnum - pg_sys::FirstLowInvalidHeapAttributeNumber
}

fn clear_bitmaps(rel: &mut pg_sys::RelationData) {
    #[cfg(feature = "pg15")]
    {
        rel.rd_indexattr = std::ptr::null_mut();
    }
    #[cfg(not(feature = "pg15"))]
    {
        rel.rd_attrsvalid = true;
        rel.rd_hotblockingattr = std::ptr::null_mut();
        rel.rd_summarizedattr = std::ptr::null_mut();
    }
    rel.rd_keyattr = std::ptr::null_mut();
    rel.rd_pkattr = std::ptr::null_mut();
    rel.rd_idattr = std::ptr::null_mut();
}

enum Kind {
    Opaque,
    Mixed,
    Toast,
}

fn refresh(rel: pg_sys::Relation, kind: Kind) -> pg_sys::Relation {
    // SAFETY: `rel` is an open relation of the executor's. pgstat_assoc_relation() gives the real
    // entry its statistics before the pointer is copied, because the link back must go to it.
    let (oid, real) = unsafe {
        if (*rel).pgstat_info.is_null() && (*rel).pgstat_enabled {
            pg_sys::pgstat_assoc_relation(rel);
        }
        ((*rel).rd_id, &*rel)
    };
    let last = LAST.get();
    if last.0 == oid {
        // SAFETY: LAST is reset wherever a shadow is dropped; shadows are boxed, so they stay put.
        return unsafe { fill(&mut *last.1, real, kind) };
    }
    SHADOWS.with(|all| {
        let mut all = all.borrow_mut();
        if all.len() > KEEP && !all.contains_key(&oid) {
            LAST.set((pg_sys::InvalidOid, std::ptr::null_mut()));
            all.retain(|_, s| {
                let used = s.rel.rd_refcnt > 0;
                if !used {
                    close_smgr(&mut s.rel);
                }
                used
            });
        }
        let s = all.entry(oid).or_insert_with(|| {
            // SAFETY: both structs are plain C data for which zero is a valid "empty" value.
            unsafe {
                Box::new(Shadow {
                    rel: std::mem::zeroed(),
                    class: std::mem::zeroed(),
                    options: Vec::new(),
                })
            }
        });
        LAST.set((oid, &raw mut **s));
        fill(s, real, kind)
    })
}

/// Copies what the real entry says now into its shadow.
fn fill(s: &mut Shadow, real: &pg_sys::RelationData, kind: Kind) -> pg_sys::Relation {
    if !same_storage(&s.rel, real) {
        close_smgr(&mut s.rel);
    }
    // The shadow's own link to smgr and its pins outlive the copy: on 15 and 16 smgr keeps a
    // pointer to this very field as the "owner", and a scan may be open on the shadow.
    let smgr = s.rel.rd_smgr;
    let refcnt = s.rel.rd_refcnt;
    // SAFETY: both are RelationData; `real` is not changed. Every pointer copied here is either
    // replaced below or stays valid for one call into heapam, in which no invalidation is
    // accepted (TOAST is off, nothing is opened).
    unsafe {
        std::ptr::copy_nonoverlapping(real, &mut s.rel, 1);
        std::ptr::copy_nonoverlapping(real.rd_rel, &mut s.class, 1);
    }
    s.rel.rd_smgr = smgr;
    s.rel.rd_refcnt = refcnt;
    s.rel.rd_rel = &mut s.class;
    s.rel.rd_options = copy_options(real, &mut s.options);
    s.rel.rd_tableam = heap();
    s.rel.rd_amcache = std::ptr::null_mut();
    s.rel.trigdesc = std::ptr::null_mut();
    s.rel.rd_rules = std::ptr::null_mut();
    s.rel.rd_rsdesc = std::ptr::null_mut();
    if !matches!(kind, Kind::Toast) {
        // A plain row has columns, as many as the table at most (Assert in heap_insert()).
        (s.class.relkind, s.class.relnatts) = match kind {
            Kind::Mixed => (pg_sys::RELKIND_RELATION as _, s.class.relnatts),
            _ => (pg_sys::RELKIND_TOASTVALUE as _, 0),
        };
        s.class.relreplident = pg_sys::REPLICA_IDENTITY_NOTHING as _;
        s.rel.rd_att = no_columns();
        clear_bitmaps(&mut s.rel);
    }
    &mut s.rel as pg_sys::Relation
}

/// Copies `rd_options`: the real entry frees its own when it is rebuilt, which a long index build
/// can live to see.
pub fn copy_options(real: &pg_sys::RelationData, into: &mut Vec<u64>) -> *mut pg_sys::bytea {
    if real.rd_options.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: rd_options is a varlena with a four-byte header that says its length.
    unsafe {
        let len = super::tuple::varlena::size(real.rd_options.cast());
        into.resize(len.div_ceil(8), 0);
        std::ptr::copy_nonoverlapping(
            real.rd_options.cast::<u8>(),
            into.as_mut_ptr().cast::<u8>(),
            len,
        );
    }
    into.as_mut_ptr().cast()
}

/// Whether two entries name the same file.
#[cfg(feature = "pg15")]
pub fn same_storage(a: &pg_sys::RelationData, b: &pg_sys::RelationData) -> bool {
    let key = |r: &pg_sys::RelationData| (r.rd_node.spcNode, r.rd_node.dbNode, r.rd_node.relNode);
    key(a) == key(b) && a.rd_backend == b.rd_backend
}

/// Whether two entries name the same file.
#[cfg(not(feature = "pg15"))]
pub fn same_storage(a: &pg_sys::RelationData, b: &pg_sys::RelationData) -> bool {
    let key = |r: &pg_sys::RelationData| {
        (r.rd_locator.spcOid, r.rd_locator.dbOid, r.rd_locator.relNumber)
    };
    key(a) == key(b) && a.rd_backend == b.rd_backend
}

/// `RelationCloseSmgr` of `utils/rel.h`.
pub fn close_smgr(rel: &mut pg_sys::RelationData) {
    if rel.rd_smgr.is_null() {
        return;
    }
    // SAFETY: rd_smgr is the shadow's own; smgr nulls the field (15, 16) or it was pinned (17+).
    unsafe {
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        pg_sys::smgrunpin(rel.rd_smgr);
        pg_sys::smgrclose(rel.rd_smgr);
    }
    rel.rd_smgr = std::ptr::null_mut();
}
