//! Data directories whose state is there and whose identity is not given yet: made from a snapshot
//! file, or from the copy of a stopped member's directory.
//!
//! Such a directory names its cluster and has [`NO_NODE`] for its node id. `serve` refuses it;
//! `serve --join` offers the cluster what it holds, has the cluster give it an id, and `adopt`
//! writes that. When the cluster's log does not go on behind the state, `empty` removes it first.
//! The member it was copied from is never mistaken for it: its id is gone before anything else
//! happens.
//!
//! # What must stay true
//! - The log of a detached directory counts for nothing: what is committed in it is in the cluster's
//!   log, what is not must not be remembered. It is replaced by one that begins behind the state.
//! - Every step can be done again after a crash.

use std::fs;
use std::path::Path;

use super::data_dir::{self, DataDir};
use super::log::reset;
use super::repair::DistrustMark;
use super::snapshot::SnapshotFile;
use super::state::{Founding, StateSummary, restore, summary_of};
use super::{Identity, StorageError, stopped};
use crate::types::{ClusterId, NodeId};

/// The node id of a directory that belongs to no member yet. No member has it.
pub const NO_NODE: NodeId = 0;

/// Makes a data directory from a snapshot file: of a new cluster that is founded so, or detached.
/// It is a data directory only when this has succeeded. Blocks.
///
/// # Errors
/// `path` exists and is not empty; the file is damaged; the disk is full.
pub fn restore_snapshot(
    path: &Path,
    identity: Identity,
    map_bytes: u64,
    file: &SnapshotFile,
    founding: Option<Founding>,
) -> Result<StateSummary, StorageError> {
    let node_id = identity.node_id;
    DataDir::create_filled(path, identity, |directory| {
        let applied = restore(&directory.join("state"), map_bytes, file, founding)?;
        reset(&directory.join("log"), map_bytes, applied, node_id)?;
        summary_of(&directory.join("state"), map_bytes)
    })
}

/// Takes the copy of a stopped member's directory away from that member. Answers its cluster and
/// what its state says of itself. Blocks.
///
/// # Errors
/// The directory is in use, or none of ours, or it was copied while its node ran.
pub fn detach(
    path: &Path,
    name: &str,
    incarnation: u128,
    map_bytes: u64,
) -> Result<(ClusterId, StateSummary), StorageError> {
    let directory = DataDir::open_existing(path)?;
    stopped::check(directory.path())?;
    check_trusted(&directory)?;
    let cluster_id = directory.identity().cluster_id;
    let identity = Identity { cluster_id, node_id: NO_NODE, incarnation, name: name.to_owned() };
    directory.set_identity(&identity)?;
    let held = forget_the_log(&directory, NO_NODE, map_bytes)?;
    Ok((cluster_id, held))
}

/// Which cluster the state in a detached directory is of, and what it says of itself. None when there is no
/// data directory at `path`, or one that is a node's. Blocks.
///
/// # Errors
/// The directory is in use, or damaged.
pub fn held(
    path: &Path,
    map_bytes: u64,
) -> Result<Option<(ClusterId, StateSummary)>, StorageError> {
    if !data_dir::is_made(path) {
        return Ok(None);
    }
    let directory = DataDir::open_existing(path)?;
    let identity = directory.identity();
    if identity.node_id != NO_NODE {
        return Ok(None);
    }
    check_trusted(&directory)?;
    let held = summary_of(&directory.state_path(), map_bytes)?;
    directory.forget_claims()?;
    Ok(Some((identity.cluster_id, held)))
}

/// What a node does not trust is no beginning for another.
fn check_trusted(directory: &DataDir) -> Result<(), StorageError> {
    match DistrustMark::read(directory.path())? {
        None => Ok(()),
        Some(reason) => Err(StorageError::Distrusted { path: directory.path().to_owned(), reason }),
    }
}

/// Empties a detached directory whose state is of no use, so that the next open makes a new one;
/// one that was half emptied, too. One that is a node's by now stays as it is. Blocks.
///
/// # Errors
/// The directory is in use, or the disk's.
pub fn empty(path: &Path) -> Result<(), StorageError> {
    if data_dir::is_made(path) {
        let directory = DataDir::open_existing(path)?;
        if directory.identity().node_id != NO_NODE {
            return Ok(());
        }
    }
    data_dir::remove_contents(path)
}

/// Gives a detached directory its identity. Blocks.
pub(super) fn adopt(
    directory: &DataDir,
    identity: &Identity,
    map_bytes: u64,
) -> Result<(), StorageError> {
    forget_the_log(directory, identity.node_id, map_bytes)?;
    directory.set_identity(identity)
}

fn forget_the_log(
    directory: &DataDir,
    node_id: NodeId,
    map_bytes: u64,
) -> Result<StateSummary, StorageError> {
    let held = summary_of(&directory.state_path(), map_bytes)?;
    directory.forget_claims()?;
    reset(&directory.log_path(), map_bytes, held.applied, node_id)?;
    // The log begins behind the state, and so behind every snapshot but a new one.
    for path in [directory.snapshots_path(), directory.incoming_path()] {
        let failed = |source| StorageError::io("clear", &path, source);
        for entry in fs::read_dir(&path).map_err(failed)? {
            fs::remove_file(entry.map_err(failed)?.path()).map_err(failed)?;
        }
    }
    Ok(held)
}
