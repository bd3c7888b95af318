//! Who the clients are. Some go where they like, some to one node; some have no patience at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chainfire::Client;

use super::Worker;
use crate::arguments::Arguments;
use crate::cluster::Cluster;
use crate::history::Workload;
use crate::random::{Rng, Stream};

/// How one client behaves.
struct Manner {
    workload: Workload,
    pin: Option<usize>,
    timeout_ms: u64,
    attempt_ms: u64,
    think_ms: u64,
}

struct Hiring<'a> {
    arguments: &'a Arguments,
    cluster: &'a Cluster,
    rng: Rng,
    others: Vec<Client>,
    workers: Vec<Worker>,
}

/// The clients of a run: as many and of the same manners for the same seed.
pub fn hire(arguments: &Arguments, cluster: &Cluster) -> Vec<Worker> {
    let founders: Vec<usize> = (0..cluster.founders).collect();
    let others = founders.iter().map(|slot| cluster.client(&[*slot], 500, 500, false)).collect();
    let rng = Rng::stream(arguments.seed, Stream::Crew, 0);
    let mut hiring = Hiring { arguments, cluster, rng, others, workers: vec![] };
    if arguments.wants("register") {
        for slot in 0..cluster.slots.len() {
            hiring.add(Workload::Register, Some(slot), 1_500, 700, 8);
        }
        for _ in 0..6 {
            hiring.add(Workload::Register, None, 3_000, 600, 8);
        }
        hiring.add(Workload::Register, None, 3_000, 6, 8);
        hiring.add(Workload::Register, None, 300, 150, 8);
    }
    if arguments.wants("set") {
        hiring.set();
    }
    if arguments.wants("bank") {
        for slot in founders {
            hiring.add(Workload::Bank, Some(slot), 1_500, 700, 15);
        }
        for _ in 0..3 {
            hiring.add(Workload::Bank, None, 3_000, 600, 15);
        }
    }
    if arguments.wants("skew") {
        for _ in 0..4 {
            hiring.add(Workload::Skew, None, 2_000, 500, 40);
        }
    }
    hiring.workers
}

impl Hiring<'_> {
    fn set(&mut self) {
        for _ in 0..3 {
            self.add(Workload::Set, None, 3_000, 600, 12);
        }
        // Many attempts of one request; and hardly any time for one.
        for _ in 0..3 {
            self.add(Workload::Set, None, 4_000, 4, 12);
        }
        for _ in 0..2 {
            self.add(Workload::Set, None, 6, 3, 25);
        }
        // A session for every write.
        let addresses: Vec<String> =
            (0..self.cluster.slots.len()).map(|slot| self.cluster.client_addr(slot)).collect();
        let credentials = self.cluster.credentials.clone();
        let turn = AtomicU32::new(0);
        let fresh = move || {
            let mut order = addresses.clone();
            order.rotate_left(turn.fetch_add(1, Ordering::Relaxed) as usize % addresses.len());
            Client::builder()
                .endpoints(order)
                .credentials(&credentials)
                .timeout(Duration::from_secs(3))
                .attempt_timeout(Duration::from_millis(6))
                .follow_leader(false)
                .build()
                .expect("a client")
        };
        self.add(Workload::Set, None, 3_000, 5, 30).fresh = Some(Arc::new(fresh));
        self.add(Workload::Set, None, 3_000, 500, 20).cancels = true;
    }

    fn add(
        &mut self,
        workload: Workload,
        pin: Option<usize>,
        timeout_ms: u64,
        attempt_ms: u64,
        think_ms: u64,
    ) -> &mut Worker {
        let manner = Manner { workload, pin, timeout_ms, attempt_ms, think_ms };
        let worker = self.worker(&manner);
        self.workers.push(worker);
        self.workers.last_mut().expect("just added")
    }

    fn worker(&mut self, manner: &Manner) -> Worker {
        let client = match manner.pin {
            Some(slot) => self.cluster.client(&[slot], manner.timeout_ms, manner.attempt_ms, false),
            None => {
                let mut order: Vec<usize> = (0..self.cluster.slots.len()).collect();
                let first = self.rng.index(order.len());
                order.rotate_left(first);
                let follow = self.rng.chance(60);
                self.cluster.client(&order, manner.timeout_ms, manner.attempt_ms, follow)
            }
        };
        Worker {
            world: Arc::clone(&self.cluster.world),
            client,
            id: self.workers.len() as u32 + 1,
            pin: manner.pin,
            workload: manner.workload,
            rng: Rng::new(self.rng.next()),
            timeout: Duration::from_millis(manner.timeout_ms),
            think_us: manner.think_ms * 1_000 * 100 / self.arguments.load,
            others: self.others.clone(),
            log: vec![],
            next_element: 0,
            fresh: None,
            cancels: false,
        }
    }
}
