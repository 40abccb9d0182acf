//! Who is asking.

use std::ffi::CStr;

use pgrx::datum::{Inet, IntoDatum};
use pgrx::direct_function_call;
use pgrx::pg_sys::{self, Oid};

/// The users that a privilege is asked of.
///
/// Not only the current user, who inside a SECURITY DEFINER function is that function's owner, but
/// also whoever called it: a careless wrapper owned by an administrator opens nothing.
fn users() -> [Oid; 2] {
    // SAFETY: reads variables of this backend.
    unsafe { [pg_sys::GetUserId(), pg_sys::GetOuterUserId()] }
}

/// Who did something, for the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Who logged in.
    pub session_user: String,
    /// As whom he acted: after SET ROLE, or inside a SECURITY DEFINER function its owner.
    pub current_user: String,
    /// `application_name`, as the client sent it.
    pub application: String,
    /// The client's address; `[local]` over a socket, empty for a background worker.
    pub address: String,
}

/// Who runs this backend, right now.
pub fn who() -> Who {
    // SAFETY: reads variables of this backend.
    let (session, current) = unsafe { (pg_sys::GetSessionUserId(), pg_sys::GetUserId()) };
    // SAFETY: null or ends with a zero byte, and is copied at once.
    let application = unsafe { copied(pg_sys::application_name) };
    Who {
        session_user: name(session),
        current_user: name(current),
        application,
        address: address(),
    }
}

fn address() -> String {
    // SAFETY: a pointer of this process, null where no client is connected.
    if unsafe { pg_sys::MyProcPort }.is_null() {
        return String::new();
    }
    // SAFETY: a built-in function without arguments; null for a client on a socket.
    let inet = unsafe { direct_function_call::<Inet>(pg_sys::inet_client_addr, &[]) };
    inet.map_or_else(|| "[local]".to_owned(), |inet| inet.0)
}

/// The name of a role, empty if it is gone.
pub fn name(user: Oid) -> String {
    if user == PUBLIC {
        return "public".to_owned();
    }
    // SAFETY: a system cache look-up; a role that is gone has no name.
    unsafe {
        let name = pg_sys::GetUserNameFromId(user, true);
        let copy = copied(name);
        if !name.is_null() {
            pg_sys::pfree(name.cast());
        }
        copy
    }
}

/// # Safety
/// Null, or a string that ends with a zero byte.
unsafe fn copied(text: *const std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
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

/// The user whose privileges count right now: inside a SECURITY DEFINER function its owner.
#[inline]
pub fn current() -> Oid {
    // Not through pgrx, whose guard costs more than the function: it is asked for rows.
    // SAFETY: reads a variable of this backend, and cannot raise an ERROR.
    unsafe { raw::GetUserId() }
}

/// Everybody (`ACL_ID_PUBLIC` of `utils/acl.h`).
pub const PUBLIC: Oid = Oid::INVALID;

/// Whether a user has the privileges of one of the roles. A superuser has all of them only with
/// `superusers`, else those that he is a member of.
pub fn is_one_of(user: Oid, roles: &[Oid], superusers: bool) -> bool {
    if roles.contains(&PUBLIC) {
        return true;
    }
    // SAFETY: looks at memberships.
    unsafe {
        if pg_sys::superuser_arg(user) {
            let member = |role: &Oid| pg_sys::is_member_of_role_nosuper(user, *role);
            return superusers || roles.iter().any(member);
        }
        roles.iter().any(|role| pg_sys::has_privs_of_role(user, *role))
    }
}

/// Whether a query is made ready or run that PostgreSQL makes to enforce a foreign key, or anything within it (a
/// trigger, a cast): only those are exempt from FORCE ROW LEVEL SECURITY (`utils/adt/ri_triggers.c`).
pub fn in_foreign_key_check() -> bool {
    // SAFETY: reads a variable of this backend, and cannot raise an ERROR.
    unsafe { raw::InNoForceRLSOperation() }
}

/// The OID of a role, by its name; `public` is everybody, and no role can have that name.
pub fn role(name: &str) -> Option<Oid> {
    if name == "public" {
        return Some(PUBLIC);
    }
    let name = std::ffi::CString::new(name).ok()?;
    // SAFETY: a system cache look-up.
    let role = unsafe { pg_sys::get_role_oid(name.as_ptr(), true) };
    (role != Oid::INVALID).then_some(role)
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

/// Calls `body`, which may call functions of a table's owner, with no more rights than he has, as VACUUM and CREATE INDEX
/// do. After an ERROR the end of the transaction, or the part of it, puts back what was.
///
/// # Safety
/// `rel` is an open table.
pub unsafe fn as_owner<R>(rel: pg_sys::Relation, body: impl FnOnce() -> R) -> R {
    // SAFETY: the caller's promise; the settings are put back as they were.
    unsafe {
        let (mut user, mut context) = (Oid::INVALID, 0);
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        let restricted = context | pg_sys::SECURITY_RESTRICTED_OPERATION as i32;
        pg_sys::SetUserIdAndSecContext((*(*rel).rd_rel).relowner, restricted);
        let settings = pg_sys::NewGUCNestLevel();
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        pg_sys::RestrictSearchPath();
        let result = body();
        pg_sys::AtEOXact_GUC(false, settings);
        pg_sys::SetUserIdAndSecContext(user, context);
        result
    }
}

/// Inside VACUUM, ANALYZE, CREATE INDEX or REFRESH of somebody's table, whose code may be hostile.
fn restricted() -> bool {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::InSecurityRestrictedOperation() }
}

/// Functions asked for rows, without pgrx's guard.
mod raw {
    use pgrx::pg_sys::Oid;

    unsafe extern "C-unwind" {
        pub fn GetUserId() -> Oid;
        pub fn InNoForceRLSOperation() -> bool;
    }
}
