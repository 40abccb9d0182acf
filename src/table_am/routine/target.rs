//! What becomes of rows that are written: sealed, or in a table on its way back to heap plain.

use std::rc::Rc;

use pgrx::pg_sys;
use sealed_crypto::{OVERHEAD, RowBody};

use super::opened::GROWTH;
use super::{owner, parts};
use crate::error::Error;
use crate::keyring::{self, Layout};
use crate::pg::tuple::{self, HEADER, HEAPTUPLESIZE, NATTS_MASK, SEALED_HOFF};
use crate::pg::{ffi, shadow};
use crate::table_am::mixed::{self, Kind};
use crate::table_am::row;

/// Seals a plaintext heap tuple into an opaque one.
unsafe fn seal(plain: pg_sys::HeapTuple, target: &Target, layout: &Layout) -> pg_sys::HeapTuple {
    // SAFETY: `plain` is a whole heap tuple.
    unsafe {
        let plain_len = (*plain).t_len as usize;
        let len = plain_len + GROWTH - SEALED_HOFF;
        let t = target.new_tuple(plain, len);
        let from = tuple::header(plain);
        let payload = (*t).t_data.cast::<u8>().add(SEALED_HOFF);
        let payload = std::slice::from_raw_parts_mut(payload, len);
        let body = &mut payload[OVERHEAD..];
        let shape = RowBody {
            natts: from.t_infomask2 & NATTS_MASK,
            has_null: from.t_infomask & pg_sys::HEAP_HASNULL as u16 != 0,
            has_varwidth: from.t_infomask & pg_sys::HEAP_HASVARWIDTH as u16 != 0,
            has_external: from.t_infomask & pg_sys::HEAP_HASEXTERNAL as u16 != 0,
            hoff: from.t_hoff,
        };
        let rest = std::slice::from_raw_parts(
            (*plain).t_data.cast::<u8>().add(HEADER),
            plain_len - HEADER,
        );
        let (prefix, after) = body.split_at_mut(RowBody::LEN);
        after.copy_from_slice(rest);
        let mut fields = [0; RowBody::LEN];
        // Only a tuple that PostgreSQL did not form has another t_hoff than its columns ask for.
        let written = shape.write(&mut fields).map_err(Error::from);
        prefix.copy_from_slice(&fields);
        if let Err(e) = written.and_then(|()| row::seal(layout, payload)) {
            e.report();
        }
        t
    }
}

/// Bytes of a target's room: a tuple of a page's length.
pub const ROOM: usize = HEAPTUPLESIZE + pg_sys::BLCKSZ as usize;

/// What rows that are written to a table become. Good for one callback: it is asked for again where a
/// subtransaction may have ended.
pub struct Target {
    /// Whether there are rows of both kinds.
    pub mixed: bool,
    /// What they are sealed under; none in a table that is being unsealed, where they are plain.
    layout: Option<Rc<Layout>>,
    /// Where the next one is put together, if it fits; else it is palloc'd (current memory context).
    room: Option<*mut u8>,
}

impl Target {
    /// Raises if the catalog cannot say, or the keyring has no key.
    pub fn of(rel: pg_sys::Relation) -> Self {
        let owner = owner(rel);
        let mixed = mixed_of(rel);
        let layout = match mixed::target(mixed) {
            Kind::Sealed => Some(keyring::current_layout(owner).unwrap_or_else(|e| e.report())),
            Kind::Plain => None,
        };
        Self { mixed: mixed.is_some(), layout, room: None }
    }

    /// The same with `ROOM` bytes, in which each sealed tuple takes the place of the one before.
    pub fn with_room(self, room: *mut u8) -> Self {
        Self { room: Some(room), ..self }
    }

    /// The layout, if it is one of several parts.
    pub fn parts(&self) -> Option<&Layout> {
        self.layout.as_deref().filter(|layout| layout.parts.is_some())
    }

    /// Makes a sealed tuple in place of `plain`, whose payload of `len` bytes is not written yet.
    pub unsafe fn new_tuple(&self, plain: pg_sys::HeapTuple, len: usize) -> pg_sys::HeapTuple {
        let size = HEAPTUPLESIZE + SEALED_HOFF + len;
        // SAFETY: a whole heap tuple; memory of that size.
        unsafe {
            let memory = match self.room {
                Some(room) if size <= ROOM => room,
                _ => ffi::palloc(size).cast(),
            };
            tuple::new_sealed(memory, plain, len)
        }
    }

    /// What its rows are.
    pub fn kind(&self) -> Kind {
        if self.layout.is_some() { Kind::Sealed } else { Kind::Plain }
    }

    /// The shadow that heapam gets for a call that does not update.
    pub fn shadow(&self, rel: pg_sys::Relation) -> pg_sys::Relation {
        if self.mixed { shadow::of_mixed(rel) } else { shadow::of(rel) }
    }
}

/// The tuple that goes into a page for a plaintext row: sealed, or in a table that is being
/// unsealed a copy. Palloc'd (current memory context), but for where the target has room.
pub unsafe fn to_store(
    plain: pg_sys::HeapTuple,
    rel: pg_sys::Relation,
    target: &Target,
) -> pg_sys::HeapTuple {
    // SAFETY: as for `seal`.
    unsafe {
        match &target.layout {
            Some(layout) => match &layout.parts {
                Some(of) => parts::seal(plain, (*rel).rd_att, target, layout, of),
                None => seal(plain, target, layout),
            },
            None => {
                let copy = pg_sys::heap_copytuple(plain);
                // What heap_form_tuple() left there says that it is a datum of the table's row type, and
                // since 15.20 heap_update() compares that with the descriptor of the relation it was given: our
                // shadow's. In a page these are the transaction fields, which heapam sets.
                tuple::header(copy).t_choice = std::mem::zeroed();
                copy
            }
        }
    }
}

/// How `rel` is mixed. Raises if the catalog cannot say.
fn mixed_of(rel: pg_sys::Relation) -> Option<mixed::Mixed> {
    mixed::of(owner(rel)).unwrap_or_else(|e| e.report())
}

/// The shadow that heapam gets for a call that does not update.
pub fn shadow_of(rel: pg_sys::Relation) -> pg_sys::Relation {
    if mixed_of(rel).is_some() { shadow::of_mixed(rel) } else { shadow::of(rel) }
}
