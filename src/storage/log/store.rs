//! openraft's log storage, by the log's own methods.
//!
//! | method | returns when |
//! |---|---|
//! | `append` | the entries are readable; the callback says when they are on the disk |
//! | `save_vote` | the vote is on the disk |
//! | `truncate_after` | the removal is on the disk: a snapshot that replaces what was removed is made durable elsewhere, and must not be ahead of it |
//! | `purge` | the entries are unreadable; losing a purge in a crash loses nothing |
//! | `save_committed` | at once; the next transaction takes it along |

use std::io;

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};

use super::super::StorageError;
use super::shared::Pending;
use super::{LogReader, LogStore, writer};
use crate::consensus::{RaftEntry, RaftLogId, RaftVote, TypeConfig};

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let state = self.inner.shared.lock();
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.last })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.reader()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> Result<(), io::Error> {
        written(self.inner.shared.save_vote(*vote)?).await
    }

    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> Result<(), io::Error> {
        match committed {
            Some(committed) => Ok(self.inner.shared.save_committed(committed)?),
            None => Ok(()),
        }
    }

    async fn read_committed(&mut self) -> Result<Option<RaftLogId>, io::Error> {
        Ok(self.inner.shared.lock().committed)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = RaftEntry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<RaftEntry> = entries.into_iter().collect();
        Ok(self.inner.shared.append(entries, callback).await?)
    }

    async fn truncate_after(&mut self, last_log_id: Option<RaftLogId>) -> Result<(), io::Error> {
        match self.inner.shared.truncate_after(last_log_id)? {
            Some(outcome) => written(outcome).await,
            None => Ok(()),
        }
    }

    async fn purge(&mut self, log_id: RaftLogId) -> Result<(), io::Error> {
        Ok(self.inner.shared.purge(log_id)?)
    }
}

/// Waits for the writer thread's answer.
async fn written(outcome: Pending) -> Result<(), io::Error> {
    match outcome.await {
        Ok(outcome) => outcome.map_err(io::Error::other),
        Err(_gone) => Err(StorageError::ThreadPanicked { name: writer::THREAD_NAME }.into()),
    }
}
