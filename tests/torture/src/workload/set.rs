//! Unique elements appended to lists by compare-and-swap, again after an unknown outcome when a
//! read does not show them; and blind puts to counters, whose version is the number of puts.

use chainfire::types::KeyRange;

use super::Worker;
use crate::history::{Kind, Outcome};

const LISTS: u64 = 3;
const COUNTERS: u64 = 4;
/// Attempts to append one element.
const ATTEMPTS_MAX: u32 = 12;

impl Worker {
    pub(super) async fn set(&mut self) {
        if self.rng.chance(55) {
            let key = self.world.names.key(&format!("c/{}", self.rng.below(COUNTERS)));
            if let Some(fresh) = &self.fresh {
                self.client = fresh();
            }
            self.put(key, "", false).await;
            return;
        }
        let name = format!("l/{:03}/{}", self.epoch(), self.rng.below(LISTS));
        let key = self.world.names.key(&name);
        let element = format!("{}.{}", self.id, self.next_element);
        self.next_element += 1;
        for _ in 0..ATTEMPTS_MAX {
            if self.world.stopped() {
                return;
            }
            let range = KeyRange::single(name.clone());
            let Some(seen) = self.read(range, &[key], Kind::Linearizable, 0).await else {
                continue;
            };
            let list = seen[0].1.map_or(String::new(), |s| self.world.names.payload(s.value));
            if list.split(',').any(|e| e == element) {
                return;
            }
            let new = if list.is_empty() { element.clone() } else { format!("{list},{element}") };
            let revision = seen[0].1.map_or(0, |s| s.mod_revision);
            let swapped = self.compare_and_swap(&[(key, revision)], &[(key, new)], &[key]).await;
            if swapped.outcome == Outcome::Ok && swapped.held {
                return;
            }
        }
    }
}
