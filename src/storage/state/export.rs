//! Building a snapshot file from the state, while everybody goes on.
//!
//! The file is made from one LMDB read transaction, begun after a flush that covers what was
//! applied when the snapshot was asked for; so it holds at least that, and exactly the state at
//! the entry its header names. Memory is constant, and nobody waits for it.
//!
//! # What an earlier file spares
//! History is most of a state, and never changes but by compaction, which only takes from it. So the
//! chunks of an earlier snapshot are taken over as they lie there, each checked, when compaction
//! stands where it stood; and then the versions in that file and those written after it must be as
//! many as the tables have. While history has a backlog this is also the only way, and always
//! possible, for nothing is compacted.

use std::fs::File;
use std::io::{self, BufWriter};
use std::ops::Bound;
use std::path::Path;

use super::checked::Records;
use super::layout::Table;
use super::layout::meta::{
    CompactionProgress, LAYOUT_VERSION, META_KEY, StateMeta, decode_meta, is_local,
};
use super::layout::version::encode_revision;
use super::shared::Shared;
use super::tables::TableReader;
use crate::clock;
use crate::storage::StorageError;
use crate::storage::crash_point::crash_point;
use crate::storage::snapshot::{RecordCounts, SnapshotFile, SnapshotHeader, SnapshotWriter};
use crate::types::Revision;

/// Bytes written at a time.
const WRITE_BUFFER_BYTES: usize = 1 << 20;

/// A file whose history is taken over.
struct Base {
    file: SnapshotFile,
    /// Versions written after it.
    added: u64,
}

/// Writes what is on the disk as a snapshot file, and makes it the current one. Answers the
/// current one when it already is that state, or when a newer one was installed meanwhile. Blocks.
pub(crate) fn export(shared: &Shared) -> Result<SnapshotFile, StorageError> {
    let started = clock::monotonic();
    let reader = shared.head().tables.read()?;
    let meta = reader.tables().meta(reader.txn())?;
    if let Some(current) = shared.snapshots.current()
        && current.header().last_log_id >= meta.applied
    {
        return Ok(current);
    }
    let mut base = base(shared, &reader, &meta)?;
    let header = header(shared, &reader, &meta, base.as_ref())?;
    let path = shared.snapshots.unfinished_path(header.last_log_id);
    let mut written = write(&reader, base.as_ref(), &header, &path);
    if let (Err(error @ StorageError::Snapshot { .. }), None) = (&written, &meta.backlog) {
        // What it should hold, the tables hold as well.
        tracing::warn!(%error, "an earlier snapshot is damaged; one is built without it");
        base = None;
        written = write(&reader, None, &header, &path);
    }
    drop(reader);
    let size_bytes = written.inspect_err(|_| {
        // A full disk is given its room back; what cannot be removed goes at the next start.
        let _removed = std::fs::remove_file(&path);
    })?;
    crash_point("snapshot.before_rename");
    let file = shared.snapshots.put(&path)?;
    crash_point("snapshot.after_rename");
    let elapsed = started.elapsed();
    tracing::info!(bytes = size_bytes, ?elapsed, built_upon = base.is_some(), "wrote a snapshot");
    shared.hooks.snapshot_built(size_bytes, elapsed.as_secs_f64());
    Ok(file)
}

/// The file whose history is that of the tables, but for what was written after it; none when there
/// is no such file, or not enough in it to be worth it.
fn base(
    shared: &Shared,
    reader: &TableReader,
    meta: &StateMeta,
) -> Result<Option<Base>, StorageError> {
    let versions = reader.tables().table(Table::History).len(reader.txn())?;
    if let Some(mark) = &meta.backlog {
        let missing = || reader.tables().broken(Table::Meta, "its backlog is not open".into());
        let file = reader.backlog().ok_or_else(missing)?.file().clone();
        let settled = file.header().version_count().saturating_sub(mark.records);
        let added =
            versions.saturating_sub(settled) + reader.tables().recent().len(reader.txn())?;
        return Ok(Some(Base { file, added }));
    }
    let Some(file) = shared.snapshots.current() else { return Ok(None) };
    let header = file.header();
    let Some(added) = versions.checked_sub(header.version_count()) else { return Ok(None) };
    if header.layout_version != LAYOUT_VERSION || added > header.version_count() {
        return Ok(None);
    }
    let nothing_was_taken = match compaction_in(&file) {
        Ok(compaction) => compaction == Some(meta.compaction),
        Err(error) => {
            tracing::warn!(%error, "an earlier snapshot is damaged; one is built without it");
            false
        }
    };
    Ok(nothing_was_taken.then_some(Base { file, added }))
}

/// Where compaction stood when `file` was written.
fn compaction_in(file: &SnapshotFile) -> Result<Option<CompactionProgress>, StorageError> {
    let mut chunks = file.stored_chunks(Table::Meta);
    let mut raw = Vec::new();
    while let Some(chunk) = chunks.next()? {
        let mut records = chunk.records_in(&mut raw).map_err(|source| file.error(source))?;
        while let Some((key, value)) = file.next_record(&mut records)? {
            if key == META_KEY {
                let meta = decode_meta(value);
                let broken = |_| file.contradiction("it does not say where it stands");
                return Ok(Some(meta.map_err(broken)?.compaction));
            }
        }
    }
    Ok(None)
}

/// The `history` records above main revision `revision`, and those that are to come after them.
fn history_after(
    reader: &TableReader,
    revision: u64,
) -> Result<std::iter::Chain<Records<'_>, Records<'_>>, StorageError> {
    let tables = reader.tables();
    let last = encode_revision(Revision::new(revision, u32::MAX));
    let bounds = (Bound::Excluded(&last[..]), Bound::Unbounded);
    let settled = tables.table(Table::History).range(reader.txn(), bounds)?;
    let recent = tables.recent().iter(reader.txn())?;
    Ok(settled.chain(recent))
}

fn header(
    shared: &Shared,
    reader: &TableReader,
    meta: &StateMeta,
    base: Option<&Base>,
) -> Result<SnapshotHeader, StorageError> {
    let mut records = [0; Table::ALL.len()];
    for table in Table::ALL {
        records[table as usize] = reader.tables().table(table).len(reader.txn())?;
    }
    for record in reader.tables().table(Table::Meta).iter(reader.txn())? {
        records[Table::Meta as usize] -= u64::from(is_local(record?.0));
    }
    if let Some(base) = base {
        records[Table::History as usize] = base.file.header().version_count() + base.added;
    }
    Ok(SnapshotHeader {
        cluster_id: shared.directory.identity().cluster_id,
        last_log_id: meta.applied,
        membership_log_id: meta.membership_log_id,
        membership: meta.membership.clone(),
        revision: meta.revision,
        compact_revision: meta.compact_revision,
        layout_version: LAYOUT_VERSION,
        records: RecordCounts(records),
        hash: meta.hash,
    })
}

fn write(
    reader: &TableReader,
    base: Option<&Base>,
    header: &SnapshotHeader,
    path: &Path,
) -> Result<u64, StorageError> {
    let failed = |source: io::Error| StorageError::io("write", path, source);
    let tables = reader.tables();
    let file = File::create(path).map_err(failed)?;
    let output = BufWriter::with_capacity(WRITE_BUFFER_BYTES, file);
    let mut writer = SnapshotWriter::new(output, header).map_err(failed)?;
    for table in Table::ALL {
        if let Some(base) = base.filter(|_| table == Table::History) {
            write_history_upon(&mut writer, reader, base, path)?;
        } else {
            for record in tables.table(table).iter(reader.txn())? {
                let (key, value) = record?;
                // The file's history is whole, whether or not the tables' is.
                if !(table == Table::Meta && is_local(key)) {
                    writer.record(table, key, value).map_err(failed)?;
                }
            }
        }
        crash_point("snapshot.in_export");
    }
    let (output, size_bytes, _digest) = writer.finish().map_err(failed)?;
    let file = output.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    Ok(size_bytes)
}

/// Writes the history of `base` and what was written after it.
fn write_history_upon(
    writer: &mut SnapshotWriter<BufWriter<File>>,
    reader: &TableReader,
    base: &Base,
    path: &Path,
) -> Result<(), StorageError> {
    let failed = |source: io::Error| StorageError::io("write", path, source);
    take_over(writer, &base.file, path)?;
    let mut added = 0;
    for record in history_after(reader, base.file.header().revision)? {
        let (key, value) = record?;
        writer.record(Table::History, key, value).map_err(failed)?;
        added += 1;
    }
    if added == base.added {
        Ok(())
    } else {
        Err(base.file.contradiction("its history is not that of the state"))
    }
}

/// Takes over the history of `file`. Chunks that are nearly empty, as the last one of each file may
/// be, are not left to gather from one file to the next.
fn take_over(
    writer: &mut SnapshotWriter<BufWriter<File>>,
    file: &SnapshotFile,
    path: &Path,
) -> Result<(), StorageError> {
    let failed = |source: io::Error| StorageError::io("write", path, source);
    let mut chunks = file.stored_chunks(Table::History);
    let (mut raw, mut versions) = (Vec::new(), 0);
    while let Some(chunk) = chunks.next()? {
        versions += u64::from(chunk.records());
        if chunk.is_full_enough() {
            writer.chunk(chunk).map_err(failed)?;
            continue;
        }
        let mut records = chunk.records_in(&mut raw).map_err(|source| file.error(source))?;
        while let Some((key, value)) = file.next_record(&mut records)? {
            writer.record(Table::History, key, value).map_err(failed)?;
        }
    }
    // A damaged head of a chunk may have hidden it and those after it.
    if versions == file.header().version_count() {
        Ok(())
    } else {
        Err(file.contradiction("it has fewer versions than its header says"))
    }
}
