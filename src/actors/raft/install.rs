//! Installing a snapshot: on a node that is not a member yet, and on a live follower that fell so
//! far behind that the log it needs is gone.
//!
//! openraft stops for good when it is given a snapshot it takes for a broken contract, when its
//! state machine fails, and (its issue 2116) when entries that are being applied are purged by the
//! snapshot at the same moment. So everything is decided before it hears of the snapshot:
//!
//! 1. the vote is at least this node's own, and the snapshot no newer than the vote;
//! 2. the state is built beside the current one, from a file that is verified meanwhile;
//! 3. the node is drained: appends are turned away, those under way are on the disk, and what is
//!    committed is applied;
//! 4. then openraft switches, which is one rename.
//!
//! # On failure
//! Before the last step nothing has changed, and nothing that was built stays. A failure in the
//! last step is the storage's and stops the node.

use std::cmp::Ordering;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver as _;
use tokio::time::timeout;

use super::handle::RaftHandle;
use super::protocol::stopped_for_good;
use crate::consensus::{log_id_from_openraft, vote_from_openraft, vote_to_openraft};
use crate::rpc::peer::PeerRefusal;
use crate::storage::StorageError;
use crate::storage::crash_point::crash_point;
use crate::storage::snapshot::{SnapshotError, SnapshotFile};
use crate::types::{LogId, Vote};

/// Draining takes as long as applying what is committed; a node that cannot is asked again.
const DRAIN_MAX: Duration = Duration::from_secs(30);

impl RaftHandle {
    /// Verifies and installs a snapshot that came with `vote`. Answers this node's vote.
    pub async fn install_snapshot(
        &self,
        vote: Vote,
        file: SnapshotFile,
    ) -> Result<Vote, PeerRefusal> {
        self.check_snapshot(&vote, file.header().last_log_id)?;
        let state = &self.shared.state;
        let prepared = state.prepare_install(file.clone()).await;
        prepared.map_err(refusal)?;
        let installed = self.switch_to(vote, file).await;
        // Of no use unless it is the state by now.
        state.discard_prepared().await;
        installed
    }

    /// Refuses a vote that this node has seen a newer one than.
    pub(in crate::actors) fn check_vote(&self, vote: &Vote) -> Result<(), PeerRefusal> {
        let known = self.shared.raft.metrics().borrow_watched().vote;
        if !vote.committed {
            return Err(invalid("the snapshot comes from a node that was not elected"));
        }
        match vote_to_openraft(vote).partial_cmp(&known) {
            Some(Ordering::Equal | Ordering::Greater) => Ok(()),
            _ => Err(PeerRefusal::StaleVote { known: vote_from_openraft(&known) }),
        }
    }

    /// Refuses what openraft would stop at.
    fn check_snapshot(&self, vote: &Vote, last: Option<LogId>) -> Result<(), PeerRefusal> {
        self.check_vote(vote)?;
        let metrics = self.shared.raft.metrics().borrow_watched().clone();
        if metrics.state == ServerState::Leader {
            return Err(invalid("the node leads the cluster; only others are given snapshots"));
        }
        let Some(last) = last else {
            return Err(invalid("the snapshot is empty"));
        };
        if last.term > vote.term {
            return Err(invalid("the snapshot is newer than the leader that sent it"));
        }
        let committed = metrics.local_committed.as_ref().map(log_id_from_openraft);
        if committed.is_some_and(|committed| last > committed && last.index <= committed.index) {
            return Err(invalid("the snapshot contradicts what this node has committed"));
        }
        Ok(())
    }

    /// Drains the node and has openraft switch.
    async fn switch_to(&self, vote: Vote, file: SnapshotFile) -> Result<Vote, PeerRefusal> {
        let meta = file.meta().map_err(|error| invalid(&error.to_string()))?;
        // Waits for appends under way and turns away new ones.
        let closed = timeout(DRAIN_MAX, self.shared.install_gate.write()).await;
        let Ok(_closed) = closed else { return Err(PeerRefusal::Busy) };
        crash_point("install.drain");
        if timeout(DRAIN_MAX, self.drained()).await.is_err() {
            return Err(PeerRefusal::Busy);
        }
        self.check_snapshot(&vote, file.header().last_log_id)?;
        let snapshot = openraft::Snapshot { meta, snapshot: file };
        let offered = vote_to_openraft(&vote);
        let installed = self.shared.raft.install_full_snapshot(offered, snapshot).await;
        let known = vote_from_openraft(&installed.map_err(stopped_for_good)?.vote);
        if known == vote { Ok(known) } else { Err(PeerRefusal::StaleVote { known }) }
    }

    /// Returns when every append that openraft was given is on the disk, and everything committed
    /// is applied.
    async fn drained(&self) {
        let raft = &self.shared.raft;
        // A caller that went away has left its append behind: the core takes what came before this
        // question first, and what it has then handed to the log is waited for.
        if raft.with_raft_state(|_| ()).await.is_err() {
            return;
        }
        self.shared.log.flushed().await;
        // What is committed comes from the core itself: an append is answered before the metrics
        // show what it committed, and those entries may just be being applied.
        let Ok(committed) = raft.with_raft_state(|state| state.local_committed().cloned()).await
        else {
            return;
        };
        let mut metrics = raft.metrics();
        loop {
            let is_drained = metrics.borrow_and_update().last_applied >= committed;
            if is_drained || metrics.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Tells a bad file from a bad disk.
fn refusal(error: StorageError) -> PeerRefusal {
    let reason = error.to_string();
    match error {
        StorageError::Snapshot { source: SnapshotError::Io { .. }, .. } => {
            PeerRefusal::Storage { reason }
        }
        StorageError::Snapshot { .. } => PeerRefusal::Invalid { reason },
        _ => PeerRefusal::Storage { reason },
    }
}

fn invalid(reason: &str) -> PeerRefusal {
    PeerRefusal::Invalid { reason: reason.to_owned() }
}
