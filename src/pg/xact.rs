//! Transactions, statements, interrupts, cache invalidations and the end of this backend.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::pg::local::backend_local;
use pgrx::pg_guard;
use pgrx::pg_sys::{self, Oid};

/// How a transaction or a part of it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// What it wrote is there for good.
    Commit,
    /// What it wrote is gone, or (after PREPARE TRANSACTION) no longer this backend's to decide.
    Abort,
    /// What one subtransaction wrote is gone; the transaction goes on.
    SubAbort,
}

/// What wants to hear about transactions, relation changes and the end of the process.
///
/// The functions may not raise errors: they are called where PostgreSQL cannot take one.
pub struct Listener {
    /// Called at the end of each transaction and of each aborted subtransaction.
    pub transaction_end: fn(End),
    /// Called when a relation's definition changed; `None` means that any may have changed.
    pub relation_changed: fn(Option<Oid>),
    /// Called once when the process exits.
    pub exit: fn(),
}

/// Few are needed: the keyring, the policy, the table access method, the worker.
static LISTENERS: [OnceLock<Listener>; 6] = [const { OnceLock::new() }; 6];

fn listeners() -> impl Iterator<Item = &'static Listener> {
    LISTENERS.iter().filter_map(OnceLock::get)
}

backend_local! {
    static EXIT_REGISTERED_FOR: Cell<i32> = const { Cell::new(0) };
    /// How often listeners were told that something is not as it was.
    static CHANGES: Cell<u64> = const { Cell::new(0) };
}

/// Registers a listener; called in the postmaster, at most six times, and inherited by every
/// process.
pub fn listen(listener: Listener) {
    let first = listeners().next().is_none();
    let Some(free) = LISTENERS.iter().find(|l| l.get().is_none()) else {
        debug_assert!(false, "more listeners than places");
        return;
    };
    if free.set(listener).is_err() || !first {
        return;
    }
    // SAFETY: registration only stores the pointers of functions that live as long as the library.
    unsafe { pg_sys::RegisterXactCallback(Some(transaction_event), std::ptr::null_mut()) };
    // SAFETY: as above.
    unsafe { pg_sys::RegisterSubXactCallback(Some(subtransaction_event), std::ptr::null_mut()) };
    // SAFETY: as above; the list of callbacks is per process and inherited by fork.
    unsafe {
        pg_sys::CacheRegisterRelcacheCallback(Some(relation_event), pg_sys::Datum::from(0usize))
    };
}

/// Reads something of the catalog; true beside it if it may be kept until a listener is told.
///
/// PostgreSQL tells a process what others have changed whenever it locks a relation (`AcceptInvalidationMessages`), so also
/// between two reads of the catalog, or between a read's snapshot and its end. Who is told while he reads has nothing to
/// forget yet, and what he read may be of before: it is read again, a few times, and then used and not kept.
pub fn reading<T, E>(mut read: impl FnMut() -> Result<T, E>) -> Result<(T, bool), E> {
    const TRIES: usize = 4;
    for _ in 1..TRIES {
        let before = CHANGES.get();
        let found = read()?;
        if CHANGES.get() == before {
            return Ok((found, true));
        }
    }
    let before = CHANGES.get();
    Ok((read()?, CHANGES.get() == before))
}

static BEFORE_COMMIT: OnceLock<fn(Before)> = OnceLock::new();

/// What a transaction is about to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Before {
    /// To commit.
    Commit,
    /// To be prepared, for somebody else to commit it or roll it back.
    Prepare,
}

/// Registers what is called before a transaction commits or is prepared: it may still write, and raise an
/// error. Called once, in the postmaster.
pub fn before_commit(f: fn(Before)) {
    debug_assert!(BEFORE_COMMIT.get().is_none(), "one at most");
    let _ = BEFORE_COMMIT.set(f);
}

/// The running subtransaction. Later ones have larger numbers.
pub fn subtransaction() -> u32 {
    // SAFETY: reads the state of this backend's transaction.
    unsafe { pg_sys::GetCurrentSubTransactionId() }
}

/// Calls `f` with a snapshot in place, which SQL asks for, and writing to a table that has a TOAST table.
pub fn with_snapshot<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: inside a transaction; an ERROR's abort pops what we pushed.
    unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
    let result = f();
    // SAFETY: pushed above, and `f` leaves the stack as it found it.
    unsafe { pg_sys::PopActiveSnapshot() };
    result
}

/// Writes a warning to the server's log, also in the postmaster.
pub fn log_warning(message: &str) {
    pgrx::warning!("{message}");
}

/// Makes sure that the exit function is called in this process.
///
/// The postmaster's exit list is emptied after fork, so each backend registers for itself.
pub fn call_at_exit() {
    let pid = process_id();
    if EXIT_REGISTERED_FOR.get() == pid {
        return;
    }
    EXIT_REGISTERED_FOR.set(pid);
    // SAFETY: stores the pointer of a function that lives as long as the library.
    unsafe { pg_sys::on_proc_exit(Some(exit_event), pg_sys::Datum::from(0usize)) };
}

/// The process id of this backend, as PostgreSQL has it: read without a system call.
#[inline]
pub fn process_id() -> i32 {
    // SAFETY: a plain integer that only this process writes, once, after fork.
    unsafe { pg_sys::MyProcPid }
}

/// When the statement the client is waiting for began: changes with each client message.
#[inline]
pub fn statement_start() -> i64 {
    // Not through pgrx, whose guard costs more than the function: it is asked for every row sealed.
    // SAFETY: returns a static variable of the server, and cannot raise an ERROR.
    unsafe { raw::GetCurrentStatementStartTimestamp() }
}

/// Raises 25006 in a read-only transaction, so also on a standby. Writes below SQL pass by the check that
/// commands get.
pub fn prevent_if_read_only(command: &std::ffi::CStr) {
    // SAFETY: reads a flag of this backend, and raises.
    unsafe { pg_sys::PreventCommandIfReadOnly(command.as_ptr()) };
}

/// The time, in microseconds since 2000.
pub fn now_us() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// Whether a cancel or a termination waits for this backend.
pub fn interrupt_pending() -> bool {
    // SAFETY: a flag that signal handlers of this process set; a volatile read sees them.
    unsafe { (&raw const pg_sys::InterruptPending).cast::<i32>().read_volatile() != 0 }
}

/// Lets a pending cancel or termination have its effect.
pub fn check_interrupts() {
    pgrx::check_for_interrupts!();
}

/// Whether this process works for the leader of a parallel plan or index build.
pub fn is_parallel_worker() -> bool {
    // SAFETY: a plain integer of this process, -1 in all others.
    unsafe { pg_sys::ParallelWorkerNumber >= 0 }
}

/// Whether the WAL is written for logical decoding, so that publications mean something.
#[inline]
pub fn wal_is_logical() -> bool {
    // SAFETY: a setting of the server, fixed at its start.
    unsafe { pg_sys::wal_level >= pg_sys::WalLevel::WAL_LEVEL_LOGICAL as i32 }
}

/// Where the next record of the WAL will be.
pub fn wal_position() -> u64 {
    // SAFETY: reads shared memory; legal where WAL may be written.
    unsafe { pg_sys::GetXLogInsertRecPtr() }
}

/// Whether pg_upgrade runs this server, to make again what an older one had.
pub fn is_binary_upgrade() -> bool {
    // SAFETY: set from the postmaster's arguments before any library is loaded, then never changed.
    unsafe { pg_sys::IsBinaryUpgrade }
}

/// The data directory.
pub fn data_directory() -> std::path::PathBuf {
    use std::os::unix::ffi::OsStrExt;
    // SAFETY: set by the postmaster before any library is loaded and never changed or freed.
    let dir = unsafe { std::ffi::CStr::from_ptr(pg_sys::DataDir) };
    std::path::PathBuf::from(std::ffi::OsStr::from_bytes(dir.to_bytes()))
}

static PRELOADED: AtomicBool = AtomicBool::new(false);

/// Whether `shared_preload_libraries` has loaded us, so that there are keys, counters and hooks.
pub fn is_preloaded() -> bool {
    PRELOADED.load(Ordering::Relaxed)
}

/// Notes that it does.
pub fn preloaded() {
    PRELOADED.store(true, Ordering::Relaxed);
}

/// Whether the library may come without anything of its own but the handler of `sealed_btree`: where it is not preloaded, on
/// a replica for instance, queries on other tables must still be planned. For that 18 asks the handler of every ordered
/// index that knows an operator what it can do (`get_opmethod_canorder`). pg_upgrade is told that it is missing.
pub fn may_come_bare() -> bool {
    // SAFETY: a plain flag of this process.
    let creating = unsafe { pg_sys::creating_extension };
    cfg!(feature = "pg18") && !preloading() && !creating && !is_binary_upgrade()
}

/// Whether `shared_preload_libraries` is what loads us right now.
pub fn preloading() -> bool {
    // SAFETY: a plain flag of this process.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

#[pg_guard]
unsafe extern "C-unwind" fn transaction_event(
    event: pg_sys::XactEvent::Type,
    _arg: *mut core::ffi::c_void,
) {
    use pg_sys::XactEvent as E;
    let before = match event {
        E::XACT_EVENT_PRE_COMMIT => Some(Before::Commit),
        E::XACT_EVENT_PRE_PREPARE => Some(Before::Prepare),
        _ => None,
    };
    if let (Some(before), Some(call)) = (before, BEFORE_COMMIT.get()) {
        call(before);
    }
    let end = match event {
        E::XACT_EVENT_COMMIT | E::XACT_EVENT_PARALLEL_COMMIT => End::Commit,
        // A prepared transaction may still be rolled back, by anybody, and we would not hear of it.
        E::XACT_EVENT_ABORT | E::XACT_EVENT_PARALLEL_ABORT | E::XACT_EVENT_PREPARE => End::Abort,
        _ => return,
    };
    CHANGES.set(CHANGES.get() + 1);
    for listener in listeners() {
        (listener.transaction_end)(end);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn subtransaction_event(
    event: pg_sys::SubXactEvent::Type,
    _own: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _arg: *mut core::ffi::c_void,
) {
    if event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        CHANGES.set(CHANGES.get() + 1);
        for listener in listeners() {
            (listener.transaction_end)(End::SubAbort);
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_event(_arg: pg_sys::Datum, relation: Oid) {
    CHANGES.set(CHANGES.get() + 1);
    for listener in listeners() {
        (listener.relation_changed)((relation != Oid::INVALID).then_some(relation));
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn exit_event(_code: i32, _arg: pg_sys::Datum) {
    for listener in listeners() {
        (listener.exit)();
    }
}

/// A lock of this database on one named step, held until dropped or the transaction ends. One backend
/// has it at a time.
pub struct StepLock {
    tag: pg_sys::LOCKTAG,
}

impl StepLock {
    /// Of advisory locks, apart from users' own, whose field 4 is 1 or 2 (`utils/adt/lockfuncs.c`).
    const CLASS: u16 = 0x5EA1;

    /// Waits for the lock, also on a standby; can be cancelled. An advisory one, because a standby refuses
    /// strong locks on objects.
    pub fn wait_on_standby_too(step: u16) -> Self {
        Self::wait_for(pg_sys::LOCKTAG {
            locktag_field3: step.into(),
            locktag_field4: Self::CLASS,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
            ..Default::default()
        })
    }

    /// Waits for the lock on a step that only a server does which writes; can be cancelled.
    pub fn wait(step: u16) -> Self {
        Self::wait_of(Oid::INVALID, step)
    }

    /// Waits for the lock on a step of one relation's; can be cancelled. `pg_locks` shows it as one on an
    /// object, the relation's column `step`: PostgreSQL locks columns by no such tag, so it is ours alone,
    /// and who looks for advisory locks finds his own.
    pub fn wait_of(relation: Oid, step: u16) -> Self {
        Self::wait_for(pg_sys::LOCKTAG {
            locktag_field2: pg_sys::RelationRelationId.to_u32(),
            locktag_field3: relation.to_u32(),
            locktag_field4: step,
            locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
            locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
            ..Default::default()
        })
    }

    fn wait_for(tag: pg_sys::LOCKTAG) -> Self {
        // SAFETY: a plain OID that is set once per backend.
        let database = unsafe { pg_sys::MyDatabaseId };
        let tag = pg_sys::LOCKTAG { locktag_field1: database.to_u32(), ..tag };
        // SAFETY: the tag is copied; an ERROR (cancel, deadlock) leaves no lock behind.
        unsafe {
            pg_sys::LockAcquire(&tag, pg_sys::ExclusiveLock as pg_sys::LOCKMODE, false, false)
        };
        Self { tag }
    }

    /// Holds the lock until the transaction has ended.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for StepLock {
    fn drop(&mut self) {
        // An ERROR on its way out releases the lock by itself, and nothing may be called meanwhile.
        if std::thread::panicking() {
            return;
        }
        // SAFETY: the lock is held by this transaction; releasing raises no ERROR.
        unsafe { pg_sys::LockRelease(&self.tag, pg_sys::ExclusiveLock as pg_sys::LOCKMODE, false) };
    }
}

/// Functions that cannot raise an ERROR, without a guard.
mod raw {
    unsafe extern "C-unwind" {
        pub fn GetCurrentStatementStartTimestamp() -> i64;
    }
}
