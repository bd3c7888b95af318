//! What the machine sees of the state, and what it asks to be changed.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::types::{
    AccessEdit, AccessTables, Answer, ClientId, KeyRange, NodeId, OperationError, PeerAddress,
    Revision, Roster, VersionMeta,
};

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

    /// The newest version of a key; none when it does not exist or was deleted.
    fn current(&self, key: &[u8]) -> Result<Option<VersionMeta>, Self::Error>;

    /// Visits the keys of `range` that exist at main revision `at` (which lies between
    /// [`compact_revision`](Self::compact_revision) and [`revision`](Self::revision)), in
    /// ascending key order, each with its newest version at or below `at`.
    ///
    /// The visitor may read a [`value`](Self::value) of the same view while it is called, so that
    /// a page can stop at the pair that no longer fits.
    fn scan(
        &self,
        range: &KeyRange,
        at: u64,
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
        Ok(session.map(|mut session| SessionLookup {
            last_active_ms: session.last_active_ms,
            lowest_unanswered: session.lowest_unanswered,
            answers_kept: session.answers.len(),
            answer: session.answers.remove(&sequence),
        }))
    }

    /// What the cluster remembers of its nodes.
    fn roster(&self) -> Arc<Roster>;

    /// How many sessions there are.
    fn session_count(&self) -> usize;

    /// Users, roles and keys.
    fn access(&self) -> Arc<AccessTables>;

    /// Up to `limit` clients in order of `(last_active_ms, client)`, the longest silent first.
    fn oldest_sessions(&self, limit: usize) -> Result<Vec<(ClientId, u64)>, Self::Error>;
}

/// What is kept of one client so that its retries apply once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Replicated time of the client's last command.
    pub last_active_ms: u64,
    /// Sequences below this were answered and their answers forgotten.
    pub lowest_unanswered: u64,
    /// The answers from there on, by sequence.
    pub answers: BTreeMap<u64, StoredAnswer>,
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
    /// The answer kept for the sequence asked about.
    pub answer: Option<StoredAnswer>,
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
    /// History up to this main revision may be forgotten, and is no longer readable below it.
    Compact(u64),
    /// A client's command was answered: add `answer` under `sequence`, drop the answers below
    /// `lowest_unanswered`, and create the session if there is none.
    RecordAnswer {
        /// The client.
        client: ClientId,
        /// The write.
        sequence: u64,
        /// From where on answers are kept.
        lowest_unanswered: u64,
        /// Replicated time of the command.
        now_ms: u64,
        /// The answer.
        answer: StoredAnswer,
    },
    /// A client's session is forgotten.
    ExpireSession(ClientId),
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
