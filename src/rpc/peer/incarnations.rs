//! Which data directory stands behind a node id, and which start of it.
//!
//! A node id is never reused, and a wiped node is a new node: it has forgotten what it voted and
//! acknowledged, so under its old id it could elect a leader that lacks acknowledged writes. Each
//! data directory has an incarnation drawn at random when it was created. What the cluster has
//! agreed on is the one; where it has not yet, the first one seen. Another under the same id is
//! refused, in both directions.
//!
//! A directory that was copied or put back has the right incarnation. It is told by its
//! [`StartClaim`]: one that neither is nor continues the last claim taken is refused, and so is the
//! start before one that was seen to continue it: that process ended, or is a copy's original that
//! was frozen meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::rpc::transport::Refusal;
use crate::types::{Claim, ClaimOrder, NodeId, Roster, StartClaim};

/// The incarnations and claims known. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Incarnations {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    known: Mutex<Known>,
    /// Told when one that was recognised may not be any more.
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// From the replicated state.
    agreed: BTreeMap<NodeId, u128>,
    claims: BTreeMap<NodeId, Claim>,
    /// First come.
    seen: HashMap<NodeId, u128>,
    /// The last start seen that continues the claim in `claims`, and that claim's nonce.
    continued: HashMap<NodeId, (u64, u64)>,
}

/// A node as it says who it is.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Its id.
    pub node_id: NodeId,
    /// Its data directory.
    pub incarnation: u128,
    /// Its start.
    pub claim: StartClaim,
}

impl Incarnations {
    /// Nothing known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the cluster has agreed on, from now on.
    pub fn agree(&self, roster: &Roster) {
        let mut known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.agreed != roster.incarnations || known.claims != roster.claims {
            known.agreed = roster.incarnations.clone();
            known.claims = roster.claims.clone();
            self.shared.changes.send_replace(());
        }
    }

    /// Whether a node is the one known under its id, or the first seen.
    ///
    /// # Errors
    /// Another data directory is known; or a start that this one does not continue.
    pub fn recognise(&self, caller: &Caller) -> Result<(), Refusal> {
        let Caller { node_id, incarnation, claim } = *caller;
        let mut known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        let agreed = known.agreed.get(&node_id).copied();
        let agreed = agreed.unwrap_or_else(|| *known.seen.entry(node_id).or_insert(incarnation));
        if agreed != incarnation {
            return Err(Refusal::OtherIncarnation { node_id });
        }
        let Some(last) = known.claims.get(&node_id).copied() else { return Ok(()) };
        let continued = known.continued.get(&node_id).copied();
        let superseded_by = continued.filter(|(before, _)| *before == last.nonce);
        match (claim.order(&last), superseded_by) {
            (ClaimOrder::Ahead, _) | (ClaimOrder::Same, None) => Ok(()),
            (ClaimOrder::Continues, Some((_, start))) if start == claim.nonce => Ok(()),
            (ClaimOrder::Continues, _) => {
                known.continued.insert(node_id, (last.nonce, claim.nonce));
                self.shared.changes.send_replace(());
                Ok(())
            }
            (ClaimOrder::Stale, _) | (ClaimOrder::Same, Some(_)) => {
                Err(Refusal::StaleStart { node_id, counter: last.counter })
            }
        }
    }

    /// Returns when a node that was recognised is not any more: its connections are to be closed.
    pub fn superseded(&self, caller: Caller) -> impl Future<Output = ()> + Send + 'static {
        let this = self.clone();
        let mut changes = self.shared.changes.subscribe();
        async move { while this.still(&caller) && changes.changed().await.is_ok() {} }
    }

    /// Whether nothing came after it. Its own start is known already: it does not pass for a newer
    /// one by being asked again.
    fn still(&self, caller: &Caller) -> bool {
        let known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Caller { node_id, incarnation, claim } = caller;
        if known.agreed.get(node_id).is_some_and(|agreed| agreed != incarnation) {
            return false;
        }
        let Some(last) = known.claims.get(node_id) else { return true };
        let continued = known.continued.get(node_id);
        let superseded =
            continued.is_some_and(|(before, by)| *before == last.nonce && *by != claim.nonce);
        match claim.order(last) {
            ClaimOrder::Ahead => true,
            ClaimOrder::Same | ClaimOrder::Continues => !superseded,
            ClaimOrder::Stale => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::CLAIMS_CONTINUED_MAX;

    const OTHER: Result<(), Refusal> = Err(Refusal::OtherIncarnation { node_id: 1 });
    const STALE: Result<(), Refusal> = Err(Refusal::StaleStart { node_id: 1, counter: 5 });

    fn directory(node_id: NodeId, incarnation: u128) -> Caller {
        Caller { node_id, incarnation, claim: StartClaim::NONE }
    }

    fn start(counter: u64, nonce: u64, before: u64) -> Caller {
        let mut continues = [0; CLAIMS_CONTINUED_MAX];
        continues[0] = before;
        Caller { claim: StartClaim { counter, nonce, continues }, ..directory(1, 10) }
    }

    fn agreed(incarnation: u128, claim: Option<Claim>) -> Roster {
        Roster {
            incarnations: BTreeMap::from([(1, incarnation)]),
            claims: claim.into_iter().map(|claim| (1, claim)).collect(),
            ..Roster::default()
        }
    }

    /// The cluster took (5, 50).
    fn known() -> Incarnations {
        let incarnations = Incarnations::new();
        incarnations.agree(&agreed(10, Some(Claim { counter: 5, nonce: 50 })));
        incarnations
    }

    #[test]
    fn the_first_incarnation_of_a_node_is_the_only_one() {
        let incarnations = Incarnations::new();
        assert_eq!(incarnations.recognise(&directory(1, 10)), Ok(()));
        assert_eq!(incarnations.recognise(&directory(1, 11)), OTHER);
        assert_eq!(incarnations.clone().recognise(&directory(1, 10)), Ok(()));
        assert_eq!(incarnations.recognise(&directory(2, 11)), Ok(()));
    }

    #[test]
    fn what_is_agreed_on_wins_over_what_came_first() {
        let incarnations = Incarnations::new();
        assert_eq!(incarnations.recognise(&directory(1, 11)), Ok(()));
        incarnations.agree(&agreed(10, None));
        assert_eq!(incarnations.recognise(&directory(1, 11)), OTHER);
        assert_eq!(incarnations.recognise(&directory(1, 10)), Ok(()));
    }

    #[test]
    fn a_start_that_does_not_continue_the_last_claim_is_refused() {
        let incarnations = known();
        assert_eq!(incarnations.recognise(&start(5, 51, 40)), STALE);
        assert_eq!(incarnations.recognise(&start(6, 61, 49)), STALE);
        assert_eq!(incarnations.recognise(&start(5, 50, 40)), Ok(()));
        assert_eq!(incarnations.recognise(&start(6, 60, 50)), Ok(()));
        assert_eq!(incarnations.recognise(&start(9, 90, 80)), Ok(()), "this node lags");
    }

    #[tokio::test]
    async fn a_start_that_was_continued_is_refused_also_on_its_open_connections() {
        let incarnations = known();
        let (original, copy, other) = (start(5, 50, 40), start(6, 60, 50), start(6, 61, 50));
        incarnations.recognise(&original).expect("the last claim");
        let open = tokio::spawn(incarnations.superseded(original));
        // A copy of it comes, and another one in its place.
        incarnations.recognise(&copy).expect("it continues");
        open.await.expect("the original's connections are closed");
        assert_eq!(incarnations.recognise(&original), STALE);
        let open = tokio::spawn(incarnations.superseded(copy));
        incarnations.recognise(&other).expect("it continues");
        open.await.expect("the copy's connections are closed");
        // The log decides.
        incarnations.agree(&agreed(10, Some(Claim { counter: 6, nonce: 61 })));
        assert!(incarnations.still(&other));
        let stale = Err(Refusal::StaleStart { node_id: 1, counter: 6 });
        assert_eq!(incarnations.recognise(&copy), stale);
        assert_eq!(incarnations.recognise(&original), stale);
    }
}
