//! Clocks that are wrong, run at another rate, or jump.

use crate::cluster::Cluster;
use crate::random::Rng;

const NEAR_S: [i64; 8] = [1, -1, 5, -5, 60, -60, 400, -400];
const FAR_S: [i64; 6] = [3_000, -3_000, 7_300, -7_300, 90_000, -90_000];
/// Rates far beyond what a clock does, so that a short run shows what a month would.
const RATES: [f64; 6] = [0.5, 0.7, 0.9, 1.1, 1.5, 2.0];
/// From a long pause to two hours.
const JUMPS_MS: [u64; 5] = [900, 5_000, 60_000, 1_800_000, 7_200_000];

/// Wall clocks apart; `far` = one at a time, by hours.
pub async fn wall(c: &mut Cluster, rng: &mut Rng, far: bool) {
    c.rest_between(rng, 1_000, 3_000).await;
    let slot = c.mostly_leader(rng, 50).await;
    let by = if far { *rng.one_of(&FAR_S) } else { *rng.one_of(&NEAR_S) };
    let right = rng.chance(if far { 50 } else { 20 });
    let by = if right { 0 } else { by };
    if far {
        for other in 0..c.founders {
            c.set_wall_offset(other, 0);
        }
    }
    c.fault(format!("clock of {slot} to {by:+} s"));
    c.set_wall_offset(slot, by);
    if rng.chance(15) {
        c.kill(slot);
        c.rest(200).await;
        c.start(slot);
    }
}

/// Every node has a rate of its own; sometimes one dies, so that another's clock counts.
pub async fn rate(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 800, 2_500).await;
    let rates: Vec<f64> =
        (0..c.founders).map(|_| if rng.chance(30) { 1.0 } else { *rng.one_of(&RATES) }).collect();
    c.fault(format!("clocks run at {rates:?}"));
    for (slot, rate) in rates.into_iter().enumerate() {
        c.set_clock_rate(slot, rate);
    }
    c.rest_between(rng, 1_500, 4_000).await;
    if rng.chance(50) {
        let slot = c.leader_or_any(rng).await;
        c.fault(format!("kill -9 leader {slot}"));
        c.kill(slot);
        c.rest_between(rng, 10, 1_500).await;
        c.start(slot);
    }
}

/// All clocks of a node go on from later: a machine that slept, or one that was frozen and does
/// not know.
pub async fn jump(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 1_000, 2_500).await;
    let slot = c.mostly_leader(rng, 60).await;
    let ms = *rng.one_of(&JUMPS_MS);
    let frozen = rng.chance(40);
    let everyone = rng.chance(25);
    c.fault(format!("clocks of {slot} jump {ms} ms, frozen {frozen}, all {everyone}"));
    let slots = if everyone { (0..c.founders).collect() } else { vec![slot] };
    for slot in &slots {
        if frozen {
            c.freeze(*slot);
        }
        c.jump_clock(*slot, ms);
    }
    if frozen {
        c.rest_between(rng, 200, 2_500).await;
        for slot in slots {
            c.thaw(slot);
        }
    }
}
