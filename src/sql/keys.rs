//! Functions on providers, master keys, recipients and applications' keys.
//!
//! The SQL declarations, with argument names, defaults and privileges, are in `sql/`.

use pgrx::prelude::*;
use pgrx::{JsonB, Uuid};
use sealed_crypto::{Id, Suite};

use super::{KEY_ADMIN, require_role};
use crate::error::Error;
use crate::keyring;
use crate::pg::{class, log, user, xact};

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
        let suite = parse_suite(given("suite", suite)?, false)?;
        keyring::create_master_key(given("provider", provider)?, suite)
    };
    Uuid::from_bytes(or_report(create()).0)
}

#[pg_extern(sql = false)]
fn rotate_master_key(provider: Option<&str>, suite: Option<&str>) -> Uuid {
    let rotate = || {
        xact::prevent_if_read_only(c"sealed.rotate_master_key()");
        require_role("rotate the master key", &[KEY_ADMIN])?;
        keyring::rotate_master_key(
            provider,
            suite.map(|suite| parse_suite(suite, false)).transpose()?,
        )
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
        let suite = parse_suite(given("suite", suite)?, true)?;
        let legacy = given("legacy", legacy)?;
        if legacy != suite.is_legacy() {
            let hint = if legacy {
                "It is no classical suite: leave out \"legacy\"."
            } else {
                "A quantum computer would open what is wrapped with it. If the recipient knows nothing \
                 else: legacy => true."
            };
            return Err(Error::BadArgument {
                what: format!("suite {suite} does not go with legacy => {legacy}"),
                hint: hint.to_owned(),
            });
        }
        let public_key = given("public_key", public_key)?.to_vec();
        keyring::add_recipient(given("name", name)?, public_key, suite)
    };
    Uuid::from_bytes(or_report(add()).0)
}

#[pg_extern(sql = false)]
fn destroy_key(
    relation: Option<pg_sys::Oid>,
    confirm: Option<&str>,
    data_key: Option<Uuid>,
) -> i32 {
    let destroy = || {
        xact::prevent_if_read_only(c"sealed.destroy_key()");
        require_role("destroy a data key", &[KEY_ADMIN])?;
        let (relation, confirm) = (given("relation", relation)?, given("confirm", confirm)?);
        let name = class::relation_name(relation);
        let qualified = class::qualified_name(relation).unwrap_or_else(|| name.clone());
        if confirm != name && confirm != qualified {
            return Err(Error::BadArgument {
                what: format!("\"{confirm}\" is not the name of the table whose keys are to go"),
                hint: format!(
                    "Rows under a destroyed key can never be read again. If that is meant: confirm => \
                     '{qualified}'."
                ),
            });
        }
        keyring::destroy_keys(relation, data_key.map(|id| Id(*id.as_bytes())))
    };
    let destroyed = or_report(destroy());
    log::notice(
        "the wraps of the destroyed keys are still in older WAL and backups, and in the file of \
         sealed.data_key_wrap",
        "VACUUM FULL sealed.data_key_wrap takes them out of the file. For the others see \
         docs/operations.md, Destroying keys.",
    );
    destroyed
}

#[pg_extern(sql = false)]
fn drop_master_key(id: Option<Uuid>, confirm: Option<bool>) {
    let remove = || {
        xact::prevent_if_read_only(c"sealed.drop_master_key()");
        require_role("drop a master key", &[KEY_ADMIN])?;
        let id = Id(*given("id", id)?.as_bytes());
        if !given("confirm", confirm)? {
            return Err(Error::BadArgument {
                what: "dropping a master key is to be confirmed".to_owned(),
                hint: "Records that sealed.wrap_key() made under it can never be unwrapped again, and \
                       nobody but their applications knows where they are. If there are none: confirm \
                       => true."
                    .to_owned(),
            });
        }
        keyring::drop_master_key(id)
    };
    or_report(remove());
}

/// A silent null for an answer would look as if something had been done.
pub(super) fn given<T>(name: &str, argument: Option<T>) -> Result<T, Error> {
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

pub(super) fn parse_suite(name: &str, or_legacy: bool) -> Result<Suite, Error> {
    let known: &[Suite] = if or_legacy { &Suite::WITH_LEGACY } else { &Suite::ALL };
    known.iter().copied().find(|suite| suite.name() == name).ok_or_else(|| {
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
