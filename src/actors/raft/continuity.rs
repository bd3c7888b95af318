//! Whether this node's log goes on behind a state that another node holds.
//!
//! A state ends at one entry of a log. Only a log that has that very entry (the same index and the
//! same term), or begins right behind it, brings the state further; appended to any other, it
//! would become a state that no member has. The index alone does not tell: a directory copied
//! from a member that had gone another way, or from a cluster before it was restored, may stand
//! at an index that the log has as well.

use openraft::async_runtime::WatchReceiver as _;
use openraft::storage::RaftLogReader as _;

use super::handle::RaftHandle;
use crate::consensus::log_id_from_openraft;
use crate::types::LogId;

/// Why the log does not go on behind a state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::actors) enum LogGap {
    /// The log begins later.
    #[error("it ends at entry {index}, and the log begins behind entry {purged}")]
    Removed {
        /// Where the state ends.
        index: u64,
        /// The last entry the log no longer has.
        purged: u64,
    },
    /// The log is shorter.
    #[error("it ends at entry {index}, and the log of its cluster at entry {last}")]
    Beyond {
        /// Where the state ends.
        index: u64,
        /// The last entry of the log; 0 when there is none.
        last: u64,
    },
    /// The log has another entry there.
    #[error("its entry {index} is of term {theirs}, and that of the log of term {ours}")]
    Other {
        /// Where the state ends.
        index: u64,
        /// The term there in the log.
        ours: u64,
        /// The term there in the state.
        theirs: u64,
    },
    /// The log could not be read there.
    #[error("entry {index} could not be looked up in the log: {reason}")]
    Unreadable {
        /// Where the state ends.
        index: u64,
        /// Why.
        reason: String,
    },
}

impl RaftHandle {
    /// Whether this node's log goes on behind a state whose last entry is `held`.
    pub(in crate::actors) async fn continues(&self, held: LogId) -> Result<(), LogGap> {
        let metrics = self.shared.raft.metrics().borrow_watched().clone();
        let purged = metrics.purged.as_ref().map(log_id_from_openraft);
        let last = metrics.last_log_index;
        let index = held.index;
        if let Some(decided) = decided_by_ends(held, purged, last) {
            return decided;
        }
        let read = self.shared.log.reader().try_get_log_entries(index..=index).await;
        let entries =
            read.map_err(|error| LogGap::Unreadable { index, reason: error.to_string() })?;
        match entries.first().map(|entry| log_id_from_openraft(&entry.log_id)) {
            Some(ours) => same_term(held, ours),
            // It was purged since.
            None => Err(LogGap::Removed { index, purged: index }),
        }
    }
}

/// What the ends of a log decide; none when the entry itself must be looked at.
fn decided_by_ends(
    held: LogId,
    purged: Option<LogId>,
    last: Option<u64>,
) -> Option<Result<(), LogGap>> {
    let index = held.index;
    match purged {
        Some(purged) if index < purged.index => {
            Some(Err(LogGap::Removed { index, purged: purged.index }))
        }
        Some(purged) if index == purged.index => Some(same_term(held, purged)),
        _ if last.is_none_or(|last| index > last) => {
            Some(Err(LogGap::Beyond { index, last: last.unwrap_or(0) }))
        }
        _ => None,
    }
}

fn same_term(held: LogId, ours: LogId) -> Result<(), LogGap> {
    if held.term == ours.term {
        return Ok(());
    }
    Err(LogGap::Other { index: held.index, ours: ours.term, theirs: held.term })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(term: u64, index: u64) -> LogId {
        LogId { term, index }
    }

    #[test]
    fn a_log_continues_a_state_from_its_beginning_to_its_end_and_by_the_same_term() {
        let purged = Some(id(2, 10));
        for (held, decided) in [
            (id(2, 9), Some(Err(LogGap::Removed { index: 9, purged: 10 }))),
            (id(2, 10), Some(Ok(()))),
            (id(1, 10), Some(Err(LogGap::Other { index: 10, ours: 2, theirs: 1 }))),
            (id(2, 11), None),
            (id(2, 20), None),
            (id(2, 21), Some(Err(LogGap::Beyond { index: 21, last: 20 }))),
        ] {
            assert_eq!(decided_by_ends(held, purged, Some(20)), decided, "{held:?}");
        }
        assert_eq!(decided_by_ends(id(1, 1), None, Some(1)), None);
        let beyond = LogGap::Beyond { index: 1, last: 0 };
        assert_eq!(decided_by_ends(id(1, 1), None, None), Some(Err(beyond)));
        assert_eq!(same_term(id(3, 7), id(3, 7)), Ok(()));
    }
}
