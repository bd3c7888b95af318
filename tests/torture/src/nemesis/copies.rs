//! Directories that are put back older, and copies that run beside the original.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::operator::{await_recovery, replace_machine, start_damaged};
use crate::cluster::{Cluster, End};
use crate::random::Rng;
use crate::system::shell;

fn copy(c: &mut Cluster, from: &Path, to: &Path) {
    let (from, to) = (from.display(), to.display());
    if let Err(error) = shell(&format!("rm -rf {to} && cp -a --sparse=always {from} {to}")) {
        c.surprise(error);
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}.{suffix}", path.display()))
}

/// A stopped node's directory goes back to what it was a few seconds ago. In some order of starts:
/// the node may come back beside all others, after one that was away, or before it.
pub async fn put_back(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 500, 1_500).await;
    let slot = rng.index(c.founders);
    c.say(format!("slot {slot} stops and is copied"));
    c.stop(slot).await;
    let dir = c.slots[slot].dir.clone();
    let old = beside(&dir, "old");
    copy(c, &dir, &old);
    c.start(slot);
    c.rest_between(rng, 1_500, 4_000).await;
    c.kill(slot);
    copy(c, &old, &dir);
    let other = (slot + 1 + rng.index(c.founders - 1)) % c.founders;
    let order = rng.below(3);
    c.fault(format!("slot {slot} is put back older; order {order}, other {other}"));
    c.slots[slot].damaged = Some(format!("put back older in order {order}"));
    c.slots[slot].refusals = 0;
    match order {
        // All others are there.
        0 => {
            start_damaged(c, rng, slot).await;
        }
        // One that knows better is away at first: at most the other two go on, and if they may
        // not the cluster waits for it.
        1 => {
            c.kill(other);
            c.start(slot);
            c.rest_between(rng, 1_000, 3_000).await;
            c.start(other);
            await_recovery(c, rng, slot).await;
        }
        // All start at once.
        _ => {
            for node in 0..c.founders {
                c.kill(node);
            }
            let mut starts: Vec<usize> = (0..c.founders).collect();
            rng.shuffle(&mut starts);
            for node in starts {
                c.start(node);
                c.rest_between(rng, 0, 400).await;
            }
            await_recovery(c, rng, slot).await;
        }
    }
    let _ = std::fs::remove_dir_all(&old);
}

/// A copy of a stopped node starts in the spare slot, with other addresses; the original before it
/// or after it, or frozen meanwhile. They must not both go on.
pub async fn beside_original(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 500, 1_500).await;
    let slot = rng.index(c.founders);
    let spare = c.founders;
    c.say(format!("slot {slot} stops and is copied"));
    c.stop(slot).await;
    let (dir, place) = (c.slots[slot].dir.clone(), c.slots[spare].dir.clone());
    copy(c, &dir, &place);
    c.slots[spare].name = c.slots[slot].name.clone();
    // Whoever starts a copy gives it other addresses; the list of founders would refuse those.
    let contacts: Vec<String> = (0..c.founders).map(|other| c.client_addr(other)).collect();
    c.slots[spare].join = Some(vec!["--join".to_owned(), contacts.join(",")]);
    let order = rng.below(3);
    c.fault(format!("a copy of {slot} beside it in order {order}"));
    for node in [slot, spare] {
        c.slots[node].damaged = Some(format!("copied, in order {order}"));
        c.slots[node].refusals = 0;
    }
    match order {
        0 => {
            c.start(slot);
            c.rest_between(rng, 0, 1_500).await;
            c.start(spare);
        }
        1 => {
            c.start(spare);
            c.rest_between(rng, 0, 1_500).await;
            c.start(slot);
        }
        _ => {
            c.start(slot);
            c.rest_between(rng, 500, 1_500).await;
            c.freeze(slot);
            c.start(spare);
            c.rest_between(rng, 1_000, 3_000).await;
            c.thaw(slot);
        }
    }
    let both_run = one_gives_way(c, slot, spare).await;
    if both_run {
        c.surprise(format!("slot {slot} and its copy both go on (order {order})"));
    }
    c.kill(spare);
    c.slots[spare].wanted = false;
    c.slots[spare].damaged = None;
    let _ = std::fs::remove_dir_all(&place);
    // The copy took over: the original is not what it says any more.
    if c.slots[slot].refusals > 0 {
        replace_machine(c, slot).await;
    }
    c.slots[slot].damaged = None;
    c.rest(1_000).await;
}

/// Waits until one of two refused twice, or is known as no member; whether none did.
async fn one_gives_way(c: &mut Cluster, a: usize, b: usize) -> bool {
    for _ in 0..100 {
        c.rest(100).await;
        for slot in [a, b] {
            if c.slots[slot].refusals >= 2 {
                return false;
            }
        }
    }
    // It may have ended in this moment.
    let ended = c.wait_exit(b, Duration::from_millis(20)).await;
    ended == End::StillRunning
}
