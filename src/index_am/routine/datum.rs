//! Type `sealed.key`: what nbtree takes the columns of our indexes for. No column of a table has it.

use pgrx::pg_sys::{self, Datum};

use super::{shadow, value};
use crate::error::Error;
use crate::pg::call::{call_c, callback};
use crate::pg::ffi;

/// `sealed.key_in(cstring) returns sealed.key`.
///
/// # Safety
/// Called by PostgreSQL's function manager.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn key_in_wrapper(_fcinfo: pg_sys::FunctionCallInfo) -> Datum {
    callback!({ Error::Unsupported { what: "values of type sealed.key".to_owned() }.report() })
}

/// `sealed.key_out(sealed.key) returns cstring`: the value as its own type shows it. nbtree calls it for the
/// message of a duplicate key, of the index that it is writing. Who may not open the columns is not shown it.
///
/// # Safety
/// Called by PostgreSQL's function manager.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn key_out_wrapper(fcinfo: pg_sys::FunctionCallInfo) -> Datum {
    callback!({
        // SAFETY: one argument, not NULL: a bytea that this index has.
        unsafe {
            let argument = (*fcinfo).args.as_slice(1)[0].value;
            let plain = ffi::pg_detoast_datum_packed(argument.cast_mut_ptr());
            let sealed = value::data(plain.cast());
            let unknown = || Error::Unsupported { what: "output of type sealed.key".to_owned() };
            let Some(shadow) = shadow::written() else { unknown().report() };
            // A build meets rows that are not the current user's.
            if shadow.check().is_err() {
                return Datum::from(pg_sys::pstrdup(c"sealed".as_ptr()));
            }
            let mut buffer = Vec::new();
            // nbtree does not say which column it is of: the one whose key opens it.
            for column in shadow.columns() {
                let Ok(opened) = value::open(column, sealed, &mut buffer) else { continue };
                let (mut output, mut is_varlena) = (pg_sys::InvalidOid, false);
                pg_sys::getTypeOutputInfo(column.kind.oid, &mut output, &mut is_varlena);
                let text = call_c(|| OidOutputFunctionCall(output, opened));
                value::wipe(&mut buffer);
                return Datum::from(text);
            }
            unknown().report()
        }
    })
}

unsafe extern "C-unwind" {
    fn OidOutputFunctionCall(function: pg_sys::Oid, value: Datum) -> *mut std::ffi::c_char;
}
