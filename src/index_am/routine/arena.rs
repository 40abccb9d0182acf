//! Keys of a build, opened once each for its sort.
//!
//! A sort compares a key with some twenty others. So what it is given as an abbreviated key is the opened value itself, in
//! memory of this process, as far as half of `maintenance_work_mem` goes; keys beyond that are opened in each comparison.
//! What a sort writes to files is the sealed tuple, never an abbreviated key (`utils/sort/tuplesort.c`).

use std::cell::RefCell;

use pgrx::pg_sys;

use super::value;
use crate::pg::local::backend_local;

/// Words of a piece: pieces do not move, so that a pointer into one holds.
const PIECE: usize = 32 * 1024;

#[derive(Default)]
struct Arena {
    pieces: Vec<Vec<u64>>,
    words: usize,
}

backend_local! {
    static ARENA: RefCell<Arena> = RefCell::default();
}

/// Wiped and freed with this.
pub struct Used;

impl Drop for Used {
    fn drop(&mut self) {
        let mut arena = ARENA.take();
        arena.pieces.iter_mut().for_each(value::wipe);
    }
}

/// Keeps a copy of so many words until `Used` is dropped; nothing where there is no room left.
pub fn keep(words: &[u64]) -> Option<*const u64> {
    // SAFETY: a setting of the server, in kB.
    let most = unsafe { pg_sys::maintenance_work_mem } as usize * 1024 / 2 / size_of::<u64>();
    ARENA.with_borrow_mut(|arena| {
        if arena.words + words.len() > most {
            return None;
        }
        let fits = |piece: &Vec<u64>| piece.capacity() - piece.len() >= words.len();
        if !arena.pieces.last().is_some_and(fits) {
            let mut piece = Vec::new();
            // Refused: the key is opened again when it is compared.
            piece.try_reserve_exact(PIECE.max(words.len())).ok()?;
            arena.pieces.push(piece);
        }
        arena.words += words.len();
        let piece = arena.pieces.last_mut()?;
        let at = piece.len();
        piece.extend_from_slice(words);
        piece.get(at..).map(<[u64]>::as_ptr)
    })
}
