//! Errors of PostgreSQL through Rust frames, unchanged.
//!
//! pgrx's own guard copies the message, detail and hint of an ERROR that passes through Rust and
//! raises a new one from them: CONTEXT, constraint and column names, cursor positions and the like
//! are lost, and with RUST_BACKTRACE set a backtrace lands in the DETAIL. A table access method sits
//! under every statement, so here the ERROR itself is kept: `call_c` stops its longjmp, Rust frames
//! unwind and drop what they own, and `from_c` sends the same ERROR on, as PG_RE_THROW does.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use cee_scape::call_with_sigsetjmp;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;

use super::errors;

/// What unwinds while an ERROR of PostgreSQL waits in its error stack.
struct Raised;

unsafe extern "C-unwind" {
    fn pg_re_throw() -> !;
}

/// Calls a C function of the server's; an ERROR in it unwinds from here.
///
/// # Safety
/// `f` owns nothing that is to be dropped and does not panic. The unwinding ends in `from_c`, `for_pgrx` or
/// `attempt`, and no `Drop` on the way calls a function that can raise.
#[inline]
pub unsafe fn call_c<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: a backend is one thread, so the two globals are ours; they are put back on both ways
    // out, before anything else runs. The jump buffer lives in this frame, which is still there when
    // PostgreSQL jumps. After the jump `result` was not written and is not read.
    unsafe {
        let handler = pg_sys::PG_exception_stack;
        let context = pg_sys::error_context_stack;
        let memory = pg_sys::CurrentMemoryContext;
        let mut result = MaybeUninit::uninit();
        let jumped = call_with_sigsetjmp(false, |buffer| {
            pg_sys::PG_exception_stack = std::ptr::from_ref(buffer).cast_mut().cast();
            result.write(f());
            0
        });
        pg_sys::PG_exception_stack = handler;
        pg_sys::error_context_stack = context;
        if jumped == 0 {
            return result.assume_init();
        }
        pg_sys::CurrentMemoryContext = memory;
        // Not a panic: the panic hook has nothing to say about it.
        resume_unwind(Box::new(Raised))
    }
}

/// The body of a function that C calls: an ERROR stopped by `call_c` goes on to PostgreSQL's next
/// handler, a panic of Rust becomes an ERROR.
///
/// # Safety
/// Called from C, as the whole body of an `extern "C-unwind"` function.
#[inline]
pub unsafe fn from_c<R>(body: impl FnOnce() -> R) -> R {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(payload) if payload.is::<Raised>() => {
            drop(payload);
            // SAFETY: `Raised` means that an ERROR is in PostgreSQL's error stack, its handler is
            // back in place, and every Rust frame since `call_c` is gone.
            unsafe { pg_re_throw() }
        }
        // SAFETY: pgrx turns its own panics and everybody else's into an ERROR. It pfrees pieces of
        // the message in the current context, which in a sort of 17 or later cannot do that; whoever
        // catches the ERROR has a context of its own.
        Err(payload) => unsafe {
            pg_sys::CurrentMemoryContext = pg_sys::ErrorContext;
            pg_sys::panic::pgrx_extern_c_guard(|| resume_unwind(payload))
        },
    }
}

/// `from_c` around its argument: the whole body of a function that C calls.
macro_rules! callback {
    ($body:expr) => {{
        let body = || $body;
        // SAFETY: the rule of this macro.
        unsafe { $crate::pg::call::from_c(body) }
    }};
}
pub(crate) use callback;

/// For a function that pgrx wraps: an ERROR stopped by `call_c` goes on as pgrx's own kind of panic.
pub fn for_pgrx<R>(body: impl FnOnce() -> R) -> R {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(payload) if payload.is::<Raised>() => {
            drop(payload);
            // SAFETY: an ERROR is in PostgreSQL's error stack; pgrx's guard catches its jump.
            unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| pg_re_throw()) }
        }
        Err(payload) => resume_unwind(payload),
    }
}

/// Runs `body` in a subtransaction. An ERROR of PostgreSQL whose SQLSTATE is `expected` undoes the
/// subtransaction and comes back as its message; any other goes on as it came.
///
/// # Safety
/// Called in a transaction. What `body` leaves open after an ERROR belongs to a resource owner or a
/// memory context.
pub unsafe fn attempt<R>(
    expected: impl Fn(i32) -> bool,
    body: impl FnOnce() -> R,
) -> Result<R, String> {
    // SAFETY: memory context and resource owner are put back on every way out, as PL/pgSQL's
    // exec_stmt_block() does. A copy of the error is made before the abort, which keeps `memory`.
    unsafe {
        let memory = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        let back = || {
            pg_sys::MemoryContextSwitchTo(memory);
            pg_sys::CurrentResourceOwner = owner;
        };
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(memory);
        let payload = match catch_unwind(AssertUnwindSafe(body)) {
            Ok(value) => {
                pg_sys::ReleaseCurrentSubTransaction();
                back();
                return Ok(value);
            }
            Err(payload) => payload,
        };
        let mut waiting = std::ptr::null_mut();
        let error = if payload.is::<Raised>() {
            pg_sys::MemoryContextSwitchTo(memory);
            waiting = pg_sys::CopyErrorData();
            pg_sys::FlushErrorState();
            let text = (*waiting).message;
            let text = if text.is_null() { c"" } else { CStr::from_ptr(text) };
            Some(((*waiting).sqlerrcode, text.to_string_lossy().into_owned()))
        } else if let Some(CaughtError::PostgresError(e)) = payload.downcast_ref() {
            Some((e.sql_error_code() as i32, e.message().to_owned()))
        } else {
            None
        };
        pg_sys::RollbackAndReleaseCurrentSubTransaction();
        back();
        match error {
            Some((code, message)) if expected(code) => Err(message),
            _ if !waiting.is_null() => {
                drop(payload);
                call_c(|| errors::raise(waiting))
            }
            _ => resume_unwind(payload),
        }
    }
}

/// An ERROR that ended a transaction of a background worker.
pub struct Failure {
    /// Its SQLSTATE, as `ErrorData` has it.
    pub code: i32,
    /// Its message, which may hold values of rows: for the log, not for a table.
    pub message: String,
}

/// Runs `body` and then commits; an ERROR rolls the transaction back and comes back as what it was.
///
/// # Safety
/// Called outside of any transaction, in a process without a client.
pub unsafe fn transaction<R>(body: impl FnOnce() -> R) -> Result<R, Failure> {
    // SAFETY: what PostgresMain() does around a command; the copy of the error outlives the abort in
    // memory of Rust. errfinish() has reset the counters of held interrupts.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        let done = catch_unwind(AssertUnwindSafe(|| {
            let value = body();
            pg_sys::CommitTransactionCommand();
            value
        }));
        let payload = match done {
            Ok(value) => return Ok(value),
            Err(payload) => payload,
        };
        pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let failure = if payload.is::<Raised>() {
            let error = pg_sys::CopyErrorData();
            pg_sys::FlushErrorState();
            let text = (*error).message;
            let text = if text.is_null() { c"" } else { CStr::from_ptr(text) };
            let message = text.to_string_lossy().into_owned();
            let code = (*error).sqlerrcode;
            pg_sys::FreeErrorData(error);
            Failure { code, message }
        } else {
            match payload.downcast_ref() {
                Some(
                    CaughtError::PostgresError(e)
                    | CaughtError::ErrorReport(e)
                    | CaughtError::RustPanic { ereport: e, .. },
                ) => Failure { code: e.sql_error_code() as i32, message: e.message().to_owned() },
                None => match payload.downcast_ref::<pg_sys::panic::ErrorReportWithLevel>() {
                    Some(e) => {
                        Failure { code: e.sql_error_code() as i32, message: e.message().to_owned() }
                    }
                    None => resume_unwind(payload),
                },
            }
        };
        pg_sys::AbortCurrentTransaction();
        Err(failure)
    }
}

/// CHECK_FOR_INTERRUPTS of `miscadmin.h`.
#[inline]
pub fn check_for_interrupts() {
    // SAFETY: a flag that signal handlers set; reading it late only delays the answer.
    if unsafe { (&raw const pg_sys::InterruptPending).read_volatile() } != 0 {
        // SAFETY: raises if there is something to raise.
        unsafe { super::ffi::ProcessInterrupts() };
    }
}
