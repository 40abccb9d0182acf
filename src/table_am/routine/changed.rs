//! What an update changes, found by comparing plaintext: heap_update() itself sees only ciphertext.

use pgrx::pg_sys;

use super::toast;
use crate::pg::ffi;
use crate::pg::shadow::Changed;
use crate::pg::tuple::{self, HEADER, NATTS_MASK};

/// The column sets heap_update() decides by.
pub struct Sets {
    hot: *mut pg_sys::Bitmapset,
    summarized: *mut pg_sys::Bitmapset,
    key: *mut pg_sys::Bitmapset,
    identity: *mut pg_sys::Bitmapset,
}

impl Sets {
    pub unsafe fn of(rel: pg_sys::Relation) -> Self {
        use pg_sys::IndexAttrBitmapKind as Kind;
        // SAFETY: an open relation; the copies belong to the current context.
        unsafe {
            #[cfg(feature = "pg15")]
            let (hot, summarized) = (
                ffi::RelationGetIndexAttrBitmap(rel, Kind::INDEX_ATTR_BITMAP_ALL),
                std::ptr::null_mut(),
            );
            #[cfg(not(feature = "pg15"))]
            let (hot, summarized) = (
                ffi::RelationGetIndexAttrBitmap(rel, Kind::INDEX_ATTR_BITMAP_HOT_BLOCKING),
                ffi::RelationGetIndexAttrBitmap(rel, Kind::INDEX_ATTR_BITMAP_SUMMARIZED),
            );
            Sets {
                hot,
                summarized,
                key: ffi::RelationGetIndexAttrBitmap(rel, Kind::INDEX_ATTR_BITMAP_KEY),
                identity: ffi::RelationGetIndexAttrBitmap(
                    rel,
                    Kind::INDEX_ATTR_BITMAP_IDENTITY_KEY,
                ),
            }
        }
    }

    pub unsafe fn compare(
        &self,
        rel: pg_sys::Relation,
        old: pg_sys::HeapTuple,
        new: pg_sys::HeapTuple,
    ) -> Changed {
        // SAFETY: both are opened rows of `rel`, in live memory.
        unsafe {
            Changed {
                hot: any_changed(rel, self.hot, old, new),
                summarized: any_changed(rel, self.summarized, old, new),
                key: any_changed(rel, self.key, old, new),
                identity: any_changed(rel, self.identity, old, new),
            }
        }
    }
}

/// Whether a column of `set` differs between two opened rows (`heap_attr_equals`, heapam.c).
unsafe fn any_changed(
    rel: pg_sys::Relation,
    set: *mut pg_sys::Bitmapset,
    old: pg_sys::HeapTuple,
    new: pg_sys::HeapTuple,
) -> bool {
    // SAFETY: `set` is a bitmap of the relation's attributes (or null), the rows fit its
    // descriptor; datumIsEqual() compares bytes, as core does.
    unsafe {
        let desc = (*rel).rd_att;
        let mut member = -1;
        loop {
            member = pg_sys::bms_next_member(set, member);
            if member < 0 {
                return false;
            }
            let attnum = member + pg_sys::FirstLowInvalidHeapAttributeNumber;
            if attnum == 0 {
                return true;
            }
            if attnum < 0 {
                if attnum != pg_sys::TableOidAttributeNumber {
                    return true;
                }
                continue;
            }
            let (mut old_null, mut new_null) = (false, false);
            let a = heap_getattr(old, attnum, desc, &mut old_null);
            let b = heap_getattr(new, attnum, desc, &mut new_null);
            if old_null != new_null {
                return true;
            }
            if old_null {
                continue;
            }
            let column = toast::attribute(desc, attnum as usize - 1);
            if !ffi::datumIsEqual(a, b, column.by_val, i32::from(column.len)) {
                return true;
            }
        }
    }
}

/// `heap_getattr` of `htup_details.h`, for attnum > 0.
unsafe fn heap_getattr(
    t: pg_sys::HeapTuple,
    attnum: i32,
    desc: pg_sys::TupleDesc,
    isnull: &mut bool,
) -> pg_sys::Datum {
    // SAFETY: a whole tuple that fits `desc`.
    unsafe {
        let header = tuple::header(t);
        if attnum > i32::from(header.t_infomask2 & NATTS_MASK) {
            return pg_sys::getmissingattr(desc, attnum, isnull);
        }
        let bits = (*t).t_data.cast::<u8>().add(HEADER);
        let index = attnum as usize - 1;
        if header.t_infomask & pg_sys::HEAP_HASNULL as u16 != 0
            && *bits.add(index / 8) & (1 << (index % 8)) == 0
        {
            *isnull = true;
            return pg_sys::Datum::null();
        }
        *isnull = false;
        pg_sys::nocachegetattr(t, attnum, desc)
    }
}
