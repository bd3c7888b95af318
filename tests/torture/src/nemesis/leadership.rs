//! Leadership that moves, also to those who cannot take it.

use std::time::{Duration, Instant};

use chainfire::types::ClusterRequest;

use super::operator::first_words;
use crate::cluster::Cluster;
use crate::random::{Rng, Stream};

/// A stream of its own, beside those of the strikes.
const MOVER: u64 = u64::MAX;

pub async fn hand_over(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 200, 900).await;
    let named = rng.chance(70);
    let target = rng.index(c.founders);
    let to = named.then(|| format!("n{target}"));
    c.fault(format!("move-leader {to:?}"));
    let client = c.client_of_all(5_000, 2_000, true);
    match client.change_members(ClusterRequest::MoveLeader { to }).await {
        Ok(_) => c.ended("move:ok"),
        Err(error) => {
            c.say(format!("move-leader: {error}"));
            c.ended(format!("move:{}", first_words(&error)));
        }
    }
}

pub async fn to_who_cannot(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 1_500, 2_500).await;
    let leader = c.leader_or_any(rng).await;
    let target = (leader + 1 + rng.index(c.founders - 1)) % c.founders;
    let dead = rng.chance(40);
    if dead {
        c.kill(target)
    } else {
        c.freeze(target)
    }
    if rng.chance(50) {
        c.rest_between(rng, 100, 1_500).await;
    }
    let state = if dead { "dead" } else { "frozen" };
    c.fault(format!("move-leader to {target}, which is {state}"));
    let client = c.client(&[leader], 6_000, 6_000, false);
    let asked = Instant::now();
    let to = Some(c.slots[target].name.clone());
    let result = client.change_members(ClusterRequest::MoveLeader { to }).await;
    let text = match &result {
        Ok(answer) => format!("done: {answer}"),
        Err(error) => first_words(error),
    };
    let ms = asked.elapsed().as_millis();
    c.say(format!("move-leader answered after {ms} ms: {text}"));
    c.ended(format!("move-frozen:{}:{ms}ms", text.replace(':', "")));
    c.rest_between(rng, 1_500, 3_500).await;
    if dead { c.start(target) } else { c.thaw(target) }
}

pub async fn demote(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 300, 1_500).await;
    let client = c.client_of_all(8_000, 3_000, true);
    let slot = rng.index(c.founders);
    let node = c.slots[slot].name.clone();
    c.fault(format!("demote {node}"));
    let request = ClusterRequest::Demote { node: node.clone(), force: false };
    let result = client.change_members(request).await;
    c.ended(format!("demote:{}", result.map_or_else(|e| first_words(&e), |_| "ok".into())));
    c.rest_between(rng, 0, 800).await;
    for _ in 0..40 {
        let request = ClusterRequest::Promote { node: node.clone(), force: false };
        match client.change_members(request).await {
            Ok(_) => return c.ended("promote:ok"),
            Err(error) => c.ended(format!("promote:{}", first_words(&error))),
        }
        c.rest(150).await;
    }
}

/// Moves leadership beside everything else until the time is over.
pub fn move_all_the_time(c: &Cluster, seed: u64, until: Instant) {
    let client = c.client_of_all(2_000, 800, false);
    let mut rng = Rng::stream(seed, Stream::Strikes, MOVER);
    tokio::spawn(async move {
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(rng.between(150, 1_200))).await;
            // Refused or not: the next one comes.
            let _ = client.change_members(ClusterRequest::MoveLeader { to: None }).await;
        }
    });
}
