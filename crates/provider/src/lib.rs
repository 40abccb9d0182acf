//! Key providers of `pg_sealed`: where the secret lives that wraps the seeds of master keys.
//!
//! A provider is a kind and its options, as the catalog stores them. It is parsed anew for each use,
//! works with files and programs only while it is used, and keeps no secret between two uses.
//!
//! | module | what is in it |
//! |---|---|
//! | `options` | JSON options read by name and type; unknown ones are refused |
//! | `file` | kind `file`: a root key in a file of the server's own |
//! | `passphrase` | kind `passphrase`: a passphrase from a program or a file, through Argon2id |
//! | `private_file` | opening a file only if nobody else can read it and it is not beside the data |
//! | `command` | running a program with a limit on its output and its time |
//!
//! No threads, no randomness and no cancellation flag of its own: they are arguments.
#![forbid(unsafe_code)]

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sealed_crypto::rand_core::CryptoRng;
use sealed_crypto::{Id, MasterSeed, Suite};
use serde_json::Value;

mod command;
mod error;
mod file;
mod options;
mod passphrase;
mod private_file;

pub use crate::error::Error;
use crate::file::RootKeyFile;
use crate::options::Options;
use crate::passphrase::Passphrase;

/// The kinds of provider there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A root key in a file.
    File,
    /// A passphrase that a program or a file gives.
    Passphrase,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 2] = [Kind::File, Kind::Passphrase];

    /// Its name in SQL.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Passphrase => "passphrase",
        }
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let known = Kind::ALL.into_iter().find(|k| k.name() == name);
        known.ok_or_else(|| Error::UnknownKind { name: name.into() })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a provider must know of the server it works for.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// The data directory: keys do not belong there.
    pub data_dir: &'a Path,
    /// How long a program may take.
    pub deadline: Duration,
    /// Whether the user has cancelled. Asked some twenty times a second while a program runs. It may
    /// panic: the program is killed all the same.
    pub cancelled: &'a dyn Fn() -> bool,
}

/// A provider, ready for use.
pub struct Provider<'a> {
    source: Source,
    env: Env<'a>,
}

#[derive(Debug)]
enum Source {
    File(RootKeyFile),
    Passphrase(Passphrase),
}

impl<'a> Provider<'a> {
    /// Reads the options. Touches no file: what they name is looked at when it is used.
    pub fn parse(kind: Kind, options: &Value, env: &Env<'a>) -> Result<Self, Error> {
        let mut options = Options::new(options)?;
        let source = match kind {
            Kind::File => Source::File(RootKeyFile::parse(&mut options)?),
            Kind::Passphrase => Source::Passphrase(Passphrase::parse(&mut options)?),
        };
        options.finish()?;
        Ok(Self { source, env: *env })
    }

    /// Makes the provider ready to wrap, when it is added to the catalog: writes a new root key file if
    /// there is none, asks for the passphrase once. Only then: at any later time a missing key file is
    /// a loss to be reported, and a new one would hide it.
    pub fn prepare(&self, rng: &mut impl CryptoRng) -> Result<(), Error> {
        match &self.source {
            Source::File(file) => file.prepare(rng, &self.env),
            Source::Passphrase(passphrase) => passphrase.prepare(&self.env),
        }
    }

    /// Wraps the seed of the master key `master_id`.
    pub fn wrap(
        &self,
        rng: &mut impl CryptoRng,
        master_id: &Id,
        suite: Suite,
        seed: &MasterSeed,
    ) -> Result<Vec<u8>, Error> {
        match &self.source {
            Source::File(file) => file.wrap(rng, master_id, suite, seed, &self.env),
            Source::Passphrase(passphrase) => {
                passphrase.wrap(rng, master_id, suite, seed, &self.env)
            }
        }
    }

    /// Unwraps the seed of the master key `master_id`.
    pub fn unwrap(&self, master_id: &Id, suite: Suite, blob: &[u8]) -> Result<MasterSeed, Error> {
        match &self.source {
            Source::File(file) => file.unwrap(master_id, suite, blob, &self.env),
            Source::Passphrase(passphrase) => passphrase.unwrap(master_id, suite, blob, &self.env),
        }
    }
}

impl fmt::Debug for Provider<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

#[cfg(test)]
mod tests;
