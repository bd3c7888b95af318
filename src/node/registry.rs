//! What the connections to peers know from the replicated state: who is who, and where.

use std::sync::Arc;

use crate::rpc::peer::{Incarnations, PeerConnections};
use crate::storage::state::StateStore;

/// Keeps `peers` and `incarnations` as the state says, from now until the state is gone.
pub(super) fn follow(state: &StateStore, peers: PeerConnections, incarnations: Incarnations) {
    let (mut roster, mut addrs) = (state.roster(), state.peer_addrs());
    peers.publish_addresses(Arc::clone(&addrs.borrow_and_update()));
    incarnations.agree(&roster.borrow_and_update());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                changed = roster.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    incarnations.agree(&roster.borrow_and_update());
                }
                changed = addrs.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    peers.publish_addresses(Arc::clone(&addrs.borrow_and_update()));
                }
            }
        }
    });
}
