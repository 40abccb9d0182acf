//! What is said of rows that do not open.

use pgrx::pg_sys;

use crate::error::Error;
use crate::pg::{relation, tuple};
use crate::table_am::row::NotOpened;

/// What stops a row from being opened.
pub enum Trouble {
    /// The seal says no.
    Seal(NotOpened),
    /// A plain row in a table that has none.
    Plain,
}

impl Trouble {
    /// Whether the row itself is what is wrong, and not that its key is out of reach.
    pub fn is_damage(&self) -> bool {
        match self {
            // A changed bit of the layout's number; who has lost the layout itself cannot open the row
            // either.
            Trouble::Seal(NotOpened::Keyring(Error::LayoutGone { .. })) => true,
            // Out of reach for ever.
            Trouble::Seal(NotOpened::Keyring(Error::KeyDestroyed { .. })) => true,
            Trouble::Seal(NotOpened::Keyring(_)) => false,
            Trouble::Seal(_) | Trouble::Plain => true,
        }
    }

    /// The error for the row at `tuple`'s TID.
    pub unsafe fn into_error(self, tuple: pg_sys::HeapTuple) -> Error {
        // SAFETY: the caller passes the tuple that did not open, with t_self and t_tableOid set.
        let (oid, tid) = unsafe { ((*tuple).t_tableOid, (*tuple).t_self) };
        let (relation, ctid) = (relation::name(oid), tuple::display(&tid));
        match self {
            Trouble::Plain => Error::PlainRow { relation, ctid },
            Trouble::Seal(NotOpened::Damaged) => Error::DamagedRow { relation, ctid },
            Trouble::Seal(NotOpened::Foreign) => Error::ForeignRow { relation, ctid },
            Trouble::Seal(NotOpened::Keyring(Error::LayoutGone { layout })) => {
                Error::RowLayoutGone { relation, ctid, layout }
            }
            Trouble::Seal(NotOpened::Keyring(e)) => e,
        }
    }

    /// Raises the error for the row at `tuple`'s TID.
    pub unsafe fn report(self, tuple: pg_sys::HeapTuple) -> ! {
        // SAFETY: passed on.
        unsafe { self.into_error(tuple) }.report()
    }
}
