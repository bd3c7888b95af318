//! The loops of a load: as `src/cli/bench/run.rs` of chainfire has them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::arguments::{Arguments, Workload};
use crate::etcd::{Etcd, EtcdError};
use crate::messages::RangeRequest;
use crate::tally::Tally;

/// Puts in flight while missing keys are stored before reading.
const FILL_IN_FLIGHT: u64 = 256;

/// How late a timer may fire for its own reasons. An operation that was begun no later than this
/// after it was due, by a task that waited for it, is measured from its beginning.
const TIMER_SLACK: Duration = Duration::from_millis(2);

/// Puts one request through every connection, and makes sure that what is to be read is there.
pub async fn prepare(etcd: &Arc<Etcd>, arguments: &Arc<Arguments>) -> Result<(), EtcdError> {
    let look = |number, serializable| {
        let key = arguments.key(number);
        etcd.get(RangeRequest { key, serializable, keys_only: true })
    };
    for _ in 0..arguments.conns {
        look(0, true).await.map_err(EtcdError::Prepare)?;
    }
    if arguments.workload != Workload::Get {
        return Ok(());
    }
    let first = look(0, false).await.map_err(EtcdError::Prepare)?;
    let last = look(arguments.keys() - 1, false).await.map_err(EtcdError::Prepare)?;
    if first && last { Ok(()) } else { fill(etcd, arguments).await }
}

/// Stores every key.
async fn fill(etcd: &Arc<Etcd>, arguments: &Arc<Arguments>) -> Result<(), EtcdError> {
    let next = Arc::new(AtomicU64::new(0));
    let value = random_value(arguments.value_size);
    let mut tasks = JoinSet::new();
    for _ in 0..FILL_IN_FLIGHT {
        let (etcd, arguments) = (Arc::clone(etcd), Arc::clone(arguments));
        let (next, value) = (Arc::clone(&next), value.clone());
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= arguments.keys() {
                    return Ok(());
                }
                etcd.put(arguments.key(number), value.clone()).await?;
            }
        });
    }
    while let Some(stored) = tasks.join_next().await {
        stored.expect("a task neither panics nor is aborted").map_err(EtcdError::Prepare)?;
    }
    Ok(())
}

/// What the tasks of a measurement share.
struct Shared {
    etcd: Arc<Etcd>,
    arguments: Arc<Arguments>,
    value: Bytes,
    started: Instant,
    begun: AtomicU64,
    tally: Mutex<Tally>,
}

/// Measures.
pub async fn measure(etcd: Arc<Etcd>, arguments: Arc<Arguments>) -> Tally {
    let clients = arguments.clients;
    let shared = Arc::new(Shared {
        etcd,
        value: random_value(arguments.value_size),
        arguments,
        started: Instant::now(),
        begun: AtomicU64::new(0),
        tally: Mutex::new(Tally::new()),
    });
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        tasks.spawn(Arc::clone(&shared).work());
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a task neither panics nor is aborted");
    }
    let elapsed = shared.started.elapsed();
    let shared = Arc::into_inner(shared).expect("every task has ended");
    let mut tally = shared.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    tally.elapsed = elapsed;
    tally
}

impl Shared {
    /// One client: operation after operation.
    async fn work(self: Arc<Self>) {
        loop {
            let number = self.begun.fetch_add(1, Ordering::Relaxed);
            let due = self.due(number);
            let is_part = match self.arguments.total {
                Some(total) => number < total,
                None => due < self.started + self.arguments.time(),
            };
            if !is_part {
                return;
            }
            let waited = due > Instant::now();
            if waited {
                sleep_until(due).await;
            }
            let begun = measured_from(due, Instant::now(), waited);
            let performed = self.perform(number).await;
            let latency = begun.elapsed();
            let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
            match performed {
                Ok(()) => tally.succeeded(latency),
                Err(kind) => tally.failed(kind),
            }
        }
    }

    /// When the `number`th operation (from 0) is to begin.
    fn due(&self, number: u64) -> Instant {
        match self.arguments.rate {
            Some(rate) => self.started + Duration::from_secs_f64(number as f64 / rate as f64),
            None => Instant::now(),
        }
    }

    /// The `number`th operation, or the kind of its error.
    async fn perform(&self, number: u64) -> Result<(), String> {
        let arguments = &self.arguments;
        let kind = |status: tonic::Status| format!("{:?}: {}", status.code(), status.message());
        let key = match arguments.workload {
            Workload::Load => arguments.key(number),
            _ => arguments.random_key(),
        };
        if arguments.workload != Workload::Get {
            return self.etcd.put(key, self.value.clone()).await.map_err(kind);
        }
        let serializable = arguments.serializable;
        match self.etcd.get(RangeRequest { key, serializable, keys_only: false }).await {
            Ok(true) => Ok(()),
            Ok(false) => Err("a key that was stored is not there".to_owned()),
            Err(status) => Err(kind(status)),
        }
    }
}

/// From when an operation counts: from when it was due, but for the timer's own lateness.
fn measured_from(due: Instant, now: Instant, waited: bool) -> Instant {
    if waited && now.saturating_duration_since(due) <= TIMER_SLACK { now } else { due }
}

/// Every put of a load stores the same random value, which does not compress.
fn random_value(bytes: usize) -> Bytes {
    let value: Vec<u8> = (0..bytes).map(|_| rand::random()).collect();
    value.into()
}
