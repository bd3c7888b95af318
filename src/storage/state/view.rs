//! The state at one moment, to read from.
//!
//! A view is made under the lock of the state's head: it notes the current revision, takes a
//! share in the generations of the memory table and begins an LMDB transaction, all at once. The
//! flusher commits a generation to LMDB *before* it lets the generation go, under the same lock;
//! so every change at or below the view's revision is in the view's generations or in its
//! transaction (or, with the same contents, in both), or in the file of a backlog that its reader
//! holds open, and stays there while the view lives, whatever is flushed, settled, compacted or
//! installed meanwhile.
//!
//! A view pins what it reads: generations in memory and pages on the disk. It is made for the
//! time of one request's computation; never hold one across an `.await`, a client's pace or a
//! network send.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::layout::Table;
use super::layout::answers::{decode_answer, encode_answer_key};
use super::layout::sessions::{AnswerRecord, AnswerSlot};
use super::memtable::Generation;
use super::scan::{Moment, scan};
use super::shared::SharedSessions;
use super::tables::TableReader;
use crate::machine::{
    Forgotten, KeptAnswer, KeptSignature, Session, SessionLookup, SessionTotals, SignatureTotals,
    StateView, StoredAnswer, VersionVisitor, Visits,
};
use crate::storage::StorageError;
use crate::types::staged_delete::covering;
use crate::types::{
    AccessTables, ClientId, KeyRange, Principal, Revision, Roster, SignatureKey, StagedDelete,
    VersionMeta,
};

/// The state at a fixed revision.
///
/// Its sessions are the exception: they are those of *now*. Only the one who applies looks at
/// them, and for it now is the view's moment.
pub struct View {
    pub(super) revision: u64,
    pub(super) compact_revision: u64,
    pub(super) leader_time_ms: u64,
    pub(super) forgotten: Forgotten,
    pub(super) roster: Arc<Roster>,
    /// The newest first: the one that was active when the view was made, and the one that was
    /// being flushed.
    pub(super) generations: [Option<Arc<Generation>>; 2],
    pub(super) reader: TableReader,
    pub(super) access: Arc<AccessTables>,
    pub(super) deletes: Arc<Vec<StagedDelete>>,
    pub(super) sessions: Arc<SharedSessions>,
    pub(super) _open: OpenView,
}

/// Counts the open views while it lives.
pub(super) struct OpenView(Arc<AtomicUsize>);

impl OpenView {
    pub(super) fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for OpenView {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl View {
    fn generations(&self) -> impl Iterator<Item = &Generation> {
        self.generations.iter().flatten().map(|generation| &**generation)
    }

    /// The newest version of `key` at or below main revision `at`, when it is no tombstone; whatever
    /// staged deletes there are.
    fn version_at(&self, key: &[u8], at: u64) -> Result<Option<VersionMeta>, StorageError> {
        for generation in self.generations() {
            if let Some(version) = generation.read().version_at(key, at) {
                return Ok(version.existing());
            }
        }
        let version = self.reader.version_at(key, at)?;
        Ok(version.and_then(|version| version.existing()))
    }

    /// An answer with what it answers, wherever it lies.
    fn kept_answer(
        &self,
        client: ClientId,
        sequence: u64,
        record: AnswerRecord,
    ) -> Result<KeptAnswer, StorageError> {
        let answer = match record.slot {
            AnswerSlot::Inline(answer) => answer,
            AnswerSlot::Overflow { .. } => self.overflow_answer(client, sequence)?,
        };
        Ok(KeptAnswer { fingerprint: record.fingerprint, answer })
    }

    /// An answer that is kept apart from its session: still in memory, or in the `answers` table.
    fn overflow_answer(
        &self,
        client: ClientId,
        sequence: u64,
    ) -> Result<StoredAnswer, StorageError> {
        for generation in self.generations() {
            let contents = generation.read();
            let changed = contents.sessions().get(&client).and_then(|delta| delta.changed.as_ref());
            if let Some(answer) = changed.and_then(|changed| changed.answers.get(&sequence)) {
                return Ok(answer.answer.clone());
            }
        }
        let tables = self.reader.tables();
        let key = encode_answer_key(client, sequence);
        let bytes = tables.get(self.reader.txn(), Table::Answers, &key)?.ok_or_else(|| {
            tables.broken(Table::Answers, format!("answer {sequence} of {client:?} is missing"))
        })?;
        decode_answer(bytes).map_err(|error| tables.corrupt(Table::Answers, &error))
    }
}

impl StateView for View {
    type Error = StorageError;

    fn revision(&self) -> u64 {
        self.revision
    }

    fn compact_revision(&self) -> u64 {
        self.compact_revision
    }

    fn staged_deletes(&self) -> &[StagedDelete] {
        &self.deletes
    }

    fn written(&self, key: &[u8]) -> Result<Option<VersionMeta>, StorageError> {
        self.version_at(key, self.revision)
    }

    fn scan(
        &self,
        range: &KeyRange,
        at: u64,
        visits: &Visits<'_>,
        visit: &mut VersionVisitor<'_>,
    ) -> Result<(), StorageError> {
        let mut visit = |key: &[u8], meta: &VersionMeta| match covering(
            &self.deletes,
            key,
            meta.mod_revision.main,
            at,
        ) {
            None => visit(key, meta),
            Some(_) => ControlFlow::Continue(()),
        };
        if range.is_single() {
            if visits.key(&range.key, true).is_continue()
                && let Some(meta) = self.version_at(&range.key, at)?
            {
                let _one_key_is_all = visit(&range.key, &meta);
            }
            return Ok(());
        }
        let moment = Moment { at, compact_revision: self.compact_revision };
        scan(self.generations(), &self.reader, range, moment, visits, &mut visit)
    }

    fn value(&self, revision: Revision) -> Result<Bytes, StorageError> {
        for generation in self.generations() {
            if let Some(value) = generation.read().value(revision) {
                return Ok(value.clone());
            }
        }
        self.reader.value(revision)
    }

    fn session(&self, client: ClientId) -> Result<Option<Session>, StorageError> {
        let Some(kept) = self.sessions.read().get(client).cloned() else { return Ok(None) };
        let mut session = Session {
            owner: kept.owner.name.clone(),
            last_active_ms: kept.last_active_ms,
            window_ms: kept.window_ms,
            lowest_unanswered: kept.lowest_unanswered,
            answers: BTreeMap::new(),
        };
        for (sequence, record) in kept.answers {
            session.answers.insert(sequence, self.kept_answer(client, sequence, record)?);
        }
        Ok(Some(session))
    }

    fn session_lookup(
        &self,
        client: ClientId,
        sequence: u64,
    ) -> Result<Option<SessionLookup>, StorageError> {
        let sessions = self.sessions.read();
        let Some(kept) = sessions.get(client) else { return Ok(None) };
        let mut lookup = SessionLookup {
            last_active_ms: kept.last_active_ms,
            lowest_unanswered: kept.lowest_unanswered,
            answers_kept: kept.answers.len(),
            kept: kept.kept(&sessions),
            answer: None,
        };
        let record = kept.answers.get(&sequence).cloned();
        drop(sessions);
        if let Some(record) = record {
            lookup.answer = Some(self.kept_answer(client, sequence, record)?);
        }
        Ok(Some(lookup))
    }

    fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster)
    }

    fn session_totals(&self, user: &Principal) -> SessionTotals {
        self.sessions.read().totals(user)
    }

    fn overdue_sessions(
        &self,
        user: Option<&Principal>,
        before_ms: u64,
        limit: usize,
    ) -> Result<Vec<(ClientId, u64)>, StorageError> {
        if !self.sessions.read().may_be_overdue(before_ms) {
            return Ok(Vec::new());
        }
        Ok(self.sessions.write().overdue(user, before_ms, limit))
    }

    fn signature(&self, key: &SignatureKey) -> Result<Option<KeptSignature>, StorageError> {
        Ok(self.sessions.read().signatures.get(key))
    }

    fn signature_totals(&self, user: &Principal) -> SignatureTotals {
        self.sessions.read().signatures.totals(user)
    }

    fn oldest_signatures(&self, limit: usize) -> Result<Vec<(SignatureKey, u64)>, StorageError> {
        Ok(self.sessions.read().signatures.oldest(limit))
    }

    fn forgotten(&self) -> Forgotten {
        self.forgotten
    }

    fn leader_time_ms(&self) -> u64 {
        self.leader_time_ms
    }

    fn access(&self) -> Arc<AccessTables> {
        Arc::clone(&self.access)
    }
}
