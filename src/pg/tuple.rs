//! Heap tuples as bytes: what `htup_details.h` has as macros, for sealed and opened rows.

use pgrx::pg_sys;

/// Bytes of `HeapTupleHeaderData` before its null bitmap (`SizeofHeapTupleHeader`).
pub const HEADER: usize = 23;
/// `t_hoff` of every sealed row: a header without a null bitmap, MAXALIGNed.
pub const SEALED_HOFF: usize = 24;
/// What `HeapTupleData` itself takes in front of a tuple palloc'd with it (`HEAPTUPLESIZE`).
pub const HEAPTUPLESIZE: usize = maxalign(size_of::<pg_sys::HeapTupleData>());
/// Bits of `t_infomask` that describe the body and so belong inside the seal.
pub const BODY_BITS: u16 =
    (pg_sys::HEAP_HASNULL | pg_sys::HEAP_HASVARWIDTH | pg_sys::HEAP_HASEXTERNAL) as u16;
/// Bits of `t_infomask2` that hold the number of attributes.
pub const NATTS_MASK: u16 = pg_sys::HEAP_NATTS_MASK as u16;

/// `SizeOfPageHeaderData`.
const PAGE_HEADER: usize = 24;

const _: () =
    assert!(pg_sys::BLCKSZ == 8192, "the TOAST chunk of format v1 is cut for 8 KiB pages");
const _: () = assert!(pg_sys::MAXIMUM_ALIGNOF == 8);

/// Rounds up to 8 bytes (`MAXALIGN`).
pub const fn maxalign(n: usize) -> usize {
    (n + 7) & !7
}

/// Bytes of the null bitmap of a row of `natts` columns (`BITMAPLEN`).
pub const fn bitmap_len(natts: usize) -> usize {
    natts.div_ceil(8)
}

/// The first 23 bytes of a tuple, as the table AM reads and writes them.
///
/// `HeapTupleHeaderData` itself cannot be copied by value: its tail is an incomplete array.
#[inline]
pub unsafe fn header<'a>(t: pg_sys::HeapTuple) -> &'a mut pg_sys::HeapTupleHeaderData {
    // SAFETY: the caller passes a tuple whose t_data is valid; PostgreSQL never hands out a null
    // one, and the reference does not outlive the callback.
    unsafe { &mut *(*t).t_data }
}

/// Makes of `memory`, that of a tuple and its `HEAPTUPLESIZE`, one for a payload of `len` bytes, which are not
/// written yet. It has no columns, and what heapam sets is 0: heap_form_tuple() leaves there that it is a datum of
/// the row type, which from 15.20 on ExecStoreHeapTuple() and heap_update() look up and compare with the shadow's.
pub unsafe fn new_sealed(
    memory: *mut u8,
    plain: pg_sys::HeapTuple,
    len: usize,
) -> pg_sys::HeapTuple {
    // SAFETY: as for `header`; one block, as heap_form_tuple() makes.
    unsafe {
        let len = SEALED_HOFF + len;
        let t = memory.cast::<pg_sys::HeapTupleData>();
        let data = memory.add(HEAPTUPLESIZE);
        data.write_bytes(0, SEALED_HOFF);
        (*t).t_len = len as u32;
        (*t).t_self = (*plain).t_self;
        (*t).t_tableOid = (*plain).t_tableOid;
        (*t).t_data = data.cast();
        header(t).t_hoff = SEALED_HOFF as u8;
        t
    }
}

/// Whether the row has a value stored outside (`HeapTupleHasExternal`).
pub unsafe fn has_external(t: pg_sys::HeapTuple) -> bool {
    // SAFETY: as for `header`.
    unsafe { header(t).t_infomask & pg_sys::HEAP_HASEXTERNAL as u16 != 0 }
}

/// Columns of a TOAST table.
const CHUNK_COLUMNS: u32 = 3;

/// The mark that `set_chunk_mark` gave a chunk's row.
pub unsafe fn chunk_mark(t: pg_sys::HeapTuple) -> Option<u8> {
    // SAFETY: as for `header`; a tuple with a null bitmap has the byte.
    unsafe {
        let marked = header(t).t_infomask & pg_sys::HEAP_HASNULL as u16 != 0;
        marked.then(|| *(*t).t_data.cast::<u8>().add(HEADER) >> CHUNK_COLUMNS)
    }
}

/// Puts a mark of 5 bits into a chunk's row: behind the bits of a null bitmap that says of each column that it
/// is not NULL. The byte is padding otherwise, and everything that reads tuples passes over it.
pub unsafe fn set_chunk_mark(t: pg_sys::HeapTuple, mark: u8) {
    // SAFETY: as for `header`; a tuple that heap_form_tuple() made has t_hoff 24, so byte 23 is its own.
    unsafe {
        debug_assert!(usize::from(header(t).t_hoff) == SEALED_HOFF);
        *(*t).t_data.cast::<u8>().add(HEADER) = mark << CHUNK_COLUMNS | ((1 << CHUNK_COLUMNS) - 1);
        header(t).t_infomask |= pg_sys::HEAP_HASNULL as u16;
    }
}

/// Gives an opened row what the header of the stored one says about transactions and places.
pub unsafe fn take_header(stored: pg_sys::HeapTuple, opened: pg_sys::HeapTuple) {
    // SAFETY: as for `header`; the caller owns the opened row.
    unsafe {
        (*opened).t_self = (*stored).t_self;
        (*opened).t_tableOid = (*stored).t_tableOid;
        let (from, to) = (header(stored), header(opened));
        to.t_choice = from.t_choice;
        to.t_ctid = from.t_ctid;
        to.t_infomask = to.t_infomask & BODY_BITS | from.t_infomask & !BODY_BITS;
        to.t_infomask2 = to.t_infomask2 & NATTS_MASK | from.t_infomask2 & !NATTS_MASK;
    }
}

/// Whether heap_update() made the new version heap-only (`HeapTupleIsHeapOnly`).
pub unsafe fn is_heap_only(t: pg_sys::HeapTuple) -> bool {
    // SAFETY: as for `header`.
    unsafe { header(t).t_infomask2 & pg_sys::HEAP_ONLY_TUPLE as u16 != 0 }
}

/// Clears the xmax of a live row that a failed subtransaction updated or deleted. Of a row that its own
/// transaction inserted, HeapTupleSatisfiesVacuum() finds that out but sets no hint bit, and
/// rewrite_heap_tuple() takes the row for updated: once rewrite_heap_dead_tuple() sees the version that
/// failed, both would be dropped. (The CLUSTER of heap by index loses such rows in 18.6, not in 15.20.)
pub unsafe fn forget_failed_update(live: pg_sys::HeapTuple) {
    let other = pg_sys::HEAP_XMAX_IS_MULTI | pg_sys::HEAP_XMAX_LOCK_ONLY;
    // SAFETY: as for `header`; the caller owns the tuple, a copy.
    let bits = unsafe { &mut header(live).t_infomask };
    // Locks stay, and of a multixact core itself asks whether its update failed.
    if *bits & other as u16 == 0 {
        *bits |= pg_sys::HEAP_XMAX_INVALID as u16;
    }
}

/// Stamps a speculative token into `t_ctid` (`HeapTupleHeaderSetSpeculativeToken`).
pub unsafe fn set_speculative_token(t: pg_sys::HeapTuple, token: u32) {
    /// `SpecTokenOffsetNumber` of `storage/off.h`.
    const SPEC_TOKEN_OFFSET: u16 = 0xfffe;
    // SAFETY: as for `header`.
    unsafe {
        header(t).t_ctid = pg_sys::ItemPointerData {
            ip_blkid: pg_sys::BlockIdData { bi_hi: (token >> 16) as u16, bi_lo: token as u16 },
            ip_posid: SPEC_TOKEN_OFFSET,
        };
    }
}

/// The column at `index`, from 0 (`TupleDescAttr`).
pub unsafe fn attribute(
    desc: pg_sys::TupleDesc,
    index: usize,
) -> *const pg_sys::FormData_pg_attribute {
    // SAFETY: the caller stays below natts.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        let first = (*desc).attrs.as_ptr();
        // 18 puts the full entries behind the compact ones (`TupleDescAttrAddress`).
        #[cfg(feature = "pg18")]
        let first = (*desc)
            .compact_attrs
            .as_ptr()
            .add((*desc).natts as usize)
            .cast::<pg_sys::FormData_pg_attribute>();
        first.add(index)
    }
}

/// The name of the column at `index`, from 0.
pub unsafe fn attribute_name(desc: pg_sys::TupleDesc, index: usize) -> String {
    // SAFETY: the caller stays below natts; a name ends with a zero byte within its 64.
    unsafe {
        let name = std::ffi::CStr::from_ptr((*attribute(desc, index)).attname.data.as_ptr());
        name.to_string_lossy().into_owned()
    }
}

/// The page in a buffer (`BufferGetPage` of `storage/bufmgr.h`; pgrx's is a call).
#[inline(always)]
pub unsafe fn page(buffer: pg_sys::Buffer) -> pg_sys::Page {
    // SAFETY: the caller has the buffer pinned.
    unsafe {
        if buffer > 0 {
            pg_sys::BufferBlocks.add((buffer as usize - 1) * pg_sys::BLCKSZ as usize).cast()
        } else {
            pg_sys::BufferGetPage(buffer)
        }
    }
}

/// The tuple at `offset` of a page and its length, if the line pointer leads to one (`PageGetItemId`,
/// `PageGetItem` of `storage/bufpage.h`, which pgrx has not for every version).
#[inline(always)]
pub unsafe fn item(
    page: pg_sys::Page,
    offset: pg_sys::OffsetNumber,
) -> Option<(pg_sys::HeapTupleHeader, u32)> {
    // SAFETY: the caller holds the page locked or has it pinned; the offset is of a TID of its table, so that its line
    // pointer is within the page. Without the lock, what comes back is used only of a row known to be visible, or as a hint.
    unsafe {
        let page = page.cast::<u8>();
        let lines = page.add(PAGE_HEADER).cast::<pg_sys::ItemIdData>();
        // lp_off 15 bits, lp_flags 2, lp_len 15, from the lowest; bindgen reads bit fields bit by bit.
        let line = lines.add(usize::from(offset) - 1).cast::<u32>().read();
        (line >> 15 & 3 == pg_sys::LP_NORMAL)
            .then(|| (page.add((line & 0x7fff) as usize).cast(), line >> 17))
    }
}

/// How many line pointers a page has (`PageGetMaxOffsetNumber` of `storage/bufpage.h`).
pub unsafe fn line_count(page: pg_sys::Page) -> u16 {
    // SAFETY: the caller holds the page locked; its header is always there.
    unsafe {
        let lower = usize::from((*page.cast::<pg_sys::PageHeaderData>()).pd_lower);
        (lower.saturating_sub(PAGE_HEADER) / size_of::<pg_sys::ItemIdData>()) as u16
    }
}

/// The TID of a row (`ItemPointerSet`).
pub fn at(block: pg_sys::BlockNumber, offset: pg_sys::OffsetNumber) -> pg_sys::ItemPointerData {
    let (bi_hi, bi_lo) = ((block >> 16) as u16, block as u16);
    pg_sys::ItemPointerData { ip_blkid: pg_sys::BlockIdData { bi_hi, bi_lo }, ip_posid: offset }
}

/// Who inserted a row, or that it is frozen (`HeapTupleHeaderGetXmin`).
#[cfg(feature = "pg18")]
pub unsafe fn xmin(t: pg_sys::HeapTuple) -> pg_sys::TransactionId {
    let frozen = pg_sys::HEAP_XMIN_FROZEN as u16;
    // SAFETY: as for `header`; a stored row's header has the transaction there.
    unsafe {
        match header(t).t_infomask & frozen == frozen {
            true => pg_sys::FrozenTransactionId,
            false => header(t).t_choice.t_heap.t_xmin,
        }
    }
}

/// The block of a TID.
pub fn block(tid: &pg_sys::ItemPointerData) -> u32 {
    u32::from(tid.ip_blkid.bi_hi) << 16 | u32::from(tid.ip_blkid.bi_lo)
}

/// Block and offset of a TID, which sort like it.
pub fn tid(tid: &pg_sys::ItemPointerData) -> (u32, u16) {
    (block(tid), tid.ip_posid)
}

/// A TID as PostgreSQL prints it.
pub fn display(tid: &pg_sys::ItemPointerData) -> String {
    format!("({},{})", block(tid), tid.ip_posid)
}

/// Kinds of varlena (`varatt.h`), for little-endian machines.
pub mod varlena {
    use super::*;
    #[cfg(target_endian = "big")]
    compile_error!("varlena headers are read as on little-endian machines");

    const VARTAG_ONDISK: u8 = 18;
    /// Bytes of an on-disk pointer with its header (`TOAST_POINTER_SIZE`).
    pub const TOAST_POINTER_SIZE: usize = 18;
    /// Bytes of a full header.
    pub const VARHDRSZ: usize = 4;

    /// Whether the value is a pointer of some kind (`VARATT_IS_EXTERNAL`).
    pub unsafe fn is_external(p: *const u8) -> bool {
        // SAFETY: `p` points at a varlena, whose first byte is always there.
        unsafe { *p == 0x01 }
    }
    /// Whether the value lives in a TOAST table (`VARATT_IS_EXTERNAL_ONDISK`).
    pub unsafe fn is_ondisk(p: *const u8) -> bool {
        // SAFETY: an external varlena has its tag in the second byte.
        unsafe { is_external(p) && *p.add(1) == VARTAG_ONDISK }
    }
    /// Whether the value has a one-byte header (`VARATT_IS_SHORT`, not external).
    pub unsafe fn is_short(p: *const u8) -> bool {
        // SAFETY: as for `is_external`.
        unsafe { *p & 1 == 1 && *p != 1 }
    }
    /// Whether the value is compressed inline (`VARATT_IS_COMPRESSED`).
    pub unsafe fn is_compressed(p: *const u8) -> bool {
        // SAFETY: as for `is_external`.
        unsafe { *p & 3 == 2 }
    }
    /// Size with header of a short value.
    pub unsafe fn size_short(p: *const u8) -> usize {
        // SAFETY: as for `is_external`.
        unsafe { (*p >> 1) as usize }
    }
    /// Size with header of a value with a four-byte header.
    pub unsafe fn size(p: *const u8) -> usize {
        // SAFETY: a value that is neither short nor external has four header bytes.
        unsafe { (p.cast::<u32>().read_unaligned() >> 2) as usize }
    }
    /// Writes a four-byte header for `len` bytes, the header included (`SET_VARSIZE`).
    pub unsafe fn set_size(p: *mut u8, len: usize) {
        // SAFETY: the caller owns at least four bytes at `p`.
        unsafe { p.cast::<u32>().write_unaligned((len as u32) << 2) }
    }
    /// The pointer inside an on-disk value (`VARATT_EXTERNAL_GET_POINTER`).
    pub unsafe fn pointer(p: *const u8) -> pg_sys::varatt_external {
        // SAFETY: the caller checked `is_ondisk`; the payload follows two header bytes, unaligned.
        unsafe { p.add(2).cast::<pg_sys::varatt_external>().read_unaligned() }
    }
    /// Writes an on-disk value.
    pub unsafe fn write_pointer(p: *mut u8, to: pg_sys::varatt_external) {
        // SAFETY: the caller owns TOAST_POINTER_SIZE bytes at `p`.
        unsafe {
            *p = 0x01;
            *p.add(1) = VARTAG_ONDISK;
            p.add(2).cast::<pg_sys::varatt_external>().write_unaligned(to);
        }
    }
    /// Stored bytes of an on-disk value (`VARATT_EXTERNAL_GET_EXTSIZE`).
    pub fn extsize(to: &pg_sys::varatt_external) -> u32 {
        to.va_extinfo & 0x3fff_ffff
    }
}
