//! Rows of several parts: columns in clear, and groups of columns each sealed under a key of its own.
//!
//! The sealed form is `header 22 | length 2 | clear part | per group: length 2 | tag 16 | ciphertext`
//! (docs/format.md). One nonce serves all groups of a row, because no two of them have the same key. The
//! associated data of each group ends with everything up to the end of the clear part: what is in clear
//! cannot be changed, nor a group be put beside another row's. Each group opens alone.

use core::ops::Range;

use crate::nonce::Nonce;
use crate::row::{HEADER_LEN, LayoutKey, PARTS_FORMAT, TAG_LEN, iv, iv_of, write_header};
use crate::xaes::SubkeyCache;
use crate::{Error, LayoutId};

/// How many groups of columns a layout may have.
pub const MAX_GROUPS: usize = 8;
/// Where the clear part begins: behind the header and its length.
pub const CLEAR_AT: usize = HEADER_LEN + LENGTH;
/// What a group adds to its plaintext.
pub const GROUP_OVERHEAD: usize = LENGTH + TAG_LEN;
const LENGTH: usize = 2;

/// Where the parts of a row are in its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    clear: usize,
    /// Where each group's ciphertext begins and ends.
    groups: [(usize, usize); MAX_GROUPS],
    count: usize,
    len: usize,
}

impl Parts {
    /// A row with so many bytes in clear and in each of its groups.
    pub fn new(clear: usize, groups: impl IntoIterator<Item = usize>) -> Result<Self, Error> {
        let mut parts =
            Self { clear, groups: [(0, 0); MAX_GROUPS], count: 0, len: CLEAR_AT + clear };
        fits(clear)?;
        for len in groups {
            fits(len)?;
            parts.push(len)?;
        }
        Ok(parts)
    }

    /// The parts of a payload of a layout with `count` groups. Nothing is verified by this but that they
    /// make up the whole.
    pub fn read(payload: &[u8], count: usize) -> Result<Self, Error> {
        let mut parts = Self::new(length_at(payload, HEADER_LEN)?, [])?;
        for _ in 0..count {
            parts.push(length_at(payload, parts.len)?)?;
        }
        if parts.len != payload.len() { Err(Error::WrongLength) } else { Ok(parts) }
    }

    /// Where the clear part of a payload is, without a look at what is behind it.
    #[inline]
    pub fn clear_of(payload: &[u8]) -> Result<Range<usize>, Error> {
        let range = CLEAR_AT..CLEAR_AT + length_at(payload, HEADER_LEN)?;
        if range.end > payload.len() { Err(Error::WrongLength) } else { Ok(range) }
    }

    fn push(&mut self, len: usize) -> Result<(), Error> {
        let start = self.len + GROUP_OVERHEAD;
        let place = self.groups.get_mut(self.count).ok_or(Error::WrongLength)?;
        *place = (start, start + len);
        self.count += 1;
        self.len = start + len;
        Ok(())
    }

    /// Bytes of the payload. Never 0: there is the header.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many groups there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Where the clear part is.
    pub fn clear(&self) -> Range<usize> {
        CLEAR_AT..CLEAR_AT + self.clear
    }

    /// Where the text of a group is, sealed or to be sealed.
    pub fn group(&self, group: usize) -> Option<Range<usize>> {
        let (start, end) = *self.groups.get(..self.count)?.get(group)?;
        Some(start..end)
    }
}

/// Seals a row in place: the clear part and the plaintext of each group are where `parts` has them. `keys`
/// are those of its groups, each made by [`LayoutKey::derive_group`] with another layout.
pub fn seal_parts(
    layout: LayoutId,
    keys: &[&LayoutKey],
    cache: &mut SubkeyCache,
    nonce: Nonce,
    parts: &Parts,
    payload: &mut [u8],
) -> Result<(), Error> {
    if payload.len() != parts.len || keys.len() != parts.count {
        return Err(Error::WrongLength);
    }
    let (front, mut rest) =
        payload.split_at_mut_checked(CLEAR_AT + parts.clear).ok_or(Error::WrongLength)?;
    let (header, clear) = front.split_first_chunk_mut().ok_or(Error::WrongLength)?;
    write_header(header, PARTS_FORMAT << 28 | layout.get(), &nonce);
    put_length(clear, parts.clear)?;
    let iv = iv_of(nonce.rnd, nonce.counter.to_be_bytes());
    for (key, (start, end)) in keys.iter().zip(parts.groups) {
        let (group, behind) =
            rest.split_at_mut_checked(GROUP_OVERHEAD + (end - start)).ok_or(Error::WrongLength)?;
        put_length(group, end - start)?;
        let (_, group) = group.split_at_mut(LENGTH);
        let (tag, text) = group.split_first_chunk_mut().ok_or(Error::WrongLength)?;
        *tag = key.part_cipher(cache, nonce.salt).seal(&iv, front, text)?;
        rest = behind;
    }
    Ok(())
}

/// Opens one group of a row into `out`, which is as long as [`Parts::group`] says. On error `out` is all zero.
pub fn open_part(
    group: usize,
    key: &LayoutKey,
    cache: &mut SubkeyCache,
    parts: &Parts,
    payload: &[u8],
    out: &mut [u8],
) -> Result<(), Error> {
    let opened = try_open(group, key, cache, parts, payload, out);
    if opened.is_err() {
        out.fill(0);
    }
    opened
}

fn try_open(
    group: usize,
    key: &LayoutKey,
    cache: &mut SubkeyCache,
    parts: &Parts,
    payload: &[u8],
    out: &mut [u8],
) -> Result<(), Error> {
    let range = parts.group(group).ok_or(Error::WrongLength)?;
    let (front, _) = payload.split_at_checked(CLEAR_AT + parts.clear).ok_or(Error::WrongLength)?;
    let header: &[u8; HEADER_LEN] = front.first_chunk().ok_or(Error::WrongLength)?;
    let [_, _, _, _, s0, s1, s2, s3, s4, s5, s6, s7, ..] = *header;
    let tag = payload.get(range.start - TAG_LEN..range.start).and_then(|t| t.first_chunk());
    let (Some(tag), Some(sealed)) = (tag, payload.get(range)) else {
        return Err(Error::WrongLength);
    };
    if out.len() != sealed.len() {
        return Err(Error::WrongLength);
    }
    let gcm = key.part_cipher(cache, [s0, s1, s2, s3, s4, s5, s6, s7]);
    Ok(gcm.open(&iv(header), front, sealed, tag, out)?)
}

fn fits(len: usize) -> Result<(), Error> {
    u16::try_from(len).map(drop).map_err(|_| Error::WrongLength)
}

fn length_at(payload: &[u8], at: usize) -> Result<usize, Error> {
    let bytes = payload.get(at..).and_then(|rest| rest.first_chunk());
    bytes.map(|bytes| u16::from_be_bytes(*bytes).into()).ok_or(Error::WrongLength)
}

fn put_length(place: &mut [u8], len: usize) -> Result<(), Error> {
    let len = u16::try_from(len).map_err(|_| Error::WrongLength)?;
    *place.first_chunk_mut().ok_or(Error::WrongLength)? = len.to_be_bytes();
    Ok(())
}

#[cfg(test)]
mod tests;
