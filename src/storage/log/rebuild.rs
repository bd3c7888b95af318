//! What is made of a log whose tables are damaged: an empty one that begins behind the state.
//!
//! Everything up to the state's last applied entry is in the state. What came after it and was
//! acknowledged is lost, and the log remembers that ([`LogStore::lost`](super::LogStore::lost)). The
//! vote lies beside the tables and stays. A node whose state is empty, or that is the only one who
//! could have the entries, has nobody to give them again: whoever asks sees to that.
//!
//! Damage is mostly found while a node runs, where nothing can be done about it: a read fails, and the
//! node stops. Before it does, `DAMAGED` is written into the log's directory, so that the next start
//! makes the log anew and does not stop at the same read again.

use std::fs;
use std::io;
use std::path::Path;

use super::super::{StorageError, durable_file};
use super::LogOptions;
use super::meta_layout::LostRecord;
use super::tables::LogTables;
use super::vote::VoteSlots;
use super::write::Write;
use crate::consensus::log_id_to_openraft;
use crate::types::LogId;

/// Says that damage was found, and which.
const DAMAGED: &str = "DAMAGED";
/// What goes.
const REPLACED: [&str; 4] = ["data.mdb", "lock.mdb", "journal.0", "journal.1"];

/// Notes that the log in `directory` is damaged. Blocks.
pub(super) fn note_damage(directory: &Path, error: &StorageError) -> Result<(), StorageError> {
    durable_file::replace(&directory.join(DAMAGED), error.to_string().as_bytes())
}

/// Refuses a log in which damage was found before. Blocks.
pub(super) fn check_undamaged(directory: &Path) -> Result<(), StorageError> {
    match durable_file::read(&directory.join(DAMAGED))? {
        None => Ok(()),
        Some(found) => Err(StorageError::Corrupt {
            what: "the log",
            path: directory.to_owned(),
            reason: String::from_utf8_lossy(&found).into_owned(),
        }),
    }
}

/// Whether a log that does not open for this reason can be made anew.
pub(crate) fn is_log_damage(error: &StorageError) -> bool {
    let database_is_gone =
        |error: &_| matches!(error, StorageError::Missing { path } if path.ends_with("data.mdb"));
    error.is_damage() || database_is_gone(error)
}

/// Replaces the damaged log in `directory` by an empty one that begins behind `applied`. Blocks. After
/// a crash in between the log is refused as before, until this is done again.
///
/// # Errors
/// Neither copy of the vote is whole; the disk fails.
pub(crate) fn rebuild(
    directory: &Path,
    map_bytes: u64,
    applied: LogId,
    damage: &StorageError,
) -> Result<(), StorageError> {
    // The vote first: without it nothing may be made of the rest.
    drop(VoteSlots::open(directory, false)?);
    note_damage(directory, damage)?;
    REPLACED.iter().try_for_each(|name| remove(&directory.join(name)))?;
    let tables = LogTables::open(directory, &LogOptions { map_bytes, ..LogOptions::default() })?;
    tables.begin_log()?;
    tables.replay(&[Write::Purge(log_id_to_openraft(&applied))], |record| {
        record.lost = Some(LostRecord { last: None });
    })?;
    drop(tables);
    remove(&directory.join(DAMAGED))?;
    durable_file::sync_directory(directory)
}

fn remove(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StorageError::io("remove", path, source))
        }
        _ => Ok(()),
    }
}
