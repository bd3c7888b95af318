//! Data directories from snapshot files and from copies: what an operator does by hand while no
//! node runs on them.
//!
//! - **A new cluster** from a snapshot: members, node ids and the cluster's identity are new; keys,
//!   users and the answers kept for retries stay. The revision is moved up by [`REVISION_STEP`], and
//!   what is below counts as compacted: the old cluster may have gone on behind the snapshot, and a
//!   revision that a client remembers from there must not come to name another value. Founders that
//!   restore the same file with the same list and the same step are one cluster.
//! - **A new member** from a snapshot, or from the copy of a stopped member's directory: the state
//!   is there, the identity is not. `serve --join` has the cluster give it one, and only the log's
//!   tail is sent to it.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::founding;
use crate::auth::cluster_key::CLUSTER_KEY_FILE;
use crate::config::{InitialCluster, NodeConfig};
use crate::storage::detached::{NO_NODE, detach, restore_snapshot};
use crate::storage::log::LogOptions;
use crate::storage::state::{Founding, StateOptions, StateSummary};
use crate::storage::{Identity, Salvaged, SnapshotFile, StorageError, save_from_directory};
use crate::types::{ClusterId, LogId, MembershipConfig};

/// Sets this digest apart from every other use of SHA-256.
const RESTORED_DOMAIN: &[u8] = b"chainfire restored cluster v1\0";

/// How far a restored cluster's revision is moved up: more writes than any cluster makes behind a
/// backup that it is restored from.
pub const REVISION_STEP: u64 = 1_000_000_000;

/// Why a data directory was not made.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file or the directory cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The list of founders does not name the node.
    #[error("the initial cluster does not list {name}; add it, or give the right --name")]
    NotAFounder {
        /// The node's name.
        name: String,
    },
}

/// What a data directory was made into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Whose data directory it is.
    pub identity: Identity,
    /// The last entry in its state.
    pub last_log_id: Option<LogId>,
    /// Where clients reached the members of the cluster that the state is of.
    pub client_addrs: Vec<String>,
    /// Whether the directory holds the cluster's keys as well.
    pub has_cluster_key: bool,
}

impl Restored {
    fn new(data_dir: &Path, identity: Identity, held: StateSummary) -> Self {
        let has_cluster_key = data_dir.join(CLUSTER_KEY_FILE).exists();
        let StateSummary { applied, client_addrs } = held;
        Self { identity, last_log_id: applied, client_addrs, has_cluster_key }
    }
}

/// Makes `data_dir` the directory of the founder `name` of a new cluster with the state in `file`.
/// Without a list the node is alone. Blocks.
pub fn restore_new_cluster(
    file: &Path,
    data_dir: &Path,
    name: &str,
    founders: Option<&InitialCluster>,
    revision_step: u64,
) -> Result<Restored, RestoreError> {
    let file = SnapshotFile::open(file)?;
    let defaults = NodeConfig { name: name.to_owned(), ..NodeConfig::default() };
    let listed = founders.is_some();
    let founders = founders.cloned().unwrap_or_else(|| defaults.founders(defaults.listen_peer));
    let incarnation = rand::random();
    let identity = founding::identity(&founders, listed, name, incarnation);
    let founded = identity.ok_or_else(|| RestoreError::NotAFounder { name: name.to_owned() })?;
    let cluster_id = restored_cluster_id(founded.cluster_id, &file.digest(), revision_step);
    let identity = Identity { cluster_id, ..founded };
    let nodes = founders.members();
    let members = MembershipConfig { voter_sets: vec![nodes.keys().copied().collect()], nodes };
    make(&file, data_dir, identity, Some(Founding { members, revision_step }))
}

/// Makes `data_dir` a detached directory with the state in `file`: `serve --join` makes it a new
/// member of the cluster the snapshot is of. Blocks.
pub fn restore_new_member(
    file: &Path,
    data_dir: &Path,
    name: &str,
) -> Result<Restored, RestoreError> {
    let file = SnapshotFile::open(file)?;
    let cluster_id = file.header().cluster_id;
    let incarnation = rand::random();
    let identity = Identity { cluster_id, node_id: NO_NODE, incarnation, name: name.to_owned() };
    make(&file, data_dir, identity, None)
}

/// Takes `data_dir`, the copy of a stopped member's directory, away from that member, so that
/// `serve --join` makes it a new one. Blocks.
pub fn detach_copy(data_dir: &Path, name: &str) -> Result<Restored, RestoreError> {
    let map_bytes = NodeConfig::default().storage.state_map_bytes;
    let incarnation = rand::random();
    let (cluster_id, held) = detach(data_dir, name, incarnation, map_bytes)?;
    let identity = Identity { cluster_id, node_id: NO_NODE, incarnation, name: name.to_owned() };
    Ok(Restored::new(data_dir, identity, held))
}

/// Saves what the stopped node in `data_dir` holds to `file`: its state, and all of its log.
pub async fn save_from_data_dir(data_dir: &Path, file: &Path) -> Result<Salvaged, RestoreError> {
    let config = NodeConfig::default().storage;
    let log = LogOptions { map_bytes: config.log_map_bytes, ..LogOptions::default() };
    let state = StateOptions { map_bytes: config.state_map_bytes, ..StateOptions::default() };
    Ok(save_from_directory(data_dir, file, log, state).await?)
}

fn make(
    file: &SnapshotFile,
    data_dir: &Path,
    identity: Identity,
    founding: Option<Founding>,
) -> Result<Restored, RestoreError> {
    let map_bytes = NodeConfig::default().storage.state_map_bytes;
    let held = restore_snapshot(data_dir, identity.clone(), map_bytes, file, founding)?;
    Ok(Restored::new(data_dir, identity, held))
}

/// The same for every founder with the same list, the same file and the same step, whose states are
/// the same; and of no other cluster.
fn restored_cluster_id(founded: ClusterId, digest: &[u8; 32], revision_step: u64) -> ClusterId {
    let mut hasher = Sha256::new();
    hasher.update(RESTORED_DOMAIN);
    hasher.update(founded.0.to_be_bytes());
    hasher.update(digest);
    hasher.update(revision_step.to_be_bytes());
    let digest = hasher.finalize();
    let (head, _) = digest.split_first_chunk().expect("SHA-256 has 32 bytes");
    ClusterId(u128::from_be_bytes(*head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_cluster_is_neither_the_founded_one_nor_that_of_another_snapshot() {
        let founded = ClusterId(7);
        let restored = restored_cluster_id(founded, &[1; 32], 5);
        assert_ne!(restored, founded);
        assert_ne!(restored, restored_cluster_id(founded, &[1; 32], 6));
        assert_ne!(restored, restored_cluster_id(founded, &[2; 32], 5));
        assert_ne!(restored, restored_cluster_id(ClusterId(8), &[1; 32], 5));
        assert_eq!(restored, ClusterId(0xdf43f54f_8956eb1b_10154fa8_f6c2562f), "never changes");
    }
}
