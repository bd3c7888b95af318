//! Who a node becomes when its data directory is new, and whether it may found its cluster.
//!
//! A cluster founded by several nodes takes its id from their list, so that they agree without
//! talking. A node that founds alone takes an id derived from its incarnation: unique, and still
//! recognisable after a crash between creating the directory and founding.
//!
//! # What must stay true
//! - A node founds only the cluster its identity names. Started again with another list (or none)
//!   before its first start was complete, it must not found a second cluster under the same id.

use sha2::{Digest, Sha256};

use crate::config::InitialCluster;
use crate::storage::Identity;
use crate::types::ClusterId;

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
