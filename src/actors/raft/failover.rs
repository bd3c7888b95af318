//! Standing for election as soon as the leader is known, or must be taken, to be dead.
//!
//! openraft's own timer waits for the leader's lease and then for a timeout of its own, both made
//! for the longest round trip. This one goes by what the node hears:
//!
//! ```text
//!   the leader was not heard for longer than `silence` says  --------------------+
//!                                                                                v
//!   its connections ended -> its port refuses a new one: its process is gone -> stand
//! ```
//!
//! To stand is to lay down the lease, and to ask for pre-votes; only a quorum of them begins an
//! election. The others lay down theirs when they are asked and have not heard the leader either
//! (`RaftHandle::pre_vote`); while they hear it, they refuse.
//!
//! # What must stay true
//! - Nothing here decides who leads: that is done by votes, which openraft grants once a term, and
//!   writes down before it answers. Reads ask a quorum each time and rest on no lease. So a wrong
//!   guess costs a term at worst, never a write or a read (ADR 0018).
//! - A node that does not trust what it holds does not stand.
//! - Tries that bring no leader are further apart each time: candidates do not keep each other from
//!   winning, however slow their disks are.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver as _;
use openraft::raft::TransferLeaderRequest;
use tokio::sync::Notify;
use tokio::time::{sleep, sleep_until};

use super::handle::{RaftHandle, ServerMetrics};
use super::silence::{Silence, Timings};
use crate::actors::trust::Duty;
use crate::clock::monotonic;
use crate::consensus::RaftVote;
use crate::rpc::peer::Lane;
use crate::types::NodeId;

/// How often the port of a leader whose connections ended is tried: a process that ends may close
/// them before it closes its port.
const PROBES: u32 = 4;
/// The pause between two of these.
const PROBE_PAUSE: Duration = Duration::from_millis(25);
/// How long one of them may take.
const PROBE_MAX: Duration = Duration::from_millis(500);

/// What a node hears of its leader.
pub(super) struct LeaderWatch {
    silence: Mutex<Silence>,
    hung_up: Mutex<Option<NodeId>>,
    /// Told when a connection of the leader ended.
    ended: Notify,
}

impl LeaderWatch {
    /// Nothing was heard yet.
    pub(super) fn new(timings: Timings) -> Self {
        Self {
            silence: Mutex::new(Silence::new(timings, monotonic())),
            hung_up: Mutex::default(),
            ended: Notify::new(),
        }
    }

    fn silence(&self) -> std::sync::MutexGuard<'_, Silence> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The leader was heard.
    pub(super) fn heard(&self) {
        self.silence().heard(monotonic());
    }

    /// When the leader was last heard; at first, when the node was started.
    pub(super) fn heard_at(&self) -> Instant {
        self.silence().heard_at()
    }

    /// A connection that this leader had opened has ended.
    fn hung_up(&self, leader: NodeId) {
        *self.hung_up.lock().unwrap_or_else(PoisonError::into_inner) = Some(leader);
        self.ended.notify_one();
    }

    fn take_hung_up(&self) -> Option<NodeId> {
        self.hung_up.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The leader that this node follows, and the vote it follows it by.
fn followed(server: &ServerMetrics, me: NodeId) -> Option<(NodeId, RaftVote)> {
    let leader = server.vote.leader_id().voted_for;
    (server.vote.is_committed() && leader != me).then_some((leader, server.vote))
}

impl RaftHandle {
    /// A connection of this peer to this node has ended.
    pub fn peer_hung_up(&self, peer: NodeId) {
        if self.leader_id() == Some(peer) {
            self.shared.leader.hung_up(peer);
        }
    }

    /// Whether this node refuses to vote because it hears its leader; when not, and there is one,
    /// it lays down its lease, so that consensus decides by the votes alone.
    pub(super) async fn honours_leader(&self) -> bool {
        let me = self.shared.node.node_id;
        let server = self.shared.server.borrow_watched().clone();
        let Some((leader, vote)) = followed(&server, me) else { return false };
        if self.shared.leader.silence().is_honoured(leader, monotonic()) {
            return true;
        }
        self.lay_down_lease(vote, leader).await;
        false
    }

    /// Has consensus honour the lease of `leader` no longer. This is what a leader asks of the
    /// others when it hands over to a third: the lease of that one vote ends, and nothing else.
    async fn lay_down_lease(&self, vote: RaftVote, leader: NodeId) {
        let request = TransferLeaderRequest::new(vote, leader, None);
        // An error means that consensus has stopped, which `watch_consensus` reports.
        let _ = self.shared.raft.handle_transfer_leader(request).await;
    }

    /// Stands for election when the leader is silent or gone. Ends with consensus.
    pub(super) async fn stand_when_leaderless(self, timings: Timings) {
        let mut server = self.shared.server.clone();
        self.stand_alone().await;
        let mut drawn = timings.draw(rand::random());
        let mut tries = 0;
        loop {
            let seen = server.borrow_and_update().clone();
            let due = self.due(&seen, drawn);
            if due.is_some_and(|due| due <= monotonic()) {
                self.stand(&seen).await;
                let pause = self.shared.leader.silence().retry(tries, rand::random());
                tries += 1;
                sleep(pause).await;
                continue;
            }
            if tries > 0 {
                // A leader was heard since.
                (tries, drawn) = (0, timings.draw(rand::random()));
            }
            let is_due = async {
                match due {
                    Some(due) => sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = is_due => {}
                () = self.shared.leader.ended.notified() => self.look_after_leader(&seen).await,
                changed = server.changed() => if changed.is_err() { return },
            }
        }
    }

    /// When to stand; none = not at all, as things are.
    fn due(&self, server: &ServerMetrics, drawn: Duration) -> Option<Instant> {
        let me = self.shared.node.node_id;
        let is_voter = server.membership_config.membership().voter_ids().any(|voter| voter == me);
        if !is_voter || !self.shared.trust.may(Duty::Votes) {
            return None;
        }
        let mut silence = self.shared.leader.silence();
        if server.state == ServerState::Leader {
            // Should it cease to lead, the silence begins then.
            silence.begin(monotonic());
            return None;
        }
        match followed(server, me) {
            Some((leader, _)) => {
                Some(silence.honoured_until(leader, drawn).unwrap_or_else(monotonic))
            }
            None => Some(silence.heard_at() + drawn),
        }
    }

    async fn stand(&self, server: &ServerMetrics) {
        if let Some((leader, vote)) = followed(server, self.shared.node.node_id) {
            tracing::info!(leader, "the leader is not heard; asking whether others hear it");
            self.lay_down_lease(vote, leader).await;
        }
        // As in `lay_down_lease`.
        let _ = self.shared.raft.trigger().elect(true).await;
    }

    /// The only voter has nobody to wait for.
    async fn stand_alone(&self) {
        let me = self.shared.node.node_id;
        let server = self.shared.server.borrow_watched().clone();
        let voters: BTreeSet<NodeId> = server.membership_config.membership().voter_ids().collect();
        if voters == BTreeSet::from([me]) && self.shared.trust.may(Duty::Votes) {
            // As in `lay_down_lease`.
            let _ = self.shared.raft.trigger().elect(false).await;
        }
    }

    /// A connection of the leader ended: is its process gone? Then this node
    /// waits for its turn among the voters, and finds itself due.
    async fn look_after_leader(&self, server: &ServerMetrics) {
        let me = self.shared.node.node_id;
        let Some((leader, _)) = followed(server, me) else { return };
        if self.shared.leader.take_hung_up() != Some(leader) {
            return;
        }
        let Some(node) = server.membership_config.get_node(&leader) else { return };
        let since = monotonic();
        for _ in 0..PROBES {
            let peer = self.shared.peers.peer(leader, &node.peer_addr, Lane::Control);
            let is_refused = peer.is_refused(PROBE_MAX).await;
            if self.shared.leader.heard_at() > since {
                return;
            }
            if is_refused {
                tracing::info!(leader, "the leader's process is gone");
                self.shared.leader.silence().leader_gone(leader);
                let voters = server.membership_config.membership().voter_ids();
                let before_me = voters.filter(|voter| *voter != leader && *voter < me).count();
                let rank = u32::try_from(before_me).unwrap_or(u32::MAX);
                let turn = self.shared.leader.silence().turn(rank.min(8));
                return sleep(turn).await;
            }
            sleep(PROBE_PAUSE).await;
        }
    }
}
