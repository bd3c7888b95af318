//! Writing a generation into the tables.

use std::sync::Arc;

use heed::RwTxn;

use super::chain::link;
use super::checked::{CheckedTable, WriteBuffers};
use super::layout::Table;
use super::layout::answers::{encode_answer, encode_answer_key};
use super::layout::history::{HistoryRecord, encode_history_record};
use super::layout::keys::{KeyRecord, encode_key_record};
use super::layout::members::{encode_member, encode_node};
use super::layout::meta::{
    BACKLOG_KEY, META_KEY, StateMeta, TABLES_KEY, TablesRecord, encode_backlog, encode_meta,
    encode_tables,
};
use super::layout::roster::{ROSTER_KEY, encode_roster};
use super::layout::sessions::{
    AnswerRecord, AnswerSlot, SessionRecord, decode_session, encode_client, encode_session,
};
use super::layout::signatures::encode_signature_key;
use super::layout::version::{VersionRecord, encode_revision};
use super::memtable::{Contents, MemoryRecord};
use super::session_delta::SessionDelta;
use super::tables::Tables;
use crate::storage::StorageError;
use crate::types::ClientId;

/// Bytes of diverted versions held in memory while they are taken back, about.
const TAKEN_BACK_BYTES: usize = 256 << 10;

/// An answer that now lies in the `answers` table.
pub(crate) type Overflowed = (ClientId, u64);

/// A write transaction with the buffers it is fed from.
pub(crate) struct TableWriter<'a> {
    tables: &'a Arc<Tables>,
    txn: RwTxn<'a>,
    /// Where versions go.
    history: &'a CheckedTable,
    key_buffer: Vec<u8>,
    history_buffer: Vec<u8>,
    buffers: WriteBuffers,
}

impl<'a> TableWriter<'a> {
    /// Begins the one write transaction. To be committed, or dropped to change nothing, on this
    /// thread.
    pub(crate) fn begin(tables: &'a Arc<Tables>) -> Result<Self, StorageError> {
        let txn = tables.write()?;
        let history = tables.table(Table::History);
        let (key_buffer, history_buffer, buffers) = Default::default();
        Ok(Self { tables, txn, history, key_buffer, history_buffer, buffers })
    }

    /// Has versions go to the table for those that come after a backlog.
    pub(crate) fn divert_history(&mut self) {
        self.history = self.tables.recent();
    }

    /// The transaction, for reading what it holds.
    pub(crate) fn txn(&self) -> &RwTxn<'a> {
        &self.txn
    }

    /// The tables written to.
    pub(crate) fn tables(&self) -> &'a Arc<Tables> {
        self.tables
    }

    /// Makes everything written durable, or nothing.
    pub(crate) fn commit(mut self) -> Result<(), StorageError> {
        self.describe_tables()?;
        self.tables.commit(self.txn)
    }

    /// Writes how many records there are, and what comes last.
    fn describe_tables(&mut self) -> Result<(), StorageError> {
        let (keys, meta) = (self.tables.table(Table::Keys), self.tables.table(Table::Meta));
        let is_first = meta.peek(&self.txn, TABLES_KEY)?.is_none();
        let keys_end = match self.buffers.keys_end {
            Some(end) => end,
            None => keys.stored_end(&self.txn)?,
        };
        let mut counts = self.tables.counts(&self.txn)?;
        counts[Table::Meta as usize] += u64::from(is_first);
        self.put(Table::Meta, TABLES_KEY, &encode_tables(&TablesRecord { counts, keys_end }))
    }

    /// The newest version of a key, as this transaction has it.
    pub(crate) fn key_record(&self, key: &[u8]) -> Result<Option<KeyRecord<'_>>, StorageError> {
        let bytes = self.tables.table(Table::Keys).peek(&self.txn, key)?;
        bytes.map(|bytes| self.tables.decode_key(bytes)).transpose()
    }

    /// Writes every change of a generation. Answers which answers went to the `answers` table.
    pub(crate) fn write_generation(
        &mut self,
        contents: &Contents,
    ) -> Result<Vec<Overflowed>, StorageError> {
        for record in contents.records() {
            self.write_record(record)?;
        }
        for (node, member) in contents.members() {
            self.put(Table::Members, &encode_node(*node), &encode_member(member))?;
        }
        for (key, value) in contents.access() {
            match value {
                Some(value) => self.put(Table::Access, key, value)?,
                None => drop(self.delete(Table::Access, key)?),
            }
        }
        for (key, value) in contents.signatures() {
            let key = encode_signature_key(key);
            match value {
                Some(value) => self.put(Table::Signatures, &key, value)?,
                None => drop(self.delete(Table::Signatures, &key)?),
            }
        }
        if let Some(roster) = contents.roster() {
            self.put(Table::Meta, ROSTER_KEY, &encode_roster(roster))?;
        }
        let mut overflowed = Vec::new();
        for (client, delta) in contents.sessions() {
            self.write_session(*client, delta, &mut overflowed)?;
        }
        Ok(overflowed)
    }

    /// Writes how far the state is.
    pub(crate) fn write_meta(&mut self, meta: &StateMeta) -> Result<(), StorageError> {
        match &meta.backlog {
            Some(mark) => self.put(Table::Meta, BACKLOG_KEY, &encode_backlog(mark))?,
            None => drop(self.delete(Table::Meta, BACKLOG_KEY)?),
        }
        self.put(Table::Meta, META_KEY, &encode_meta(meta))
    }

    /// Puts a record.
    pub(crate) fn put(
        &mut self,
        table: Table,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), StorageError> {
        self.tables.table(table).put(&mut self.txn, key, value, &mut self.buffers)
    }

    /// Puts a record whose key is above every other of the table; an error when it is not.
    pub(crate) fn append(
        &mut self,
        table: Table,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), StorageError> {
        // What this environment says of itself there may come after what a file says.
        if table == Table::Meta {
            return self.put(table, key, value);
        }
        self.tables.table(table).append(&mut self.txn, key, value, &mut self.buffers)
    }

    /// Appends to `history` the first of the versions that were diverted, about `bytes_max` of them.
    /// Answers whether there are no more.
    pub(crate) fn take_back_history(&mut self, bytes_max: usize) -> Result<bool, StorageError> {
        let recent = self.tables.recent();
        let mut bytes = 0;
        while bytes < bytes_max {
            let mut taken = Vec::new();
            let mut taken_bytes = 0;
            for record in recent.iter(&self.txn)? {
                let (key, value) = record?;
                taken_bytes += key.len() + value.len();
                taken.push((key.to_vec(), value.to_vec()));
                if taken_bytes >= TAKEN_BACK_BYTES {
                    break;
                }
            }
            if taken.is_empty() {
                return Ok(true);
            }
            for (key, value) in taken {
                self.append(Table::History, &key, &value)?;
                recent.delete(&mut self.txn, &key, &mut self.buffers)?;
            }
            bytes += taken_bytes;
        }
        Ok(recent.len(&self.txn)? == 0)
    }

    /// Removes a record; answers whether it was there.
    pub(crate) fn delete(&mut self, table: Table, key: &[u8]) -> Result<bool, StorageError> {
        self.tables.table(table).delete(&mut self.txn, key, &mut self.buffers)
    }

    fn write_record(&mut self, record: &MemoryRecord) -> Result<(), StorageError> {
        let previous = self.key_record(&record.key)?;
        if previous.is_none() && record.version.live.is_none_or(|live| live.version > 1) {
            let reason = "the version before a change is missing".to_owned();
            return Err(self.tables.broken(Table::Keys, reason));
        }
        let link = link(previous.as_ref().map(|previous| (previous.revision, &previous.version)));
        let version = VersionRecord {
            live: record.version.live,
            depth: link.depth,
            pointers: link.pointers(),
        };
        let revision = record.version.revision;
        let (mut key_bytes, mut history_bytes) =
            (std::mem::take(&mut self.key_buffer), std::mem::take(&mut self.history_buffer));
        encode_key_record(&mut key_bytes, &KeyRecord { revision, version });
        let history = HistoryRecord { version, key: &record.key, value: &record.value };
        encode_history_record(&mut history_bytes, &history);
        let history_key = encode_revision(revision);
        if record.is_staged {
            self.put(Table::Tombstones, &history_key, &history_bytes)?;
        } else {
            self.history.append(&mut self.txn, &history_key, &history_bytes, &mut self.buffers)?;
        }
        self.put(Table::Keys, &record.key, &key_bytes)?;
        (self.key_buffer, self.history_buffer) = (key_bytes, history_bytes);
        Ok(())
    }

    fn write_session(
        &mut self,
        client: ClientId,
        delta: &SessionDelta,
        overflowed: &mut Vec<Overflowed>,
    ) -> Result<(), StorageError> {
        let key = encode_client(client);
        let mut record = self.session(&key)?;
        let Some(changed) = &delta.changed else {
            if delta.forgets_earlier {
                self.forget_answers(client, &record.answers)?;
                self.delete(Table::Sessions, &key)?;
            }
            return Ok(());
        };
        let lowest = changed.lowest_unanswered;
        let dropped = if delta.forgets_earlier {
            std::mem::take(&mut record).answers
        } else {
            let dropped = record.answers.partition_point(|(sequence, _)| *sequence < lowest);
            record.answers.drain(..dropped).collect()
        };
        self.forget_answers(client, &dropped)?;
        // An answer that took another's place.
        let (replaced, kept) = std::mem::take(&mut record.answers)
            .into_iter()
            .partition::<Vec<_>, _>(|(sequence, _)| changed.answers.contains_key(sequence));
        record.answers = kept;
        self.forget_answers(client, &replaced)?;
        for (sequence, kept) in &changed.answers {
            let mut answer = AnswerRecord::inline(kept.clone());
            if answer.slot.is_long() {
                let key = encode_answer_key(client, *sequence);
                self.put(Table::Answers, &key, &encode_answer(&kept.answer))?;
                overflowed.push((client, *sequence));
                answer.slot = AnswerSlot::Overflow { kept_bytes: answer.kept_bytes() };
            }
            record.answers.push((*sequence, answer));
        }
        record.answers.sort_by_key(|(sequence, _)| *sequence);
        if let Some(owner) = &changed.owner {
            record.owner.clone_from(owner);
        }
        record.last_active_ms = changed.last_active_ms;
        record.window_ms = record.window_ms.max(changed.window_ms);
        record.lowest_unanswered = record.lowest_unanswered.max(lowest);
        self.put(Table::Sessions, &key, &encode_session(&record))
    }

    fn session(&self, key: &[u8]) -> Result<SessionRecord, StorageError> {
        let bytes = self.tables.get(&self.txn, Table::Sessions, key)?;
        let record = bytes.map(decode_session).transpose();
        let record = record.map_err(|error| self.tables.corrupt(Table::Sessions, &error))?;
        Ok(record.unwrap_or_default())
    }

    fn forget_answers(
        &mut self,
        client: ClientId,
        answers: &[(u64, AnswerRecord)],
    ) -> Result<(), StorageError> {
        for (sequence, answer) in answers {
            if matches!(answer.slot, AnswerSlot::Overflow { .. }) {
                self.delete(Table::Answers, &encode_answer_key(client, *sequence))?;
            }
        }
        Ok(())
    }
}
