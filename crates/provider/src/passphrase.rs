//! Kind `passphrase`: the seed is wrapped with a key that Argon2id (RFC 9106) derives from a passphrase.
//!
//! Options: `command` (a program and its arguments, run without a shell; its output is the passphrase) or
//! `file` (absolute), `memory_kib` (262144), `iterations` (3). A passphrase is one line of UTF-8 text;
//! one end of line after it does not count.
//!
//! The stored blob carries what it takes to derive the key again, all integers big-endian:
//! ```text
//! magic "PGSP" 4 | format 1: u8 | algorithm 1 (Argon2id, version 0x13): u8 | memory_kib: u32 |
//! iterations: u32 | lanes 1: u32 | salt 16 | seed blob (format.md) under the derived key
//! ```
//! Each of these fields goes into the derivation, so a change to one of them gives another key, and the
//! seed blob's commitment refuses that as a wrong passphrase.

use std::ops::RangeInclusive;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use sealed_crypto::rand_core::CryptoRng;
use sealed_crypto::{Id, MasterSeed, Secret, Suite, unwrap_seed, wrap_seed};
use zeroize::{Zeroize, Zeroizing};

use crate::options::Options;
use crate::private_file::PrivateFile;
use crate::{Env, Error, command};

/// Fewer characters protect no new secret. (An old one still opens.)
pub const MIN_CHARACTERS: usize = 12;
/// Longer is no passphrase.
pub const MAX_BYTES: usize = 1024;
/// From OWASP's least for Argon2id to what a server can spare for a moment.
pub const MEMORY_KIB: RangeInclusive<u32> = 19_456..=1_048_576;
/// More than this is minutes, during which nobody can cancel.
pub const ITERATIONS: RangeInclusive<u32> = 2..=16;

const DEFAULT_MEMORY_KIB: u32 = 262_144;
const DEFAULT_ITERATIONS: u32 = 3;
const MAGIC: &[u8; 4] = b"PGSP";
const FORMAT: u8 = 1;
const ARGON2ID: u8 = 1;
const LANES: u32 = 1;
const SALT_LEN: usize = 16;
const HEADER_LEN: usize = 4 + 1 + 1 + 3 * 4 + SALT_LEN;

/// Where the passphrase comes from, and how hard a guess is made.
#[derive(Debug)]
pub struct Passphrase {
    source: Source,
    memory_kib: u32,
    iterations: u32,
}

#[derive(Debug)]
enum Source {
    Command(Vec<String>),
    File(PrivateFile),
}

impl Passphrase {
    pub(crate) fn parse(options: &mut Options) -> Result<Self, Error> {
        let source = match (options.command("command")?, options.path("file")?) {
            (Some(words), None) => Source::Command(words),
            (None, Some(path)) => {
                Source::File(PrivateFile { path, allow_in_data_directory: false })
            }
            (None, None) => return Err(Error::MissingOption { name: "command" }),
            (Some(_), Some(_)) => return Err(Error::Conflict { one: "command", other: "file" }),
        };
        let memory_kib = options.integer("memory_kib", &MEMORY_KIB)?.unwrap_or(DEFAULT_MEMORY_KIB);
        let iterations = options.integer("iterations", &ITERATIONS)?.unwrap_or(DEFAULT_ITERATIONS);
        Ok(Self { source, memory_kib, iterations })
    }

    pub(crate) fn prepare(&self, env: &Env) -> Result<(), Error> {
        self.ask_for_new(env).map(|_| ())
    }

    pub(crate) fn wrap(
        &self,
        rng: &mut impl CryptoRng,
        master_id: &Id,
        suite: Suite,
        seed: &MasterSeed,
        env: &Env,
    ) -> Result<Vec<u8>, Error> {
        let phrase = self.ask_for_new(env)?;
        let mut salt = [0; SALT_LEN];
        rng.fill_bytes(&mut salt);
        let header = Header { memory_kib: self.memory_kib, iterations: self.iterations, salt };
        let key = header.derive(&phrase, env)?;
        let mut blob = header.write();
        blob.extend_from_slice(&wrap_seed(rng, &key, master_id, suite, seed));
        Ok(blob)
    }

    pub(crate) fn unwrap(
        &self,
        master_id: &Id,
        suite: Suite,
        blob: &[u8],
        env: &Env,
    ) -> Result<MasterSeed, Error> {
        let (header, seed_blob) = Header::parse(blob)?;
        let key = header.derive(&self.ask(env)?, env)?;
        unwrap_seed(&key, master_id, suite, seed_blob).map_err(|e| match e {
            sealed_crypto::Error::WrongKey => Error::WrongPassphrase,
            sealed_crypto::Error::UnknownFormat => Error::UnknownFormat,
            other => Error::Seed(other),
        })
    }

    fn ask_for_new(&self, env: &Env) -> Result<Zeroizing<String>, Error> {
        let phrase = self.ask(env)?;
        if phrase.chars().count() < MIN_CHARACTERS {
            return Err(Error::PassphraseTooShort { min: MIN_CHARACTERS });
        }
        Ok(phrase)
    }

    fn ask(&self, env: &Env) -> Result<Zeroizing<String>, Error> {
        // With an end of line of one or two bytes.
        let limit = MAX_BYTES + 2;
        let raw = match &self.source {
            Source::Command(words) => command::run(words, limit, env)?,
            Source::File(file) => file
                .read(limit, env)?
                .ok_or_else(|| Error::PassphraseFileGone { path: file.path.clone() })?,
        };
        line(&raw)
    }
}

/// The passphrase in what a program or file gave.
fn line(raw: &[u8]) -> Result<Zeroizing<String>, Error> {
    let line = raw.strip_suffix(b"\n").map_or(raw, |l| l.strip_suffix(b"\r").unwrap_or(l));
    if line.is_empty() {
        return Err(Error::PassphraseEmpty);
    }
    if line.len() > MAX_BYTES {
        return Err(Error::PassphraseTooLong { max: MAX_BYTES });
    }
    let line = str::from_utf8(line).map_err(|_| Error::PassphraseNotText)?;
    if line.chars().any(char::is_control) {
        return Err(Error::PassphraseNotText);
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// What stands in front of the seed blob.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    memory_kib: u32,
    iterations: u32,
    salt: [u8; SALT_LEN],
}

impl Header {
    fn write(&self) -> Vec<u8> {
        let mut blob = Vec::with_capacity(HEADER_LEN);
        blob.extend_from_slice(MAGIC);
        blob.extend_from_slice(&[FORMAT, ARGON2ID]);
        for number in [self.memory_kib, self.iterations, LANES] {
            blob.extend_from_slice(&number.to_be_bytes());
        }
        blob.extend_from_slice(&self.salt);
        blob
    }

    /// Takes it apart and checks what it asks for: the catalog can be written by others, and must not be
    /// able to make the server work for hours.
    fn parse(blob: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (magic, rest) = blob.split_first_chunk::<4>().ok_or(Error::UnknownFormat)?;
        let (kind, rest) = rest.split_first_chunk::<2>().ok_or(Error::UnknownFormat)?;
        if magic != MAGIC || *kind != [FORMAT, ARGON2ID] {
            return Err(Error::UnknownFormat);
        }
        let mut rest = rest;
        let mut number = || {
            let (bytes, after) = rest.split_first_chunk::<4>().ok_or(Error::UnknownFormat)?;
            rest = after;
            Ok(u32::from_be_bytes(*bytes))
        };
        let (memory_kib, iterations, lanes) = (number()?, number()?, number()?);
        if lanes != LANES || !MEMORY_KIB.contains(&memory_kib) || !ITERATIONS.contains(&iterations)
        {
            return Err(Error::BlobLimit);
        }
        let (salt, seed_blob) = rest.split_first_chunk().ok_or(Error::UnknownFormat)?;
        Ok((Self { memory_kib, iterations, salt: *salt }, seed_blob))
    }

    fn derive(&self, phrase: &str, env: &Env) -> Result<Secret<32>, Error> {
        let out_of_memory = Error::OutOfMemory { kib: self.memory_kib };
        let params = Params::new(self.memory_kib, self.iterations, LANES, Some(32));
        let params = params.map_err(|_| Error::BlobLimit)?;
        let mut memory = Memory(Vec::new());
        // A plain allocation would end the backend if there is not so much.
        memory.0.try_reserve_exact(params.block_count()).map_err(|_| out_of_memory)?;
        memory.0.resize(params.block_count(), Block::new());
        if (env.cancelled)() {
            return Err(Error::Cancelled);
        }
        let mut derived = Ok(());
        let key = Secret::from_fn(|key: &mut [u8; 32]| {
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            derived = argon2.hash_password_into_with_memory(
                phrase.as_bytes(),
                &self.salt,
                key,
                &mut memory.0,
            );
        });
        derived.map(|()| key).map_err(|_| Error::BlobLimit)
    }
}

/// Argon2's working memory, wiped afterwards: its last block gives the key.
struct Memory(Vec<Block>);

impl Drop for Memory {
    fn drop(&mut self) {
        for block in &mut self.0 {
            block.zeroize();
        }
    }
}

#[cfg(test)]
mod tests;
