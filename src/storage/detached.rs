//! Data directories whose state is there and whose identity is not given yet: made from a snapshot
//! file, or from the copy of a stopped member's directory.
//!
//! Such a directory names its cluster and has [`NO_NODE`] for its node id. `serve` refuses it;
//! `serve --join` has the cluster give it an id, and `adopt` writes that. The member it was
//! copied from is never mistaken for it: its id is gone before anything else happens.
//!
//! # What must stay true
//! - The log of a detached directory counts for nothing: what is committed in it is in the cluster's
//!   log, what is not must not be remembered. It is replaced by one that begins behind the state.
//! - Every step can be done again after a crash.

use std::fs;
use std::path::Path;

use super::data_dir::DataDir;
use super::log::reset;
use super::snapshot::SnapshotFile;
use super::state::{applied_of, restore};
use super::{Identity, StorageError};
use crate::types::{ClusterId, LogId, MembershipConfig, NodeId};

/// The node id of a directory that belongs to no member yet. No member has it.
pub const NO_NODE: NodeId = 0;

/// Makes a data directory from a snapshot file: of a new cluster with these founders, or detached.
/// It is a data directory only when this has succeeded. Blocks.
///
/// # Errors
/// `path` exists and is not empty; the file is damaged; the disk is full.
pub fn restore_snapshot(
    path: &Path,
    identity: Identity,
    map_bytes: u64,
    file: &SnapshotFile,
    founders: Option<MembershipConfig>,
) -> Result<Option<LogId>, StorageError> {
    let node_id = identity.node_id;
    DataDir::create_filled(path, identity, |directory| {
        let applied = restore(&directory.join("state"), map_bytes, file, founders)?;
        reset(&directory.join("log"), map_bytes, applied, node_id)?;
        Ok(applied)
    })
}

/// Takes the copy of a stopped member's directory away from that member. Answers its cluster and
/// the last entry in its state. Blocks.
///
/// # Errors
/// The directory is in use, or none of ours.
pub fn detach(
    path: &Path,
    name: &str,
    incarnation: u128,
    map_bytes: u64,
) -> Result<(ClusterId, Option<LogId>), StorageError> {
    let directory = DataDir::open_existing(path)?;
    let cluster_id = directory.identity().cluster_id;
    let identity = Identity { cluster_id, node_id: NO_NODE, incarnation, name: name.to_owned() };
    directory.set_identity(&identity)?;
    let applied = forget_the_log(&directory, NO_NODE, map_bytes)?;
    Ok((cluster_id, applied))
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
) -> Result<Option<LogId>, StorageError> {
    let applied = applied_of(&directory.state_path(), map_bytes)?;
    reset(&directory.log_path(), map_bytes, applied, node_id)?;
    // The log begins behind the state, and so behind every snapshot but a new one.
    for path in [directory.snapshots_path(), directory.incoming_path()] {
        let failed = |source| StorageError::io("clear", &path, source);
        for entry in fs::read_dir(&path).map_err(failed)? {
            fs::remove_file(entry.map_err(failed)?.path()).map_err(failed)?;
        }
    }
    Ok(applied)
}
