//! Kind `file`: the seed is wrapped with a root key that stands in a file of the server's own.
//!
//! Options: `path` (absolute), `allow_in_data_directory` (false).
//!
//! The file is one line of text, so that it can be printed and typed in again:
//! ```text
//! pg-sealed-root-key-v1:<64 hexadecimal digits>
//! ```
//! The stored blob is a seed blob (format.md) under that key, and nothing else.

use sealed_crypto::rand_core::CryptoRng;
use sealed_crypto::{Id, MasterSeed, Secret, Suite, unwrap_seed, wrap_seed};
use zeroize::Zeroizing;

use crate::options::Options;
use crate::private_file::PrivateFile;
use crate::{Env, Error};

const LABEL: &[u8] = b"pg-sealed-root-key-v1:";
const DIGITS: usize = 64;

/// The file and where it may be.
#[derive(Debug)]
pub struct RootKeyFile(PrivateFile);

impl RootKeyFile {
    pub(crate) fn parse(options: &mut Options) -> Result<Self, Error> {
        let path = options.path("path")?.ok_or(Error::MissingOption { name: "path" })?;
        let allow_in_data_directory = options.boolean("allow_in_data_directory")?.unwrap_or(false);
        Ok(Self(PrivateFile { path, allow_in_data_directory }))
    }

    pub(crate) fn prepare(&self, rng: &mut impl CryptoRng, env: &Env) -> Result<(), Error> {
        match self.root_key(env) {
            Err(Error::KeyFileGone { .. }) => {}
            other => return other.map(|_| ()),
        }
        let key = Secret::<32>::random(rng);
        self.0.create(&write(&key), rng, env)?;
        // What is there now is what will be used, also if another session was quicker.
        self.root_key(env).map(|_| ())
    }

    pub(crate) fn wrap(
        &self,
        rng: &mut impl CryptoRng,
        master_id: &Id,
        suite: Suite,
        seed: &MasterSeed,
        env: &Env,
    ) -> Result<Vec<u8>, Error> {
        Ok(wrap_seed(rng, &self.root_key(env)?, master_id, suite, seed))
    }

    pub(crate) fn unwrap(
        &self,
        master_id: &Id,
        suite: Suite,
        blob: &[u8],
        env: &Env,
    ) -> Result<MasterSeed, Error> {
        unwrap_seed(&self.root_key(env)?, master_id, suite, blob).map_err(|e| match e {
            sealed_crypto::Error::WrongKey => Error::WrongKeyFile { path: self.0.path.clone() },
            sealed_crypto::Error::UnknownFormat => Error::UnknownFormat,
            other => Error::Seed(other),
        })
    }

    fn root_key(&self, env: &Env) -> Result<Secret<32>, Error> {
        let path = || self.0.path.clone();
        let content = self.0.read(LABEL.len() + DIGITS + 1, env)?;
        let content = content.ok_or_else(|| Error::KeyFileGone { path: path() })?;
        parse(&content).ok_or_else(|| Error::BadKeyFile { path: path() })
    }
}

fn write(key: &Secret<32>) -> Zeroizing<Vec<u8>> {
    let mut line = Zeroizing::new(Vec::with_capacity(LABEL.len() + DIGITS + 1));
    line.extend_from_slice(LABEL);
    for byte in key.expose() {
        for nibble in [byte >> 4, byte & 15] {
            line.push(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
        }
    }
    line.push(b'\n');
    line
}

fn parse(content: &[u8]) -> Option<Secret<32>> {
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    let digits: &[u8; DIGITS] = content.strip_prefix(LABEL)?.try_into().ok()?;
    let mut whole = true;
    let key = Secret::from_fn(|key: &mut [u8; 32]| {
        let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok());
        for (byte, pair) in key.iter_mut().zip(digits.as_chunks::<2>().0) {
            match (nibble(pair[0]), nibble(pair[1])) {
                (Some(high), Some(low)) => *byte = high << 4 | low,
                _ => whole = false,
            }
        }
    });
    whole.then_some(key)
}

#[cfg(test)]
mod tests {
    use sealed_crypto::KernelRng;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let key = Secret::random(&mut KernelRng);
        let line = write(&key);
        assert_eq!(parse(&line), Some(key));
        assert_eq!(line.len(), 87);
        // Typed in by hand: no end of line, capitals.
        let typed = line.trim_ascii_end().iter().enumerate();
        let typed: Vec<u8> =
            typed.map(|(i, b)| if i < LABEL.len() { *b } else { b.to_ascii_uppercase() }).collect();
        assert_eq!(parse(&typed), parse(&line));
    }

    #[test]
    fn anything_else_is_not_a_key() {
        let line = write(&Secret::random(&mut KernelRng));
        for end in 0..line.len() - 1 {
            assert_eq!(parse(&line[..end]), None, "{end} bytes");
        }
        for extra in [&b"\n"[..], b"0", b" \n"] {
            assert_eq!(parse(&[&line[..], extra].concat()), None);
        }
        let mut other = line.to_vec();
        other[20] = b'2';
        assert_eq!(parse(&other), None);
        let mut other = line.to_vec();
        other[40] = b'g';
        assert_eq!(parse(&other), None);
        assert_eq!(parse(&[0; 32]), None);
    }
}
