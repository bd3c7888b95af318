//! What the cluster says happened: every version of every key.

use std::collections::{HashMap, HashSet};

use crate::history::{Key, Op, Outcome, Seen, Value};

/// Every version of every key, in order of revisions.
#[derive(Clone, Default)]
pub struct Replay {
    /// Read back from the cluster, revision by revision (else: put together from what was seen).
    pub complete: bool,
    pub last: u64,
    /// The revisions of each key and what it became.
    pub keys: HashMap<Key, Vec<(u64, Option<Seen>)>>,
}

impl Replay {
    pub fn add(&mut self, key: Key, revision: u64, seen: Option<Seen>) {
        self.keys.entry(key).or_default().push((revision, seen));
    }

    pub fn sort(&mut self) {
        for list in self.keys.values_mut() {
            list.sort_by_key(|(revision, s)| {
                (*revision, s.is_none(), s.map_or(0, |s| u64::MAX - s.version))
            });
            let value = |change: &(u64, Option<Seen>)| (change.0, change.1.map(|s| s.value));
            list.dedup_by_key(|change| value(change));
        }
    }

    /// What a key was at a revision.
    pub fn at(&self, key: Key, revision: u64) -> Option<Seen> {
        let list = self.keys.get(&key)?;
        let after = list.partition_point(|(r, _)| *r <= revision);
        if after == 0 { None } else { list[after - 1].1 }
    }

    /// Every value that was applied.
    pub fn values(&self) -> HashSet<Value> {
        self.keys.values().flatten().filter_map(|change| Some(change.1?.value)).collect()
    }

    /// From acknowledged writes and from what reads saw.
    pub fn from_seen(history: &[Op]) -> Self {
        let mut replay = Self::default();
        let mut known: HashSet<(Key, u64)> = HashSet::new();
        for op in history.iter().filter(|op| op.outcome == Outcome::Ok) {
            for (key, seen) in op.observed.iter().chain(&op.before) {
                if let Some(s) = seen
                    && known.insert((*key, s.mod_revision))
                {
                    replay.add(*key, s.mod_revision, Some(*s));
                }
            }
            replay.last = replay.last.max(op.revision);
        }
        for op in history.iter().filter(|op| op.changed()) {
            let revision = op.revision;
            for (key, value) in &op.puts {
                if known.insert((*key, revision)) {
                    let (value, mod_revision) = (*value, revision);
                    let seen = Seen { value, mod_revision, version: 0, create_revision: 0 };
                    replay.add(*key, revision, Some(seen));
                }
            }
            for key in &op.deletes {
                if known.insert((*key, revision)) {
                    replay.add(*key, revision, None);
                }
            }
        }
        replay.sort();
        replay
    }
}
