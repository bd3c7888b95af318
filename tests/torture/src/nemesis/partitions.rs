//! Partitions of every shape.

use crate::cluster::Cluster;
use crate::network::BLOCK;
use crate::random::Rng;

/// Heals the network and says so.
fn heal(c: &mut Cluster) {
    c.network.as_ref().expect("a switch").heal();
    c.say("healed");
}

/// Cuts each of one side from each of the other.
fn split(c: &Cluster, one: &[usize], other: &[usize]) {
    let network = c.network.as_ref().expect("a switch");
    for a in one {
        for b in other {
            network.cut(*a, *b);
        }
    }
}

/// One node cut off, sometimes from the clients as well.
pub async fn isolate(c: &mut Cluster, rng: &mut Rng, leader_percent: u64) {
    c.rest_between(rng, 1_500, 3_000).await;
    let slot = c.mostly_leader(rng, leader_percent).await;
    let clients_too = rng.chance(30);
    let too = if clients_too { " from clients too" } else { "" };
    c.fault(format!("isolate {slot}{too}"));
    let nodes = c.founders + usize::from(clients_too);
    c.network.as_ref().expect("a switch").isolate(slot, nodes);
    c.rest_between(rng, 500, 5_000).await;
    heal(c);
}

pub async fn halves(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 1_500, 3_000).await;
    let mut order: Vec<usize> = (0..c.founders).collect();
    rng.shuffle(&mut order);
    let (small, large) = order.split_at(order.len() / 2);
    c.fault(format!("partition {small:?} | {large:?}"));
    split(c, small, large);
    c.rest_between(rng, 800, 5_000).await;
    heal(c);
}

pub async fn one_way(c: &mut Cluster, rng: &mut Rng, inward: bool) {
    c.rest_between(rng, 1_500, 3_000).await;
    let slot = c.mostly_leader(rng, 70).await;
    c.fault(format!("{slot} {}", if inward { "hears nothing" } else { "is not heard" }));
    let network = c.network.as_ref().expect("a switch");
    for other in (0..c.founders).filter(|other| *other != slot) {
        let (from, to) = if inward { (other, slot) } else { (slot, other) };
        network.set(from, to, BLOCK);
    }
    c.rest_between(rng, 800, 6_000).await;
    heal(c);
}

pub async fn one_link(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 1_500, 3_000).await;
    let a = c.leader_or_any(rng).await;
    let b = (a + 1 + rng.index(c.founders - 1)) % c.founders;
    c.fault(format!("cut the link of leader {a} and {b}"));
    split(c, &[a], &[b]);
    c.rest_between(rng, 1_000, 7_000).await;
    heal(c);
}

pub async fn bridge(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 1_500, 3_000).await;
    let middle = c.mostly_leader(rng, 50).await;
    let rest: Vec<usize> = (0..c.founders).filter(|slot| *slot != middle).collect();
    let (left, right) = rest.split_at(rest.len() / 2);
    c.fault(format!("bridge {left:?} - {middle} - {right:?}"));
    split(c, left, right);
    c.rest_between(rng, 1_500, 6_000).await;
    heal(c);
}

/// Each sees its two neighbours and itself: a majority, another for each.
pub async fn ring(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 1_500, 3_000).await;
    c.fault("majorities ring");
    let nodes = c.founders;
    for a in 0..nodes {
        for b in 0..a {
            if (a - b).min(nodes - (a - b)) > 1 {
                split(c, &[a], &[b]);
            }
        }
    }
    c.rest_between(rng, 1_500, 6_000).await;
    heal(c);
}
