//! Sealing and opening of rows and TOAST chunks.
//!
//! Both are XAES-256-GCM under a key of their own, with the nonce of [`crate::nonce`]. The sealed
//! form is `header 22 | tag 16 | ciphertext`; the ciphertext is as long as the plaintext.

use core::fmt;

use sealed_aead::Gcm;
use zeroize::Zeroizing;

use crate::nonce::Nonce;
use crate::xaes::{Prefix, SubkeyCache, Xaes};
use crate::{Dek, Error, Id, LayoutId, Secret, kdf};

/// Length of the header: format and layout 4, salt 8, rnd 6, counter 4.
pub const HEADER_LEN: usize = 22;
/// Length of the tag.
pub const TAG_LEN: usize = 16;
/// What sealing adds.
pub const OVERHEAD: usize = HEADER_LEN + TAG_LEN;
/// Plaintext of a full TOAST chunk: `TOAST_MAX_CHUNK_SIZE` of an 8-KiB server less [`OVERHEAD`].
pub const CHUNK_PLAIN: usize = 1996 - OVERHEAD;

/// The format of rows of one part, and of chunks.
const FORMAT: u32 = 1;
/// The format of rows of several parts ([`crate::parts`]).
pub(crate) const PARTS_FORMAT: u32 = 2;

/// The keys of one layout: one for rows and one for TOAST chunks, derived from the data key, with
/// the constant part of the associated data. Wiped on drop.
pub struct LayoutKey(Box<Inner>);

struct Inner {
    layout: LayoutId,
    /// Format and layout id: the first four bytes of every sealed payload.
    head: u32,
    row: Xaes,
    row_aad: [u8; AAD_LEN],
    chunk: Xaes,
    chunk_aad: [u8; AAD_LEN],
    /// What the keys of index columns come from.
    index: Secret<32>,
    index_aad: [u8; AAD_LEN],
}

/// Label 8, format 1, purpose 1, table 16, group 2, layout 4.
pub(crate) const AAD_LEN: usize = 32;
const AAD_LABEL: &[u8; 8] = b"pgsealed";

/// Which chunk of which value this is. Authenticated, not stored in the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkId {
    /// The TOAST value (`chunk_id`, `va_valueid`).
    pub value_id: u32,
    /// Number of the chunk within it (`chunk_seq`).
    pub seq: u32,
    /// Length of the whole value as stored, all chunks together, in plaintext.
    pub total: u32,
}

impl ChunkId {
    /// What the associated data of a chunk ends with.
    #[inline]
    fn bytes(&self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&self.value_id.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.seq.to_be_bytes());
        bytes[8..].copy_from_slice(&self.total.to_be_bytes());
        bytes
    }
}

#[derive(Clone, Copy)]
enum What {
    Row = 1,
    Chunk = 2,
    Part = 3,
    Index = 4,
}

/// What a payload is sealed under: the key, with the associated data that its subkeys have hashed once and for all,
/// and what of it is this payload's own.
#[derive(Clone, Copy)]
pub(crate) struct Under<'a> {
    pub xaes: &'a Xaes,
    pub head: u32,
    pub aad: &'a [u8; AAD_LEN],
    pub more: &'a [u8],
}

impl LayoutKey {
    /// Derives the keys of a layout of `table` whose rows have one part.
    pub fn derive(dek: &Dek, table: &Id, layout: LayoutId) -> Self {
        Self::with(dek, table, layout, b"row v1", aad(What::Row, table, layout, 0))
    }

    /// Derives the keys of the layout that a group of columns has within one whose rows have several parts.
    /// `group`: its number there, from 1.
    pub fn derive_group(dek: &Dek, table: &Id, layout: LayoutId, group: u16) -> Self {
        Self::with(dek, table, layout, b"part v1", aad(What::Part, table, layout, group))
    }

    fn with(dek: &Dek, table: &Id, layout: LayoutId, row: &[u8], row_aad: [u8; AAD_LEN]) -> Self {
        let xaes = |label: &[u8]| {
            let mut key = Zeroizing::new([0; 32]);
            let info = [label, &table.0[..], &layout.get().to_be_bytes()];
            kdf::expand(dek.expose(), &info, &mut key[..]);
            Xaes::new(&key)
        };
        Self(Box::new(Inner {
            layout,
            head: FORMAT << 28 | layout.get(),
            row: xaes(row),
            row_aad,
            chunk: xaes(b"chunk v1"),
            chunk_aad: aad(What::Chunk, table, layout, 0),
            index: Secret::from_fn(|key| {
                let info = [&b"index v1"[..], &table.0, &layout.get().to_be_bytes()];
                kdf::expand(dek.expose(), &info, key);
            }),
            index_aad: aad(What::Index, table, layout, 0),
        }))
    }

    /// The layout these keys belong to.
    #[inline]
    pub fn layout(&self) -> LayoutId {
        self.0.layout
    }

    /// What the keys of an index column come from, and the constant part of their associated data.
    pub(crate) fn index(&self, column: u16) -> (&[u8; 32], [u8; AAD_LEN]) {
        let mut aad = self.0.index_aad;
        aad[26..28].copy_from_slice(&column.to_be_bytes());
        (self.0.index.expose(), aad)
    }

    /// The cipher of a part under this key. It has the constant part of its associated data.
    #[inline]
    pub(crate) fn part_cipher<'c>(&self, cache: &'c mut SubkeyCache, salt: [u8; 8]) -> &'c Gcm {
        let head = PARTS_FORMAT << 28 | self.0.layout.get();
        cache.subkey(&self.0.row, Prefix { head, salt }, &self.0.row_aad)
    }

    fn row(&self) -> Under<'_> {
        let Inner { head, row, row_aad, .. } = &*self.0;
        Under { xaes: row, head: *head, aad: row_aad, more: &[] }
    }

    fn chunk<'a>(&'a self, id: &'a [u8; 12]) -> Under<'a> {
        let Inner { head, chunk, chunk_aad, .. } = &*self.0;
        Under { xaes: chunk, head: *head, aad: chunk_aad, more: id }
    }
}

impl fmt::Debug for LayoutKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayoutKey").field("layout", &self.0.layout).finish_non_exhaustive()
    }
}

/// How a sealed payload is built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Build {
    /// A row of one part, or a chunk.
    Whole,
    /// A row of several parts ([`crate::parts`]).
    Parts,
}

/// The layout a sealed payload of one part names in its header. Nothing is verified by this.
#[inline]
pub fn sealed_layout(payload: &[u8]) -> Result<LayoutId, Error> {
    match sealed_as(payload)? {
        (Build::Whole, layout) => Ok(layout),
        (Build::Parts, _) => Err(Error::UnknownFormat),
    }
}

/// How a sealed payload is built, and the layout it names in its header. Nothing is verified by this.
#[inline]
pub fn sealed_as(payload: &[u8]) -> Result<(Build, LayoutId), Error> {
    if payload.len() < HEADER_LEN {
        return Err(Error::WrongLength);
    }
    let Some((head, _)) = payload.split_first_chunk() else { return Err(Error::WrongLength) };
    let head = u32::from_be_bytes(*head);
    let build = match head >> 28 {
        FORMAT if payload.len() < OVERHEAD => return Err(Error::WrongLength),
        FORMAT => Build::Whole,
        PARTS_FORMAT => Build::Parts,
        _ => return Err(Error::UnknownFormat),
    };
    Ok((build, LayoutId::new(head & LayoutId::MAX).map_err(|_| Error::Damaged)?))
}

/// Seals a row in place. `payload` is [`OVERHEAD`] bytes of room, whatever they hold, followed by
/// the body.
pub fn seal_row(
    key: &LayoutKey,
    cache: &mut SubkeyCache,
    nonce: Nonce,
    payload: &mut [u8],
) -> Result<(), Error> {
    seal(key.row(), cache, nonce, payload)
}

/// Opens a row into `body`, which is [`OVERHEAD`] shorter than `payload`. On error `body` is all
/// zero.
pub fn open_row(
    key: &LayoutKey,
    cache: &mut SubkeyCache,
    payload: &[u8],
    body: &mut [u8],
) -> Result<(), Error> {
    open(key.row(), cache, payload, body)
}

/// Seals a chunk in place, as [`seal_row`] does a row.
pub fn seal_chunk(
    key: &LayoutKey,
    cache: &mut SubkeyCache,
    nonce: Nonce,
    id: &ChunkId,
    payload: &mut [u8],
) -> Result<(), Error> {
    seal(key.chunk(&id.bytes()), cache, nonce, payload)
}

/// Opens a chunk into `plain`, as [`open_row`] does a row. A chunk opens only as the one it was
/// sealed as.
pub fn open_chunk(
    key: &LayoutKey,
    cache: &mut SubkeyCache,
    id: &ChunkId,
    payload: &[u8],
    plain: &mut [u8],
) -> Result<(), Error> {
    open(key.chunk(&id.bytes()), cache, payload, plain)
}

pub(crate) fn seal(
    under: Under<'_>,
    cache: &mut SubkeyCache,
    nonce: Nonce,
    payload: &mut [u8],
) -> Result<(), Error> {
    let Some((header, rest)) = payload.split_first_chunk_mut::<HEADER_LEN>() else {
        return Err(Error::WrongLength);
    };
    let Some((tag, body)) = rest.split_first_chunk_mut::<TAG_LEN>() else {
        return Err(Error::WrongLength);
    };
    let Under { xaes, head, aad, more } = under;
    write_header(header, head, &nonce);
    let gcm = cache.subkey(xaes, Prefix { head, salt: nonce.salt }, aad);
    *tag = gcm.seal(&iv_of(nonce.rnd, nonce.counter.to_be_bytes()), more, body)?;
    Ok(())
}

// Always: as `Gcm::open`.
#[inline(always)]
pub(crate) fn open(
    under: Under<'_>,
    cache: &mut SubkeyCache,
    payload: &[u8],
    out: &mut [u8],
) -> Result<(), Error> {
    let opened = try_open(under, cache, payload, out);
    if opened.is_err() {
        out.fill(0);
    }
    opened
}

#[inline(always)]
fn try_open(
    under: Under<'_>,
    cache: &mut SubkeyCache,
    payload: &[u8],
    out: &mut [u8],
) -> Result<(), Error> {
    let Some((header, rest)) = payload.split_first_chunk::<HEADER_LEN>() else {
        return Err(Error::WrongLength);
    };
    let Some((tag, sealed)) = rest.split_first_chunk::<TAG_LEN>() else {
        return Err(Error::WrongLength);
    };
    let Under { xaes, head, aad, more } = under;
    let [h0, h1, h2, h3, s0, s1, s2, s3, s4, s5, s6, s7, ..] = *header;
    if [h0, h1, h2, h3] != head.to_be_bytes() {
        return Err(other_layout(payload));
    }
    let salt = [s0, s1, s2, s3, s4, s5, s6, s7];
    if out.len() != sealed.len() {
        return Err(Error::WrongLength);
    }
    // It checks the tag before it writes a byte of plaintext.
    Ok(cache.subkey(xaes, Prefix { head, salt }, aad).open(&iv(header), more, sealed, tag, out)?)
}

#[inline]
pub(crate) fn write_header(header: &mut [u8; HEADER_LEN], head: u32, nonce: &Nonce) {
    header[..4].copy_from_slice(&head.to_be_bytes());
    header[4..12].copy_from_slice(&nonce.salt);
    header[12..18].copy_from_slice(&nonce.rnd);
    header[18..].copy_from_slice(&nonce.counter.to_be_bytes());
}

#[cold]
fn other_layout(payload: &[u8]) -> Error {
    match sealed_layout(payload) {
        Ok(_) => Error::WrongLayout,
        Err(e) => e,
    }
}

/// The last 12 bytes of the XAES nonce: rnd 6, two zero bytes, counter 4.
#[inline]
pub(crate) fn iv(header: &[u8; HEADER_LEN]) -> [u8; 12] {
    let [.., r0, r1, r2, r3, r4, r5, c0, c1, c2, c3] = *header;
    iv_of([r0, r1, r2, r3, r4, r5], [c0, c1, c2, c3])
}

/// Put together of two numbers, as the cipher reads it: a number that was stored in pieces just now is not
/// forwarded by the processor, but waited for (10 ns).
#[inline]
pub(crate) fn iv_of([r0, r1, r2, r3, r4, r5]: [u8; 6], counter: [u8; 4]) -> [u8; 12] {
    let mut iv = [0; 12];
    let (rnd, behind) = iv.split_at_mut(8);
    rnd.copy_from_slice(&u64::from_le_bytes([r0, r1, r2, r3, r4, r5, 0, 0]).to_le_bytes());
    behind.copy_from_slice(&counter);
    iv
}

fn aad(what: What, table: &Id, layout: LayoutId, group: u16) -> [u8; AAD_LEN] {
    let mut aad = [0; AAD_LEN];
    aad[..8].copy_from_slice(AAD_LABEL);
    aad[8] = match what {
        What::Row | What::Chunk | What::Index => FORMAT as u8,
        What::Part => PARTS_FORMAT as u8,
    };
    aad[9] = what as u8;
    aad[10..26].copy_from_slice(&table.0);
    aad[26..28].copy_from_slice(&group.to_be_bytes());
    aad[28..].copy_from_slice(&layout.get().to_be_bytes());
    aad
}

#[cfg(test)]
mod tests;
