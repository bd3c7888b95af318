//! Accounts between which money moves: the total stays.

use std::time::Duration;

use chainfire::types::KeyRange;

use super::Worker;
use crate::arguments::ClientFault;
use crate::history::{Key, Kind};

pub const ACCOUNTS: u32 = 8;
pub const ACCOUNTS_TOTAL: i64 = 800;

impl Worker {
    pub(super) async fn bank(&mut self) {
        let keys: Vec<Key> =
            (0..ACCOUNTS).map(|a| self.world.names.key(&format!("b/{a}"))).collect();
        if self.world.client_fault == Some(ClientFault::SplitRead) && self.rng.chance(20) {
            return self.split_read(&keys).await;
        }
        let all = KeyRange::prefix("b/");
        match self.rng.below(10) {
            0 => {
                self.read(all, &keys, Kind::Linearizable, 0).await;
            }
            1 => self.read_in_transaction(&keys, Kind::Linearizable).await,
            2 => {
                self.read(all, &keys, Kind::Serializable, 0).await;
            }
            3 => self.read_in_transaction(&keys, Kind::Serializable).await,
            4 if !self.world.no_history_reads => {
                let back = self.rng.below(500);
                let last = self.world.last_revision();
                if last > back + 2 {
                    self.read(all, &keys, Kind::Historic, last - back).await;
                }
            }
            _ => self.transfer(&keys).await,
        }
    }

    async fn transfer(&mut self, keys: &[Key]) {
        let from = self.rng.index(keys.len());
        let to = (from + 1 + self.rng.index(keys.len() - 1)) % keys.len();
        let amount = self.rng.between(1, 9) as i64;
        let all = KeyRange::prefix("b/");
        let Some(seen) = self.read(all, keys, Kind::Linearizable, 0).await else { return };
        let of = |i: usize| seen.iter().find(|(key, _)| *key == keys[i]).and_then(|(_, s)| *s);
        let (Some(a), Some(b)) = (of(from), of(to)) else { return };
        let names = &self.world.names;
        // What is no number is reported as such by whoever reads it.
        let balance = |value| names.payload(value).parse::<i64>().unwrap_or(i64::MIN / 4);
        let puts = [
            (keys[from], (balance(a.value) - amount).to_string()),
            (keys[to], (balance(b.value) + amount).to_string()),
        ];
        let compares = [(keys[from], a.mod_revision), (keys[to], b.mod_revision)];
        self.compare_and_swap(&compares, &puts, keys).await;
    }

    /// The planted fault: a sum put together from two reads.
    async fn split_read(&mut self, keys: &[Key]) {
        let half = keys.len() / 2;
        let first = KeyRange::between("b/", "b/4");
        let a = self.read(first, &keys[..half], Kind::Linearizable, 0).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        let second = KeyRange::between("b/4", "b0");
        let b = self.read(second, &keys[half..], Kind::Linearizable, 0).await;
        if let (Some(mut a), Some(b)) = (a, b) {
            a.extend(b);
            let mut op = self.log.last().expect("the second read").clone();
            op.observed = a;
            self.log.push(op);
        }
    }
}
