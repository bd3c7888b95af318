//! Building a snapshot file from the state, while everybody goes on.
//!
//! The file is made from one LMDB read transaction, begun after a flush that covers what was
//! applied when the snapshot was asked for; so it holds at least that, and exactly the state at
//! the entry its header names. Memory is constant, and nobody waits for it.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use super::layout::Table;
use super::layout::meta::LAYOUT_VERSION;
use super::shared::Shared;
use super::tables::TableReader;
use crate::clock;
use crate::storage::StorageError;
use crate::storage::crash_point::crash_point;
use crate::storage::snapshot::{
    RecordCounts, SnapshotError, SnapshotFile, SnapshotHeader, SnapshotWriter,
};

/// Bytes written at a time.
const WRITE_BUFFER_BYTES: usize = 1 << 20;

/// Writes what is on the disk as a snapshot file, and makes it the current one. Answers the
/// current one when it already is that state, or when a newer one was installed meanwhile. Blocks.
pub(crate) fn export(shared: &Shared) -> Result<SnapshotFile, StorageError> {
    let started = clock::monotonic();
    let reader = shared.head().tables.read()?;
    let header = header(shared, &reader)?;
    if let Some(current) = shared.snapshots.current()
        && current.header().last_log_id >= header.last_log_id
    {
        return Ok(current);
    }
    let path = shared.snapshots.unfinished_path(header.last_log_id);
    let written = write(&reader, &header, &path);
    drop(reader);
    let size_bytes = written.inspect_err(|_| {
        // A full disk is given its room back; what cannot be removed goes at the next start.
        let _removed = std::fs::remove_file(&path);
    })?;
    crash_point("snapshot.before_rename");
    let file = shared.snapshots.put(&path)?;
    crash_point("snapshot.after_rename");
    shared.hooks.snapshot_built(size_bytes, started.elapsed().as_secs_f64());
    Ok(file)
}

fn header(shared: &Shared, reader: &TableReader) -> Result<SnapshotHeader, StorageError> {
    let tables = reader.tables();
    let meta = tables.meta(reader.txn())?;
    let mut records = [0; Table::ALL.len()];
    for table in Table::ALL {
        let count = tables.handle(table).len(reader.txn());
        records[table as usize] =
            count.map_err(|source| tables.environment().error("read", source))?;
    }
    Ok(SnapshotHeader {
        cluster_id: shared.directory.identity().cluster_id,
        last_log_id: meta.applied,
        membership_log_id: meta.membership_log_id,
        membership: meta.membership,
        revision: meta.revision,
        compact_revision: meta.compact_revision,
        layout_version: LAYOUT_VERSION,
        records: RecordCounts(records),
    })
}

fn write(reader: &TableReader, header: &SnapshotHeader, path: &Path) -> Result<u64, StorageError> {
    let failed = |source: io::Error| StorageError::io("write", path, source);
    let tables = reader.tables();
    let file = File::create(path).map_err(failed)?;
    let output = BufWriter::with_capacity(WRITE_BUFFER_BYTES, file);
    let mut writer = SnapshotWriter::new(output, header).map_err(failed)?;
    for table in Table::ALL {
        let unreadable = |source| tables.environment().error("read", source);
        for record in tables.handle(table).iter(reader.txn()).map_err(unreadable)? {
            let (key, value) = record.map_err(unreadable)?;
            writer.record(table, key, value).map_err(failed)?;
        }
        crash_point("snapshot.in_export");
    }
    let (output, size_bytes, _digest) = writer.finish().map_err(failed)?;
    let file = output.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    Ok(size_bytes)
}

/// That a file's contents are not what its header says.
pub(crate) fn contradiction(file: &SnapshotFile, reason: &'static str) -> StorageError {
    file.error(SnapshotError::Contradiction { reason })
}
