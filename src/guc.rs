//! The settings, all named `sealed.*`.

use std::time::Duration;

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};

/// What happens when an index of PostgreSQL's own would hold values of a sealed table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PostgresGucEnum)]
pub enum PlaintextIndex {
    /// `CREATE INDEX` is refused, and so are, before 18, PRIMARY KEY and UNIQUE; the column of a surrogate key becomes plain.
    /// From 18 on constraints that cannot have sealed keys are made, with a warning.
    #[name = c"constraints"]
    Constraints,
    /// All are refused, and no column becomes plain by itself.
    #[name = c"error"]
    Error,
    /// All are made, with a warning.
    #[name = c"warning"]
    Warning,
    /// All are made.
    #[name = c"allow"]
    Allow,
}

/// When the columns in clear of a row are verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PostgresGucEnum)]
pub enum VerifyClear {
    /// When a sealed column of the row is opened.
    #[name = c"lazy"]
    Lazy,
    /// Whenever one of them is read.
    #[name = c"always"]
    Always,
}

/// What the cipher of rows is computed with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PostgresGucEnum)]
pub enum CipherBackend {
    /// The fastest that the processor has.
    #[name = c"auto"]
    Auto,
    /// VAES and VPCLMULQDQ on registers of 512 bits.
    #[name = c"vaes512"]
    Vaes512,
    /// AES-NI and PCLMULQDQ.
    #[name = c"aesni"]
    Aesni,
    /// AES and PMULL of aarch64.
    #[name = c"aespmull"]
    AesPmull,
    /// No instructions of our own choice.
    #[name = c"portable"]
    Portable,
}

static CIPHER_BACKEND: GucSetting<CipherBackend> =
    GucSetting::<CipherBackend>::new(CipherBackend::Auto);
static VERIFY_CLEAR: GucSetting<VerifyClear> = GucSetting::<VerifyClear>::new(VerifyClear::Lazy);
static PLAINTEXT_INDEX: GucSetting<PlaintextIndex> =
    GucSetting::<PlaintextIndex>::new(PlaintextIndex::Constraints);
static PLAINTEXT_STATISTICS: GucSetting<bool> = GucSetting::<bool>::new(false);
static KEYRING_SIZE: GucSetting<i32> = GucSetting::<i32>::new(4096);
static RESEAL: GucSetting<bool> = GucSetting::<bool>::new(true);
static RESEAL_RATE: GucSetting<i32> = GucSetting::<i32>::new(DEFAULT_RESEAL_RATE);
static RESEAL_MAX_LAG: GucSetting<i32> = GucSetting::<i32>::new(0);
static PROVIDER_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(30_000);

/// Rows a second beside which pgbench keeps more than nine tenths of its throughput (docs/operations.md).
const DEFAULT_RESEAL_RATE: i32 = 10_000;

/// Makes the settings known. Only while `shared_preload_libraries` is being loaded.
pub fn init() {
    GucRegistry::define_enum_guc(
        c"sealed.plaintext_index",
        c"What to do when an index would store values of a sealed table in plaintext.",
        c"\"constraints\" refuses them; before PostgreSQL 18 it labels the columns of surrogate keys plain.",
        &PLAINTEXT_INDEX,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"sealed.verify_clear",
        c"When columns in clear of rows with sealed columns are verified.",
        c"\"lazy\" does it when a sealed column of the row is opened; \"always\" opens one for it.",
        &VERIFY_CLEAR,
        GucContext::Userset,
        GucFlags::default(),
    );
    // At server start only: key schedules are made for one backend and kept, and a backend that is not to be
    // trusted any more must be out of use in all sessions and workers at once. What is sealed is the same anyway.
    GucRegistry::define_enum_guc(
        c"sealed.cipher_backend",
        c"Which instructions rows are sealed and opened with.",
        c"\"auto\" takes the fastest that the processor has. What is stored does not depend on it.",
        &CIPHER_BACKEND,
        GucContext::Postmaster,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"sealed.plaintext_statistics",
        c"Lets ANALYZE store statistics of sealed tables, values included, in pg_statistic.",
        c"Off, ANALYZE of a sealed table counts its rows and keeps no value.",
        &PLAINTEXT_STATISTICS,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"sealed.keyring_size",
        c"How many unlocked keys the server holds in its secret memory.",
        c"Keys that find no place are unwrapped again by each session that needs them.",
        &KEYRING_SIZE,
        64,
        1 << 20,
        GucContext::Postmaster,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"sealed.provider_timeout",
        c"How long a key provider may take to answer.",
        c"A call that takes longer is given up, with an error.",
        &PROVIDER_TIMEOUT,
        100,
        600_000,
        GucContext::Suset,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_bool_guc(
        c"sealed.reseal",
        c"Lets a new data key start a worker that seals the old rows again.",
        c"Off, old rows stay under their key until sealed.rotate_data_key() is called with it on.",
        &RESEAL,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"sealed.reseal_rate",
        c"How many rows a second the worker seals again; 0 is as many as it can.",
        c"",
        &RESEAL_RATE,
        0,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"sealed.reseal_max_lag",
        c"How far a replica may be behind before the worker waits for it; 0 is any distance.",
        c"In bytes of WAL that the slowest connected replica has not replayed.",
        &RESEAL_MAX_LAG,
        0,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_KB,
    );
    crate::pg::hook::reserve_setting_prefix();
}

/// What to do about an index in plaintext.
pub fn plaintext_index() -> PlaintextIndex {
    PLAINTEXT_INDEX.get()
}

/// When columns in clear are verified.
#[inline]
pub fn verify_clear() -> VerifyClear {
    VERIFY_CLEAR.get()
}

/// What rows are to be sealed and opened with.
pub fn cipher_backend() -> CipherBackend {
    CIPHER_BACKEND.get()
}

/// Whether ANALYZE may store values of sealed tables.
pub fn plaintext_statistics() -> bool {
    PLAINTEXT_STATISTICS.get()
}

/// Whether a new data key starts the worker.
pub fn reseal() -> bool {
    RESEAL.get()
}

/// Rows a second that may be sealed again; `None` for as many as can be.
pub fn reseal_rate() -> Option<u32> {
    u32::try_from(RESEAL_RATE.get()).ok().filter(|rate| *rate > 0)
}

/// Kilobytes that a replica may be behind; `None` for any.
pub fn reseal_max_lag() -> Option<i64> {
    Some(i64::from(RESEAL_MAX_LAG.get())).filter(|lag| *lag > 0)
}

/// How many entries the keyring has.
pub fn keyring_size() -> usize {
    usize::try_from(KEYRING_SIZE.get()).unwrap_or(0)
}

/// How long a provider may take.
pub fn provider_timeout() -> Duration {
    Duration::from_millis(u64::try_from(PROVIDER_TIMEOUT.get()).unwrap_or(0))
}
