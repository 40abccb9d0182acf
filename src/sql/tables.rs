//! Functions on sealed tables.

use pgrx::prelude::*;

use super::keys::or_report;
use super::{KEY_ADMIN, OPERATOR, require_role};
use crate::error::Error;
use crate::pg::catalog::Oid;
use crate::pg::{class, user, xact};
use crate::{keyring, policy};

#[pg_extern(sql = false)]
fn is_sealed(relation: Oid) -> bool {
    policy::is_sealed(relation)
}

#[pg_extern(sql = false)]
fn rotate_data_key(relation: Oid) -> i32 {
    xact::prevent_if_read_only(c"sealed.rotate_data_key()");
    or_report(rotate(relation))
}

fn rotate(relation: Oid) -> Result<i32, Error> {
    if !user::owns(relation) {
        require_role("rotate the data key of this table", &[OPERATOR, KEY_ADMIN])?;
    }
    class::lock_for_rotation(relation);
    if !policy::is_sealed(relation) {
        return Err(Error::NotSealed { relation: class::relation_name(relation) });
    }
    keyring::rotate_data_key(relation)
}
