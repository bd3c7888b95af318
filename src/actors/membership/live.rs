//! How the joins are at this moment, for those who look: what is not worth replicating.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::actors::snapshot::PreseedProgress;
use crate::clock;
use crate::rpc::peer::SeedPhase;
use crate::types::{JoinId, JoinPhase, JoinRecord, JoinStatus};

/// Over how long a rate is measured.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// The transfers under way on this node's behalf.
#[derive(Default)]
pub(super) struct LiveJoins {
    transfers: Mutex<BTreeMap<JoinId, Transfer>>,
}

struct Transfer {
    progress: watch::Receiver<PreseedProgress>,
    /// When the target had how much, the oldest first.
    readings: VecDeque<(Instant, u64)>,
}

impl LiveJoins {
    /// Follows a transfer until the guard is dropped.
    pub(super) fn follow(
        self: &std::sync::Arc<Self>,
        join_id: JoinId,
        progress: watch::Receiver<PreseedProgress>,
    ) -> Following {
        let transfer = Transfer { progress, readings: VecDeque::new() };
        self.lock().insert(join_id, transfer);
        Following { live: std::sync::Arc::clone(self), join_id }
    }

    /// How a join is. `lag_entries` is what the leader knows of it, `now_ms` the replicated time.
    pub(super) fn status(
        &self,
        join: &JoinRecord,
        lag_entries: Option<u64>,
        now_ms: u64,
    ) -> JoinStatus {
        let mut status = JoinStatus {
            join: join.clone(),
            stage: join.progress.phase.name().to_owned(),
            source: join.progress.source,
            sent_bytes: join.progress.bytes,
            total_bytes: join.progress.bytes,
            bytes_per_second: 0,
            lag_entries,
            elapsed_ms: join.ended_ms.unwrap_or(now_ms).saturating_sub(join.started_ms),
        };
        if join.progress.phase != JoinPhase::Seeding {
            return status;
        }
        if let Some(transfer) = self.lock().get_mut(&join.join_id) {
            let progress = transfer.progress.borrow().clone();
            status.source = progress.source_id;
            if let Some(report) = progress.report {
                status.stage = stage(&report.phase).to_owned();
                status.sent_bytes = report.sent_bytes;
                status.total_bytes = report.snapshot.map_or(0, |snapshot| snapshot.size_bytes);
                status.bytes_per_second = transfer.rate(clock::monotonic(), report.sent_bytes);
            }
        }
        status
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<JoinId, Transfer>> {
        self.transfers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transfer {
    fn rate(&mut self, now: Instant, bytes: u64) -> u64 {
        self.readings.push_back((now, bytes));
        while self.readings.front().is_some_and(|(at, _)| now.duration_since(*at) > RATE_WINDOW) {
            self.readings.pop_front();
        }
        let Some((since, before)) = self.readings.front().copied() else { return 0 };
        let elapsed_ms = u64::try_from(now.duration_since(since).as_millis()).unwrap_or(u64::MAX);
        bytes.saturating_sub(before).saturating_mul(1_000) / elapsed_ms.max(1)
    }
}

/// What the phase `seeding` is divided into, as far as the leader knows it.
pub const SEEDING_STAGES: [&str; 5] =
    ["exporting", "transferring", "applying", "applied", "failing"];

fn stage(phase: &SeedPhase) -> &'static str {
    let [exporting, transferring, applying, applied, failing] = SEEDING_STAGES;
    match phase {
        SeedPhase::Exporting => exporting,
        SeedPhase::Transferring => transferring,
        SeedPhase::Installing => applying,
        SeedPhase::Done(_) => applied,
        SeedPhase::Failed(_) => failing,
    }
}

/// Ends the following of a transfer when it is dropped.
pub(super) struct Following {
    live: std::sync::Arc<LiveJoins>,
    join_id: JoinId,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.live.lock().remove(&self.join_id);
    }
}
