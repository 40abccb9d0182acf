//! What users see: functions, and commands that concern sealed tables.

mod audit;
mod columns;
mod ddl;
mod escrow;
mod keys;
mod live;
mod rotation;
mod status;
mod tables;

use std::ffi::CStr;

use crate::error::Error;
use crate::pg::hook::{self, Deciders};
use crate::pg::{label, user, worker};
use crate::policy;

const KEY_ADMIN: &CStr = c"sealed_key_admin";
const OPERATOR: &CStr = c"sealed_operator";
const AUDITOR: &CStr = c"sealed_auditor";

/// Puts the hooks in place. Called once, by `_PG_init`.
pub fn init() {
    policy::init();
    label::init(columns::check_label);
    hook::install(Deciders {
        is_sealed: policy::is_sealed,
        make_sealed: policy::make_sealed,
        before: ddl::before,
        method_set: ddl::method_set,
        created: ddl::created,
        dropped: ddl::dropped,
        role_dropped: columns::role_dropped,
        labelled: columns::labelled,
        attached: columns::attached,
        prepared_committed: rotation::prepared_committed,
        // What its template was doing in the background goes on in the copy.
        database_created: worker::wake_new_at_commit,
    });
}

/// Checks that the caller has one of the roles, whatever was granted on the function.
fn require_role(what: &str, roles: &[&CStr]) -> Result<(), Error> {
    if user::has_role(roles) {
        return Ok(());
    }
    let names: Vec<_> = roles.iter().map(|role| role.to_string_lossy()).collect();
    let needs = format!("the privileges of role {}", names.join(" or "));
    Err(Error::NotAllowed { what: what.to_owned(), needs })
}
