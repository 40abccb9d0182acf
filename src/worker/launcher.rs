//! The launcher: one worker a database, as many at a time as there are places.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::pg::catalog::Oid;
use crate::pg::worker::{self, Started};

/// How soon a worker is started again that something ended, or for which there was no place.
const AGAIN: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Launcher {
    /// Databases to look into.
    queue: VecDeque<Oid>,
    /// Databases to look into again, and when.
    later: Vec<(Instant, Oid)>,
    running: Vec<Started>,
}

/// Runs until the server stops. At its start every database is looked into, one by one: something may have
/// been under way when the server stopped, or while this was a standby.
pub fn run() {
    let mut launcher = Launcher { queue: connectable().into(), ..Launcher::default() };
    loop {
        launcher.take_wanted();
        launcher.reap();
        launcher.start();
        worker::sleep(launcher.nap());
    }
}

fn connectable() -> Vec<Oid> {
    worker::databases().unwrap_or_default()
}

impl Launcher {
    fn take_wanted(&mut self) {
        let wanted = worker::take_wanted();
        let all = if wanted.all { connectable() } else { Vec::new() };
        let now = Instant::now();
        let due = self.later.iter().filter(|(at, _)| *at <= now).map(|(_, database)| *database);
        for database in wanted.iter().chain(all).chain(due.collect::<Vec<_>>()) {
            if !self.queue.contains(&database) {
                self.queue.push_back(database);
            }
        }
        self.later.retain(|(at, _)| *at > now);
    }

    fn reap(&mut self) {
        for started in std::mem::take(&mut self.running) {
            if !started.has_ended() {
                self.running.push(started);
                continue;
            }
            let database = started.database;
            if started.left_something() {
                self.later.push((Instant::now() + AGAIN, database));
            }
        }
    }

    fn start(&mut self) {
        let places = worker::places();
        let mut there: Option<Vec<Oid>> = None;
        let mut busy = Vec::new();
        while self.running.len() < places
            && let Some(database) = self.queue.pop_front()
        {
            // Its worker may be on its way out, so it is looked into once more when that has ended.
            if self.running.iter().any(|started| started.database == database) {
                busy.push(database);
                continue;
            }
            // It may have been dropped.
            if !there.get_or_insert_with(connectable).contains(&database) {
                continue;
            }
            match Started::start(database) {
                Some(started) => self.running.push(started),
                None => {
                    self.later.push((Instant::now() + AGAIN, database));
                    break;
                }
            }
        }
        self.queue.extend(busy);
    }

    /// The postmaster wakes us when a worker starts or ends.
    fn nap(&self) -> Option<Duration> {
        let next = self.later.iter().map(|(at, _)| at.saturating_duration_since(Instant::now()));
        next.min()
    }
}
