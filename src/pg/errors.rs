//! Copies of ERRORs, for callers that are out of memory.
//!
//! pgrx's guard copies an ERROR in the memory context of its caller. If that has no room either the copy raises an
//! ERROR that is guarded too, and so on until core's error stack is full: a PANIC (`ERRORDATA_STACK_SIZE exceeded`,
//! utils/error/elog.c), and all sessions end. So this library's calls of `CopyErrorData` come here (build.rs has the
//! linker wrap it), and the copy is made in a context that has its memory beforehand, as core's own `ErrorContext` has.

use std::sync::atomic::{AtomicPtr, Ordering};

use pgrx::pg_sys;

/// Bytes that are there from the start: an ERROR of core is a few hundred.
const ROOM: usize = 16 * 1024;

static CONTEXT: AtomicPtr<pg_sys::MemoryContextData> = AtomicPtr::new(std::ptr::null_mut());

/// Makes the context. Called once, by `_PG_init`; a backend has its own by fork.
pub fn init() {
    // SAFETY: a child of the context that is never deleted.
    let context = unsafe {
        pg_sys::AllocSetContextCreateInternal(
            pg_sys::TopMemoryContext,
            c"pg_sealed errors".as_ptr(),
            ROOM,
            ROOM,
            ROOM,
        )
    };
    CONTEXT.store(context, Ordering::Relaxed);
}

unsafe extern "C-unwind" {
    fn __real_CopyErrorData() -> *mut pg_sys::ErrorData;
    fn ReThrowError(error: *mut pg_sys::ErrorData) -> !;
}

/// The copy that was raised last. Nobody comes back to free it: the next one does.
static RAISED: AtomicPtr<pg_sys::ErrorData> = AtomicPtr::new(std::ptr::null_mut());

/// Raises an ERROR again of which there is a copy.
///
/// # Safety
/// `copy` is of `CopyErrorData`, and nobody's any more.
pub unsafe fn raise(copy: *mut pg_sys::ErrorData) -> ! {
    let before = RAISED.swap(copy, Ordering::Relaxed);
    // SAFETY: a copy that only we had, since `ReThrowError` made one of its own (elog.c). The ERROR jumps over
    // this frame, which owns nothing.
    unsafe {
        if !before.is_null() {
            pg_sys::FreeErrorData(before);
        }
        ReThrowError(copy)
    }
}

/// `CopyErrorData`, for this library. Whoever calls it frees the copy (`FreeErrorData`), as pgrx does: it does not go
/// with the caller's memory context.
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn __wrap_CopyErrorData() -> *mut pg_sys::ErrorData {
    // SAFETY: as for the original: there is an ERROR in core's stack. A backend is one thread; if the original raises
    // all the same the handler that catches it sets the current context.
    unsafe {
        let callers = pg_sys::CurrentMemoryContext;
        let context = CONTEXT.load(Ordering::Relaxed);
        if !context.is_null() {
            pg_sys::CurrentMemoryContext = context;
        }
        let copy = __real_CopyErrorData();
        pg_sys::CurrentMemoryContext = callers;
        copy
    }
}
