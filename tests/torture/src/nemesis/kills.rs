//! Processes that die, and orderly stops.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, End};
use crate::random::Rng;

pub async fn leader(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 1_500, 3_500).await;
    let slot = c.leader_or_any(rng).await;
    c.fault(format!("kill -9 leader {slot}"));
    c.kill(slot);
    c.rest_between(rng, 10, 2_500).await;
    c.start(slot);
}

pub async fn follower(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 800, 2_500).await;
    let slot = c.follower(rng).await;
    c.fault(format!("kill -9 follower {slot}"));
    c.kill(slot);
    c.rest_between(rng, 10, 2_500).await;
    c.start(slot);
}

pub async fn all(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 2_000, 4_500).await;
    c.fault("kill -9 all");
    for slot in 0..c.founders {
        c.signal(slot, libc::SIGKILL);
    }
    for slot in 0..c.founders {
        c.kill(slot);
    }
    c.rest_between(rng, 0, 600).await;
    for slot in 0..c.founders {
        c.start(slot);
        c.rest_between(rng, 0, 300).await;
    }
}

pub async fn two(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 1_500, 3_500).await;
    let a = c.leader_or_any(rng).await;
    let b = c.follower(rng).await;
    c.fault(format!("kill -9 {a} and {b}"));
    c.kill(a);
    c.kill(b);
    c.rest_between(rng, 10, 2_500).await;
    c.start(a);
    c.rest_between(rng, 0, 800).await;
    if c.slots[b].child.is_none() {
        c.start(b);
    }
}

/// Hardly ever a quorum, and elections that die half way.
pub async fn storm(c: &mut Cluster, rng: &mut Rng) {
    let end = Instant::now() + Duration::from_millis(rng.between(2_000, 5_000));
    c.fault("a storm of kills");
    while Instant::now() < end {
        let slot = rng.index(c.founders);
        let slot = if rng.chance(30) { c.leader().await.unwrap_or(slot) } else { slot };
        c.kill(slot);
        c.rest_between(rng, 0, 60).await;
        if c.slots[slot].child.is_none() {
            c.start(slot);
        }
        c.rest_between(rng, 20, 700).await;
    }
    c.fault("the storm is over");
    c.rest(2_500).await;
}

pub async fn terminate(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 1_000, 3_000).await;
    let slot = c.mostly_leader(rng, 60).await;
    c.fault(format!("SIGTERM {slot}"));
    let begun = Instant::now();
    let end = c.stop(slot).await;
    c.ended(format!("stop:{end:?}:{}ms", begun.elapsed().as_millis()));
    if end != End::Code(0) {
        let tail = c.log_tail(slot, 4);
        c.surprise(format!("SIGTERM of slot {slot} ended with {end:?}: {tail}"));
    }
    c.rest_between(rng, 0, 800).await;
    c.start(slot);
}
