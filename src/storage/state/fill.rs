//! Filling a new environment with the records of a snapshot file.
//!
//! Records are appended in bounded transactions, and the file is verified while it is read. The
//! environment's commits do not wait for the disk: a thread of its own sends them there while the
//! next ones are made, so that the one sync that counts, the caller's at the end, has little left to
//! do, and the disk has no gigabytes to write in a burst while others wait for it.
//!
//! # On failure
//! What was written is of no use: the caller removes the environment. A sync that failed is an
//! error here, as the system reports it once and never again.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::backlog::BacklogIndex;
use super::layout::Table;
use super::tables::Tables;
use super::write::TableWriter;
use crate::storage::StorageError;
use crate::storage::snapshot::SnapshotFile;

/// Bytes of records in one transaction, at most (and one chunk).
const TRANSACTION_BYTES_MAX: usize = 4 << 20;
const THREAD_NAME: &str = "state-fill-sync";

/// Appends every record of `file` that `takes` answers true for, but of its history no more than
/// about `history_bytes`: answers where the rest of that is. The caller syncs what it adds. Blocks.
pub(super) fn fill(
    tables: &Arc<Tables>,
    file: &SnapshotFile,
    history_bytes: usize,
    takes: impl FnMut(Table, &[u8], &[u8]) -> Result<bool, StorageError>,
) -> Result<BacklogIndex, StorageError> {
    thread::scope(|scope| {
        // One that waits is enough: a sync takes along whatever was committed before it began.
        let (committed, commits) = sync_channel(1);
        let syncer = thread::Builder::new()
            .name(THREAD_NAME.to_owned())
            .spawn_scoped(scope, move || sync_along(tables, &commits))
            .map_err(|source| StorageError::Thread { name: THREAD_NAME, source })?;
        let filled = append_all(tables, file, history_bytes, takes, &committed);
        drop(committed);
        let synced = syncer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let left = filled?;
        synced.map(|()| left)
    })
}

/// Syncs after each commit that it hears of, until there are no more.
fn sync_along(tables: &Tables, commits: &Receiver<()>) -> Result<(), StorageError> {
    while commits.recv().is_ok() {
        tables.environment().sync()?;
    }
    Ok(())
}

fn append_all(
    tables: &Arc<Tables>,
    file: &SnapshotFile,
    history_bytes: usize,
    mut takes: impl FnMut(Table, &[u8], &[u8]) -> Result<bool, StorageError>,
    committed: &SyncSender<()>,
) -> Result<BacklogIndex, StorageError> {
    let mut reader = file.reader()?;
    let mut writer = TableWriter::begin(tables)?;
    let mut left = BacklogIndex::default();
    let (mut bytes, mut history_bytes_taken) = (0, 0);
    while let Some(mut chunk) = reader.next_chunk().map_err(|source| file.error(source))? {
        let table = chunk.table;
        if table == Table::History {
            if history_bytes_taken >= history_bytes {
                left.push(file, chunk)?;
                continue;
            }
            history_bytes_taken += chunk.raw_bytes();
        }
        while let Some((key, value)) = file.next_record(&mut chunk)? {
            if takes(table, key, value)? {
                writer.append(table, key, value)?;
                bytes += key.len() + value.len();
            }
        }
        if bytes >= TRANSACTION_BYTES_MAX {
            writer.commit()?;
            // Full or gone: it will sync this one as well, or has failed, which is seen at the end.
            let _ = committed.try_send(());
            writer = TableWriter::begin(tables)?;
            bytes = 0;
        }
    }
    writer.commit()?;
    Ok(left)
}
