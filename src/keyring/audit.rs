//! The audit: who did what to which key, in `sealed.audit`, each entry chained to the one before.
//!
//! An event is noted while it happens, also inside a callback of the access method, and written when its
//! transaction is about to commit: only from there to the end of the commit does one transaction keep
//! others from the end of the chain. What a rollback undid was not done: it has no entry. It has a line in
//! the server's log, like every event.
//!
//! A prepared transaction would hold the end of the chain until somebody commits it. Its entries wait in
//! `sealed.audit_pending`, and whoever writes next chains them.

use std::cell::RefCell;

use sealed_crypto::{AUDIT_START, AuditEntry, Id};

use crate::error::Error;
use crate::pg::catalog::{self, Oid, Order, Row, Table, Value, View};
use crate::pg::local::backend_local;
use crate::pg::user::{self, Who};
use crate::pg::xact::{self, Before, End, StepLock};
use crate::pg::{class, log};

/// The step of writing to the end of the chain.
const CHAIN_STEP: u16 = 2;
const INDEX: catalog::Index = c"audit_pkey";

/// What an event is about.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// The key.
    pub key: Option<Id>,
    /// The table.
    pub relation: Option<Oid>,
    /// The name of whatever has one: provider, recipient. A table's is found if none is given.
    pub object: String,
    /// More, for people to read. No secret.
    pub detail: String,
}

/// An event with everything the chain says about it but its place.
#[derive(Clone)]
struct Entry {
    at_us: i64,
    event: String,
    subject: Subject,
    who: Who,
}

/// An event of this transaction, and the subtransaction that it happened in.
struct Noted {
    entry: Entry,
    subtransaction: u32,
}

backend_local! {
    static NOTED: RefCell<Vec<Noted>> = const { RefCell::new(Vec::new()) };
}

/// Notes an event of this transaction.
pub fn record(event: &str, mut subject: Subject) {
    if let (Some(relation), true) = (subject.relation, subject.object.is_empty()) {
        subject.object = class::qualified_name(relation).unwrap_or_default();
    }
    let entry = Entry { at_us: xact::now_us(), event: event.to_owned(), subject, who: user::who() };
    let noted = Noted { entry, subtransaction: xact::subtransaction() };
    NOTED.with_borrow_mut(|all| all.push(noted));
}

/// Writes the events of a transaction that is about to commit or to be prepared.
pub fn before_commit(before: Before) {
    if NOTED.with_borrow(Vec::is_empty) {
        return;
    }
    let entries = NOTED.with_borrow(|all| all.iter().map(|n| n.entry.clone()).collect::<Vec<_>>());
    let written = xact::with_snapshot(|| match before {
        Before::Commit => chain(&entries),
        Before::Prepare => wait(&entries),
    });
    match written {
        // DROP EXTENSION took the table: nobody can ask for the entries any more.
        Ok(()) | Err(Error::NotInstalled) => {}
        Err(error) => error.report(),
    }
    if before == Before::Prepare {
        NOTED.with_borrow_mut(Vec::clear);
    }
}

/// Forgets the events that a commit has made known or a rollback undone; the latter are logged.
pub fn transaction_end(end: End) {
    if NOTED.with_borrow(Vec::is_empty) {
        return;
    }
    // A subtransaction that began inside the one that fails has a larger number, and nothing else has.
    let from = if end == End::SubAbort { xact::subtransaction() } else { 0 };
    let (gone, kept) =
        NOTED.take().into_iter().partition::<Vec<_>, _>(|noted| noted.subtransaction >= from);
    NOTED.set(kept);
    if end != End::Commit {
        for noted in gone {
            log::audit(format!("pg_sealed audit: rolled back: {}", noted.entry.line()));
        }
    }
}

fn chain(entries: &[Entry]) -> Result<(), Error> {
    StepLock::wait(CHAIN_STEP).keep();
    let mut end = (0, AUDIT_START);
    catalog::in_order(Table::Audit, INDEX, Order::Descending, |row| {
        end = (row.int8(0)?, stored_hash(&row, 11)?);
        Ok(false)
    })?;
    for row in catalog::scan(Table::AuditPending, None, &[], View::Committed)? {
        end = append(&Entry::parse(&row, 0)?, end)?;
        catalog::delete(&row)?;
    }
    for entry in entries {
        end = append(entry, end)?;
    }
    Ok(())
}

fn append(entry: &Entry, (last, previous): (i64, [u8; 32])) -> Result<(i64, [u8; 32]), Error> {
    let seq = last + 1;
    let hash = entry.hash(seq, &previous);
    let mut values = vec![Value::Int8(seq)];
    values.extend(entry.values());
    values.push(Value::Bytes(hash.to_vec()));
    catalog::insert(Table::Audit, &values)?;
    let hex = super::hex(&hash);
    log::audit(format!("pg_sealed audit: seq={seq} {} hash={hex}", entry.line()));
    Ok((seq, hash))
}

fn wait(entries: &[Entry]) -> Result<(), Error> {
    for entry in entries {
        catalog::insert(Table::AuditPending, &entry.values())?;
        log::audit(format!("pg_sealed audit: prepared: {}", entry.line()));
    }
    Ok(())
}

/// Follows the chain from its begin; calls `broken` for each place where it does not hold. `known` is an
/// entry that the caller has seen before: its number, and its hash if he has that.
pub fn verify(
    known: Option<(i64, Option<Vec<u8>>)>,
    mut broken: impl FnMut(i64, &str),
) -> Result<(), Error> {
    let mut end = (0, AUDIT_START);
    let mut met = false;
    catalog::in_order(Table::Audit, INDEX, Order::Ascending, |row| {
        xact::check_interrupts();
        let (seq, hash) = (row.int8(0)?, stored_hash(&row, 11)?);
        if seq != end.0 + 1 {
            broken(seq, "entries before this one are missing");
        } else if Entry::parse(&row, 1)?.hash(seq, &end.1) != hash {
            broken(seq, "the entry, or the one before it, was changed");
        }
        if let Some((known_seq, known_hash)) = &known
            && *known_seq == seq
        {
            met = true;
            if known_hash.as_ref().is_some_and(|known| known[..] != hash[..]) {
                broken(seq, "the entry is not the one whose hash was given");
            }
        }
        end = (seq, hash);
        Ok(true)
    })?;
    match known {
        Some((seq, _)) if !met => broken(seq, "the entry whose number was given is missing"),
        _ => {}
    }
    Ok(())
}

fn stored_hash(row: &Row, at: usize) -> Result<[u8; 32], Error> {
    let bytes = row.bytes(at)?;
    // Somebody shortened it: no hash is equal to this.
    Ok(bytes.try_into().unwrap_or([0xff; 32]))
}

impl Entry {
    fn parse(row: &Row, from: usize) -> Result<Self, Error> {
        let key = match row.values().get(from + 2) {
            Some(Value::Null) => None,
            _ => Some(Id(row.uuid(from + 2)?)),
        };
        let relation = match row.values().get(from + 3) {
            Some(Value::Null) => None,
            _ => Some(row.oid(from + 3)?),
        };
        Ok(Self {
            at_us: row.time(from)?,
            event: row.text(from + 1)?,
            subject: Subject {
                key,
                relation,
                object: row.text(from + 4)?,
                detail: row.text(from + 5)?,
            },
            who: Who {
                session_user: row.text(from + 6)?,
                current_user: row.text(from + 7)?,
                application: row.text(from + 8)?,
                address: row.text(from + 9)?,
            },
        })
    }

    fn values(&self) -> Vec<Value> {
        let Self { at_us, event, subject, who } = self;
        vec![
            Value::Time(*at_us),
            Value::Text(event.clone()),
            subject.key.map_or(Value::Null, |key| Value::Uuid(key.0)),
            subject.relation.map_or(Value::Null, Value::Oid),
            Value::Text(subject.object.clone()),
            Value::Text(subject.detail.clone()),
            Value::Text(who.session_user.clone()),
            Value::Text(who.current_user.clone()),
            Value::Text(who.application.clone()),
            Value::Text(who.address.clone()),
        ]
    }

    fn hash(&self, seq: i64, previous: &[u8; 32]) -> [u8; 32] {
        let Self { at_us, event, subject, who } = self;
        AuditEntry {
            seq,
            at_us: *at_us,
            key: subject.key.unwrap_or(Id::NIL),
            relation: subject.relation.map_or(0, Oid::to_u32),
            texts: [
                event,
                &subject.object,
                &subject.detail,
                &who.session_user,
                &who.current_user,
                &who.application,
                &who.address,
            ],
        }
        .hash(previous)
    }

    /// For the log. Names are quoted and escaped: nobody writes a second line through his role's name.
    fn line(&self) -> String {
        use std::fmt::Write;
        let Self { event, subject, who, .. } = self;
        let mut line = format!("event={event}");
        if let Some(key) = subject.key {
            let _ = write!(line, " key={key}");
        }
        if let Some(relation) = subject.relation {
            let _ = write!(line, " relation={}", relation.to_u32());
        }
        for (name, value) in [("object", &subject.object), ("detail", &subject.detail)] {
            if !value.is_empty() {
                let _ = write!(line, " {name}={value:?}");
            }
        }
        let Who { session_user, current_user, application, address } = who;
        let _ = write!(
            line,
            " session_user={session_user:?} current_user={current_user:?} \
             application={application:?} address={address:?}"
        );
        line
    }
}
