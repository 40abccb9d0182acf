//! One operation: the step that is next, in a transaction, and what it means for the one after it.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use pgrx::{PgSqlErrorCode, pg_sys};
use sealed_lifecycle::{Found, Kind, Left, Pace, Phase, Run, State, gives_up};

use super::indexes;
use super::pass::{Totals, Values};
use super::throttle::Throttle;
use crate::error::Error;
use crate::keyring::{self, Operation};
use crate::pg::call::Failure;
use crate::pg::catalog::Oid;
use crate::pg::{class, fault, method, worker, xact};
use crate::table_am::routine::reseal::{
    self, Access, Batch, Finding, Place, Stuck, Table, Target, Verified, still_runs, with_table,
};
use crate::table_am::routine::scrub::scrub;
use crate::table_am::{missing, mixed};

/// How often the stored operation is brought up to date while a phase lasts.
const STORE_EVERY: Duration = Duration::from_secs(1);
/// The longest pause between two attempts at what others keep from being done.
const LONGEST: Duration = Duration::from_secs(30);
/// What another session can make of a step: a lock that is not to be had for now, a conflict, a deadlock, a
/// cancel. Tried again, without a word.
const OF_OTHERS: [&str; 4] = ["55P03", "40001", "40P01", "57014"];
/// Values of which the rows are looked for in one go.
const VALUES: usize = 200_000;
/// How often no row may be found to refer to a value before none does: one that is updated while the table
/// is gone through may be missed.
const MISSES: u8 = 3;

/// Blocks of which the free space is overwritten in one step: a megabyte.
const SCRUB: u32 = 128;

/// What to do after a step.
pub enum Next {
    /// The next one, after a while.
    After(Duration),
    /// Nothing: the operation is over, or was stopped.
    Over,
}

/// An operation, as far as it lives in this process.
pub struct Job {
    relation: Oid,
    /// As it was stored when `run` began.
    kind: Kind,
    run: Option<Run<Target>>,
    due: Instant,
    /// Waits in a row, for a growing pause.
    waits: u32,
    failures: u32,
    /// Some batch met damage.
    careful: bool,
    stored: Instant,
    writers: Option<Vec<pg_sys::VirtualTransactionId>>,
    next_block: u32,
    clean: Verified,
    /// Rows that did not open.
    damaged: HashSet<Place>,
    /// Large values of theirs.
    damaged_values: HashSet<u32>,
    values: Values,
    touched: Vec<u32>,
    total: Totals,
    /// A pass is to begin.
    anew: bool,
    message: Option<String>,
    /// Relations whose free space was overwritten; the catalogs were vacuumed before the first.
    scrubbed: usize,
    catalogs_vacuumed: bool,
}

/// How a step ended.
enum Step {
    Found(Found),
    /// Somebody has the table locked.
    Busy,
    /// The operation is over or was stopped, or the table is gone.
    Over,
}

impl Job {
    pub fn new(relation: Oid) -> Self {
        let now = Instant::now();
        Self {
            relation,
            kind: Kind::Rotate,
            run: None,
            due: now,
            waits: 0,
            failures: 0,
            careful: false,
            stored: now,
            writers: None,
            next_block: 0,
            clean: Verified::default(),
            damaged: HashSet::new(),
            damaged_values: HashSet::new(),
            values: Values::default(),
            touched: Vec::new(),
            total: Totals::default(),
            anew: false,
            message: None,
            scrubbed: 0,
            catalogs_vacuumed: false,
        }
    }

    pub fn relation(&self) -> Oid {
        self.relation
    }

    pub fn due(&self) -> Instant {
        self.due
    }

    /// Does one step.
    pub fn step(&mut self, throttle: &mut Throttle) -> Next {
        let began = Instant::now();
        let before = self.total.rows;
        let done = match self.run.as_ref().map(Run::phase) {
            Some(Phase::Vacuum) => self.vacuum(throttle),
            Some(Phase::Scrub) if self.kind == Kind::Seal && !self.catalogs_vacuumed => {
                self.vacuum_catalogs().and_then(|()| self.transaction(throttle))
            }
            _ => self.transaction(throttle),
        };
        match done {
            Ok(Step::Over) => Next::Over,
            Ok(Step::Busy) => {
                self.failures = 0;
                self.later(Duration::from_millis(200))
            }
            Ok(Step::Found(_)) => {
                self.failures = 0;
                let rows = self.total.rows.saturating_sub(before);
                let pause = throttle.pause(rows, began.elapsed());
                let wait = self.due.saturating_duration_since(Instant::now());
                Next::After(if wait.is_zero() { pause } else { Duration::ZERO })
            }
            // Somebody has the table: no fault.
            Err(failure) if failure.code == PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE as i32 => {
                self.touched.clear();
                self.later(Duration::from_millis(200))
            }
            Err(failure) => self.failed(&failure),
        }
    }

    fn later(&mut self, pause: Duration) -> Next {
        self.due = Instant::now() + pause;
        Next::After(Duration::ZERO)
    }

    fn transaction(&mut self, throttle: &Throttle) -> Result<Step, Failure> {
        if let Some(run) = &self.run {
            fault::place_of(|| format!("{}:{}:begin", self.kind.name(), run.phase().name()));
        }
        let last = matches!(self.run.as_ref().map(Run::phase), Some(Phase::Retire));
        worker::set(c"lock_timeout", if last { c"1s" } else { c"100ms" });
        let rows = matches!(self.run.as_ref().map(Run::phase), Some(Phase::Rows | Phase::Values));
        worker::transaction(|| {
            if rows {
                reseal::serializable();
            }
            xact::with_snapshot(|| self.try_step(throttle, None).unwrap_or_else(|e| e.report()))
        })
    }

    /// VACUUM has transactions of its own, and nobody is kept waiting for this operation's lock meanwhile.
    fn vacuum(&mut self, throttle: &Throttle) -> Result<Step, Failure> {
        worker::set(c"lock_timeout", c"10s");
        let done = reseal::vacuum(self.relation).and_then(|()| indexes::reseal(self.relation));
        worker::set(c"lock_timeout", c"100ms");
        done?;
        worker::transaction(|| {
            xact::with_snapshot(|| {
                self.try_step(throttle, Some(Found::Done)).unwrap_or_else(|e| e.report())
            })
        })
    }

    /// Values of the table that ANALYZE had sampled, and defaults for its older rows, are dead rows of
    /// catalogs by now.
    fn vacuum_catalogs(&mut self) -> Result<(), Failure> {
        worker::set(c"lock_timeout", c"10s");
        for catalog in class::KEPT_VALUES_OF {
            reseal::vacuum(catalog)?;
        }
        self.catalogs_vacuumed = true;
        Ok(())
    }

    fn try_step(&mut self, throttle: &Throttle, found: Option<Found>) -> Result<Step, Error> {
        keyring::lock_operation(self.relation);
        let Some(mut operation) = keyring::operation(self.relation)? else { return Ok(Step::Over) };
        if operation.state != State::Running {
            return Ok(Step::Over);
        }
        // A table that was being sealed may be on its way back by now.
        if self.kind != operation.kind {
            self.kind = operation.kind;
            self.run = None;
            self.forget();
        }
        let phase = self.run.as_ref().map(Run::phase);
        if phase == Some(Phase::Retire) && self.kind == Kind::Unseal {
            // It becomes a heap table. Before any other lock on it: who waits for more than he has may
            // deadlock; and before the look at what its rows are to reach.
            method::lock_alone(self.relation);
        }
        let Some(mut newest) = reseal::target(self.relation)? else {
            return self.give_up(operation, "the table has no key");
        };
        if let Some(run) = self.run.as_ref().filter(|run| run.phase() == Phase::Scrub) {
            // Every row reached it, and what it was for is gone.
            newest.natts = run.target().natts;
        }
        let mut run = match self.run.take() {
            Some(run) => run,
            None => {
                let stored = operation.target.map(|layout| Target { layout, ..newest });
                let run = Run::resume(operation.phase, stored, newest);
                if run.phase() == Phase::Rows && operation.phase == Phase::Rows {
                    self.next_block = u32::try_from(operation.next_block).unwrap_or(0);
                }
                run
            }
        };
        if run.retarget(newest) {
            self.forget();
        }
        let phase = run.phase();
        let step = match found {
            // The newest layout is another one since VACUUM began.
            Some(_) if phase != Phase::Vacuum => Step::Busy,
            Some(found) => Step::Found(found),
            None if phase == Phase::Vacuum => Step::Busy,
            None => self.execute(&run, &mut operation)?,
        };
        fault::place_of(|| format!("{}:{}:done", operation.kind.name(), phase.name()));
        let pace = match &step {
            Step::Found(found) => run.found(*found),
            Step::Busy => Pace::Now,
            Step::Over => {
                return self.give_up(operation, "the table is no longer a sealed one");
            }
        };
        let (next, pass) = (run.phase(), run.pass());
        let over = matches!(pace, Pace::Finished | Pace::Stuck);
        if next != phase && !over {
            self.enter(next);
        }
        operation.phase = next;
        operation.target = Some(run.target().layout);
        operation.pass = i32::try_from(pass).unwrap_or(i32::MAX);
        self.run = Some(run);
        self.settle(pace, &mut operation)?;
        if next != phase || pace != Pace::Now || self.stored.elapsed() >= STORE_EVERY {
            operation.rate = throttle.rate();
            self.store(operation)?;
            fault::place_of(|| format!("{}:{}:stored", self.kind.name(), phase.name()));
        }
        Ok(if over { Step::Over } else { step })
    }

    /// What the pace means for this job and for the stored operation.
    fn settle(&mut self, pace: Pace, operation: &mut Operation) -> Result<(), Error> {
        match pace {
            Pace::Now => {}
            Pace::Later => {
                self.due = Instant::now()
                    + (Duration::from_millis(250) * 2u32.pow(self.waits.min(7))).min(LONGEST);
                self.waits = self.waits.saturating_add(1);
            }
            Pace::Finished => {
                operation.state = State::Done;
                self.message = None;
            }
            Pace::Stuck => {
                operation.state = State::Failed;
                self.message = Some(self.says_stuck());
            }
        }
        Ok(())
    }

    fn store(&mut self, mut operation: Operation) -> Result<(), Error> {
        let total = std::mem::take(&mut self.total);
        operation.rows_done += total.rows as i64;
        operation.bytes += total.bytes as i64;
        operation.rows_skipped = total.skipped as i64;
        self.total.skipped = total.skipped;
        operation.next_block = i64::from(self.next_block);
        operation.message = self.message.clone();
        self.stored = Instant::now();
        operation.store()
    }

    fn give_up(&mut self, mut operation: Operation, why: &str) -> Result<Step, Error> {
        operation.state = State::Cancelled;
        self.message = Some(why.to_owned());
        self.store(operation)?;
        Ok(Step::Over)
    }

    /// All that is known of the table is known of another target.
    fn forget(&mut self) {
        self.writers = None;
        self.clean = Verified::default();
        self.values = Values::default();
        self.enter(Phase::Rows);
    }

    fn enter(&mut self, phase: Phase) {
        // The two take turns while dead rows may not be removed.
        if !matches!(phase, Phase::Vacuum | Phase::Verify) {
            self.message = None;
            self.waits = 0;
        }
        match phase {
            // What was verified before is clean for good.
            Phase::Rows => {
                self.next_block = self.clean.block;
                self.anew = true;
                self.damaged.clear();
                self.damaged_values.clear();
            }
            Phase::Values => {
                self.next_block = self.clean.block;
                let misses = std::mem::take(&mut self.values.misses);
                let chunk_block = Some(self.clean.chunk_block);
                self.values = Values { chunk_block, misses, ..Values::default() };
            }
            Phase::Scrub => {
                self.next_block = 0;
                self.scrubbed = 0;
                self.catalogs_vacuumed = false;
            }
            _ => {}
        }
    }

    fn execute(&mut self, run: &Run<Target>, operation: &mut Operation) -> Result<Step, Error> {
        let (relation, target) = (self.relation, run.target());
        if run.phase() == Phase::Wait {
            return Ok(Step::Found(self.wait()));
        }
        if run.phase() == Phase::Scrub {
            return Ok(Step::Found(self.scrub(operation)?));
        }
        let access = with_table(relation, target, |table| {
            Ok::<_, Error>(match run.phase() {
                Phase::Announce => {
                    keyring::announce(relation)?;
                    Found::Done
                }
                Phase::Missing => {
                    missing::reseal(relation)?;
                    Found::Done
                }
                Phase::Rows => self.rows(table, operation),
                Phase::Values => self.values(table, operation),
                Phase::Verify => self.verify(table, operation)?,
                // One that was built meanwhile. None is now: our lock on the table keeps that off.
                Phase::Retire if indexes::have_old_keys(relation, target)? => Found::More,
                Phase::Retire => {
                    keyring::retire_keys(relation)?;
                    mixed::finish(relation)?;
                    Found::Done
                }
                Phase::Wait | Phase::Vacuum | Phase::Scrub => Found::Done,
            })
        });
        match access {
            Access::Gone => Ok(Step::Over),
            Access::Busy => Ok(Step::Busy),
            Access::Open(found) => Ok(Step::Found(found?)),
        }
    }

    /// Overwrites what was removed: of the table, its large values, and what the catalog had kept of its values.
    fn scrub(&mut self, operation: &mut Operation) -> Result<Found, Error> {
        if self.kind != Kind::Seal || !class::lock_if_there(self.relation) {
            return Ok(Found::Done);
        }
        let relations = [self.relation, method::toast_of(self.relation)]
            .into_iter()
            .filter(|oid| *oid != Oid::INVALID)
            .chain(class::KEPT_VALUES);
        let Some(relation) = relations.into_iter().nth(self.scrubbed) else {
            keyring::note_plaintext_wal(self.relation)?;
            return Ok(Found::Done);
        };
        let scrubbed = scrub(relation, self.next_block, SCRUB);
        operation.blocks = i64::from(scrubbed.blocks);
        self.next_block += SCRUB;
        if self.next_block >= scrubbed.blocks {
            self.scrubbed += 1;
            self.next_block = 0;
        }
        Ok(Found::More)
    }

    fn wait(&mut self) -> Found {
        let writers = self.writers.get_or_insert_with(|| reseal::writers(self.relation));
        writers.retain(|writer| still_runs(*writer));
        if writers.is_empty() {
            return Found::Done;
        }
        self.message = Some(format!(
            "waits for {} transactions that wrote to the table before the new key was there",
            writers.len()
        ));
        Found::Busy
    }

    fn note(&mut self, batch: &Batch) -> Found {
        self.total.rows += batch.done;
        self.total.bytes += batch.bytes;
        self.total.skipped += batch.skipped;
        self.damaged.extend(batch.damaged.iter().copied());
        self.damaged_values.extend(&batch.damaged_values);
        self.touched.extend(&batch.touched);
        match batch.next {
            Some(block) => {
                self.next_block = block;
                Found::More
            }
            None => Found::Done,
        }
    }

    fn rows(&mut self, table: &Table, operation: &mut Operation) -> Found {
        // Of the batch before: dead by now, unless somebody still sees the old versions.
        table.reclaim(&std::mem::take(&mut self.touched));
        // Until a pass begins, those of the one before are shown.
        if std::mem::take(&mut self.anew) {
            self.total.skipped = 0;
        }
        let batch = table.rows(self.next_block, Throttle::budget(self.careful));
        operation.blocks = i64::from(batch.blocks);
        self.note(&batch)
    }

    /// Looks for old chunks, then for the rows that refer to them, until there are none.
    fn values(&mut self, table: &Table, operation: &mut Operation) -> Found {
        let budget = Throttle::budget(self.careful);
        if !self.values.collected {
            let from = self.values.chunk_block.unwrap_or(0);
            let wanted = &mut self.values.wanted;
            self.values.chunk_block = table.old_values(from, budget.time, VALUES, wanted);
            let full = wanted.len() >= VALUES;
            if self.values.chunk_block.is_some() && !full {
                return Found::More;
            }
            self.values.collected = true;
            self.next_block = 0;
        }
        if self.values.wanted.is_empty() {
            return Found::Done;
        }
        let batch = table.rows_of_values(self.next_block, &mut self.values.wanted, budget);
        operation.blocks = i64::from(batch.blocks);
        if self.note(&batch) == Found::More && !self.values.wanted.is_empty() {
            return Found::More;
        }
        for id in self.values.wanted.drain() {
            *self.values.misses.entry(id).or_default() += 1;
        }
        if self.values.chunk_block.is_none() {
            return Found::Done;
        }
        self.values.collected = false;
        Found::More
    }

    fn verify(&mut self, table: &Table, operation: &mut Operation) -> Result<Found, Error> {
        let mut lost = self.lost_values();
        lost.extend(&self.damaged_values);
        let stuck = Stuck { rows: &self.damaged, values: &lost };
        let (at, finding) = table.verify(self.clean, &stuck, Throttle::budget(false).time);
        self.clean = at;
        self.next_block = at.block;
        operation.blocks = i64::from(at.blocks);
        Ok(match finding {
            Finding::More => Found::More,
            Finding::Clean if at.stuck > 0 => {
                // Looked at again from the beginning, should somebody remove them and resume.
                Found::Left(Left::Stuck)
            }
            Finding::Clean if indexes::have_old_keys(self.relation, table.target())? => {
                self.message =
                    Some("builds indexes anew whose keys are under older keys".to_owned());
                Found::Left(Left::Dead)
            }
            Finding::Clean => Found::Done,
            Finding::Visible => Found::Left(Left::Visible),
            Finding::Dead => {
                self.message = Some(format!(
                    "waits for old snapshots, prepared transactions or replication slots that keep dead rows \
                     from being removed (block {} of {}, chunks: block {} of {})",
                    at.block, at.blocks, at.chunk_block, at.chunk_blocks
                ));
                Found::Left(Left::Dead)
            }
        })
    }

    /// Values that no row refers to.
    fn lost_values(&self) -> HashSet<u32> {
        let misses = self.values.misses.iter();
        misses.filter(|(_, misses)| **misses >= MISSES).map(|(id, _)| *id).collect()
    }

    fn says_stuck(&self) -> String {
        let lost = self.lost_values().len();
        let mut says = Vec::new();
        if !self.damaged.is_empty() {
            says.push(format!(
                "{} rows do not open (sealed.verify finds them)",
                self.damaged.len()
            ));
        }
        if lost > 0 {
            says.push(format!("{lost} large values belong to no row (VACUUM FULL removes them)"));
        }
        format!("{}; then sealed.resume goes on", says.join(", "))
    }

    /// After an ERROR, which undid the step.
    fn failed(&mut self, failure: &Failure) -> Next {
        let code = sqlstate(failure.code);
        // What the step had found is gone with it.
        self.run = None;
        self.writers = None;
        self.touched.clear();
        self.values = Values::default();
        if OF_OTHERS.contains(&code.as_str()) {
            return self.later(Duration::from_millis(500));
        }
        self.failures += 1;
        let name = worker::transaction(|| class::relation_name(self.relation));
        let name = name.unwrap_or_default();
        let Failure { message, .. } = failure;
        xact::log_warning(&format!(
            "pg_sealed could not go on sealing \"{name}\" again: {message} ({code})"
        ));
        self.careful |= reseal::says_damage(failure.code);
        let last = gives_up(self.failures, &code);
        let relation = self.relation;
        // Not the message, which may hold a value of a row: this is stored in plaintext.
        let says = format!("error {code}, see the server's log");
        let stored = worker::transaction(|| {
            let store = || {
                keyring::lock_operation(relation);
                let Some(mut operation) = keyring::operation(relation)? else { return Ok(()) };
                if operation.state == State::Running {
                    operation.message = Some(says);
                    if last {
                        operation.state = State::Failed;
                    }
                    operation.store()?;
                }
                Ok::<(), Error>(())
            };
            xact::with_snapshot(|| store().unwrap_or_else(|e| e.report()));
        });
        if last && stored.is_ok() {
            return Next::Over;
        }
        let pause = Duration::from_millis(500) * 2u32.pow(self.failures.min(7) - 1);
        self.later(if self.careful && self.failures == 1 {
            Duration::ZERO
        } else {
            pause.min(LONGEST)
        })
    }
}

/// The five characters of a SQLSTATE (`unpack_sql_state`).
fn sqlstate(code: i32) -> String {
    (0..5).map(|i| (((code >> (6 * i)) & 0x3f) as u8 + b'0') as char).collect()
}
