//! Rotation of data keys, and the operations that seal old rows again.

use pgrx::prelude::*;
use sealed_lifecycle::{Kind, State};

use super::keys::or_report;
use super::{KEY_ADMIN, OPERATOR, require_role};
use crate::error::Error;
use crate::pg::catalog::{self, Oid};
use crate::pg::{class, user, worker, xact};
use crate::{guc, keyring, policy};

#[pg_extern(sql = false)]
fn rotate_data_key(relation: Oid) -> i32 {
    xact::prevent_if_read_only(c"sealed.rotate_data_key()");
    or_report(rotate(relation))
}

fn rotate(relation: Oid) -> Result<i32, Error> {
    allow(relation, "rotate the data key of this table")?;
    class::lock_for_rotation(relation);
    check_sealed(relation)?;
    let version = keyring::rotate_data_key(relation)?;
    if guc::reseal() {
        reseal(relation)?;
    }
    Ok(version)
}

/// Begins to bring the rows of a table to what they are to be: under its newest layout, or plain.
pub(super) fn reseal(relation: Oid) -> Result<(), Error> {
    let name = class::relation_name(relation);
    if class::is_temporary(relation) {
        pgrx::notice!(
            "rows of temporary table \"{name}\" stay under their key until VACUUM FULL seals them again"
        );
        return Ok(());
    }
    let kind = match keyring::mixed(relation)?.map(|mixed| mixed.target) {
        None => Kind::Rotate,
        Some(keyring::Kind::Sealed) => Kind::Seal,
        Some(keyring::Kind::Plain) => Kind::Unseal,
    };
    let what = match kind {
        Kind::Rotate => "sealed again",
        Kind::Seal => "sealed",
        Kind::Unseal => "unsealed",
    };
    keyring::lock_operation(relation);
    let open = keyring::begin_operation(relation, kind, &user::who().current_user)?;
    catalog::advance_command();
    worker::wake_at_commit();
    match open.map(|open| open.state) {
        None | Some(State::Running) => {
            pgrx::notice!(
                "rows of \"{name}\" are being {what} in the background: see sealed.progress"
            );
        }
        Some(State::Failed) => {
            change(relation, State::Running)?;
            pgrx::notice!(
                "rows of \"{name}\" are being {what} in the background: see sealed.progress"
            );
        }
        Some(_) => {
            pgrx::notice!(
                "the sealing of the rows of \"{name}\" is paused; sealed.resume() lets it go on, to the newest key"
            );
        }
    }
    Ok(())
}

#[pg_extern(sql = false)]
fn pause(relation: Oid) {
    xact::prevent_if_read_only(c"sealed.pause()");
    or_report(set_state(relation, "pause the operation on this table", State::Paused));
}

#[pg_extern(sql = false)]
fn resume(relation: Oid) {
    xact::prevent_if_read_only(c"sealed.resume()");
    or_report(set_state(relation, "resume the operation on this table", State::Running));
    worker::wake_at_commit();
}

#[pg_extern(sql = false)]
fn cancel(relation: Oid) {
    xact::prevent_if_read_only(c"sealed.cancel()");
    or_report(set_state(relation, "cancel the operation on this table", State::Cancelled));
    pgrx::notice!(
        "rows of \"{}\" stay under the keys they are under, which stay in use; sealed.rotate_data_key() begins anew",
        class::relation_name(relation)
    );
}

fn set_state(relation: Oid, what: &str, next: State) -> Result<(), Error> {
    allow(relation, what)?;
    keyring::lock_operation(relation);
    change(relation, next)?;
    if next == State::Cancelled {
        keyring::keep_keys(relation)?;
    }
    catalog::advance_command();
    Ok(())
}

fn change(relation: Oid, next: State) -> Result<(), Error> {
    let none = || Error::NoOperation { relation: class::relation_name(relation) };
    let mut operation = keyring::operation(relation)?.ok_or_else(none)?;
    if operation.state == next {
        return Ok(());
    }
    if !operation.state.may_become(next) {
        return Err(none());
    }
    operation.state = next;
    operation.message = None;
    operation.store()
}

/// The transaction that was prepared may have begun an operation, of which the backend that prepared it told
/// nobody.
pub(super) fn prepared_committed() {
    if !catalog::installed() {
        return;
    }
    match keyring::running_operations() {
        Ok(running) if running.is_empty() => {}
        Ok(_) => worker::wake_at_commit(),
        Err(error) => error.warn(),
    }
}

#[pg_extern(sql = false)]
fn rotate_all(older_than: Option<Interval>) -> SetOfIterator<'static, String> {
    xact::prevent_if_read_only(c"sealed.rotate_all()");
    SetOfIterator::new(or_report(rotate_older(older_than)))
}

/// Rotates the key of each table whose newest one is older, and seals rows again that an automatic new
/// version has left under an older key.
fn rotate_older(older_than: Option<Interval>) -> Result<Vec<String>, Error> {
    require_role("rotate the data keys of all tables", &[OPERATOR, KEY_ADMIN])?;
    let before =
        older_than.map_or(i64::MAX, |age| xact::now_us().saturating_sub(age.as_micros() as i64));
    let mut rotated = Vec::new();
    for relation in keyring::tables_with_keys()? {
        if !policy::is_sealed(relation) {
            continue;
        }
        class::lock_for_rotation(relation);
        let Some(made) = keyring::newest_key_made(relation)? else { continue };
        if !policy::is_sealed(relation) || class::is_temporary(relation) {
            continue;
        }
        if made < before {
            keyring::rotate_data_key(relation)?;
        } else if !keyring::has_old_keys(relation)? {
            continue;
        }
        if guc::reseal() {
            reseal(relation)?;
        }
        rotated.push(class::relation_name(relation));
    }
    Ok(rotated)
}

#[pg_extern(sql = false)]
fn operation_state(relation: Oid) -> Option<String> {
    let state = || {
        allow(relation, "see the operation on this table")?;
        Ok(keyring::operation(relation)?.map(|operation| operation.state.name().to_owned()))
    };
    or_report(state())
}

/// What an owner may do to a table of his, and who works with keys to any.
pub(super) fn allow(relation: Oid, what: &str) -> Result<(), Error> {
    if user::owns(relation) {
        return Ok(());
    }
    require_role(what, &[OPERATOR, KEY_ADMIN])
}

fn check_sealed(relation: Oid) -> Result<(), Error> {
    if policy::is_sealed(relation) {
        return Ok(());
    }
    Err(Error::NotSealed { relation: class::relation_name(relation) })
}
