//! The log's LMDB environment: its two tables, and what is read and written in them.
//!
//! Everything that writes takes the caller's transaction, so that one checkpoint is one commit.

use std::ops::Range;
use std::path::Path;

use heed::byteorder::BigEndian;
use heed::types::{Bytes, Str, U64};
use heed::{CommitOrAbort, Database, PutFlags, RoTxn, RwTxn};

use super::super::StorageError;
use super::super::environment::{Durability, Environment, EnvironmentOptions};
use super::meta_layout::{
    self, FormatRecord, JournalRecord, LOG_FORMAT_VERSION, LogRecord, LostRecord, Record,
};
use super::write::Write;
use super::{LogOptions, entry_layout};
use crate::consensus::{RaftEntry, RaftLogId, log_id_from_openraft, log_id_to_openraft};

/// Reads open at the same time: openraft's apply, one replication a peer, figures; with room.
const READERS_MAX: u32 = 512;

/// The tables of one log. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct LogTables {
    environment: Environment,
    entries: Database<'static, U64<BigEndian>, Bytes>,
    meta: Database<'static, Str, Bytes>,
}

/// What the disk holds when a log is opened.
#[derive(Clone, Debug, Default)]
pub(super) struct Recovered {
    /// An entry known to be committed.
    pub(super) committed: Option<RaftLogId>,
    /// The last entry that is gone.
    pub(super) purged: Option<RaftLogId>,
    /// The first and the last entry that can be read; none when there is none.
    pub(super) entries: Option<(u64, RaftLogId)>,
    /// What was acknowledged and lost, and not made good yet.
    pub(super) lost: Option<LostRecord>,
}

/// A transaction that changes the log.
pub(super) struct TablesTxn<'tables> {
    txn: RwTxn<'tables>,
    /// The log once the transaction is committed.
    pub(super) record: LogRecord,
}

impl LogTables {
    /// Opens the environment at `path`, creating it when it is new. One that is new holds no log
    /// until [`begin_log`](Self::begin_log).
    pub(super) fn open(path: &Path, options: &LogOptions) -> Result<Self, StorageError> {
        let environment = Environment::open(
            path,
            &EnvironmentOptions {
                map_bytes: options.map_bytes,
                readers_max: READERS_MAX,
                databases_max: 2,
                durability: Durability::EveryCommit,
                read_ahead: true,
            },
        )?;
        let txn = environment.write()?;
        let (entries, meta) = environment
            .heed()
            .create_databases_and_commit(txn, |opener, txn| {
                let entries = opener.create_database(txn, Some("entries"))?;
                let meta = opener.create_database(txn, Some("meta"))?;
                Ok(CommitOrAbort::<_, ()>::Commit((entries, meta)))
            })
            .map_err(|source| environment.error("create tables in", source))?
            .unwrap_commit();
        Ok(Self { environment, entries, meta })
    }

    /// Whether there is no log in these tables yet.
    ///
    /// # Errors
    /// There is one of another release, or half of one.
    pub(super) fn is_new(&self) -> Result<bool, StorageError> {
        let txn = self.read()?;
        let format = self.record::<FormatRecord>(&txn)?;
        let record = self.record::<LogRecord>(&txn)?;
        let path = || self.environment.path().to_owned();
        let corrupt = |reason: &str| {
            let (what, reason) = ("the log's layout", reason.to_owned());
            Err(StorageError::Corrupt { what, path: path(), reason })
        };
        match (format, record) {
            (None, None) => Ok(true),
            (Some(FormatRecord(found)), _) if found > LOG_FORMAT_VERSION => {
                let (what, newest) = ("the log", LOG_FORMAT_VERSION);
                Err(StorageError::NewerFormat { what, path: path(), found, newest })
            }
            (Some(FormatRecord(found)), _) if found < LOG_FORMAT_VERSION => {
                corrupt("it is of a release before the first")
            }
            (Some(_), Some(_)) => Ok(false),
            (None, Some(_)) => corrupt("its format record is gone"),
            (Some(_), None) => corrupt("the log record is gone"),
        }
    }

    /// Begins an empty log in tables that are new.
    pub(super) fn begin_log(&self) -> Result<(), StorageError> {
        let mut txn = self.write()?;
        self.put_record(&mut txn, &FormatRecord(LOG_FORMAT_VERSION))?;
        self.put_record(&mut txn, &LogRecord::default())?;
        self.environment.commit(txn)
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// The first or the last entry that must be there is not, or is damaged.
    pub(super) fn recover(&self) -> Result<Recovered, StorageError> {
        let txn = self.read()?;
        let record = self.log_record(&txn)?;
        let purged = record.purged.as_ref().map(log_id_to_openraft);
        let mut recovered = Recovered {
            committed: record.committed.as_ref().map(log_id_to_openraft),
            purged,
            entries: None,
            lost: record.lost,
        };
        let failed = |source| self.environment.error("read", source);
        let stored_last = self.entries.last(&txn).map_err(failed)?;
        let first_kept = purged.map_or(0, |log_id| log_id.index + 1);
        let Some(last) = record.last.filter(|last| last.index >= first_kept) else {
            return match stored_last {
                Some((index, _)) if index >= first_kept => Err(self.unexpected(index)),
                _ => Ok(recovered),
            };
        };
        let first = self.entries.get_greater_than_or_equal_to(&txn, &first_kept).map_err(failed)?;
        let first = match first {
            Some((first, _)) if purged.is_none() || first == first_kept => first,
            _ => return Err(self.missing(first_kept)),
        };
        match stored_last {
            Some((index, bytes)) if index == last.index => {
                let found = self.decode(index, bytes)?.log_id;
                if found != log_id_to_openraft(&last) {
                    return Err(self.unexpected(index));
                }
                recovered.entries = Some((first, found));
                Ok(recovered)
            }
            Some((index, _)) if index > last.index => Err(self.unexpected(index)),
            _ => Err(self.missing(last.index)),
        }
    }

    /// The error for an entry that the log record knows nothing of.
    fn unexpected(&self, index: u64) -> StorageError {
        let path = self.environment.path().to_owned();
        StorageError::CorruptEntry { index, path, reason: "it is not the log's last one".into() }
    }

    /// A moment in time, to read entries at.
    pub(super) fn read(&self) -> Result<RoTxn<'_, heed::WithoutTls>, StorageError> {
        self.environment.read()
    }

    fn write(&self) -> Result<RwTxn<'_>, StorageError> {
        self.environment.write()
    }

    /// Begins the write transaction of one checkpoint.
    pub(super) fn begin(&self) -> Result<TablesTxn<'_>, StorageError> {
        let txn = self.write()?;
        let record = self.log_record(&txn)?;
        Ok(TablesTxn { txn, record })
    }

    /// Puts a transaction on the disk. When this fails the outcome is unknown.
    pub(super) fn commit(&self, txn: TablesTxn<'_>) -> Result<(), StorageError> {
        let TablesTxn { mut txn, record } = txn;
        self.put_record(&mut txn, &record)?;
        self.environment.commit(txn)
    }

    /// What the tables say of the log.
    fn log_record(&self, txn: &RoTxn<'_, heed::WithoutTls>) -> Result<LogRecord, StorageError> {
        let gone = || StorageError::Corrupt {
            what: "the log record",
            path: self.environment.path().to_owned(),
            reason: "it is gone".to_owned(),
        };
        self.record(txn)?.ok_or_else(gone)
    }

    /// The entries of `range`, all of them, or as many from its start as fit into `bytes_max`
    /// encoded bytes (but at least one).
    pub(super) fn entries(
        &self,
        txn: &RoTxn<'_, heed::WithoutTls>,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<RaftEntry>, StorageError> {
        let failed = |source| self.environment.error("read", source);
        let mut entries = Vec::new();
        let mut bytes_total = 0;
        for item in self.entries.range(txn, &range).map_err(failed)? {
            let (index, bytes) = item.map_err(failed)?;
            let expected = range.start + entries.len() as u64;
            if index != expected {
                return Err(self.missing(expected));
            }
            bytes_total += bytes.len();
            if bytes_total > bytes_max && !entries.is_empty() {
                return Ok(entries);
            }
            entries.push(self.decode(index, bytes)?);
        }
        match range.start + entries.len() as u64 {
            next if next < range.end => Err(self.missing(next)),
            _ => Ok(entries),
        }
    }

    /// Makes one write part of the transaction; `buffer` is scratch. What a purge covers is
    /// deleted apart from it ([`Self::delete_purged`]).
    pub(super) fn apply(
        &self,
        txn: &mut TablesTxn<'_>,
        write: &Write,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StorageError> {
        match write {
            Write::Append(entries) => {
                entries.iter().try_for_each(|entry| self.append(txn, entry, buffer))
            }
            // It lies beside the tables.
            Write::SaveVote(_) => Ok(()),
            Write::Truncate(first) => self.truncate(txn, *first),
            Write::Purge(log_id) => {
                let purged = log_id_from_openraft(log_id);
                txn.record.purged = Some(purged);
                if txn.record.last.is_none_or(|last| last.index <= purged.index) {
                    txn.record.last = Some(purged);
                }
                Ok(())
            }
            Write::SaveCommitted(log_id) => {
                txn.record.committed = Some(log_id_from_openraft(log_id));
                Ok(())
            }
            Write::MadeGood => {
                txn.record.lost = None;
                Ok(())
            }
        }
    }

    fn append(
        &self,
        txn: &mut TablesTxn<'_>,
        entry: &RaftEntry,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StorageError> {
        entry_layout::encode(entry, buffer);
        txn.record.last = Some(log_id_from_openraft(&entry.log_id));
        self.entries
            .put_with_flags(&mut txn.txn, PutFlags::APPEND, &entry.log_id.index, buffer)
            .map_err(|source| self.environment.error("append to", source))
    }

    /// Removes the entry `first` and all after it.
    fn truncate(&self, txn: &mut TablesTxn<'_>, first: u64) -> Result<(), StorageError> {
        self.entries
            .delete_range(&mut txn.txn, &(first..))
            .map_err(|source| self.environment.error("truncate", source))?;
        let purged = txn.record.purged;
        txn.record.last = match first.checked_sub(1) {
            Some(last) if purged.is_none_or(|purged| purged.index < last) => {
                let bytes = self.entries.get(&txn.txn, &last);
                let bytes = bytes.map_err(|source| self.environment.error("read", source))?;
                // A log that begins behind its first entry may be cut to nothing.
                let entry = bytes.map(|bytes| self.decode(last, bytes)).transpose()?;
                entry.map(|entry| log_id_from_openraft(&entry.log_id)).or(purged)
            }
            _ => purged,
        };
        Ok(())
    }

    /// Where the journal stands; none when there is none.
    pub(super) fn journal(&self) -> Result<Option<JournalRecord>, StorageError> {
        Ok(self.log_record(&self.read()?)?.journal)
    }

    /// Takes in `writes` in one commit, and changes the log record.
    pub(super) fn replay(
        &self,
        writes: &[Write],
        change: impl FnOnce(&mut LogRecord),
    ) -> Result<(), StorageError> {
        let mut txn = self.begin()?;
        let mut buffer = Vec::new();
        for write in writes {
            self.apply(&mut txn, write, &mut buffer)?;
        }
        change(&mut txn.record);
        self.commit(txn)
    }

    /// Deletes entries up to `target`, from the first on and at most `count_max`. Answers whether
    /// any were there to delete.
    pub(super) fn delete_purged(
        &self,
        txn: &mut TablesTxn<'_>,
        target: u64,
        count_max: u64,
    ) -> Result<bool, StorageError> {
        let txn = &mut txn.txn;
        let failed = |source| self.environment.error("purge", source);
        let first = match self.entries.first(txn).map_err(failed)? {
            Some((first, _)) if first <= target => first,
            _ => return Ok(false),
        };
        let last = target.min(first.saturating_add(count_max - 1));
        self.entries.delete_range(txn, &(first..=last)).map_err(failed)?;
        Ok(true)
    }

    /// How many entries are on the disk, purged ones not deleted yet included, and the bytes of
    /// the pages they lie in.
    pub(super) fn size(&self) -> Result<(u64, u64), StorageError> {
        let txn = self.read()?;
        let stat = self.entries.stat(&txn);
        let stat = stat.map_err(|source| self.environment.error("measure", source))?;
        Ok((stat.entries as u64, stat.non_free_page_size() as u64))
    }

    /// The environment.
    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The error for an entry that must be there.
    pub(super) fn missing(&self, index: u64) -> StorageError {
        StorageError::MissingEntry { index, path: self.environment.path().to_owned() }
    }

    fn decode(&self, index: u64, bytes: &[u8]) -> Result<RaftEntry, StorageError> {
        entry_layout::decode(index, bytes)
            .map_err(|error| entry_layout::storage_error(index, self.environment.path(), error))
    }

    fn record<R: Record>(
        &self,
        txn: &RoTxn<'_, heed::WithoutTls>,
    ) -> Result<Option<R>, StorageError> {
        self.meta
            .get(txn, R::KEY)
            .map_err(|source| self.environment.error("read", source))?
            .map(|bytes| meta_layout::decode(self.environment.path(), bytes))
            .transpose()
    }

    fn put_record<R: Record>(&self, txn: &mut RwTxn<'_>, record: &R) -> Result<(), StorageError> {
        self.meta
            .put(txn, R::KEY, &meta_layout::encode(record))
            .map_err(|source| self.environment.error("write to", source))
    }
}
