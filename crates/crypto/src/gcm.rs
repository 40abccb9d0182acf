//! AES-256-GCM under a cached subkey.
//!
//! A row is a hundred bytes or two, and for those the `aes-gcm` crate spends more time around the
//! cipher than in it. So up to [`SHORT`] bytes the same mode is put together here from the parts
//! that crate is made of, `aes` and `ghash`: all blocks of the keystream in one call, GHASH from a
//! state that has the associated data in it already, and no block hashed by itself at the end. What
//! is longer goes through the crate, and the tests hold every length against it.

use aes::Aes256Enc;
use aes::cipher::consts::{U12, U16};
use aes::cipher::{
    Array, BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, KeyInit,
};
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, AesGcm};
use ctutils::CtEq;
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use zeroize::Zeroize;

use crate::Error;

/// The longest text that is not left to the `aes-gcm` crate.
const SHORT: usize = 16 * (SHORT_BLOCKS - 1);
const SHORT_BLOCKS: usize = 65;
/// Most rows. Their keystream has a shorter array, since clearing the long one is not for nothing.
const TINY: usize = 16 * (TINY_BLOCKS - 1);
const TINY_BLOCKS: usize = 20;

type Block = [u8; 16];

/// AES-256-GCM with one key, and with one associated data that is the same each time. The parts
/// are wiped on drop.
pub(crate) struct Gcm {
    aes: Aes256Enc,
    /// GHASH after the constant associated data.
    hash: GHash,
    aad_bits: u64,
    /// The same key as the `aes-gcm` crate has it, made when it is needed.
    whole: Option<Box<AesGcm<Aes256Enc, U12>>>,
}

impl Gcm {
    /// `aad` is what [`Self::seal`] and [`Self::open`] must be given again.
    pub(crate) fn new(key: &[u8; 32], aad: &[u8]) -> Self {
        let aes = Aes256Enc::new(key.into());
        let mut h = Array::default();
        aes.encrypt_block(&mut h);
        let mut hash = GHash::new(&h);
        h.zeroize();
        hash.update_padded(aad);
        Self { aes, hash, aad_bits: aad.len() as u64 * 8, whole: None }
    }

    /// Seals with the constant associated data. Returns the tag.
    #[inline]
    pub(crate) fn seal(
        &mut self,
        iv: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
    ) -> Result<Block, Error> {
        match text.len() {
            len if len <= TINY => Ok(self.seal_short::<TINY_BLOCKS>(iv, &[], text)),
            len if len <= SHORT => Ok(self.seal_short::<SHORT_BLOCKS>(iv, &[], text)),
            _ => self.seal_with(iv, aad, text),
        }
    }

    /// Seals with the constant associated data, whole blocks, and then `more` of it. Returns the tag.
    pub(crate) fn seal_more(
        &mut self,
        iv: &[u8; 12],
        aad: &[u8],
        more: &[u8],
        text: &mut [u8],
    ) -> Result<Block, Error> {
        debug_assert!(aad.len().is_multiple_of(16), "padding would come in between");
        match text.len() {
            len if len <= TINY => Ok(self.seal_short::<TINY_BLOCKS>(iv, more, text)),
            len if len <= SHORT => Ok(self.seal_short::<SHORT_BLOCKS>(iv, more, text)),
            _ => self.seal_with(iv, &[aad, more].concat(), text),
        }
    }

    /// Opens what [`Self::seal_more`] made. Nothing is written to `out` before the tag is verified.
    pub(crate) fn open_more(
        &mut self,
        iv: &[u8; 12],
        aad: &[u8],
        more: &[u8],
        sealed: &[u8],
        tag: &Block,
        out: &mut [u8],
    ) -> Result<(), Error> {
        match sealed.len() {
            len if len <= TINY => self.open_short::<TINY_BLOCKS>(iv, more, sealed, tag, out),
            len if len <= SHORT => self.open_short::<SHORT_BLOCKS>(iv, more, sealed, tag, out),
            _ => self.open_with(iv, &[aad, more].concat(), sealed, tag, out),
        }
    }

    /// Opens what [`Self::seal`] made. Nothing is written to `out` before the tag is verified.
    #[inline]
    pub(crate) fn open(
        &mut self,
        iv: &[u8; 12],
        aad: &[u8],
        sealed: &[u8],
        tag: &Block,
        out: &mut [u8],
    ) -> Result<(), Error> {
        match sealed.len() {
            len if len <= TINY => self.open_short::<TINY_BLOCKS>(iv, &[], sealed, tag, out),
            len if len <= SHORT => self.open_short::<SHORT_BLOCKS>(iv, &[], sealed, tag, out),
            _ => self.open_with(iv, aad, sealed, tag, out),
        }
    }

    /// Seals with any associated data. Returns the tag.
    pub(crate) fn seal_with(
        &mut self,
        iv: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
    ) -> Result<Block, Error> {
        let tag = self.whole().encrypt_inout_detached(iv.into(), aad, text.into());
        tag.map(Into::into).map_err(|_| Error::WrongLength)
    }

    /// Opens with any associated data. Nothing is written to `out` before the tag is verified.
    pub(crate) fn open_with(
        &mut self,
        iv: &[u8; 12],
        aad: &[u8],
        sealed: &[u8],
        tag: &Block,
        out: &mut [u8],
    ) -> Result<(), Error> {
        let buffer = InOutBuf::new(sealed, out).map_err(|_| Error::WrongLength)?;
        let opened = self.whole().decrypt_inout_detached(iv.into(), aad, buffer, tag.into());
        opened.map_err(|_| Error::Damaged)
    }

    fn whole(&mut self) -> &AesGcm<Aes256Enc, U12> {
        self.whole.get_or_insert_with(|| Box::new(self.aes.clone().into()))
    }

    #[inline(always)]
    fn seal_short<const N: usize>(&self, iv: &[u8; 12], more: &[u8], text: &mut [u8]) -> Block {
        let mut stream = [[0; 16]; N];
        let (mask, stream) = self.keystream(iv, text.len(), &mut stream);
        apply(stream, (&mut *text).into());
        xor(mask, &self.ghash(more, text))
    }

    #[inline(always)]
    fn open_short<const N: usize>(
        &self,
        iv: &[u8; 12],
        more: &[u8],
        sealed: &[u8],
        tag: &Block,
        out: &mut [u8],
    ) -> Result<(), Error> {
        let text = InOutBuf::new(sealed, out).map_err(|_| Error::WrongLength)?;
        let mut stream = [[0; 16]; N];
        let (mask, stream) = self.keystream(iv, sealed.len(), &mut stream);
        let expected = u128::from_ne_bytes(xor(mask, &self.ghash(more, sealed)));
        if !bool::from(expected.ct_eq(&u128::from_ne_bytes(*tag))) {
            return Err(Error::Damaged);
        }
        apply(stream, text);
        Ok(())
    }

    /// What AES makes of the counter: the mask of the tag, and what is added to a text of `len`
    /// bytes. An array of the caller's, since one of this length is not moved for nothing.
    #[inline(always)]
    fn keystream<'a, const N: usize>(
        &self,
        iv: &[u8; 12],
        len: usize,
        stream: &'a mut [Block; N],
    ) -> (&'a Block, &'a [u8]) {
        let (blocks, _) = stream.split_at_mut((len.div_ceil(16) + 1).min(N));
        self.aes.encrypt_with_backend(Counters { iv, blocks });
        let [mask, text @ ..] = &stream[..] else { unreachable!("the array is not empty") };
        (mask, text.as_flattened())
    }

    /// GHASH of the associated data, the sealed text and the block of lengths. Four blocks at once
    /// take as long as two one by one, and the last ones are waited for; so those that do not make
    /// up a four go first.
    #[inline(always)]
    fn ghash(&self, more: &[u8], sealed: &[u8]) -> Block {
        let mut hash = self.hash.clone();
        if !more.is_empty() {
            hash.update_padded(more);
        }
        let aad_bits = self.aad_bits + more.len() as u64 * 8;
        let blocks = sealed.len().div_ceil(16) + 1;
        let (alone, fours) = match blocks {
            0..4 => (0, 0),
            n => (n % 4, n - n % 4 - 4),
        };
        let (alone, rest) = sealed.split_at(16 * alone);
        let (fours, rest) = rest.split_at(16 * fours);
        hash.update(Array::slice_as_chunks(alone).0);
        hash.update(Array::slice_as_chunks(fours).0);

        let mut end = [[0; 16]; 4];
        let [.., lengths] = &mut end;
        lengths[..8].copy_from_slice(&aad_bits.to_be_bytes());
        lengths[8..].copy_from_slice(&(sealed.len() as u64 * 8).to_be_bytes());
        let (_, end) = end.split_at_mut(4 - blocks.min(4));
        let (text, _) = end.as_flattened_mut().split_at_mut(rest.len());
        text.copy_from_slice(rest);
        hash.update(Array::cast_slice_from_core(end));
        hash.finalize().into()
    }
}

/// Runs inside `aes` and as compiled for the processor it found.
struct Counters<'a> {
    iv: &'a [u8; 12],
    blocks: &'a mut [Block],
}

impl BlockSizeUser for Counters<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Counters<'_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        let mut counter = [0; 16];
        counter[..12].copy_from_slice(self.iv);
        let encrypt = |i: u32| {
            let mut block = counter;
            block[12..].copy_from_slice(&i.to_be_bytes());
            let mut block = block.into();
            backend.encrypt_block_inplace(&mut block);
            block.into()
        };
        for (block, i) in self.blocks.iter_mut().zip(1..) {
            *block = encrypt(i);
        }
    }
}

/// Adds the stream to a text that is not longer.
#[inline(always)]
fn apply(stream: &[u8], mut text: InOutBuf<'_, '_, u8>) {
    let (stream, _) = stream.split_at(text.len());
    let (Some(s), Some(t)) = (stream.last_chunk(), text.get_in().last_chunk()) else {
        return text.xor_in2out(stream);
    };
    // The last 16 bytes overlap the last whole block, so they are made before that is written.
    let end = xor(s, t);
    for (mut t, s) in text.reborrow().into_chunks::<U16>().0.into_iter().zip(stream.as_chunks().0) {
        *t.get_out() = xor(s, &t.clone_in().into()).into();
    }
    if let Some(t) = text.get_out().last_chunk_mut() {
        *t = end;
    }
}

#[inline(always)]
fn xor(a: &Block, b: &Block) -> Block {
    (u128::from_ne_bytes(*a) ^ u128::from_ne_bytes(*b)).to_ne_bytes()
}

#[cfg(test)]
mod tests;
