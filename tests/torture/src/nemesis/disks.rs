//! Disks that are full or hang.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, End};
use crate::random::Rng;

/// The exit code of a node whose disk refuses.
const STORAGE_FAILED: i32 = 10;

pub async fn full(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 1_500, 3_000).await;
    let victim = rng.index(c.founders);
    c.fault(format!("disk of {victim} full"));
    c.slots[victim].damaged = Some("a full disk".into());
    c.fill_disk(victim);
    let leads = c.leader().await == Some(victim);
    let end = c.wait_exit(victim, Duration::from_secs(12)).await;
    c.ended(format!("disk-full:{end:?}{}", if leads { ":leader" } else { "" }));
    c.say(format!("disk full: slot {victim}: {end:?}"));
    c.rest_between(rng, 100, 400).await;
    if rng.chance(40) && end == End::Code(STORAGE_FAILED) && c.slots[victim].child.is_none() {
        // Started again while still full.
        c.start(victim);
        let end = c.wait_exit(victim, Duration::from_secs(4)).await;
        c.ended(format!("start-on-full:{end:?}"));
    }
    c.free_disk(victim);
    c.say("disk free again");
    if c.slots[victim].child.is_none() {
        c.start(victim);
    }
    c.rest_between(rng, 1_000, 2_500).await;
    c.slots[victim].damaged = None;
}

pub async fn all_full(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 2_000, 3_500).await;
    c.fault("all disks full");
    for slot in 0..c.founders {
        c.slots[slot].damaged = Some("a full disk".into());
        c.fill_disk(slot);
    }
    c.say("filled");
    let patience = Instant::now() + Duration::from_secs(5);
    let mut running: Vec<usize> = (0..c.founders).collect();
    while Instant::now() < patience && running.len() > 1 {
        for slot in running.clone() {
            let end = c.wait_exit(slot, Duration::from_millis(30)).await;
            if end != End::StillRunning {
                c.ended(format!("disk-full-all:{end:?}"));
                running.retain(|s| *s != slot);
            }
        }
    }
    c.say(format!("still running: {running:?}"));
    for slot in 0..c.founders {
        c.free_disk(slot);
    }
    c.fault("disks free again");
    for slot in 0..c.founders {
        if c.slots[slot].child.is_none() {
            c.start(slot);
        }
    }
    c.rest(2_000).await;
    for slot in 0..c.founders {
        c.slots[slot].damaged = None;
    }
}

pub async fn stall(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 1_500, 3_000).await;
    let slot = c.mostly_leader(rng, 60).await;
    let leads = c.leader().await == Some(slot);
    c.fault(format!("the disk of {slot}{} stalls", if leads { ", which leads," } else { "" }));
    c.stall_disk(slot, true);
    c.rest_between(rng, 500, 6_000).await;
    c.stall_disk(slot, false);
    c.say("the disk goes on");
}
