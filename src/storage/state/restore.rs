//! A first epoch built from a snapshot file, in a data directory that is being made.

use std::path::Path;

use super::epoch::EpochDirectory;
use super::fill::fill;
use super::layout::Table;
use super::layout::members::decode_member;
use super::layout::meta::{LAYOUT_VERSION, META_KEY, StateMeta, decode_meta};
use super::layout::roster::{ROSTER_KEY, encode_roster};
use super::tables::Tables;
use super::write::TableWriter;
use crate::storage::StorageError;
use crate::storage::environment::Durability;
use crate::storage::snapshot::{SnapshotError, SnapshotFile};
use crate::types::{LogId, MembershipConfig, Roster};

/// A new cluster that begins with the state of an old one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founding {
    /// Its members.
    pub members: MembershipConfig,
    /// How far the revision is moved up; what is below counts as compacted then. The old cluster
    /// may have gone on after the snapshot was taken: no revision that anybody has seen there may
    /// come to name another value here. 0 = the revision and the history stay.
    pub revision_step: u64,
}

/// Fills `state` from `file`, verifying it meanwhile. With `founding` it becomes the state of a
/// new cluster, and what the old cluster knew of its own members is left out. Users, keys and the
/// answers kept for retries stay. Answers the last entry in it. Blocks.
pub(crate) fn restore(
    state: &Path,
    map_bytes: u64,
    file: &SnapshotFile,
    founding: Option<Founding>,
) -> Result<Option<LogId>, StorageError> {
    let epoch = EpochDirectory::open(state)?;
    fill_epoch(&epoch, map_bytes, file, founding)
}

/// Fills a new epoch beside whatever lies in `state` from `file`, verifying it meanwhile. Returns it,
/// to be made current, and the last entry in it. Blocks.
///
/// # Errors
/// The file is damaged or newer, or the disk is full: nothing of it stays.
pub(crate) fn rebuild(
    state: &Path,
    map_bytes: u64,
    file: &SnapshotFile,
) -> Result<(EpochDirectory, Option<LogId>), StorageError> {
    let epoch = EpochDirectory::beyond(state)?;
    match fill_epoch(&epoch, map_bytes, file, None) {
        Ok(applied) => Ok((epoch, applied)),
        Err(error) => {
            epoch.remove()?;
            Err(error)
        }
    }
}

fn fill_epoch(
    epoch: &EpochDirectory,
    map_bytes: u64,
    file: &SnapshotFile,
    founding: Option<Founding>,
) -> Result<Option<LogId>, StorageError> {
    if file.header().layout_version > LAYOUT_VERSION {
        let (found, newest) = (file.header().layout_version.into(), LAYOUT_VERSION.into());
        return Err(file.error(SnapshotError::NewerFormat { found, newest }));
    }
    let tables = std::sync::Arc::new(Tables::open(&epoch.path(), map_bytes, Durability::OnDemand)?);
    let meta = fill_for(&tables, file, founding.is_some())?;
    let mut meta = meta.ok_or_else(|| file.contradiction("it does not say where it stands"))?;
    if !file.header().describes(&meta) {
        return Err(file.contradiction("its position in the log"));
    }
    let mut writer = TableWriter::begin(&tables)?;
    if let Some(Founding { members: founders, revision_step }) = founding {
        let last_node_id = founders.nodes.keys().next_back().copied().unwrap_or(0);
        let roster = Roster { last_node_id, ..Roster::default() };
        writer.put(Table::Meta, ROSTER_KEY, &encode_roster(&roster))?;
        meta.membership = founders;
        meta.membership_log_id = meta.applied;
        if revision_step > 0 {
            let beyond = || file.contradiction("its revision leaves no room to be moved up");
            let moved = meta.revision.checked_add(revision_step).ok_or_else(beyond)?;
            (meta.revision, meta.compact_revision) = (moved, moved);
        }
    }
    writer.write_meta(&meta)?;
    writer.commit()?;
    tables.environment().sync()?;
    Ok(meta.applied)
}

/// Appends every record that is kept. Answers the `meta` record, which is not written.
fn fill_for(
    tables: &std::sync::Arc<Tables>,
    file: &SnapshotFile,
    new_cluster: bool,
) -> Result<Option<StateMeta>, StorageError> {
    let mut meta = None;
    fill(tables, file, usize::MAX, |table, key, value| {
        if table == Table::Meta && key == META_KEY {
            let decoded = decode_meta(value);
            meta = Some(decoded.map_err(|error| tables.corrupt(Table::Meta, &error))?);
            return Ok(false);
        }
        Ok(!(new_cluster && is_of_the_old_cluster(table, key)))
    })?;
    Ok(meta)
}

/// What a cluster knows of its own members.
fn is_of_the_old_cluster(table: Table, key: &[u8]) -> bool {
    match table {
        Table::Members => true,
        Table::Meta => key == ROSTER_KEY,
        Table::Keys
        | Table::History
        | Table::Sessions
        | Table::Answers
        | Table::Access
        | Table::Tombstones
        | Table::Signatures => false,
    }
}

/// The file of the current state's database in a directory that nobody uses. Blocks.
pub(crate) fn current_database(state: &Path) -> Result<std::path::PathBuf, StorageError> {
    Ok(EpochDirectory::open(state)?.path().join("data.mdb"))
}

/// What the current state of a directory says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateSummary {
    /// The last entry in it.
    pub applied: Option<LogId>,
    /// Where clients reached the members of its cluster, `HOST:PORT`.
    pub client_addrs: Vec<String>,
}

/// What the state of a directory that nobody uses says of itself. Blocks.
pub(crate) fn summary_of(state: &Path, map_bytes: u64) -> Result<StateSummary, StorageError> {
    let epoch = EpochDirectory::open(state)?;
    let tables =
        std::sync::Arc::new(Tables::open(&epoch.path(), map_bytes, Durability::EveryCommit)?);
    let reader = tables.read()?;
    let applied = tables.meta(reader.txn())?.applied;
    let mut client_addrs = Vec::new();
    for record in tables.table(Table::Members).iter(reader.txn())? {
        let (_, member) = record?;
        let member =
            decode_member(member).map_err(|error| tables.corrupt(Table::Members, &error))?;
        client_addrs.push(member.client_addr);
    }
    client_addrs.retain(|addr| !addr.is_empty());
    Ok(StateSummary { applied, client_addrs })
}
