//! How fast rows are sealed again, so that others have the server to themselves for the most part.

use std::time::{Duration, Instant};

use pgrx::Spi;

use crate::guc;
use crate::pg::{worker, xact};
use crate::table_am::routine::reseal::Budget;

/// The longest a batch may hold its locks and its snapshot.
const BATCH: Duration = Duration::from_millis(100);
/// How often replicas are asked how far they are.
const LAG_EVERY: Duration = Duration::from_secs(1);

/// What was done lately.
pub struct Throttle {
    began: Instant,
    done: u64,
    rate: Option<i64>,
    asked: Option<Instant>,
}

impl Throttle {
    pub fn new() -> Self {
        Self { began: Instant::now(), done: 0, rate: None, asked: None }
    }

    /// What the next batch may do: a tenth of a second's worth.
    pub fn budget(careful: bool) -> Budget {
        // A careful batch has a subtransaction a row, of which every snapshot holds 64 a transaction.
        let most = if careful { 60 } else { u64::MAX };
        let rows = guc::reseal_rate().map_or(most, |rate| u64::from(rate / 10).clamp(1, most));
        Budget { rows, time: BATCH, careful }
    }

    /// How long to sleep after a batch that took `time` and sealed `rows` rows again. One that only read
    /// leaves the processor and the disk to others for as long as it used them.
    pub fn pause(&mut self, rows: u64, time: Duration) -> Duration {
        self.done += rows;
        let elapsed = self.began.elapsed();
        if elapsed >= Duration::from_secs(2) {
            self.rate = Some((self.done as f64 / elapsed.as_secs_f64()) as i64);
            self.began = Instant::now();
            self.done = 0;
        }
        match guc::reseal_rate() {
            None => Duration::ZERO,
            Some(rate) => {
                let due = Duration::from_secs_f64(rows as f64 / f64::from(rate));
                due.saturating_sub(time).max(if rows == 0 { time } else { Duration::ZERO })
            }
        }
    }

    /// Rows a second, over the last seconds.
    pub fn rate(&self) -> Option<i64> {
        self.rate
    }

    /// Whether a replica is further behind than it may be.
    pub fn replica_is_behind(&mut self) -> bool {
        let Some(limit) = guc::reseal_max_lag() else { return false };
        if self.asked.is_some_and(|at| at.elapsed() < LAG_EVERY) {
            return false;
        }
        let lag = worker::transaction(|| {
            xact::with_snapshot(|| {
                Spi::get_one::<i64>(
                    "SELECT pg_catalog.max(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), \
                     COALESCE(replay_lsn, flush_lsn, write_lsn, sent_lsn)))::pg_catalog.int8 \
                     FROM pg_catalog.pg_stat_get_wal_senders()",
                )
            })
        });
        let behind = matches!(lag, Ok(Ok(Some(lag))) if lag / 1024 > limit);
        // Asked again at once, as long as it is.
        self.asked = (!behind).then(Instant::now);
        behind
    }
}
