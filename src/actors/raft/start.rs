//! Starting consensus over an opened storage.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{InitializeError, RaftError};

use super::clock::ReplicatedClock;
use super::compare::Compared;
use super::config::openraft_config;
use super::deletes;
use super::failover::LeaderWatch;
use super::handle::{NodeDescription, ProposalCounts, Raft, RaftHandle, Shared};
use super::network::Network;
use super::read_index::ReadBarrier;
use super::silence::Timings;
use super::space::{self, OtherMembers};
use crate::actors::snapshot::Pace;
use crate::actors::trust::{Duty, Trust};
use crate::config::RaftConfig;
use crate::rpc::peer::PeerConnections;
use crate::storage::log::LogStore;
use crate::storage::state::StateStore;
use crate::types::{NodeId, PeerAddress};

/// Why consensus did not start.
#[derive(Debug, thiserror::Error)]
pub enum ConsensusError {
    /// The timings contradict each other.
    #[error("the raft configuration is invalid: {0}")]
    Config(String),
    /// The storage could not be read, or what it holds makes no sense.
    #[error("consensus could not start: {0}")]
    Start(String),
    /// The first membership was refused.
    #[error("the cluster could not be initialised: {0}")]
    Initialize(String),
}

/// What consensus stands on.
pub struct ConsensusParts {
    /// Who this node is.
    pub node: NodeDescription,
    /// The newest format of commands that it reads.
    pub command_format: u8,
    /// Its timings.
    pub config: RaftConfig,
    /// The log.
    pub log: LogStore,
    /// The state.
    pub state: StateStore,
    /// The connections to peers.
    pub peers: PeerConnections,
    /// How fast snapshots are sent.
    pub pace: Pace,
    /// Whether the node trusts what it holds.
    pub trust: Trust,
}

/// Starts consensus; it takes part in the cluster from here on.
pub async fn start(parts: ConsensusParts) -> Result<RaftHandle, ConsensusError> {
    let config = openraft_config(&parts.config, parts.trust.may(Duty::Votes))?;
    let raft = Raft::new(
        parts.node.node_id,
        config,
        Network::new(parts.peers.clone(), parts.pace.clone()),
        parts.log.clone(),
        parts.state.clone(),
    )
    .await
    .map_err(|error| ConsensusError::Start(error.to_string()))?;
    tokio::spawn(stand_while_trusted(raft.clone(), parts.trust.clone()));
    let shared = Shared {
        server: raft.server_metrics(),
        raft,
        node: parts.node,
        command_format: parts.command_format,
        trust: parts.trust,
        log: parts.log,
        state: parts.state,
        peers: parts.peers,
        clock: ReplicatedClock::default(),
        pace: parts.pace,
        barrier: ReadBarrier::default(),
        proposals: ProposalCounts::default(),
        compared: Compared::default(),
        leader: LeaderWatch::new(Timings::new(&parts.config)),
        others: OtherMembers::default(),
        leads_since: std::sync::Mutex::default(),
        install_gate: tokio::sync::RwLock::new(()),
    };
    let raft = RaftHandle { shared: Arc::new(shared) };
    tokio::spawn(deletes::drive(raft.clone()));
    tokio::spawn(space::watch(raft.clone()));
    Ok(raft)
}

/// Has the node stand for election only while it trusts what it holds. Ends with consensus.
async fn stand_while_trusted(raft: Raft, trust: Trust) {
    let mut reasons = trust.watch();
    let mut consensus = raft.server_metrics();
    loop {
        raft.runtime_config().elect(trust.may(Duty::Votes));
        tokio::select! {
            changed = reasons.changed() => if changed.is_err() { return },
            // Whatever changes in it; its end is what is waited for.
            changed = consensus.changed() => if changed.is_err() { return },
        }
    }
}

impl RaftHandle {
    /// Whether this node has ever been part of a cluster.
    pub async fn is_founded(&self) -> Result<bool, ConsensusError> {
        let founded = self.shared.raft.is_initialized().await;
        founded.map_err(|error| ConsensusError::Start(error.to_string()))
    }

    /// The voters of the last membership in the log, committed or not. Known from the start on.
    pub async fn voters(&self) -> Result<BTreeSet<NodeId>, ConsensusError> {
        let voters = self.shared.raft.with_raft_state(|state| {
            state.membership_state.effective().membership().voter_ids().collect()
        });
        voters.await.map_err(|error| ConsensusError::Start(error.to_string()))
    }

    /// Founds the cluster with these voters, on a node whose log is empty. Every founding member
    /// does it with the same list; on a node that already has a log it does nothing.
    pub async fn found(
        &self,
        members: BTreeMap<NodeId, PeerAddress>,
    ) -> Result<(), ConsensusError> {
        match self.shared.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(ConsensusError::Initialize(error.to_string())),
        }
    }
}
