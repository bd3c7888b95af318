//! The one place where records of the state's tables are written to LMDB and read from it.
//!
//! ```text
//! value in LMDB   [crc32: u32 little-endian, over table number, key and the rest][body]
//!        of keys  [crc32: as above][link: u32 little-endian][body]
//! link            crc32 of the key before this one in the table; 0 = this is the first
//! ```
//!
//! Nothing else holds a handle of LMDB's to a table, so no record can be read unchecked (a test of
//! the floors states it). The checksum covers the table and the key: a record that went astray, to
//! another key or another table, fails as one with a flipped bit does.
//!
//! # What is not there
//! Damage in LMDB's own pages can hide records that are whole. Where a record must be, its absence
//! is an error of the caller's: every version that a key's chain leads to, every answer that its
//! session names. Of `keys` nobody knows what must be there; so each record links to the one before
//! it. A miss, a gap in a walk and the end of a range are believed only when the record after it
//! links to the record before it, and the end of the table when the record of the tables in `meta`
//! does. The tables that are read whole at a start are counted ([`meta`](super::layout::meta)).
//!
//! What must stay true:
//! - a record that fails is never returned: who asks gets [`StorageError::Corrupt`];
//! - a walk returns keys in ascending order, or fails;
//! - what is found damaged is told to the hooks, whoever asked.
//!
//! The body's own layout is in [`layout`](super::layout); a snapshot file holds bodies, each chunk
//! with a checksum of its own.

use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use heed::types::Bytes as Raw;
use heed::{CommitOrAbort, Database, PutFlags, RoRange, RoTxn, RwTxn};

use super::layout::Table;
use super::layout::meta::{TABLES_KEY, decode_tables};
use crate::failpoint::{Fault, planted};
use crate::storage::environment::Environment;
use crate::storage::snapshot::format::VALUE_BYTES_MAX;
use crate::storage::{StorageError, StorageHooks};

/// Bytes before a record's body.
const CHECKSUM_BYTES: usize = 4;
/// Bytes of a link.
const LINK_BYTES: usize = 4;
/// The link of a table's first record; the end of an empty one.
pub(crate) const NO_LINK: u32 = 0;

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
        Self::Of(Table::Signatures),
        Self::Recent,
    ];

    fn number(self) -> u8 {
        match self {
            Self::Of(table) => table as u8,
            Self::Recent => u8::MAX,
        }
    }

    /// Whether each of its records links to the one before.
    fn is_linked(self) -> bool {
        self == Self::Of(Table::Keys)
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
    /// Where a linked table's end is found.
    meta: Database<'static, Raw, Raw>,
    damage: DamageReport,
}

/// Where damage is told, once somebody wants to hear of it. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct DamageReport(Arc<OnceLock<Arc<dyn StorageHooks>>>);

impl DamageReport {
    /// Has damage told to `hooks` from now on; the first who asks for it hears of it.
    pub(crate) fn tell(&self, hooks: Arc<dyn StorageHooks>) {
        self.0.get_or_init(|| hooks);
    }

    /// Tells of an error, which is damage unless the system or a limit refused.
    #[cold]
    pub(crate) fn report(&self, error: StorageError) -> StorageError {
        if error.is_damage()
            && let Some(hooks) = self.0.get()
        {
            hooks.state_damaged(&error);
        }
        error
    }
}

impl std::fmt::Debug for DamageReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DamageReport")
    }
}

/// What a writer keeps from one record to the next.
#[derive(Debug, Default)]
pub(crate) struct WriteBuffers {
    sealed: Vec<u8>,
    /// The record after a new one, which is linked to it.
    next_key: Vec<u8>,
    next_body: Vec<u8>,
    /// The link to the last record of `keys`, once it is known; to be written with the transaction.
    pub(crate) keys_end: Option<u32>,
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
    /// A walk over all records ended before there were as many as there are.
    #[error("{left} of its records are missing")]
    Count {
        /// How many.
        left: u64,
    },
    /// The records around a place do not link to each other: one that was there is missing.
    #[error(
        "a record is missing: the next one links to {linked:08x}, the one before is {found:08x}"
    )]
    Link {
        /// What the next record, or the end of the table, links to.
        linked: u32,
        /// The link to the record before.
        found: u32,
    },
}

/// Opens every table of `environment`, in the order of [`Place::ALL`], creating what is not there.
pub(crate) fn open_all(
    environment: &Environment,
) -> Result<[CheckedTable; Place::ALL.len()], StorageError> {
    let created =
        environment.heed().create_databases_and_commit(environment.write()?, |opener, txn| {
            let mut create = |place: Place| opener.create_database(txn, Some(place.name()));
            let [a, b, c, d, e, f, g, h, i, j] = Place::ALL;
            let [a, b, c, d, e] = [create(a)?, create(b)?, create(c)?, create(d)?, create(e)?];
            let [f, g, h, i, j] = [create(f)?, create(g)?, create(h)?, create(i)?, create(j)?];
            let created = [a, b, c, d, e, f, g, h, i, j];
            heed::Result::Ok(CommitOrAbort::<_, std::convert::Infallible>::Commit(created))
        });
    let created = created.map_err(|source| environment.error("create tables in", source))?;
    let databases = created.commit().expect("the closure above never aborts");
    let (meta, damage) = (databases[Table::Meta as usize], DamageReport::default());
    let mut places = Place::ALL.into_iter();
    Ok(databases.map(|database| {
        let place = places.next().expect("there are as many as databases");
        let (environment, damage) = (environment.clone(), damage.clone());
        CheckedTable { database, place, environment, meta, damage }
    }))
}

impl CheckedTable {
    /// A record's body. In a linked table none is believed only when its neighbours say so.
    pub(crate) fn get<'txn>(
        &self,
        txn: &'txn RoTxn<'_>,
        key: &[u8],
    ) -> Result<Option<&'txn [u8]>, StorageError> {
        let found = self.peek(txn, key)?;
        if found.is_none() && self.place.is_linked() {
            self.confirm_missing(txn, key)?;
        }
        Ok(found)
    }

    /// A record's body, for a writer that was told already whether there is one.
    pub(crate) fn peek<'txn>(
        &self,
        txn: &'txn RoTxn<'_>,
        key: &[u8],
    ) -> Result<Option<&'txn [u8]>, StorageError> {
        let found = self.database.get(txn, key).map_err(|source| self.failed("read", source))?;
        found.map(|stored| self.open(key, stored).map(|(_, body)| body)).transpose()
    }

    /// The records of a range, ascending.
    pub(crate) fn range<'txn>(
        &'txn self,
        txn: &'txn RoTxn<'_>,
        (start, end): (Bound<&[u8]>, Bound<&'txn [u8]>),
    ) -> Result<Records<'txn>, StorageError> {
        let is_linked = self.place.is_linked();
        // One record more than is asked for tells whether those before it are all.
        let until = if is_linked { Bound::Unbounded } else { end };
        let records = self.database.range(txn, &(start, until));
        let records = records.map_err(|source| self.failed("read", source))?;
        let links = match is_linked {
            true => Some(Links { txn, end, before: self.link_before(txn, start)? }),
            false => None,
        };
        Ok(Records { table: self, records, last: None, links, left: None })
    }

    /// Every record, ascending.
    pub(crate) fn iter<'txn>(
        &'txn self,
        txn: &'txn RoTxn<'_>,
    ) -> Result<Records<'txn>, StorageError> {
        let records = self.range(txn, (Bound::Unbounded, Bound::Unbounded))?;
        Ok(Records { left: Some(self.len(txn)?), ..records })
    }

    /// How many records LMDB says there are, and the pages they lie in.
    pub(crate) fn stat(&self, txn: &RoTxn<'_>) -> Result<heed::DatabaseStat, StorageError> {
        self.database.stat(txn).map_err(|source| self.failed("read", source))
    }

    /// How many records LMDB says there are.
    pub(crate) fn len(&self, txn: &RoTxn<'_>) -> Result<u64, StorageError> {
        Ok(self.stat(txn)?.entries as u64)
    }

    /// Puts a record.
    pub(crate) fn put(
        &self,
        txn: &mut RwTxn<'_>,
        key: &[u8],
        body: &[u8],
        buffers: &mut WriteBuffers,
    ) -> Result<(), StorageError> {
        let link = match self.place.is_linked() {
            true => Some(self.link_in(txn, key, buffers)?),
            false => None,
        };
        self.store(txn, PutFlags::empty(), key, link, body, &mut buffers.sealed)
    }

    /// Puts a record whose key is above every other of the table; an error when it is not.
    pub(crate) fn append(
        &self,
        txn: &mut RwTxn<'_>,
        key: &[u8],
        body: &[u8],
        buffers: &mut WriteBuffers,
    ) -> Result<(), StorageError> {
        let link = match self.place.is_linked() {
            true => Some(self.end(txn, buffers)?),
            false => None,
        };
        self.store(txn, PutFlags::APPEND, key, link, body, &mut buffers.sealed)?;
        if link.is_some() {
            buffers.keys_end = Some(link_to(key));
        }
        Ok(())
    }

    /// Removes a record; returns whether it was there.
    pub(crate) fn delete(
        &self,
        txn: &mut RwTxn<'_>,
        key: &[u8],
        buffers: &mut WriteBuffers,
    ) -> Result<bool, StorageError> {
        if self.place.is_linked() {
            let found = self.database.get(txn, key);
            let Some(stored) = found.map_err(|source| self.failed("read", source))? else {
                return Ok(false);
            };
            let (link, _) = self.open(key, stored)?;
            self.relink_after(txn, key, link, buffers)?;
        }
        self.database.delete(txn, key).map_err(|source| self.failed("write to", source))
    }

    /// The link of a record that is put at `key`. A new one takes over that of the record after it,
    /// which is linked to it instead.
    fn link_in(
        &self,
        txn: &mut RwTxn<'_>,
        key: &[u8],
        buffers: &mut WriteBuffers,
    ) -> Result<u32, StorageError> {
        let found = self.database.get(txn, key).map_err(|source| self.failed("read", source))?;
        if let Some(stored) = found {
            return self.open(key, stored).map(|(link, _)| link);
        }
        self.relink_after(txn, key, link_to(key), buffers)
    }

    /// Links the first record after `key`, or the end of the table, to `link`. Returns what it was
    /// linked to.
    fn relink_after(
        &self,
        txn: &mut RwTxn<'_>,
        key: &[u8],
        link: u32,
        buffers: &mut WriteBuffers,
    ) -> Result<u32, StorageError> {
        let next = self.database.get_greater_than(txn, key);
        let Some((next, stored)) = next.map_err(|source| self.failed("read", source))? else {
            let before = self.end(txn, buffers)?;
            buffers.keys_end = Some(link);
            return Ok(before);
        };
        let (before, body) = self.open(next, stored)?;
        buffers.next_key.clear();
        buffers.next_key.extend_from_slice(next);
        buffers.next_body.clear();
        buffers.next_body.extend_from_slice(body);
        let WriteBuffers { next_key, next_body, sealed, .. } = buffers;
        self.store(txn, PutFlags::empty(), next_key, Some(link), next_body, sealed)?;
        Ok(before)
    }

    fn store(
        &self,
        txn: &mut RwTxn<'_>,
        flags: PutFlags,
        key: &[u8],
        link: Option<u32>,
        body: &[u8],
        sealed: &mut Vec<u8>,
    ) -> Result<(), StorageError> {
        seal(self.place, key, link, body, sealed);
        let outcome = self.database.put_with_flags(txn, flags, key, sealed);
        outcome.map_err(|source| self.failed("write to", source))
    }

    /// The link to the table's last record, as this transaction has it.
    fn end(&self, txn: &RwTxn<'_>, buffers: &WriteBuffers) -> Result<u32, StorageError> {
        buffers.keys_end.map_or_else(|| self.stored_end(txn), Ok)
    }

    /// The link to the table's last record, as it was last committed.
    pub(crate) fn stored_end(&self, txn: &RoTxn<'_>) -> Result<u32, StorageError> {
        let stored = self.meta.get(txn, TABLES_KEY);
        let Some(stored) = stored.map_err(|source| self.failed("read", source))? else {
            return Ok(NO_LINK);
        };
        let place = Place::Of(Table::Meta);
        let (_, body) =
            open(place, TABLES_KEY, stored).map_err(|error| self.damaged(place, error))?;
        let tables = decode_tables(body).map_err(|error| self.damaged(place, error))?;
        Ok(tables.keys_end)
    }

    /// Fails when there was a record at `key`: the one after it links to the one before it.
    fn confirm_missing(&self, txn: &RoTxn<'_>, key: &[u8]) -> Result<(), StorageError> {
        let after = self.database.get_greater_than(txn, key);
        let linked = match after.map_err(|source| self.failed("read", source))? {
            Some((after, stored)) => self.open(after, stored)?.0,
            None => self.stored_end(txn)?,
        };
        self.confirm(linked, self.link_before(txn, Bound::Included(key))?)
    }

    /// The link to the last record before a range that begins at `start`.
    fn link_before(&self, txn: &RoTxn<'_>, start: Bound<&[u8]>) -> Result<u32, StorageError> {
        let before = match start {
            Bound::Unbounded => return Ok(NO_LINK),
            Bound::Included(start) => self.database.get_lower_than(txn, start),
            Bound::Excluded(start) => self.database.get_lower_than_or_equal_to(txn, start),
        };
        match before.map_err(|source| self.failed("read", source))? {
            None => Ok(NO_LINK),
            Some((key, stored)) => self.open(key, stored).map(|_| link_to(key)),
        }
    }

    fn confirm(&self, linked: u32, found: u32) -> Result<(), StorageError> {
        if linked == found || planted(Fault::NoChecksum) {
            return Ok(());
        }
        Err(self.damaged(self.place, RecordError::Link { linked, found }))
    }

    /// The link (0, when the table has none) and the body of a stored value, when it is what was
    /// written for `key`.
    fn open<'a>(&self, key: &[u8], stored: &'a [u8]) -> Result<(u32, &'a [u8]), StorageError> {
        open(self.place, key, stored).map_err(|error| self.damaged(self.place, error))
    }

    #[cold]
    fn damaged(&self, place: Place, error: impl std::fmt::Display) -> StorageError {
        let path = self.environment.path().to_owned();
        let (what, reason) = (place.name(), error.to_string());
        self.damage.report(StorageError::Corrupt { what, path, reason })
    }

    #[cold]
    fn failed(&self, action: &'static str, source: heed::Error) -> StorageError {
        self.damage.report(self.environment.error(action, source))
    }

    /// Where damage is told.
    pub(crate) fn damage(&self) -> &DamageReport {
        &self.damage
    }
}

/// A walk over records.
pub(crate) struct Records<'txn> {
    table: &'txn CheckedTable,
    records: RoRange<'txn, Raw, Raw>,
    last: Option<&'txn [u8]>,
    links: Option<Links<'txn>>,
    /// In a walk over all of the table: how many records are still to come.
    left: Option<u64>,
}

/// What a walk over a linked table knows.
struct Links<'txn> {
    txn: &'txn RoTxn<'txn>,
    /// Where what is asked for ends.
    end: Bound<&'txn [u8]>,
    /// The link to the record before the next one.
    before: u32,
}

impl<'txn> Records<'txn> {
    /// Checks a record of a linked table; none when it lies beyond what is asked for.
    fn linked(
        &mut self,
        key: &'txn [u8],
        stored: &'txn [u8],
    ) -> Result<Option<&'txn [u8]>, StorageError> {
        let (link, body) = self.table.open(key, stored)?;
        let Some(links) = &mut self.links else { return Ok(Some(body)) };
        self.table.confirm(link, links.before)?;
        links.before = link_to(key);
        let is_beyond = match links.end {
            Bound::Unbounded => false,
            Bound::Included(end) => key > end,
            Bound::Excluded(end) => key >= end,
        };
        if is_beyond {
            // So is everything after it.
            links.end = Bound::Excluded(&[]);
        }
        Ok((!is_beyond).then_some(body))
    }

    /// The table ended: whether that is all of it.
    fn end(&mut self) -> Option<StorageError> {
        if let Some(left @ 1..) = self.left.take() {
            return Some(self.table.damaged(self.table.place, RecordError::Count { left }));
        }
        let links = self.links.take()?;
        let end = self.table.stored_end(links.txn);
        end.and_then(|end| self.table.confirm(end, links.before)).err()
    }
}

impl<'txn> Iterator for Records<'txn> {
    type Item = Result<(&'txn [u8], &'txn [u8]), StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (key, stored) = match self.records.next() {
            Some(Ok(record)) => record,
            Some(Err(source)) => return Some(Err(self.table.failed("read", source))),
            None => return self.end().map(Err),
        };
        if self.last.is_some_and(|last| last >= key) {
            return Some(Err(self.table.damaged(self.table.place, RecordError::Order)));
        }
        self.last = Some(key);
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
        let body = self.linked(key, stored).transpose()?;
        Some(body.map(|body| (key, body)))
    }
}

/// Checks records of all tables that are read in the order of their keys, but not through a handle.
#[derive(Debug, Default)]
pub(crate) struct CheckedRecords {
    keys_end: u32,
}

impl CheckedRecords {
    /// The body of a record.
    pub(crate) fn check<'a>(
        &mut self,
        place: Place,
        key: &[u8],
        stored: &'a [u8],
    ) -> Result<&'a [u8], RecordError> {
        let (linked, body) = open(place, key, stored)?;
        if place.is_linked() {
            let found = std::mem::replace(&mut self.keys_end, link_to(key));
            if linked != found {
                return Err(RecordError::Link { linked, found });
            }
        }
        Ok(body)
    }

    /// The link to the last record of `keys`.
    pub(crate) fn keys_end(&self) -> u32 {
        self.keys_end
    }
}

/// The link to a record.
fn link_to(key: &[u8]) -> u32 {
    crc32fast::hash(key).max(NO_LINK + 1)
}

/// The link (0, when the table has none) and the body of a value that was stored for `key`.
fn open<'a>(place: Place, key: &[u8], stored: &'a [u8]) -> Result<(u32, &'a [u8]), RecordError> {
    let length = stored.len();
    let Some((found, body)) = stored.split_first_chunk::<CHECKSUM_BYTES>() else {
        return Err(RecordError::Length { length });
    };
    // Before its bytes are touched: a damaged length may reach past what is mapped.
    if body.len() > VALUE_BYTES_MAX + LINK_BYTES {
        return Err(RecordError::Length { length });
    }
    let (found, computed) = (u32::from_le_bytes(*found), checksum(place, key, body));
    if found != computed && !planted(Fault::NoChecksum) {
        return Err(RecordError::Checksum { found, computed });
    }
    if !place.is_linked() {
        return Ok((NO_LINK, body));
    }
    let split = body.split_first_chunk::<LINK_BYTES>();
    let (link, body) = split.ok_or(RecordError::Length { length })?;
    Ok((u32::from_le_bytes(*link), body))
}

/// What is stored for a record, written into `buffer` in place of what is there.
fn seal(place: Place, key: &[u8], link: Option<u32>, body: &[u8], buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.extend_from_slice(&[0; CHECKSUM_BYTES]);
    if let Some(link) = link {
        buffer.extend_from_slice(&link.to_le_bytes());
    }
    buffer.extend_from_slice(body);
    let checksum = checksum(place, key, &buffer[CHECKSUM_BYTES..]);
    buffer[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

/// Over the table, the key and what follows the checksum.
fn checksum(place: Place, key: &[u8], rest: &[u8]) -> u32 {
    // The number of the table is the state to begin with; so is the length of the key, for a byte
    // that went from the end of a key to the front of what follows must change the sum.
    let start = (usize::from(place.number()) << 16) | (key.len() & 0xffff);
    let mut hasher = crc32fast::Hasher::new_with_initial(start as u32);
    hasher.update(key);
    hasher.update(rest);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealed(place: Place, key: &[u8], body: &[u8]) -> Vec<u8> {
        let mut buffer = Vec::new();
        seal(place, key, place.is_linked().then_some(7), body, &mut buffer);
        buffer
    }

    const CHECKSUM: [u8; 4] = [181, 60, 66, 78];

    #[test]
    fn the_bytes_are_pinned() {
        let stored = sealed(Place::Of(Table::History), b"key", b"body");
        assert_eq!(stored, [&CHECKSUM[..], b"body"].concat());
        let linked = sealed(Place::Of(Table::Keys), b"key", b"body");
        assert_eq!(linked[CHECKSUM_BYTES..], *b"\x07\0\0\0body");
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
        let long = vec![0; VALUE_BYTES_MAX + CHECKSUM_BYTES + LINK_BYTES + 1];
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
            prop_assert_eq!(open(place, &key, &stored), Ok((7, &body[..])));
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
