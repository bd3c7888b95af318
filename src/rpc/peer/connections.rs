//! The connections to all peers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Lane;
use super::calls::PeerConnection;
use super::dialer::PeerDialer;
use super::lane_link::LaneLink;
use crate::types::NodeId;

/// At most one connection for each peer and lane. Clones share them.
#[derive(Clone)]
pub struct PeerConnections {
    shared: Arc<Shared>,
}

struct Shared {
    dialer: Arc<PeerDialer>,
    links: Mutex<HashMap<(NodeId, Lane), Arc<LaneLink>>>,
    /// Where nodes say that they are reached.
    published: Mutex<Arc<BTreeMap<NodeId, String>>>,
}

impl PeerConnections {
    /// No connection yet.
    pub fn new(dialer: PeerDialer) -> Self {
        let links = Mutex::new(HashMap::new());
        let published = Mutex::default();
        Self { shared: Arc::new(Shared { dialer: Arc::new(dialer), links, published }) }
    }

    /// Where nodes say that they are reached: wins over the address a caller has.
    pub fn publish_addresses(&self, addresses: Arc<BTreeMap<NodeId, String>>) {
        *self.shared.published.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// The connection to a node where the caller says, whatever was published.
    pub fn peer_at(&self, target: NodeId, address: &str, lane: Lane) -> PeerConnection {
        let dialer = self.shared.dialer.clone();
        PeerConnection::new(Arc::new(LaneLink::new(dialer, target, address, lane)))
    }

    /// The connection to `target` for `lane`, at the address it has published, or else at
    /// `address` (`HOST:PORT`). Nothing is sent before
    /// the first call. When the peer has moved, a new connection takes the place of the old one,
    /// which ends with the last call on it.
    pub fn peer(&self, target: NodeId, address: &str, lane: Lane) -> PeerConnection {
        let published = self.shared.published.lock().unwrap_or_else(PoisonError::into_inner);
        let address = published.get(&target).map_or(address, String::as_str).to_owned();
        drop(published);
        let address = &*address;
        let mut links = self.shared.links.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(LaneLink::new(self.shared.dialer.clone(), target, address, lane));
        let link = links.entry((target, lane)).or_insert_with(make);
        if *link.address != *address {
            *link = make();
        }
        PeerConnection::new(link.clone())
    }

    /// How far each peer is, by the answers to the calls on its control lane.
    pub fn distances(&self) -> BTreeMap<NodeId, Duration> {
        let links = self.shared.links.lock().unwrap_or_else(PoisonError::into_inner);
        let control = links.iter().filter(|((_, lane), _)| *lane == Lane::Control);
        control
            .filter_map(|((peer, _), link)| Some((*peer, link.round_trip().distance()?)))
            .collect()
    }

    /// Forgets a node that has left; its connections end with the last call on them.
    pub fn forget(&self, target: NodeId) {
        let mut links = self.shared.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|(node_id, _), _| *node_id != target);
    }
}
