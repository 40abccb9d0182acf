//! The states of a data key.

use std::fmt;
use std::str::FromStr;

/// What a data key is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Rows are sealed under it.
    Active,
    /// A newer one is used for new rows; the old ones are on their way out.
    Retiring,
    /// Nothing is sealed under it any more. Its wraps stay.
    Retired,
    /// Its wraps were removed on purpose.
    Destroyed,
}

impl KeyState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Active, Self::Retiring, Self::Retired, Self::Destroyed];

    /// The name in `sealed.data_key`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Retired => "retired",
            Self::Destroyed => "destroyed",
        }
    }

    /// Whether one state may follow another by itself, that is without anybody's word that rows shall be
    /// lost: `Active` and `Retiring` become `Destroyed` only by crypto-shredding, which asks for that.
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Active, Self::Retiring)
                // Work that is cancelled leaves rows under the old key.
                | (Self::Retiring, Self::Active)
                | (Self::Retiring, Self::Retired)
                | (Self::Retired, Self::Destroyed)
        )
    }

    /// Whether a row may be under a key of this state.
    pub const fn may_have_rows(self) -> bool {
        matches!(self, Self::Active | Self::Retiring)
    }
}

impl FromStr for KeyState {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|state| state.name() == name).ok_or(())
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for state in KeyState::ALL {
            assert_eq!(state.name().parse(), Ok(state));
        }
        assert_eq!("".parse::<KeyState>(), Err(()));
    }

    /// A key that no row may be under does not come back into use, and a destroyed one never.
    #[test]
    fn nothing_comes_back() {
        for state in KeyState::ALL {
            for next in KeyState::ALL {
                if !state.may_have_rows() && next.may_have_rows() {
                    assert!(!state.may_become(next), "{state} to {next}");
                }
            }
            assert!(!KeyState::Destroyed.may_become(state));
        }
    }
}
