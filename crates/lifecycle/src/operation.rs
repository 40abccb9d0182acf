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

#[cfg(test)]
mod tests {
    use super::*;

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
