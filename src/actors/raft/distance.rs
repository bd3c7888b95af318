//! How far the other members are, and a warning before that is too far.
//!
//! Heartbeats whose answers take longer than the configuration allows for count as lost: then
//! nothing is read, and the leader takes itself for cut off. That is said before it happens.

use std::collections::BTreeMap;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use tokio::time::{MissedTickBehavior, interval};

use super::handle::RaftHandle;
use crate::types::NodeId;

/// How often the distances are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

impl RaftHandle {
    /// The round trip to each other member that this node, while it leads, has heard from.
    pub fn distances(&self) -> BTreeMap<NodeId, Duration> {
        let server = self.shared.server.borrow_watched();
        let me = self.shared.node.node_id;
        let members: Vec<NodeId> = match server.current_leader == Some(me) {
            true => server.membership_config.membership().nodes().map(|(id, _)| *id).collect(),
            false => Vec::new(),
        };
        drop(server);
        let mut distances = self.shared.peers.distances();
        // Of a node that does not lead the figure would be of another day.
        distances.iter_mut().filter(|(peer, _)| !members.contains(peer)).for_each(
            |(_, distance)| {
                *distance = Duration::ZERO;
            },
        );
        distances
    }

    /// The longest round trip that the configuration allows for.
    pub fn round_trip_max(&self) -> Duration {
        Duration::from_millis(self.shared.raft.config().heartbeat_interval)
    }
}

/// Whether a round trip comes near the longest that is allowed for: two thirds of it leave room for
/// what jitter and a disk add.
fn is_near(distance: Duration, allowed: Duration) -> bool {
    distance * 3 >= allowed * 2
}

/// Warns of members that come near to being too far, once for each time that they do.
pub(super) async fn warn_of_distances(raft: RaftHandle) {
    let allowed = raft.round_trip_max();
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut warned = Vec::new();
    loop {
        ticks.tick().await;
        for (peer, distance) in raft.distances() {
            let is_known = warned.contains(&peer);
            match is_near(distance, allowed) {
                true if !is_known => {
                    let (round_trip_ms, allowed_ms) = (distance.as_millis(), allowed.as_millis());
                    tracing::warn!(
                        peer,
                        %round_trip_ms,
                        %allowed_ms,
                        "the round trip to a member comes near the longest allowed for; set \
                         raft.round_trip_max_ms higher on every node"
                    );
                    warned.push(peer);
                }
                false => warned.retain(|known| *known != peer),
                true => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_thirds_of_what_is_allowed_are_near_it() {
        let allowed = Duration::from_millis(600);
        assert!(is_near(Duration::from_millis(400), allowed));
        assert!(!is_near(Duration::from_millis(399), allowed));
    }
}
