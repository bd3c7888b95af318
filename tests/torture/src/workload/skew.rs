//! Two keys of which at most one may ever be set; those who set one look at both.

use chainfire::types::KeyRange;

use super::Worker;
use crate::history::Kind;

/// How long a pair is in use.
const PAIR_MS: u64 = 150;

impl Worker {
    pub(super) async fn skew(&mut self) {
        let pair = self.world.now() / 1_000_000 / PAIR_MS;
        let a = self.world.names.key(&format!("w/{pair}/a"));
        let b = self.world.names.key(&format!("w/{pair}/b"));
        let mine = if self.rng.chance(50) { a } else { b };
        self.compare_and_swap(&[(a, 0), (b, 0)], &[(mine, String::new())], &[a, b]).await;
        if self.rng.chance(30) {
            let linearizable = self.rng.chance(50);
            let kind = if linearizable { Kind::Linearizable } else { Kind::Serializable };
            self.read(KeyRange::prefix(format!("w/{pair}/")), &[a, b], kind, 0).await;
        }
    }
}
