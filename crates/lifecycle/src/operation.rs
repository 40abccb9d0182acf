//! The states and phases of a background operation.

use std::str::FromStr;

/// What an operation is to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Every row under the newest layout, the older keys retired.
    Rotate,
    /// The same for a table that was heap a moment ago and has plain rows.
    Seal,
    /// Every row plain, all keys retired.
    Unseal,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Rotate, Self::Seal, Self::Unseal];

    /// The name in `sealed.operation`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rotate => "rotate",
            Self::Seal => "seal",
            Self::Unseal => "unseal",
        }
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(())
    }
}

/// Whether an operation is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It goes on whenever a worker has time.
    Running,
    /// Somebody stopped it for a while.
    Paused,
    /// Somebody gave it up; rows are under old and new keys, all readable.
    Cancelled,
    /// It reached what it was to reach.
    Done,
    /// It cannot go on without help; rows are under old and new keys.
    Failed,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Running, Self::Paused, Self::Cancelled, Self::Done, Self::Failed];

    /// The name in `sealed.operation`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// Whether one state may follow another. What is over stays over: a new operation is begun.
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Running, Self::Paused | Self::Cancelled | Self::Done | Self::Failed)
                | (Self::Paused | Self::Failed, Self::Running | Self::Cancelled)
        )
    }

    /// Whether the table still has this operation, so that no second one may begin.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Failed)
    }
}

impl FromStr for State {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|state| state.name() == name).ok_or(())
    }
}

/// What an operation is doing. The order is that of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Every backend is told that there is a newer layout, and older keys are marked as retiring.
    Announce,
    /// Transactions that may not have heard of it are waited for.
    Wait,
    /// Kept values of added columns are sealed again.
    Missing,
    /// Rows are sealed again.
    Rows,
    /// Rows are given new chunks, where only their chunks are old.
    Values,
    /// Dead rows and chunks are removed.
    Vacuum,
    /// Every block is looked at.
    Verify,
    /// Older keys are retired; a table of rows of two kinds is one of one kind again.
    Retire,
    /// What is left of plain rows in free space is overwritten.
    Scrub,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Announce,
        Self::Wait,
        Self::Missing,
        Self::Rows,
        Self::Values,
        Self::Vacuum,
        Self::Verify,
        Self::Retire,
        Self::Scrub,
    ];

    /// The name in `sealed.operation`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Announce => "announce",
            Self::Wait => "wait",
            Self::Missing => "missing",
            Self::Rows => "rows",
            Self::Values => "values",
            Self::Vacuum => "vacuum",
            Self::Verify => "verify",
            Self::Retire => "retire",
            Self::Scrub => "scrub",
        }
    }
}

impl FromStr for Phase {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|phase| phase.name() == name).ok_or(())
    }
}

/// Failures one after the other, of a minute and more in the end, before an operation is given up.
const ATTEMPTS: u32 = 20;
/// Classes of SQLSTATE of what the machine or the key provider lacks: room, memory, files, the program or the
/// passphrase. That is there again some day, and may take longer than the attempts do.
const OF_SURROUNDINGS: [&str; 5] = ["28", "38", "53", "58", "F0"];

/// Whether an operation is given up after so many failures in a row, of which the last has this SQLSTATE.
pub fn gives_up(failures: u32, sqlstate: &str) -> bool {
    failures >= ATTEMPTS && !OF_SURROUNDINGS.iter().any(|class| sqlstate.starts_with(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_come_back_is_waited_for() {
        // a full disk, no memory, a provider that times out, whose file or program is gone, whose passphrase is wrong
        for code in ["53100", "53200", "58000", "58P01", "38000", "28P01", "F0000"] {
            assert!(!gives_up(1_000, code), "{code}");
        }
        for code in ["XX001", "22012", "42P01"] {
            assert!(!gives_up(19, code) && gives_up(20, code), "{code}");
        }
    }

    #[test]
    fn names_lead_back() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        for state in State::ALL {
            assert_eq!(state.name().parse(), Ok(state));
        }
        for phase in Phase::ALL {
            assert_eq!(phase.name().parse(), Ok(phase));
        }
    }

    #[test]
    fn what_is_over_stays_over() {
        for state in State::ALL.into_iter().filter(|s| !s.is_open()) {
            for next in State::ALL {
                assert!(!state.may_become(next), "{state:?} to {next:?}");
            }
        }
    }
}
