//! An acknowledged write whose only witness is away.

use super::damage::{BLOCK_BYTES, flip_bit, newest_blocks};
use super::operator::await_recovery;
use crate::cluster::Cluster;
use crate::random::Rng;

/// One follower is dead while the leader and the other acknowledge; both die, the last blocks of
/// the other's journal rot, and it starts beside the one that was away. The two may elect nobody:
/// only the leader has what was acknowledged. Then the leader returns, and all go on.
pub async fn lost(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 800, 2_000).await;
    let leader = c.leader_or_any(rng).await;
    let first = (leader + 1 + rng.index(c.founders - 1)) % c.founders;
    let other = (0..c.founders).find(|slot| *slot != leader && *slot != first).expect("three");
    c.fault(format!("slot {first} is away"));
    c.kill(first);
    c.rest_between(rng, 1_000, 2_000).await;
    c.fault(format!("leader {leader} and {other} die; the last blocks of {other} rot"));
    c.kill(leader);
    c.kill(other);
    c.slots[other].damaged = Some("its journal's last records rotted".into());
    c.slots[other].refusals = 0;
    let blocks = rng.between(4, 40) as usize;
    for (path, block) in newest_blocks(&c.slots[other].dir.clone()).into_iter().take(blocks) {
        if let Err(error) = flip_bit(&path, block * BLOCK_BYTES + BLOCK_BYTES / 4, 3) {
            c.surprise(format!("{}: {error}", path.display()));
        }
    }
    c.start(other);
    c.start(first);
    c.rest(4_000).await;
    c.say(format!("slot {leader} returns"));
    c.start(leader);
    await_recovery(c, rng, other).await;
}
