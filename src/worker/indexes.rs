//! Indexes with sealed keys, while the rows of their table are sealed again.

use crate::error::Error;
use crate::index_am::routine::pages;
use crate::keyring;
use crate::pg::call::Failure;
use crate::pg::catalog::Oid;
use crate::pg::{class, worker, xact};
use crate::policy;
use crate::table_am::routine::reseal::{self, Target};

/// Builds anew those of a table that hold keys under older layouts. A row that is sealed again stays where its
/// index entries find it, so they keep the keys that they had.
pub fn reseal(relation: Oid) -> Result<(), Failure> {
    pages::remove_left(relation)?;
    let old = worker::transaction(|| {
        xact::with_snapshot(|| find_old(relation).unwrap_or_else(|error| error.report()))
    })?;
    old.into_iter().try_for_each(pages::reindex)
}

fn find_old(relation: Oid) -> Result<Vec<Oid>, Error> {
    if !class::lock_if_there(relation) || !policy::is_sealed(relation) {
        return Ok(Vec::new());
    }
    let Some(target) = reseal::target(relation)? else { return Ok(Vec::new()) };
    let layouts = keyring::chunk_layouts(target.layout)?;
    let indexes = pages::sealed_indexes(relation).into_iter();
    Ok(indexes.filter(|index| pages::has_others(*index, &layouts)).collect())
}

/// Whether one of a table holds keys under other layouts than those that its rows are to reach.
pub fn have_old_keys(relation: Oid, target: Target) -> Result<bool, Error> {
    let layouts = keyring::chunk_layouts(target.layout)?;
    Ok(pages::sealed_indexes(relation).into_iter().any(|index| pages::has_others(index, &layouts)))
}
