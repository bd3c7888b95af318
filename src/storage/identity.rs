//! Which node of which cluster a data directory belongs to.
//!
//! Drawn when the directory is created and checked on every connection between peers: a node that
//! finds itself with the directory of another cluster, or of another node, is told so before it can
//! say anything to a quorum. A copy of the directory has the same identity: which of the two may go
//! on, and that one was not put back older, is what each start claims anew (`claim`).

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{StorageError, durable_file, envelope};
use crate::types::{ClusterId, NodeId};

/// The newest version of the identity file this release reads, and the one it writes.
const IDENTITY_VERSION: u8 = 1;

/// Who a node is. Never changes in the life of its data directory.
///
/// On disk: an envelope (see `envelope`) around these fields in postcard. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// The node's id in it, never used twice.
    pub node_id: NodeId,
    /// 128 random bits drawn with the directory: a wiped node that is started anew under its id differs
    /// in it from the one before.
    pub incarnation: u128,
    /// The node's name, as its operator gave it.
    pub name: String,
}

impl Identity {
    /// Writes the identity to `path`; on the disk when this returns.
    pub(crate) fn write(&self, path: &Path) -> Result<(), StorageError> {
        durable_file::replace(path, &envelope::seal(IDENTITY_VERSION, self))
    }

    /// Reads the identity from `path`.
    pub(crate) fn read(path: &Path) -> Result<Self, StorageError> {
        let bytes = durable_file::read(path)?
            .ok_or_else(|| StorageError::Missing { path: path.to_owned() })?;
        envelope::unseal(IDENTITY_VERSION, &bytes)
            .map_err(|error| StorageError::envelope("the identity", path, &error))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Some identity.
    pub(crate) fn identity() -> Identity {
        Identity { cluster_id: ClusterId(0xC1), node_id: 7, incarnation: 0xAB, name: "n1".into() }
    }

    #[test]
    fn the_bytes_of_an_identity_are_pinned() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("IDENTITY");
        identity().write(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes[..1], [1]);
        assert_eq!(bytes[5..], [0xC1, 1, 7, 0xAB, 1, 2, b'n', b'1']);
        assert_eq!(Identity::read(&path).unwrap(), identity());
    }

    #[test]
    fn a_flipped_bit_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("IDENTITY");
        identity().write(&path).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[7] ^= 4;
        std::fs::write(&path, bytes).unwrap();
        let message = Identity::read(&path).unwrap_err().to_string();
        assert!(message.starts_with("the identity in /"), "{message}");
        assert!(message.contains("IDENTITY is corrupt: its checksum"), "{message}");
    }

    #[test]
    fn a_newer_identity_names_both_versions() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("IDENTITY");
        std::fs::write(&path, envelope::seal(3, &identity())).unwrap();
        let message = Identity::read(&path).unwrap_err().to_string();
        assert!(message.contains("has format 3, this release reads up to 1"), "{message}");
    }
}
