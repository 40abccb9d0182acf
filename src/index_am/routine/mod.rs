//! The membrane of the index AM: the callbacks, named as PostgreSQL names them, and the functions that indexes call.
//!
//! Unsafe code of the index AM lives in this folder. Relations, scans and values come from core, valid for the
//! length of the call. nbtree is only ever called with a shadow of the index.

mod arena;
mod column;
mod compare;
mod datum;
mod hash;
pub mod hide;
mod only;
pub mod pages;
mod place;
mod probe;
mod scan;
mod shadow;
mod value;
pub mod verify;
mod write;

use std::sync::OnceLock;

use pgrx::pg_sys;

pub use scan::transaction_end;
pub use shadow::relation_changed;
pub use write::sealed_for_build;

use crate::pg::call::callback;

/// A routine of core's.
struct Core(OnceLock<pg_sys::IndexAmRoutine>);

// SAFETY: function pointers and flags of the server, never changed.
unsafe impl Sync for Core {}

impl Core {
    const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// As its handler makes it.
    fn of(&self, handler: u32) -> &pg_sys::IndexAmRoutine {
        self.0.get_or_init(|| {
            // SAFETY: the handler takes no argument that it looks at, and returns a palloc'd node.
            unsafe {
                let handler = pg_sys::Oid::from_u32(handler);
                let made = pg_sys::OidFunctionCall0Coll(handler, pg_sys::InvalidOid);
                *made.cast_mut_ptr::<pg_sys::IndexAmRoutine>()
            }
        })
    }
}

/// nbtree's own routine, as `bthandler` makes it.
fn nbtree() -> &'static pg_sys::IndexAmRoutine {
    static ROUTINE: Core = Core::new();
    ROUTINE.of(pg_sys::F_BTHANDLER)
}

/// A palloc'd copy of a routine, as a handler returns it.
unsafe fn made(routine: pg_sys::IndexAmRoutine) -> pg_sys::Datum {
    // SAFETY: palloc'd in one piece.
    unsafe {
        let made = pg_sys::palloc(size_of::<pg_sys::IndexAmRoutine>());
        made.cast::<pg_sys::IndexAmRoutine>().write(routine);
        pg_sys::Datum::from(made)
    }
}

/// Our routine: nbtree's, with these callbacks replaced and these abilities taken away.
fn routine() -> pg_sys::IndexAmRoutine {
    let mut am = *nbtree();
    // Every column of the index is a bytea, whatever it was in the table.
    am.amstorage = true;
    am.amkeytype = pg_sys::BYTEAOID;
    // Workers open the index by its OID, and would see the real one.
    am.amcanparallel = false;
    am.amcanunique = crate::pg::index_stmt::CAN_BE_UNIQUE;
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    {
        am.amcanbuildparallel = false;
    }
    #[cfg(feature = "pg18")]
    {
        am.amgettreeheight = Some(write::amgettreeheight);
    }
    am.amcanreturn = Some(scan::amcanreturn);
    am.amproperty = None;
    am.amadjustmembers = None;
    am.amvalidate = Some(amvalidate);
    am.amoptions = Some(write::amoptions);
    am.ambuild = Some(write::ambuild);
    am.ambuildempty = Some(write::ambuildempty);
    am.aminsert = Some(write::aminsert);
    am.ambulkdelete = Some(write::ambulkdelete);
    am.amvacuumcleanup = Some(write::amvacuumcleanup);
    am.amrescan = Some(scan::amrescan);
    am.amgettuple = Some(scan::amgettuple);
    am.amgetbitmap = Some(scan::amgetbitmap);
    am.amendscan = Some(scan::amendscan);
    am.ammarkpos = Some(scan::ammarkpos);
    am.amrestrpos = Some(scan::amrestrpos);
    am
}

/// Operator classes are made by `sealed.adopt_types()`, and looked at when an index is opened.
unsafe extern "C-unwind" fn amvalidate(_class: pg_sys::Oid) -> bool {
    true
}

macro_rules! version_1 {
    ($($name:ident)*) => {
        $(
            /// Version-1 call information.
            #[allow(unsafe_code)]
            #[unsafe(no_mangle)]
            pub extern "C" fn $name() -> &'static pg_sys::Pg_finfo_record {
                const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
                &V1
            }
        )*
    };
}

version_1! {
    pg_finfo_sealed_btree_handler_wrapper
    pg_finfo_sealed_hash_handler_wrapper
    pg_finfo_key_in_wrapper
    pg_finfo_key_out_wrapper
    pg_finfo_key_order_wrapper
    pg_finfo_key_sort_wrapper
    pg_finfo_key_equal_wrapper
}

/// `sealed.sealed_btree_handler(internal) returns index_am_handler`.
///
/// # Safety
/// Called by PostgreSQL's function manager.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sealed_btree_handler_wrapper(
    _fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    callback!({
        // SAFETY: palloc'd in one piece, as core wants it.
        unsafe { made(routine()) }
    })
}
