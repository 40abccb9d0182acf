//! Functions on escrow recipients, and the restore from one.

use pgrx::Uuid;
use pgrx::prelude::*;
use sealed_crypto::fingerprint;

use super::keys::{given, or_report, parse_suite};
use super::{AUDITOR, KEY_ADMIN, require_role};
use crate::error::Error;
use crate::keyring;
use crate::pg::{log, xact};

#[pg_extern(sql = false)]
fn rewrap_recipients() -> TableIterator<'static, (name!(added, i32), name!(removed, i32))> {
    let rewrap = || {
        xact::prevent_if_read_only(c"sealed.rewrap_recipients()");
        require_role("wrap data keys to recipients", &[KEY_ADMIN])?;
        keyring::rewrap_recipients()
    };
    TableIterator::once(or_report(rewrap()))
}

#[pg_extern(sql = false)]
fn drop_recipient(name: Option<&str>) -> i32 {
    let remove = || {
        xact::prevent_if_read_only(c"sealed.drop_recipient()");
        require_role("drop a recipient", &[KEY_ADMIN])?;
        keyring::drop_recipient(given("name", name)?)
    };
    or_report(remove())
}

#[pg_extern(sql = false)]
fn vouch_recipient(name: Option<&str>, public_key: Option<&[u8]>) {
    let vouch = || {
        xact::prevent_if_read_only(c"sealed.vouch_recipient()");
        require_role("vouch for a recipient", &[KEY_ADMIN])?;
        keyring::vouch_recipient(given("name", name)?, given("public_key", public_key)?)
    };
    or_report(vouch());
}

#[pg_extern(sql = false)]
fn export_wraps(recipient: Option<&str>) -> SetOfIterator<'static, Vec<u8>> {
    let export = || {
        require_role("export wrapped data keys", &[KEY_ADMIN, AUDITOR])?;
        keyring::export_wraps(given("recipient", recipient)?)
    };
    SetOfIterator::new(or_report(export()))
}

#[pg_extern(sql = false)]
fn master_public_key() -> String {
    let show = || {
        require_role("see the public half of the master key", &[KEY_ADMIN, AUDITOR])?;
        let (id, suite, key) = keyring::master_public()?;
        Ok(format!("pg-sealed-master-public-v1:{suite}:{id}:{}", keyring::hex(&key)))
    };
    or_report(show())
}

#[pg_extern(sql = false)]
fn master_fingerprint() -> String {
    let show = || {
        require_role("see the fingerprint of the master key", &[KEY_ADMIN, AUDITOR])?;
        keyring::master_public().map(|(_, _, key)| keyring::hex(&fingerprint(&key)))
    };
    or_report(show())
}

#[pg_extern(sql = false)]
fn replace_lost_master_key(
    provider: Option<&str>,
    suite: Option<&str>,
    confirm: Option<bool>,
) -> Uuid {
    let replace = || {
        xact::prevent_if_read_only(c"sealed.replace_lost_master_key()");
        require_role("replace a lost master key", &[KEY_ADMIN])?;
        let provider = given("provider", provider)?;
        let suite = parse_suite(given("suite", suite)?, false)?;
        if !given("confirm", confirm)? {
            return Err(Error::BadArgument {
                what: "replacing a lost master key is to be confirmed".to_owned(),
                hint: "A provider that is only out of reach comes back. If its secret is lost: confirm \
                       => true, and then bring the data keys back with sealed-recover and \
                       sealed.import_wraps(...)."
                    .to_owned(),
            });
        }
        keyring::replace_lost_master_key(provider, suite)
    };
    let id = or_report(replace());
    log::notice(
        "no data key is wrapped to the new master key yet, and recipients get no new keys",
        "See docs/operations.md, The restore drill: sealed.import_wraps(...), then \
         sealed.vouch_recipient(...).",
    );
    Uuid::from_bytes(id.0)
}

#[pg_extern(sql = false)]
fn import_wraps(records: Option<Array<'_, &[u8]>>) -> i32 {
    let import = || {
        xact::prevent_if_read_only(c"sealed.import_wraps()");
        require_role("import wrapped data keys", &[KEY_ADMIN])?;
        let records = given("records", records)?;
        let records: Vec<Vec<u8>> = records.iter().flatten().map(<[u8]>::to_vec).collect();
        keyring::import_wraps(&records)
    };
    or_report(import())
}
