//! The loops of a benchmark.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};

use super::plan::{Plan, Until, Workload};
use super::tally::Tally;
use super::workload::Performer;
use crate::cli::failure::CommandError;
use crate::cli::terminal::Progress;
use crate::client::{Client, Error, Failure};

/// Puts in flight while missing keys are stored before reading.
const FILL_IN_FLIGHT: usize = 256;

/// How late a timer may fire for its own reasons. An operation that was begun no later than this
/// after it was due, by a task that waited for it, is measured from its beginning.
const TIMER_SLACK: Duration = Duration::from_millis(2);

/// How often progress is looked at.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Opens the connections, finds the leader, and makes sure that what is to be read is there.
pub(super) async fn prepare(client: &Client, plan: &Plan) -> Result<(), CommandError> {
    // Without a leader among the endpoints the measurement goes through a follower.
    client.find_leader().await;
    client.connect_all().await?;
    for _ in 0..plan.connections {
        client.get(plan.keys.key(0)).serializable().await?;
    }
    if matches!(plan.workload, Workload::Get | Workload::Range | Workload::Mixed) {
        fill(client, plan).await?;
    }
    Ok(())
}

/// Stores every key when the first or the last is missing.
async fn fill(client: &Client, plan: &Plan) -> Result<(), CommandError> {
    let count = plan.keys.count();
    let first = client.get(plan.keys.key(0)).keys_only().await?;
    let last = client.get(plan.keys.key(count - 1)).keys_only().await?;
    if first.is_some() && last.is_some() {
        return Ok(());
    }
    let performer = &Performer::new(client, plan);
    let mut progress = Progress::start("keys stored to be read", Some(count));
    let mut filling = stream::iter(0..count)
        .map(|number| performer.fill(number))
        .buffer_unordered(FILL_IN_FLIGHT);
    while let Some(stored) = filling.next().await {
        stored?;
        progress.advance(1);
    }
    drop(filling);
    progress.finish();
    Ok(())
}

/// What the tasks of a measurement share.
struct Shared {
    performer: Performer,
    schedule: Schedule,
    started: Instant,
    begun: AtomicU64,
    tally: Mutex<Tally>,
}

/// Measures. Ends early only when an error says that every operation will end in it.
pub(super) async fn measure(client: &Client, plan: &Plan) -> Result<Tally, CommandError> {
    let shared = Arc::new(Shared {
        performer: Performer::new(client, plan),
        schedule: Schedule { until: plan.until, rate: plan.rate },
        started: Instant::now(),
        begun: AtomicU64::new(0),
        tally: Mutex::new(Tally::new()),
    });
    let mut tasks = JoinSet::new();
    for _ in 0..plan.clients {
        tasks.spawn(Arc::clone(&shared).work());
    }
    let mut progress = Progress::start("operations measured", total(plan));
    let mut ticks = interval(PROGRESS_EVERY);
    loop {
        tokio::select! {
            done = tasks.join_next() => match done {
                Some(done) => done.expect("a task neither panics nor is aborted")?,
                None => break,
            },
            _ = ticks.tick() => progress.set(shared.operations()),
        }
    }
    let elapsed = shared.started.elapsed();
    progress.set(shared.operations());
    progress.finish();
    let shared = Arc::into_inner(shared).expect("every task has ended");
    let mut tally = shared.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    tally.elapsed = elapsed;
    Ok(tally)
}

fn total(plan: &Plan) -> Option<u64> {
    match (plan.until, plan.rate) {
        (Until::Operations(total), _) => Some(total),
        (Until::Time(time), Some(rate)) => Some(rate * time.as_secs()),
        (Until::Time(_), None) => None,
    }
}

impl Shared {
    /// One client: operation after operation.
    async fn work(self: Arc<Self>) -> Result<(), Error> {
        loop {
            let number = self.begun.fetch_add(1, Ordering::Relaxed);
            let Some(due) = self.schedule.due(number, self.started, Instant::now()) else {
                return Ok(());
            };
            let waited = due > Instant::now();
            if waited {
                sleep_until(due).await;
            }
            let begun = measured_from(due, Instant::now(), waited);
            let performed = self.performer.perform(number).await;
            let latency = begun.elapsed();
            let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
            match performed {
                Ok(()) => tally.succeeded(latency),
                Err(error) if is_hopeless(&error) => return Err(error),
                Err(error) => tally.failed(&error),
            }
        }
    }

    fn operations(&self) -> u64 {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).operations()
    }
}

/// When operations are due, and when there are no more.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    until: Until,
    rate: Option<u64>,
}

impl Schedule {
    /// When the `number`th operation (from 0) is due; none when it is no longer part of this.
    fn due(&self, number: u64, started: Instant, now: Instant) -> Option<Instant> {
        let due = match self.rate {
            // In nanoseconds, so that the schedule does not drift.
            Some(rate) => started + Duration::from_nanos(nanoseconds(number, rate)),
            None => now,
        };
        let is_part = match self.until {
            Until::Operations(total) => number < total,
            Until::Time(time) => due < started + time,
        };
        is_part.then_some(due)
    }
}

fn nanoseconds(number: u64, rate: u64) -> u64 {
    let exact = u128::from(number) * 1_000_000_000 / u128::from(rate);
    u64::try_from(exact).unwrap_or(u64::MAX)
}

/// From when an operation counts: from when it was due, but for the timer's own lateness.
fn measured_from(due: Instant, now: Instant, waited: bool) -> Instant {
    if waited && now.saturating_duration_since(due) <= TIMER_SLACK { now } else { due }
}

/// Whether every further operation would end the same way.
fn is_hopeless(error: &Error) -> bool {
    match error {
        Error::Unknown { .. } | Error::Applied { .. } => false,
        Error::Failed(failure) => match failure {
            Failure::Unavailable { .. } | Failure::Overloaded => false,
            Failure::Operation(_)
            | Failure::Invalid { .. }
            | Failure::PermissionDenied { .. }
            | Failure::Refused { .. }
            | Failure::NoSpace(_)
            | Failure::NoEndpoint
            | Failure::InvalidEndpoint { .. } => true,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_loop_is_due_at_fixed_times_and_ends_in_time() {
        let started = Instant::now();
        let second = Duration::from_secs(1);
        let schedule = Schedule { until: Until::Time(second), rate: Some(4) };
        let late = started + second * 9;
        assert_eq!(schedule.due(0, started, late), Some(started));
        assert_eq!(schedule.due(3, started, late), Some(started + second * 3 / 4));
        assert_eq!(schedule.due(4, started, started), None);
        let counted = Schedule { until: Until::Operations(5), ..schedule };
        assert_eq!(counted.due(4, started, late), Some(started + second));
        assert_eq!(counted.due(5, started, late), None);
    }

    #[test]
    fn a_closed_loop_is_due_when_it_comes_and_ends_in_time() {
        let started = Instant::now();
        let second = Duration::from_secs(1);
        let schedule = Schedule { until: Until::Time(second), rate: None };
        let half = started + second / 2;
        assert_eq!(schedule.due(1_000_000, started, half), Some(half));
        assert_eq!(schedule.due(0, started, started + second), None);
    }

    #[test]
    fn an_operation_begun_late_counts_from_when_it_was_due() {
        let due = Instant::now();
        let slightly = due + TIMER_SLACK;
        assert_eq!(measured_from(due, slightly, true), slightly);
        assert_eq!(measured_from(due, slightly + TIMER_SLACK, true), due);
        assert_eq!(
            measured_from(due, slightly, false),
            due,
            "it waited for the store, not a timer"
        );
    }
}
