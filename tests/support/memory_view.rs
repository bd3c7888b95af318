//! A whole state in memory: what storage does with changes, without a disk.
//!
//! It checks what storage relies on, and panics where a change breaks it: revisions advance by
//! one, sub-revisions count the writes, only existing keys are deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use chainfire::machine::{
    AnswerBytes, Applied, ApplyLimits, Change, Forgotten, KeptSignature, Recorded, Session,
    SessionLookup, SessionTotals, SignatureTotals, StateView, StoredAnswer, VersionVisitor, Visits,
    apply_within, due_ms, kept_bytes,
};
use chainfire::types::staged_delete::covering;
use chainfire::types::{
    AccessTables, Answer, ClientId, Command, KeyRange, NodeId, PeerAddress, Principal, Revision,
    Roster, SignatureKey, StagedDelete, VersionMeta,
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
    pub(crate) forgotten: Forgotten,
    pub(crate) signatures: BTreeMap<SignatureKey, KeptSignature>,
    pub(crate) leader_time_ms: u64,
    /// The sessions by when they are due, of all and of each user.
    by_due: BTreeSet<(u64, ClientId)>,
    by_user: BTreeMap<Principal, BTreeSet<(u64, ClientId)>>,
    /// Bytes of the answers of each user.
    kept_bytes: BTreeMap<Principal, u64>,
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
            forgotten: Forgotten::default(),
            signatures: BTreeMap::new(),
            leader_time_ms: 0,
            by_due: BTreeSet::new(),
            by_user: BTreeMap::new(),
            kept_bytes: BTreeMap::new(),
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

    /// The same within limits that are reached sooner.
    pub(crate) fn apply_within(&mut self, command: &Command, limits: &ApplyLimits) -> Applied {
        let Ok(applied) = apply_within(self, command, limits);
        self.follow(command, &applied.changes);
        applied
    }

    /// Makes the changes of a command.
    pub(crate) fn follow(&mut self, command: &Command, changes: &[Change]) {
        self.change_all(changes);
        self.leader_time_ms = self.leader_time_ms.max(command.leader_time_ms);
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
            Change::RecordAnswer { client, recorded } => self.record(client, recorded),
            Change::RefuseBegun { before_ms } => {
                assert!(before_ms > self.forgotten.sessions_before_ms);
                self.forgotten.sessions_before_ms = before_ms;
            }
            Change::RefuseDated { through_seconds } => {
                assert!(through_seconds >= self.forgotten.signatures_through_seconds);
                self.forgotten.signatures_through_seconds = through_seconds;
            }
            Change::RecordSignature { key, kept } => {
                self.signatures.insert(key, kept);
            }
            Change::ForgetSignature(key) => {
                self.signatures.remove(&key).expect("a forgotten signature was remembered");
            }
            Change::ExpireSession(client) => {
                self.take_session(client).expect("an expired session existed");
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

    fn record(&mut self, client: ClientId, recorded: Recorded) {
        let Recorded { begins, sequence, lowest_unanswered, now_ms, window_ms, answer } = recorded;
        let mut session = match begins {
            Some(owner) => {
                assert!(!self.sessions.contains_key(&client), "a session begins once");
                Session { owner, ..Session::default() }
            }
            None => self.take_session(client).expect("a session begins with its first write"),
        };
        session.last_active_ms = now_ms;
        session.window_ms = session.window_ms.max(window_ms);
        session.lowest_unanswered = lowest_unanswered;
        let before = session.answers.insert(sequence, answer).map(|kept| kept.answer);
        let may_be_replaced = matches!(before, None | Some(Ok(Answer::DeleteStaged { .. })));
        assert!(may_be_replaced, "answered once, but for a delete that was staged");
        session.answers = session.answers.split_off(&lowest_unanswered);
        let due = (due_ms(session.last_active_ms, session.window_ms), client);
        self.by_due.insert(due);
        self.by_user.entry(session.owner.clone()).or_default().insert(due);
        *self.kept_bytes.entry(session.owner.clone()).or_default() += bytes_of(&session);
        self.sessions.insert(client, session);
    }

    fn take_session(&mut self, client: ClientId) -> Option<Session> {
        let session = self.sessions.remove(&client)?;
        let due = (due_ms(session.last_active_ms, session.window_ms), client);
        self.by_due.remove(&due);
        self.by_user.get_mut(&session.owner).expect("a user with a session").remove(&due);
        *self.kept_bytes.get_mut(&session.owner).expect("a user with a session") -=
            bytes_of(&session);
        Some(session)
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
        Ok(self.sessions.get(&client).map(|session| {
            let bytes = bytes_of(session);
            let kept = AnswerBytes { session: bytes, ..self.session_totals(&session.owner).kept };
            SessionLookup {
                last_active_ms: session.last_active_ms,
                lowest_unanswered: session.lowest_unanswered,
                answers_kept: session.answers.len(),
                kept,
                answer: session.answers.get(&sequence).cloned(),
            }
        }))
    }

    fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster)
    }

    fn session_totals(&self, user: &Principal) -> SessionTotals {
        SessionTotals {
            sessions: self.sessions.len(),
            user_sessions: self.by_user.get(user).map_or(0, BTreeSet::len),
            kept: AnswerBytes {
                session: 0,
                user: self.kept_bytes.get(user).copied().unwrap_or(0),
                store: self.kept_bytes.values().sum(),
            },
        }
    }

    fn signature(&self, key: &SignatureKey) -> Result<Option<KeptSignature>, Infallible> {
        Ok(self.signatures.get(key).cloned())
    }

    fn signature_totals(&self, user: &Principal) -> SignatureTotals {
        let of_user = self.signatures.values().filter(|kept| kept.owner == *user);
        let (signatures, user_signatures) = (self.signatures.len(), of_user.count());
        SignatureTotals { signatures, user_signatures }
    }

    fn oldest_signatures(&self, limit: usize) -> Result<Vec<(SignatureKey, u64)>, Infallible> {
        let oldest = self.signatures.iter().take(limit);
        Ok(oldest.map(|(key, kept)| (*key, kept.kept_until_ms)).collect())
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

    fn overdue_sessions(
        &self,
        user: Option<&Principal>,
        before_ms: u64,
        limit: usize,
    ) -> Result<Vec<(ClientId, u64)>, Infallible> {
        let none = BTreeSet::new();
        let index = match user {
            None => &self.by_due,
            Some(user) => self.by_user.get(user).unwrap_or(&none),
        };
        let overdue = index.range(..(before_ms, ClientId(0))).take(limit);
        let found = overdue.map(|(_, client)| (*client, self.sessions[client].last_active_ms));
        Ok(found.collect())
    }
}

fn bytes_of(session: &Session) -> u64 {
    session.answers.values().map(|kept| kept_bytes(&kept.answer)).sum()
}
