//! Applying committed entries, one by one, in the order of the log.
//!
//! Each command runs against the state the one before it left, its changes are published at once,
//! and then its client is answered: no disk is waited for, because the log has the entry and the
//! flusher follows. Only when the flusher is far behind does applying wait.
//!
//! # Where it runs
//! In consensus' task, for a put costs less than a change of threads. What may visit many keys, and
//! every batch after one that was slow (a disk, pages that are not in memory), is applied off the
//! runtime's workers, so that heartbeats, elections and other callers go on beside it.
//!
//! A read transaction is open while entries are at hand, and closed before waiting for more.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use openraft::EntryPayload;
use openraft::storage::EntryResponder;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::change_hash::ChangeHasher;
use super::deletes;
use super::head::Head;
use super::shared::Shared;
use super::view::View;
use crate::clock::monotonic;
use crate::consensus::{
    ApplyResponse, RaftEntry, RaftStoredMembership, TypeConfig, log_id_from_openraft,
    membership_from_openraft,
};
use crate::machine::{self, Change, StateView as _};
use crate::storage::StorageError;
use crate::storage::crash_point::{crash_point, decides_otherwise};
use crate::types::{
    Command, DeleteRangeRequest, LogId, MembershipConfig, Operation, RangeRequest, StateHash,
    TxnOperation, TxnRequest,
};

/// Entries applied before what is applied is announced, at most.
const ANNOUNCED_ENTRIES_MAX: usize = 64;

/// A batch that takes longer meets a disk, or pages that are not in memory.
const SLOW_BATCH: Duration = Duration::from_millis(2);
/// So many batches after a slow one are applied where they hold up no other task.
const BATCHES_OFF_THE_WORKER: u32 = 256;

/// Applies every entry of a stream.
pub(crate) async fn apply_stream<S>(shared: &Shared, mut entries: S) -> Result<(), ApplyError>
where
    S: Stream<Item = Result<EntryResponder<TypeConfig>, std::io::Error>> + Unpin,
{
    let _only_one = shared.applying.lock().await;
    crash_point("state.apply");
    while let Some(first) = entries.next().await {
        let first = first.map_err(ApplyError::Read)?;
        shared.check()?;
        if shared.is_full() {
            shared.control.force();
            shared.wait_for_flush(|| !shared.is_full()).await?;
        }
        let slow = shared.slow_batches.load(Ordering::Relaxed);
        let started = monotonic();
        match slow {
            0 => apply_ready(shared, first, &mut entries)?,
            _ => off_the_worker(|| apply_ready(shared, first, &mut entries))?,
        }
        let slow = match started.elapsed() > SLOW_BATCH {
            true => BATCHES_OFF_THE_WORKER,
            false => slow.saturating_sub(1),
        };
        shared.slow_batches.store(slow, Ordering::Relaxed);
    }
    Ok(())
}

/// Runs what may take long where it holds up no other task: on this thread, of which the runtime
/// makes another meanwhile. It costs some 20 us, which is why what is short stays where it is.
fn off_the_worker<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        // A test's runtime, which has no other thread to give the tasks to.
        _ => work(),
    }
}

/// Whether a command may visit many keys.
fn may_take_long(operation: &Operation) -> bool {
    match operation {
        Operation::Txn(request) => txn_may_take_long(request),
        Operation::DeleteRange(request) => !request.range.is_single(),
        Operation::ContinueDelete { .. } => true,
        _ => false,
    }
}

fn txn_may_take_long(request: &TxnRequest) -> bool {
    request.compares.iter().any(|compare| !compare.range.is_single())
        || request.success.iter().chain(&request.failure).any(|operation| match operation {
            TxnOperation::Range(RangeRequest { range, .. })
            | TxnOperation::DeleteRange(DeleteRangeRequest { range, .. }) => !range.is_single(),
            TxnOperation::Put(_) => false,
            TxnOperation::Txn(nested) => txn_may_take_long(nested),
        })
}

/// Why a stream of entries was not applied to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// The stream broke: the log could not be read.
    #[error(transparent)]
    Read(std::io::Error),
    /// The state failed.
    #[error(transparent)]
    State(#[from] StorageError),
}

impl From<ApplyError> for std::io::Error {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Read(error) => error,
            ApplyError::State(error) => error.into(),
        }
    }
}

/// Applies `first` and what the stream has at hand after it, without waiting.
fn apply_ready<S>(
    shared: &Shared,
    first: EntryResponder<TypeConfig>,
    entries: &mut S,
) -> Result<(), ApplyError>
where
    S: Stream<Item = Result<EntryResponder<TypeConfig>, std::io::Error>> + Unpin,
{
    let mut applier = Applier::new(shared)?;
    let mut next = Some(Ok(first));
    let mut left = ANNOUNCED_ENTRIES_MAX;
    let outcome = loop {
        match next {
            None => break Ok(()),
            Some(Err(error)) => break Err(ApplyError::Read(error)),
            Some(Ok((entry, responder))) => match applier.apply(entry) {
                Err(error) => break Err(shared.fail(error).into()),
                Ok(response) => {
                    if let Some(responder) = responder {
                        responder.send(response);
                    }
                }
            },
        }
        left -= 1;
        if left == 0 || shared.is_full() {
            break Ok(());
        }
        next = entries.next().now_or_never().flatten();
    };
    applier.announce();
    outcome
}

/// The one who applies, with the state as the last entry left it.
struct Applier<'a> {
    shared: &'a Shared,
    view: View,
    arrangement: u64,
    applied: Option<LogId>,
    leader_time_ms: u64,
    hash: StateHash,
    hasher: ChangeHasher,
}

/// What one entry does to the state.
struct Effect {
    response: ApplyResponse,
    changes: Vec<Change>,
    membership: Option<RaftStoredMembership>,
    leader_time_ms: u64,
}

impl Effect {
    /// That of an entry without a command.
    const NONE: Self = Self {
        response: ApplyResponse(None),
        changes: Vec::new(),
        membership: None,
        leader_time_ms: 0,
    };
}

impl<'a> Applier<'a> {
    fn new(shared: &'a Shared) -> Result<Self, StorageError> {
        let (view, arrangement) = shared.view()?;
        let head = shared.head();
        let (applied, hash) = (head.position.applied, head.position.hash);
        let leader_time_ms = head.position.leader_time_ms;
        drop(head);
        let hasher = ChangeHasher::default();
        Ok(Self { shared, view, arrangement, applied, leader_time_ms, hash, hasher })
    }

    fn apply(&mut self, entry: RaftEntry) -> Result<ApplyResponse, StorageError> {
        let log_id = log_id_from_openraft(&entry.log_id);
        self.check_order(log_id)?;
        let effect = self.evaluate(log_id, entry)?;
        self.publish(log_id, effect)
    }

    fn check_order(&self, log_id: LogId) -> Result<(), StorageError> {
        let expected = self.applied.map_or(0, |applied| applied.index + 1);
        let follows = if self.shared.options.consecutive_entries {
            log_id.index == expected
        } else {
            log_id.index >= expected
        };
        if follows {
            Ok(())
        } else {
            Err(StorageError::NotConsecutive { expected, found: log_id.index })
        }
    }

    fn evaluate(&self, log_id: LogId, entry: RaftEntry) -> Result<Effect, StorageError> {
        match entry.payload {
            EntryPayload::Blank => Ok(Effect::NONE),
            EntryPayload::Membership(membership) => {
                let config = membership_from_openraft(&membership);
                let roster = machine::roster_after_membership(&self.view.roster(), &config);
                let change = roster.map(|roster| Change::SetRoster(std::sync::Arc::new(roster)));
                let membership = RaftStoredMembership::new(Some(entry.log_id), membership);
                Ok(Effect {
                    membership: Some(membership),
                    changes: change.into_iter().collect(),
                    ..Effect::NONE
                })
            }
            EntryPayload::Normal(encoded) => {
                let command = Command::decode(&encoded.0).map_err(|source| {
                    StorageError::UnreadableCommand { index: log_id.index, source }
                })?;
                let limits = &self.shared.options.apply_limits;
                let apply = || machine::apply_within(&self.view, &command, limits);
                let started = monotonic();
                let applied = match may_take_long(&command.operation) {
                    true => off_the_worker(apply)?,
                    false => apply()?,
                };
                if matches!(command.operation, Operation::ContinueDelete { .. }) {
                    let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
                    self.shared.delete_step_us.store(micros, Ordering::Relaxed);
                }
                let mut changes = applied.changes;
                for change in &mut changes {
                    if let Change::Put { key, value, .. } = change
                        && decides_otherwise(key)
                    {
                        *value = Bytes::from_static(b"otherwise");
                    }
                }
                Ok(Effect {
                    response: ApplyResponse(Some(applied.response)),
                    changes,
                    membership: None,
                    leader_time_ms: command.leader_time_ms,
                })
            }
        }
    }

    /// Makes an entry's effect visible, all of it at one moment.
    fn publish(&mut self, log_id: LogId, effect: Effect) -> Result<ApplyResponse, StorageError> {
        self.leader_time_ms = self.leader_time_ms.max(effect.leader_time_ms);
        let membership = effect.membership.as_ref();
        let membership: Option<MembershipConfig> =
            membership.map(|stored| membership_from_openraft(stored.membership()));
        let (changes, time_ms) = (&effect.changes, self.leader_time_ms);
        self.hash = self.hasher.after(self.hash, log_id, time_ms, changes, membership.as_ref());

        let mut head = self.shared.head_mut();
        head.hashes.push(log_id.index, self.hash);
        let bytes = take_changes(self.shared, &mut head, effect.changes);
        head.active_bytes += bytes;
        let position = &mut head.position;
        position.applied = Some(log_id);
        position.leader_time_ms = self.leader_time_ms;
        position.hash = self.hash;
        if let Some(membership) = effect.membership {
            position.membership = membership;
        }
        let is_full = head.active_bytes >= self.shared.options.flush_bytes;
        let (revision, compact_revision) = (head.position.revision, head.position.compact_revision);
        let (leader_time_ms, forgotten) = (head.position.leader_time_ms, head.position.forgotten);
        if head.access.revision != self.view.access.revision {
            self.view.access = std::sync::Arc::clone(&head.access);
        }
        if !std::sync::Arc::ptr_eq(&head.position.deletes, &self.view.deletes) {
            self.view.deletes = std::sync::Arc::clone(&head.position.deletes);
        }
        if !std::sync::Arc::ptr_eq(&head.roster, &self.view.roster) {
            self.view.roster = std::sync::Arc::clone(&head.roster);
        }
        let rearranged = head.arrangement != self.arrangement;
        self.shared.unflushed_bytes.fetch_add(bytes, Ordering::AcqRel);
        drop(head);

        self.shared.control.changed(is_full);
        self.applied = Some(log_id);
        if rearranged {
            (self.view, self.arrangement) = self.shared.view()?;
        } else {
            (self.view.revision, self.view.compact_revision) = (revision, compact_revision);
            (self.view.leader_time_ms, self.view.forgotten) = (leader_time_ms, forgotten);
        }
        Ok(effect.response)
    }

    /// Tells everybody how far the state is.
    fn announce(&self) {
        let applied = self.shared.head().position.published();
        self.shared.applied.send_replace(applied);
    }
}

/// Puts changes where readers find them once the position says so. Answers the memory they take.
fn take_changes(shared: &Shared, head: &mut Head, changes: Vec<Change>) -> usize {
    let active = std::sync::Arc::clone(&head.active);
    let mut contents = active.write();
    let (mut bytes, mut deletes_changed, mut finished) = (0, false, None);
    for change in changes {
        match &change {
            Change::SetRevision(revision) => head.position.revision = *revision,
            Change::Compact(revision) => head.position.compact_revision = *revision,
            Change::RecordAnswer { client, recorded } => {
                shared.sessions.write().record(*client, recorded.clone());
            }
            Change::RefuseBegun { before_ms } => {
                head.position.forgotten.sessions_before_ms = *before_ms;
            }
            Change::RefuseDated { through_seconds } => {
                head.position.forgotten.signatures_through_seconds = *through_seconds;
            }
            Change::RecordSignature { key, kept } => {
                shared.sessions.write().signatures.record(*key, kept);
            }
            Change::ForgetSignature(key) => shared.sessions.write().signatures.forget(key),
            Change::ExpireSession(client) => shared.sessions.write().expire(*client),
            Change::SetMember { node_id, address, client_addr } => {
                let (address, client_addr) = (address.clone(), client_addr.clone());
                head.members.insert(
                    *node_id,
                    super::layout::members::MemberRecord { address, client_addr },
                );
                shared.peer_addrs.send_replace(head.peer_addrs());
            }
            Change::SetAccess { revision, edits } => {
                head.access = std::sync::Arc::new(head.access.edited(*revision, edits));
                shared.access.send_replace(std::sync::Arc::clone(&head.access));
            }
            Change::StageDelete(_)
            | Change::WriteTombstone { .. }
            | Change::AdvanceDelete { .. }
            | Change::FinishDelete { .. } => {
                deletes::change(&mut head.position.deletes, &change);
                if let Change::FinishDelete { revision, deleted } = &change {
                    finished = Some((*revision, *deleted));
                }
                deletes_changed = true;
            }
            Change::SetRoster(roster) => {
                head.roster = std::sync::Arc::clone(roster);
                shared.roster.send_replace(std::sync::Arc::clone(roster));
            }
            Change::Put { .. } | Change::Delete { .. } => {}
        }
        bytes += contents.push(change);
    }
    if deletes_changed {
        shared.deletes.send_modify(|deletes| {
            deletes.open = std::sync::Arc::clone(&head.position.deletes);
            if let Some((revision, deleted)) = finished {
                deletes.remember(revision, deleted);
            }
        });
    }
    bytes
}
