//! What can go wrong. No error carries a byte of input, key or plaintext.

use core::fmt;

/// Every failure of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Error {
    /// The authentication tag does not match, or a field has a value that no writer of this format
    /// produces. Damaged, forged, moved from another place, or opened with another key: which one
    /// cannot be told.
    Damaged,
    /// The key that should open this is certainly not the one it was wrapped under.
    WrongKey,
    /// A record wrapped to another master key or recipient than the one at hand.
    WrongRecipient,
    /// A row sealed under another layout than the one at hand.
    WrongLayout,
    /// Not one of our formats, or a version of it that this code does not know.
    UnknownFormat,
    /// A suite, or a combination of HPKE algorithm ids, that this code does not know.
    UnknownSuite,
    /// Too short, too long, or not exactly as long as its own fields say.
    WrongLength,
    /// A record in HPKE base mode, where only one in PSK mode may be opened.
    BaseMode,
    /// A public key that is not one of its suite.
    BadPublicKey,
    /// A header that the caller filled in with values that do not go together.
    BadHeader,
    /// A layout id outside 1..2^28.
    BadLayoutId,
    /// A row body whose fields contradict each other.
    BadRowBody,
    /// A bound on the use of a key or of a nonce block is reached.
    LimitReached,
    /// The kernel gave no random bytes.
    NoRandomness,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Damaged => "sealed data is damaged or was sealed under another key",
            Error::WrongKey => "wrapping key is not the one used for this secret",
            Error::WrongRecipient => "key record is wrapped to another master key",
            Error::WrongLayout => "row is sealed under another layout",
            Error::UnknownFormat => "sealed data has an unknown format",
            Error::UnknownSuite => "unknown cryptographic suite",
            Error::WrongLength => "sealed data has a wrong length",
            Error::BaseMode => "key record is in base mode and not authenticated",
            Error::BadPublicKey => "invalid public key",
            Error::BadHeader => "invalid key record header",
            Error::BadLayoutId => "layout id out of range",
            Error::BadRowBody => "invalid sealed row body",
            Error::LimitReached => "usage limit of a key is reached",
            Error::NoRandomness => "no random bytes from the kernel",
        })
    }
}

impl core::error::Error for Error {}

impl From<sealed_aead::Error> for Error {
    fn from(error: sealed_aead::Error) -> Self {
        match error {
            sealed_aead::Error::Refused => Self::Damaged,
            sealed_aead::Error::Length => Self::WrongLength,
        }
    }
}
