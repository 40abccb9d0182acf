//! The machine against a model of a table: sessions with layouts they remember, rows of every
//! visibility, snapshots that keep the dead, two rotations, rollbacks, crashes at any point, a drop,
//! the destruction of keys that are retired.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use sealed_lifecycle::{Found, KeyState, Left, Pace, Phase, Run, State};

const SESSIONS: usize = 3;
const BLOCKS: usize = 3;

#[derive(Clone, Debug)]
enum Event {
    /// A session begins and locks the table: it learns which layout is the newest.
    Begin(usize),
    Insert(usize),
    /// A session replaces a visible row.
    Update(usize, usize),
    Commit(usize),
    Abort(usize),
    /// A snapshot that keeps dead rows, and its end.
    Snapshot(bool),
    /// A transaction makes a newer layout and an operation, if there is none.
    Rotate,
    /// It ends.
    RotateEnds {
        commit: bool,
    },
    /// The worker does one step, or begins if there is none.
    Work,
    /// The worker is killed in the middle of a step.
    WorkLost,
    /// The server crashes.
    Crash,
    Pause,
    Resume,
    Cancel,
    /// Every key that may be destroyed is.
    Destroy,
    Drop,
}

#[derive(Clone, Debug)]
struct Row {
    layout: u32,
    block: usize,
    /// The session whose open transaction wrote it.
    by: Option<usize>,
    /// The session whose open transaction replaced it.
    replaced_by: Option<usize>,
    dead: bool,
}

#[derive(Clone, Debug)]
struct Operation {
    state: State,
    phase: Phase,
    target: Option<u32>,
}

struct Worker {
    run: Run<u32>,
    waits_for: BTreeSet<(usize, u64)>,
    clean: usize,
}

#[derive(Default)]
struct Model {
    /// Committed layouts, the newest last, and the state of their keys.
    keys: BTreeMap<u32, KeyState>,
    pending: Option<u32>,
    sessions: [Option<(u32, u64)>; SESSIONS],
    transactions: u64,
    rows: Vec<Row>,
    operation: Option<Operation>,
    worker: Option<Worker>,
    /// The layout of a kept value.
    kept: u32,
    snapshot: bool,
    next_layout: u32,
    dropped: bool,
}

impl Model {
    fn new() -> Self {
        let mut model = Self { next_layout: 2, kept: 1, ..Self::default() };
        model.keys.insert(1, KeyState::Active);
        model
    }

    fn newest(&self) -> u32 {
        *self.keys.keys().last().expect("a table has a layout")
    }

    fn set(&mut self, layout: u32, next: KeyState) {
        let state = self.keys.get_mut(&layout).expect("it is there");
        if *state != next {
            assert!(state.may_become(next), "{state} to {next}");
            *state = next;
        }
    }

    fn play(&mut self, event: &Event) {
        if self.dropped {
            return;
        }
        match *event {
            Event::Begin(s) if self.sessions[s].is_none() => {
                self.transactions += 1;
                self.sessions[s] = Some((self.newest(), self.transactions));
            }
            Event::Insert(s) => self.write(s, s + self.rows.len()),
            Event::Update(s, at) if self.sessions[s].is_some() => {
                let free = |r: &Row| !r.dead && r.by.is_none() && r.replaced_by.is_none();
                let found: Vec<_> = (0..self.rows.len()).filter(|&i| free(&self.rows[i])).collect();
                if let Some(&i) = found.get(at % found.len().max(1)) {
                    self.rows[i].replaced_by = Some(s);
                    self.write(s, i);
                }
            }
            Event::Commit(s) => self.end(s, true),
            Event::Abort(s) => self.end(s, false),
            Event::Snapshot(on) => self.snapshot = on,
            // The table's lock: one at a time.
            Event::Rotate if self.pending.is_none() => {
                self.pending = Some(self.next_layout);
                self.next_layout += 1;
            }
            Event::RotateEnds { commit } => {
                if let Some(layout) = self.pending.take()
                    && commit
                {
                    self.keys.insert(layout, KeyState::Active);
                    if !self.operation.as_ref().is_some_and(|o| o.state.is_open()) {
                        let (state, phase) = (State::Running, Phase::Announce);
                        self.operation = Some(Operation { state, phase, target: None });
                    }
                }
            }
            Event::Work => self.work(),
            Event::WorkLost => self.worker = None,
            Event::Crash => {
                self.worker = None;
                self.pending = None;
                self.snapshot = false;
                (0..SESSIONS).for_each(|s| self.end(s, false));
            }
            Event::Pause => self.change(State::Paused),
            Event::Resume => self.change(State::Running),
            Event::Cancel => {
                self.change(State::Cancelled);
                if self.operation.as_ref().is_some_and(|o| o.state == State::Cancelled) {
                    let retiring: Vec<_> =
                        self.keys.iter().filter(|(_, k)| **k == KeyState::Retiring).collect();
                    let retiring: Vec<_> = retiring.into_iter().map(|(l, _)| *l).collect();
                    retiring.into_iter().for_each(|l| self.set(l, KeyState::Active));
                }
            }
            Event::Destroy => {
                for layout in self.keys.keys().copied().collect::<Vec<_>>() {
                    if self.keys[&layout] == KeyState::Retired {
                        self.set(layout, KeyState::Destroyed);
                    }
                }
            }
            Event::Drop => {
                self.dropped = true;
                self.rows.clear();
                self.operation = None;
                self.worker = None;
            }
            _ => {}
        }
    }

    fn change(&mut self, next: State) {
        if let Some(operation) = &mut self.operation
            && operation.state.may_become(next)
        {
            operation.state = next;
        }
    }

    /// A session seals under what it remembers, whatever is the newest by now.
    fn write(&mut self, s: usize, block: usize) {
        if let Some((layout, _)) = self.sessions[s] {
            let block = block % BLOCKS;
            self.rows.push(Row { layout, block, by: Some(s), replaced_by: None, dead: false });
        }
    }

    fn end(&mut self, s: usize, commit: bool) {
        if self.sessions[s].take().is_none() {
            return;
        }
        for row in &mut self.rows {
            if row.by == Some(s) {
                row.by = None;
                row.dead |= !commit;
            }
            if row.replaced_by == Some(s) {
                row.replaced_by = None;
                row.dead |= commit;
            }
        }
    }

    fn work(&mut self) {
        let newest = self.newest();
        let Some(operation) = self.operation.clone() else { return };
        if operation.state != State::Running {
            self.worker = None;
            return;
        }
        let mut worker = match self.worker.take() {
            Some(worker) => worker,
            None => {
                let run = Run::resume(operation.phase, operation.target, newest);
                let waits_for = self.open();
                Worker { run, waits_for, clean: 0 }
            }
        };
        if worker.run.retarget(newest) {
            worker.clean = 0;
        }
        let found = self.step(&mut worker);
        let pace = worker.run.found(found);
        let operation = self.operation.as_mut().expect("it is running");
        operation.phase = worker.run.phase();
        operation.target = Some(worker.run.target());
        match pace {
            Pace::Now | Pace::Later => self.worker = Some(worker),
            Pace::Finished => operation.state = State::Done,
            Pace::Stuck => operation.state = State::Failed,
        }
    }

    fn open(&self) -> BTreeSet<(usize, u64)> {
        let open = |s: usize| self.sessions[s].map(|(_, id)| (s, id));
        (0..SESSIONS).filter_map(open).collect()
    }

    fn step(&mut self, worker: &mut Worker) -> Found {
        let target = worker.run.target();
        match worker.run.phase() {
            Phase::Announce => {
                let older: Vec<_> = self.keys.keys().copied().filter(|l| *l != target).collect();
                for layout in older {
                    if self.keys[&layout] == KeyState::Active {
                        self.set(layout, KeyState::Retiring);
                    }
                }
                worker.waits_for = self.open();
                Found::Done
            }
            Phase::Wait => {
                let open = self.open();
                worker.waits_for.retain(|id| open.contains(id));
                if worker.waits_for.is_empty() { Found::Done } else { Found::Busy }
            }
            Phase::Missing => {
                self.kept = target;
                Found::Done
            }
            Phase::Rows => {
                let mut new = Vec::new();
                for row in &mut self.rows {
                    let visible = !row.dead && row.by.is_none();
                    if visible && row.replaced_by.is_none() && row.layout != target {
                        row.dead = true;
                        new.push(Row { layout: target, dead: false, ..row.clone() });
                    }
                }
                self.rows.extend(new);
                Found::Done
            }
            Phase::Values => Found::Done,
            Phase::Vacuum => {
                let keep = self.snapshot;
                self.rows.retain(|row| !row.dead || keep);
                Found::Done
            }
            Phase::Verify => {
                let block = worker.clean;
                let left = self
                    .rows
                    .iter()
                    .filter(|r| r.block == block && r.layout != target)
                    .collect::<Vec<_>>();
                if left.iter().any(|r| !r.dead && r.replaced_by.is_none()) {
                    return Found::Left(Left::Visible);
                }
                if !left.is_empty() {
                    return Found::Left(Left::Dead);
                }
                worker.clean += 1;
                if worker.clean == BLOCKS { Found::Done } else { Found::More }
            }
            Phase::Retire => {
                for layout in self.keys.keys().copied().collect::<Vec<_>>() {
                    if layout != target && self.keys[&layout] == KeyState::Retiring {
                        self.set(layout, KeyState::Retired);
                    }
                }
                Found::Done
            }
            Phase::Scrub => Found::Done,
        }
    }

    /// What must hold at every moment.
    fn check(&self) {
        if self.dropped {
            return;
        }
        for row in &self.rows {
            let state = self.keys[&row.layout];
            assert!(state.may_have_rows(), "a row under layout {}, {state}", row.layout);
        }
        for (layout, _) in self.sessions.iter().flatten() {
            let state = self.keys[layout];
            assert!(state.may_have_rows(), "a session seals under layout {layout}, {state}");
        }
        assert!(self.keys[&self.kept].may_have_rows(), "a kept value under layout {}", self.kept);
        assert!(self.keys[&self.newest()].may_have_rows());
    }
}

fn event() -> impl Strategy<Value = Event> {
    let session = 0..SESSIONS;
    prop_oneof![
        3 => session.clone().prop_map(Event::Begin),
        3 => session.clone().prop_map(Event::Insert),
        3 => (session.clone(), 0usize..8).prop_map(|(s, at)| Event::Update(s, at)),
        3 => session.clone().prop_map(Event::Commit),
        1 => session.prop_map(Event::Abort),
        1 => any::<bool>().prop_map(Event::Snapshot),
        2 => Just(Event::Rotate),
        2 => any::<bool>().prop_map(|commit| Event::RotateEnds { commit }),
        14 => Just(Event::Work),
        1 => Just(Event::WorkLost),
        1 => Just(Event::Crash),
        1 => Just(Event::Pause),
        2 => Just(Event::Resume),
        1 => Just(Event::Cancel),
        2 => Just(Event::Destroy),
    ]
}

/// With a drop somewhere, or none.
fn history() -> impl Strategy<Value = Vec<Event>> {
    (proptest::collection::vec(event(), 0..120), proptest::option::of(0usize..120)).prop_map(
        |(mut events, drop)| {
            if let Some(at) = drop {
                events.insert(at.min(events.len()), Event::Drop);
            }
            events
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn no_row_under_a_retired_key(events in history()) {
        let mut model = Model::new();
        for event in &events {
            model.play(event);
            model.check();
        }
        // Once everybody went home the work comes to its end, whatever came before.
        model.play(&Event::RotateEnds { commit: true });
        (0..SESSIONS).for_each(|s| model.end(s, true));
        model.snapshot = false;
        model.play(&Event::Resume);
        let running = model.operation.as_ref().is_some_and(|o| o.state == State::Running);
        for _ in 0..60 {
            model.play(&Event::Work);
            model.check();
        }
        if running && !model.dropped {
            let newest = model.newest();
            prop_assert_eq!(model.operation.as_ref().map(|o| o.state), Some(State::Done));
            prop_assert!(model.rows.iter().all(|r| r.layout == newest));
            let retired = model.keys.iter().filter(|(l, _)| **l != newest);
            prop_assert!(retired.into_iter().all(|(_, k)| !k.may_have_rows()));
        }
    }

    /// The worker may be lost after any number of steps, any number of times.
    #[test]
    fn a_loss_after_every_step(lose in proptest::collection::vec(1usize..12, 0..20), writes in 0usize..6) {
        let mut model = Model::new();
        for i in 0..writes {
            let s = i % SESSIONS;
            [Event::Begin(s), Event::Insert(s), Event::Commit(s)].iter().for_each(|e| model.play(e));
        }
        [Event::Begin(0), Event::Rotate, Event::RotateEnds { commit: true }].iter().for_each(|e| model.play(e));
        for steps in lose {
            for _ in 0..steps {
                model.play(&Event::Work);
                model.play(&Event::Insert(0));
                model.check();
            }
            model.play(&Event::WorkLost);
        }
        model.end(0, true);
        for _ in 0..40 {
            model.play(&Event::Work);
            model.check();
        }
        prop_assert_eq!(model.operation.map(|o| o.state), Some(State::Done));
    }
}
