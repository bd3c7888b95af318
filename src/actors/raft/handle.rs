//! What the rest of the node sees of consensus.
//!
//! A [`RaftHandle`] is immutable and cheap to clone; using it involves no mailbox. It outlives a
//! restart of the raft actor, which only tends consensus; when consensus itself stops, every call
//! answers an error and the node stops.

use std::sync::Arc;

use openraft::Instant as _;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver as _;
use tokio::time::{MissedTickBehavior, interval};

use super::clock::{self, Leads, ReplicatedClock};
use super::compare::Compared;
use super::failover::LeaderWatch;
use super::read_index::ReadBarrier;
use super::space::OtherMembers;
use crate::actors::snapshot::Pace;
use crate::actors::trust::Trust;
use crate::clock::monotonic;
use crate::consensus::TypeConfig;
use crate::machine::StateView as _;
use crate::rpc::peer::PeerConnections;
use crate::storage::StorageError;
use crate::storage::log::LogStore;
use crate::storage::state::{StateStore, View};
use crate::types::{
    ClusterId, Member, MemberRole, NodeId, NodeRole, NodeStatus, PeerAddress, RequestError,
};

/// openraft with our types.
pub(super) type Raft = openraft::Raft<TypeConfig, StateStore>;
/// openraft's slowly changing metrics: who leads, who is a member.
pub(super) type ServerMetrics = openraft::metrics::RaftServerMetrics<TypeConfig>;

/// How they are followed.
pub(super) type ServerWatch = openraft::alias::WatchReceiverOf<TypeConfig, ServerMetrics>;

/// Who this node is.
#[derive(Clone, Debug)]
pub struct NodeDescription {
    /// Its id.
    pub node_id: NodeId,
    /// Its name.
    pub name: String,
    /// Its cluster.
    pub cluster_id: ClusterId,
}

/// Consensus, for whoever has a request.
#[derive(Clone)]
pub struct RaftHandle {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) node: NodeDescription,
    pub(super) command_format: u8,
    pub(super) trust: Trust,
    pub(super) raft: Raft,
    pub(super) server: ServerWatch,
    pub(super) log: LogStore,
    pub(super) state: StateStore,
    pub(super) peers: PeerConnections,
    pub(super) pace: Pace,
    pub(super) clock: ReplicatedClock,
    pub(super) barrier: ReadBarrier,
    pub(super) proposals: ProposalCounts,
    pub(super) compared: Compared,
    /// What is heard of the leader.
    pub(super) leader: LeaderWatch,
    pub(super) others: OtherMembers,
    /// Since when this node leads, as far as it was looked at.
    pub(super) leads_since: std::sync::Mutex<Option<std::time::Instant>>,
    /// Held for reading by each append under way, for writing while a snapshot is installed.
    pub(super) install_gate: tokio::sync::RwLock<()>,
}

/// Proposals this node made as a leader, for metrics.
#[derive(Default)]
pub(super) struct ProposalCounts {
    pub(super) committed: std::sync::atomic::AtomicU64,
    pub(super) failed: std::sync::atomic::AtomicU64,
    pub(super) pending: std::sync::atomic::AtomicU64,
    /// Bytes of the commands that are pending.
    pub(super) pending_bytes: std::sync::atomic::AtomicU64,
}

/// A reading of [`RaftHandle::proposals`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proposals {
    /// Committed and answered since start.
    pub committed_total: u64,
    /// Not answered, or answered with an unknown outcome, since start.
    pub failed_total: u64,
    /// In flight now.
    pub pending: u64,
}

/// A reading of [`RaftHandle::progress`]. Indexes are 0 when there is nothing yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The leader this node knows.
    pub leader_id: Option<NodeId>,
    /// This node's part in consensus.
    pub role: NodeRole,
    /// Its current term.
    pub term: u64,
    /// The last entry in its log.
    pub last_log_index: u64,
    /// The last entry its log no longer has.
    pub purged_index: u64,
    /// The last entry it knows to be committed.
    pub committed_index: u64,
    /// The last entry it has applied.
    pub applied_index: u64,
}

/// Where a request for the leader has to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leadership {
    /// This node leads.
    Local,
    /// Another node does.
    Remote { node_id: NodeId, addr: String },
    /// Nobody is known to.
    Unknown,
}

impl RaftHandle {
    /// Who this node is.
    pub fn node(&self) -> &NodeDescription {
        &self.shared.node
    }

    /// Whether this node trusts what it holds.
    pub fn trust(&self) -> &Trust {
        &self.shared.trust
    }

    /// The state as this node has applied it, at this moment; refused while the node does not
    /// trust it.
    pub fn view(&self) -> Result<View, RequestError> {
        self.shared.trust.check_serves()?;
        self.shared.state.view().map_err(|error| self.unreadable(&error))
    }

    /// What whoever met this error in a view tells its caller: another node can answer. A state
    /// that is not what was written is distrusted from now on.
    pub fn unreadable(&self, error: &StorageError) -> RequestError {
        tracing::error!(%error, "the state cannot be read");
        self.shared.state.note_damage(error);
        RequestError::Unavailable { reason: format!("the state cannot be read: {error}") }
    }

    /// The leader this node knows.
    pub fn leader_id(&self) -> Option<NodeId> {
        self.shared.server.borrow_watched().current_leader
    }

    /// Proposals this node made as a leader.
    pub fn proposals(&self) -> Proposals {
        use std::sync::atomic::Ordering::Relaxed;
        let counts = &self.shared.proposals;
        Proposals {
            committed_total: counts.committed.load(Relaxed),
            failed_total: counts.failed.load(Relaxed),
            pending: counts.pending.load(Relaxed),
        }
    }

    /// How far consensus is.
    pub fn progress(&self) -> Progress {
        let metrics = self.shared.raft.metrics().borrow_watched().clone();
        let applied = self.shared.state.applied().borrow().log_id;
        Progress {
            leader_id: metrics.current_leader,
            role: role_of(metrics.state),
            term: metrics.current_term,
            last_log_index: metrics.last_log_index.unwrap_or(0),
            purged_index: metrics.purged.map_or(0, |log_id| log_id.index),
            committed_index: metrics.local_committed.map_or(0, |log_id| log_id.index),
            applied_index: applied.map_or(0, |log_id| log_id.index),
        }
    }

    /// What this node says of itself.
    pub fn status(&self) -> NodeStatus {
        let progress = self.progress();
        let applied = *self.shared.state.applied().borrow();
        NodeStatus {
            node_id: self.shared.node.node_id,
            name: self.shared.node.name.clone(),
            cluster_id: self.shared.node.cluster_id,
            leader_id: progress.leader_id,
            role: progress.role,
            term: progress.term,
            last_log_index: progress.last_log_index,
            applied_index: progress.applied_index,
            revision: applied.revision,
            compact_revision: self.compact_revision(),
            db_size_bytes: self.db_size_bytes(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            untrusted: self.shared.trust.reasons().to_vec(),
            space: self.space(),
            deletes: self.deletes(),
        }
    }

    /// Deletes of many keys that are being written out, as this node has applied them.
    fn deletes(&self) -> Vec<crate::types::DeleteProgress> {
        let deletes = self.shared.state.staged_deletes();
        let open = Arc::clone(&deletes.borrow().open);
        let progress = |staged: &crate::types::StagedDelete| crate::types::DeleteProgress {
            revision: staged.revision,
            deleted: staged.deleted,
        };
        open.iter().map(progress).collect()
    }

    /// The oldest readable revision; 0 when the state cannot be read.
    fn compact_revision(&self) -> u64 {
        self.shared.state.view().map_or(0, |view| view.compact_revision())
    }

    /// Bytes of the database files; 0 for one whose size cannot be read.
    fn db_size_bytes(&self) -> u64 {
        let log = self.shared.log.stats().map_or(0, |stats| stats.file_bytes);
        let state = self.shared.state.stats().map_or(0, |stats| stats.file_bytes);
        log + state
    }

    /// The members as this node knows them: the membership's voters and learners, with the
    /// addresses they published.
    pub fn members(&self) -> Vec<Member> {
        let membership = self.shared.server.borrow_watched().membership_config.membership().clone();
        let voters: std::collections::BTreeSet<NodeId> = membership.voter_ids().collect();
        let roster = self.roster();
        let mut members = std::collections::BTreeMap::new();
        for (id, first) in membership.nodes() {
            let published = self.shared.state.member(*id);
            let (address, client_addr) = published.unwrap_or((first.clone(), String::new()));
            members.insert(
                *id,
                Member {
                    id: *id,
                    name: address.name,
                    peer_addr: address.peer_addr,
                    client_addr,
                    role: if voters.contains(id) { MemberRole::Voter } else { MemberRole::Learner },
                },
            );
        }
        for join in roster.open_joins() {
            let request = &join.request;
            let joining = members.entry(join.node_id).or_insert_with(|| Member {
                id: join.node_id,
                name: request.name.clone(),
                peer_addr: request.peer_addr.clone(),
                client_addr: request.client_addr.clone(),
                role: MemberRole::Joining,
            });
            joining.role = MemberRole::Joining;
        }
        members.into_values().collect()
    }

    /// What the cluster remembers of its nodes, as this node has applied it.
    pub fn roster(&self) -> Arc<crate::types::Roster> {
        Arc::clone(&self.shared.state.roster().borrow())
    }

    /// Whether this node is a member, and no join of it is under way, as far as it has applied.
    pub fn has_joined(&self) -> bool {
        let me = self.shared.node.node_id;
        let server = self.shared.server.borrow_watched();
        let is_member = server.membership_config.membership().get_node(&me).is_some();
        is_member && self.roster().open_join_of(me).is_none()
    }

    /// How long no leader was heard. Of no meaning on the leader.
    pub(in crate::actors) fn unheard(&self) -> std::time::Duration {
        crate::clock::monotonic().saturating_duration_since(self.shared.leader.heard_at())
    }

    /// A connection to a node at this very address, whatever it has published.
    pub(in crate::actors) fn connection_at(
        &self,
        node_id: NodeId,
        peer_addr: &str,
    ) -> crate::rpc::peer::PeerConnection {
        self.shared.peers.peer_at(node_id, peer_addr, crate::rpc::peer::Lane::Control)
    }

    /// The replicated clock, in milliseconds: what a command is given that is proposed here now.
    pub(in crate::actors) fn replicated_time_ms(&self) -> u64 {
        self.shared.clock.now_ms(self.applied_time_ms())
    }

    /// How far this node's replicated clock has moved past the last applied command, in
    /// milliseconds; 0 where it does not lead. A change of leaders would lose it, so whoever has
    /// something to expire that the cluster must not forget has a command written in time.
    pub fn unwritten_time_ms(&self) -> u64 {
        self.shared.clock.unwritten_ms(self.applied_time_ms())
    }

    /// Counts the replicated time in which this node leads. Run by the raft actor.
    pub(super) async fn keep_time(self) {
        let mut interval = interval(clock::TICK);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.look_at_clock(monotonic());
        }
    }

    fn look_at_clock(&self, now: std::time::Instant) {
        let leads = {
            let metrics = self.shared.raft.metrics();
            let metrics = metrics.borrow_watched();
            let mut voters = metrics.membership_config.membership().voter_ids();
            let sole_voter = voters.next() == Some(metrics.id) && voters.next().is_none();
            (metrics.state == ServerState::Leader).then(|| Leads {
                term: metrics.current_term,
                // Its own vote is the quorum's.
                confirmed: match sole_voter {
                    true => Some(now),
                    false => metrics
                        .last_quorum_acked
                        .and_then(|acked| now.checked_sub(acked.into_inner().elapsed())),
                },
            })
        };
        self.shared.clock.tick(leads, self.applied_time_ms(), now);
    }

    /// The replicated time of the last command that this node has applied, in milliseconds.
    pub fn applied_time_ms(&self) -> u64 {
        self.shared.state.applied().borrow().leader_time_ms
    }

    /// The leader's id and peer address, when another node leads.
    pub(in crate::actors) fn leader_elsewhere(&self) -> Option<(NodeId, String)> {
        match self.leadership() {
            Leadership::Remote { node_id, addr } => Some((node_id, addr)),
            Leadership::Local | Leadership::Unknown => None,
        }
    }

    /// Forgets the connections to a node that has left.
    pub(in crate::actors) fn forget_peer(&self, node_id: NodeId) {
        self.shared.peers.forget(node_id);
    }

    /// Whether the replicated state holds these addresses of a node.
    pub(in crate::actors) fn has_published(
        &self,
        node_id: NodeId,
        address: &PeerAddress,
        client_addr: &str,
    ) -> bool {
        let published = self.shared.state.members();
        published
            .iter()
            .any(|(id, peer, client)| *id == node_id && peer == address && client == client_addr)
    }

    /// Where a request for the leader has to go, as far as this node knows.
    pub(super) fn leadership(&self) -> Leadership {
        let server = self.shared.server.borrow_watched();
        match server.current_leader {
            None => Leadership::Unknown,
            Some(id) if id == self.shared.node.node_id => Leadership::Local,
            Some(id) => match server.membership_config.get_node(&id) {
                None => Leadership::Unknown,
                Some(node) => Leadership::Remote { node_id: id, addr: node.peer_addr.clone() },
            },
        }
    }
}

fn role_of(state: ServerState) -> NodeRole {
    match state {
        ServerState::Leader => NodeRole::Leader,
        ServerState::Follower => NodeRole::Follower,
        ServerState::Candidate => NodeRole::Candidate,
        ServerState::Learner | ServerState::Shutdown => NodeRole::Learner,
    }
}
