//! Processes that stand still and go on.

use crate::cluster::Cluster;
use crate::random::Rng;

pub async fn leader(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 1_500, 3_000).await;
    let slot = c.leader_or_any(rng).await;
    c.fault(format!("SIGSTOP leader {slot}"));
    c.freeze(slot);
    c.rest_between(rng, 1_000, 5_000).await;
    c.say(format!("SIGCONT {slot}"));
    c.thaw(slot);
}

pub async fn follower(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 800, 2_000).await;
    let slot = c.follower(rng).await;
    c.fault(format!("SIGSTOP follower {slot}"));
    c.freeze(slot);
    c.rest_between(rng, 300, 5_000).await;
    c.thaw(slot);
}

pub async fn two(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 1_500, 3_000).await;
    let a = c.leader_or_any(rng).await;
    let b = c.follower(rng).await;
    c.fault(format!("SIGSTOP {a} and {b}"));
    c.freeze(a);
    c.freeze(b);
    c.rest_between(rng, 1_000, 4_000).await;
    c.thaw(a);
    c.rest_between(rng, 0, 500).await;
    c.thaw(b);
}

pub async fn all(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 1_500, 3_500).await;
    c.fault("SIGSTOP all");
    for slot in 0..c.founders {
        c.freeze(slot);
    }
    c.rest_between(rng, 500, 3_000).await;
    for slot in 0..c.founders {
        c.thaw(slot);
        c.rest_between(rng, 0, 700).await;
    }
}
