//! What can be wrong with a snapshot file.

use std::io;

use crate::types::ClusterId;

/// Why a snapshot cannot be read. The file is named by the error around it.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Another kind of file.
    #[error("it is not a snapshot file")]
    NotASnapshot,
    /// Written by a newer release.
    #[error("it has format {found}, this release reads up to {newest}; run the newer release")]
    NewerFormat {
        /// Its format.
        found: u32,
        /// The newest format this release reads.
        newest: u32,
    },
    /// Made by another cluster.
    #[error("it belongs to cluster {found}, this node to cluster {expected}")]
    OtherCluster {
        /// The cluster in its header.
        found: ClusterId,
        /// This node's.
        expected: ClusterId,
    },
    /// The header is damaged.
    #[error("its header is corrupt: {reason}; fetch it again")]
    CorruptHeader {
        /// What is wrong with it.
        reason: String,
    },
    /// A chunk is damaged.
    #[error("its chunk {chunk} is corrupt: {reason}; fetch it again")]
    CorruptChunk {
        /// Which one, from 0.
        chunk: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file ends too early.
    #[error("it is truncated in {place}; fetch it again")]
    Truncated {
        /// Where the bytes ended.
        place: String,
    },
    /// Every chunk is whole, but the file is not the one that was written.
    #[error("its digest does not match its contents; fetch it again")]
    DigestMismatch,
    /// Bytes after the end.
    #[error("it goes on after its end; fetch it again")]
    TrailingBytes,
    /// A table has fewer or more records than the header says.
    #[error("table {table} has {found} records, its header says {expected}; fetch it again")]
    WrongCount {
        /// The table.
        table: &'static str,
        /// How many there are.
        found: u64,
        /// How many there should be.
        expected: u64,
    },
    /// The state in it is not the one its header describes.
    #[error("its contents contradict its header: {reason}; fetch it again")]
    Contradiction {
        /// In what.
        reason: &'static str,
    },
    /// The system refused to read or write it.
    #[error("cannot {action} it: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The system's words.
        source: io::Error,
    },
}
