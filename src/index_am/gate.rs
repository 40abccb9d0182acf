//! Who may look into an index.
//!
//! The order of an index, and whether it has a key, tell about values. So who may not open a column uses no
//! index with it, whatever its key's policy gives him of the column itself.

use std::cell::RefCell;

use super::key;
use crate::error::Error;
use crate::pg::catalog::Oid;
use crate::pg::local::backend_local;
use crate::pg::{class, user, xact};
use crate::table_am::gate::{Answer, Reader, ask};

/// An index, a user, and the statement in which he was let in.
type Known = (Oid, Oid, i64);

backend_local! {
    static LET_IN: RefCell<Vec<Known>> = const { RefCell::new(Vec::new()) };
}
const KNOWN: usize = 16;

/// Raises 42501 if the current user may not open a column that the index tells of: `columns` are their numbers in
/// `table`, 0 what is computed from any, as a predicate is. Whether there was anything to ask.
pub fn check(index: Oid, table: Oid, columns: &[i16]) -> Result<bool, Error> {
    if key::divided(table)?.is_empty() {
        return Ok(false);
    }
    let known = (index, user::current(), xact::statement_start());
    if LET_IN.with_borrow(|let_in| let_in.contains(&known)) {
        return Ok(true);
    }
    let ((), keep) = xact::reading(|| look(table, columns))?;
    // A foreign key's query is let in for itself alone.
    if user::in_foreign_key_check() || !keep {
        return Ok(true);
    }
    LET_IN.with_borrow_mut(|let_in| {
        let_in.retain(|k| k.2 == known.2);
        if let_in.len() >= KNOWN {
            let_in.remove(0);
        }
        let_in.push(known);
    });
    Ok(true)
}

fn look(table: Oid, columns: &[i16]) -> Result<(), Error> {
    for layout in key::divided(table)?.iter() {
        let Some(parts) = &layout.parts else { continue };
        for group in 0..parts.groups.len() {
            let mut of_group = parts.division.columns_of(group + 1, 1600);
            let shown = |at: &usize| columns.iter().any(|c| *c == 0 || *c == *at as i16 + 1);
            let Some(column) = of_group.find(shown) else { continue };
            if let Answer::Open = ask(Reader::Writer, layout, group)? {
                continue;
            }
            let key = parts.division.groups().get(group).copied().flatten();
            return Err(Error::ColumnDenied {
                relation: class::relation_name(table),
                column: class::column_name(table, column as i16 + 1).unwrap_or_default(),
                key: match key {
                    Some(key) => crate::keyring::columns::ColumnKey::known(&key)?.name.clone(),
                    None => String::new(),
                },
            });
        }
    }
    Ok(())
}

/// Forgets who was let in.
pub fn forget() {
    LET_IN.with_borrow_mut(Vec::clear);
}
