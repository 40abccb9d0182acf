//! The audit's chain, checked.

use pgrx::prelude::*;

use super::keys::or_report;
use super::{AUDITOR, KEY_ADMIN, require_role};
use crate::error::Error;
use crate::keyring::audit;

#[pg_extern(sql = false)]
fn verify_audit(
    seq: Option<i64>,
    hash: Option<&[u8]>,
) -> TableIterator<'static, (name!(seq, i64), name!(message, String))> {
    TableIterator::new(or_report(verify(seq, hash)))
}

fn verify(seq: Option<i64>, hash: Option<&[u8]>) -> Result<Vec<(i64, String)>, Error> {
    require_role("verify the audit", &[AUDITOR, KEY_ADMIN])?;
    if hash.is_some() && seq.is_none() {
        return Err(Error::BadArgument {
            what: "argument \"hash\" needs argument \"seq\"".to_owned(),
            hint: "Give the number and the hash of one entry that was seen before.".to_owned(),
        });
    }
    let mut broken = Vec::new();
    audit::verify(seq.map(|seq| (seq, hash.map(<[u8]>::to_vec))), |seq, message| {
        broken.push((seq, message.to_owned()));
    })?;
    Ok(broken)
}
