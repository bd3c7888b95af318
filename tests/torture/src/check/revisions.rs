//! Every acknowledged operation, held against the history that the cluster tells.

use std::collections::{HashMap, HashSet};

use super::{Evidence, Report, same};
use crate::history::{Key, Kind, Op, Outcome, Value};

/// An operation at the revision that it surely took place at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placed {
    pub revision: u64,
    /// Its index in the history.
    pub op: usize,
    pub changed: bool,
}

/// Values and where the cluster says that they were applied.
type Applied = HashMap<Value, Vec<(Key, u64)>>;

pub fn check(evidence: &Evidence, report: &mut Report) -> Vec<Placed> {
    let applied = applied_values(evidence, report);
    let mut checks = Checks::new(evidence, &applied);
    for (i, op) in evidence.history.iter().enumerate() {
        if op.kind == Kind::Write {
            checks.write(i, op, report);
        }
        if op.outcome == Outcome::Ok {
            checks.reads(i, op, report);
        }
    }
    let written: HashSet<Value> =
        evidence.history.iter().flat_map(|op| op.puts.iter().map(|put| put.1)).collect();
    for value in applied.keys().filter(|value| !written.contains(value)) {
        report.violation("value-of-nobody", format!("#{value}"));
    }
    let mut placed = checks.placed;
    placed.sort_unstable();
    placed.dedup();
    placed
}

/// Where each value was applied; a value is applied once, at the revision that it says.
fn applied_values(evidence: &Evidence, report: &mut Report) -> Applied {
    let names = evidence.names;
    let mut applied = Applied::new();
    for (key, list) in &evidence.replay.keys {
        for (revision, seen) in list {
            let Some(s) = seen else { continue };
            applied.entry(s.value).or_default().push((*key, *revision));
            if s.mod_revision != *revision {
                let text = format!("{} at {revision} says {s:?}", names.key_name(*key));
                report.violation("mod-revision", text);
            }
        }
        for pair in list.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            let text = format!("{} {pair:?}", names.key_name(*key));
            report.violation("two-values-at-one-revision", text);
        }
    }
    for (value, places) in applied.iter().filter(|(_, places)| places.len() > 1) {
        let places: Vec<_> = places.iter().map(|(k, r)| (names.key_name(*k), *r)).collect();
        report.violation("applied-twice", format!("value #{value} at {places:?}"));
    }
    applied
}

struct Checks<'a> {
    evidence: &'a Evidence<'a>,
    applied: &'a Applied,
    /// Keys that a delete of unknown outcome may have taken away at any time.
    doubtful: HashSet<Key>,
    owners: HashMap<u64, usize>,
    placed: Vec<Placed>,
}

impl<'a> Checks<'a> {
    fn new(evidence: &'a Evidence<'a>, applied: &'a Applied) -> Self {
        let unknown = |op: &&Op| op.kind == Kind::Write && op.outcome == Outcome::Unknown;
        let doubtful = evidence.history.iter().filter(unknown).flat_map(|op| op.deletes.clone());
        Self {
            evidence,
            applied,
            doubtful: doubtful.collect(),
            owners: HashMap::new(),
            placed: vec![],
        }
    }

    fn sure(&self, key: Key) -> bool {
        self.evidence.replay.complete || !self.doubtful.contains(&key)
    }

    fn place(&mut self, op: usize, revision: u64, changed: bool) {
        self.placed.push(Placed { revision, op, changed });
    }

    fn write(&mut self, i: usize, op: &Op, report: &mut Report) {
        if op.changed() {
            self.change(i, op, report);
        } else if op.outcome == Outcome::Ok {
            self.place(i, op.revision, false);
            let replay = self.evidence.replay;
            let held = |(key, m): &(Key, u64)| {
                replay.at(*key, op.revision).map_or(0, |s| s.mod_revision) == *m
            };
            if !op.held && replay.complete && op.compares.iter().all(held) {
                report.violation("compare-failed-wrongly", self.evidence.say(op));
            }
        }
        let never = op.outcome == Outcome::Failed || (op.outcome == Outcome::Ok && !op.held);
        for (_, value) in &op.puts {
            let Some(places) = self.applied.get(value) else { continue };
            if never {
                let text = format!("{} at {places:?}", self.evidence.say(op));
                report.violation("refused-and-applied", text);
            } else if op.outcome == Outcome::Unknown {
                self.place(i, places[0].1, true);
            }
        }
        if op.outcome == Outcome::Ok && op.held {
            self.before(op, report);
        }
    }

    /// An acknowledged change has its revision for itself, and the history has it.
    fn change(&mut self, i: usize, op: &Op, report: &mut Report) {
        let Evidence { names, history, replay } = self.evidence;
        let say = |op: &Op| self.evidence.say(op);
        if let Some(other) = self.owners.insert(op.revision, i) {
            let text = format!("{} and {}", say(&history[other]), say(op));
            report.violation("revision-not-unique", text);
        }
        for (key, value) in &op.puts {
            let there = replay.at(*key, op.revision);
            if there.is_none_or(|s| s.value != *value || s.mod_revision != op.revision) {
                let text = format!("{} but the history has {there:?}", say(op));
                report.violation("acknowledged-write-lost", text);
            }
        }
        for key in &op.deletes {
            if let Some(there) = replay.at(*key, op.revision) {
                let text = format!("{} but the history has {there:?}", say(op));
                report.violation("acknowledged-write-lost", text);
            }
        }
        for (key, m) in &op.compares {
            let before = replay.at(*key, op.revision - 1).map_or(0, |s| s.mod_revision);
            if before != *m && self.sure(*key) {
                let key = names.key_name(*key);
                let text = format!("{}: before it {key} was at {before}", say(op));
                report.violation("compare-held-wrongly", text);
            }
        }
        self.place(i, op.revision, true);
    }

    /// What a write says was there before it.
    fn before(&self, op: &Op, report: &mut Report) {
        let at = if op.changed() { op.revision - 1 } else { op.revision };
        for (key, seen) in &op.before {
            let there = self.evidence.replay.at(*key, at);
            if !same(*seen, there) && self.sure(*key) {
                let text = format!("{}: the history has {there:?}", self.evidence.say(op));
                report.violation("previous-pair", text);
            }
        }
    }

    fn reads(&mut self, i: usize, op: &Op, report: &mut Report) {
        for (key, seen) in &op.observed {
            let there = self.evidence.replay.at(*key, op.revision);
            if same(*seen, there) || !self.sure(*key) {
                continue;
            }
            let kind = match op.kind {
                Kind::Serializable => "serializable-read-of-no-past",
                Kind::Historic => "historic-read",
                _ => "read-value",
            };
            let key = self.evidence.names.key_name(*key);
            let at = op.revision;
            let text = format!("{}: {key} at {at} is {there:?}", self.evidence.say(op));
            report.violation(kind, text);
        }
        if op.kind == Kind::Linearizable {
            self.place(i, op.revision, false);
        }
    }
}
