//! What an operator does: start what was damaged, and put a new machine in the place of one that
//! refuses to start.

use std::fs;
use std::time::{Duration, Instant};

use chainfire::client::Error;
use chainfire::types::{ClusterRequest, MemberRole};

use crate::cluster::Cluster;
use crate::random::Rng;

/// A damaged node has this long to serve again or to refuse.
const PATIENCE: Duration = Duration::from_secs(20);
/// After so many refusals the operator believes it.
const REFUSALS_MAX: u32 = 2;

/// An error in few words, without numbers, to be counted.
pub fn first_words(error: &Error) -> String {
    error.to_string().chars().filter(|c| !c.is_ascii_digit()).take(60).collect()
}

/// How a damaged node went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// It serves again, without anybody's help.
    Healed,
    /// It refused by name; a new machine took its place.
    Replaced,
}

/// Starts a node that was damaged. It may refuse by name, and then is replaced; or it serves again
/// and has caught up. Anything else is a surprise.
pub async fn start_damaged(c: &mut Cluster, rng: &mut Rng, slot: usize) -> Recovery {
    c.slots[slot].refusals = 0;
    if c.slots[slot].child.is_none() {
        c.start(slot);
    }
    await_recovery(c, rng, slot).await
}

/// Waits for what becomes of a damaged node.
pub async fn await_recovery(c: &mut Cluster, rng: &mut Rng, slot: usize) -> Recovery {
    let what = c.slots[slot].damaged.clone().unwrap_or_default();
    let begun = Instant::now();
    // What others have applied now it must have then.
    let want = c.statuses().await.iter().map(|(_, s)| s.applied_index).max().unwrap_or(0);
    let mut recovery = None;
    while begun.elapsed() < PATIENCE && recovery.is_none() {
        if c.slots[slot].refusals >= REFUSALS_MAX {
            recovery = Some(Recovery::Replaced);
        } else if caught_up(c, slot, want).await {
            recovery = Some(Recovery::Healed);
        } else {
            c.rest(100).await;
        }
    }
    let ms = begun.elapsed().as_millis();
    let recovery = recovery.unwrap_or_else(|| {
        let tail = c.log_tail(slot, 4);
        c.surprise(format!("slot {slot} after {what}: neither serves nor refuses: {tail}"));
        Recovery::Replaced
    });
    c.ended(format!("after {}:{recovery:?}:{ms}ms", kind_of(&what)));
    c.say(format!("slot {slot} after {what}: {recovery:?}"));
    if recovery == Recovery::Replaced {
        replace_machine(c, slot).await;
    }
    // What it does next has no excuse. Let it be seen doing something first.
    c.rest_between(rng, 1_000, 2_500).await;
    c.slots[slot].damaged = None;
    recovery
}

/// The first words of what was done, to be counted.
fn kind_of(what: &str) -> String {
    what.split_whitespace().take(4).collect::<Vec<_>>().join(" ")
}

async fn caught_up(c: &Cluster, slot: usize, want: u64) -> bool {
    let statuses = c.statuses().await;
    statuses
        .iter()
        .any(|(s, status)| *s == slot && status.applied_index >= want && status.leader_id.is_some())
}

/// Takes the member in a slot out of the cluster, and puts a machine of a new name there.
pub async fn replace_machine(c: &mut Cluster, slot: usize) {
    c.kill(slot);
    c.slots[slot].wanted = false;
    c.slots[slot].down_since = None;
    let old = c.slots[slot].name.clone();
    let client = c.client_of_all(20_000, 5_000, true);
    let begun = Instant::now();
    loop {
        let request = ClusterRequest::Remove { node: old.clone(), force: true };
        let result = client.change_members(request).await;
        let gone = client.members().await.is_ok_and(|m| m.iter().all(|m| m.name != old));
        if gone {
            break;
        }
        if begun.elapsed() > Duration::from_secs(30) {
            let text = format!("{old} could not be removed: {result:?}");
            return c.surprise(text);
        }
        c.rest(300).await;
    }
    join_anew(c, slot, false, None);
    let name = c.slots[slot].name.clone();
    while begun.elapsed() < Duration::from_secs(70) {
        if has_role(c, &name, MemberRole::Voter).await {
            c.ended(format!("replaced:{}ms", begun.elapsed().as_millis()));
            return;
        }
        c.rest(100).await;
    }
    let tail = c.log_tail(slot, 3);
    c.surprise(format!("join of {name} in place of {old} took more than 40 s: {tail}"));
}

pub async fn has_role(c: &Cluster, name: &str, role: MemberRole) -> bool {
    let client = c.admin.clone().unwrap_or_else(|| c.client_of_all(2_000, 800, true));
    let members = client.members().await;
    members.is_ok_and(|members| members.iter().any(|m| m.name == name && m.role == role))
}

/// Starts a new machine in an empty slot: a directory of its own, a name of its own unless one is
/// given.
pub fn join_anew(c: &mut Cluster, slot: usize, learner: bool, name: Option<String>) {
    let contacts: Vec<String> = (0..c.slots.len())
        .filter(|other| *other != slot && c.slots[*other].wanted)
        .map(|other| c.client_addr(other))
        .collect();
    let place = &mut c.slots[slot];
    place.generation += 1;
    let new = format!("n{slot}g{}", place.generation);
    // A disk is small: the old machine's directory goes with it.
    let _ = fs::remove_dir_all(&place.dir);
    place.dir.set_file_name(&new);
    place.log.set_file_name(format!("{new}.log"));
    place.name = name.unwrap_or(new);
    let mut join = vec!["--join".to_owned(), contacts.join(",")];
    if learner {
        join.push("--learner".into());
    }
    place.join = Some(join);
    c.forget_notes(slot);
    c.start(slot);
}
