//! What the machine sees of the state, and what it asks to be changed.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::types::staged_delete::covering;
use crate::types::{
    AccessEdit, AccessTables, Answer, ClientId, KeyRange, NodeId, OperationError, PeerAddress,
    Principal, Revision, Roster, SignatureKey, StagedDelete, VersionMeta,
};

use super::Visits;
use super::session::kept_bytes;

/// The outcome of one command, as it is kept for a client's retries.
pub type StoredAnswer = Result<Answer, OperationError>;

/// Called with each key and the version visible at the revision asked for; breaks to stop.
pub type VersionVisitor<'a> = dyn FnMut(&[u8], &VersionMeta) -> ControlFlow<()> + 'a;

/// The state at one moment. Every read of one view agrees with every other.
pub trait StateView {
    /// Why the state could not be read. Fatal to the node.
    type Error;

    /// The current main revision; 1 in an empty store.
    fn revision(&self) -> u64;

    /// The oldest readable main revision, and the last one compacted; 0 = never compacted.
    fn compact_revision(&self) -> u64;

    /// The deletes that are visible and not written out yet, in the order of their revisions. Every
    /// other read of the view has taken them into account.
    fn staged_deletes(&self) -> &[StagedDelete];

    /// The newest version of a key as it is written, whatever
    /// [staged deletes](Self::staged_deletes) there are; none when there is none or it is a
    /// tombstone.
    fn written(&self, key: &[u8]) -> Result<Option<VersionMeta>, Self::Error>;

    /// The newest version of a key; none when it does not exist or was deleted.
    fn current(&self, key: &[u8]) -> Result<Option<VersionMeta>, Self::Error> {
        let written = self.written(key)?;
        let (deletes, at) = (self.staged_deletes(), self.revision());
        Ok(written.filter(|meta| covering(deletes, key, meta.mod_revision.main, at).is_none()))
    }

    /// Visits the keys of `range` that exist at main revision `at` (which lies between
    /// [`compact_revision`](Self::compact_revision) and [`revision`](Self::revision)), in
    /// ascending key order, each with its newest version at or below `at`.
    ///
    /// The visitor may read a [`value`](Self::value) of the same view while it is called, so that
    /// a page can stop at the pair that no longer fits.
    ///
    /// Each key on the way, visited or not, is told to `visits`, which may end the walk before it.
    fn scan(
        &self,
        range: &KeyRange,
        at: u64,
        visits: &Visits<'_>,
        visit: &mut VersionVisitor<'_>,
    ) -> Result<(), Self::Error>;

    /// The value put by the change `revision`, which a version in this view names.
    fn value(&self, revision: Revision) -> Result<Bytes, Self::Error>;

    /// What is kept for a client's retries.
    fn session(&self, client: ClientId) -> Result<Option<Session>, Self::Error>;

    /// What [`apply`](super::apply()) needs of a client's session for one write. A view that can
    /// answer it without a copy of the whole session should.
    fn session_lookup(
        &self,
        client: ClientId,
        sequence: u64,
    ) -> Result<Option<SessionLookup>, Self::Error> {
        let session = self.session(client)?;
        Ok(session.map(|mut session| {
            let AnswerBytes { user, store, .. } = self.session_totals(&session.owner).kept;
            let own = session.answers.values().map(|kept| kept_bytes(&kept.answer)).sum();
            SessionLookup {
                last_active_ms: session.last_active_ms,
                lowest_unanswered: session.lowest_unanswered,
                answers_kept: session.answers.len(),
                kept: AnswerBytes { session: own, user, store },
                answer: session.answers.remove(&sequence),
            }
        }))
    }

    /// How much is kept for retries, of `user` and in all.
    fn session_totals(&self, user: &Principal) -> SessionTotals;

    /// Up to `limit` sessions, of one user or of all, whose clients cannot be retrying any more at
    /// `before_ms` (their [`due_ms`](super::due_ms) lies before it): the client and its last
    /// activity, ascending by `(due_ms, client)`.
    fn overdue_sessions(
        &self,
        user: Option<&Principal>,
        before_ms: u64,
        limit: usize,
    ) -> Result<Vec<(ClientId, u64)>, Self::Error>;

    /// A signed request that is remembered.
    fn signature(&self, key: &SignatureKey) -> Result<Option<KeptSignature>, Self::Error>;

    /// How many are, of `user` and in all.
    fn signature_totals(&self, user: &Principal) -> SignatureTotals;

    /// Up to `limit` of them, the earliest dated first, each with `kept_until_ms`.
    fn oldest_signatures(&self, limit: usize) -> Result<Vec<(SignatureKey, u64)>, Self::Error>;

    /// What is remembered of all that was forgotten.
    fn forgotten(&self) -> Forgotten;

    /// The replicated time of the last command, in milliseconds.
    fn leader_time_ms(&self) -> u64;

    /// What the cluster remembers of its nodes.
    fn roster(&self) -> Arc<Roster>;

    /// Users, roles and keys.
    fn access(&self) -> Arc<AccessTables>;
}

/// What is kept of one client so that its retries apply once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Whose it is.
    pub owner: Principal,
    /// Replicated time of the client's last command.
    pub last_active_ms: u64,
    /// For how long after its first try the client may send a write again, in milliseconds.
    pub window_ms: u64,
    /// Sequences below this were answered and their answers forgotten.
    pub lowest_unanswered: u64,
    /// The answers from there on, by sequence.
    pub answers: BTreeMap<u64, KeptAnswer>,
}

/// An answer with what it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAnswer {
    /// Of who asked and of what.
    pub fingerprint: u64,
    /// What a retry is answered.
    pub answer: StoredAnswer,
}

/// What changes of a session with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Whose the session is, when it begins.
    pub begins: Option<Principal>,
    /// The write.
    pub sequence: u64,
    /// From where on answers are kept.
    pub lowest_unanswered: u64,
    /// Replicated time of the command, in milliseconds.
    pub now_ms: u64,
    /// For how long it may be sent again, in milliseconds; the session's is the longest of its
    /// writes'.
    pub window_ms: u64,
    /// The answer.
    pub answer: KeptAnswer,
}

/// Bytes of answers that are kept, or that may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerBytes {
    /// Of one session.
    pub session: u64,
    /// Of all sessions of its user.
    pub user: u64,
    /// Of all sessions.
    pub store: u64,
}

impl AnswerBytes {
    /// With one more answer of the session.
    pub(super) fn plus(self, bytes: u64) -> Self {
        let Self { session, user, store } = self;
        Self { session: session + bytes, user: user + bytes, store: store + bytes }
    }

    /// Without answers of the session that are dropped.
    pub(super) fn minus(self, bytes: u64) -> Self {
        let without = |kept: u64| kept.saturating_sub(bytes);
        let Self { session, user, store } = self;
        Self { session: without(session), user: without(user), store: without(store) }
    }

    /// Whether it is more than may be, in any respect.
    pub(super) fn exceeds(&self, max: &Self) -> bool {
        self.session > max.session || self.user > max.user || self.store > max.store
    }
}

/// How much is kept for retries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionTotals {
    /// Sessions in all.
    pub sessions: usize,
    /// Sessions of the user.
    pub user_sessions: usize,
    /// Bytes of the user's answers, and of all; nothing of a session.
    pub kept: AnswerBytes,
}

/// What is remembered of all that was forgotten of retries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// No session that was forgotten was in use at this replicated time or later.
    pub sessions_before_ms: u64,
    /// No signature that was forgotten is dated later than this, in seconds since 1970.
    pub signatures_through_seconds: u64,
}

/// A signed request that stands alone, with its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSignature {
    /// Whose request it is.
    pub owner: Principal,
    /// Until when it is surely kept, in replicated milliseconds.
    pub kept_until_ms: u64,
    /// What one that comes again is answered.
    pub answer: StoredAnswer,
}

/// How many signed requests are remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignatureTotals {
    /// In all.
    pub signatures: usize,
    /// Of the user.
    pub user_signatures: usize,
}

/// What one write needs to know of its client's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionLookup {
    /// Replicated time of the client's last command.
    pub last_active_ms: u64,
    /// Sequences below this were answered and their answers forgotten.
    pub lowest_unanswered: u64,
    /// How many answers the session keeps.
    pub answers_kept: usize,
    /// What they take.
    pub kept: AnswerBytes,
    /// The answer kept for the sequence asked about.
    pub answer: Option<KeptAnswer>,
}

/// One change of the state. The changes of one command are applied together, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The main revision advances.
    SetRevision(u64),
    /// A key gets a new version.
    Put {
        /// The key.
        key: Bytes,
        /// The new version; its `mod_revision` is new.
        meta: VersionMeta,
        /// The value.
        value: Bytes,
    },
    /// An existing key is deleted: a tombstone at `revision`.
    Delete {
        /// The key.
        key: Bytes,
        /// When.
        revision: Revision,
    },
    /// A delete of many keys is visible from now on; its revision was set just before.
    StageDelete(StagedDelete),
    /// A key that a staged delete covers gets its tombstone, at that delete's main revision, which
    /// lies in the past. Its next sub-revision is the one after this.
    WriteTombstone {
        /// The key.
        key: Bytes,
        /// The place in the delete.
        revision: Revision,
    },
    /// A staged delete is written out up to here.
    AdvanceDelete {
        /// Its main revision.
        revision: u64,
        /// The first key not looked at.
        cursor: Bytes,
        /// Keys deleted below it.
        deleted: u64,
    },
    /// A staged delete is written out as a whole.
    FinishDelete {
        /// Its main revision.
        revision: u64,
        /// Keys deleted.
        deleted: u64,
    },
    /// History up to this main revision may be forgotten, and is no longer readable below it.
    Compact(u64),
    /// A client's command was answered: keep `answer` under `sequence` (in place of the one that
    /// said that its delete was staged), drop the answers below
    /// `lowest_unanswered`, and create the session if there is none.
    RecordAnswer {
        /// The client.
        client: ClientId,
        /// The answer, and what changes with it.
        recorded: Recorded,
    },
    /// A client's session is forgotten.
    ExpireSession(ClientId),
    /// No session that was forgotten was in use at this replicated time or later. Comes before what it
    /// tells of.
    RefuseBegun {
        /// The time, in milliseconds.
        before_ms: u64,
    },
    /// A signed request that stands alone was answered.
    RecordSignature {
        /// The request.
        key: SignatureKey,
        /// Its answer.
        kept: KeptSignature,
    },
    /// No signature that was forgotten is dated later. Comes before what it tells of.
    RefuseDated {
        /// The date, in seconds since 1970.
        through_seconds: u64,
    },
    /// A signed request is forgotten.
    ForgetSignature(SignatureKey),
    /// A member's published addresses are set.
    SetMember {
        /// The node.
        node_id: NodeId,
        /// Its name and peer address.
        address: PeerAddress,
        /// Where clients reach it.
        client_addr: String,
    },
    /// Users, roles or keys change.
    SetAccess {
        /// The revision of the tables from now on.
        revision: u64,
        /// What changes.
        edits: Vec<AccessEdit>,
    },
    /// What the cluster remembers of its nodes is this from now on.
    SetRoster(Arc<Roster>),
}
