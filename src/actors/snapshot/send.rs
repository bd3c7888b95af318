//! Sending a snapshot file to a node: offer, then the pieces it lacks. Installing is a call apart.
//!
//! The receiver says where to begin, and after each piece where to go on, so a transfer that was
//! cut is taken up by sending it again. One piece is in flight while the next is read: memory is
//! two pieces, whatever the file.

use std::time::Duration;

use bytes::Bytes;

use super::pace::Pace;
use crate::rpc::peer::{PeerCallError, PeerConnection, SnapshotChunk, SnapshotOffer};
use crate::rpc::transport::limits::SNAPSHOT_CHUNK_BYTES_MAX;
use crate::storage::snapshot::SnapshotFile;
use crate::types::Vote;

/// A receiver that takes longer for one piece has stalled.
pub(in crate::actors) const PIECE_MAX: Duration = Duration::from_secs(15);
/// Verifying and installing a whole snapshot may take this long.
pub(in crate::actors) const INSTALL_MAX: Duration = Duration::from_secs(900);

/// Why a file was not sent to its end.
#[derive(Debug, thiserror::Error)]
pub(in crate::actors) enum SendError {
    /// The receiver did not take it.
    #[error(transparent)]
    Call(#[from] PeerCallError),
    /// The file could not be read.
    #[error("cannot read the snapshot {path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// The system's words.
        reason: String,
    },
}

/// Sends what the receiver lacks of `file`; `sent` is told how many bytes it has.
pub(in crate::actors) async fn send(
    connection: &PeerConnection,
    file: &SnapshotFile,
    vote: Vote,
    pace: &Pace,
    mut sent: impl FnMut(u64),
) -> Result<(), SendError> {
    let size_bytes = file.size_bytes();
    let progress = connection.snapshot_offer(offer(file, vote), PIECE_MAX).await?;
    let mut offset_bytes = progress.offset_bytes;
    sent(offset_bytes);
    let mut ahead: Option<(u64, Bytes)> = None;
    while offset_bytes < size_bytes {
        let bytes = match ahead.take() {
            Some((at, bytes)) if at == offset_bytes => bytes,
            _ => read_piece(file, offset_bytes).await?,
        };
        pace.admit(bytes.len()).await;
        let next = offset_bytes + bytes.len() as u64;
        let chunk = SnapshotChunk {
            digest: file.digest(),
            offset_bytes,
            checksum: crc32fast::hash(&bytes),
            bytes,
        };
        let (progress, read) = tokio::join!(
            connection.snapshot_chunk(chunk, PIECE_MAX),
            read_piece_before(file, next, size_bytes)
        );
        offset_bytes = progress?.offset_bytes;
        ahead = Some((next, read?));
        sent(offset_bytes);
    }
    Ok(())
}

fn offer(file: &SnapshotFile, vote: Vote) -> SnapshotOffer {
    let header = file.header();
    SnapshotOffer {
        vote,
        last_log_id: header.last_log_id,
        membership_log_id: header.membership_log_id,
        membership: header.membership.clone(),
        size_bytes: file.size_bytes(),
        digest: file.digest(),
    }
}

/// The piece at `offset_bytes`, or nothing when that is the end.
async fn read_piece_before(
    file: &SnapshotFile,
    offset_bytes: u64,
    end: u64,
) -> Result<Bytes, SendError> {
    if offset_bytes >= end { Ok(Bytes::new()) } else { read_piece(file, offset_bytes).await }
}

/// One piece of the file, read off the runtime's threads.
pub(in crate::actors) async fn read_piece(
    file: &SnapshotFile,
    offset_bytes: u64,
) -> Result<Bytes, SendError> {
    let reader = file.clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut piece = vec![0; SNAPSHOT_CHUNK_BYTES_MAX];
        let length = reader.read_at(&mut piece, offset_bytes)?;
        piece.truncate(length);
        std::io::Result::Ok(Bytes::from(piece))
    });
    let unreadable = |reason: String| {
        let path = file.path().display().to_string();
        SendError::Unreadable { path, reason }
    };
    match read.await {
        Ok(Ok(bytes)) if bytes.is_empty() => Err(unreadable("it ends too early".to_owned())),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(unreadable(error.to_string())),
        Err(error) => Err(unreadable(error.to_string())),
    }
}
