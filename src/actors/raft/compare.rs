//! Members compare their states: the leader asks every member for the hash of its state after one
//! entry, and whoever differs from the majority is told so, stops serving and repairs itself.
//!
//! # What must stay true
//! - Only equal entries are compared: a member that is behind is asked again, one that is too far
//!   behind is left for the next round.
//! - Without a majority among those that answered nobody is told anything: which state is right
//!   cannot be known. It is said loudly, and people must decide.
//! - An idle cluster compares once and then rests until something is applied.
//! - A leader that does not trust its own state compares nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::handle::{Leadership, RaftHandle};
use crate::actors::trust::Duty;
use crate::rpc::peer::{HashReport, Lane};
use crate::types::{Distrust, NodeId, StateHash};

/// How often the leader compares.
const COMPARE_INTERVAL: Duration = Duration::from_secs(5);
/// How long one member may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// The pause before a member that has not applied the entry yet is asked again.
const BEHIND_PAUSE: Duration = Duration::from_millis(200);
/// How often a member is asked in one round.
const ASKED_MAX: u32 = 5;

/// What comparing has shown, for metrics.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// The last entry after which every member that answered held the same state.
    agreed_index: AtomicU64,
    /// Whether states differed and no majority held one of them.
    no_majority: AtomicBool,
}

/// What the hashes of some members say.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// All are the same.
    Agree,
    /// These differ from the majority.
    Differ(Vec<NodeId>),
    /// They differ, and none is held by more than half.
    NoMajority,
}

/// Who differs from the majority of those that answered.
fn compare(hashes: &BTreeMap<NodeId, StateHash>) -> Verdict {
    let holders = |hash: &StateHash| hashes.values().filter(|held| *held == hash).count();
    let majority = hashes.values().find(|hash| 2 * holders(hash) > hashes.len());
    let Some(majority) = majority else {
        return if hashes.is_empty() { Verdict::Agree } else { Verdict::NoMajority };
    };
    let differing: Vec<_> =
        hashes.iter().filter(|(_, hash)| *hash != majority).map(|(node, _)| *node).collect();
    if differing.is_empty() { Verdict::Agree } else { Verdict::Differ(differing) }
}

impl RaftHandle {
    /// What this node's state is after the entry `index`.
    pub fn hash_report(&self, index: u64) -> HashReport {
        let applied = self.applied_log_id().map_or(0, |applied| applied.index);
        let trusted = self.trust().may(Duty::Gives);
        HashReport { hash: self.shared.state.hash_at(index), applied, trusted }
    }

    /// The last entry after which all who answered agreed, and whether they lately did not and no
    /// majority held one state. Of meaning on the leader.
    pub fn compared(&self) -> (u64, bool) {
        let compared = &self.shared.compared;
        (compared.agreed_index.load(Relaxed), compared.no_majority.load(Relaxed))
    }

    /// Compares the members' states for as long as the handle's consensus runs. Run by the raft
    /// actor.
    pub(super) async fn compare_states(self) {
        let mut interval = interval(COMPARE_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut last = 0;
        loop {
            interval.tick().await;
            let leads = self.leadership() == Leadership::Local && self.trust().may(Duty::Gives);
            let index = self.applied_log_id().map_or(0, |applied| applied.index);
            if !leads {
                (last, _) = (0, self.shared.compared.no_majority.store(false, Relaxed));
            } else if index > last && self.compare_after(index).await {
                last = index;
            }
        }
    }

    /// One round. Returns whether every member answered and all agreed.
    async fn compare_after(&self, index: u64) -> bool {
        let me = self.shared.node.node_id;
        let Some(mine) = self.shared.state.hash_at(index) else { return false };
        let metrics = self.shared.raft.metrics().borrow_watched().clone();
        let membership = metrics.membership_config.membership();
        let others = membership.nodes().filter(|(node, _)| **node != me);
        let asked = others.map(|(node, address)| self.ask_hash(*node, &address.peer_addr, index));
        let answers = futures_util::future::join_all(asked).await;
        let all_answered = answers.iter().all(|(_, hash)| hash.is_some());
        let answered = answers.into_iter().filter_map(|(node, hash)| Some((node, hash?)));
        let hashes: BTreeMap<_, _> = answered.chain([(me, mine)]).collect();
        let verdict = compare(&hashes);
        self.act(&verdict, &hashes, index).await;
        verdict == Verdict::Agree && all_answered
    }

    /// The hash of a member's state; none when it does not say, or does not trust it anyway.
    async fn ask_hash(
        &self,
        node: NodeId,
        peer_addr: &str,
        index: u64,
    ) -> (NodeId, Option<StateHash>) {
        let peer = self.shared.peers.peer(node, peer_addr, Lane::Control);
        for _ in 0..ASKED_MAX {
            match peer.state_hash(index, ANSWER_MAX).await {
                Ok(HashReport { trusted: false, .. }) | Err(_) => break,
                Ok(HashReport { hash: Some(hash), .. }) => return (node, Some(hash)),
                Ok(HashReport { applied, .. }) if applied >= index => break,
                Ok(_) => sleep(BEHIND_PAUSE).await,
            }
        }
        (node, None)
    }

    async fn act(&self, verdict: &Verdict, hashes: &BTreeMap<NodeId, StateHash>, index: u64) {
        let compared = &self.shared.compared;
        let was_split = compared.no_majority.swap(*verdict == Verdict::NoMajority, Relaxed);
        match verdict {
            Verdict::Agree => compared.agreed_index.store(index, Relaxed),
            Verdict::NoMajority if was_split => {}
            Verdict::NoMajority => tracing::error!(
                index,
                ?hashes,
                "the members' states differ and no majority holds one of them; none is replaced: \
                 compare them and remove the members that are wrong"
            ),
            Verdict::Differ(nodes) => {
                tracing::error!(index, ?nodes, ?hashes, "states differ from the majority's");
                for node in nodes {
                    self.tell_differs(*node, index).await;
                }
            }
        }
    }

    async fn tell_differs(&self, node: NodeId, index: u64) {
        if node == self.shared.node.node_id {
            return self.trust().distrust(Distrust::StateDiffers { index });
        }
        let server = self.shared.server.borrow_watched().clone();
        let Some(address) = server.membership_config.get_node(&node) else { return };
        let peer = self.shared.peers.peer(node, &address.peer_addr, Lane::Control);
        // One that is not told now is told in the next round.
        if let Err(error) = peer.state_differs(index, ANSWER_MAX).await {
            tracing::warn!(node, %error, "a member could not be told that its state differs");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(held: &[u8]) -> BTreeMap<NodeId, StateHash> {
        held.iter().zip(1..).map(|(byte, node)| (node, StateHash([*byte; 16]))).collect()
    }

    #[test]
    fn who_differs_from_more_than_half_of_those_that_answered_is_named() {
        for (held, verdict) in [
            (&[][..], Verdict::Agree),
            (&[1], Verdict::Agree),
            (&[1, 1], Verdict::Agree),
            (&[1, 2], Verdict::NoMajority),
            (&[1, 1, 2], Verdict::Differ(vec![3])),
            (&[2, 1, 1], Verdict::Differ(vec![1])),
            (&[1, 2, 3], Verdict::NoMajority),
            (&[1, 1, 2, 2], Verdict::NoMajority),
            (&[1, 2, 1, 3, 1], Verdict::Differ(vec![2, 4])),
        ] {
            assert_eq!(compare(&hashes(held)), verdict, "{held:?}");
        }
    }
}
