//! Histories that are wrong on purpose: each must be flagged, or the checks cannot fail.

use std::collections::{BTreeSet, HashSet};

use crate::check::{Replay, check};
use crate::history::{Key, Kind, NO_PROCESS, Names, Op, Outcome, Seen, Value, Workload};
use crate::random::{Rng, Stream};

/// How often each falsification is made.
const TIMES: u32 = 10;
/// Picks until one has what is wanted.
const PICKS_MAX: u32 = 2_000;

/// What was noted and what the cluster says; falsified by one of the functions below.
#[derive(Clone)]
struct Record {
    history: Vec<Op>,
    replay: Replay,
}

/// Falsifies a record; whether it found what it needs.
type Mutation = fn(&mut Record, &mut Rng) -> Option<()>;

const ALL: &[(&str, Mutation)] = &[
    ("a-read-write-is-dropped", drop_a_read_write),
    ("two-reads-change-places", swap_two_reads),
    ("a-read-is-stale", stale_read),
    ("an-applied-unknown-is-called-failed", call_unknown_failed),
    ("an-acknowledged-write-is-not-in-the-store", lose_a_write),
    ("a-write-is-applied-twice", apply_twice),
    ("two-acknowledgements-share-a-revision", share_a_revision),
    ("a-read-is-before-the-write", read_the_future),
    ("money-appears", make_money),
    ("a-node-goes-back", go_back),
    ("a-refused-compare-is-called-done", call_refused_done),
    ("a-done-compare-is-called-refused", call_done_refused),
    ("both-of-a-pair-are-set", set_both),
];

/// Makes every falsification of what was recorded; an error names those that were not flagged.
pub fn all(names: &Names, history: &[Op], replay: &Replay, seed: u64) -> Result<(), String> {
    let clean = check(names, history, replay).total();
    println!("  MUTATE baseline violations {clean}");
    let record = Record { history: history.to_vec(), replay: replay.clone() };
    let mut rng = Rng::stream(seed, Stream::Mutations, 0);
    let mut unflagged = vec![];
    for (name, mutation) in ALL {
        let (mut made, mut flagged) = (0, 0);
        let mut kinds = BTreeSet::new();
        for _ in 0..TIMES {
            let mut wrong = record.clone();
            if mutation(&mut wrong, &mut rng).is_none() {
                continue;
            }
            made += 1;
            let report = check(names, &wrong.history, &wrong.replay);
            flagged += u32::from(report.total() > clean);
            kinds.extend(report.violations.keys().copied());
        }
        println!("  MUTATE {name}: made {made} flagged {flagged} {kinds:?}");
        if flagged < made {
            unflagged.push(*name);
        }
    }
    if unflagged.is_empty() { Ok(()) } else { Err(format!("not flagged: {unflagged:?}")) }
}

/// The index of an operation that is as wanted.
fn pick(history: &[Op], rng: &mut Rng, wanted: impl Fn(&Op) -> bool) -> Option<usize> {
    let all: Vec<usize> = (0..history.len()).filter(|i| wanted(&history[*i])).collect();
    (!all.is_empty()).then(|| *rng.one_of(&all))
}

/// A linearizable read of a register that was answered.
fn reads_register(op: &Op) -> bool {
    op.kind == Kind::Linearizable
        && op.workload == Workload::Register
        && op.outcome == Outcome::Ok
        && !op.observed.is_empty()
}

fn drop_a_read_write(record: &mut Record, rng: &mut Rng) -> Option<()> {
    let reads = record.history.iter().filter(|op| reads_register(op));
    let read: HashSet<Value> =
        reads.flat_map(|op| op.observed.iter().filter_map(|o| Some(o.1?.value))).collect();
    let i = pick(&record.history, rng, |op| {
        op.workload == Workload::Register
            && op.changed()
            && op.puts.iter().any(|put| read.contains(&put.1))
    })?;
    record.history.remove(i);
    Some(())
}

/// Two reads of one key with different values, the later called after the earlier returned.
fn swap_two_reads(record: &mut Record, rng: &mut Rng) -> Option<()> {
    let history = &mut record.history;
    for _ in 0..PICKS_MAX {
        let a = pick(history, rng, reads_register)?;
        let b = (a + 1..history.len()).find(|b| {
            let op = &history[*b];
            reads_register(op)
                && op.observed[0].0 == history[a].observed[0].0
                && op.observed[0].1 != history[a].observed[0].1
                && op.call > history[a].ret
        });
        let Some(b) = b else { continue };
        let (observed, revision) = (history[a].observed.clone(), history[a].revision);
        history[a].observed = history[b].observed.clone();
        history[a].revision = history[b].revision;
        history[b].observed = observed;
        history[b].revision = revision;
        return Some(());
    }
    None
}

/// A read that has what an earlier one had, although another had seen more before it was called.
fn stale_read(record: &mut Record, rng: &mut Rng) -> Option<()> {
    let history = &mut record.history;
    for _ in 0..PICKS_MAX {
        let a = pick(history, rng, reads_register)?;
        let (key, call) = (history[a].observed[0].0, history[a].call);
        let before: Vec<&Op> = history[..a]
            .iter()
            .filter(|op| reads_register(op) && op.observed[0].0 == key && op.ret < call)
            .collect();
        let Some(newest) = before.iter().max_by_key(|op| op.revision) else { continue };
        let stale = before
            .iter()
            .find(|op| op.revision < newest.revision && op.observed[0].1 != newest.observed[0].1);
        let Some(stale) = stale else { continue };
        let (observed, revision) = (stale.observed.clone(), stale.revision);
        history[a].observed = observed;
        history[a].revision = revision;
        return Some(());
    }
    None
}

fn call_unknown_failed(record: &mut Record, rng: &mut Rng) -> Option<()> {
    let applied = record.replay.values();
    let i = pick(&record.history, rng, |op| {
        op.outcome == Outcome::Unknown && op.puts.iter().any(|put| applied.contains(&put.1))
    })?;
    let op = &mut record.history[i];
    op.outcome = Outcome::Failed;
    op.ret = op.call + 1_000_000;
    Some(())
}

fn lose_a_write(record: &mut Record, rng: &mut Rng) -> Option<()> {
    let i = pick(&record.history, rng, |op| op.changed() && !op.puts.is_empty())?;
    let (key, value) = record.history[i].puts[0];
    let changes = record.replay.keys.get_mut(&key)?;
    changes.retain(|change| change.1.is_none_or(|seen| seen.value != value));
    Some(())
}

fn apply_twice(record: &mut Record, rng: &mut Rng) -> Option<()> {
    let i = pick(&record.history, rng, |op| {
        op.changed() && op.workload == Workload::Set && op.compares.is_empty()
    })?;
    let (key, value) = record.history[i].puts[0];
    let mod_revision = record.history[i].revision + 40;
    let changes = record.replay.keys.get_mut(&key)?;
    changes.retain(|change| change.0 != mod_revision);
    let seen = Seen { value, mod_revision, version: 999_999, create_revision: 2 };
    changes.push((mod_revision, Some(seen)));
    record.replay.sort();
    Some(())
}

fn share_a_revision(record: &mut Record, rng: &mut Rng) -> Option<()> {
    let i = pick(&record.history, rng, Op::changed)?;
    let j = pick(&record.history, rng, Op::changed)?;
    record.history[i].revision = record.history[j].revision;
    (i != j).then_some(())
}

fn read_the_future(record: &mut Record, rng: &mut Rng) -> Option<()> {
    let i = pick(&record.history, rng, |op| {
        op.kind == Kind::Linearizable && op.outcome == Outcome::Ok && op.call > 3_000_000_000
    })?;
    let op = &mut record.history[i];
    op.call -= 2_000_000_000;
    op.ret = op.call + 1_000_000;
    Some(())
}

/// A read of all accounts where one is as it was long before.
fn make_money(record: &mut Record, rng: &mut Rng) -> Option<()> {
    for _ in 0..PICKS_MAX {
        let i = pick(&record.history, rng, |op| {
            op.workload == Workload::Bank
                && op.observed.len() >= 8
                && op.outcome == Outcome::Ok
                && op.revision > 60
        })?;
        let op = &mut record.history[i];
        let old = record.replay.at(op.observed[0].0, op.revision - 50);
        if old.is_some() && old != op.observed[0].1 {
            op.observed[0].1 = old;
            return Some(());
        }
    }
    None
}

fn go_back(record: &mut Record, rng: &mut Rng) -> Option<()> {
    let i = pick(&record.history, rng, |op| {
        op.kind == Kind::Serializable
            && op.pin.is_some()
            && op.outcome == Outcome::Ok
            && op.process != NO_PROCESS
            && op.revision > 200
    })?;
    record.history[i].revision -= 150;
    Some(())
}

fn call_refused_done(record: &mut Record, rng: &mut Rng) -> Option<()> {
    let i = pick(&record.history, rng, |op| {
        op.kind == Kind::Write
            && op.outcome == Outcome::Ok
            && !op.held
            && op.workload == Workload::Register
    })?;
    record.history[i].held = true;
    Some(())
}

fn call_done_refused(record: &mut Record, rng: &mut Rng) -> Option<()> {
    let i = pick(&record.history, rng, |op| op.changed() && !op.compares.is_empty())?;
    record.history[i].held = false;
    Some(())
}

fn set_both(record: &mut Record, rng: &mut Rng) -> Option<()> {
    let i = pick(&record.history, rng, |op| op.workload == Workload::Skew && op.changed())?;
    let op = &record.history[i];
    let (mine, value) = op.puts[0];
    let other: Key = op.compares.iter().map(|compare| compare.0).find(|key| *key != mine)?;
    let revision = op.revision + 3;
    let seen = Seen { value, mod_revision: revision, version: 1, create_revision: revision };
    record.replay.add(other, revision, Some(seen));
    record.replay.sort();
    Some(())
}
