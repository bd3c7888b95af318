//! Quiet: every node that lives answers and has applied the same.

use std::time::{Duration, Instant};

use crate::cluster::Cluster;

const SETTLE_MAX: Duration = Duration::from_secs(45);

/// Waits for it; how long it took. Nodes that do not come to agree are a surprise.
pub async fn settle(c: &mut Cluster) -> Option<Duration> {
    let begun = Instant::now();
    while begun.elapsed() < SETTLE_MAX {
        c.look();
        let statuses = c.statuses().await;
        let live = c.live();
        if statuses.len() == live.len() && !live.is_empty() {
            let index = statuses[0].1.applied_index;
            let settled = statuses.iter().all(|(_, status)| {
                status.applied_index == index
                    && status.last_log_index == index
                    && status.leader_id.is_some()
            });
            if settled {
                return Some(begun.elapsed());
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut states = vec![];
    for (slot, s) in c.statuses().await {
        let (log, applied) = (s.last_log_index, s.applied_index);
        states
            .push(format!("slot {slot} {:?} term {} log {log} applied {applied}", s.role, s.term));
    }
    c.surprise(format!("not settled after {SETTLE_MAX:?}: {}", states.join("; ")));
    None
}
