//! Facts about relations that take a catalog look-up.

use pgrx::pg_sys;

use super::class;

/// The name of a relation for a message; its OID if it is gone.
pub fn name(oid: pg_sys::Oid) -> String {
    // SAFETY: a syscache look-up; the name is palloc'd in the current context.
    unsafe {
        let name = pg_sys::get_rel_name(oid);
        if name.is_null() {
            return oid.to_u32().to_string();
        }
        std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}

/// The table whose keys the chunks of an open TOAST table are sealed under.
///
/// Core's fetch callback names only the TOAST table. The way back is the internal dependency that
/// `create_toast_table()` records (catalog/toasting.c) and a rewrite moves along (commands/cluster.c,
/// `swap_relation_files`). The answer is kept in the relcache entry's `rd_amcache`, which is freed
/// with every invalidation of the TOAST table.
///
/// # Safety
/// `toastrel` is open, a TOAST table of a sealed table.
pub unsafe fn toast_owner(toastrel: pg_sys::Relation) -> pg_sys::Oid {
    // SAFETY: heapam does not use rd_amcache; relcache frees it as one chunk. An ERROR while the
    // catalog is read leaves it null.
    unsafe {
        let cached = (*toastrel).rd_amcache.cast::<pg_sys::Oid>();
        if !cached.is_null() {
            return *cached;
        }
        let table = depends_on((*toastrel).rd_id);
        let (owner, transient) = rewritten_by(table);
        if !transient {
            let keep =
                pg_sys::MemoryContextAlloc(pg_sys::CacheMemoryContext, size_of::<pg_sys::Oid>())
                    .cast::<pg_sys::Oid>();
            *keep = owner;
            (*toastrel).rd_amcache = keep.cast();
        }
        owner
    }
}

/// The relation that `oid` depends on internally.
unsafe fn depends_on(oid: pg_sys::Oid) -> pg_sys::Oid {
    /// `DependRelationId`, `DependDependerIndexId` and columns of `catalog/pg_depend.h`.
    const DEPEND: u32 = 2608;
    const DEPENDER_INDEX: u32 = 2673;
    const CLASSID: i16 = 1;
    const OBJID: i16 = 2;
    /// `FormData_pg_depend`.
    #[repr(C)]
    struct Depend {
        classid: pg_sys::Oid,
        objid: pg_sys::Oid,
        objsubid: i32,
        refclassid: pg_sys::Oid,
        refobjid: pg_sys::Oid,
        refobjsubid: i32,
        deptype: u8,
    }
    // SAFETY: an ordinary catalog scan; the resource owner closes it if something raises.
    unsafe {
        let mut keys = [
            class::equals(CLASSID, pg_sys::F_OIDEQ, pg_sys::RelationRelationId.into()),
            class::equals(OBJID, pg_sys::F_OIDEQ, oid.into()),
        ];
        let lock = pg_sys::AccessShareLock as i32;
        let depend = pg_sys::table_open(pg_sys::Oid::from(DEPEND), lock);
        let scan = pg_sys::systable_beginscan(
            depend,
            pg_sys::Oid::from(DEPENDER_INDEX),
            true,
            std::ptr::null_mut(),
            2,
            keys.as_mut_ptr(),
        );
        let mut found = pg_sys::InvalidOid;
        loop {
            let t = pg_sys::systable_getnext(scan);
            if t.is_null() {
                break;
            }
            let header = (*t).t_data.cast::<u8>();
            let row = &*header.add(usize::from((*(*t).t_data).t_hoff)).cast::<Depend>();
            if row.deptype == pg_sys::DependencyType::DEPENDENCY_INTERNAL as u8
                && row.refclassid == pg_sys::RelationRelationId
            {
                found = row.refobjid;
                break;
            }
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(depend, lock);
        found
    }
}

/// The table that `oid` is the transient copy of (and true), else `oid` itself.
unsafe fn rewritten_by(oid: pg_sys::Oid) -> (pg_sys::Oid, bool) {
    // SAFETY: a syscache look-up, released before the return.
    unsafe {
        let t = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::RELOID as i32,
            pg_sys::Datum::from(oid),
        );
        if t.is_null() {
            return (oid, false);
        }
        let header = (*t).t_data.cast::<u8>();
        let class =
            &*header.add(usize::from((*(*t).t_data).t_hoff)).cast::<pg_sys::FormData_pg_class>();
        let rewrites = class.relrewrite;
        pg_sys::ReleaseSysCache(t);
        if rewrites == pg_sys::InvalidOid { (oid, false) } else { (rewrites, true) }
    }
}
