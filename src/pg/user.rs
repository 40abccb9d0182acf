//! Who is asking.

use std::ffi::CStr;

use pgrx::datum::IntoDatum;
use pgrx::pg_sys::{self, Oid};

/// The users that a privilege is asked of.
///
/// Not only the current user, who inside a SECURITY DEFINER function is that function's owner, but
/// also whoever called it: a careless wrapper owned by an administrator opens nothing.
fn users() -> [Oid; 2] {
    // SAFETY: reads variables of this backend.
    unsafe { [pg_sys::GetUserId(), pg_sys::GetOuterUserId()] }
}

/// Whether the caller has the privileges of one of the roles, or is a superuser.
pub fn has_role(roles: &[&CStr]) -> bool {
    if restricted() {
        return false;
    }
    users().into_iter().all(|user| {
        roles.iter().any(|role| {
            // SAFETY: a system cache look-up; a missing role is an invalid OID.
            let role = unsafe { pg_sys::get_role_oid(role.as_ptr(), true) };
            // SAFETY: looks at memberships; true for superusers.
            role != Oid::INVALID && unsafe { pg_sys::has_privs_of_role(user, role) }
            // SAFETY: a system cache look-up.
        }) || unsafe { pg_sys::superuser_arg(user) }
    })
}

/// Whether the caller may execute the function, given as in `regprocedure`.
pub fn may_execute(function: &str) -> bool {
    !restricted()
        && users().into_iter().all(|user| {
            let (Some(function), Some(privilege)) = (function.into_datum(), "execute".into_datum())
            else {
                return false;
            };
            // SAFETY: a built-in function with the arguments of its declaration; an unknown
            // function is an ERROR.
            let allowed = unsafe {
                pg_sys::OidFunctionCall3Coll(
                    Oid::from(pg_sys::F_HAS_FUNCTION_PRIVILEGE_OID_TEXT_TEXT),
                    pg_sys::DEFAULT_COLLATION_OID,
                    pg_sys::Datum::from(user),
                    function,
                    privilege,
                )
            };
            allowed.value() != 0
        })
}

/// Whether the caller owns the relation (or is a superuser, or a member of the owner).
pub fn owns(relation: Oid) -> bool {
    let Some(class) = super::class::class(relation) else { return false };
    // SAFETY: looks at memberships; true for superusers.
    let owns = |user| unsafe { pg_sys::has_privs_of_role(user, class.owner) };
    !restricted() && users().into_iter().all(owns)
}

/// Inside VACUUM, ANALYZE, CREATE INDEX or REFRESH of somebody's table, whose code may be hostile.
fn restricted() -> bool {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::InSecurityRestrictedOperation() }
}
