//! Options of a provider: a JSON object, read by name and type, with nothing left over.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::Error;

/// The options not yet read.
pub struct Options {
    left: Map<String, Value>,
}

impl Options {
    /// Takes an object.
    pub fn new(value: &Value) -> Result<Self, Error> {
        let left = value.as_object().ok_or(Error::NotAnObject)?.clone();
        Ok(Self { left })
    }

    /// An absolute path.
    pub fn path(&mut self, name: &'static str) -> Result<Option<PathBuf>, Error> {
        let Some(value) = self.left.remove(name) else { return Ok(None) };
        let Value::String(path) = value else {
            return Err(Error::WrongType { name, expected: "a string" });
        };
        absolute(name, &path)?;
        Ok(Some(PathBuf::from(path)))
    }

    /// A program and its arguments; the program is an absolute path.
    pub fn command(&mut self, name: &'static str) -> Result<Option<Vec<String>>, Error> {
        let Some(value) = self.left.remove(name) else { return Ok(None) };
        let wrong = Error::WrongType { name, expected: "a non-empty array of strings" };
        let Value::Array(items) = value else { return Err(wrong) };
        let words = items.into_iter().map(|item| match item {
            Value::String(word) => Ok(word),
            _ => Err(wrong.clone()),
        });
        let words = words.collect::<Result<Vec<_>, _>>()?;
        absolute(name, words.first().ok_or(wrong)?)?;
        Ok(Some(words))
    }

    /// true or false.
    pub fn boolean(&mut self, name: &'static str) -> Result<Option<bool>, Error> {
        let Some(value) = self.left.remove(name) else { return Ok(None) };
        let wrong = Error::WrongType { name, expected: "true or false" };
        value.as_bool().ok_or(wrong).map(Some)
    }

    /// A whole number within `range`.
    pub fn integer(
        &mut self,
        name: &'static str,
        range: &RangeInclusive<u32>,
    ) -> Result<Option<u32>, Error> {
        let Some(value) = self.left.remove(name) else { return Ok(None) };
        if !(value.is_u64() || value.is_i64()) {
            return Err(Error::WrongType { name, expected: "a whole number" });
        }
        let number = value.as_u64().and_then(|n| u32::try_from(n).ok());
        number.filter(|n| range.contains(n)).map(Some).ok_or(Error::OutOfRange {
            name,
            min: u64::from(*range.start()),
            max: u64::from(*range.end()),
        })
    }

    /// Refuses what was not read.
    pub fn finish(self) -> Result<(), Error> {
        match self.left.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(Error::UnknownOption { name }),
        }
    }
}

fn absolute(name: &'static str, path: &str) -> Result<(), Error> {
    if path.starts_with('/') { Ok(()) } else { Err(Error::NotAbsolute { name }) }
}
