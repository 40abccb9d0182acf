//! One operation as its worker sees it: which step is next.

use crate::operation::Phase;

/// What a step found. Each phase has its own; another one's is a mistake of the caller, which sends the
/// run back to its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A piece of the phase is done, there is more.
    More,
    /// The phase is over.
    Done,
    /// (`Wait`) Transactions that may not have heard of the newest layout still run.
    Busy,
    /// (`Verify`) A block has something left that is not under the newest layout.
    Left(Left),
}

/// What `Verify` found left in the block it stopped at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Rows that are visible: `Rows` or `Values` have to be done again.
    Visible,
    /// Versions that are dead, or will be once some transaction ends: `Vacuum` has to be done again.
    Dead,
    /// Only what no step can seal again: rows that do not open, chunks of no row.
    Stuck,
}

/// How soon the next step is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At once.
    Now,
    /// After a pause: it waits for others.
    Later,
    /// The operation reached what it was to reach.
    Finished,
    /// It cannot go on without help.
    Stuck,
}

/// One operation, in its worker's memory. `T` names a layout.
///
/// Of all this only the phase and the target are stored. A worker that begins with them, after whatever
/// ended the last one, is never further than that one was: what `Verify` had found is forgotten.
#[derive(Clone, Debug)]
pub struct Run<T> {
    target: T,
    phase: Phase,
    /// All blocks were found clean, while `target` was the newest layout.
    verified: bool,
    pass: u32,
}

impl<T: Copy + Eq> Run<T> {
    /// An operation whose stored phase is `phase`, reached on the way to `target`; nothing is known of
    /// a target when it is new.
    pub fn resume(phase: Phase, target: Option<T>, newest: T) -> Self {
        let phase = match phase {
            _ if target != Some(newest) => Phase::Announce,
            // What is stored says that these were over, and what they saw to holds for ever.
            Phase::Announce | Phase::Wait | Phase::Missing | Phase::Rows | Phase::Scrub => phase,
            Phase::Values | Phase::Vacuum | Phase::Verify | Phase::Retire => Phase::Rows,
        };
        Self { target: newest, phase, verified: false, pass: 1 }
    }

    /// To be called in each transaction of the work, with the newest layout as that sees it. True if it
    /// is another one than before: then the work begins anew, towards that.
    pub fn retarget(&mut self, newest: T) -> bool {
        if newest == self.target {
            return false;
        }
        *self = Self::resume(Phase::Announce, None, newest);
        true
    }

    /// The layout that everything is to be under.
    pub fn target(&self) -> T {
        self.target
    }

    /// The step that is next.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How many times the rows were gone through, this time included.
    pub fn pass(&self) -> u32 {
        self.pass
    }

    /// Takes note of what the step `self.phase()` found.
    pub fn found(&mut self, found: Found) -> Pace {
        let (next, pace) = match (self.phase, found) {
            (Phase::Scrub, Found::Done) => return Pace::Finished,
            (
                phase @ (Phase::Missing
                | Phase::Rows
                | Phase::Values
                | Phase::Verify
                | Phase::Scrub),
                Found::More,
            ) => (phase, Pace::Now),
            (Phase::Announce, Found::Done) => (Phase::Wait, Pace::Now),
            (Phase::Wait, Found::Busy) => (Phase::Wait, Pace::Later),
            (Phase::Wait, Found::Done) => (Phase::Missing, Pace::Now),
            (Phase::Missing, Found::Done) => (Phase::Rows, Pace::Now),
            (Phase::Rows, Found::Done) => (Phase::Values, Pace::Now),
            (Phase::Values, Found::Done) => (Phase::Vacuum, Pace::Now),
            (Phase::Vacuum, Found::Done) => (Phase::Verify, Pace::Now),
            (Phase::Retire, Found::Done) if self.verified => (Phase::Scrub, Pace::Now),
            (Phase::Verify, Found::Done) => {
                self.verified = true;
                (Phase::Retire, Pace::Now)
            }
            (Phase::Verify, Found::Left(Left::Visible)) => {
                self.pass = self.pass.saturating_add(1);
                // The first repetition at once: rows that were locked for a moment.
                (Phase::Rows, if self.pass == 2 { Pace::Now } else { Pace::Later })
            }
            (Phase::Verify, Found::Left(Left::Dead)) => (Phase::Vacuum, Pace::Later),
            (Phase::Verify, Found::Left(Left::Stuck)) => (Phase::Rows, Pace::Stuck),
            _ => (Phase::Announce, Pace::Later),
        };
        self.phase = next;
        pace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(phase: Phase) -> Run<u32> {
        let mut run = Run::resume(Phase::Announce, None, 7);
        run.phase = phase;
        run
    }

    #[test]
    fn the_steps_in_their_order() {
        let mut run = Run::resume(Phase::Announce, None, 7);
        for phase in Phase::ALL {
            assert_eq!(run.phase(), phase);
            let last = phase == Phase::Scrub;
            assert_eq!(run.found(Found::Done), if last { Pace::Finished } else { Pace::Now });
        }
    }

    #[test]
    fn retire_needs_this_runs_own_verify() {
        assert_eq!(at(Phase::Retire).found(Found::Done), Pace::Later);
        for phase in Phase::ALL {
            let resumed = Run::resume(phase, Some(7), 7).phase();
            assert!(resumed <= Phase::Rows || phase == Phase::Scrub, "{phase:?}");
            assert_eq!(Run::resume(phase, Some(7), 8).phase(), Phase::Announce, "{phase:?}");
        }
    }

    #[test]
    fn a_newer_layout_sends_it_back() {
        let mut run = at(Phase::Verify);
        assert_eq!(run.found(Found::Done), Pace::Now);
        assert!(!run.retarget(7));
        assert!(run.retarget(8));
        assert_eq!((run.phase(), run.target(), run.verified), (Phase::Announce, 8, false));
    }

    #[test]
    fn what_is_left_says_where_to_go() {
        for (left, phase) in
            [(Left::Visible, Phase::Rows), (Left::Dead, Phase::Vacuum), (Left::Stuck, Phase::Rows)]
        {
            let mut run = at(Phase::Verify);
            run.found(Found::Left(left));
            assert_eq!(run.phase(), phase);
        }
    }
}
