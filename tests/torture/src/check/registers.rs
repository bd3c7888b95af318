//! Each register's operations as events, whose order is searched for.

use std::collections::{HashMap, HashSet};

use super::search::{Event, Step, linearizable, shrink};
use super::{Evidence, Report};
use crate::history::{Key, Kind, OPEN, Observation, Op, Outcome, Value, Workload};

/// The client that writes before all others begin.
pub const FIRST_CLIENT: u32 = 0;

pub fn check(evidence: &Evidence, report: &mut Report) {
    for (key, events) in events(evidence.history) {
        report.searched += 1;
        match linearizable(&events) {
            Some(true) => {}
            None => report.undecided += 1,
            Some(false) => {
                let say = |e: &Event| {
                    format!("\n      {:?} {}", e.step, evidence.say(&evidence.history[e.op]))
                };
                let some: String = shrink(&events).iter().map(say).collect();
                let text = format!("{}: {some}", evidence.names.key_name(key));
                report.violation("not-linearizable", text);
            }
        }
    }
}

/// What was seen anywhere: needed to say in values what compares say in revisions.
struct Sights {
    at: HashMap<(Key, u64), Value>,
    observed: HashSet<Value>,
}

impl Sights {
    fn new(history: &[Op]) -> Self {
        let mut sights = Self { at: HashMap::new(), observed: HashSet::new() };
        for op in history {
            for (key, seen) in op.observed.iter().chain(&op.before) {
                let Some(s) = seen else { continue };
                sights.at.insert((*key, s.mod_revision), s.value);
                if op.outcome == Outcome::Ok {
                    sights.observed.insert(s.value);
                }
            }
        }
        sights
    }

    /// What a write did to its register; none when nobody can tell that it did anything.
    fn write(&self, key: Key, op: &Op) -> Option<Step> {
        let unknown = op.outcome == Outcome::Unknown;
        let to = op.puts.first().map_or(0, |put| put.1);
        if unknown && to != 0 && !self.observed.contains(&to) {
            return None;
        }
        let Some((_, revision)) = op.compares.first() else {
            return Some(match value_of(&op.before) {
                Some(before) if !unknown => Step::Swap(before, to),
                _ => Step::Put(to),
            });
        };
        let from = match revision {
            0 => 0,
            revision => self.at.get(&(key, *revision)).copied().unwrap_or(Value::MAX),
        };
        Some(if unknown {
            Step::CasUnknown(from, to)
        } else if op.held {
            Step::Cas(from, to)
        } else {
            Step::CasFailed(from, value_of(&op.observed).unwrap_or(0))
        })
    }
}

/// The value of the first observation; 0 is "none".
fn value_of(list: &[Observation]) -> Option<Value> {
    list.first().map(|(_, seen)| seen.map_or(0, |s| s.value))
}

fn events(history: &[Op]) -> HashMap<Key, Vec<Event>> {
    let sights = Sights::new(history);
    let mut by_key: HashMap<Key, Vec<Event>> = HashMap::new();
    for (i, op) in history.iter().enumerate() {
        let mut push = |key: Key, step: Step| {
            let ret = if op.outcome == Outcome::Unknown { OPEN } else { op.ret };
            by_key.entry(key).or_default().push(Event { call: op.call, ret, step, op: i });
        };
        if op.client == FIRST_CLIENT && op.workload == Workload::Set {
            // What was there before the clients began.
            for (key, value) in &op.puts {
                push(*key, Step::Put(*value));
            }
            continue;
        }
        let local = matches!(op.kind, Kind::Serializable | Kind::Historic);
        if op.workload != Workload::Register || op.outcome == Outcome::Failed || local {
            continue;
        }
        let put = op.puts.first().map(|put| put.0);
        let deleted = op.deletes.first().copied();
        let Some(key) = put.or(deleted).or(op.observed.first().map(|o| o.0)) else { continue };
        if op.kind == Kind::Write {
            if let Some(step) = sights.write(key, op) {
                push(key, step);
            }
        } else if op.outcome == Outcome::Ok {
            push(key, Step::Read(value_of(&op.observed).unwrap_or(0)));
        }
    }
    by_key
}
