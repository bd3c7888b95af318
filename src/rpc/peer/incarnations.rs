//! Which data directory stands behind a node id.
//!
//! A node id is never reused, and a wiped node is a new node: it has forgotten what it voted and
//! acknowledged, so under its old id it could elect a leader that lacks acknowledged writes. Each
//! data directory has an incarnation drawn at random when it was created. What the cluster has
//! agreed on is the one; where it has not yet, the first one seen. Another under the same id is
//! refused, in both directions.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use crate::types::NodeId;

/// The incarnations known. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Incarnations {
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    /// From the replicated state.
    agreed: BTreeMap<NodeId, u128>,
    /// First come.
    seen: HashMap<NodeId, u128>,
}

impl Incarnations {
    /// Nothing known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the cluster has agreed on, from now on.
    pub fn agree(&self, agreed: BTreeMap<NodeId, u128>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).agreed = agreed;
    }

    /// Whether `incarnation` is the one known under `node_id`, or the first seen.
    pub fn recognise(&self, node_id: NodeId, incarnation: u128) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.agreed.get(&node_id) {
            Some(agreed) => *agreed == incarnation,
            None => *known.seen.entry(node_id).or_insert(incarnation) == incarnation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_incarnation_of_a_node_is_the_only_one() {
        let incarnations = Incarnations::new();
        assert!(incarnations.recognise(1, 10));
        assert!(!incarnations.recognise(1, 11));
        assert!(incarnations.clone().recognise(1, 10));
        assert!(incarnations.recognise(2, 11));
    }

    #[test]
    fn what_is_agreed_on_wins_over_what_came_first() {
        let incarnations = Incarnations::new();
        assert!(incarnations.recognise(1, 11));
        incarnations.agree(BTreeMap::from([(1, 10)]));
        assert!(!incarnations.recognise(1, 11));
        assert!(incarnations.recognise(1, 10));
    }
}
