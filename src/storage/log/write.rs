//! One write to the log, whatever puts it on the disk: the journal, a transaction, or a replay.

use openraft::storage::IOFlushed;
use tokio::sync::OwnedSemaphorePermit;

use super::shared::{Done, Outcome};
use crate::consensus::{RaftEntry, RaftLogId, RaftVote, TypeConfig};

/// What is to be on the disk.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Write {
    /// Entries after the last one.
    Append(Vec<RaftEntry>),
    /// The vote.
    SaveVote(RaftVote),
    /// Without the entry of this index and all after it.
    Truncate(u64),
    /// Without the entries up to this one.
    Purge(RaftLogId),
    /// An entry known to be committed.
    SaveCommitted(RaftLogId),
    /// The node has again what the log had lost.
    MadeGood,
}

/// A write in the queue, and who waits for it.
pub(super) struct Task {
    pub(super) write: Write,
    pub(super) waiting: Waiting,
}

/// Who waits for a write.
pub(super) enum Waiting {
    /// openraft, by its callback.
    Callback {
        flushed: IOFlushed<TypeConfig>,
        /// Given back when the write is over: the bound on queued bytes.
        permit: OwnedSemaphorePermit,
    },
    /// A caller.
    Caller(Done),
    /// Nobody.
    Nobody,
}

impl Waiting {
    /// Tells the outcome.
    pub(super) fn finish(self, outcome: &Outcome) {
        match self {
            Self::Callback { flushed, permit } => {
                flushed.io_completed(outcome.clone().map_err(std::io::Error::other));
                drop(permit);
            }
            Self::Caller(done) => {
                // A caller that went away has no use for the outcome.
                let _ = done.send(outcome.clone());
            }
            Self::Nobody => {}
        }
    }
}
