//! Kills, freezes and cuts on top of each other.

use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::network::{BLOCK, Link};
use crate::random::Rng;

pub async fn strike(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 200, 1_200).await;
    let network = c.network.clone().expect("a switch");
    let nodes = c.founders;
    match rng.below(9) {
        0 => {
            let slot = c.any(rng);
            c.fault(format!("kill -9 {slot}"));
            c.kill(slot);
            // It is started again by whoever looks, this long after its time.
            let later = Duration::from_millis(rng.below(1_500));
            c.slots[slot].down_since = Some(Instant::now() + later);
        }
        1 => {
            let slot = c.leader_or_any(rng).await;
            c.fault(format!("freeze {slot}"));
            c.freeze(slot);
        }
        2 => thaw_all(c),
        3 | 4 => {
            let (a, b) = (rng.index(nodes), rng.index(nodes));
            let both = rng.chance(50);
            if a != b {
                c.fault(format!("cut {a} -> {b}, both ways {both}"));
                network.set(a, b, BLOCK);
                if both {
                    network.set(b, a, BLOCK);
                }
            }
        }
        5 => {
            let slot = c.leader_or_any(rng).await;
            c.fault(format!("isolate {slot}"));
            network.isolate(slot, nodes);
        }
        6 => {
            let slow = Link::slow(rng.below(20_000), 20_000);
            let link = Link { loss: 50, duplicate: 20, ..slow };
            c.fault(format!("{link:?}"));
            network.set_all(nodes, link);
        }
        _ => {
            network.heal();
            thaw_all(c);
            c.say("healed");
            c.rest_between(rng, 500, 1_500).await;
        }
    }
}

fn thaw_all(c: &mut Cluster) {
    for slot in 0..c.founders {
        if c.slots[slot].frozen {
            c.thaw(slot);
        }
    }
}
