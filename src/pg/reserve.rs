//! The allocator: the system's, with a reserve for when that refuses.
//!
//! Rust aborts a process whose small allocation is refused, and PostgreSQL then restarts the whole server. Heap
//! code only raises SQLSTATE 53200, since palloc() can fail. So that ours ends as heap's does, what is refused
//! comes from a reserve, and the statement goes on until its next palloc() is refused. What may be large
//! asks with `try_reserve` instead.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use buddy_system_allocator::Heap;

/// Bytes of the reserve: a megabyte. Of the library's zeroed data, so each process is charged for it when it
/// starts and a page is there when it is first touched, which is never as a rule.
const SIZE: usize = 1 << 20;
/// One more than the binary logarithm of `SIZE`.
const ORDER: usize = 21;

struct Allocator {
    region: Region,
    /// Which parts are free; `None` until something was refused.
    free: Mutex<Option<Heap<ORDER>>>,
}

#[repr(align(4096))]
struct Region(UnsafeCell<[u8; SIZE]>);

// SAFETY: bytes of the region are handed out by the heap under its lock, each to one owner.
unsafe impl Sync for Region {}

#[global_allocator]
static ALLOCATOR: Allocator =
    Allocator { region: Region(UnsafeCell::new([0; SIZE])), free: Mutex::new(None) };

impl Allocator {
    fn start(&self) -> usize {
        self.region.0.get() as usize
    }

    fn owns(&self, block: *mut u8) -> bool {
        (block as usize).wrapping_sub(self.start()) < SIZE
    }

    fn with_heap<R>(&self, f: impl FnOnce(&mut Heap<ORDER>) -> R) -> R {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        f(free.get_or_insert_with(|| {
            let mut heap = Heap::new();
            // SAFETY: the region is the heap's alone and lives as long as the process.
            unsafe { heap.init(self.start(), SIZE) };
            heap
        }))
    }

    #[cold]
    fn spare(&self, layout: Layout) -> *mut u8 {
        self.with_heap(|heap| heap.alloc(layout).map_or(std::ptr::null_mut(), NonNull::as_ptr))
    }
}

// SAFETY: a block is the system's or the reserve's by its address, and goes back to where it came from. Neither
// unwinds nor raises an ERROR.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        let block = unsafe { System.alloc(layout) };
        if block.is_null() { self.spare(layout) } else { block }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on; a spare block has the layout's bytes.
        unsafe {
            let block = System.alloc_zeroed(layout);
            if !block.is_null() {
                return block;
            }
            let spare = self.spare(layout);
            if !spare.is_null() {
                spare.write_bytes(0, layout.size());
            }
            spare
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's block, which `alloc` of one of the two made with this layout.
        unsafe {
            match NonNull::new(block) {
                Some(spare) if self.owns(block) => {
                    self.with_heap(|heap| heap.dealloc(spare, layout))
                }
                _ => System.dealloc(block, layout),
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as for `dealloc`; the caller has seen to it that the new layout is one. The old block stays
        // until its bytes are copied, and for good if there is no new one.
        unsafe {
            if !self.owns(block) {
                let new = System.realloc(block, layout, size);
                if !new.is_null() {
                    return new;
                }
            }
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                new.copy_from_nonoverlapping(block, layout.size().min(size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}
