//! Conditions that hold because of where an entry lies: of a scan of a range by bitmap, on 15 and 16.
//!
//! There nbtree asks each entry of a range for both its ends (`_bt_checkkeys`), and what is asked for a sealed key has to
//! be opened. But a scan that goes forward reads entries in their order: what has been behind the lower end stays
//! behind it, and the last entry of a page speaks for all of the page. 17 and later look at it that way themselves.
//!
//! Only where a scan reads no page twice, so that of a page what was found is not about another time: `amgetbitmap`
//! without an array of arguments, for the index's first column.

use std::cell::Cell;

use pgrx::pg_sys::{self, Datum};

use super::pages::{HAS_NULLS, HEADER, Opaque};
use super::probe::Probe;
use crate::pg::tuple;

/// Whether the server's nbtree leaves it to us.
pub const NEEDED: bool = cfg!(any(feature = "pg15", feature = "pg16"));

/// `BTP_LEAF` of `access/nbtree.h`.
const LEAF: u16 = 1;
const PAGE: usize = pg_sys::BLCKSZ as usize;

/// Which end of a range a condition is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Entries before it do not satisfy the condition.
    Lower,
    /// Entries behind it do not.
    Upper,
}

impl End {
    /// Of a condition on the first column of an index.
    pub fn of(strategy: u16, descending: bool) -> Option<Self> {
        match (u32::from(strategy), descending) {
            (pg_sys::BTGreaterStrategyNumber | pg_sys::BTGreaterEqualStrategyNumber, false)
            | (pg_sys::BTLessStrategyNumber | pg_sys::BTLessEqualStrategyNumber, true) => {
                Some(Self::Lower)
            }
            (pg_sys::BTEqualStrategyNumber, _) => None,
            _ => Some(Self::Upper),
        }
    }
}

/// What is known of the condition of a scan that runs.
#[derive(Clone, Copy)]
pub enum Known {
    /// Nothing: it is not such a scan.
    Nothing,
    /// A lower end, and whether an entry was behind it.
    Lower(bool),
    /// An upper end, and what is known of the page that is read.
    Upper(Seen),
}

/// A page, and whether all its entries are before an upper end.
#[derive(Clone, Copy)]
pub struct Seen {
    page: *const u8,
    block: u32,
    /// The first value of its high key, which is no entry; null if it has none.
    high: *const u8,
    all: bool,
}

impl Known {
    /// When such a scan begins.
    fn at_first(end: End) -> Self {
        match end {
            End::Lower => Self::Lower(false),
            End::Upper => {
                let none = std::ptr::null();
                Self::Upper(Seen { page: none, block: 0, high: none, all: false })
            }
        }
    }
}

/// While this lives, the probes' conditions are those of a scan that reads an index once, forward.
pub struct Forward<'a>(&'a [(*const Probe, End)]);

impl<'a> Forward<'a> {
    /// The probes are the scan's, and live as long.
    pub unsafe fn begin(probes: &'a [(*const Probe, End)]) -> Self {
        for (probe, end) in probes {
            // SAFETY: the caller's promise.
            unsafe { (**probe).known.set(Known::at_first(*end)) };
        }
        Self(probes)
    }
}

impl Drop for Forward<'_> {
    fn drop(&mut self) {
        for (probe, _) in self.0 {
            // SAFETY: as `begin` was promised.
            unsafe { (**probe).known.set(Known::Nothing) };
        }
    }
}

/// Whether a condition holds for an entry of the page that nbtree has locked: by what is known, or compared, as the page's
/// last entry may be.
#[inline]
pub unsafe fn satisfied(
    known: &Cell<Known>,
    entry: Datum,
    compared: impl FnOnce() -> bool,
    last_satisfies: impl FnOnce(Datum) -> bool,
) -> bool {
    // SAFETY: as said.
    unsafe {
        match known.get() {
            Known::Nothing => compared(),
            Known::Lower(true) => true,
            Known::Lower(false) => {
                let holds = compared();
                known.set(Known::Lower(holds));
                holds
            }
            Known::Upper(seen) => {
                let at = entry.cast_mut_ptr::<u8>().cast_const();
                let Some((page, block)) = page_of(at) else { return compared() };
                let seen = if seen.page == page && seen.block == block {
                    seen
                } else {
                    let (high, last) = ends(page);
                    let all = last.is_some_and(|last| last_satisfies(Datum::from(last)));
                    let now = Seen { page, block, high, all };
                    known.set(Known::Upper(now));
                    now
                };
                seen.all && at != seen.high || compared()
            }
        }
    }
}

/// The page in shared buffers that something lies on, which is pinned, and its block.
#[inline]
unsafe fn page_of(at: *const u8) -> Option<(*const u8, u32)> {
    // SAFETY: shared buffers are one array of so many pages. Nothing else lies there, and what nbtree compares it has
    // pinned.
    unsafe {
        let base = pg_sys::BufferBlocks.cast::<u8>().cast_const();
        let index = at.addr().checked_sub(base.addr())? / PAGE;
        let buffer = i32::try_from(index).ok().filter(|index| *index < pg_sys::NBuffers)? + 1;
        Some((base.add(index * PAGE), pg_sys::BufferGetBlockNumber(buffer)))
    }
}

/// Where the first value of a leaf's high key is, or null; and that of its last entry, if it is known to have one that is not
/// NULL.
unsafe fn ends(page: *const u8) -> (*const u8, Option<*const u8>) {
    // SAFETY: a page of an index that nbtree has locked. A value of type sealed.key is aligned by four bytes, and so
    // begins right behind the header of a tuple without NULLs.
    unsafe {
        let special = usize::from((*page.cast::<pg_sys::PageHeaderData>()).pd_special);
        let none = std::ptr::null();
        if special + size_of::<Opaque>() > PAGE {
            return (none, None);
        }
        let opaque = &*page.add(special).cast::<Opaque>();
        let page = page.cast_mut().cast();
        let value = |offset: u16| {
            let at = tuple::item(page, offset)?.0.cast::<u8>().cast_const();
            // `t_info` of `access/itup.h`.
            let info = at.add(6).cast::<u16>().read();
            (info & HAS_NULLS == 0).then(|| at.add(HEADER))
        };
        let has_high = opaque.next != 0;
        let last = tuple::line_count(page);
        let high = if has_high { value(1).unwrap_or(none) } else { none };
        let first = if has_high { 2 } else { 1 };
        let known = opaque.flags & LEAF != 0 && last >= first && (!has_high || !high.is_null());
        (high, if known { value(last) } else { None })
    }
}
