//! Functions on providers, master keys, recipients and applications' keys.
//!
//! The SQL declarations, with argument names, defaults and privileges, are in `sql/`.

use pgrx::prelude::*;
use pgrx::{JsonB, Uuid};
use sealed_crypto::Suite;

use super::{KEY_ADMIN, require_role};
use crate::error::Error;
use crate::keyring;
use crate::pg::{user, xact};

#[pg_extern(sql = false)]
fn add_key_provider(name: Option<&str>, kind: Option<&str>, options: Option<JsonB>) {
    let add = || {
        xact::prevent_if_read_only(c"sealed.add_key_provider()");
        require_role("add a key provider", &[KEY_ADMIN])?;
        let (name, kind) = (given("name", name)?, given("kind", kind)?);
        let options = given("options", options)?.0;
        // It runs as the server's user, so it takes what COPY ... PROGRAM takes.
        if options.get("command").is_some() {
            require_role("add a key provider with a command", &[c"pg_execute_server_program"])?;
        }
        keyring::add_provider(name, kind, options)
    };
    or_report(add());
}

#[pg_extern(sql = false)]
fn create_master_key(provider: Option<&str>, suite: Option<&str>) -> Uuid {
    let create = || {
        xact::prevent_if_read_only(c"sealed.create_master_key()");
        require_role("create a master key", &[KEY_ADMIN])?;
        let suite = parse_suite(given("suite", suite)?)?;
        keyring::create_master_key(given("provider", provider)?, suite)
    };
    Uuid::from_bytes(or_report(create()).0)
}

#[pg_extern(sql = false)]
fn rotate_master_key(provider: Option<&str>, suite: Option<&str>) -> Uuid {
    let rotate = || {
        xact::prevent_if_read_only(c"sealed.rotate_master_key()");
        require_role("rotate the master key", &[KEY_ADMIN])?;
        keyring::rotate_master_key(provider, suite.map(parse_suite).transpose()?)
    };
    Uuid::from_bytes(or_report(rotate()).0)
}

#[pg_extern(sql = false)]
fn add_recipient(
    name: Option<&str>,
    public_key: Option<&[u8]>,
    suite: Option<&str>,
    legacy: Option<bool>,
) -> Uuid {
    let add = || {
        xact::prevent_if_read_only(c"sealed.add_recipient()");
        require_role("add a recipient", &[KEY_ADMIN])?;
        if given("legacy", legacy)? {
            return Err(Error::BadArgument {
                what: "no classical suite is available".to_owned(),
                hint: "Give a hybrid or post-quantum public key and leave out \"legacy\"."
                    .to_owned(),
            });
        }
        let suite = parse_suite(given("suite", suite)?)?;
        let public_key = given("public_key", public_key)?.to_vec();
        keyring::add_recipient(given("name", name)?, public_key, suite)
    };
    Uuid::from_bytes(or_report(add()).0)
}

/// A silent null for an answer would look as if something had been done.
fn given<T>(name: &str, argument: Option<T>) -> Result<T, Error> {
    argument.ok_or_else(|| Error::BadArgument {
        what: format!("argument \"{name}\" must not be null"),
        hint: "Give a value.".to_owned(),
    })
}

#[pg_extern(sql = false)]
fn wrap_key(key: Option<&[u8]>, recipient: Option<&str>) -> Option<Vec<u8>> {
    let allowed =
        require_execute("wrap a key", "sealed.wrap_key(pg_catalog.bytea,pg_catalog.text)");
    or_report(allowed.and_then(|()| key.map(|k| keyring::wrap_app_key(k, recipient)).transpose()))
}

#[pg_extern(sql = false)]
fn unwrap_key(wrapped: &[u8]) -> Vec<u8> {
    let key = require_execute("unwrap a key", "sealed.unwrap_key(pg_catalog.bytea)")
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
    // The type names are written so that no schema of the caller's can stand before them.
    let function = function.replace("pg_catalog.", "");
    let needs = format!("EXECUTE on function {function} for the calling role");
    Err(Error::NotAllowed { what: what.to_owned(), needs })
}

pub(super) fn or_report<T>(result: Result<T, Error>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => error.report(),
    }
}
