//! Members that come and go while others die.

use std::time::{Duration, Instant};

use chainfire::Client;
use chainfire::types::{ClusterRequest, MemberRole};

use super::operator::{has_role, join_anew};
use super::snapshots::compact_to;
use crate::cluster::{Cluster, Disk, End, Loss};
use crate::random::Rng;

const JOIN_MAX: Duration = Duration::from_secs(40);
const LEAVE_ATTEMPTS: u32 = 40;
/// The exit code of a node that was removed.
const REMOVED: End = End::Code(13);

/// What happens amid a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upset {
    Nothing,
    /// Somebody dies.
    Kill,
    /// As `Kill`, and the new machine has a name that was there before.
    SameName,
    /// Somebody is cut off.
    Cut,
    /// The power goes, during and after it.
    Power,
    /// The newcomer dies after it, before all of its history has followed.
    History,
}

/// One member more, one less; or one in another's place.
pub async fn join_and_leave(c: &mut Cluster, rng: &mut Rng, upset: Upset) {
    c.rest_between(rng, 300, 1_000).await;
    let Some(empty) = (0..c.slots.len()).find(|slot| !c.slots[*slot].wanted) else { return };
    let replace = rng.chance(50);
    let same_name = (upset == Upset::SameName).then(|| format!("n{empty}"));
    join_anew(c, empty, replace, same_name);
    let name = c.slots[empty].name.clone();
    let why = if replace { " to replace" } else { "" };
    c.fault(format!("{name} joins in slot {empty}{why}"));
    await_join(c, rng, empty, replace, upset).await;
    match upset {
        Upset::Power => power_after_join(c, rng, empty).await,
        Upset::History => kill_before_history(c, rng, empty).await,
        _ => {}
    }
    let others: Vec<usize> =
        (0..c.slots.len()).filter(|s| *s != empty && c.slots[*s].wanted).collect();
    let leading = rng.chance(50);
    let any = *rng.one_of(&others);
    let leaving = match c.leader().await {
        Some(leader) if leader != empty && leading => leader,
        _ => any,
    };
    let successor = replace.then_some(name);
    leave(c, leaving, successor).await;
}

/// The same with a compaction after the join.
pub async fn join_and_compact(c: &mut Cluster, rng: &mut Rng) {
    join_and_leave(c, rng, Upset::History).await;
    compact_to(c, 100).await;
}

async fn await_join(c: &mut Cluster, rng: &mut Rng, slot: usize, learner: bool, upset: Upset) {
    let begun = Instant::now();
    let name = c.slots[slot].name.clone();
    let wanted = if learner { MemberRole::Learner } else { MemberRole::Voter };
    let amid = !matches!(upset, Upset::Nothing | Upset::History);
    let mut due = amid.then(|| Duration::from_millis(rng.between(0, 1_200)));
    while !has_role(c, &name, wanted).await {
        if begun.elapsed() > JOIN_MAX {
            let tail = c.log_tail(slot, 3);
            c.surprise(format!("join of {name} took more than {JOIN_MAX:?}: {tail}"));
            break;
        }
        if due.is_some_and(|due| begun.elapsed() > due) {
            due = None;
            upset_join(c, rng, slot, upset).await;
        }
        c.rest(50).await;
    }
    c.ended(format!("join:{}ms", begun.elapsed().as_millis()));
}

async fn upset_join(c: &mut Cluster, rng: &mut Rng, newcomer: usize, upset: Upset) {
    let victim = match rng.below(3) {
        0 => newcomer,
        1 => c.leader_or_any(rng).await,
        _ => c.any(rng),
    };
    match upset {
        Upset::Power => {
            let victims = if rng.chance(70) { vec![newcomer] } else { c.live() };
            cut_power(c, rng, victims, "amid the join");
        }
        Upset::Cut => {
            c.fault(format!("isolate {victim} amid the join"));
            let network = c.network.clone().expect("a switch");
            network.isolate(victim, c.slots.len());
            c.rest_between(rng, 500, 3_000).await;
            network.heal();
        }
        _ => {
            c.fault(format!("kill -9 {victim} amid the join"));
            c.kill(victim);
            c.rest_between(rng, 10, 500).await;
            c.start(victim);
        }
    }
}

fn cut_power(c: &mut Cluster, rng: &mut Rng, victims: Vec<usize>, when: &str) {
    let loss = if rng.chance(50) { Loss::All } else { Loss::Some };
    c.fault(format!("power cut at {victims:?} {when}, {loss:?}"));
    c.power_cut(&victims, loss);
    for slot in victims {
        c.start(slot);
    }
}

/// It votes from now on: what it promised must be on its disk.
async fn power_after_join(c: &mut Cluster, rng: &mut Rng, newcomer: usize) {
    c.rest_between(rng, 0, 300).await;
    let victims = if rng.chance(60) { vec![newcomer] } else { c.live() };
    debug_assert_ne!(c.slots[newcomer].disk, Disk::Plain);
    cut_power(c, rng, victims, "after the join");
    c.rest(1_500).await;
}

/// The newcomer has most of the history in a file; it dies while that follows.
async fn kill_before_history(c: &mut Cluster, rng: &mut Rng, newcomer: usize) {
    for _ in 0..rng.between(1, 3) {
        c.rest_between(rng, 20, 900).await;
        let any = c.any(rng);
        let victim = if rng.chance(75) { newcomer } else { any };
        let left = c.metric(victim, "chainfire_unsettled_versions").await;
        let some = if left.is_some_and(|n| n > 0.0) { "some" } else { "none" };
        c.ended(format!("unsettled-at-kill:{some}"));
        c.fault(format!("kill -9 {victim} with {left:?} versions that have not followed"));
        c.kill(victim);
        c.rest_between(rng, 10, 400).await;
        c.start(victim);
    }
}

/// Takes a member out, for a successor if there is one, and waits for its process's end.
async fn leave(c: &mut Cluster, slot: usize, successor: Option<String>) {
    let old = c.slots[slot].name.clone();
    let why = successor.as_ref().map_or(String::new(), |new| format!(" for {new}"));
    c.fault(format!("{old} in slot {slot} leaves{why}"));
    let request = match successor {
        Some(new) => ClusterRequest::Replace { old: old.clone(), new, force: false },
        None => ClusterRequest::Remove { node: old.clone(), force: false },
    };
    let begun = Instant::now();
    let client = c.client_of_all(20_000, 5_000, true);
    if !take_out(c, &client, &old, &request).await {
        return;
    }
    let end = c.wait_exit(slot, Duration::from_secs(15)).await;
    c.ended(format!("leave:{end:?}:{}ms", begun.elapsed().as_millis()));
    if end != REMOVED {
        let tail = c.log_tail(slot, 3);
        c.surprise(format!("{old} in slot {slot} left and ended with {end:?}: {tail}"));
        c.kill(slot);
    }
    c.slots[slot].wanted = false;
    c.slots[slot].down_since = None;
}

async fn take_out(c: &mut Cluster, client: &Client, old: &str, request: &ClusterRequest) -> bool {
    let mut last = String::new();
    for _ in 0..LEAVE_ATTEMPTS {
        match client.change_members(request.clone()).await {
            Ok(_) => return true,
            Err(error) => last = error.to_string(),
        }
        c.say(last.clone());
        if client.members().await.is_ok_and(|m| m.iter().all(|m| m.name != old)) {
            return true;
        }
        c.rest(300).await;
    }
    c.surprise(format!("{old} could not be removed: {last}"));
    false
}

/// Two join at the same time, and one dies meanwhile; then two leave.
pub async fn two(c: &mut Cluster, rng: &mut Rng) {
    c.rest_between(rng, 300, 1_000).await;
    let empty: Vec<usize> = (0..c.slots.len()).filter(|slot| !c.slots[*slot].wanted).collect();
    for slot in &empty {
        join_anew(c, *slot, false, None);
    }
    let names: Vec<String> = empty.iter().map(|slot| c.slots[*slot].name.clone()).collect();
    c.fault(format!("{names:?} join"));
    let begun = Instant::now();
    c.rest_between(rng, 0, 1_000).await;
    let victim = c.any(rng);
    c.fault(format!("kill -9 {victim} amid the joins"));
    c.kill(victim);
    c.rest_between(rng, 10, 500).await;
    c.start(victim);
    for name in &names {
        while !has_role(c, name, MemberRole::Voter).await {
            if begun.elapsed() > JOIN_MAX {
                let joins = c.client_of_all(3_000, 1_000, true).joins().await;
                return c.surprise(format!("two joins took more than {JOIN_MAX:?}: {joins:?}"));
            }
            c.rest(50).await;
        }
    }
    c.ended(format!("two-joined:{}ms", begun.elapsed().as_millis()));
    for _ in 0..2 {
        let live: Vec<usize> = (0..c.slots.len()).filter(|slot| c.slots[*slot].wanted).collect();
        let any = *rng.one_of(&live);
        let leaving = if rng.chance(40) { c.leader_or_any(rng).await } else { any };
        leave(c, leaving, None).await;
    }
}
