//! Compactions, and nodes that fall behind what the log keeps.

use std::time::Duration;

use super::operator::first_words;
use crate::cluster::Cluster;
use crate::random::Rng;

pub async fn compact(c: &mut Cluster, rng: &mut Rng) {
    c.rest(200).await;
    let back = rng.below(60);
    compact_to(c, back).await;
    if rng.chance(6) {
        let slot = c.mostly_leader(rng, 50).await;
        c.fault(format!("kill -9 {slot} amid compaction"));
        c.kill(slot);
        c.rest_between(rng, 10, 800).await;
        c.start(slot);
    }
}

/// Compacts all but the last revisions.
pub async fn compact_to(c: &mut Cluster, back: u64) {
    let client = c.admin.clone().expect("made before the clients");
    let revision = c.world.last_revision().saturating_sub(back);
    if revision <= 2 {
        return;
    }
    let result = client.compact(revision).timeout(Duration::from_secs(3)).await;
    c.ended(format!("compact:{}", result.map_or_else(|e| first_words(&e), |_| "ok".into())));
}

/// One falls behind and is given a snapshot; `kill` = somebody dies amid it.
pub async fn fall_behind(c: &mut Cluster, rng: &mut Rng, kill: bool) {
    c.rest_between(rng, 500, 1_500).await;
    let follower = c.follower(rng).await;
    let slot = if rng.chance(70) { follower } else { c.leader_or_any(rng).await };
    let dead = rng.chance(50);
    let how = if dead { "kill -9" } else { "SIGSTOP" };
    c.fault(format!("{how} {slot}, to fall behind"));
    if dead {
        c.kill(slot)
    } else {
        c.freeze(slot)
    }
    c.rest_between(rng, 2_500, 5_000).await;
    if dead {
        c.start(slot)
    } else {
        c.thaw(slot)
    }
    c.say(format!("{slot} is back"));
    if kill {
        // Amid the transfer or its install.
        c.rest_between(rng, 30, 900).await;
        let victim = if rng.chance(60) { slot } else { c.leader_or_any(rng).await };
        c.fault(format!("kill -9 {victim} amid the snapshot"));
        c.kill(victim);
        c.rest_between(rng, 10, 500).await;
        c.start(victim);
    }
}
