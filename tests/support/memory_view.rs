//! A whole state in memory: what storage does with changes, without a disk.
//!
//! It checks what storage relies on, and panics where a change breaks it: revisions advance by
//! one, sub-revisions count the writes, only existing keys are deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use chainfire::machine::{
    Applied, ApplyLimits, Change, Session, SessionLookup, StateView, StoredAnswer, VersionVisitor,
    Visits, apply_within,
};
use chainfire::types::staged_delete::covering;
use chainfire::types::{
    AccessTables, Answer, ClientId, Command, KeyRange, NodeId, PeerAddress, Principal, Revision,
    Roster, StagedDelete, VersionMeta,
};

/// One version of a key: what was put, or none for a tombstone.
type Version = (Revision, Option<VersionMeta>);

/// A state in memory with its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryView {
    pub(crate) revision: u64,
    pub(crate) compact_revision: u64,
    /// Each key's versions, oldest first.
    pub(crate) history: BTreeMap<Bytes, Vec<Version>>,
    /// What each put that is remembered put.
    values: BTreeMap<Revision, Bytes>,
    pub(crate) sessions: BTreeMap<ClientId, Session>,
    /// The sessions by their last activity.
    silence: BTreeSet<(u64, ClientId)>,
    pub(crate) members: BTreeMap<NodeId, (PeerAddress, String)>,
    pub(crate) access: Arc<AccessTables>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) deletes: Vec<StagedDelete>,
    /// How many writes the current main revision has.
    writes: u32,
}

impl MemoryView {
    /// An empty store.
    pub(crate) fn new() -> Self {
        Self {
            revision: Revision::EMPTY_STORE,
            compact_revision: 0,
            history: BTreeMap::new(),
            values: BTreeMap::new(),
            sessions: BTreeMap::new(),
            silence: BTreeSet::new(),
            members: BTreeMap::new(),
            access: Arc::default(),
            roster: Arc::default(),
            deletes: Vec::new(),
            writes: 0,
        }
    }

    /// Applies a command and its changes.
    pub(crate) fn apply(&mut self, command: &Command) -> Applied {
        self.apply_within(command, &ApplyLimits::default())
    }

    /// [`apply`](Self::apply) with other limits.
    pub(crate) fn apply_within(&mut self, command: &Command, limits: &ApplyLimits) -> Applied {
        let Ok(applied) = apply_within(self, command, limits);
        self.change_all(&applied.changes);
        applied
    }

    /// Applies an operation that no session stands for.
    pub(crate) fn execute(&mut self, operation: chainfire::types::Operation) -> StoredAnswer {
        self.apply(&Command {
            request_id: None,
            principal: Principal(String::from("test")),
            auth_revision: self.access.revision,
            leader_time_ms: 0,
            operation,
        })
        .response
    }

    /// Makes changes.
    pub(crate) fn change_all(&mut self, changes: &[Change]) {
        for change in changes {
            self.change(change.clone());
        }
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::SetRevision(revision) => {
                assert_eq!(revision, self.revision + 1, "revisions advance by one");
                self.revision = revision;
                self.writes = 0;
            }
            Change::Put { key, meta, value } => {
                self.expect_next(meta.mod_revision);
                self.values.insert(meta.mod_revision, value);
                self.history.entry(key).or_default().push((meta.mod_revision, Some(meta)));
            }
            Change::Delete { key, revision } => {
                self.expect_next(revision);
                let versions = self.history.get_mut(&key).expect("a deleted key has versions");
                let newest = versions.last().expect("a key is kept while it has a version");
                assert!(newest.1.is_some(), "a deleted key exists");
                versions.push((revision, None));
            }
            Change::StageDelete(staged) => {
                assert_eq!(staged.revision, self.revision, "it is staged at the new revision");
                let last = self.deletes.last();
                assert!(last.is_none_or(|last| last.revision < staged.revision), "in order");
                self.deletes.push(staged);
            }
            Change::WriteTombstone { key, revision } => self.write_tombstone(key, revision),
            Change::AdvanceDelete { revision, cursor, deleted } => {
                let staged = self.staged(revision);
                assert!(cursor > staged.cursor, "a step gets on");
                (staged.cursor, staged.deleted) = (cursor, deleted);
            }
            Change::FinishDelete { revision, .. } => {
                self.staged(revision);
                self.deletes.retain(|staged| staged.revision != revision);
            }
            Change::Compact(revision) => self.compact(revision),
            Change::RecordAnswer { client, sequence, lowest_unanswered, now_ms, answer } => {
                let session = self.sessions.entry(client).or_default();
                self.silence.remove(&(session.last_active_ms, client));
                session.last_active_ms = now_ms;
                session.lowest_unanswered = lowest_unanswered;
                let before = session.answers.insert(sequence, answer);
                let may_be_replaced =
                    matches!(before, None | Some(Ok(Answer::DeleteStaged { .. })));
                assert!(may_be_replaced, "answered once, but for a delete that was staged");
                session.answers = session.answers.split_off(&lowest_unanswered);
                self.silence.insert((now_ms, client));
            }
            Change::ExpireSession(client) => {
                let session = self.sessions.remove(&client).expect("an expired session existed");
                self.silence.remove(&(session.last_active_ms, client));
            }
            Change::SetMember { node_id, address, client_addr } => {
                self.members.insert(node_id, (address, client_addr));
            }
            Change::SetAccess { revision, edits } => {
                assert_eq!(revision, self.access.revision + 1, "auth revisions advance by one");
                self.access = Arc::new(self.access.edited(revision, &edits));
            }
            Change::SetRoster(roster) => self.roster = roster,
        }
    }

    fn staged(&mut self, revision: u64) -> &mut StagedDelete {
        let found = self.deletes.iter_mut().find(|staged| staged.revision == revision);
        found.expect("a change is of a delete that is staged")
    }

    fn write_tombstone(&mut self, key: Bytes, revision: Revision) {
        let staged = self.staged(revision.main);
        assert_eq!(revision.sub, staged.next_sub, "tombstones are counted");
        staged.next_sub += 1;
        let versions = self.history.get_mut(&key).expect("a deleted key has versions");
        let (newest, meta) = *versions.last().expect("a key is kept while it has a version");
        assert!(newest < revision && meta.is_some(), "what is deleted existed until then");
        versions.push((revision, None));
    }

    fn expect_next(&mut self, revision: Revision) {
        assert_eq!(revision, Revision::new(self.revision, self.writes), "writes are counted");
        self.writes += 1;
    }

    /// Keeps each key's newest version at or below `revision`, and all later ones. A tombstone
    /// stays when it is exactly at `revision`.
    fn compact(&mut self, revision: u64) {
        self.compact_revision = revision;
        for versions in self.history.values_mut() {
            let kept = versions.iter().rposition(|(at, _)| at.main <= revision).unwrap_or(0);
            for (forgotten, _) in versions.drain(..kept) {
                self.values.remove(&forgotten);
            }
            if matches!(versions[0], (at, None) if at.main < revision) {
                versions.remove(0);
            }
        }
        self.history.retain(|_, versions| !versions.is_empty());
    }

    /// Whether every member has a record of the key, however far compaction is on its disk.
    fn counts(&self, versions: &[Version], at: u64) -> bool {
        let seen = versions.iter().rfind(|(revision, _)| revision.main <= at);
        versions.last().is_some_and(|(newest, _)| newest.main > at)
            || seen.is_some_and(|(revision, meta)| {
                meta.is_some() || revision.main > self.compact_revision
            })
    }

    /// The newest version of a key at a main revision.
    fn version_at(versions: &[Version], at: u64) -> Option<VersionMeta> {
        versions.iter().rfind(|(revision, _)| revision.main <= at)?.1
    }
}

impl StateView for MemoryView {
    type Error = Infallible;

    fn revision(&self) -> u64 {
        self.revision
    }

    fn compact_revision(&self) -> u64 {
        self.compact_revision
    }

    fn staged_deletes(&self) -> &[StagedDelete] {
        &self.deletes
    }

    fn written(&self, key: &[u8]) -> Result<Option<VersionMeta>, Infallible> {
        let versions = self.history.get(key).map_or(&[][..], Vec::as_slice);
        Ok(Self::version_at(versions, self.revision))
    }

    fn scan(
        &self,
        range: &KeyRange,
        at: u64,
        visits: &Visits<'_>,
        visit: &mut VersionVisitor<'_>,
    ) -> Result<(), Infallible> {
        assert!(at >= self.compact_revision && at <= self.revision, "{at} is readable");
        for (key, versions) in self.history.range::<[u8], _>(range.bounds()) {
            if visits.key(key, self.counts(versions, at)).is_break() {
                break;
            }
            if let Some(meta) = Self::version_at(versions, at)
                && covering(&self.deletes, key, meta.mod_revision.main, at).is_none()
                && visit(key, &meta).is_break()
            {
                break;
            }
        }
        Ok(())
    }

    fn value(&self, revision: Revision) -> Result<Bytes, Infallible> {
        Ok(self.values.get(&revision).expect("a version names a put that is remembered").clone())
    }

    fn session(&self, client: ClientId) -> Result<Option<Session>, Infallible> {
        Ok(self.sessions.get(&client).cloned())
    }

    fn session_lookup(
        &self,
        client: ClientId,
        sequence: u64,
    ) -> Result<Option<SessionLookup>, Infallible> {
        Ok(self.sessions.get(&client).map(|session| SessionLookup {
            last_active_ms: session.last_active_ms,
            lowest_unanswered: session.lowest_unanswered,
            answers_kept: session.answers.len(),
            answer: session.answers.get(&sequence).cloned(),
        }))
    }

    fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster)
    }

    fn session_count(&self) -> usize {
        self.sessions.len()
    }

    fn access(&self) -> Arc<AccessTables> {
        Arc::clone(&self.access)
    }

    fn oldest_sessions(&self, limit: usize) -> Result<Vec<(ClientId, u64)>, Infallible> {
        let oldest = self.silence.iter().take(limit);
        Ok(oldest.map(|(last_active_ms, client)| (*client, *last_active_ms)).collect())
    }
}
