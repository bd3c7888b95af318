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
    self, CommittedRecord, FormatRecord, JournalRecord, LOG_FORMAT_VERSION, PurgedRecord, Record,
    VoteRecord,
};
use super::write::Write;
use super::{LogOptions, entry_layout};
use crate::consensus::{
    RaftEntry, RaftLogId, RaftVote, log_id_from_openraft, log_id_to_openraft, vote_from_openraft,
    vote_to_openraft,
};

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
    /// The last vote saved.
    pub(super) vote: Option<RaftVote>,
    /// An entry known to be committed.
    pub(super) committed: Option<RaftLogId>,
    /// The last entry that is gone.
    pub(super) purged: Option<RaftLogId>,
    /// The first and the last entry that can be read; none when there is none.
    pub(super) entries: Option<(u64, RaftLogId)>,
}

impl LogTables {
    /// Opens the environment at `path`, creating it when it is new.
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
        let tables = Self { environment, entries, meta };
        tables.check_format()?;
        Ok(tables)
    }

    /// Reads what is there.
    pub(super) fn recover(&self) -> Result<Recovered, StorageError> {
        let txn = self.read()?;
        let vote = self.record::<VoteRecord>(&txn)?.map(|record| vote_to_openraft(&record.0));
        let committed =
            self.record::<CommittedRecord>(&txn)?.map(|record| log_id_to_openraft(&record.0));
        let purged = self.record::<PurgedRecord>(&txn)?.map(|record| log_id_to_openraft(&record.0));

        let first_kept = purged.map_or(0, |log_id| log_id.index + 1);
        let failed = |source| self.environment.error("read", source);
        let first = self.entries.get_greater_than_or_equal_to(&txn, &first_kept).map_err(failed)?;
        let last = self.entries.last(&txn).map_err(failed)?;
        let entries = match (first, last) {
            (Some((first, _)), Some((last, bytes))) => {
                Some((first, self.decode(last, bytes)?.log_id))
            }
            _ => None,
        };
        Ok(Recovered { vote, committed, purged, entries })
    }

    /// A moment in time, to read entries at.
    pub(super) fn read(&self) -> Result<RoTxn<'_, heed::WithoutTls>, StorageError> {
        self.environment.read()
    }

    /// The write transaction of one checkpoint.
    pub(super) fn write(&self) -> Result<RwTxn<'_>, StorageError> {
        self.environment.write()
    }

    /// Puts a transaction on the disk. When this fails the outcome is unknown.
    pub(super) fn commit(&self, txn: RwTxn<'_>) -> Result<(), StorageError> {
        self.environment.commit(txn)
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

    fn append(
        &self,
        txn: &mut RwTxn<'_>,
        entry: &RaftEntry,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StorageError> {
        entry_layout::encode(entry, buffer);
        self.entries
            .put_with_flags(txn, PutFlags::APPEND, &entry.log_id.index, buffer)
            .map_err(|source| self.environment.error("append to", source))
    }

    /// Makes one write part of the transaction; `buffer` is scratch. What a purge covers is
    /// deleted apart from it ([`Self::delete_purged`]).
    pub(super) fn apply(
        &self,
        txn: &mut RwTxn<'_>,
        write: &Write,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StorageError> {
        match write {
            Write::Append(entries) => {
                entries.iter().try_for_each(|entry| self.append(txn, entry, buffer))
            }
            Write::SaveVote(vote) => self.put_record(txn, &VoteRecord(vote_from_openraft(vote))),
            Write::Truncate(first) => self.truncate(txn, *first),
            Write::Purge(log_id) => {
                self.put_record(txn, &PurgedRecord(log_id_from_openraft(log_id)))
            }
            Write::SaveCommitted(log_id) => {
                self.put_record(txn, &CommittedRecord(log_id_from_openraft(log_id)))
            }
        }
    }

    /// Where the journal stands; none when there is none.
    pub(super) fn journal(&self) -> Result<Option<JournalRecord>, StorageError> {
        self.record(&self.read()?)
    }

    /// Takes in what a journal held, and begins another (or none) after it, in one commit.
    pub(super) fn replay(
        &self,
        writes: &[Write],
        journal: Option<&JournalRecord>,
    ) -> Result<(), StorageError> {
        let mut txn = self.write()?;
        let mut buffer = Vec::new();
        for write in writes {
            self.apply(&mut txn, write, &mut buffer)?;
        }
        match journal {
            Some(journal) => self.put_record(&mut txn, journal)?,
            None => {
                let deleted = self.meta.delete(&mut txn, JournalRecord::KEY);
                deleted.map_err(|source| self.environment.error("write to", source))?;
            }
        }
        self.commit(txn)
    }

    /// The transaction holds the journal's records up to `sequence`.
    pub(super) fn advance_journal(
        &self,
        txn: &mut RwTxn<'_>,
        sequence: u64,
    ) -> Result<(), StorageError> {
        match self.record::<JournalRecord>(txn)? {
            Some(journal) => self.put_record(txn, &JournalRecord { sequence, ..journal }),
            None => Ok(()),
        }
    }

    /// Removes the entry `first` and all after it.
    fn truncate(&self, txn: &mut RwTxn<'_>, first: u64) -> Result<(), StorageError> {
        self.entries
            .delete_range(txn, &(first..))
            .map(|_count| ())
            .map_err(|source| self.environment.error("truncate", source))
    }

    /// Deletes entries up to `target`, from the first on and at most `count_max`. Answers whether
    /// any were there to delete.
    pub(super) fn delete_purged(
        &self,
        txn: &mut RwTxn<'_>,
        target: u64,
        count_max: u64,
    ) -> Result<bool, StorageError> {
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

    fn check_format(&self) -> Result<(), StorageError> {
        let txn = self.read()?;
        let found = self.record::<FormatRecord>(&txn)?;
        drop(txn);
        match found {
            Some(FormatRecord(found)) if found > LOG_FORMAT_VERSION => {
                Err(StorageError::NewerFormat {
                    what: "the log",
                    path: self.environment.path().to_owned(),
                    found,
                    newest: LOG_FORMAT_VERSION,
                })
            }
            Some(_) => Ok(()),
            None => {
                let mut txn = self.write()?;
                self.put_record(&mut txn, &FormatRecord(LOG_FORMAT_VERSION))?;
                self.commit(txn)
            }
        }
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
