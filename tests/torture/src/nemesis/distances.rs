//! Distances and outages, measured: what a run of these prints is a table, not only a verdict.

use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::network::Link;
use crate::random::Rng;

const OUTAGES_S: [u64; 4] = [3, 8, 20, 40];
const ONE_WAY_MS: [u64; 8] = [5, 20, 35, 45, 55, 75, 110, 125];
/// How long a distance stays.
const DISTANCE_MS: u64 = 9_000;
const PATIENCE: Duration = Duration::from_secs(90);

/// A constant distance between the nodes, without loss or reordering.
pub async fn round_trips(c: &mut Cluster, _: &mut Rng) {
    let network = c.network.clone().expect("a switch");
    for one_way_ms in ONE_WAY_MS {
        network.set_all(c.founders, Link::slow(one_way_ms * 1_000, 0));
        c.fault(format!("round trip {} ms", one_way_ms * 2));
        c.rest(DISTANCE_MS).await;
    }
    network.heal();
    c.fault("healed");
    c.rest(3_000).await;
}

/// No node reaches another: a switch is out. How long after it is back?
pub async fn blackout(c: &mut Cluster, _: &mut Rng) {
    let network = c.network.clone().expect("a switch");
    for seconds in OUTAGES_S {
        for slot in 0..c.founders {
            network.isolate(slot, c.founders);
        }
        c.say(format!("blackout of {seconds} s"));
        c.rest(seconds * 1_000).await;
        network.heal();
        c.fault(format!("healed after a blackout of {seconds} s"));
        let begun = Instant::now();
        let before = c.world.last_revision();
        while c.world.last_revision() <= before && begun.elapsed() < PATIENCE {
            c.rest(50).await;
        }
        let ms = begun.elapsed().as_millis();
        c.ended(format!("blackout {seconds}s, writes again after:{ms}ms"));
        c.rest(6_000).await;
    }
}

/// One follower is not reached. How long after the cut until it has caught up?
pub async fn cut_off(c: &mut Cluster, rng: &mut Rng) {
    let network = c.network.clone().expect("a switch");
    for seconds in OUTAGES_S {
        let slot = c.follower(rng).await;
        network.isolate(slot, c.founders);
        c.fault(format!("follower {slot} cut off for {seconds} s"));
        c.rest(seconds * 1_000).await;
        let want = c.statuses().await.iter().map(|(_, s)| s.applied_index).max().unwrap_or(0);
        network.heal();
        c.say("healed");
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let statuses = c.statuses().await;
            if statuses.iter().any(|(s, status)| *s == slot && status.applied_index >= want) {
                break;
            }
            c.rest(50).await;
        }
        let ms = begun.elapsed().as_millis();
        c.ended(format!("cutoff {seconds}s, caught up after:{ms}ms"));
        c.rest(4_000).await;
    }
}
