//! A log that begins behind a state: for a data directory whose state came from elsewhere.

use std::fs;
use std::path::Path;

use super::LogOptions;
use super::tables::LogTables;
use super::vote::VoteSlots;
use super::write::Write;
use crate::consensus::log_id_to_openraft;
use crate::storage::StorageError;
use crate::types::{LogId, NodeId, Vote};

/// Replaces the log in `directory` by an empty one whose entries up to `applied` count as purged.
/// Its vote is of the last entry's term, for nobody but `node_id`: the node takes part in no
/// election of a term in which it might have voted as another. Blocks. Doing it again changes
/// nothing.
pub(crate) fn reset(
    directory: &Path,
    map_bytes: u64,
    applied: Option<LogId>,
    node_id: NodeId,
) -> Result<(), StorageError> {
    let failed = |source| StorageError::io("clear", directory, source);
    for entry in fs::read_dir(directory).map_err(failed)? {
        fs::remove_file(entry.map_err(failed)?.path()).map_err(failed)?;
    }
    let tables = LogTables::open(directory, &LogOptions { map_bytes, ..LogOptions::default() })?;
    let (mut vote, _none) = VoteSlots::open(directory, true)?;
    tables.begin_log()?;
    if let Some(applied) = applied {
        vote.save(Vote { term: applied.term, node_id, committed: false })?;
        tables.replay(&[Write::Purge(log_id_to_openraft(&applied))], |_| {})?;
    }
    Ok(())
}
