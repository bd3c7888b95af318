//! Power cuts: what was not synced is lost.

use crate::cluster::{Cluster, Disk, Loss};
use crate::random::Rng;

fn loss(rng: &mut Rng) -> Loss {
    if rng.chance(40) { Loss::All } else { Loss::Some }
}

pub async fn cut(c: &mut Cluster, rng: &mut Rng, all: bool) {
    c.rest_between(rng, 1_500, 4_000).await;
    let one = c.any(rng);
    let victims: Vec<usize> = if all { (0..c.founders).collect() } else { vec![one] };
    let loss = loss(rng);
    c.fault(format!("power cut at {victims:?}, {loss:?}"));
    c.power_cut(&victims, loss);
    c.rest_between(rng, 0, 300).await;
    for slot in victims {
        c.start(slot);
        c.rest_between(rng, 0, 200).await;
    }
}

pub async fn amid_snapshot(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 300, 1_200).await;
    let slot = c.follower(rng).await;
    c.fault(format!("SIGSTOP {slot}, to fall behind"));
    c.freeze(slot);
    c.rest_between(rng, 2_000, 4_000).await;
    c.thaw(slot);
    c.rest_between(rng, 10, 1_000).await;
    let victims: Vec<usize> = if rng.chance(50) { vec![slot] } else { (0..c.founders).collect() };
    let loss = loss(rng);
    c.fault(format!("power cut at {victims:?} amid the snapshot, {loss:?}"));
    c.power_cut(&victims, loss);
    for slot in victims {
        c.start(slot);
    }
    c.rest(1_000).await;
}

/// One node's disk says "synced" before anything is safe, and loses its power. The node may refuse
/// by name or heal itself; no client may notice.
pub async fn liar(c: &mut Cluster, rng: &mut Rng) {
    let slot = rng.index(c.founders);
    c.say(format!("the disk of {slot} begins to lie"));
    c.stop(slot).await;
    c.forget_notes(slot);
    c.slots[slot].disk = Disk::Lying;
    c.start(slot);
    c.rest_between(rng, 2_000, 5_000).await;
    let loss = loss(rng);
    c.fault(format!("power cut at {slot}, whose disk lies, {loss:?}"));
    c.slots[slot].damaged = Some("a disk that lied".into());
    c.power_cut(&[slot], loss);
    c.slots[slot].disk = Disk::Noted;
    super::operator::start_damaged(c, rng, slot).await;
}
