//! The state of the server's secret memory.

use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;

use super::keys::or_report;
use super::{AUDITOR, KEY_ADMIN, OPERATOR, require_role};
use crate::error::Error;
use crate::keyring;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn read_status() -> TableIterator<
    'static,
    (
        name!(version, String),
        name!(secret_memory, String),
        name!(keyring_size, i32),
        name!(keyring_used, i32),
        name!(salt_drawn_at, Option<TimestampWithTimeZone>),
        name!(salt_reserved, i64),
    ),
> {
    TableIterator::once(or_report(read()))
}

/// Which instructions rows are sealed and opened with.
#[pg_extern(sql = false)]
fn cipher_backend() -> &'static str {
    or_report(require_role("read the cipher backend", &[AUDITOR, OPERATOR, KEY_ADMIN]));
    sealed_crypto::backend_in_use().name()
}

/// As above.
type Status = (String, String, i32, i32, Option<TimestampWithTimeZone>, i64);

fn read() -> Result<Status, Error> {
    require_role("read the status of pg_sealed", &[AUDITOR, OPERATOR, KEY_ADMIN])?;
    let usage = keyring::usage().ok_or(Error::NotPreloaded)?;
    let salt = keyring::salt();
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    Ok((
        env!("CARGO_PKG_VERSION").to_owned(),
        usage.protection.name().to_owned(),
        count(usage.size),
        count(usage.used),
        salt.drawn_at_us().and_then(|us| TimestampWithTimeZone::try_from(us).ok()),
        i64::from(salt.reserved()),
    ))
}
