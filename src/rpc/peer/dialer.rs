//! What it takes to reach another node.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::incarnations::{Caller, Incarnations};
use super::life::Life;
use super::messages::{PeerClient, PeerRequest, PeerResponse};
use super::{Lane, frame_limits};
use crate::auth::Signer;
use crate::rpc::transport::limits::CONNECT_TIMEOUT;
use crate::rpc::transport::{
    CallCredentials, ClientTransport, ConnectError, HandshakeError, Hello, Identity, PeerHello,
    Refusal, SealedFrames, ServiceRequest, TlsClient, client_config, dial,
};
use crate::types::NodeId;

/// Is told of every call. Called in the path of the call: must not block.
pub trait PeerObserver: Send + Sync + 'static {
    /// A peer answered, be it a refusal, after `round_trip`.
    fn answered(&self, peer: NodeId, lane: Lane, method: &'static str, round_trip: Duration) {
        let _ = (peer, lane, method, round_trip);
    }

    /// Entries of the log are sent to a peer.
    fn entries_sent(&self, peer: NodeId, entries: usize) {
        let _ = (peer, entries);
    }

    /// Consensus begins to give a peer a snapshot.
    fn consensus_snapshot_sent(&self, peer: NodeId) {
        let _ = peer;
    }

    /// A follower turned out to hold less of the log than it had acknowledged.
    fn lost_entries(&self, peer: NodeId) {
        let _ = peer;
    }

    /// A call had no answer: the peer could not be reached, or the connection was lost.
    fn failed(&self, peer: NodeId, lane: Lane, method: &'static str) {
        let _ = (peer, lane, method);
    }
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPeerObserver;

impl PeerObserver for NoPeerObserver {}

/// Who dials, and what it knows.
#[derive(Clone)]
pub struct PeerDialer {
    /// This node.
    pub identity: Identity,
    /// The incarnations seen; shared with the listener for peers.
    pub incarnations: Incarnations,
    /// What to sign with: the secret of the cluster's peers; none without authentication.
    pub credentials: Option<Arc<Signer>>,
    /// What to speak TLS with; none for peers that do not.
    pub tls: Option<TlsClient>,
    /// How long one attempt may take, handshake included.
    pub connect_timeout: Duration,
    /// Is told of every call.
    pub observer: Arc<dyn PeerObserver>,
    /// Set when a peer knows another data directory under this node's id, to what it says.
    pub not_recognised: watch::Sender<Option<String>>,
}

impl PeerDialer {
    /// A dialer for this node that nobody watches.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            incarnations: Incarnations::new(),
            credentials: None,
            tls: None,
            connect_timeout: CONNECT_TIMEOUT,
            observer: Arc::new(NoPeerObserver),
            not_recognised: watch::Sender::new(None),
        }
    }

    /// Connects to `target` at `address` for `lane`; else the reason in one line.
    pub(super) async fn connect(
        &self,
        target: NodeId,
        address: &str,
        lane: Lane,
    ) -> Result<Link, String> {
        let peer = PeerHello {
            cluster_id: self.identity.cluster_id,
            node_id: self.identity.node_id,
            incarnation: self.identity.incarnation,
            claim: self.identity.claim,
            expected_node_id: target,
            lane,
        };
        let hello = match &self.credentials {
            None => Hello::Peer(peer),
            Some(signer) => {
                let cluster_name = signer.region().to_owned();
                Hello::SignedPeer { peer, cluster_name, nonce: rand::random() }
            }
        };
        let credentials = self.credentials.clone();
        let credentials =
            credentials.map(|signer| CallCredentials { signer, paths: PeerRequest::PATHS });
        let tls = self.tls.as_ref();
        let dialed = dial(address, &hello, credentials, tls, self.connect_timeout).await;
        let (stream, there, sealer) = dialed.map_err(|error| {
            self.note_not_recognised(&error);
            reason_of(&error)
        })?;
        let there = self.verify(target, &there.identity)?;
        let frames = SealedFrames::new(stream, sealer, frame_limits(lane));
        let transport: ClientTransport<_, PeerRequest, PeerResponse> = ClientTransport::new(frames);
        let in_flight_max = in_flight_max(lane);
        let new = PeerClient::new(client_config(in_flight_max, in_flight_max), transport);
        let (closing, closed) = watch::channel(false);
        let dispatch = new.dispatch;
        let superseded = self.incarnations.superseded(there);
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = dispatch => ended.map_err(|error| error.to_string()),
                () = superseded => Err("another start of its data directory is known".to_owned()),
            };
            if let Err(error) = ended {
                tracing::debug!(target, lane = lane.name(), %error, "a connection to a peer ended");
            }
            closing.send_replace(true);
        });
        Ok(Link { client: new.client, closed, life: Arc::new(Life::new()) })
    }

    /// A peer that knows our id with another data directory, or another start of it, says so for as
    /// long as we are.
    fn note_not_recognised(&self, error: &ConnectError) {
        if let ConnectError::Handshake { source: HandshakeError::Refused(refusal), .. } = error
            && let Refusal::OtherIncarnation { node_id } | Refusal::StaleStart { node_id, .. } =
                refusal
            && *node_id == self.identity.node_id
        {
            self.not_recognised.send_replace(Some(refusal.to_string()));
        }
    }

    /// The other end has let us in; is it the one we want?
    fn verify(&self, target: NodeId, there: &Identity) -> Result<Caller, String> {
        if (there.cluster_id, there.node_id) != (self.identity.cluster_id, target) {
            return Err(format!(
                "node {} of cluster {} is there, not node {target}; check the addresses of the members",
                there.node_id, there.cluster_id
            ));
        }
        let Identity { incarnation, claim, .. } = *there;
        let there = Caller { node_id: target, incarnation, claim };
        match self.incarnations.recognise(&there) {
            Ok(()) => Ok(there),
            Err(Refusal::StaleStart { .. }) => Err(format!(
                "what runs there as node {target} is a copy of its data directory, or one that was put back older; stop it"
            )),
            Err(_) => Err(format!(
                "node {target} came back with another data directory; remove it and add it as a new node"
            )),
        }
    }
}

/// Why a peer was not reached, for people who run it.
fn reason_of(error: &ConnectError) -> String {
    match error {
        ConnectError::Handshake {
            address,
            source: HandshakeError::Refused(Refusal::SignatureDoesNotMatch),
        } => format!(
            "{address} has another cluster key; start every node with a copy of one --cluster-key file"
        ),
        _ => error.to_string(),
    }
}

/// Most calls in flight on one lane; one more waits its turn on the append lane, and fails at once on the
/// others.
pub(super) fn in_flight_max(lane: Lane) -> usize {
    match lane {
        // Forwarded requests: as many as a follower's clients have in flight.
        Lane::Control => 16_384,
        Lane::Append => 256,
        Lane::Snapshot => 16,
    }
}

/// An open connection.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) client: PeerClient,
    closed: watch::Receiver<bool>,
    life: Arc<Life>,
}

impl Link {
    /// Whether the connection is of no further use.
    pub(super) fn is_closed(&self) -> bool {
        self.life.is_retired() || *self.closed.borrow() || self.closed.has_changed().is_err()
    }

    /// What is known of its life.
    pub(super) fn life(&self) -> &Life {
        &self.life
    }
}
