//! Which start of this node's data directory is the one that the cluster knows.
//!
//! Each start claims the node's identity ([`StartClaim`]): on the disk first, then to whom it meets,
//! then through the log. What the others refuse ends the node; what the log takes is noted here.
//!
//! Until its claim is taken, a node whose address is not the one that its state knows neither votes
//! nor stands: it may be a copy. One at its own address does: when all members start at once, nobody
//! could take a claim before there is a leader. A node that is the only voter is its own witness.
//!
//! A claim that was drawn for this start is taken at an index behind everything that the leader had
//! then. So when it is applied here, the node has whatever its log had lost and anybody could have
//! counted.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use super::{OpenStorage, StartError};
use crate::actors::{RaftHandle, Trust};
use crate::storage::log::{LogStore, is_log_damage, rebuild};
use crate::storage::state::StateStore;
use crate::storage::{DataDir, FatalSink, StartedClaim, StorageError};
use crate::types::{Distrust, NodeId, Roster};

/// Claims the node's identity for this start, off the runtime's threads.
pub(super) async fn draw(storage: &OpenStorage) -> Result<StartedClaim, StorageError> {
    let directory = storage.directory.clone();
    let node_id = directory.identity().node_id;
    let known = storage.state.roster().borrow().claims.get(&node_id).copied();
    let drawn = tokio::task::spawn_blocking(move || directory.claim(known, rand::random()));
    drawn.await.unwrap_or(Err(StorageError::ShutDown))
}

/// What this start claims, and what hangs on it.
pub(super) struct Claiming {
    pub(super) directory: DataDir,
    pub(super) started: StartedClaim,
    pub(super) log: LogStore,
    pub(super) trust: Trust,
    pub(super) fatal: FatalSink,
}

impl Claiming {
    /// Distrusts what may not be trusted before the claim is taken, and watches until it is.
    pub(super) fn begin(self, state: &StateStore, addresses: &[String]) {
        let node_id = self.directory.identity().node_id;
        if let Some(applied) = state.applied().borrow().log_id {
            self.log.is_applied(applied.index);
        }
        if !is_at_home(state, node_id, addresses) {
            self.trust.distrust(Distrust::Unclaimed);
        }
        if let Some(lost) = self.log.lost() {
            let until = lost.last.map(|last| last.index);
            self.trust.distrust(Distrust::LogLostEntries { until });
        }
        tokio::spawn(self.settle(node_id, state.roster()));
    }

    async fn settle(self, node_id: NodeId, mut roster: watch::Receiver<Arc<Roster>>) {
        let claim = loop {
            let taken = roster.borrow_and_update().claims.get(&node_id).copied();
            match taken.filter(|taken| taken.nonce == self.started.claim.nonce) {
                Some(claim) => break claim,
                None if roster.changed().await.is_err() => return,
                None => {}
            }
        };
        let directory = self.directory.clone();
        let noted = tokio::task::spawn_blocking(move || directory.claim_taken(claim)).await;
        let noted = noted.unwrap_or(Err(StorageError::ShutDown));
        if let Err(error) = noted {
            self.fatal.report(Arc::new(error));
            return;
        }
        tracing::info!(start = claim.counter, "the cluster knows this start of the node");
        self.trust.regain(Distrust::Unclaimed.name());
        if self.log.lost().is_none() {
            return;
        }
        if !self.started.is_fresh {
            tracing::error!(
                "the claim was drawn by an earlier start, and says nothing of what was lost since; \
                 restart the node"
            );
            return;
        }
        // A failure is the log's, which told it.
        if self.log.made_good().await.is_ok() {
            tracing::info!("the log has again what it had lost");
            self.trust.regain(Distrust::LogLostEntries { until: None }.name());
        }
    }
}

/// Whether a log that does not open can be made anew: others have what is lost with it, and the state
/// holds the rest.
pub(super) fn can_rebuild_log(damage: &StorageError, state: &StateStore, node_id: NodeId) -> bool {
    let voters = state.voters();
    let others_have_it = !voters.is_empty() && !is_only_voter(&voters, node_id);
    is_log_damage(damage) && others_have_it && state.applied().borrow().log_id.is_some()
}

/// Makes the log anew behind the state. Blocks.
pub(super) fn rebuild_log(
    directory: &DataDir,
    map_bytes: u64,
    state: &StateStore,
    damage: &StorageError,
) -> Result<(), StorageError> {
    let Some(applied) = state.applied().borrow().log_id else { return Ok(()) };
    tracing::error!(
        %damage, applied = applied.index,
        "the log is damaged: it is made anew behind the state, and the node does not vote until a \
         leader has given it again what it may have acknowledged since"
    );
    rebuild(&directory.log_path(), map_bytes, applied, damage)
}

/// Refuses to go on with a log that lost entries which nobody else can have. Consensus runs: the
/// membership may be in the log alone.
pub(super) async fn refuse_lost_entries(
    storage: &OpenStorage,
    raft: &RaftHandle,
) -> Result<(), StartError> {
    if storage.log.lost().is_some() && is_only_voter(&raft.voters().await?, raft.node().node_id) {
        let path = storage.directory.path().display().to_string();
        return Err(StartError::LostEntries { path });
    }
    Ok(())
}

/// Whether nothing says that the node was started elsewhere than where its state knows it.
fn is_at_home(state: &StateStore, node_id: NodeId, addresses: &[String]) -> bool {
    let Some((known, _)) = state.member(node_id) else { return true };
    addresses.contains(&known.peer_addr) || is_only_voter(&state.voters(), node_id)
}

fn is_only_voter(voters: &BTreeSet<NodeId>, node_id: NodeId) -> bool {
    voters.len() == 1 && voters.contains(&node_id)
}
