//! Who may open what is sealed under a column key.

use std::cell::RefCell;
use std::rc::Rc;

use sealed_crypto::Id;

use crate::error::Error;
use crate::keyring::Layout;
use crate::keyring::columns::{ColumnKey, Denied};
use crate::pg::catalog::Oid;
use crate::pg::local::backend_local;
use crate::pg::{class, hook, user, xact};

/// For whom a row is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum Reader {
    /// For the current user, by a way that may store the row again or decide by it (UPDATE, constraints,
    /// triggers, ALTER TABLE): where he may not open a column it is an error, whatever the key's policy says.
    #[default]
    Writer = 0,
    /// For the current user, who gets what the key's policy says where he may not open a column: what a
    /// query's scans read, and COPY.
    User,
    /// For what shows values to nobody: rows sealed again, moved, deleted, verified, indexed, and foreign
    /// keys.
    Internal,
    /// For ANALYZE, which keeps values for everybody to read: NULL.
    Sampler,
}

/// What a reader gets of a group of columns.
#[derive(Clone)]
pub enum Answer {
    /// Their values.
    Open,
    /// NULL.
    Null,
    /// A text, where the type allows it, else NULL.
    Mask(Rc<str>),
    /// An error; the column key's name.
    Deny(Rc<str>),
}

/// The last answers, each for a user in a statement: roles and memberships may be others in the next.
type Known = (Id, Oid, i64, Answer);

backend_local! {
    static LAST: RefCell<Vec<Known>> = const { RefCell::new(Vec::new()) };
}
const KNOWN: usize = 8;

backend_local! {
    /// The query of a foreign key that is to run or runs, by its address, and the tables that it reads.
    static FOREIGN_KEY: RefCell<(usize, Vec<Oid>)> = const { RefCell::new((0, Vec::new())) };
}

/// A query of a foreign key begins, which hands rows to nobody: rows of `table` that it looks at again (EvalPlanQual)
/// or stores again (ON DELETE SET NULL) are what they are, whoever acts.
pub fn checks(query: usize, table: Oid) {
    FOREIGN_KEY.with_borrow_mut(|(now, tables)| {
        if *now != query {
            tables.clear();
        }
        *now = query;
        tables.push(table);
    });
}

/// Another query begins, runs or is over: a function that PostgreSQL calls within a foreign key's query, such as a
/// cast, reads as the user whose rights it has.
#[inline]
pub fn checks_end(but: usize) {
    FOREIGN_KEY.with_borrow_mut(|(now, tables)| {
        if *now != but {
            *now = 0;
            tables.clear();
        }
    });
}

fn is_checked(table: Oid) -> bool {
    user::in_foreign_key_check() && FOREIGN_KEY.with_borrow(|(_, tables)| tables.contains(&table))
}

/// What a reader gets of the columns of a group, by its number from 0. Reads the catalog.
pub fn ask(reader: Reader, layout: &Layout, group: usize) -> Result<Answer, Error> {
    let keys = layout.parts.as_ref().map_or(&[][..], |parts| parts.division.groups());
    let key = match keys.get(group) {
        Some(Some(key)) if reader != Reader::Internal => key,
        _ => return Ok(Answer::Open),
    };
    let reader = match reader {
        Reader::Sampler => return Ok(Answer::Null),
        Reader::Writer if hook::copies_out() => Reader::User,
        Reader::Writer if is_checked(layout.relation) => return Ok(Answer::Open),
        reader => reader,
    };
    let (user, statement) = (user::current(), xact::statement_start());
    let known = LAST.with_borrow(|last| {
        let mut known = last.iter().filter(|k| k.0 == *key && k.1 == user && k.2 == statement);
        known.next().map(|k| k.3.clone())
    });
    let answer = match known {
        Some(answer) => answer,
        None => {
            let decided = || Ok::<_, Error>(decide(&*ColumnKey::known(key)?, user));
            let (answer, keep) = xact::reading(decided)?;
            if keep {
                LAST.with_borrow_mut(|last| {
                    last.retain(|k| k.2 == statement);
                    if last.len() >= KNOWN {
                        last.remove(0);
                    }
                    last.push((*key, user, statement, answer.clone()));
                });
            }
            answer
        }
    };
    match (&answer, reader) {
        (Answer::Null | Answer::Mask(_), Reader::Writer) => {
            Ok(Answer::Deny(ColumnKey::known(key)?.name.as_str().into()))
        }
        _ => Ok(answer),
    }
}

fn decide(key: &ColumnKey, user: Oid) -> Answer {
    if user::is_one_of(user, &key.roles, key.allow_superuser) {
        return Answer::Open;
    }
    match &key.denied {
        Denied::Error => Answer::Deny(key.name.as_str().into()),
        Denied::Null => Answer::Null,
        Denied::Mask(mask) => Answer::Mask(mask.as_str().into()),
    }
}

/// Forgets the answers: a key, a grant or a transaction is another one.
pub fn forget() {
    LAST.with_borrow_mut(Vec::clear);
}

/// Raises the error of the first group that the current user may not open: rows of the table `owner` that he
/// has read are about to be stored again.
pub fn check_all(layout: &Layout, owner: Oid) -> Result<(), Error> {
    let groups = layout.parts.as_ref().map_or(0, |parts| parts.groups.len());
    for group in 0..groups {
        if let Answer::Deny(key) = ask(Reader::Writer, layout, group)? {
            let division = layout.parts.as_ref().map(|parts| &parts.division);
            let column = division.and_then(|division| division.columns_of(group + 1, 1600).next());
            let name = column.and_then(|index| class::column_name(owner, index as i16 + 1));
            return Err(Error::ColumnDenied {
                relation: class::relation_name(owner),
                column: name.unwrap_or_default(),
                key: key.to_string(),
            });
        }
    }
    Ok(())
}
