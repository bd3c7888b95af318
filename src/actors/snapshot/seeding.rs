//! The source's side: giving a snapshot to a node that is not a member.
//!
//! A seeding is one task, named by its join and its target. Asking for it again only reports how
//! far it is, so a new leader takes over by asking. It ends with a report that is handed out once.
//!
//! # What must stay true
//! - The leader's newest request counts: its vote and what its log has lost.
//! - Everything ends: a target that makes no progress, a leader that no longer asks.
//!
//! # On failure
//! What the target received stays there, for the next try. A cut, a restart of the target and a
//! full mailbox are tried again; what will fail again is reported at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::send::{INSTALL_MAX, PIECE_MAX, SendError, send};
use super::sources::{begun, is_good_enough};
use super::{Pace, name_of};
use crate::actors::raft::RaftHandle;
use crate::config::SnapshotConfig;
use crate::rpc::peer::{
    Lane, PeerCallError, PeerConnection, PeerRefusal, SeedFailure, SeedPhase, SeedReport,
    SeedRequest, SnapshotStatus,
};
use crate::storage::snapshot::SnapshotFile;
use crate::types::{LogId, NodeId};

/// Seedings at one time. They share one snapshot and one allowance of bytes.
const SEEDINGS_MAX: usize = 16;
/// A seeding that nobody asks about for this long is given up.
pub(super) const UNASKED_MAX: Duration = Duration::from_secs(15);
/// The pause after a try that came to nothing.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// How long the target may take to say what it holds.
const STATUS_MAX: Duration = Duration::from_secs(5);
/// Snapshots written for one seeding: one, and others when the log went away under it.
const EXPORTS_MAX: u32 = 4;

/// The seedings of which this node is the source.
pub(super) struct Seedings {
    raft: RaftHandle,
    config: SnapshotConfig,
    running: Mutex<HashMap<(u64, NodeId), Seeding>>,
}

struct Seeding {
    request: watch::Sender<(SeedRequest, Instant)>,
    report: watch::Receiver<SeedReport>,
    task: JoinHandle<()>,
}

impl Drop for Seeding {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seedings {
    pub(super) fn new(raft: RaftHandle, config: SnapshotConfig) -> Self {
        Self { raft, config, running: Mutex::default() }
    }

    /// Begins a seeding, or reports how far it is.
    pub(super) fn seed(&self, request: SeedRequest) -> Result<SeedReport, PeerRefusal> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, seeding| !seeding.is_forgotten());
        let name = (request.join_id, request.node_id);
        if let Some(seeding) = running.get(&name) {
            let report = seeding.report.borrow().clone();
            seeding.request.send_replace((request, Instant::now()));
            if is_over(&report) {
                running.remove(&name);
            }
            return Ok(report);
        }
        if running.len() >= SEEDINGS_MAX {
            return Err(PeerRefusal::Busy);
        }
        let begun = SeedReport { phase: SeedPhase::Exporting, snapshot: None, sent_bytes: 0 };
        let (report, reports) = watch::channel(begun.clone());
        let (request, requests) = watch::channel((request, Instant::now()));
        let work = Work {
            raft: self.raft.clone(),
            stall_max: Duration::from_millis(self.config.transfer_stall_ms),
            pace: self.raft.pace(),
            requests,
            report,
            pinned: None,
            exports: 0,
        };
        let task = tokio::spawn(work.run());
        running.insert(name, Seeding { request, report: reports, task });
        Ok(begun)
    }
}

impl Seeding {
    /// Whether nobody will ask for the report any more.
    fn is_forgotten(&self) -> bool {
        self.request.borrow().1.elapsed() > UNASKED_MAX * 4
    }
}

pub(super) fn is_over(report: &SeedReport) -> bool {
    matches!(report.phase, SeedPhase::Done(_) | SeedPhase::Failed(_))
}

/// One seeding at work.
struct Work {
    raft: RaftHandle,
    stall_max: Duration,
    pace: Pace,
    requests: watch::Receiver<(SeedRequest, Instant)>,
    report: watch::Sender<SeedReport>,
    /// What is being sent; open for as long as this lives.
    pinned: Option<SnapshotFile>,
    exports: u32,
}

/// Why one try came to nothing.
enum TryError {
    /// The next one may do better.
    Again(String),
    /// The next one will not.
    Final(SeedFailure),
}

impl Work {
    async fn run(mut self) {
        let requests = self.requests.clone();
        let outcome = tokio::select! {
            outcome = self.seed() => outcome,
            () = unasked(requests) => {
                Err(SeedFailure::Source { reason: "the leader no longer asks for it".to_owned() })
            }
        };
        let phase = match outcome {
            Ok(log_id) => SeedPhase::Done(log_id),
            Err(failure) => {
                tracing::warn!(%failure, "a node was not given a snapshot");
                SeedPhase::Failed(failure)
            }
        };
        self.report.send_modify(|report| report.phase = phase);
    }

    fn request(&self) -> SeedRequest {
        self.requests.borrow().0.clone()
    }

    /// Tries until the target holds a state behind which the leader's log goes on.
    async fn seed(&mut self) -> Result<LogId, SeedFailure> {
        let (mut sent, mut moved) = (0, Instant::now());
        loop {
            let reason = match self.attempt().await {
                Ok(held) => return Ok(held),
                Err(TryError::Final(failure)) => return Err(failure),
                Err(TryError::Again(reason)) => reason,
            };
            tracing::debug!(reason, "giving a snapshot is tried again");
            let sent_now = self.report.borrow().sent_bytes;
            if sent_now != sent {
                (sent, moved) = (sent_now, Instant::now());
            }
            if moved.elapsed() > self.stall_max {
                let seconds = self.stall_max.as_secs();
                return Err(SeedFailure::Stalled { seconds, reason });
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    async fn attempt(&mut self) -> Result<LogId, TryError> {
        let request = self.request();
        let target = self.raft.connection(request.node_id, &request.peer_addr, Lane::Snapshot);
        let status = target.snapshot_status(STATUS_MAX).await.map_err(try_error)?;
        if let Some(held) = self.usable(&status, request.purged_index).await {
            return Ok(held);
        }
        let file = self.file(&status, &request).await?;
        self.report.send_modify(|report| {
            report.phase = SeedPhase::Transferring;
            report.snapshot = Some(name_of(&file));
        });
        self.transfer(&target, &file, &request).await?;
        // The target says itself what it holds now, and the log may have lost more meanwhile.
        let status = target.snapshot_status(STATUS_MAX).await.map_err(try_error)?;
        let purged = self.request().purged_index;
        self.usable(&status, purged).await.ok_or_else(|| {
            TryError::Again("the leader's log lost entries while they were needed".to_owned())
        })
    }

    async fn transfer(
        &self,
        target: &PeerConnection,
        file: &SnapshotFile,
        request: &SeedRequest,
    ) -> Result<(), TryError> {
        let sent = |bytes| self.report.send_modify(|report| report.sent_bytes = bytes);
        let done = send(target, file, request.vote, &self.pace, sent).await;
        done.map_err(|error| match error {
            SendError::Call(error) => try_error(error),
            SendError::Unreadable { .. } => {
                TryError::Final(SeedFailure::Export { reason: error.to_string() })
            }
        })?;
        self.report.send_modify(|report| report.phase = SeedPhase::Installing);
        loop {
            let installed = target.snapshot_install(file.digest(), INSTALL_MAX).await;
            match installed {
                Ok(_vote) => return Ok(()),
                // Asked again after a cut: it is still at it.
                Err(PeerCallError::Refused(PeerRefusal::Busy)) => sleep(RETRY_PAUSE).await,
                Err(error) => return Err(try_error(error)),
            }
        }
    }

    /// The snapshot to give: the one begun, the one there is, or a new one.
    async fn file(
        &mut self,
        status: &SnapshotStatus,
        request: &SeedRequest,
    ) -> Result<SnapshotFile, TryError> {
        let purged = request.purged_index;
        let reaches = |file: &SnapshotFile| {
            let last = file.header().last_log_id;
            last.is_some_and(|last| purged.is_none_or(|purged| last.index >= purged))
        };
        if let Some(pinned) = self.pinned.clone().filter(reaches) {
            return Ok(pinned);
        }
        let files: Vec<_> = self.raft.state().snapshots().iter().map(name_of).collect();
        let begun = begun(&files, &status.parts, purged);
        if let Some(file) = begun.and_then(|name| self.raft.state().snapshot(&name.digest)) {
            self.pinned = Some(file.clone());
            return Ok(file);
        }
        self.export(purged).await
    }

    async fn export(&mut self, purged: Option<u64>) -> Result<SnapshotFile, TryError> {
        self.report.send_modify(|report| report.phase = SeedPhase::Exporting);
        let applied = self.raft.applied_log_id().map_or(0, |log_id| log_id.index);
        if let Some(purged) = purged.filter(|purged| applied < *purged) {
            return Err(TryError::Final(SeedFailure::SourceBehind { applied, purged }));
        }
        self.exports += 1;
        if self.exports > EXPORTS_MAX {
            let reason = "the log went away under each snapshot; raise raft.log_bytes_max";
            return Err(TryError::Final(SeedFailure::Source { reason: reason.to_owned() }));
        }
        let good_enough = |file: &SnapshotFile| is_good_enough(&name_of(file), applied, purged);
        let exported = self.raft.state().export(good_enough).await;
        let file = exported
            .map_err(|error| TryError::Final(SeedFailure::Export { reason: error.to_string() }))?;
        self.pinned = Some(file.clone());
        Ok(file)
    }

    /// What the target holds, if the leader's log goes on behind it. What it did not get from here
    /// must be in this node's log as well: an index alone says nothing of what came before it.
    async fn usable(&self, status: &SnapshotStatus, purged: Option<u64>) -> Option<LogId> {
        let held = status.held.filter(|held| purged.is_none_or(|purged| held.index >= purged))?;
        let sent = self.pinned.as_ref().and_then(|file| file.header().last_log_id);
        if sent == Some(held) {
            return Some(held);
        }
        match self.raft.continues(held).await {
            Ok(()) => Some(held),
            Err(gap) => {
                tracing::debug!(%gap, "what the target holds is of no use");
                None
            }
        }
    }
}

/// Returns when nobody has asked for too long.
async fn unasked(requests: watch::Receiver<(SeedRequest, Instant)>) {
    loop {
        let gives_up = requests.borrow().1 + UNASKED_MAX;
        if gives_up <= Instant::now() {
            return;
        }
        sleep_until(gives_up).await;
    }
}

/// What a failed call on the target means for the next try.
fn try_error(error: PeerCallError) -> TryError {
    match error {
        PeerCallError::Refused(PeerRefusal::StaleVote { known }) => {
            TryError::Final(SeedFailure::StaleVote { term: known.term })
        }
        PeerCallError::Refused(PeerRefusal::Storage { reason }) => {
            TryError::Final(SeedFailure::TargetStorage { reason })
        }
        PeerCallError::Refused(PeerRefusal::Invalid { reason }) => {
            TryError::Final(SeedFailure::TargetRefused { reason })
        }
        PeerCallError::Refused(
            PeerRefusal::Busy
            | PeerRefusal::Untrusted { .. }
            | PeerRefusal::NoSuchTransfer
            | PeerRefusal::Stopped { .. },
        )
        | PeerCallError::Unreachable { .. }
        | PeerCallError::Lost { .. }
        | PeerCallError::Request(_) => TryError::Again(error.to_string()),
    }
}

const _: () = assert!(PIECE_MAX.as_secs() >= STATUS_MAX.as_secs());
