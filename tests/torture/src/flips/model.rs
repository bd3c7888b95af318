//! What the prepared cluster holds, at every revision.

use std::collections::BTreeMap;

use chainfire::Client;
use chainfire::client::{Step, Txn};
use chainfire::types::KeyValue;

use crate::random::Rng;

/// Keys of the model.
const KEYS: u64 = 60;
/// A value now and then lies on pages of its own.
const LARGE_BYTES: usize = 6_000;

/// A pair as a read shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub value: Vec<u8>,
    pub create_revision: u64,
    pub mod_revision: u64,
    pub version: u64,
}

impl Pair {
    pub fn of(pair: &KeyValue) -> Self {
        Self {
            value: pair.value.to_vec(),
            create_revision: pair.create_revision,
            mod_revision: pair.mod_revision,
            version: pair.version,
        }
    }
}

pub type Contents = BTreeMap<Vec<u8>, Pair>;

/// The contents after each revision.
#[derive(Default)]
pub struct Model {
    pub at: BTreeMap<u64, Contents>,
}

impl Model {
    pub fn last(&self) -> u64 {
        self.at.keys().next_back().copied().unwrap_or(0)
    }

    /// What was there at a revision.
    pub fn contents(&self, revision: u64) -> Contents {
        self.at.range(..=revision).next_back().map(|(_, c)| c.clone()).unwrap_or_default()
    }

    /// Makes `count` revisions in the cluster and here.
    pub async fn write(
        &mut self,
        client: &Client,
        rng: &mut Rng,
        count: u64,
    ) -> Result<(), String> {
        for _ in 0..count {
            let mut contents = self.contents(u64::MAX);
            let keys: Vec<String> =
                (0..rng.between(1, 4)).map(|_| format!("f/{:03}", rng.below(KEYS))).collect();
            if rng.chance(12) {
                let key = &keys[0];
                let answer = client.delete(key.clone()).await.map_err(|error| error.to_string())?;
                if answer.deleted > 0 {
                    contents.remove(key.as_bytes());
                    self.at.insert(answer.revision, contents);
                }
                continue;
            }
            let mut puts: BTreeMap<String, Vec<u8>> = BTreeMap::new();
            for key in keys {
                let bytes = if rng.chance(8) { LARGE_BYTES } else { rng.between(10, 300) as usize };
                let value = (0..bytes).map(|_| rng.below(256) as u8).collect();
                puts.insert(key, value);
            }
            let steps = puts.iter().map(|(key, value)| Step::put(key.clone(), value.clone()));
            let answer =
                client.txn(Txn::new().then(steps)).await.map_err(|error| error.to_string())?;
            for (key, value) in puts {
                let before = contents.get(key.as_bytes());
                let pair = Pair {
                    value,
                    create_revision: before.map_or(answer.revision, |pair| pair.create_revision),
                    mod_revision: answer.revision,
                    version: before.map_or(1, |pair| pair.version + 1),
                };
                contents.insert(key.into_bytes(), pair);
            }
            self.at.insert(answer.revision, contents);
        }
        Ok(())
    }
}
