//! Functions on sealed tables.

use pgrx::prelude::*;

use crate::pg::catalog::Oid;
use crate::policy;

#[pg_extern(sql = false)]
fn is_sealed(relation: Oid) -> bool {
    policy::is_sealed(relation)
}
