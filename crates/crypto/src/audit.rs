//! The chain of the audit: each entry carries a hash of itself and of the entry before it.
//!
//! Not a signature: who can write the table can compute a new chain. It is made so that nobody changes,
//! removes or inserts an entry without changing every hash after it, of which the server's log and an
//! auditor outside have copies.

use sha2::{Digest, Sha256};

use crate::Id;

/// What an entry says, as it is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditEntry<'a> {
    /// Its place in the chain, from 1, without gaps.
    pub seq: i64,
    /// When, in microseconds; the epoch is the caller's.
    pub at_us: i64,
    /// The key it is about, or [`Id::NIL`].
    pub key: Id,
    /// The table it is about, or 0.
    pub relation: u32,
    /// The texts, in the order of the table's columns.
    pub texts: [&'a str; 7],
}

/// What stands before the first entry.
pub const AUDIT_START: [u8; 32] = [0; 32];

const LABEL: &[u8] = b"pg_sealed audit v1";

impl AuditEntry<'_> {
    /// The hash that the entry carries, if `previous` is the one of the entry before it.
    pub fn hash(&self, previous: &[u8; 32]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(LABEL);
        hash.update(previous);
        hash.update(self.seq.to_be_bytes());
        hash.update(self.at_us.to_be_bytes());
        hash.update(self.key.0);
        hash.update(self.relation.to_be_bytes());
        for text in self.texts {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Owned = (i64, i64, [u8; 16], u32, [String; 7]);

    fn hash((seq, at_us, key, relation, texts): &Owned, previous: &[u8; 32]) -> [u8; 32] {
        let texts = std::array::from_fn(|at| texts[at].as_str());
        AuditEntry { seq: *seq, at_us: *at_us, key: Id(*key), relation: *relation, texts }
            .hash(previous)
    }

    proptest! {
        #[test]
        fn different_entries_have_different_hashes(a: Owned, b: Owned, p: [u8; 32], q: [u8; 32]) {
            prop_assert_eq!(hash(&a, &p) == hash(&b, &p), a == b);
            prop_assert_eq!(hash(&a, &p) == hash(&a, &q), p == q);
        }

        /// No text can take over a part of its neighbour.
        #[test]
        fn borders_of_texts_count(a: Owned, at in 0_usize..6, cut in 0_usize..8) {
            let mut b = a.clone();
            let joined = format!("{}{}", a.4[at], a.4[at + 1]);
            prop_assume!(joined.is_char_boundary(cut.min(joined.len())));
            let (left, right) = joined.split_at(cut.min(joined.len()));
            b.4[at] = left.to_owned();
            b.4[at + 1] = right.to_owned();
            prop_assert_eq!(hash(&a, &AUDIT_START) == hash(&b, &AUDIT_START), a == b);
        }
    }

    /// As drawn in docs/format.md; never to change.
    #[test]
    fn golden() {
        let entry = AuditEntry {
            seq: 1,
            at_us: 840_000_000_000_000,
            key: Id([7; 16]),
            relation: 16_384,
            texts: ["create_data_key", "app.payment", "version 1", "ann", "ann", "psql", "[local]"],
        };
        let hex: String = entry.hash(&AUDIT_START).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "76d57ed911dfb43350f9195c220c6f0ee48ae1572fcc50d6e3e0f000d2a95892");
    }
}
