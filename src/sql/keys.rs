//! Functions on providers, master keys, recipients and applications' keys.
//!
//! The SQL declarations, with argument names, defaults and privileges, are in `sql/`.

use pgrx::prelude::*;
use pgrx::{JsonB, Uuid};
use sealed_crypto::Suite;

use super::{KEY_ADMIN, require_role};
use crate::error::Error;
use crate::keyring;
use crate::pg::user;

#[pg_extern(sql = false)]
fn add_key_provider(name: &str, kind: &str, options: JsonB) {
    let done = require_role("add a key provider", &[KEY_ADMIN])
        .and_then(|()| keyring::add_provider(name, kind, options.0));
    or_report(done);
}

#[pg_extern(sql = false)]
fn create_master_key(provider: &str, suite: &str) -> Uuid {
    let id = require_role("create a master key", &[KEY_ADMIN])
        .and_then(|()| keyring::create_master_key(provider, parse_suite(suite)?));
    Uuid::from_bytes(or_report(id).0)
}

#[pg_extern(sql = false)]
fn rotate_master_key(provider: Option<&str>, suite: Option<&str>) -> Uuid {
    let id = require_role("rotate the master key", &[KEY_ADMIN])
        .and_then(|()| keyring::rotate_master_key(provider, suite.map(parse_suite).transpose()?));
    Uuid::from_bytes(or_report(id).0)
}

#[pg_extern(sql = false)]
fn add_recipient(name: &str, public_key: &[u8], suite: &str, legacy: bool) -> Uuid {
    let id = require_role("add a recipient", &[KEY_ADMIN]).and_then(|()| {
        if legacy {
            return Err(Error::BadArgument {
                what: "no classical suite is available".to_owned(),
                hint: "Give a hybrid or post-quantum public key and leave out \"legacy\"."
                    .to_owned(),
            });
        }
        keyring::add_recipient(name, public_key.to_vec(), parse_suite(suite)?)
    });
    Uuid::from_bytes(or_report(id).0)
}

#[pg_extern(sql = false)]
fn wrap_key(key: &[u8], recipient: Option<&str>) -> Vec<u8> {
    let record = require_execute("wrap a key", "sealed.wrap_key(bytea,text)")
        .and_then(|()| keyring::wrap_app_key(key, recipient));
    or_report(record)
}

#[pg_extern(sql = false)]
fn unwrap_key(wrapped: &[u8]) -> Vec<u8> {
    let key = require_execute("unwrap a key", "sealed.unwrap_key(bytea)")
        .and_then(|()| keyring::unwrap_app_key(wrapped));
    or_report(key)
}

#[pg_extern(sql = false)]
fn generate_key() -> TableIterator<'static, (name!(key, Vec<u8>), name!(wrapped, Vec<u8>))> {
    let pair = require_execute("generate a key", "sealed.generate_key()")
        .and_then(|()| keyring::generate_key());
    TableIterator::once(or_report(pair))
}

fn parse_suite(name: &str) -> Result<Suite, Error> {
    name.parse().map_err(|_| {
        let known: Vec<_> = Suite::ALL.iter().map(|suite| suite.name()).collect();
        Error::BadArgument {
            what: format!("unknown suite \"{name}\""),
            hint: format!("Suites are {}.", known.join(", ")),
        }
    })
}

/// Checks that also who called a SECURITY DEFINER function may execute the function it calls.
fn require_execute(what: &str, function: &str) -> Result<(), Error> {
    if user::may_execute(function) {
        return Ok(());
    }
    let needs = format!("EXECUTE on function {function} for the calling role");
    Err(Error::NotAllowed { what: what.to_owned(), needs })
}

pub(super) fn or_report<T>(result: Result<T, Error>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => error.report(),
    }
}
