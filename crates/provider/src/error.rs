//! What can go wrong. Errors name options, files and programs; they never carry a secret.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Every failure of this crate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say it; their fields are what they are called")]
pub enum Error {
    // Settings: whoever wrote the options must change them.
    /// No provider kind has this name.
    UnknownKind { name: String },
    /// The options are not a JSON object.
    NotAnObject,
    /// The kind has no such option.
    UnknownOption { name: String },
    /// An option that the kind can't do without.
    MissingOption { name: &'static str },
    /// An option's value is of another JSON type than `expected` says.
    WrongType { name: &'static str, expected: &'static str },
    /// A number below or above what is allowed.
    OutOfRange { name: &'static str, min: u64, max: u64 },
    /// Two options of which only one may be given.
    Conflict { one: &'static str, other: &'static str },
    /// A path that does not begin with a slash.
    NotAbsolute { name: &'static str },

    // Files: whoever keeps the server must change them.
    /// The root key file is not there. Without it nothing it wrapped can be opened.
    KeyFileGone { path: PathBuf },
    /// The passphrase file is not there.
    PassphraseFileGone { path: PathBuf },
    /// A file with a secret inside the data directory, so in every base backup of it.
    InDataDirectory { path: PathBuf },
    /// A directory, a device, a pipe.
    NotRegularFile { path: PathBuf },
    /// The file belongs to another user than the server runs as.
    WrongOwner { path: PathBuf },
    /// The group or others have some permission on the file.
    OpenPermissions { path: PathBuf, mode: u32 },
    /// The root key file does not hold exactly one root key.
    BadKeyFile { path: PathBuf },
    /// The operating system refused something.
    Io { action: &'static str, path: PathBuf, kind: io::ErrorKind },

    // Passphrases and the programs that give them.
    /// The program could not be started.
    CommandStart { program: String, kind: io::ErrorKind },
    /// The program ended with a status other than 0, or, without a status, by a signal.
    CommandFailed { program: String, status: Option<i32> },
    /// The program took too long and was killed.
    CommandTimedOut { program: String, deadline: Duration },
    /// The program wrote more than a passphrase can be, and was killed.
    CommandOutput { program: String, limit: usize },
    /// The program's output could not be read.
    CommandIo { program: String, kind: io::ErrorKind },
    /// The user cancelled, or the server is shutting down.
    Cancelled,
    /// There is nothing where the passphrase should be.
    PassphraseEmpty,
    /// Fewer characters than a new secret may be protected with.
    PassphraseTooShort { min: usize },
    /// More bytes than anyone types.
    PassphraseTooLong { max: usize },
    /// Not one line of UTF-8 text.
    PassphraseNotText,
    /// Not enough memory to derive the key.
    OutOfMemory { kib: u32 },

    // Wrapped seeds.
    /// The passphrase is not the one this seed was wrapped with.
    WrongPassphrase,
    /// The root key in the file is not the one this seed was wrapped with.
    WrongKeyFile { path: PathBuf },
    /// Not a seed wrapped by this kind of provider, or by a later version of it.
    UnknownFormat,
    /// The wrapped seed asks for more work or memory than any version of this crate has asked for.
    BlobLimit,
    /// The wrapped seed does not open, though the passphrase or root key is right; or it is another
    /// master key's.
    Seed(sealed_crypto::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::UnknownKind { name } => write!(f, "unknown key provider kind \"{name}\""),
            Error::NotAnObject => f.write_str("key provider options must be a JSON object"),
            Error::UnknownOption { name } => write!(f, "unknown key provider option \"{name}\""),
            Error::MissingOption { name } => write!(f, "key provider option \"{name}\" is missing"),
            Error::WrongType { name, expected } => {
                write!(f, "key provider option \"{name}\" must be {expected}")
            }
            Error::OutOfRange { name, min, max } => {
                write!(f, "key provider option \"{name}\" must be between {min} and {max}")
            }
            Error::Conflict { one, other } => {
                write!(f, "key provider options \"{one}\" and \"{other}\" exclude each other")
            }
            Error::NotAbsolute { name } => {
                write!(f, "key provider option \"{name}\" must be an absolute path")
            }
            Error::KeyFileGone { path } => {
                write!(f, "root key file \"{}\" does not exist", path.display())
            }
            Error::PassphraseFileGone { path } => {
                write!(f, "passphrase file \"{}\" does not exist", path.display())
            }
            Error::InDataDirectory { path } => {
                write!(f, "file \"{}\" is inside the data directory", path.display())
            }
            Error::NotRegularFile { path } => {
                write!(f, "\"{}\" is not a regular file", path.display())
            }
            Error::WrongOwner { path } => {
                write!(f, "file \"{}\" belongs to another user than the server", path.display())
            }
            Error::OpenPermissions { path, mode } => {
                let path = path.display();
                write!(f, "file \"{path}\" has group or world access (mode {mode:04o})")
            }
            Error::BadKeyFile { path } => {
                write!(f, "file \"{}\" does not hold a root key", path.display())
            }
            Error::Io { action, path, kind } => {
                write!(f, "could not {action} \"{}\": {kind}", path.display())
            }
            Error::CommandStart { program, kind } => {
                write!(f, "could not start passphrase command \"{program}\": {kind}")
            }
            Error::CommandFailed { program, status: Some(status) } => {
                write!(f, "passphrase command \"{program}\" failed with exit status {status}")
            }
            Error::CommandFailed { program, status: None } => {
                write!(f, "passphrase command \"{program}\" was ended by a signal")
            }
            Error::CommandTimedOut { program, deadline } => {
                let ms = deadline.as_millis();
                write!(f, "passphrase command \"{program}\" took longer than {ms} ms")
            }
            Error::CommandOutput { program, limit } => {
                write!(f, "passphrase command \"{program}\" wrote more than {limit} bytes")
            }
            Error::CommandIo { program, kind } => {
                write!(f, "could not read from passphrase command \"{program}\": {kind}")
            }
            Error::Cancelled => f.write_str("canceling key provider call due to user request"),
            Error::PassphraseEmpty => f.write_str("passphrase is empty"),
            Error::PassphraseTooShort { min } => {
                write!(f, "passphrase is shorter than {min} characters")
            }
            Error::PassphraseTooLong { max } => {
                write!(f, "passphrase is longer than {max} bytes")
            }
            Error::PassphraseNotText => f.write_str("passphrase is not one line of UTF-8 text"),
            Error::OutOfMemory { kib } => {
                write!(f, "could not get {kib} kB of memory to derive a key from the passphrase")
            }
            Error::WrongPassphrase => f.write_str("wrong passphrase for this master key"),
            Error::WrongKeyFile { path } => {
                write!(f, "root key in \"{}\" is not this master key's", path.display())
            }
            Error::UnknownFormat => f.write_str("wrapped master key has an unknown format"),
            Error::BlobLimit => f.write_str("wrapped master key asks for too much work"),
            Error::Seed(e) => write!(f, "wrapped master key does not open: {e}"),
        }
    }
}

impl std::error::Error for Error {}
