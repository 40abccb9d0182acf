//! Sealing and unsealing of tables that go on being used.

use std::ffi::CStr;

use pgrx::prelude::*;

use super::keys::or_report;
use super::{ddl, rotation};
use crate::error::Error;
use crate::keyring::{self, Kind};
use crate::pg::catalog::{self, Oid};
use crate::pg::class::{self, Class};
use crate::pg::{fault, method, xact};
use crate::{guc, policy};

#[pg_extern(sql = false)]
fn seal_table(relation: Oid) {
    xact::prevent_if_read_only(c"sealed.seal_table()");
    or_report(each_table(relation, (c"seal table", "seal this table"), seal));
}

#[pg_extern(sql = false)]
fn unseal_table(relation: Oid) {
    xact::prevent_if_read_only(c"sealed.unseal_table()");
    or_report(each_table(relation, (c"unseal table", "unseal this table"), unseal));
}

/// A table, or every partition of a partitioned one.
fn each_table(
    relation: Oid,
    (command, what): (&CStr, &str),
    f: fn(&Class) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut any = false;
    for relation in class::with_partitions(relation) {
        rotation::allow(relation, what)?;
        method::lock_alone(relation);
        let Some(class) = class::class(relation) else { continue };
        if class.has_rows() {
            method::check_not_in_use(relation, command);
            f(&class)?;
            any = true;
        }
    }
    if any { Ok(()) } else { Err(no_rows(relation)) }
}

fn no_rows(relation: Oid) -> Error {
    Error::BadArgument {
        what: format!("\"{}\" is not a table or materialized view", class::relation_name(relation)),
        hint: "Name a table, a partitioned table or a materialized view.".to_owned(),
    }
}

fn seal(class: &Class) -> Result<(), Error> {
    let table = class.oid;
    let method = policy::sealed_method().ok_or(Error::NotInstalled)?;
    if class.access_method == method {
        return match keyring::mixed(table)? {
            None => Err(already(class, "sealed")),
            Some(_) => mix(class, Kind::Sealed),
        };
    }
    if class.access_method != method::HEAP {
        return Err(Error::Unsupported {
            what: format!("sealing table \"{}\", which is not a heap table,", class.name),
        });
    }
    if class.temporary {
        return Err(Error::Unsupported {
            what: "sealing a temporary table of which other sessions know nothing".to_owned(),
        });
    }
    if class.of_system() {
        return Err(Error::NotAllowed {
            what: format!("seal \"{}\"", class.name),
            needs: "another table: this one is a system catalog".to_owned(),
        });
    }
    ddl::seal_table(table)?;
    method::set(table, method);
    fault::place("seal_table:method");
    class::remove_statistics(table);
    mix(class, Kind::Sealed)
}

fn unseal(class: &Class) -> Result<(), Error> {
    if !policy::is_sealed(class.oid) {
        return Err(Error::NotSealed { relation: class.name.clone() });
    }
    if keyring::mixed(class.oid)?.is_some_and(|m| m.target == Kind::Plain) {
        return Err(already(class, "being unsealed"));
    }
    keyring::columns::check_release(class.oid, None)?;
    if let Some(index) = policy::sealed_index(class.oid) {
        let index = class::relation_name(index);
        return Err(Error::BadArgument {
            what: format!("index \"{index}\" of \"{}\" has sealed keys", class.name),
            hint: format!(
                "Drop it first (DROP INDEX {index}), and make it USING btree afterwards."
            ),
        });
    }
    mix(class, Kind::Plain)
}

fn mix(class: &Class, target: Kind) -> Result<(), Error> {
    keyring::mix(class.oid, target)?;
    fault::place("mix:mixed");
    catalog::advance_command();
    // The key of new rows; and what the work is done towards, also of a table that stays empty.
    keyring::current_layout(class.oid)?;
    catalog::advance_command();
    if guc::reseal() {
        rotation::reseal(class.oid)?;
    }
    Ok(())
}

fn already(class: &Class, what: &str) -> Error {
    Error::BadArgument {
        what: format!("table \"{}\" is {what} already", class.name),
        hint: "Look at sealed.tables.".to_owned(),
    }
}
