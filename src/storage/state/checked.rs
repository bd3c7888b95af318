//! The one place where records of the state's tables are written to LMDB and read from it.
//!
//! ```text
//! value in LMDB  [crc32: u32 little-endian, over table number, key and body][body]
//! ```
//!
//! Nothing else holds a handle of LMDB's to a table, so no record can be read unchecked (a test of
//! the floors states it). The checksum covers the table and the key: a record that went astray, to
//! another key or another table, fails as one with a flipped bit does.
//!
//! What must stay true:
//! - a record that fails is never returned: who asks gets [`StorageError::Corrupt`];
//! - a walk returns keys in ascending order, or fails.
//!
//! The body's own layout is in [`layout`](super::layout); a snapshot file holds bodies, each chunk
//! with a checksum of its own.

use std::ops::Bound;

use heed::types::Bytes as Raw;
use heed::{CommitOrAbort, Database, PutFlags, RoRange, RoTxn, RwTxn};

use super::layout::Table;
use crate::failpoint::{Fault, planted};
use crate::storage::StorageError;
use crate::storage::environment::Environment;
use crate::storage::snapshot::format::VALUE_BYTES_MAX;

/// Bytes before a record's body.
pub(crate) const CHECKSUM_BYTES: usize = 4;

/// LMDB's name for the history that was written while there was a backlog. In no snapshot file.
const RECENT: &str = "recent";

/// A table in LMDB: its number is in every checksum. On disks: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// One of the tables of a snapshot file.
    Of(Table),
    /// The history that comes after a backlog.
    Recent,
}

impl Place {
    /// Every table of an environment.
    pub(crate) const ALL: [Self; Table::ALL.len() + 1] = [
        Self::Of(Table::Keys),
        Self::Of(Table::History),
        Self::Of(Table::Sessions),
        Self::Of(Table::Answers),
        Self::Of(Table::Members),
        Self::Of(Table::Meta),
        Self::Of(Table::Access),
        Self::Of(Table::Tombstones),
        Self::Recent,
    ];

    fn number(self) -> u8 {
        match self {
            Self::Of(table) => table as u8,
            Self::Recent => u8::MAX,
        }
    }

    /// The table's name, in LMDB and in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Of(table) => table.name(),
            Self::Recent => RECENT,
        }
    }
}

/// A table of an open environment.
#[derive(Clone, Debug)]
pub(crate) struct CheckedTable {
    database: Database<'static, Raw, Raw>,
    place: Place,
    environment: Environment,
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    /// No record is as long or as short.
    #[error("a record has an impossible length of {length} bytes")]
    Length {
        /// Its length.
        length: usize,
    },
    /// The bytes are not those that were written for this key of this table.
    #[error("the checksum of a record is {found:08x}, its bytes give {computed:08x}")]
    Checksum {
        /// The checksum stored.
        found: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// A key does not come after the one before it.
    #[error("its keys are out of order")]
    Order,
}

/// Opens every table of `environment`, in the order of [`Place::ALL`], creating what is not there.
pub(crate) fn open_all(
    environment: &Environment,
) -> Result<[CheckedTable; Place::ALL.len()], StorageError> {
    let created =
        environment.heed().create_databases_and_commit(environment.write()?, |opener, txn| {
            let mut create = |place: Place| opener.create_database(txn, Some(place.name()));
            let [a, b, c, d, e, f, g, h, i] = Place::ALL;
            let [a, b, c, d] = [create(a)?, create(b)?, create(c)?, create(d)?];
            let [e, f, g, h, i] = [create(e)?, create(f)?, create(g)?, create(h)?, create(i)?];
            let created = [a, b, c, d, e, f, g, h, i];
            heed::Result::Ok(CommitOrAbort::<_, std::convert::Infallible>::Commit(created))
        });
    let created = created.map_err(|source| environment.error("create tables in", source))?;
    let databases = created.commit().expect("the closure above never aborts");
    let mut places = Place::ALL.into_iter();
    Ok(databases.map(|database| {
        let place = places.next().expect("there are as many as databases");
        CheckedTable { database, place, environment: environment.clone() }
    }))
}

impl CheckedTable {
    /// A record's body.
    pub(crate) fn get<'txn>(
        &self,
        txn: &'txn RoTxn<'_>,
        key: &[u8],
    ) -> Result<Option<&'txn [u8]>, StorageError> {
        let found = self.database.get(txn, key).map_err(|source| self.failed("read", source))?;
        found.map(|stored| self.open(key, stored)).transpose()
    }

    /// The records of a range, ascending.
    pub(crate) fn range<'txn>(
        &'txn self,
        txn: &'txn RoTxn<'_>,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Result<Records<'txn>, StorageError> {
        let records = self.database.range(txn, &bounds);
        let records = records.map_err(|source| self.failed("read", source))?;
        Ok(Records { table: self, records, last: None })
    }

    /// Every record, ascending.
    pub(crate) fn iter<'txn>(
        &'txn self,
        txn: &'txn RoTxn<'_>,
    ) -> Result<Records<'txn>, StorageError> {
        self.range(txn, (Bound::Unbounded, Bound::Unbounded))
    }

    /// How many records LMDB says there are, and the pages they lie in.
    pub(crate) fn stat(&self, txn: &RoTxn<'_>) -> Result<heed::DatabaseStat, StorageError> {
        self.database.stat(txn).map_err(|source| self.failed("read", source))
    }

    /// How many records LMDB says there are.
    pub(crate) fn len(&self, txn: &RoTxn<'_>) -> Result<u64, StorageError> {
        Ok(self.stat(txn)?.entries as u64)
    }

    /// Puts a record. `buffer` is scratch.
    pub(crate) fn put(
        &self,
        txn: &mut RwTxn<'_>,
        key: &[u8],
        body: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Result<(), StorageError> {
        seal(self.place, key, body, buffer);
        self.database.put(txn, key, buffer).map_err(|source| self.failed("write to", source))
    }

    /// Puts a record whose key is above every other of the table; an error when it is not.
    pub(crate) fn append(
        &self,
        txn: &mut RwTxn<'_>,
        key: &[u8],
        body: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Result<(), StorageError> {
        seal(self.place, key, body, buffer);
        self.database
            .put_with_flags(txn, PutFlags::APPEND, key, buffer)
            .map_err(|source| self.failed("append to", source))
    }

    /// Removes a record; returns whether it was there.
    pub(crate) fn delete(&self, txn: &mut RwTxn<'_>, key: &[u8]) -> Result<bool, StorageError> {
        self.database.delete(txn, key).map_err(|source| self.failed("write to", source))
    }

    /// The body of a stored value, when it is what was written for `key`.
    fn open<'a>(&self, key: &[u8], stored: &'a [u8]) -> Result<&'a [u8], StorageError> {
        open(self.place, key, stored).map_err(|error| self.damaged(&error))
    }

    #[cold]
    fn damaged(&self, error: &RecordError) -> StorageError {
        let path = self.environment.path().to_owned();
        StorageError::Corrupt { what: self.place.name(), path, reason: error.to_string() }
    }

    #[cold]
    fn failed(&self, action: &'static str, source: heed::Error) -> StorageError {
        self.environment.error(action, source)
    }
}

/// A walk over records.
pub(crate) struct Records<'txn> {
    table: &'txn CheckedTable,
    records: RoRange<'txn, Raw, Raw>,
    last: Option<&'txn [u8]>,
}

impl<'txn> Iterator for Records<'txn> {
    type Item = Result<(&'txn [u8], &'txn [u8]), StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (key, stored) = match self.records.next()? {
            Ok(record) => record,
            Err(source) => return Some(Err(self.table.failed("read", source))),
        };
        if self.last.is_some_and(|last| last >= key) {
            return Some(Err(self.table.damaged(&RecordError::Order)));
        }
        self.last = Some(key);
        Some(self.table.open(key, stored).map(|body| (key, body)))
    }
}

/// The body of a value that was stored for `key` in `place`.
pub(crate) fn open<'a>(
    place: Place,
    key: &[u8],
    stored: &'a [u8],
) -> Result<&'a [u8], RecordError> {
    let length = stored.len();
    let Some((found, body)) = stored.split_first_chunk::<CHECKSUM_BYTES>() else {
        return Err(RecordError::Length { length });
    };
    // Before its bytes are touched: a damaged length may reach past what is mapped.
    if body.len() > VALUE_BYTES_MAX {
        return Err(RecordError::Length { length });
    }
    let (found, computed) = (u32::from_le_bytes(*found), checksum(place, key, body));
    if found == computed || planted(Fault::NoChecksum) {
        Ok(body)
    } else {
        Err(RecordError::Checksum { found, computed })
    }
}

/// What is stored for a record, written into `buffer` in place of what is there.
fn seal(place: Place, key: &[u8], body: &[u8], buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.extend_from_slice(&checksum(place, key, body).to_le_bytes());
    buffer.extend_from_slice(body);
}

fn checksum(place: Place, key: &[u8], body: &[u8]) -> u32 {
    // The number of the table is the state to begin with; so is the length of the key, for a byte
    // that went from the end of a key to the front of a body must change the sum.
    let start = (usize::from(place.number()) << 16) | (key.len() & 0xffff);
    let mut hasher = crc32fast::Hasher::new_with_initial(start as u32);
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealed(place: Place, key: &[u8], body: &[u8]) -> Vec<u8> {
        let mut buffer = Vec::new();
        seal(place, key, body, &mut buffer);
        buffer
    }

    const CHECKSUM: [u8; 4] = [181, 60, 66, 78];

    #[test]
    fn the_bytes_are_pinned() {
        let stored = sealed(Place::Of(Table::History), b"key", b"body");
        assert_eq!(stored, [&CHECKSUM[..], b"body"].concat());
        let other = sealed(Place::Recent, b"key", b"body");
        assert_ne!(other[..CHECKSUM_BYTES], CHECKSUM);
    }

    #[test]
    fn every_table_has_a_number_of_its_own() {
        let numbers: std::collections::BTreeSet<u8> =
            Place::ALL.iter().map(|place| place.number()).collect();
        assert_eq!(numbers.len(), Place::ALL.len());
    }

    #[test]
    fn a_length_that_no_record_has_is_refused_before_its_bytes_are_read() {
        let place = Place::Of(Table::Keys);
        assert_eq!(open(place, b"k", &[1, 2, 3]), Err(RecordError::Length { length: 3 }));
        let long = vec![0; VALUE_BYTES_MAX + CHECKSUM_BYTES + 1];
        assert_eq!(open(place, b"k", &long), Err(RecordError::Length { length: long.len() }));
    }

    proptest! {
        #[test]
        fn a_flipped_bit_anywhere_is_found(
            key in prop::collection::vec(any::<u8>(), 1..40),
            body in prop::collection::vec(any::<u8>(), 0..300),
            bit in any::<prop::sample::Index>(),
        ) {
            let place = Place::Of(Table::Keys);
            let stored = sealed(place, &key, &body);
            prop_assert_eq!(open(place, &key, &stored), Ok(&body[..]));
            let mut damaged = [&key[..], &stored].concat();
            let bit = bit.index(damaged.len() * 8);
            damaged[bit / 8] ^= 1 << (bit % 8);
            let (damaged_key, damaged_stored) = damaged.split_at(key.len());
            prop_assert!(open(place, damaged_key, damaged_stored).is_err());
            prop_assert!(open(Place::Of(Table::History), &key, &stored).is_err());
        }

        #[test]
        fn a_byte_between_key_and_body_belongs_to_one_of_them(
            bytes in prop::collection::vec(any::<u8>(), 2..60), at in any::<prop::sample::Index>(),
        ) {
            let place = Place::Of(Table::Keys);
            let at = 1 + at.index(bytes.len() - 1);
            let stored = sealed(place, &bytes[..at], &bytes[at..]);
            let moved = [&stored[..CHECKSUM_BYTES], &bytes[at - 1..]].concat();
            prop_assert!(open(place, &bytes[..at - 1], &moved).is_err());
        }
    }
}
