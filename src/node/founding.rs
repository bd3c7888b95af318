//! Who a node becomes when its data directory is new, and whether it may found its cluster.
//!
//! A cluster founded by several nodes takes its id from their list, so that they agree without
//! talking. A node that founds alone takes an id derived from its incarnation: unique, and still
//! recognisable after a crash between creating the directory and founding.
//!
//! A list founds its cluster once. A founder that lost its directory looks like one that is started
//! for the first time, so nobody founds before every other founder has said that it is empty, too:
//! beside one that holds data, and while one is away, nothing is founded. Whoever is asked knows
//! the incarnation that each id had, and refuses a directory that was made anew.
//!
//! # What must stay true
//! - A node founds only the cluster its identity names. Started again with another list (or none)
//!   before its first start was complete, it must not found a second cluster under the same id.
//! - A node founds only when every other founder has answered, and none of them holds a log or has
//!   voted.
//!
//! # On failure
//! A founder that does not answer is waited for, without end, and named in the log.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use crate::actors::RaftHandle;
use crate::actors::raft::ConsensusError;
use crate::config::InitialCluster;
use crate::rpc::peer::{Lane, PeerCallError, PeerConnections};
use crate::storage::Identity;
use crate::types::{ClusterId, NodeId, PeerAddress};

/// How long one founder may take to answer.
const ASK_MAX: Duration = Duration::from_secs(2);
/// The pause before those who did not answer are asked again.
const PAUSE: Duration = Duration::from_millis(100);
/// When an operator is told whom this node waits for: founders started together need not know.
const TELL_AFTER: Duration = Duration::from_secs(2);
/// How often after that.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Sets this digest apart from every other use of SHA-256.
const ALONE_DOMAIN: &[u8] = b"chainfire founded alone v1\0";

/// The identity of the node `name`, one of `founders`; `listed` when the founders were listed and
/// are not just this node. None when the list does not name the node.
pub(super) fn identity(
    founders: &InitialCluster,
    listed: bool,
    name: &str,
    incarnation: u128,
) -> Option<Identity> {
    Some(Identity {
        cluster_id: cluster_id(founders, listed, incarnation),
        node_id: founders.node_id(name)?,
        incarnation,
        name: name.to_owned(),
    })
}

/// Whether a node of this identity, whose log is empty, may found the cluster of `founders`.
pub(super) fn may_found(identity: &Identity, founders: &InitialCluster, listed: bool) -> bool {
    identity.cluster_id == cluster_id(founders, listed, identity.incarnation)
        && founders.node_id(&identity.name) == Some(identity.node_id)
}

/// What the other founders say.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Everybody is empty.
    Found,
    /// This one is not: it will send what it has.
    Wait { holder: NodeId },
    /// These have not answered; with what was said of the first.
    Ask { silent: Vec<NodeId>, reason: String },
}

/// Founds the cluster of `founders` from `me` once every other one has answered that it is empty.
/// Returns as well when another founder's leader has made this node part of the cluster.
pub(super) async fn found(
    raft: &RaftHandle,
    peers: &PeerConnections,
    founders: BTreeMap<NodeId, PeerAddress>,
) -> Result<(), ConsensusError> {
    let me = raft.node().node_id;
    let others: Vec<_> = founders.iter().filter(|(id, _)| **id != me).collect();
    let mut tell_at = Instant::now() + TELL_AFTER;
    while !raft.is_founded().await? {
        let asked = others.iter().map(|(id, founder)| async move {
            let lane = peers.peer(**id, &founder.peer_addr, Lane::Control);
            (**id, lane.is_founded(ASK_MAX).await)
        });
        let verdict = verdict(join_all(asked).await);
        if verdict == Verdict::Found {
            tracing::info!(founders = founders.len(), "every founder is empty: founding");
            return raft.found(founders).await;
        }
        if Instant::now() >= tell_at {
            tell_at = Instant::now() + TELL_EVERY;
            tell(&verdict, &founders);
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

fn verdict(answers: Vec<(NodeId, Result<bool, PeerCallError>)>) -> Verdict {
    if let Some((holder, _)) = answers.iter().find(|(_, answer)| matches!(answer, Ok(true))) {
        return Verdict::Wait { holder: *holder };
    }
    let failed = answers.iter().filter_map(|(id, answer)| Some((*id, answer.as_ref().err()?)));
    let failed: Vec<_> = failed.collect();
    match failed.first() {
        None => Verdict::Found,
        Some((_, error)) => {
            let silent = failed.iter().map(|(id, _)| *id).collect();
            Verdict::Ask { silent, reason: error.to_string() }
        }
    }
}

/// Tells an operator whom this node waits for.
fn tell(verdict: &Verdict, founders: &BTreeMap<NodeId, PeerAddress>) {
    let name = |id: &NodeId| {
        let founder = founders.get(id);
        founder.map_or(id.to_string(), |it| format!("{} ({})", it.name, it.peer_addr))
    };
    match verdict {
        Verdict::Found => {}
        Verdict::Wait { holder } => tracing::warn!(
            founder = name(holder),
            "a founder holds the cluster already, and this node nothing: it waits for the log. If \
             this node has lost its data, stop it, remove it with 'chainfire member remove' and \
             start it with --join"
        ),
        Verdict::Ask { silent, reason } => tracing::warn!(
            founders = silent.iter().map(name).collect::<Vec<_>>().join(", "),
            reason,
            "the cluster is founded when every founder has answered; start these, or correct \
             --initial-cluster"
        ),
    }
}

fn cluster_id(founders: &InitialCluster, listed: bool, incarnation: u128) -> ClusterId {
    if listed {
        return founders.cluster_id();
    }
    let mut hasher = Sha256::new();
    hasher.update(ALONE_DOMAIN);
    hasher.update(incarnation.to_be_bytes());
    let digest = hasher.finalize();
    let (head, _) = digest.split_first_chunk().expect("SHA-256 has 32 bytes");
    ClusterId(u128::from_be_bytes(*head))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(text: &str) -> InitialCluster {
        text.parse().expect("a valid list")
    }

    #[test]
    fn founders_agree_on_the_cluster_and_differ_in_their_ids() {
        let founders = cluster("a=h:1,b=h:2,c=h:3");
        let a = identity(&founders, true, "a", 1).expect("a founder");
        let b = identity(&founders, true, "b", 2).expect("a founder");
        assert_eq!(a.cluster_id, b.cluster_id);
        assert_eq!((a.node_id, b.node_id), (1, 2));
        assert!(identity(&founders, true, "d", 3).is_none());
    }

    #[test]
    fn nothing_is_founded_beside_one_that_holds_data_nor_while_one_is_silent() {
        let silent = || Err(PeerCallError::Unreachable { reason: "refused".to_owned() });
        assert_eq!(verdict(vec![]), Verdict::Found);
        assert_eq!(verdict(vec![(2, Ok(false)), (3, Ok(false))]), Verdict::Found);
        assert_eq!(verdict(vec![(2, silent()), (3, Ok(true))]), Verdict::Wait { holder: 3 });
        match verdict(vec![(2, Ok(false)), (3, silent()), (4, silent())]) {
            Verdict::Ask { silent, reason } => {
                assert_eq!(silent, [3, 4]);
                assert!(reason.contains("refused"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn two_nodes_that_found_alone_are_two_clusters() {
        let alone = cluster("default=127.0.0.1:4602");
        let one = identity(&alone, false, "default", 1).expect("itself");
        let other = identity(&alone, false, "default", 2).expect("itself");
        assert_ne!(one.cluster_id, other.cluster_id);
    }

    #[test]
    fn only_the_cluster_that_the_identity_names_may_be_founded() {
        let founders = cluster("a=h:1,b=h:2,c=h:3");
        let alone = cluster("a=h:1");
        let listed = identity(&founders, true, "a", 7).expect("a founder");
        let single = identity(&alone, false, "a", 7).expect("itself");
        assert!(may_found(&listed, &founders, true));
        assert!(may_found(&single, &alone, false));
        assert!(!may_found(&listed, &alone, false), "it would found a second cluster");
        assert!(!may_found(&single, &founders, true));
        assert!(!may_found(&listed, &cluster("a=h:1,b=h:2,d=h:3"), true));
    }
}
