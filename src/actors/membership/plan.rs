//! The plan of a join: pure decisions.
//!
//! ```text
//! (allocate id) -> hold the log -> seed -> [wait for `member add`] -> add learner -> catch up
//!                    ^                                                    |   |
//!                    +---- the log no longer continues the snapshot <-----+---+
//!       -> promote -> joined
//! any of them, on a lasting failure or when cancelled -> undo -> failed | cancelled
//! ```
//!
//! # What must stay true
//! - A node becomes a learner only when it holds a snapshot that the leader's log continues.
//! - The log is held from before the snapshot is written until the node is a learner, whose needs
//!   the retention then knows by itself.
//! - Every step may be done again: what a dead leader had begun, the next one begins anew.
//! - A failure is named, and nothing is left behind: that is what `Undoing` is for.

use std::time::Duration;

use crate::types::{JoinPhase, JoinProgress, JoinRecord, JoinTarget, LogId, NodeId};

/// Snapshots begun for one join, at most: each time the hold had to be given up, or the node lost
/// what it had been given.
pub(super) const SEEDS_MAX: u32 = 5;
/// How long a step may go on failing for reasons that may pass.
pub(super) const STEP_FAILING_MAX: Duration = Duration::from_secs(60);
/// The pause after a failed try.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// What is to be done next about a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Have every member keep its log from now on.
    Hold,
    /// Have the node given a snapshot.
    Seed,
    /// See that the snapshot is there and the log continues it, and make the node a learner.
    AddLearner,
    /// Wait until it has the log.
    CatchUp,
    /// Make it a voter.
    Promote,
    /// Remove every trace.
    Undo,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::actors) enum Outcome {
    /// The log is kept above this index.
    Held(u64),
    /// The node holds the state up to this entry.
    Seeded { snapshot: LogId, source: Option<NodeId>, bytes: u64 },
    /// The node does not hold the snapshot, or the log no longer continues it.
    SnapshotUseless { reason: String },
    /// The node is a learner.
    Added,
    /// It has nearly all of the log.
    CaughtUp,
    /// It is a voter.
    Voter,
    /// No trace is left.
    Undone,
    /// It did not work; trying again may help.
    Failed { reason: String },
    /// It did not work and never will.
    Hopeless { reason: String },
}

/// What follows from an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The join is this far now.
    Record(JoinProgress),
    /// Do the step again after [`RETRY_PAUSE`].
    Retry,
}

/// What to do about a join as it is; none when it waits for somebody, or is over.
pub(super) fn step(join: &JoinRecord) -> Option<Step> {
    match join.progress.phase {
        JoinPhase::Seeding if join.progress.held_index.is_none() => Some(Step::Hold),
        JoinPhase::Seeding => Some(Step::Seed),
        JoinPhase::Adding => Some(Step::AddLearner),
        JoinPhase::CatchingUp => Some(Step::CatchUp),
        JoinPhase::Promoting => Some(Step::Promote),
        JoinPhase::Undoing => Some(Step::Undo),
        JoinPhase::Waiting | JoinPhase::Joined | JoinPhase::Failed | JoinPhase::Cancelled => None,
    }
}

/// What follows when a step of `join` ended so. `failing` is how long it has been failing.
pub(super) fn next(join: &JoinRecord, outcome: Outcome, failing: Duration) -> Next {
    let now = join.progress.clone();
    let undone = |reason: String| JoinProgress {
        phase: JoinPhase::Undoing,
        held_index: None,
        failure: Some(reason),
        ..now.clone()
    };
    Next::Record(match outcome {
        Outcome::Held(index) => {
            let (held_index, seeds) = (Some(index), now.seeds + 1);
            JoinProgress { phase: JoinPhase::Seeding, held_index, seeds, snapshot: None, ..now }
        }
        Outcome::Seeded { snapshot, source, bytes } => {
            let (phase, held_index) = match join.request.waits {
                true => (JoinPhase::Waiting, None),
                false => (JoinPhase::Adding, Some(snapshot.index)),
            };
            JoinProgress { phase, held_index, snapshot: Some(snapshot), source, bytes, ..now }
        }
        Outcome::SnapshotUseless { reason } if now.seeds >= SEEDS_MAX => {
            undone(format!("{reason}, after {} snapshots", now.seeds))
        }
        Outcome::SnapshotUseless { .. } => {
            let phase = JoinPhase::Seeding;
            JoinProgress { phase, held_index: None, snapshot: None, ..now }
        }
        Outcome::Added => JoinProgress { phase: JoinPhase::CatchingUp, ..now },
        Outcome::CaughtUp => match join.request.target {
            JoinTarget::Voter => JoinProgress { phase: JoinPhase::Promoting, ..now },
            JoinTarget::Learner => joined(now),
        },
        Outcome::Voter => joined(now),
        Outcome::Undone => JoinProgress {
            phase: match now.failure {
                Some(_) => JoinPhase::Failed,
                None => JoinPhase::Cancelled,
            },
            held_index: None,
            failure: Some(now.failure.clone().unwrap_or_else(|| "it was cancelled".to_owned())),
            ..now
        },
        Outcome::Hopeless { reason } if now.phase != JoinPhase::Undoing => undone(reason),
        Outcome::Failed { reason }
            if now.phase != JoinPhase::Undoing && failing >= STEP_FAILING_MAX =>
        {
            undone(reason)
        }
        Outcome::Failed { .. } | Outcome::Hopeless { .. } => return Next::Retry,
    })
}

fn joined(now: JoinProgress) -> JoinProgress {
    JoinProgress { phase: JoinPhase::Joined, held_index: None, failure: None, ..now }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
