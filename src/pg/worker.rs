//! Background workers: how they are started, woken and stopped, and how they run transactions.
//!
//! A launcher without a database starts one worker for each database that has something to do. It is
//! told by the transactions that begin something, through shared memory, once they have committed.

use std::cell::Cell;
use std::ffi::CStr;
use std::sync::OnceLock;
use std::time::Duration;

use pgrx::pg_sys::ffi::pg_guard_ffi_boundary as guard;
use pgrx::pg_sys::{self, Oid};

use super::call::{self, Failure, callback};
use super::shmem::{self, Locked};
use super::xact::{self, End, Listener};
use crate::pg::local::backend_local;

/// What the processes do. Registered, so that this module knows nothing of it.
pub struct Mains {
    /// The launcher.
    pub launcher: fn(),
    /// The worker of the database that it is connected to.
    pub database: fn(),
}

static MAINS: OnceLock<Mains> = OnceLock::new();

/// Databases that are named in shared memory; beyond them all are looked into.
const NAMED: usize = 32;

/// A set of databases.
#[derive(Clone, Copy, Default)]
pub struct Databases {
    count: usize,
    named: [u32; NAMED],
    /// There was no room for one: it may be any.
    pub all: bool,
}

impl Databases {
    fn add(&mut self, database: Oid) {
        let database = database.to_u32();
        if self.named[..self.count].contains(&database) {
            return;
        }
        match self.named.get_mut(self.count) {
            Some(place) => {
                *place = database;
                self.count += 1;
            }
            None => self.all = true,
        }
    }

    fn remove(&mut self, database: Oid) {
        let known = self.named[..self.count].iter().position(|d| *d == database.to_u32());
        if let Some(at) = known {
            self.count -= 1;
            self.named[at] = self.named[self.count];
        }
    }

    fn contains(&self, database: Oid) -> bool {
        self.named[..self.count].contains(&database.to_u32())
    }

    /// Those that are named.
    pub fn iter(&self) -> impl Iterator<Item = Oid> {
        self.named[..self.count].iter().map(|d| Oid::from(*d))
    }
}

#[derive(Clone, Copy, Default)]
struct Board {
    /// The launcher's process, 0 if there is none.
    launcher: i32,
    /// Where something was begun that the launcher has not seen to.
    wanted: Databases,
    /// Where a worker is, or was until something other than the end of its work ended it.
    unfinished: Databases,
}

static BOARD: Locked<Board> = Locked::new(c"pg_sealed workers");

backend_local! {
    /// The database in which this transaction began something: nearly always its own.
    static WAKES: Cell<Oid> = const { Cell::new(Oid::INVALID) };
}

/// Registers the launcher. Called once, in the postmaster, while libraries are preloaded.
pub fn init(mains: Mains) {
    // pg_upgrade's servers do nothing by themselves.
    if MAINS.set(mains).is_err() || xact::is_binary_upgrade() {
        return;
    }
    shmem::ask_for(&[&BOARD]);
    xact::listen(Listener {
        transaction_end: |end| {
            // What a failed subtransaction wanted may still be wanted by its parents.
            if end == End::SubAbort || WAKES.get() == Oid::INVALID {
                return;
            }
            let database = WAKES.replace(Oid::INVALID);
            if end == End::Commit {
                want(database);
            }
        },
        relation_changed: |_| {},
        exit: || {},
    });
    let launcher = describe(c"pg_sealed launcher", c"pg_sealed_launcher", 5, 0);
    // SAFETY: copies the description.
    unsafe { pg_sys::RegisterBackgroundWorker(&mut { launcher }) };
}

/// Has a worker look into this database once this transaction has committed.
pub fn wake_at_commit() {
    WAKES.set(database());
}

/// Has a worker look into the database that this transaction, CREATE DATABASE's own, makes.
pub fn wake_new_at_commit(database: Oid) {
    WAKES.set(database);
}

fn want(database: Oid) {
    let launcher = BOARD.with(|board| {
        board.wanted.add(database);
        board.launcher
    });
    if launcher == 0 {
        return;
    }
    // SAFETY: asks the array of processes, which stays; the latch of one that just ended is set for
    // nothing.
    unsafe {
        let process = pg_sys::BackendPidGetProc(launcher);
        if !process.is_null() {
            pg_sys::SetLatch(&raw mut (*process).procLatch);
        }
    }
}

/// The database this process is connected to.
pub fn database() -> Oid {
    // SAFETY: a plain OID that is set once per process.
    unsafe { pg_sys::MyDatabaseId }
}

fn describe(name: &CStr, function: &CStr, restart: i32, argument: u32) -> pg_sys::BackgroundWorker {
    let mut worker = pg_sys::BackgroundWorker {
        bgw_flags: (pg_sys::BGWORKER_SHMEM_ACCESS | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION)
            as i32,
        // Also on a standby that is promoted, and never before.
        bgw_start_time: pg_sys::BgWorkerStartTime::BgWorkerStart_RecoveryFinished,
        bgw_restart_time: restart,
        bgw_main_arg: pg_sys::Datum::from(argument),
        ..Default::default()
    };
    copy(name, &mut worker.bgw_name);
    copy(name, &mut worker.bgw_type);
    copy(c"pg_sealed", &mut worker.bgw_library_name);
    copy(function, &mut worker.bgw_function_name);
    worker
}

fn copy(text: &CStr, into: &mut [std::ffi::c_char]) {
    for (to, from) in into.iter_mut().zip(text.to_bytes_with_nul()) {
        *to = *from as std::ffi::c_char;
    }
}

/// A worker that was started.
pub struct Started {
    /// Where.
    pub database: Oid,
    handle: *mut pg_sys::BackgroundWorkerHandle,
}

impl Started {
    /// Starts the worker of a database; `None` if the server has no place for one (max_worker_processes).
    pub fn start(database: Oid) -> Option<Self> {
        let mut worker = describe(
            c"pg_sealed worker",
            c"pg_sealed_database",
            pg_sys::BGW_NEVER_RESTART,
            database.to_u32(),
        );
        worker.bgw_notify_pid = xact::process_id();
        let mut handle = std::ptr::null_mut();
        BOARD.with(|board| board.unfinished.add(database));
        // SAFETY: copies the description; the handle is a few bytes of this process's memory.
        let started = unsafe {
            pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
            pg_sys::RegisterDynamicBackgroundWorker(&mut worker, &mut handle)
        };
        started.then_some(Self { database, handle })
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        let mut pid = 0;
        // SAFETY: the handle is of this process and not freed.
        let status = unsafe { pg_sys::GetBackgroundWorkerPid(self.handle, &mut pid) };
        status == pg_sys::BgwHandleStatus::BGWH_STOPPED
    }

    /// Whether something is left to do there, after it has ended.
    pub fn left_something(self) -> bool {
        // SAFETY: palloc'd by RegisterDynamicBackgroundWorker(), used no more.
        unsafe { pg_sys::pfree(self.handle.cast()) };
        BOARD.with(|board| {
            let left = board.unfinished.contains(self.database);
            board.unfinished.remove(self.database);
            left
        })
    }
}

/// For the launcher: takes over what was wanted so far.
pub fn take_wanted() -> Databases {
    BOARD.with(|board| std::mem::take(&mut board.wanted))
}

/// For a worker: it ends because nothing is left to do.
pub fn finished() {
    let database = database();
    BOARD.with(|board| board.unfinished.remove(database));
}

/// How many workers there may be at a time: never all places of the server.
pub fn places() -> usize {
    // SAFETY: a setting of the server, fixed at its start.
    let all = unsafe { pg_sys::max_worker_processes };
    usize::try_from(all / 2 - 1).unwrap_or(1).clamp(1, 8)
}

/// The entry of the launcher.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_sealed_launcher(_argument: pg_sys::Datum) {
    callback!({
        receive_signals();
        // SAFETY: once, before anything else; without a name it gets the shared catalogs only.
        unsafe {
            pg_sys::BackgroundWorkerInitializeConnection(std::ptr::null(), std::ptr::null(), 0);
        }
        BOARD.with(|board| board.launcher = xact::process_id());
        if let Some(mains) = MAINS.get() {
            (mains.launcher)();
        }
    })
}

/// The entry of a database's worker.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_sealed_database(argument: pg_sys::Datum) {
    callback!({
        receive_signals();
        let database = Oid::from(argument.value() as u32);
        // SAFETY: once, before anything else. The user is the bootstrap superuser, as autovacuum's.
        unsafe {
            pg_sys::BackgroundWorkerInitializeConnectionByOid(database, Oid::INVALID, 0);
        }
        for (name, value) in SETTINGS {
            set(name, value);
        }
        if let Some(mains) = MAINS.get() {
            (mains.database)();
        }
    })
}

/// What a database, a role or postgresql.conf may have set, and a worker must not have (AutoVacWorkerMain()
/// in postmaster/autovacuum.c). A lost commit is only work that is done again, so none is waited for.
const SETTINGS: [(&CStr, &CStr); 12] = [
    (c"search_path", c""),
    (c"zero_damaged_pages", c"false"),
    (c"statement_timeout", c"0"),
    (c"lock_timeout", c"0"),
    (c"idle_in_transaction_session_timeout", c"0"),
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    (c"transaction_timeout", c"0"),
    #[cfg(not(any(feature = "pg17", feature = "pg18")))]
    (c"idle_session_timeout", c"0"),
    (c"default_transaction_isolation", c"read committed"),
    (c"default_transaction_read_only", c"off"),
    (c"default_transaction_deferrable", c"off"),
    (c"synchronous_commit", c"off"),
    (c"vacuum_cost_delay", c"2ms"),
    (c"application_name", c"pg_sealed worker"),
];

/// Sets a setting for the rest of this process's life.
pub fn set(name: &CStr, value: &CStr) {
    // SAFETY: copies the strings; the names are the server's own.
    unsafe {
        pg_sys::SetConfigOption(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
        );
    }
}

fn receive_signals() {
    // SAFETY: the server's own handlers, as in ApplyLauncherMain() (replication/logical/launcher.c).
    unsafe {
        signal(libc::SIGHUP, reload);
        signal(libc::SIGTERM, terminate);
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

unsafe fn signal(number: i32, handler: unsafe extern "C-unwind" fn(i32)) {
    // SAFETY: the handler only sets flags and a latch.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::pqsignal(number, Some(handler));
        #[cfg(feature = "pg18")]
        pg_sys::pqsignal_be(number, Some(handler));
    }
}

mod raw {
    unsafe extern "C-unwind" {
        pub fn SignalHandlerForConfigReload(signal: i32);
        pub fn die(signal: i32);
        pub fn ProcessCatchupInterrupt();
    }
}

/// Not guarded: a signal handler.
unsafe extern "C-unwind" fn reload(signal: i32) {
    // SAFETY: async-signal-safe, by its purpose.
    unsafe { raw::SignalHandlerForConfigReload(signal) }
}

/// Not guarded: a signal handler.
unsafe extern "C-unwind" fn terminate(signal: i32) {
    // SAFETY: async-signal-safe, by its purpose.
    unsafe { raw::die(signal) }
}

/// Sleeps until the time is over or somebody sets this process's latch; outside of transactions. Does what
/// signals have asked for: the end of the process, settings read again.
pub fn sleep(time: Option<Duration>) {
    let mut events = pg_sys::WL_LATCH_SET | pg_sys::WL_EXIT_ON_PM_DEATH;
    let mut millis = -1;
    if let Some(time) = time {
        events |= pg_sys::WL_TIMEOUT;
        millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX).clamp(1, 3_600_000);
    }
    // SAFETY: this process's own latch and flags. The configuration is read outside of transactions.
    unsafe {
        let latch = pg_sys::MyLatch;
        pg_sys::WaitLatch(latch, events as i32, millis, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(latch);
        call::check_for_interrupts();
        if (&raw const pg_sys::ConfigReloadPending).read_volatile() != 0 {
            (&raw mut pg_sys::ConfigReloadPending).write_volatile(0);
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
        // Whoever sleeps for long must not hold up the queue of invalidations.
        guard(|| raw::ProcessCatchupInterrupt());
    }
}

/// Runs `body` in a transaction of its own.
pub fn transaction<R>(body: impl FnOnce() -> R) -> Result<R, Failure> {
    // SAFETY: workers call it outside of transactions and have no client.
    unsafe { call::transaction(body) }
}

/// The databases that may be connected to.
pub fn databases() -> Result<Vec<Oid>, Failure> {
    /// `DATCONNLIMIT_INVALID_DB` of `catalog/pg_database.h`: DROP DATABASE was interrupted.
    const INVALID: i32 = -2;
    transaction(|| {
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        let mut found = Vec::new();
        // SAFETY: a scan of a shared catalog; the fixed part of its tuples has the form of this struct.
        unsafe {
            let rel = pg_sys::table_open(pg_sys::DatabaseRelationId, lock);
            let none = std::ptr::null_mut();
            let scan =
                pg_sys::systable_beginscan(rel, Oid::INVALID, false, none, 0, std::ptr::null_mut());
            loop {
                let tuple = pg_sys::systable_getnext(scan);
                if tuple.is_null() {
                    break;
                }
                let form = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_database>();
                if form.datallowconn && form.datconnlimit != INVALID {
                    found.push(form.oid);
                }
            }
            pg_sys::systable_endscan(scan);
            pg_sys::table_close(rel, lock);
        }
        found
    })
}

/// Does what signals have asked for, without sleeping.
pub fn check() {
    call::check_for_interrupts();
}
