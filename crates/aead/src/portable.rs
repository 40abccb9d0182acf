//! GCM of the crates that `aes-gcm` is made of. That crate itself wants all associated data in one piece, which
//! would have to be put together for each message.

use aes::Aes256Enc;
use aes::cipher::consts::U16;
use aes::cipher::inout::InOutBuf;
use aes::cipher::{
    Array, BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, KeyInit,
};
use ctutils::CtEq;
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use zeroize::Zeroize;

use crate::{Block, Iv, Pending, Tag};

/// Blocks of keystream made at once.
const STRIDE: usize = 16;

pub(crate) struct Keys {
    aes: Aes256Enc,
    /// GHASH after the whole blocks of the constant associated data.
    hash: GHash,
    pending: Pending,
    aad_len: u64,
}

impl Keys {
    pub(crate) fn new(key: &[u8; 32], aad: &[u8]) -> Self {
        let aes = Aes256Enc::new(key.into());
        let mut h = Array::default();
        aes.encrypt_block(&mut h);
        let mut hash = GHash::new(&h);
        h.zeroize();
        let (blocks, rest) = Array::slice_as_chunks(aad);
        hash.update(blocks);
        Self { aes, hash, pending: Pending::new(rest), aad_len: aad.len() as u64 }
    }

    pub(crate) fn seal(&self, iv: &Iv, more: &[u8], text: &mut [u8]) -> Tag {
        self.apply(iv, (&mut *text).into());
        self.tag(iv, more, text).to_ne_bytes()
    }

    pub(crate) fn open(&self, iv: &Iv, more: &[u8], tag: &Tag, text: InOutBuf<'_, '_, u8>) -> bool {
        let expected = self.tag(iv, more, text.get_in());
        let right = bool::from(expected.ct_eq(&u128::from_ne_bytes(*tag)));
        if right {
            self.apply(iv, text);
        }
        right
    }

    /// Adds the keystream.
    fn apply(&self, iv: &Iv, text: InOutBuf<'_, '_, u8>) {
        let mut first = 2;
        let mut stream = [[0; 16]; STRIDE];
        let mut rest = text;
        while !rest.is_empty() {
            let len = rest.len().min(16 * STRIDE);
            let (now, behind) = rest.split_at(len);
            rest = behind;
            let (blocks, _) = stream.split_at_mut(len.div_ceil(16));
            self.aes.encrypt_with_backend(Counters { iv, first, blocks });
            first = first.wrapping_add(STRIDE as u32);
            // A block is read whole before it is written: the two may be the same place, which bytes would wait for.
            let (whole, mut end) = now.into_chunks::<U16>();
            for (mut text, stream) in whole.into_iter().zip(&*blocks) {
                let sum =
                    u128::from_ne_bytes(text.clone_in().into()) ^ u128::from_ne_bytes(*stream);
                *text.get_out() = sum.to_ne_bytes().into();
            }
            let (_, stream) = blocks.as_flattened().split_at(len / 16 * 16);
            let (stream, _) = stream.split_at(end.len());
            end.xor_in2out(stream);
        }
        stream.as_flattened_mut().zeroize();
    }

    fn tag(&self, iv: &Iv, more: &[u8], sealed: &[u8]) -> u128 {
        let mut hash = self.hash.clone();
        let mut rest = more;
        if self.pending.len != 0 {
            let mut joint = self.pending.clone();
            (_, rest) = rest.split_at(joint.fill(rest));
            hash.update(&[joint.bytes.into()]);
        }
        hash.update_padded(rest);
        hash.update_padded(sealed);
        let aad_bits = (self.aad_len + more.len() as u64) * 8;
        let lengths = u128::from(aad_bits) << 64 | u128::from(sealed.len() as u64 * 8);
        hash.update(&[lengths.to_be_bytes().into()]);
        let mut mask = [[0; 16]];
        self.aes.encrypt_with_backend(Counters { iv, first: 1, blocks: &mut mask });
        let hash: Block = hash.finalize().into();
        u128::from_ne_bytes(hash) ^ u128::from_ne_bytes(mask[0])
    }
}

/// Runs inside `aes` and as compiled for the processor it found.
struct Counters<'a> {
    iv: &'a Iv,
    first: u32,
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
        for (block, i) in self.blocks.iter_mut().zip(0..) {
            counter[12..].copy_from_slice(&self.first.wrapping_add(i).to_be_bytes());
            let mut sealed = counter.into();
            backend.encrypt_block_inplace(&mut sealed);
            *block = sealed.into();
        }
    }
}
