//! Free space of pages, overwritten: what VACUUM removes stays there as bytes until a new row takes the place.
//!
//! Sealing a table that is in use ends with it, so that no plaintext is left in the table's files. The page goes to the WAL whole,
//! where it has no bytes in its free space, so a replica's page has none either.

use pgrx::pg_sys;

use crate::pg::tuple::{self, maxalign};

/// What was done to some blocks.
#[derive(Clone, Copy, Default)]
pub struct Scrubbed {
    /// Blocks the relation has.
    pub blocks: u32,
    /// Blocks that had something to overwrite.
    pub written: u32,
}

/// Overwrites the free space of up to `count` blocks of a relation from `first` on.
///
/// The caller has locked the relation so that it stays.
pub fn scrub(relation: pg_sys::Oid, first: u32, count: u32) -> Scrubbed {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: opens by OID, an ERROR if it is gone. Buffers are pinned and locked one at a time; an ERROR leaves
    // relation, pins and locks to the resource owner. No row is moved or changed, only bytes that belong to
    // none, so a pin of somebody else's does not matter.
    unsafe {
        let rel = pg_sys::table_open(relation, lock);
        let main = pg_sys::ForkNumber::MAIN_FORKNUM;
        let blocks = pg_sys::RelationGetNumberOfBlocksInFork(rel, main);
        let mut done = Scrubbed { blocks, written: 0 };
        let strategy = pg_sys::GetAccessStrategy(pg_sys::BufferAccessStrategyType::BAS_VACUUM);
        for block in first..blocks.min(first.saturating_add(count)) {
            pgrx::check_for_interrupts!();
            let normal = pg_sys::ReadBufferMode::RBM_NORMAL;
            let buffer = pg_sys::ReadBufferExtended(rel, main, block, normal, strategy);
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_EXCLUSIVE as i32);
            let state = pg_sys::GenericXLogStart(rel);
            let flags = pg_sys::GENERIC_XLOG_FULL_IMAGE as i32;
            let page = pg_sys::GenericXLogRegisterBuffer(state, buffer, flags);
            if wipe(std::slice::from_raw_parts_mut(page.cast(), pg_sys::BLCKSZ as usize)) {
                pg_sys::GenericXLogFinish(state);
                done.written += 1;
            } else {
                pg_sys::GenericXLogAbort(state);
            }
            pg_sys::UnlockReleaseBuffer(buffer);
        }
        pg_sys::FreeAccessStrategy(strategy);
        pg_sys::table_close(rel, lock);
        done
    }
}

/// Zeroes what belongs to no row in a copy of a page. False if nothing was to do.
unsafe fn wipe(page: &mut [u8]) -> bool {
    let header = page.as_ptr().cast::<pg_sys::PageHeaderData>();
    // SAFETY: a page of a heap begins with its header; the offsets are checked before use.
    let (lower, upper, special) = unsafe {
        (
            usize::from((*header).pd_lower),
            usize::from((*header).pd_upper),
            usize::from((*header).pd_special),
        )
    };
    // A page that was never used is zero; a damaged one is not for us to change.
    if upper == 0 || lower > upper || upper > special || special > page.len() {
        return false;
    }
    let mut found = zero(&mut page[lower..upper]);
    // SAFETY: the page is a private copy; line pointers end at `lower`.
    let lines = unsafe { tuple::line_count(page.as_mut_ptr().cast()) };
    for offset in 1..=lines {
        // SAFETY: as above.
        let Some((at, len)) = (unsafe { tuple::item(page.as_mut_ptr().cast(), offset) }) else {
            continue;
        };
        let end = at as usize - page.as_ptr() as usize + len as usize;
        if end <= special {
            found |= zero(&mut page[end..maxalign(end).min(special)]);
        }
    }
    found
}

fn zero(bytes: &mut [u8]) -> bool {
    let any = bytes.iter().any(|byte| *byte != 0);
    if any {
        bytes.fill(0);
    }
    any
}
