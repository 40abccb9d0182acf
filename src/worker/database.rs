//! The worker of one database: its operations, each a step at a time.

use std::time::{Duration, Instant};

use super::job::{Job, Next};
use super::throttle::Throttle;
use crate::keyring;
use crate::pg::catalog::{self, Oid};
use crate::pg::worker;

/// How often operations are looked for that were begun meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs until nothing is left to do in this database.
pub fn run() {
    let mut jobs: Vec<Job> = Vec::new();
    let mut throttle = Throttle::new();
    let mut looked: Option<Instant> = None;
    loop {
        if jobs.is_empty() || looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            let Ok(running) = worker::transaction(running) else {
                // The keys' tables are out of reach, perhaps just being dropped.
                worker::sleep(Some(LOOK_EVERY));
                continue;
            };
            looked = Some(Instant::now());
            jobs.retain(|job| running.contains(&job.relation()));
            for relation in running {
                if !jobs.iter().any(|job| job.relation() == relation) {
                    jobs.push(Job::new(relation));
                }
            }
            if jobs.is_empty() {
                worker::finished();
                return;
            }
        }
        let now = Instant::now();
        // The oldest that need not wait: one after the other.
        let nap = match jobs.iter_mut().position(|job| job.due() <= now) {
            Some(_) if throttle.replica_is_behind() => LOOK_EVERY,
            Some(at) => match jobs[at].step(&mut throttle) {
                Next::After(pause) => pause,
                Next::Over => {
                    jobs.remove(at);
                    Duration::ZERO
                }
            },
            None => {
                let soonest = jobs.iter().map(|job| job.due().saturating_duration_since(now)).min();
                soonest.unwrap_or(LOOK_EVERY).min(LOOK_EVERY)
            }
        };
        if nap > Duration::ZERO {
            worker::sleep(Some(nap));
        } else {
            worker::check();
        }
    }
}

fn running() -> Vec<Oid> {
    if !catalog::installed() {
        return Vec::new();
    }
    keyring::running_operations().unwrap_or_else(|e| e.report())
}
