//! Reads back every revision that was made.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chainfire::Client;
use chainfire::types::{KeyRange, KeyValue};

use crate::check::Replay;
use crate::history::{Key, Op, Outcome, Seen};
use crate::world::{Shared, World};

const READERS: usize = 12;
/// Every so many revisions are read as a whole, also when what was claimed of them is there.
const WHOLE_EVERY: u64 = 50;
/// Revisions without effect that are named.
const NAMED_MAX: usize = 10;

type Change = (Key, u64, Option<Seen>);

/// What is claimed of revisions, and where to look.
struct Search {
    world: Shared,
    client: Client,
    /// By revision: keys that were put (or deleted).
    claimed: HashMap<u64, Vec<(Key, bool)>>,
    /// Keys that a delete of unknown outcome may have taken away.
    deletes: Vec<Key>,
    next: AtomicU64,
    last: u64,
}

pub async fn all(world: &Shared, client: &Client, history: &[Op]) -> Result<Replay, String> {
    let now = client.range(KeyRange::all()).count_only().await.map_err(|e| e.to_string())?;
    let last = now.revision;
    let mut claimed: HashMap<u64, Vec<(Key, bool)>> = HashMap::new();
    for op in history.iter().filter(|op| op.changed()) {
        let entry = claimed.entry(op.revision).or_default();
        entry.extend(op.puts.iter().map(|(key, _)| (*key, true)));
        entry.extend(op.deletes.iter().map(|key| (*key, false)));
    }
    let unknown = history.iter().filter(|op| op.outcome == Outcome::Unknown);
    let deletes: BTreeSet<Key> = unknown.flat_map(|op| op.deletes.clone()).collect();
    let search = Arc::new(Search {
        world: Arc::clone(world),
        client: client.clone(),
        claimed,
        deletes: deletes.into_iter().collect(),
        // Revision 1 is the empty store's.
        next: AtomicU64::new(2),
        last,
    });
    let readers: Vec<_> = (0..READERS).map(|_| tokio::spawn(Arc::clone(&search).read())).collect();
    let mut replay = Replay { complete: true, last, ..Replay::default() };
    let mut revisions = HashSet::new();
    for reader in readers {
        for (key, revision, seen) in reader.await.map_err(|e| e.to_string())?? {
            revisions.insert(revision);
            replay.add(key, revision, seen);
        }
    }
    replay.sort();
    let missing: Vec<u64> = (2..=last).filter(|r| !revisions.contains(r)).collect();
    if !missing.is_empty() {
        let named = &missing[..missing.len().min(NAMED_MAX)];
        let count = missing.len();
        world.report_broken(format!(
            "{count} revisions changed nothing that can be seen: {named:?}"
        ));
    }
    Ok(replay)
}

fn seen(world: &World, pair: &KeyValue) -> Result<Seen, String> {
    Ok(Seen {
        value: world.names.parse(&pair.value)?,
        mod_revision: pair.mod_revision,
        version: pair.version,
        create_revision: pair.create_revision,
    })
}

impl Search {
    async fn read(self: Arc<Self>) -> Result<Vec<Change>, String> {
        let mut found = vec![];
        loop {
            let revision = self.next.fetch_add(1, Ordering::Relaxed);
            if revision > self.last {
                return Ok(found);
            }
            let mut changes = vec![];
            let explained = self.claimed(revision, &mut changes).await?;
            if !explained || revision.is_multiple_of(WHOLE_EVERY) {
                self.whole(revision, explained, &mut changes).await?;
            }
            found.extend(changes);
        }
    }

    /// The keys that an acknowledged operation says it changed; whether they are as it says.
    async fn claimed(&self, revision: u64, changes: &mut Vec<Change>) -> Result<bool, String> {
        let Some(keys) = self.claimed.get(&revision) else { return Ok(false) };
        let mut explained = true;
        for (key, is_put) in keys {
            match self.get(*key, revision).await? {
                Some(pair) if pair.mod_revision == revision => {
                    changes.push((*key, revision, Some(seen(&self.world, &pair)?)));
                }
                None if !is_put => changes.push((*key, revision, None)),
                _ => explained = false,
            }
        }
        Ok(explained)
    }

    /// Whatever has this mod revision; and of nothing has it, what was deleted.
    async fn whole(
        &self,
        revision: u64,
        explained: bool,
        changes: &mut Vec<Change>,
    ) -> Result<(), String> {
        let request = self.client.range(KeyRange::all()).revision(revision);
        let request = request.min_mod_revision(revision).max_mod_revision(revision).skip_count();
        let answer = request.await.map_err(|error| format!("at {revision}: {error}"))?;
        for pair in &answer.kvs {
            let key = self.world.names.key(&String::from_utf8_lossy(&pair.key));
            if !changes.iter().any(|change| change.0 == key) {
                changes.push((key, revision, Some(seen(&self.world, pair)?)));
            }
        }
        if answer.kvs.is_empty() && !explained {
            for key in &self.deletes {
                let before = self.get(*key, revision - 1).await?;
                if before.is_some() && self.get(*key, revision).await?.is_none() {
                    changes.push((*key, revision, None));
                }
            }
        }
        Ok(())
    }

    async fn get(&self, key: Key, revision: u64) -> Result<Option<KeyValue>, String> {
        let name = self.world.names.key_name(key);
        let pair = self.client.get(name).revision(revision).await;
        pair.map_err(|error| format!("at {revision}: {error}"))
    }
}
