//! Links that are lossy, slow, flapping or stuck.

use crate::cluster::Cluster;
use crate::network::{BLOCK, Link, STUCK_OF};
use crate::random::Rng;

fn heal(c: &Cluster) {
    c.network.as_ref().expect("a switch").heal();
}

pub async fn flap(c: &mut Cluster, rng: &mut Rng) {
    let slot = c.mostly_leader(rng, 60).await;
    c.fault(format!("flapping {slot}"));
    for _ in 0..rng.between(4, 12) {
        c.network.as_ref().expect("a switch").isolate(slot, c.founders);
        c.rest_between(rng, 50, 900).await;
        heal(c);
        c.rest_between(rng, 50, 600).await;
    }
    c.say("flapping ended");
    c.rest(1_500).await;
}

/// One direction of one link comes and goes; the other is fine.
pub async fn flap_one_way(c: &mut Cluster, rng: &mut Rng) {
    let leader = c.leader_or_any(rng).await;
    let other = (leader + 1 + rng.index(c.founders - 1)) % c.founders;
    let (from, to) = if rng.chance(50) { (leader, other) } else { (other, leader) };
    c.fault(format!("flapping {from} -> {to}"));
    for _ in 0..rng.between(6, 16) {
        c.network.as_ref().expect("a switch").set(from, to, BLOCK);
        c.rest_between(rng, 30, 900).await;
        heal(c);
        c.rest_between(rng, 20, 400).await;
    }
    c.say("flapping ended");
    c.rest(1_500).await;
}

/// Of the connections of two nodes about a third hang: heartbeats may pass and appends not, or
/// the other way round. In one direction, or in both.
pub async fn stuck_lane(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 800, 2_000).await;
    let leader = c.leader_or_any(rng).await;
    let stuck = rng.below(u64::from(STUCK_OF)) as u16;
    let link = Link { stuck: Some(stuck), ..Link::default() };
    let both_ways = rng.chance(50);
    let everyone = rng.chance(40);
    let chosen = (leader + 1 + rng.index(c.founders - 1)) % c.founders;
    c.fault(format!("lanes {stuck} of {leader} stuck, both ways {both_ways}, all {everyone}"));
    let network = c.network.as_ref().expect("a switch");
    for other in (0..c.founders).filter(|o| *o != leader && (everyone || *o == chosen)) {
        network.set(leader, other, link);
        if both_ways {
            network.set(other, leader, link);
        }
    }
    c.rest_between(rng, 1_500, 7_000).await;
    heal(c);
    c.say("healed");
}

pub async fn loss(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 500, 1_500).await;
    let loss = rng.between(20, 250) as u32;
    let duplicate = rng.below(50) as u32;
    everywhere(c, rng, Link { loss, duplicate, ..Link::default() }).await;
}

pub async fn delay(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 500, 1_500).await;
    let slow = Link::slow(rng.between(5_000, 80_000), rng.between(0, 60_000));
    let duplicate = rng.below(30) as u32;
    everywhere(c, rng, Link { duplicate, ..slow }).await;
}

async fn everywhere(c: &mut Cluster, rng: &mut Rng, link: Link) {
    c.fault(format!("{link:?} everywhere"));
    c.network.as_ref().expect("a switch").set_all(c.founders, link);
    c.rest_between(rng, 2_500, 6_000).await;
    heal(c);
    c.say("healed");
}

pub async fn slow_leader(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 500, 1_500).await;
    let link = Link::slow(rng.between(150_000, 450_000), 50_000);
    let slot = c.leader_or_any(rng).await;
    c.fault(format!("{link:?} at {slot}"));
    let network = c.network.as_ref().expect("a switch");
    for other in (0..c.founders).filter(|other| *other != slot) {
        network.set_both(slot, other, link);
    }
    c.rest_between(rng, 2_500, 6_000).await;
    heal(c);
    c.say("healed");
}
