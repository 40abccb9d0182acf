//! What all processes of the server share: the boot salt, and the unlocked keys.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use sealed_crypto::{Id, SaltState, Secret};

use crate::error::Error;
use crate::guc;
use crate::pg::memory::{Protection, SecretMemory};
use crate::pg::shmem::{self, Locked};
use crate::pg::xact;

/// The salt and the counter that every nonce of this server comes from.
static SALT: Locked<SaltState> = Locked::new(c"pg_sealed salt");
/// The lock of the secret memory, with the number of keys stored since shared memory was made.
static KEYRING: Locked<u64> = Locked::new(c"pg_sealed keyring");
/// The secret memory. Unlike the two above it survives a crash of a backend.
static MEMORY: OnceLock<SecretMemory> = OnceLock::new();

/// Makes the secret memory and asks for the rest. Called once, in the postmaster.
pub fn init() -> Result<(), Error> {
    let wanted = guc::keyring_size();
    let least = wanted.min(LEAST_ENTRIES);
    let memory = SecretMemory::make(wanted * ENTRY_WORDS, least * ENTRY_WORDS)
        .map_err(Error::SecretMemory)?;
    let got = memory.words.len() / ENTRY_WORDS;
    if memory.protection == Protection::Unlocked {
        xact::log_warning(
            "pg_sealed could not lock its memory for keys, which may be swapped to disk: raise the \
             limit on locked memory (ulimit -l)",
        );
    } else if got < wanted {
        xact::log_warning(&format!(
            "pg_sealed could lock memory for {got} of sealed.keyring_size = {wanted} keys: raise the \
             limit on locked memory (ulimit -l)"
        ));
    }
    if MEMORY.set(memory).is_ok() {
        shmem::ask_for(&[&SALT, &KEYRING]);
    }
    Ok(())
}

/// Works on the salt, alone.
pub fn with_salt<R>(f: impl FnOnce(&mut SaltState) -> R) -> R {
    SALT.with(f)
}

/// The salt as it is now.
pub fn salt() -> SaltState {
    SALT.read()
}

/// What an entry of the keyring is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The seed of a master key.
    Seed = 1,
    /// A data key.
    DataKey = 2,
}

/// An entry: state and kind, id, secret, checksum. 64 bytes, one cache line.
const ENTRY_WORDS: usize = 8;
/// Where even this many entries (16 kB) cannot be locked, nothing can.
const LEAST_ENTRIES: usize = 256;
const FREE: u64 = 0;
const REMOVED: u64 = 1;

/// An unlocked key, if the keyring has it.
///
/// Ids are random, so a database made from a template finds the same key under the same id.
pub fn find(kind: Kind, id: &Id) -> Option<Secret<32>> {
    let entries = entries();
    KEYRING.with_shared(|_| {
        let entry = entries.find(kind, id)?;
        let secret = Secret::from_fn(|out| {
            for (bytes, word) in out.chunks_exact_mut(8).zip(&entry[3..7]) {
                bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
            }
        });
        // A process killed in the middle of storing leaves no valid entry, but memory can fail.
        (checksum(entry) == entry[7].load(Ordering::Relaxed)).then_some(secret)
    })
}

/// Keeps an unlocked key for everybody. If there is no place left, each session unwraps it again.
pub fn store(kind: Kind, id: &Id, secret: &Secret<32>) {
    let entries = entries();
    KEYRING.with(|stored| {
        if entries.find(kind, id).is_some() {
            return;
        }
        let Some(entry) = entries.vacant(id) else { return };
        let [first, second] = id_words(id);
        entry[1].store(first, Ordering::Relaxed);
        entry[2].store(second, Ordering::Relaxed);
        for (bytes, word) in secret.expose().chunks_exact(8).zip(&entry[3..7]) {
            word.store(word_of(bytes), Ordering::Relaxed);
        }
        // The state last: whoever is killed on the way leaves the place vacant.
        entry[7].store(checksum(entry), Ordering::Relaxed);
        fence(Ordering::Release);
        entry[0].store(state(kind), Ordering::Release);
        *stored += 1;
    });
}

/// Removes a key, for instance with its table.
pub fn remove(kind: Kind, id: &Id) {
    let entries = entries();
    KEYRING.with(|_| {
        if let Some(entry) = entries.find(kind, id) {
            entry[0].store(REMOVED, Ordering::Release);
            fence(Ordering::Release);
            for word in &entry[1..] {
                word.store(0, Ordering::Relaxed);
            }
        }
    });
}

/// How the secret memory is protected, how many keys it has and how many fit.
pub struct Usage {
    /// What protects it.
    pub protection: Protection,
    /// Keys in it.
    pub used: usize,
    /// Places.
    pub size: usize,
}

/// For `sealed.status`.
pub fn usage() -> Option<Usage> {
    let memory = MEMORY.get()?;
    let entries = entries();
    let used = KEYRING.with_shared(|_| {
        entries
            .0
            .chunks_exact(ENTRY_WORDS)
            .filter(|e| e[0].load(Ordering::Relaxed) > REMOVED)
            .count()
    });
    Some(Usage { protection: memory.protection, used, size: entries.count() })
}

fn entries() -> Entries {
    Entries(MEMORY.get().map_or(&[], |m| m.words))
}

/// An open-addressing table: an entry is at the first place at or after that of its id.
#[derive(Clone, Copy)]
struct Entries(&'static [AtomicU64]);

impl Entries {
    fn count(self) -> usize {
        self.0.len() / ENTRY_WORDS
    }

    fn probe(self, id: &Id) -> impl Iterator<Item = &'static [AtomicU64]> {
        let count = self.count().max(1);
        let first = id_words(id)[0] as usize % count;
        (0..self.count()).map(move |step| {
            let at = (first + step) % count * ENTRY_WORDS;
            &self.0[at..at + ENTRY_WORDS]
        })
    }

    fn find(self, kind: Kind, id: &Id) -> Option<&'static [AtomicU64]> {
        let words = id_words(id);
        self.probe(id).take_while(|e| e[0].load(Ordering::Acquire) != FREE).find(|e| {
            e[0].load(Ordering::Acquire) == state(kind)
                && e[1].load(Ordering::Relaxed) == words[0]
                && e[2].load(Ordering::Relaxed) == words[1]
        })
    }

    fn vacant(self, id: &Id) -> Option<&'static [AtomicU64]> {
        self.probe(id).find(|e| e[0].load(Ordering::Acquire) <= REMOVED)
    }
}

fn state(kind: Kind) -> u64 {
    REMOVED + kind as u64
}

fn id_words(id: &Id) -> [u64; 2] {
    [word_of(&id.0[..8]), word_of(&id.0[8..])]
}

fn word_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |word, byte| word >> 8 | u64::from(*byte) << 56)
}

/// Tells a whole entry from a damaged one; says nothing about its secret to who cannot read it.
fn checksum(entry: &[AtomicU64]) -> u64 {
    entry[1..7].iter().fold(0xcbf2_9ce4_8422_2325, |sum: u64, word| {
        (sum ^ word.load(Ordering::Relaxed)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29)
    })
}
