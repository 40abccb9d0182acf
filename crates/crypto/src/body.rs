//! The body of a sealed row: three bytes, then the heap tuple from its 23rd byte on.

use crate::Error;

/// What a heap tuple header says about the bytes after it, as kept inside the sealed row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowBody {
    /// Number of attributes.
    pub natts: u16,
    /// Whether there is a null bitmap (`HEAP_HASNULL`).
    pub has_null: bool,
    /// Whether an attribute has a variable width (`HEAP_HASVARWIDTH`).
    pub has_varwidth: bool,
    /// Whether an attribute is stored out of line (`HEAP_HASEXTERNAL`).
    pub has_external: bool,
    /// Offset of the first attribute from the start of the tuple (`t_hoff`).
    pub hoff: u8,
}

impl RowBody {
    /// Length of the fields in front of the tuple's bytes.
    pub const LEN: usize = 3;
    /// `offsetof(HeapTupleHeaderData, t_bits)`: the tuple's bytes are stored from here.
    pub const TUPLE_FROM: usize = 23;
    /// `MaxHeapAttributeNumber`.
    pub const MAX_NATTS: u16 = 1600;

    /// The bit of [`RowBody::has_null`] in the first two bytes.
    pub const HAS_NULL: u16 = 1 << 11;
    /// The bit of [`RowBody::has_varwidth`].
    pub const HAS_VARWIDTH: u16 = 1 << 12;
    /// The bit of [`RowBody::has_external`].
    pub const HAS_EXTERNAL: u16 = 1 << 13;
    /// The bits of [`RowBody::natts`].
    pub const NATTS: u16 = Self::HAS_NULL - 1;
    const UNUSED: u16 = 0b11 << 14;

    /// Writes the three bytes, if the fields agree with each other.
    pub fn write(&self, out: &mut [u8; 3]) -> Result<(), Error> {
        self.check()?;
        let flag = |on: bool, bit: u16| if on { bit } else { 0 };
        let info = self.natts
            | flag(self.has_null, Self::HAS_NULL)
            | flag(self.has_varwidth, Self::HAS_VARWIDTH)
            | flag(self.has_external, Self::HAS_EXTERNAL);
        let [a, b] = info.to_be_bytes();
        *out = [a, b, self.hoff];
        Ok(())
    }

    /// Reads and checks the fields of `body`, whole as it was sealed. On success the tuple's bytes
    /// `body[RowBody::LEN..]` reach at least to `hoff`.
    #[inline]
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let (info, hoff) = Self::fields(body).ok_or(Error::BadRowBody)?;
        Ok(RowBody {
            natts: info & Self::NATTS,
            has_null: info & Self::HAS_NULL != 0,
            has_varwidth: info & Self::HAS_VARWIDTH != 0,
            has_external: info & Self::HAS_EXTERNAL != 0,
            hoff,
        })
    }

    /// What `parse` checks, as it is stored: `natts` with the three flags in bits 11, 12 and 13, and `hoff`. For who
    /// opens one row after the other: numbers stay in registers, where the six bytes of the struct were put together
    /// in memory and waited for (4 ns).
    #[inline(always)]
    pub fn fields(body: &[u8]) -> Option<(u16, u8)> {
        let &[a, b, hoff, ref tuple @ ..] = body else { return None };
        let info = u16::from_be_bytes([a, b]);
        let hoff_is = Self::hoff_for(info & Self::NATTS, info & Self::HAS_NULL != 0);
        let good = info & Self::UNUSED == 0
            && info & Self::NATTS <= Self::MAX_NATTS
            && usize::from(hoff) == hoff_is
            && tuple.len() + Self::TUPLE_FROM >= hoff_is;
        good.then_some((info, hoff))
    }

    /// The only `t_hoff` that PostgreSQL gives a tuple with this many attributes.
    #[inline]
    pub const fn hoff_for(natts: u16, has_null: bool) -> usize {
        let bitmap = if has_null { (natts as usize).div_ceil(8) } else { 0 };
        (Self::TUPLE_FROM + bitmap).next_multiple_of(8)
    }

    fn check(&self) -> Result<(), Error> {
        let hoff = Self::hoff_for(self.natts, self.has_null);
        if self.natts > Self::MAX_NATTS || usize::from(self.hoff) != hoff {
            return Err(Error::BadRowBody);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
