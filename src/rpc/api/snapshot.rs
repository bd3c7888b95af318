//! Reading a snapshot through a client's connection, for backups.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::types::{ClusterId, LogId};

/// Asks for a snapshot to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotOpenRequest {
    /// The one whose reading was begun; another is answered when the node no longer has it.
    pub resume: Option<[u8; 32]>,
    /// The entry it must hold; none at first: everything acknowledged until now.
    pub least_index: Option<u64>,
}

/// The answer to [`SnapshotOpenRequest`]. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotOpened {
    /// It is being written: ask again, with this index.
    Writing {
        /// The entry it will hold.
        least_index: u64,
    },
    /// It can be read, for a while after each piece.
    Ready(SnapshotInfo),
}

/// What a snapshot says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// SHA-256 of the file.
    pub digest: [u8; 32],
    /// Its size.
    pub size_bytes: u64,
    /// The cluster it is of.
    pub cluster_id: ClusterId,
    /// The last entry it holds.
    pub last_log_id: Option<LogId>,
    /// The main revision.
    pub revision: u64,
    /// The oldest readable main revision.
    pub compact_revision: u64,
    /// User keys, deleted ones that compaction has not reached included.
    pub keys: u64,
}

/// Asks for a piece of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotReadRequest {
    /// Which.
    pub digest: [u8; 32],
    /// Where the piece begins.
    pub offset_bytes: u64,
}

/// A piece of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPiece {
    /// CRC-32 of `bytes`.
    pub checksum: u32,
    /// At most 1 MiB; nothing at the end of the file.
    pub bytes: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
        postcard::to_stdvec(value).expect("encodable")
    }

    #[test]
    fn the_bytes_of_reading_a_snapshot_are_pinned() {
        let open = SnapshotOpenRequest { resume: Some([7; 32]), least_index: None };
        assert_eq!(bytes(&open), [&[1][..], &[7; 32], &[0]].concat());
        assert_eq!(bytes(&SnapshotOpened::Writing { least_index: 300 }), [0, 0xac, 2]);
        let info = SnapshotInfo {
            digest: [8; 32],
            size_bytes: 5,
            cluster_id: ClusterId(9),
            last_log_id: Some(LogId { term: 1, index: 2 }),
            revision: 3,
            compact_revision: 0,
            keys: 4,
        };
        let expected = [&[1][..], &[8; 32], &[5, 9, 1, 1, 2, 3, 0, 4]].concat();
        assert_eq!(bytes(&SnapshotOpened::Ready(info)), expected);
        let read = SnapshotReadRequest { digest: [7; 32], offset_bytes: 300 };
        assert_eq!(bytes(&read), [&[7; 32][..], &[0xac, 2]].concat());
        let piece = SnapshotPiece { checksum: 6, bytes: Bytes::from_static(b"ab") };
        assert_eq!(bytes(&piece), [6, 2, b'a', b'b']);
    }
}
