//! Writers that go on whatever happens to the nodes, and remember what they were told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use chainfire::client::Client;
use chainfire::types::KeyValue;
use tokio::task::JoinHandle;

use super::cluster::dump;
use super::eventually;

/// Some writers under way. Every key is written once, with a value of its own.
pub struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    writers: Vec<JoinHandle<Written>>,
}

/// What the writers were told.
#[derive(Debug, Default)]
pub struct Written {
    /// Key -> value of the writes that were acknowledged, with the revision they got.
    pub acknowledged: BTreeMap<String, (String, u64)>,
    /// Key -> value of the writes whose outcome is unknown.
    pub unknown: BTreeMap<String, String>,
    /// What was said of the writes that failed.
    pub failed: Vec<String>,
}

impl Load {
    /// Starts `writers` tasks, each writing one key after the other under `prefix`.
    pub fn start(client: &Client, prefix: &str, writers: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let writers = (0..writers)
            .map(|writer| {
                let (client, stop, acknowledged) =
                    (client.clone(), stop.clone(), acknowledged.clone());
                let prefix = format!("{prefix}/{writer:03}");
                tokio::spawn(write_on(client, prefix, stop, acknowledged))
            })
            .collect();
        Self { stop, acknowledged, writers }
    }

    /// Waits until so many more writes were acknowledged.
    pub async fn wait_for_more(&self, count: u64) {
        let goal = self.acknowledged.load(Ordering::Relaxed) + count;
        let reached = async || (self.acknowledged.load(Ordering::Relaxed) >= goal).then_some(());
        eventually("more writes are acknowledged", reached).await;
    }

    /// Ends the writers and answers what they were told.
    pub async fn finish(self) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Written::default();
        for writer in self.writers {
            let written = writer.await.expect("no writer panics");
            all.acknowledged.extend(written.acknowledged);
            all.unknown.extend(written.unknown);
            all.failed.extend(written.failed);
        }
        all
    }
}

async fn write_on(
    client: Client,
    prefix: String,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
) -> Written {
    let mut written = Written::default();
    for number in 0u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (key, value) = (format!("{prefix}/{number:08}"), format!("value {number}"));
        match client.put(key.clone(), value.clone()).await {
            Ok(answer) => {
                acknowledged.fetch_add(1, Ordering::Relaxed);
                written.acknowledged.insert(key, (value, answer.revision));
            }
            Err(error) if error.is_unknown() => drop(written.unknown.insert(key, value)),
            Err(error) => written.failed.push(error.to_string()),
        }
    }
    written
}

impl Written {
    /// Reads everything under `prefix` and checks it against what the writers were told: what was
    /// acknowledged is there with its value and its revision, every key was written exactly once,
    /// and nothing is there that nobody wrote.
    pub async fn check(&self, client: &Client, prefix: &str) {
        let pairs = dump(client).await.expect("the cluster answers");
        let found: BTreeMap<String, KeyValue> = pairs
            .into_iter()
            .map(|pair| (String::from_utf8_lossy(&pair.key).into_owned(), pair))
            .filter(|(key, _)| key.starts_with(prefix))
            .collect();
        for (key, (value, revision)) in &self.acknowledged {
            let pair = found.get(key).unwrap_or_else(|| panic!("{key} was acknowledged and lost"));
            assert_eq!(pair.value, value.as_bytes(), "{key}");
            assert_eq!(pair.mod_revision, *revision, "{key}");
        }
        let mut revisions = std::collections::BTreeSet::new();
        for (key, pair) in &found {
            assert_eq!(pair.version, 1, "{key} was written once and applied more often");
            assert!(revisions.insert(pair.mod_revision), "{key} shares its revision");
            let known = self.acknowledged.contains_key(key) || self.unknown.contains_key(key);
            assert!(known, "{key} is there, and its writer was told that it failed");
        }
    }
}
