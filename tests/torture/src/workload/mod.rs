//! The clients: what they do, through the real client library, and what they note of it.

mod bank;
mod crew;
mod register;
mod requests;
mod set;
mod skew;

use std::sync::Arc;
use std::time::Duration;

use chainfire::Client;

use crate::history::{Op, Workload};
use crate::random::Rng;
use crate::world::Shared;

pub use bank::{ACCOUNTS, ACCOUNTS_TOTAL};
pub use crew::hire;

/// Keys of registers and lists are new every so often: searches and values stay small.
const EPOCH_MS: u64 = 4_000;

/// One client and what it noted.
pub struct Worker {
    pub world: Shared,
    pub client: Client,
    pub id: u32,
    pub pin: Option<usize>,
    pub workload: Workload,
    pub rng: Rng,
    pub timeout: Duration,
    /// Between two requests, on average.
    pub think_us: u64,
    /// Clients pinned to each slot, for planted stale reads.
    pub others: Vec<Client>,
    pub log: Vec<Op>,
    pub next_element: u64,
    /// Makes a client of its own, and so a session, for every blind put.
    pub fresh: Option<Arc<dyn Fn() -> Client + Send + Sync>>,
    /// Drops requests under way.
    pub cancels: bool,
}

impl Worker {
    pub async fn run(mut self) {
        // Spread the starts.
        let first = self.rng.below(200);
        tokio::time::sleep(Duration::from_millis(first)).await;
        while !self.world.stopped() {
            match self.workload {
                Workload::Register => self.register().await,
                Workload::Set => self.set().await,
                Workload::Bank => self.bank().await,
                Workload::Skew => self.skew().await,
            }
            let think = self.rng.between(self.think_us / 2, self.think_us * 3 / 2);
            tokio::time::sleep(Duration::from_micros(think)).await;
        }
        self.world.history.lock().unwrap().append(&mut self.log);
    }

    /// The epoch of the keys in use now.
    fn epoch(&self) -> u64 {
        self.world.now() / 1_000_000 / EPOCH_MS
    }
}
