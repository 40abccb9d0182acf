//! Keys that go for good: data keys destroyed on purpose, replaced master keys that nothing needs.

use std::cell::RefCell;

use sealed_crypto::Id;

use super::audit::{self, Subject};
use super::records::{DataKeyRow, MasterRow, RecipientRow, WrapRow};
use super::shared::{self, Kind};
use super::{cache, master};
use crate::error::Error;
use crate::pg::catalog::{self, Oid, Table, View};
use crate::pg::local::backend_local;
use crate::pg::xact::End;
use crate::pg::{class, fault};

backend_local! {
    /// What this transaction has destroyed.
    static GONE: RefCell<Vec<(Kind, Id)>> = const { RefCell::new(Vec::new()) };
}

/// Removes all wraps of a table's data keys, or of one of them. Returns how many keys that were.
///
/// The table is locked against everybody: who read or wrote it before has finished, and who comes after
/// hears that it changed, and forgets the keys that he knew.
pub fn destroy_keys(relation: Oid, only: Option<Id>) -> Result<i32, Error> {
    class::lock_exclusively(relation);
    catalog::lock_for_writing(Table::DataKeyWrap)?;
    let mut destroyed = 0;
    for key in DataKeyRow::of_relation(relation)? {
        if key.destroyed || only.is_some_and(|only| only != key.id) {
            continue;
        }
        let mut wraps = 0;
        for wrap in WrapRow::of_key(&key.id, View::Committed)? {
            wrap.delete()?;
            wraps += 1;
        }
        key.destroy()?;
        fault::place("destroy_key:destroyed");
        forget(Kind::DataKey, key.id);
        let detail = format!("{wraps} wraps removed");
        audit::record(
            "destroy_data_key",
            Subject { key: Some(key.id), relation: Some(relation), detail, ..Subject::default() },
        );
        destroyed += 1;
    }
    if destroyed == 0 {
        return Err(Error::BadArgument {
            what: format!("\"{}\" has no such data key", class::relation_name(relation)),
            hint: "sealed.keys shows the data keys there are.".to_owned(),
        });
    }
    cache::remove(relation);
    catalog::relation_changed(relation);
    catalog::advance_command();
    Ok(destroyed)
}

/// Removes a replaced master key with its seed.
pub fn drop_master_key(id: Id) -> Result<(), Error> {
    catalog::lock_against_writers(Table::MasterKey)?;
    catalog::lock_against_writers(Table::DataKeyWrap)?;
    let missing = || Error::NoSuchName { name: id.to_string() };
    let row = MasterRow::find(&id)?.ok_or_else(missing)?;
    let refused = |what: &str, hint: &str| {
        Err(Error::BadArgument { what: format!("master key {id} {what}"), hint: hint.to_owned() })
    };
    if row.active {
        return refused("is the active one", "Call sealed.rotate_master_key(...) first.");
    }
    let wraps = WrapRow::all()?.iter().filter(|wrap| wrap.recipient == id).count();
    if wraps != 0 {
        return refused(
            &format!("is what {wraps} data keys are wrapped to"),
            "Call sealed.rotate_master_key(...) first.",
        );
    }
    // Whoever the active key does not vouch for, this one may.
    let active = master::active()?;
    let recipients = RecipientRow::all()?;
    let mut vouched = recipients.iter().filter(|recipient| !recipient.suspended());
    vouched.try_for_each(|recipient| master::check_recipient(&active, recipient))?;
    row.delete()?;
    fault::place("drop_master_key:deleted");
    forget(Kind::Seed, id);
    cache::forget_masters();
    catalog::table_changed(Table::MasterKey)?;
    catalog::advance_command();
    audit::record(
        "drop_master_key",
        Subject { key: Some(id), object: row.provider.clone(), ..Subject::default() },
    );
    Ok(())
}

/// At once, and once more after the commit: another session may have brought it back meanwhile.
fn forget(kind: Kind, id: Id) {
    shared::remove(kind, &id);
    GONE.with_borrow_mut(|gone| gone.push((kind, id)));
}

/// After a rollback the key is there again, and unwrapped again by whoever needs it.
pub fn transaction_end(end: End) {
    if end == End::SubAbort || GONE.with_borrow(Vec::is_empty) {
        return;
    }
    for (kind, id) in GONE.take() {
        if end == End::Commit {
            shared::remove(kind, &id);
        }
    }
}
