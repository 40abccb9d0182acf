//! Values of columns that were added after rows were written, sealed, in `sealed.missing_value`.

use super::records::MissingRow;
use crate::error::Error;
use crate::pg::catalog::{self, Oid};

/// Keeps the sealed value that the rows of a table have in a column they were written without.
pub fn keep_missing(relation: Oid, attnum: i16, value: Vec<u8>) -> Result<(), Error> {
    MissingRow::insert(relation, attnum, value)?;
    catalog::relation_changed(relation);
    Ok(())
}

/// The sealed values of a table, by column.
pub fn missing(relation: Oid) -> Result<Vec<(i16, Vec<u8>)>, Error> {
    let rows = MissingRow::to_read(relation)?;
    Ok(rows.into_iter().map(|row| (row.attnum, row.value)).collect())
}

/// The number of the last column that has such a value; 0 if none has.
pub fn missing_columns(relation: Oid) -> Result<u16, Error> {
    Ok(missing(relation)?.iter().map(|(attnum, _)| attnum.unsigned_abs()).max().unwrap_or(0))
}

/// Forgets them: every row was written anew, or the table is dropped. A rollback brings them back.
pub fn drop_missing(relation: Oid) -> Result<(), Error> {
    let rows = MissingRow::of_relation(relation)?;
    if rows.is_empty() {
        return Ok(());
    }
    rows.iter().try_for_each(MissingRow::delete)?;
    catalog::relation_changed(relation);
    Ok(())
}
