//! Registers: put, read, delete, compare-and-swap. Also large values of long ago.

use std::sync::atomic::Ordering;

use chainfire::types::KeyRange;

use super::Worker;
use crate::history::Kind;

/// Registers in use at a time.
const REGISTERS: u64 = 10;

impl Worker {
    pub(super) async fn register(&mut self) {
        let preloaded = self.world.preloaded.load(Ordering::Relaxed);
        if preloaded > 0 && self.rng.chance(25) {
            return self.old_value(preloaded).await;
        }
        let name = format!("r/{:03}/{}", self.epoch(), self.rng.below(REGISTERS));
        let key = self.world.names.key(&name);
        let range = KeyRange::single(name);
        match self.rng.below(100) {
            0..35 => {
                self.read(range, &[key], Kind::Linearizable, 0).await;
            }
            35..52 => {
                self.read(range, &[key], Kind::Serializable, 0).await;
            }
            52..76 => {
                let previous = self.rng.chance(50);
                self.put(key, "", previous).await;
            }
            76..81 => {
                self.delete(key).await;
            }
            81..84 if !self.world.no_history_reads => {
                let back = self.rng.below(300);
                let last = self.world.last_revision();
                if last > back + 2 {
                    self.read(range, &[key], Kind::Historic, last - back).await;
                }
            }
            _ => {
                let Some(seen) = self.read(range, &[key], Kind::Linearizable, 0).await else {
                    return;
                };
                let revision = seen[0].1.map_or(0, |s| s.mod_revision);
                self.compare_and_swap(&[(key, revision)], &[(key, String::new())], &[key]).await;
            }
        }
    }

    /// Large values of long ago: read, also as they were, overwritten and deleted.
    async fn old_value(&mut self, preloaded: u64) {
        let name = format!("p/{:06}", self.rng.below(preloaded));
        let key = self.world.names.key(&name);
        let range = KeyRange::single(name);
        match self.rng.below(10) {
            0..2 => {
                self.read(range, &[key], Kind::Linearizable, 0).await;
            }
            2..5 => {
                self.read(range, &[key], Kind::Serializable, 0).await;
            }
            5..8 if !self.world.no_history_reads => {
                let at = self.rng.between(2, self.world.last_revision().max(3));
                self.read(range, &[key], Kind::Historic, at).await;
            }
            8 => {
                self.delete(key).await;
            }
            _ => {
                let bytes = if self.rng.chance(30) { 6_000 } else { 20 };
                self.put(key, &"x".repeat(bytes), true).await;
            }
        }
    }
}
