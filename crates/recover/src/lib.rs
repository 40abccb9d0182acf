//! The offline half of escrow: recovery keys, and data keys opened with them.
//!
//! Runs on a machine without a server. The private half of a recovery key never leaves it, and data keys
//! leave it wrapped. Files are lines of text:
//!
//! ```text
//! private key   pg-sealed-recovery-key-v1:SUITE:HEX                 (one line, mode 0600)
//! master key    pg-sealed-master-public-v1:SUITE:ID:HEX             (sealed.master_public_key())
//! records       \\xHEX, \xHEX or HEX a line: as COPY and psql write bytea
//! ```
#![forbid(unsafe_code)]

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use sealed_crypto::{
    DataKeyHeader, Id, KernelRng, Purpose, Suite, check_public_key, fingerprint,
    generate_recipient, open_recipient_record, parse_key_header, recipient_public_key, wrap_key_to,
};
use zeroize::Zeroizing;

const PRIVATE: &str = "pg-sealed-recovery-key-v1";
const MASTER: &str = "pg-sealed-master-public-v1";
/// No private key file is longer.
const PRIVATE_LIMIT: u64 = 4096;

/// What can go wrong. Says nothing of a key.
#[derive(Debug)]
pub enum Error {
    /// A file could not be read or written.
    Io(String, io::Error),
    /// A file that others can read.
    OpenPermissions(String),
    /// Text that is not what it should be.
    Text(&'static str),
    /// The public key is not the one whose fingerprint was given.
    Fingerprint {
        /// The one it has.
        found: String,
    },
    /// A record does not open.
    Record {
        /// Which, from 1.
        line: usize,
        /// Why.
        error: sealed_crypto::Error,
    },
    /// Cryptography failed.
    Crypto(sealed_crypto::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{path}: {error}"),
            Self::OpenPermissions(path) => {
                write!(f, "{path}: has group or world access; chmod 0600")
            }
            Self::Text(what) => f.write_str(what),
            Self::Fingerprint { found } => {
                write!(f, "the master key's fingerprint is {found}, not the one given")
            }
            Self::Record { line, error } => write!(f, "record {line}: {error}"),
            Self::Crypto(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Error {}

/// A recovery key: the private half of an escrow recipient.
pub struct RecoveryKey {
    suite: Suite,
    private: Zeroizing<Vec<u8>>,
}

impl RecoveryKey {
    /// A new one.
    pub fn generate(suite: Suite) -> Self {
        let (private, _) = generate_recipient(&mut KernelRng, suite);
        Self { suite, private }
    }

    /// The suite of the key.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The public half, for `sealed.add_recipient`.
    pub fn public_key(&self) -> Result<Vec<u8>, Error> {
        recipient_public_key(self.suite, &self.private).map_err(Error::Crypto)
    }

    /// Writes it to a new file that nobody else can read. Never over an old one.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let fail = |error| Error::Io(path.display().to_string(), error);
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(fail)?;
        let hex = Zeroizing::new(to_hex(&self.private));
        let line = Zeroizing::new(format!("{PRIVATE}:{}:{}\n", self.suite, hex.as_str()));
        file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)
    }

    /// Reads it from a file that nobody else can read.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let fail = |error| Error::Io(name.clone(), error);
        let file = OpenOptions::new().read(true).open(path).map_err(fail)?;
        if file.metadata().map_err(fail)?.mode() & 0o077 != 0 {
            return Err(Error::OpenPermissions(name));
        }
        let mut text = Zeroizing::new(String::with_capacity(PRIVATE_LIMIT as usize + 1));
        file.take(PRIVATE_LIMIT).read_to_string(&mut text).map_err(fail)?;
        Self::parse(&text)
    }

    /// Reads the line of a private key file.
    pub fn parse(text: &str) -> Result<Self, Error> {
        const WRONG: Error = Error::Text("not a recovery key of sealed-recover");
        let mut parts = text.trim_end_matches('\n').split(':');
        if parts.next() != Some(PRIVATE) {
            return Err(WRONG);
        }
        let suite: Suite = parts.next().and_then(|s| s.parse().ok()).ok_or(WRONG)?;
        let private = Zeroizing::new(parts.next().and_then(from_hex).ok_or(WRONG)?);
        if parts.next().is_some() || private.len() != suite.private_key_len() {
            return Err(WRONG);
        }
        Ok(Self { suite, private })
    }

    /// Opens a record that was wrapped to the public half.
    pub fn open(&self, record: &[u8]) -> Result<(DataKeyHeader, Zeroizing<Vec<u8>>), Error> {
        open_recipient_record(&self.private, record).map_err(Error::Crypto)
    }
}

/// The public half of the master key that data keys are to be wrapped to.
#[derive(Debug)]
pub struct MasterPublic {
    suite: Suite,
    id: Id,
    public_key: Vec<u8>,
}

impl MasterPublic {
    /// Reads the line that `sealed.master_public_key()` shows. The fingerprint says that it is the
    /// server's: who puts his own key into this line would be given every data key.
    pub fn parse(text: &str, expected: &str) -> Result<Self, Error> {
        const WRONG: Error = Error::Text("not the line of sealed.master_public_key()");
        let mut parts = text.trim().split(':');
        if parts.next() != Some(MASTER) {
            return Err(WRONG);
        }
        let suite: Suite = parts.next().and_then(|s| s.parse().ok()).ok_or(WRONG)?;
        if suite.is_legacy() {
            return Err(WRONG);
        }
        let id = parts.next().map(|id| id.replace('-', "")).ok_or(WRONG)?;
        let id = from_hex(&id).and_then(|id| id.try_into().ok()).map(Id).ok_or(WRONG)?;
        let public_key = parts.next().and_then(from_hex).ok_or(WRONG)?;
        if parts.next().is_some() || check_public_key(suite, &public_key).is_err() {
            return Err(WRONG);
        }
        let found = show_fingerprint(&public_key);
        if !expected.trim().eq_ignore_ascii_case(&found) {
            return Err(Error::Fingerprint { found });
        }
        Ok(Self { suite, id, public_key })
    }
}

/// The records of a file, each with its line.
pub fn records(text: &str) -> impl Iterator<Item = Result<(usize, Vec<u8>), Error>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(at, line)| {
        let hex = line.trim().trim_start_matches('\\').trim_start_matches('x');
        let record = from_hex(hex).ok_or(Error::Text("a line is not a record in hexadecimal"))?;
        Ok((at + 1, record))
    })
}

/// Opens a record and wraps its key to a master key. The new record says the same of the key.
pub fn rewrap(key: &RecoveryKey, to: &MasterPublic, record: &[u8]) -> Result<Vec<u8>, Error> {
    let (header, data_key) = key.open(record)?;
    if header.purpose != Purpose::DataKey {
        return Err(Error::Text("a record is not of a table's data key"));
    }
    let header = DataKeyHeader { suite: to.suite, recipient_id: to.id, ..header };
    wrap_key_to(&mut KernelRng, to.suite, to.id, &to.public_key, &header, &data_key)
        .map_err(Error::Crypto)
}

/// One line about a record.
pub fn describe(record: &[u8]) -> Result<String, Error> {
    let header = parse_key_header(record).map_err(Error::Crypto)?;
    let DataKeyHeader { suite, key_id, version, table, .. } = header;
    Ok(format!("data key {key_id}, version {version} of table {table}, {suite}"))
}

/// The fingerprint of a public key, as people compare it.
pub fn show_fingerprint(public_key: &[u8]) -> String {
    to_hex(&fingerprint(public_key))
}

/// Bytes in hexadecimal.
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 0xf)]);
    // With room for all from the start: growing would leave copies of a secret behind.
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        hex.push(digit(byte >> 4));
        hex.push(digit(*byte));
    }
    hex
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    if !hex.len().is_multiple_of(2) {
        return None;
    }
    let mut bytes = Vec::with_capacity(hex.len() / 2);
    for pair in hex.as_bytes().chunks_exact(2) {
        bytes.push(digit(pair[0])? << 4 | digit(pair[1])?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
