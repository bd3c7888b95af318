//! Reading a whole environment through before anybody trusts it, without LMDB.
//!
//! What is checked, beside what a file of LMDB's must be ([`pages`](crate::storage::pages)): every
//! record's checksum, the links between keys, and that there are as many records as were written.

use std::path::Path;

use super::checked::{CheckedRecords, Place};
use super::layout::Table;
use super::layout::meta::{TABLES_KEY, TablesRecord, decode_tables};
use crate::storage::StorageError;
use crate::storage::environment::DATA_NAME;
use crate::storage::pages::{PageError, PageFile};

/// Reads the environment in `directory` through. Blocks for as long as that takes.
///
/// # Errors
/// It is damaged.
pub(crate) fn verify(directory: &Path) -> Result<(), StorageError> {
    let path = directory.join(DATA_NAME);
    match PageFile::open(&path)? {
        Some(file) => verify_pages(&file).map_err(|error| error.of(&path)),
        None => Err(StorageError::Missing { path }),
    }
}

pub(super) fn verify_pages(file: &PageFile) -> Result<(), PageError> {
    let mut counts = [0; Place::ALL.len()];
    let mut records = CheckedRecords::default();
    let mut tables = None;
    file.verify(&mut |name, key, stored| {
        let known = Place::ALL.iter().position(|place| place.name() == name);
        let at = known.ok_or("there is no such table")?;
        let body = records.check(Place::ALL[at], key, stored).map_err(|error| error.to_string())?;
        counts[at] += 1;
        if Place::ALL[at] == Place::Of(Table::Meta) && key == TABLES_KEY {
            tables = Some(decode_tables(body).map_err(|error| error.to_string())?);
        }
        Ok(())
    })?;
    let tables: TablesRecord = tables.unwrap_or_default();
    for ((place, found), expected) in Place::ALL.into_iter().zip(counts).zip(tables.counts) {
        if found != expected {
            let (name, what) = (place.name().to_owned(), "records");
            return Err(PageError::Count { name, what, found, expected });
        }
    }
    if records.keys_end() != tables.keys_end {
        let (name, reason) = ("keys".to_owned(), "its last record is missing".to_owned());
        return Err(PageError::Record { name, reason });
    }
    Ok(())
}
