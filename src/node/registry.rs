//! What the connections to peers know from the replicated state: who is who, and where.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::rpc::peer::{Incarnations, PeerConnections};
use crate::storage::repair::PeerBook;
use crate::storage::state::StateStore;
use crate::types::NodeId;

/// Keeps `peers` and `incarnations` as the state says, from now until the state is gone, and writes
/// the addresses down beside the state, for the day when it cannot be read.
pub(super) fn follow(
    state: &StateStore,
    peers: PeerConnections,
    incarnations: Incarnations,
    data_dir: PathBuf,
) {
    let (mut roster, mut addrs) = (state.roster(), state.peer_addrs());
    peers.publish_addresses(Arc::clone(&addrs.borrow_and_update()));
    addrs.mark_changed();
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
                    let known = Arc::clone(&addrs.borrow_and_update());
                    peers.publish_addresses(Arc::clone(&known));
                    write_down(data_dir.clone(), known).await;
                }
            }
        }
    });
}

/// A book that cannot be written is missed only by a node that must repair itself.
async fn write_down(data_dir: PathBuf, addrs: Arc<BTreeMap<NodeId, String>>) {
    let written = tokio::task::spawn_blocking(move || PeerBook::write(&data_dir, &addrs));
    match written.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the peers' addresses are not written down"),
        Err(error) => tracing::warn!(%error, "the peers' addresses are not written down"),
    }
}
