//! Values that do not fit: compressed in plaintext, cut into sealed chunks, fetched by slices.
//!
//! Core's toaster is kept away from sealed rows (`pg::shadow`), because it would store chunks in
//! plaintext. The order of work is `heap_toast_insert_or_update()`'s (access/heap/heaptoast.c),
//! against the size of the sealed row. The chunks of a value are rows of an ordinary TOAST table,
//! chunk_id and chunk_seq in clear, chunk_data sealed (docs/format.md).

mod chunks;

use std::ffi::c_int;

use pgrx::pg_sys;

use super::opened::GROWTH;
use super::parts;
use super::target::Target;
use crate::keyring::Layout;
use crate::pg::ffi::{self, ToastAttrInfo, ToastTupleContext};
use crate::pg::tuple::{self, HEADER, HEAPTUPLESIZE, bitmap_len, maxalign, varlena};

pub use chunks::{chunk_layout, fetch_slice, relation_fetch_toast_slice};

/// A stored tuple is kept below this (`TOAST_TUPLE_THRESHOLD`, four tuples a page).
const TUPLE_THRESHOLD: usize = maximum_bytes_per_tuple(4);
/// For columns of storage MAIN (`TOAST_TUPLE_TARGET_MAIN`, one tuple a page).
const TARGET_MAIN: usize = maximum_bytes_per_tuple(1);

/// `MaximumBytesPerTuple` of `access/heaptoast.h`.
const fn maximum_bytes_per_tuple(per_page: usize) -> usize {
    ((pg_sys::BLCKSZ as usize - maxalign(24 + per_page * 4)) / per_page) & !7
}

/// What a column's type and place say about its storage.
pub struct Attribute {
    /// Fixed width in bytes, or -1 for a varlena, -2 for a C string.
    pub len: i16,
    /// Passed by value.
    pub by_val: bool,
    /// Bytes that a value begins at a multiple of.
    pub align: usize,
    /// `attstorage`.
    pub storage: u8,
    /// `attisdropped`.
    pub dropped: bool,
    /// The column's type.
    pub of_type: pg_sys::Oid,
}

impl Attribute {
    /// Whether the column is of storage PLAIN though its type could be moved out.
    pub unsafe fn plain_by_choice(&self) -> bool {
        let plain = pg_sys::TYPSTORAGE_PLAIN;
        // SAFETY: a look-up in the system cache.
        self.len == -1
            && self.storage == plain
            && !self.dropped
            && unsafe { pg_sys::get_typstorage(self.of_type) } as u8 != plain
    }
}

/// The column at `index` (from 0).
pub unsafe fn attribute(desc: pg_sys::TupleDesc, index: usize) -> Attribute {
    // SAFETY: the caller stays below natts.
    unsafe {
        let a = &*tuple::attribute(desc, index);
        Attribute {
            len: a.attlen,
            by_val: a.attbyval,
            align: match a.attalign as u8 {
                pg_sys::TYPALIGN_CHAR => 1,
                pg_sys::TYPALIGN_SHORT => 2,
                pg_sys::TYPALIGN_INT => 4,
                _ => 8,
            },
            storage: a.attstorage as u8,
            dropped: a.attisdropped,
            of_type: a.atttypid,
        }
    }
}

/// Whether rows of `rel` can have values outside.
pub unsafe fn may_have(rel: pg_sys::Relation) -> bool {
    // SAFETY: an open relation.
    unsafe { (*(*rel).rd_rel).reltoastrelid != pg_sys::InvalidOid }
}

/// A row taken apart.
struct Deformed {
    values: Vec<pg_sys::Datum>,
    isnull: Vec<bool>,
}

impl Deformed {
    unsafe fn of(t: pg_sys::HeapTuple, desc: pg_sys::TupleDesc) -> Self {
        // SAFETY: a plaintext row that fits `desc`; the vectors have room for every column, and an
        // ERROR unwinds, so they are freed.
        unsafe {
            let natts = (*desc).natts as usize;
            let mut d =
                Deformed { values: vec![pg_sys::Datum::null(); natts], isnull: vec![true; natts] };
            pg_sys::heap_deform_tuple(t, desc, d.values.as_mut_ptr(), d.isnull.as_mut_ptr());
            d
        }
    }

    /// The on-disk pointers of the row, by column.
    unsafe fn external(&self, desc: pg_sys::TupleDesc) -> Vec<(usize, *const u8)> {
        // SAFETY: a varlena column that is not NULL holds a pointer to its value.
        unsafe {
            (0..self.values.len())
                .filter(|&i| !self.isnull[i] && attribute(desc, i).len == -1)
                .map(|i| (i, self.values[i].cast_mut_ptr::<u8>().cast_const()))
                .filter(|&(_, p)| varlena::is_ondisk(p))
                .collect()
        }
    }
}

/// The external values of an opened row: column (from 0) and pointer.
pub unsafe fn external_values(
    row: pg_sys::HeapTuple,
    desc: pg_sys::TupleDesc,
) -> Vec<(usize, pg_sys::varatt_external)> {
    // SAFETY: `row` fits `desc`.
    unsafe {
        let pointers = Deformed::of(row, desc).external(desc);
        pointers.into_iter().map(|(i, p)| (i, varlena::pointer(p))).collect()
    }
}

/// Gives back the row as it is to be sealed: `user` itself, or a copy (current memory context) whose
/// big values were compressed or moved out. `old` is the opened version an update replaces: values
/// it shares with the new row stay where they are.
pub unsafe fn store(
    rel: pg_sys::Relation,
    target: &Target,
    user: pg_sys::HeapTuple,
    old: Option<pg_sys::HeapTuple>,
    options: i32,
) -> pg_sys::HeapTuple {
    // SAFETY: executor's relation and row.
    unsafe {
        let layout = target.parts();
        let growth = layout.map_or(GROWTH, |layout| parts::growth(layout, (*rel).rd_att));
        let small = (*user).t_len as usize + growth <= TUPLE_THRESHOLD;
        if small && !tuple::has_external(user) {
            return user;
        }
        let desc = (*rel).rd_att;
        let mut new = Deformed::of(user, desc);
        let mut before = old.filter(|&o| tuple::has_external(o)).map(|o| Deformed::of(o, desc));
        let mut attr = vec![
            ToastAttrInfo {
                oldexternal: std::ptr::null_mut(),
                size: 0,
                colflags: 0,
                compression: 0
            };
            new.values.len()
        ];
        let mut ttc = ToastTupleContext {
            rel,
            values: new.values.as_mut_ptr(),
            isnull: new.isnull.as_mut_ptr(),
            oldvalues: before.as_mut().map_or(std::ptr::null_mut(), |b| b.values.as_mut_ptr()),
            oldisnull: before.as_mut().map_or(std::ptr::null_mut(), |b| b.isnull.as_mut_ptr()),
            flags: 0,
            attr: attr.as_mut_ptr(),
        };
        ffi::toast_tuple_init(&mut ttc);
        shrink(rel, layout, &mut ttc, options);
        // What the old version alone refers to is deleted by the caller, after heap_update() said
        // TM_Ok; palloc'd values go with the memory context.
        if ttc.flags & ffi::TOAST_NEEDS_CHANGE == 0 {
            return user;
        }
        reform(user, desc, &mut new, ttc.flags & ffi::TOAST_HAS_NULLS != 0)
    }
}

/// Compresses and moves values out until the sealed row fits its target, in core's four rounds.
unsafe fn shrink(
    rel: pg_sys::Relation,
    layout: Option<&Layout>,
    ttc: &mut ToastTupleContext,
    options: i32,
) {
    // SAFETY: `ttc` was initialised by toast_tuple_init() for `rel`.
    unsafe {
        let desc = (*rel).rd_att;
        let natts = (*desc).natts as usize;
        let has_toast = may_have(rel);
        let bitmap = if ttc.flags & ffi::TOAST_HAS_NULLS != 0 { bitmap_len(natts) } else { 0 };
        let hoff = maxalign(HEADER + bitmap) + GROWTH;
        let size = |ttc: &ToastTupleContext| match layout {
            None => pg_sys::heap_compute_data_size(desc, ttc.values, ttc.isnull) as usize,
            // As if the other bytes were those of a row of one part.
            Some(layout) => {
                let values = std::slice::from_raw_parts(ttc.values, natts);
                let isnull = std::slice::from_raw_parts(ttc.isnull, natts);
                parts::stored_len(layout, desc, values, isnull).saturating_sub(hoff)
            }
        };
        let biggest = |ttc: &mut ToastTupleContext, compress, main| {
            usize::try_from(ffi::toast_tuple_find_biggest_attribute(ttc, compress, main)).ok()
        };

        let target = target(rel).saturating_sub(hoff);
        // 1: compress EXTENDED; move what alone is over the target out at once.
        while size(ttc) > target {
            let Some(i) = biggest(ttc, true, false) else { break };
            let info = ttc.attr.add(i);
            if attribute(desc, i).storage == pg_sys::TYPSTORAGE_EXTENDED {
                ffi::toast_tuple_try_compression(ttc, i as c_int);
            } else {
                (*info).colflags |= ffi::TOASTCOL_INCOMPRESSIBLE;
            }
            if (*info).size as usize > target && has_toast {
                externalize(rel, ttc, i, options);
            }
        }
        // 2: move EXTENDED and EXTERNAL out.
        while has_toast && size(ttc) > target {
            let Some(i) = biggest(ttc, false, false) else { break };
            externalize(rel, ttc, i, options);
        }
        // 3: compress MAIN.
        while size(ttc) > target {
            let Some(i) = biggest(ttc, true, true) else { break };
            ffi::toast_tuple_try_compression(ttc, i as c_int);
        }
        // 4: move MAIN out, only where the row would not fit a page.
        let target = TARGET_MAIN - hoff;
        while has_toast && size(ttc) > target {
            let Some(i) = biggest(ttc, false, true) else { break };
            externalize(rel, ttc, i, options);
        }
        // 5, not in core: move PLAIN out, only where the row would fit a page but for the seal.
        let in_heap = maxalign(HEADER + bitmap)
            + pg_sys::heap_compute_data_size(desc, ttc.values, ttc.isnull) as usize;
        if has_toast
            && size(ttc) > target
            && in_heap <= TARGET_MAIN
            && let Some(i) = biggest_plain(ttc, desc)
        {
            externalize(rel, ttc, i, options);
        }
    }
}

/// The biggest value of storage PLAIN that can be moved out and is worth it.
unsafe fn biggest_plain(ttc: &ToastTupleContext, desc: pg_sys::TupleDesc) -> Option<usize> {
    // SAFETY: `ttc` has an entry a column; toast_tuple_init() noted the sizes, 0 of one that is out.
    unsafe {
        (0..(*desc).natts as usize)
            .filter(|&i| !*ttc.isnull.add(i))
            .map(|i| ((*ttc.attr.add(i)).size as usize, i))
            .filter(|&(size, i)| {
                size > varlena::TOAST_POINTER_SIZE + GROWTH && attribute(desc, i).plain_by_choice()
            })
            .max()
            .map(|(_, i)| i)
    }
}

/// `RelationGetToastTupleTarget` of `utils/rel.h`.
unsafe fn target(rel: pg_sys::Relation) -> usize {
    // SAFETY: rd_options of a table with a heap-like AM is a StdRdOptions, or null.
    unsafe {
        let options = (*rel).rd_options.cast::<pg_sys::StdRdOptions>();
        if options.is_null() { TUPLE_THRESHOLD } else { (*options).toast_tuple_target as usize }
    }
}

/// `toast_tuple_externalize` with our chunks.
unsafe fn externalize(
    rel: pg_sys::Relation,
    ttc: &mut ToastTupleContext,
    index: usize,
    options: i32,
) {
    // SAFETY: `index` came from toast_tuple_find_biggest_attribute(): a varlena that is not null.
    unsafe {
        let info = &mut *ttc.attr.add(index);
        let value = ttc.values.add(index);
        info.colflags |= ffi::TOASTCOL_IGNORE;
        let (attnum, old) = (index as i16 + 1, info.oldexternal.cast());
        let pointer = chunks::save(rel, attnum, (*value).cast_mut_ptr(), old, options);
        *value = pg_sys::Datum::from(pointer);
        ttc.flags |= ffi::TOAST_NEEDS_CHANGE | ffi::TOAST_NEEDS_FREE;
    }
}

/// Builds the row anew from changed values (end of `heap_toast_insert_or_update`).
unsafe fn reform(
    user: pg_sys::HeapTuple,
    desc: pg_sys::TupleDesc,
    new: &mut Deformed,
    has_nulls: bool,
) -> pg_sys::HeapTuple {
    // SAFETY: one palloc'd block with room for header, bitmap and data, as heap_form_tuple() makes.
    unsafe {
        let natts = new.values.len();
        let hoff = maxalign(HEADER + if has_nulls { bitmap_len(natts) } else { 0 });
        let (values, isnull) = (new.values.as_mut_ptr(), new.isnull.as_mut_ptr());
        let size = pg_sys::heap_compute_data_size(desc, values, isnull) as usize;
        let t = pg_sys::palloc0(HEAPTUPLESIZE + hoff + size).cast::<pg_sys::HeapTupleData>();
        let data = t.cast::<u8>().add(HEAPTUPLESIZE);
        (*t).t_len = (hoff + size) as u32;
        (*t).t_self = (*user).t_self;
        (*t).t_tableOid = (*user).t_tableOid;
        (*t).t_data = data.cast();
        std::ptr::copy_nonoverlapping((*user).t_data.cast::<u8>(), data, HEADER);
        let header = tuple::header(t);
        header.t_infomask2 = header.t_infomask2 & !tuple::NATTS_MASK | natts as u16;
        header.t_hoff = hoff as u8;
        let bits = if has_nulls { data.add(HEADER) } else { std::ptr::null_mut() };
        pg_sys::heap_fill_tuple(
            desc,
            values,
            isnull,
            data.add(hoff).cast(),
            size as _,
            &mut header.t_infomask,
            bits,
        );
        t
    }
}

/// Deletes the chunks of every external value of an opened row.
pub unsafe fn delete_of(rel: pg_sys::Relation, row: pg_sys::HeapTuple, is_speculative: bool) {
    // SAFETY: `row` fits the relation's descriptor.
    unsafe {
        if tuple::has_external(row) {
            let mut d = Deformed::of(row, (*rel).rd_att);
            ffi::toast_delete_external(
                rel,
                d.values.as_mut_ptr(),
                d.isnull.as_mut_ptr(),
                is_speculative,
            );
        }
    }
}

/// Deletes the chunks that only the old version of an updated row refers to.
pub unsafe fn delete_replaced(
    rel: pg_sys::Relation,
    old: pg_sys::HeapTuple,
    new: pg_sys::HeapTuple,
) {
    // SAFETY: both are opened rows of `rel`.
    unsafe { delete_difference(rel, old, Some(new), false) }
}

/// Deletes the chunks written for a new version that heapam did not store.
pub unsafe fn delete_new(
    rel: pg_sys::Relation,
    old: Option<pg_sys::HeapTuple>,
    new: pg_sys::HeapTuple,
) {
    // SAFETY: both are opened rows of `rel`.
    unsafe { delete_difference(rel, new, old, true) }
}

/// Deletes the external values of `of` that `except` does not refer to in the same column. Chunks
/// that this very command wrote are invisible to it, so they are killed as a speculative row's are.
unsafe fn delete_difference(
    rel: pg_sys::Relation,
    of: pg_sys::HeapTuple,
    except: Option<pg_sys::HeapTuple>,
    just_written: bool,
) {
    // SAFETY: both are opened rows of `rel`, in live memory.
    unsafe {
        if !tuple::has_external(of) {
            return;
        }
        let desc = (*rel).rd_att;
        let d = Deformed::of(of, desc);
        let kept = except.filter(|&t| tuple::has_external(t)).map(|t| Deformed::of(t, desc));
        let kept = kept.as_ref().map_or(Vec::new(), |k| k.external(desc));
        let bytes = |p: *const u8| std::slice::from_raw_parts(p, varlena::TOAST_POINTER_SIZE);
        for (i, p) in d.external(desc) {
            if !kept.iter().any(|&(j, q)| i == j && bytes(p) == bytes(q)) {
                ffi::toast_delete_datum(rel, pg_sys::Datum::from(p.cast_mut()), just_written);
            }
        }
    }
}
