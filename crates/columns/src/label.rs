//! The words of security labels.

use std::fmt;

/// What a table's label says of columns that have none of their own. No label says `Sealed`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Table {
    /// `default sealed`
    #[default]
    Sealed,
    /// `default plain`
    Plain,
}

/// What a column's label says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Column {
    /// `plain`
    Plain,
    /// `sealed`: under the table's own key.
    Sealed,
    /// `sealed key=NAME`
    SealedUnder(String),
}

/// A label that says nothing we know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadLabel {
    /// What there may be instead.
    pub expected: &'static str,
}

impl fmt::Display for BadLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.expected)
    }
}

impl std::str::FromStr for Table {
    type Err = BadLabel;

    fn from_str(label: &str) -> Result<Self, BadLabel> {
        match words(label).as_slice() {
            ["default", "sealed"] => Ok(Self::Sealed),
            ["default", "plain"] => Ok(Self::Plain),
            _ => Err(BadLabel { expected: "\"default sealed\" or \"default plain\"" }),
        }
    }
}

impl std::str::FromStr for Column {
    type Err = BadLabel;

    fn from_str(label: &str) -> Result<Self, BadLabel> {
        let bad = BadLabel { expected: "\"sealed\", \"sealed key=NAME\" or \"plain\"" };
        match words(label).as_slice() {
            ["plain"] => Ok(Self::Plain),
            ["sealed"] => Ok(Self::Sealed),
            ["sealed", key] => match key.strip_prefix("key=") {
                Some(name) if is_key_name(name) => Ok(Self::SealedUnder(name.to_owned())),
                _ => Err(bad),
            },
            _ => Err(bad),
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("plain"),
            Self::Sealed => f.write_str("sealed"),
            Self::SealedUnder(name) => write!(f, "sealed key={name}"),
        }
    }
}

fn words(label: &str) -> Vec<&str> {
    label.split_ascii_whitespace().collect()
}

/// Whether a column key may have this name: 1 to 63 letters, digits and `_`, `-`, `.`, so that a label can
/// say it without quotes.
pub fn is_key_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_labels_say() {
        assert_eq!("default sealed".parse(), Ok(Table::Sealed));
        assert_eq!(" default\tplain ".parse(), Ok(Table::Plain));
        for bad in ["", "plain", "sealed", "default", "default Plain", "default plain x"] {
            assert!(bad.parse::<Table>().is_err(), "{bad}");
        }
        assert_eq!("plain".parse(), Ok(Column::Plain));
        assert_eq!("sealed".parse(), Ok(Column::Sealed));
        assert_eq!("sealed  key=pii.v-1_x".parse(), Ok(Column::SealedUnder("pii.v-1_x".into())));
        let long = format!("sealed key={}", "k".repeat(64));
        for bad in [
            "",
            "SEALED",
            "sealed key=",
            "sealed key=a b",
            "sealed key=a,b",
            "sealed pii",
            "plain key=a",
            &long,
        ] {
            assert!(bad.parse::<Column>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_label_is_written_as_it_is_read() {
        for column in [Column::Plain, Column::Sealed, Column::SealedUnder("pii".into())] {
            assert_eq!(column.to_string().parse(), Ok(column));
        }
    }
}
