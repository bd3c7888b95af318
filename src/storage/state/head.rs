//! The head of the state: how far it is applied, and where its changes are kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::change_hash::RecentHashes;
use super::layout::members::MemberRecord;
use super::layout::meta::{BacklogMark, CompactionProgress, StateMeta, removable_revision};
use super::memtable::Generation;
use super::tables::Tables;
use crate::consensus::{
    RaftStoredMembership, log_id_from_openraft, log_id_to_openraft, membership_from_openraft,
    membership_to_openraft,
};
use crate::machine::Forgotten;
use crate::storage::StorageError;
use crate::types::{AccessTables, LogId, NodeId, Roster, StagedDelete, StateHash};

/// How far the state is, as everybody may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The last applied entry; none before the first.
    pub log_id: Option<LogId>,
    /// The current main revision.
    pub revision: u64,
    /// The leader's replicated clock at the last command, in milliseconds.
    pub leader_time_ms: u64,
}

/// How far the state is: what goes to the `meta` table with the changes that led there.
#[derive(Clone, Debug)]
pub(crate) struct Position {
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: RaftStoredMembership,
    pub(crate) revision: u64,
    pub(crate) compact_revision: u64,
    pub(crate) leader_time_ms: u64,
    /// Of the changes that led here.
    pub(crate) hash: StateHash,
    /// Deletes that are visible and not written out yet, in the order of their revisions.
    pub(crate) deletes: Arc<Vec<StagedDelete>>,
    pub(crate) forgotten: Forgotten,
}

impl Position {
    /// From the `meta` table of `tables`.
    pub(crate) fn from_meta(meta: &StateMeta, tables: &Tables) -> Result<Self, StorageError> {
        let membership = membership_to_openraft(&meta.membership).ok_or_else(|| {
            tables.broken(super::layout::Table::Meta, "its membership is impossible".into())
        })?;
        let log_id = meta.membership_log_id.as_ref().map(log_id_to_openraft);
        Ok(Self {
            applied: meta.applied,
            membership: RaftStoredMembership::new(log_id, membership),
            revision: meta.revision,
            compact_revision: meta.compact_revision,
            leader_time_ms: meta.leader_time_ms,
            hash: meta.hash,
            deletes: Arc::clone(&meta.deletes),
            forgotten: meta.forgotten,
        })
    }

    /// For the `meta` table.
    pub(crate) fn to_meta(
        &self,
        compaction: CompactionProgress,
        backlog: Option<BacklogMark>,
    ) -> StateMeta {
        StateMeta {
            applied: self.applied,
            membership_log_id: self.membership.log_id().as_ref().map(log_id_from_openraft),
            membership: membership_from_openraft(self.membership.membership()),
            revision: self.revision,
            compact_revision: self.compact_revision,
            leader_time_ms: self.leader_time_ms,
            hash: self.hash,
            forgotten: self.forgotten,
            compaction,
            deletes: Arc::clone(&self.deletes),
            backlog,
        }
    }

    /// See [`StateMeta::removable_revision`].
    pub(crate) fn removable_revision(&self) -> u64 {
        removable_revision(self.compact_revision, &self.deletes)
    }

    /// What everybody may see.
    pub(crate) fn published(&self) -> Applied {
        Applied {
            log_id: self.applied,
            revision: self.revision,
            leader_time_ms: self.leader_time_ms,
        }
    }
}

/// The state's position with everything a view of it needs. Behind one lock, so that a view takes
/// all of it at one moment.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) position: Position,
    /// What was published by the members, as of `position`.
    pub(crate) members: BTreeMap<NodeId, MemberRecord>,
    /// Users, roles and keys, as of `position`.
    pub(crate) access: Arc<AccessTables>,
    /// What the cluster remembers of its nodes, as of `position`.
    pub(crate) roster: Arc<Roster>,
    /// The tables on the disk.
    pub(crate) tables: Arc<Tables>,
    /// Takes changes.
    pub(crate) active: Arc<Generation>,
    /// The memory `active` takes, in bytes.
    pub(crate) active_bytes: usize,
    /// Is being written to `tables`; dropped after the commit.
    pub(crate) frozen: Option<Arc<Generation>>,
    /// Counts changes of `tables`, `active` and `frozen`: tells the one who applies that the view
    /// it works on is no longer made of them.
    pub(crate) arrangement: u64,
    /// The hashes after the last entries, `position`'s among them.
    pub(crate) hashes: RecentHashes,
}

/// What a flush writes.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) generation: Arc<Generation>,
    pub(crate) bytes: usize,
    pub(crate) position: Position,
    pub(crate) tables: Arc<Tables>,
}

impl Head {
    /// Takes the changes so far out of the way of new ones, to be written.
    pub(crate) fn freeze(&mut self) -> Frozen {
        debug_assert!(self.frozen.is_none(), "one flush at a time");
        let generation = std::mem::take(&mut self.active);
        self.frozen = Some(Arc::clone(&generation));
        self.arrangement += 1;
        Frozen {
            generation,
            bytes: std::mem::take(&mut self.active_bytes),
            position: self.position.clone(),
            tables: Arc::clone(&self.tables),
        }
    }

    /// Where each member says that peers reach it.
    pub(crate) fn peer_addrs(&self) -> super::shared::PeerAddrs {
        let members = self.members.iter();
        Arc::new(members.map(|(id, member)| (*id, member.address.peer_addr.clone())).collect())
    }

    /// What was frozen is on the disk.
    pub(crate) fn release(&mut self) {
        self.frozen = None;
        self.arrangement += 1;
    }
}
