//! `PEERS`: where the members of the cluster were last reached by their peers.
//!
//! Kept beside the state, which says the same, for the day when the state cannot be read. It is a
//! hint: who answers there proves with the cluster's keys and its identity who it is.
//!
//! On disk: an envelope (see `envelope`) around a list of node ids and addresses in postcard.

use std::collections::BTreeMap;
use std::path::Path;

use crate::storage::{StorageError, durable_file, envelope};
use crate::types::NodeId;

/// The newest version of the file this release reads, and the one it writes.
const PEERS_VERSION: u8 = 1;

/// The file's name.
pub(in crate::storage) const PEERS: &str = "PEERS";

/// The address book in a data directory.
#[derive(Clone, Copy, Debug)]
pub struct PeerBook;

impl PeerBook {
    /// Where each member was last reached, `HOST:PORT`. Nothing when there is no book, or what
    /// there is cannot be read.
    ///
    /// # Errors
    /// The disk's.
    pub fn read(data_dir: &Path) -> Result<BTreeMap<NodeId, String>, StorageError> {
        let path = data_dir.join(PEERS);
        let Some(bytes) = durable_file::read(&path)? else { return Ok(BTreeMap::new()) };
        Ok(envelope::unseal(PEERS_VERSION, &bytes).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "the peers' addresses cannot be read");
            BTreeMap::new()
        }))
    }

    /// Writes down where each member is reached; on the disk when this returns. Blocks.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(data_dir: &Path, peers: &BTreeMap<NodeId, String>) -> Result<(), StorageError> {
        durable_file::replace(&data_dir.join(PEERS), &envelope::seal(PEERS_VERSION, peers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_peer_book_are_pinned_and_damage_makes_it_empty() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(PEERS);
        assert_eq!(PeerBook::read(directory.path()).unwrap(), BTreeMap::new());
        let peers = BTreeMap::from([(1, "h:1".to_owned()), (300, "h:2".to_owned())]);
        PeerBook::write(directory.path(), &peers).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes[0], 1);
        assert_eq!(bytes[5..], [&[2, 1, 3][..], b"h:1", &[0xac, 2, 3], b"h:2"].concat());
        assert_eq!(PeerBook::read(directory.path()).unwrap(), peers);
        bytes[8] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(PeerBook::read(directory.path()).unwrap(), BTreeMap::new());
    }
}
