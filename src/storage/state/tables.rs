//! The tables of one epoch's LMDB environment, opened once; and a reader of them at one moment.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use heed::{RoTxn, RwTxn, WithoutTls};

use super::backlog::Backlog;
use super::chain::{Step, step};
use super::checked::{self, CheckedTable, DamageReport, Place};
use super::layout::history::{HistoryRecord, decode_history_record};
use super::layout::keys::{KeyRecord, decode_key_record};
use super::layout::meta::{
    BACKLOG_KEY, META_KEY, StateMeta, TABLES_KEY, TablesRecord, decode_backlog, decode_meta,
    decode_tables,
};
use super::layout::version::encode_revision;
use super::layout::{LayoutError, Table};
use super::memtable::VisibleVersion;
use crate::storage::StorageError;
use crate::storage::environment::{Durability, Environment, EnvironmentOptions};
use crate::types::Revision;

/// Most read transactions open at the same time.
pub(crate) const READERS_MAX: u32 = 1_024;

/// An open environment with its tables.
#[derive(Debug)]
pub(crate) struct Tables {
    environment: Environment,
    tables: [CheckedTable; Place::ALL.len()],
    /// History that is not in them yet.
    backlog: RwLock<Option<Arc<Backlog>>>,
}

impl Tables {
    /// Opens the environment in `directory`, creating what is not there.
    pub(crate) fn open(
        directory: &Path,
        map_bytes: u64,
        durability: Durability,
    ) -> Result<Self, StorageError> {
        let options = EnvironmentOptions {
            map_bytes,
            readers_max: READERS_MAX,
            databases_max: u32::try_from(Place::ALL.len()).expect("there are a few tables"),
            durability,
            read_ahead: false,
        };
        let environment = Environment::open(directory, &options)?;
        let tables = checked::open_all(&environment)?;
        Ok(Self { environment, tables, backlog: RwLock::default() })
    }

    /// The environment, for its figures and errors.
    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// A table.
    pub(crate) fn table(&self, table: Table) -> &CheckedTable {
        &self.tables[table as usize]
    }

    /// The history that was written while there was a backlog, which it comes after; as `history`.
    pub(crate) fn recent(&self) -> &CheckedTable {
        let [.., recent] = &self.tables;
        recent
    }

    /// Any table.
    pub(crate) fn at(&self, place: Place) -> &CheckedTable {
        match place {
            Place::Of(table) => self.table(table),
            Place::Recent => self.recent(),
        }
    }

    /// Where damage in them is told.
    pub(crate) fn damage(&self) -> &DamageReport {
        self.recent().damage()
    }

    /// How many records LMDB says each of them has.
    pub(crate) fn counts(&self, txn: &RoTxn<'_>) -> Result<[u64; Place::ALL.len()], StorageError> {
        let mut counts = [0; Place::ALL.len()];
        for (count, table) in counts.iter_mut().zip(&self.tables) {
            *count = table.len(txn)?;
        }
        Ok(counts)
    }

    /// Fails unless every table has as many records as were written to it.
    pub(crate) fn check_counts(&self, txn: &RoTxn<'_>) -> Result<(), StorageError> {
        let record = match self.get(txn, Table::Meta, TABLES_KEY)? {
            Some(bytes) => decode_tables(bytes),
            // Nothing was ever written.
            None => Ok(TablesRecord::default()),
        };
        let expected = record.map_err(|error| self.corrupt(Table::Meta, &error))?.counts;
        let found = self.counts(txn)?;
        for ((place, expected), found) in Place::ALL.into_iter().zip(expected).zip(found) {
            if expected != found {
                let reason = format!("it has {found} records, {expected} were written");
                return Err(self.broken_at(place, reason));
            }
        }
        Ok(())
    }

    /// The one write transaction; see [`Environment::write`].
    pub(crate) fn write(&self) -> Result<RwTxn<'_>, StorageError> {
        self.environment.write()
    }

    /// Commits a write transaction.
    pub(crate) fn commit(&self, txn: RwTxn<'_>) -> Result<(), StorageError> {
        self.environment.commit(txn)
    }

    /// History that is not in the tables yet.
    pub(crate) fn backlog(&self) -> Option<Arc<Backlog>> {
        self.backlog.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says where history is that is not in the tables; none once all of it is committed to them.
    pub(crate) fn set_backlog(&self, backlog: Option<Arc<Backlog>>) {
        *self.backlog.write().unwrap_or_else(PoisonError::into_inner) = backlog;
    }

    /// A moment in time, to read at.
    pub(crate) fn read(self: &Arc<Self>) -> Result<TableReader, StorageError> {
        // Before the transaction: whoever sees none here sees all of the history in the tables.
        let backlog = self.backlog();
        let txn = self.environment.heed().clone().static_read_txn();
        let txn = txn.map_err(|source| self.environment.error("read", source))?;
        Ok(TableReader { txn, tables: Arc::clone(self), backlog })
    }

    /// The error for a record of `table` that does not decode.
    pub(crate) fn corrupt(&self, table: Table, error: &LayoutError) -> StorageError {
        let path = self.environment.path();
        match error {
            LayoutError::Envelope(error) => {
                self.damage().report(StorageError::envelope(table.name(), path, error))
            }
            _ => self.broken(table, error.to_string()),
        }
    }

    /// The error for records of `table` that contradict each other.
    pub(crate) fn broken(&self, table: Table, reason: String) -> StorageError {
        self.broken_at(Place::Of(table), reason)
    }

    fn broken_at(&self, place: Place, reason: String) -> StorageError {
        let path = self.environment.path().to_owned();
        self.damage().report(StorageError::Corrupt { what: place.name(), path, reason })
    }

    /// How far the state in the tables is.
    pub(crate) fn meta(&self, txn: &RoTxn<'_>) -> Result<StateMeta, StorageError> {
        let corrupt = |error| self.corrupt(Table::Meta, &error);
        let Some(bytes) = self.get(txn, Table::Meta, META_KEY)? else {
            return Ok(StateMeta::empty());
        };
        let backlog = self.get(txn, Table::Meta, BACKLOG_KEY)?.map(decode_backlog).transpose();
        let meta = decode_meta(bytes).map_err(corrupt)?;
        Ok(StateMeta { backlog: backlog.map_err(corrupt)?, ..meta })
    }

    /// A record's bytes.
    pub(crate) fn get<'txn>(
        &self,
        txn: &'txn RoTxn<'_>,
        table: Table,
        key: &[u8],
    ) -> Result<Option<&'txn [u8]>, StorageError> {
        self.table(table).get(txn, key)
    }

    /// The newest version of a key.
    pub(crate) fn key_record<'txn>(
        &self,
        txn: &'txn RoTxn<'_>,
        key: &[u8],
    ) -> Result<Option<KeyRecord<'txn>>, StorageError> {
        self.get(txn, Table::Keys, key)?.map(|bytes| self.decode_key(bytes)).transpose()
    }

    /// A `keys` record's fields.
    pub(crate) fn decode_key<'a>(&self, bytes: &'a [u8]) -> Result<KeyRecord<'a>, StorageError> {
        decode_key_record(bytes).map_err(|error| self.corrupt(Table::Keys, &error))
    }

    /// A `history` record's fields.
    pub(crate) fn decode_history<'a>(
        &self,
        bytes: &'a [u8],
    ) -> Result<HistoryRecord<'a>, StorageError> {
        decode_history_record(bytes).map_err(|error| self.corrupt(Table::History, &error))
    }
}

/// The tables at one moment.
pub(crate) struct TableReader {
    txn: RoTxn<'static, WithoutTls>,
    tables: Arc<Tables>,
    backlog: Option<Arc<Backlog>>,
}

impl TableReader {
    /// The transaction, for reading through [`tables`](Self::tables).
    pub(crate) fn txn(&self) -> &RoTxn<'static, WithoutTls> {
        &self.txn
    }

    /// The tables read.
    pub(crate) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// History that may not be in the tables at this moment.
    pub(crate) fn backlog(&self) -> Option<&Backlog> {
        self.backlog.as_deref()
    }

    /// The newest version of `key` at or below main revision `at`; none when there is none left.
    pub(crate) fn version_at(
        &self,
        key: &[u8],
        at: u64,
    ) -> Result<Option<VisibleVersion>, StorageError> {
        match self.tables.key_record(&self.txn, key)? {
            Some(record) => self.resolve(&record, at),
            None => Ok(None),
        }
    }

    /// [`version_at`](Self::version_at), from the key's record.
    pub(crate) fn resolve(
        &self,
        newest: &KeyRecord<'_>,
        at: u64,
    ) -> Result<Option<VisibleVersion>, StorageError> {
        if newest.revision.main <= at {
            let live = newest.version.live;
            return Ok(Some(VisibleVersion { revision: newest.revision, live }));
        }
        let mut next = (step(newest.version.pointers, at), newest.version.live);
        loop {
            let (towards, later) = next;
            next = match towards {
                Step::Missing => return Ok(None),
                // Before the first version of a key since it last did not exist there is only a
                // tombstone, which compaction may have removed.
                Step::Found(_) if later.is_some_and(|later| later.version == 1) => return Ok(None),
                Step::Found(revision) => {
                    let live = self.history(revision, |record| record.version.live)?;
                    let live = live.ok_or_else(|| self.missing(revision))?;
                    return Ok(Some(VisibleVersion { revision, live }));
                }
                Step::Follow(revision) => {
                    let further = self.history(revision, |record| {
                        (step(record.version.pointers, at), record.version.live)
                    });
                    further?.ok_or_else(|| self.missing(revision))?
                }
            }
        }
    }

    /// The value of the change `revision`.
    pub(crate) fn value(&self, revision: Revision) -> Result<Bytes, StorageError> {
        let value = self.history(revision, |record| Bytes::copy_from_slice(record.value))?;
        value.ok_or_else(|| self.missing(revision))
    }

    /// Fails unless the change `revision` is there.
    pub(crate) fn check_version(&self, revision: Revision) -> Result<(), StorageError> {
        self.history(revision, |_| ())?.ok_or_else(|| self.missing(revision))
    }

    /// Has `read` read one version of a key; none when compaction removed it.
    fn history<T>(
        &self,
        revision: Revision,
        read: impl FnOnce(HistoryRecord<'_>) -> T,
    ) -> Result<Option<T>, StorageError> {
        let (tables, key) = (&self.tables, encode_revision(revision));
        let mut bytes = tables.get(&self.txn, Table::History, &key)?;
        if bytes.is_none() {
            bytes = tables.get(&self.txn, Table::Tombstones, &key)?;
        }
        if let (None, Some(backlog)) = (bytes, &self.backlog) {
            bytes = tables.recent().get(&self.txn, &key)?;
            if bytes.is_none() {
                let found = backlog.find(revision, |bytes| tables.decode_history(bytes).map(read));
                return found.map_err(|error| tables.damage().report(error))?.transpose();
            }
        }
        bytes.map(|bytes| tables.decode_history(bytes).map(read)).transpose()
    }

    fn missing(&self, Revision { main, sub }: Revision) -> StorageError {
        self.tables.broken(Table::History, format!("revision {main}.{sub} is missing"))
    }
}
