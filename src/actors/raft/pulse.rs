//! The leader's heartbeats, as often as the configuration says.
//!
//! openraft waits for the answer to a heartbeat no longer than its own interval, so that interval
//! is the longest round trip the cluster works with, and too long to notice a dead leader by. What
//! is sent in between comes from here. To one peer openraft sends one heartbeat at a time: over a
//! round trip longer than the interval they go out once a round trip, each with the time at which
//! it was asked for, so that an answer never confirms more than was asked.

use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use tokio::time::{MissedTickBehavior, interval};

use super::handle::RaftHandle;

/// Sends heartbeats while this node leads. Ends with consensus.
pub(super) async fn beat(raft: RaftHandle, every: Duration) {
    let me = raft.shared.node.node_id;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let leads = raft.shared.server.borrow_watched().current_leader == Some(me);
        if leads && raft.shared.raft.trigger().heartbeat().await.is_err() {
            return;
        }
    }
}
