//! Writing staged deletes out: the leader proposes one step after the other.
//!
//! Every node runs this; only the leader has something to do, and whoever leads next goes on. A step
//! too many does no harm, and one that is lost is proposed again.
//!
//! # Pace
//! A step has as many keys as this machine applies in a few milliseconds: what another write may have
//! to wait for. Beside other writes the leader rests after each for as long as it took, and it waits
//! while its flusher is behind: deletes use what others leave.

use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use tokio::time::{Instant, sleep};

use super::handle::{Leadership, RaftHandle};
use crate::rpc::peer::ForwardedWrite;
use crate::types::limits::DELETE_STEP_KEYS;
use crate::types::{Answer, DeleteRangeAnswer, Operation, Principal, RequestError};

/// How long a step may take.
const STEP_MAX: Duration = Duration::from_secs(5);
/// How long to wait after a step that was not taken.
const PAUSE: Duration = Duration::from_millis(50);
/// How often to look whether the flusher has caught up.
const FLUSH_POLL: Duration = Duration::from_millis(5);
/// The longest rest between two steps.
const REST_MAX: Duration = Duration::from_millis(250);
/// A step that takes longer to be applied is followed by one of half as many keys.
const STEP_LONG: Duration = Duration::from_millis(8);
/// One that takes less than this, by one of twice as many.
const STEP_SHORT: Duration = Duration::from_millis(3);
/// The fewest keys of a step, and the keys of the first.
const STEP_KEYS_MIN: u64 = 64;
/// The longest that a caller waits before it is told how far the delete is.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Goes on with staged deletes while this node leads. Ends with consensus.
pub(super) async fn drive(raft: RaftHandle) {
    let mut deletes = raft.shared.state.staged_deletes();
    let mut server = raft.shared.server.clone();
    let mut keys = STEP_KEYS_MIN;
    loop {
        let next = deletes.borrow_and_update().open.first().map(|staged| staged.revision);
        drop(server.borrow_and_update());
        match next {
            Some(revision) if raft.leadership() == Leadership::Local => {
                let taken = step(&raft, revision, keys).await;
                keys = next_keys(keys, raft.shared.state.last_delete_step());
                if !taken {
                    tokio::select! {
                        () = sleep(PAUSE) => {}
                        changed = server.changed() => if changed.is_err() { return },
                    }
                }
            }
            _ => tokio::select! {
                changed = deletes.changed() => if changed.is_err() { return },
                changed = server.changed() => if changed.is_err() { return },
            },
        }
    }
}

/// One step, and the rest after it; answers whether it was taken.
async fn step(raft: &RaftHandle, revision: u64, keys: u64) -> bool {
    while raft.shared.state.is_flusher_behind() {
        sleep(FLUSH_POLL).await;
    }
    let write = ForwardedWrite {
        request_id: None,
        principal: Principal::cluster(),
        auth_revision: 0,
        operation: Operation::ContinueDelete { revision, keys },
    };
    let started = Instant::now();
    if let Err(error) = raft.propose_local(write, started + STEP_MAX).await {
        tracing::debug!(revision, %error, "a step of a delete is proposed again");
        return false;
    }
    if raft.proposals().pending > 0 {
        sleep(started.elapsed().min(REST_MAX)).await;
    }
    true
}

/// The keys of the step after one of `keys` that took so long.
fn next_keys(keys: u64, took: Duration) -> u64 {
    let next = if took > STEP_LONG {
        keys / 2
    } else if took < STEP_SHORT {
        keys * 2
    } else {
        keys
    };
    next.clamp(STEP_KEYS_MIN, DELETE_STEP_KEYS)
}

impl RaftHandle {
    /// Turns the answer that a delete was staged into its own, when it is written out.
    pub(super) async fn finished(
        &self,
        answered: Result<Answer, RequestError>,
        deadline: Instant,
    ) -> Result<Answer, RequestError> {
        match answered {
            Ok(Answer::DeleteStaged { revision }) => {
                // Half of the time is left for the word that it goes on to reach the client.
                let now = Instant::now();
                let half = deadline.saturating_duration_since(now) / 2;
                let latest = now + half.min(TELL_EVERY);
                let deleted = Box::pin(self.await_delete(revision, latest)).await?;
                let answer = DeleteRangeAnswer { revision, deleted, prev_kvs: Vec::new() };
                Ok(Answer::DeleteRange(answer))
            }
            // What was answered before is the first answer; that may have been of a staged delete.
            Ok(Answer::Again(first)) => match *first {
                Ok(staged @ Answer::DeleteStaged { .. }) => {
                    let finished = Box::pin(self.finished(Ok(staged), deadline)).await?;
                    Ok(Answer::Again(Box::new(Ok(finished))))
                }
                other => Ok(Answer::Again(Box::new(other))),
            },
            other => other,
        }
    }

    /// Waits until the delete at `revision` is finished: how many keys it deleted.
    async fn await_delete(&self, revision: u64, until: Instant) -> Result<u64, RequestError> {
        let mut deletes = self.shared.state.staged_deletes();
        let mut deleted = 0;
        loop {
            // Before what was sent last is looked at: what is applied is announced after it.
            let is_applied = self.shared.state.applied().borrow().revision >= revision;
            let known = deletes.borrow_and_update().clone();
            if let Some(deleted) = known.finished(revision) {
                return Ok(deleted);
            }
            match known.find(revision) {
                Some(staged) => deleted = staged.deleted,
                None if is_applied => {
                    let reason = format!("the delete at revision {revision} is done; ask again");
                    return Err(RequestError::OutcomeUnknown { reason });
                }
                None => {}
            }
            match tokio::time::timeout_at(until, deletes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => {
                    let reason = "the node is stopping".to_owned();
                    return Err(RequestError::OutcomeUnknown { reason });
                }
                Err(_) => return Err(RequestError::DeleteUnderWay { revision, deleted }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_as_many_keys_as_are_applied_in_a_few_milliseconds() {
        assert_eq!(next_keys(512, STEP_LONG * 2), 256);
        assert_eq!(next_keys(512, STEP_SHORT), 512);
        assert_eq!(next_keys(512, STEP_SHORT / 2), 1_024);
        assert_eq!(next_keys(DELETE_STEP_KEYS, Duration::ZERO), DELETE_STEP_KEYS);
        assert_eq!(next_keys(STEP_KEYS_MIN, STEP_LONG * 9), STEP_KEYS_MIN);
    }
}
