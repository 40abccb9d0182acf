//! Names of things: suites, keys and tables, layouts.

use core::fmt;
use core::str::FromStr;

use rand_core::CryptoRng;

use crate::Error;

/// A combination of KEM, KDF and AEAD for wrapping keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Suite {
    /// HPKE with MLKEM768-X25519 (X-Wing), HKDF-SHA256, AES-256-GCM.
    XWingAes256 = 1,
    /// HPKE with ML-KEM-1024, HKDF-SHA384, AES-256-GCM.
    MlKem1024Aes256 = 2,
    /// HPKE with DHKEM(X25519), HKDF-SHA256, AES-256-GCM, as RFC 9180 has it: classical. Only for escrow
    /// recipients whose systems know nothing else; never for a master key.
    X25519Aes256 = 3,
}

impl Suite {
    /// Every suite that a master key may have.
    pub const ALL: [Suite; 2] = [Suite::XWingAes256, Suite::MlKem1024Aes256];
    /// Those, and the classical one of legacy recipients.
    pub const WITH_LEGACY: [Suite; 3] =
        [Suite::XWingAes256, Suite::MlKem1024Aes256, Suite::X25519Aes256];

    /// Whether a quantum computer would open what was wrapped.
    pub const fn is_legacy(self) -> bool {
        matches!(self, Suite::X25519Aes256)
    }

    /// Its name in SQL.
    pub const fn name(self) -> &'static str {
        match self {
            Suite::XWingAes256 => "xwing-aes256gcm",
            Suite::MlKem1024Aes256 => "mlkem1024-aes256gcm",
            Suite::X25519Aes256 => "x25519-aes256gcm",
        }
    }

    /// Its HPKE ids: KEM, KDF, AEAD.
    pub const fn hpke_ids(self) -> [u16; 3] {
        match self {
            Suite::XWingAes256 => [0x647a, 0x0001, 0x0002],
            Suite::MlKem1024Aes256 => [0x0042, 0x0002, 0x0002],
            Suite::X25519Aes256 => [0x0020, 0x0001, 0x0002],
        }
    }

    /// The suite with these HPKE ids.
    pub fn from_hpke_ids(ids: [u16; 3]) -> Result<Self, Error> {
        Suite::WITH_LEGACY.into_iter().find(|s| s.hpke_ids() == ids).ok_or(Error::UnknownSuite)
    }

    /// Length of a public key.
    pub const fn public_key_len(self) -> usize {
        match self {
            Suite::XWingAes256 => 1216,
            Suite::MlKem1024Aes256 => 1568,
            Suite::X25519Aes256 => 32,
        }
    }

    /// Length of an encapsulated key.
    pub const fn enc_len(self) -> usize {
        match self {
            Suite::XWingAes256 => 1120,
            Suite::MlKem1024Aes256 => 1568,
            Suite::X25519Aes256 => 32,
        }
    }

    /// Length of a private key as HPKE writes it: a seed.
    pub const fn private_key_len(self) -> usize {
        match self {
            Suite::XWingAes256 | Suite::X25519Aes256 => 32,
            Suite::MlKem1024Aes256 => 64,
        }
    }
}

impl TryFrom<u16> for Suite {
    type Error = Error;

    fn try_from(id: u16) -> Result<Self, Error> {
        Suite::WITH_LEGACY.into_iter().find(|s| *s as u16 == id).ok_or(Error::UnknownSuite)
    }
}

impl FromStr for Suite {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Suite::WITH_LEGACY.into_iter().find(|s| s.name() == name).ok_or(Error::UnknownSuite)
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name of a key, a recipient or a table: a random uuid (version 4), not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Id(pub [u8; 16]);

impl Id {
    /// All zero: the table of a key that belongs to none.
    pub const NIL: Id = Id([0; 16]);

    /// A new one.
    pub fn make(rng: &mut impl CryptoRng) -> Self {
        let mut b = [0; 16];
        rng.fill_bytes(&mut b);
        b[6] = (b[6] & 0x0f) | 0x40;
        b[8] = (b[8] & 0x3f) | 0x80;
        Id(b)
    }

    /// Whether it is [`Id::NIL`].
    pub fn is_nil(&self) -> bool {
        *self == Id::NIL
    }
}

impl FromStr for Id {
    type Err = Error;

    /// Reads what `Display` writes: 32 hexadecimal digits, with or without dashes.
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut digits = text.chars().filter(|c| *c != '-').map(|c| c.to_digit(16));
        let mut id = Self::NIL;
        for byte in &mut id.0 {
            match (digits.next(), digits.next()) {
                (Some(Some(high)), Some(Some(low))) => *byte = (high << 4 | low) as u8,
                _ => return Err(Error::WrongLength),
            }
        }
        if digits.next().is_some() { Err(Error::WrongLength) } else { Ok(id) }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, b) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{b:02x}")?;
        }
        Ok(())
    }
}

/// The number of a layout, 1..2^28-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayoutId(u32);

impl LayoutId {
    /// The largest.
    pub const MAX: u32 = (1 << 28) - 1;

    /// Checks the range.
    pub const fn new(id: u32) -> Result<Self, Error> {
        if id >= 1 && id <= Self::MAX { Ok(Self(id)) } else { Err(Error::BadLayoutId) }
    }

    /// As a number.
    #[inline]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for LayoutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KernelRng;

    #[test]
    fn suites_have_one_name_each() {
        for s in Suite::WITH_LEGACY {
            assert_eq!(s.is_legacy(), !Suite::ALL.contains(&s));
            assert_eq!(s.name().parse(), Ok(s));
            assert_eq!(Suite::try_from(s as u16), Ok(s));
            assert_eq!(Suite::from_hpke_ids(s.hpke_ids()), Ok(s));
            assert_eq!(s.to_string(), s.name());
        }
        for bad in ["", "xwing", "XWING-AES256GCM", "xwing-aes256gcm "] {
            assert_eq!(bad.parse::<Suite>(), Err(Error::UnknownSuite));
        }
        assert_eq!(Suite::try_from(0), Err(Error::UnknownSuite));
        assert_eq!(Suite::try_from(4), Err(Error::UnknownSuite));
        assert_eq!(Suite::from_hpke_ids([0x647a, 2, 2]), Err(Error::UnknownSuite));
    }

    #[test]
    fn ids_are_uuids() {
        let id = Id::make(&mut KernelRng);
        assert_eq!(id.0[6] >> 4, 4);
        assert_eq!(id.0[8] >> 6, 2);
        assert_ne!(id, Id::make(&mut KernelRng));
        let b: [u8; 16] = core::array::from_fn(|i| i as u8);
        assert_eq!(Id(b).to_string(), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    }

    #[test]
    fn layout_ids_have_28_bits() {
        assert_eq!(LayoutId::new(0), Err(Error::BadLayoutId));
        assert_eq!(LayoutId::new(1).map(LayoutId::get), Ok(1));
        assert_eq!(LayoutId::new((1 << 28) - 1).map(LayoutId::get), Ok((1 << 28) - 1));
        assert_eq!(LayoutId::new(1 << 28), Err(Error::BadLayoutId));
        assert_eq!(LayoutId::new(u32::MAX), Err(Error::BadLayoutId));
    }
}
