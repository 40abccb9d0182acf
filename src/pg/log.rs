//! The server log: values of sealed tables are kept out of it.
//!
//! PostgreSQL logs an error with the statement, and puts values into CONTEXT ("COPY t, line 7: ...",
//! "SQL statement ...") and into the DETAIL of constraint violations ("Failing row contains (...)").
//! From the moment a statement has a slot of a sealed table or opens a row, the log gets only the
//! message, the SQLSTATE and the hint of its errors; the client still sees all of it. An error before
//! that moment, in the parser or the planner, is logged with the statement: nobody knows yet which
//! tables it is about, and it holds what the client sent, not what is stored. The same is true of what
//! a message itself quotes ("invalid input syntax for type integer: ..."), and `log_statement` is the
//! administrator's choice.
//!
//! When a backend crashes, the postmaster logs what it was running. That detail is never logged.

use std::ffi::CStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use pgrx::pg_sys;

use super::xact;

static BEFORE_US: OnceLock<pg_sys::emit_log_hook_type> = OnceLock::new();

/// When the last statement that used a sealed table began; 0 before there was one.
static STATEMENT: AtomicI64 = AtomicI64::new(0);

/// Puts the hook in place. Called once, in the postmaster.
pub fn install() {
    // SAFETY: a plain pointer that only this thread reads and writes; ours lives as long as the
    // library, which is never unloaded.
    unsafe {
        let _ = BEFORE_US.set(pg_sys::emit_log_hook);
        pg_sys::emit_log_hook = Some(emit_log);
    }
}

/// Notes that the running statement uses a sealed table. In the extended protocol each message is a
/// statement of its own to the clock: slots are made at Bind, rows are opened at Execute.
#[inline]
pub fn uses_sealed_table() {
    STATEMENT.store(xact::statement_start(), Ordering::Relaxed);
}

/// Tells the client something, with the next command.
pub fn notice(message: &'static str, hint: &'static str) {
    pgrx::pg_sys::panic::ErrorReport::new(
        pgrx::PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        message,
        "pg_sealed",
    )
    .set_hint(hint)
    .report(pgrx::PgLogLevel::NOTICE);
}

/// Whether a line of the audit is being written.
static AUDIT: AtomicBool = AtomicBool::new(false);

/// Writes a line to the server's log, not to the client, whatever he asked for; without the statement.
pub fn audit(line: String) {
    AUDIT.store(true, Ordering::Relaxed);
    let _done = Done;
    pgrx::ereport!(
        pgrx::PgLogLevel::LOG_SERVER_ONLY,
        pgrx::PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        line
    );
}

/// Also when the line could not be written for want of memory.
struct Done;

impl Drop for Done {
    fn drop(&mut self) {
        AUDIT.store(false, Ordering::Relaxed);
    }
}

/// Not guarded: runs while an error is being reported, calls nothing that raises and owns nothing.
unsafe extern "C-unwind" fn emit_log(error: *mut pg_sys::ErrorData) {
    let noted = STATEMENT.load(Ordering::Relaxed);
    // A process without statements (checkpointer, startup) has the time 0 itself.
    let of_statement =
        (noted != 0 && noted == xact::statement_start()) || AUDIT.load(Ordering::Relaxed);
    // SAFETY: the error that is being reported, ours to change until the hook returns.
    unsafe {
        let error = &mut *error;
        if of_statement {
            error.hide_stmt = true;
            error.hide_ctx = true;
        }
        // Constraint violations name their table; other details hold no row.
        let of_row = !error.table_name.is_null() || !error.column_name.is_null();
        if of_statement && of_row {
            hide_detail(error, c"Values of a sealed table are not logged.");
        } else if is_child_exit(error) {
            hide_detail(error, c"What the failed process was running is not logged.");
        }
    }
    if let Some(Some(previous)) = BEFORE_US.get() {
        // SAFETY: passed on as it came.
        unsafe { previous(error) };
    }
}

/// Whether the postmaster reports the end of a backend: the detail is the statement it was running, and
/// which tables that was about nobody can say any more (LogChildExit() in postmaster/postmaster.c).
unsafe fn is_child_exit(error: &pg_sys::ErrorData) -> bool {
    // SAFETY: a flag of this process; a message id is null or a constant string.
    unsafe {
        !pg_sys::IsUnderPostmaster
            && !error.message_id.is_null()
            && CStr::from_ptr(error.message_id).to_bytes().starts_with(b"%s (PID %d) ")
    }
}

/// Puts `text` into the log in place of the error's detail, if it has one.
unsafe fn hide_detail(error: &mut pg_sys::ErrorData, text: &'static CStr) {
    if error.detail.is_null() {
        return;
    }
    let len = text.count_bytes() + 1;
    // SAFETY: without memory the result is null and the line is not logged at all;
    // otherwise it is a chunk of the error's own context, freed with it.
    unsafe {
        let copy = pg_sys::MemoryContextAllocExtended(
            error.assoc_context,
            len,
            pg_sys::MCXT_ALLOC_NO_OOM as i32,
        )
        .cast::<std::ffi::c_char>();
        if copy.is_null() {
            error.output_to_server = false;
            return;
        }
        std::ptr::copy_nonoverlapping(text.as_ptr(), copy, len);
        error.detail_log = copy;
    }
}
