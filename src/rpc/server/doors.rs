//! Who is let in where, and what is behind the door.

use std::net::SocketAddr;
use std::sync::Arc;

use super::peer_service::PeerService;
use super::service::Door;
use super::store_service::StoreService;
use super::store_session::StoreBackend;
use crate::rpc::peer::{Caller, Incarnations, frame_limits};
use crate::rpc::transport::limits::{ANSWER_FRAME_BYTES_MAX, REQUEST_FRAME_BYTES_MAX};
use crate::rpc::transport::{
    FrameLimits, Guard, Hello, Identity, Lane, PeerHello, Refusal, SessionUser,
};

/// How long frames may be between a client and a node, as the node sees it.
pub(super) const STORE_FRAME_LIMITS: FrameLimits = FrameLimits {
    incoming_bytes_max: REQUEST_FRAME_BYTES_MAX,
    outgoing_bytes_max: ANSWER_FRAME_BYTES_MAX,
};

/// The door for clients.
pub struct StoreDoor {
    /// This node.
    pub identity: Identity,
    /// What signatures are checked with; none = nothing is.
    pub guard: Option<Guard>,
    /// What the requests are answered with.
    pub backend: Arc<StoreBackend>,
}

impl Door for StoreDoor {
    type Service = StoreService;

    fn name(&self) -> &'static str {
        "client"
    }

    fn identity(&self) -> Identity {
        self.identity
    }

    fn time_ms(&self) -> u64 {
        self.backend.raft.applied_time_ms()
    }

    fn guard(&self) -> Option<&Guard> {
        self.guard.as_ref()
    }

    fn judge(&self, hello: &Hello) -> Result<(), Refusal> {
        judge_client(&self.identity, hello)
    }

    fn open(
        &self,
        _hello: &Hello,
        user: Option<SessionUser>,
        remote: SocketAddr,
    ) -> (StoreService, FrameLimits) {
        (StoreService::new(self.backend.clone(), user, remote), STORE_FRAME_LIMITS)
    }
}

/// The door for peers.
pub struct PeerDoor {
    /// This node.
    pub identity: Identity,
    /// What signatures are checked with; none = nothing is.
    pub guard: Option<Guard>,
    /// The incarnations seen; shared with the dialer.
    pub incarnations: Incarnations,
    /// What the calls are answered with.
    pub service: PeerService,
}

impl Door for PeerDoor {
    type Service = PeerService;

    fn name(&self) -> &'static str {
        "peer"
    }

    fn identity(&self) -> Identity {
        self.identity
    }

    fn guard(&self) -> Option<&Guard> {
        self.guard.as_ref()
    }

    fn judge(&self, hello: &Hello) -> Result<(), Refusal> {
        judge_peer(&self.identity, hello)
    }

    fn admit(&self, hello: &Hello) -> Result<(), Refusal> {
        admit_peer(&self.incarnations, hello)
    }

    fn open(
        &self,
        hello: &Hello,
        _user: Option<SessionUser>,
        _remote: SocketAddr,
    ) -> (PeerService, FrameLimits) {
        let Some(peer) = hello.peer() else {
            // Not let in.
            return (self.service.clone(), frame_limits(Lane::Control));
        };
        let service = self.service.for_caller(self.incarnations.clone(), caller_of(peer));
        (service, frame_limits(peer.lane))
    }
}

/// Lets in clients of any cluster, or of ours if they say which.
pub(super) fn judge_client(identity: &Identity, hello: &Hello) -> Result<(), Refusal> {
    let actual = identity.cluster_id;
    match hello {
        Hello::Client { cluster_id: Some(asked) }
        | Hello::SignedClient { cluster_id: Some(asked), .. }
            if *asked != actual =>
        {
            Err(Refusal::WrongCluster { asked: *asked, actual })
        }
        Hello::Client { .. } | Hello::SignedClient { .. } => Ok(()),
        Hello::Peer(_) | Hello::SignedPeer { .. } => Err(Refusal::ClientsOnly),
    }
}

/// Lets in nodes of our cluster that look for us.
pub(super) fn judge_peer(identity: &Identity, hello: &Hello) -> Result<(), Refusal> {
    let Some(peer) = hello.peer() else { return Err(Refusal::PeersOnly) };
    if peer.cluster_id != identity.cluster_id {
        let (asked, actual) = (peer.cluster_id, identity.cluster_id);
        return Err(Refusal::WrongCluster { asked, actual });
    }
    if peer.expected_node_id != identity.node_id {
        let (expected, actual) = (peer.expected_node_id, identity.node_id);
        return Err(Refusal::NotThatNode { expected, actual });
    }
    Ok(())
}

/// Lets in nodes that are who they always were. Remembers who they are, so it asks only what was
/// proven: nobody without the secret speaks for a node.
pub(super) fn admit_peer(incarnations: &Incarnations, hello: &Hello) -> Result<(), Refusal> {
    let Some(peer) = hello.peer() else { return Err(Refusal::PeersOnly) };
    incarnations.recognise(&caller_of(peer))
}

fn caller_of(peer: &PeerHello) -> Caller {
    let PeerHello { node_id, incarnation, claim, .. } = *peer;
    Caller { node_id, incarnation, claim }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ClusterId, StartClaim};

    const OURS: ClusterId = ClusterId(1);
    const OTHER: ClusterId = ClusterId(2);
    const IDENTITY: Identity =
        Identity { cluster_id: OURS, node_id: 1, incarnation: 10, claim: StartClaim::NONE };
    const PEER: PeerHello = PeerHello {
        cluster_id: OURS,
        node_id: 2,
        incarnation: 20,
        claim: StartClaim::NONE,
        expected_node_id: 1,
        lane: Lane::Control,
    };

    #[test]
    fn clients_are_let_in_unless_they_look_for_another_cluster() {
        let wrong = Refusal::WrongCluster { asked: OTHER, actual: OURS };
        let cases = [
            (Hello::Client { cluster_id: None }, Ok(())),
            (Hello::Client { cluster_id: Some(OURS) }, Ok(())),
            (Hello::Client { cluster_id: Some(OTHER) }, Err(wrong)),
            (Hello::Peer(PEER), Err(Refusal::ClientsOnly)),
        ];
        for (hello, judged) in cases {
            assert_eq!(judge_client(&IDENTITY, &hello), judged, "{hello:?}");
        }
    }

    #[test]
    fn peers_are_let_in_when_everything_is_as_it_should_be() {
        let incarnations = Incarnations::new();
        let cases = [
            (Hello::Peer(PEER), Ok(())),
            (
                Hello::Peer(PeerHello { cluster_id: OTHER, ..PEER }),
                Err(Refusal::WrongCluster { asked: OTHER, actual: OURS }),
            ),
            (
                Hello::Peer(PeerHello { expected_node_id: 3, ..PEER }),
                Err(Refusal::NotThatNode { expected: 3, actual: 1 }),
            ),
            (
                Hello::Peer(PeerHello { incarnation: 21, ..PEER }),
                Err(Refusal::OtherIncarnation { node_id: 2 }),
            ),
            (Hello::Client { cluster_id: Some(OURS) }, Err(Refusal::PeersOnly)),
        ];
        for (hello, judged) in cases {
            let found = judge_peer(&IDENTITY, &hello);
            let found = found.and_then(|()| admit_peer(&incarnations, &hello));
            assert_eq!(found, judged, "{hello:?}");
        }
    }
}
