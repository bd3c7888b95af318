//! Fetching a snapshot from a peer, for a node that does not run.
//!
//! What was received lies in `incoming/` under the digest of the whole file, so a transfer that was
//! cut goes on with the next try, as long as the peer still has that file.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

use crate::rpc::api::{SnapshotInfo, SnapshotOpenRequest, SnapshotOpened, SnapshotReadRequest};
use crate::rpc::peer::{PeerCallError, PeerConnection};
use crate::storage::snapshot::SnapshotFile;
use crate::storage::{DataDir, StorageError};

/// How long a peer may take to answer one call.
const CALL_MAX: Duration = Duration::from_secs(15);
/// The pause before a peer that writes a snapshot is asked again.
const WRITING_PAUSE: Duration = Duration::from_millis(200);
/// How often a peer that writes a snapshot is asked.
const WRITING_ASKED_MAX: u32 = 3_000;
/// Pieces of one transfer that may arrive damaged.
const DAMAGED_MAX: u32 = 3;

/// Why a peer gave no snapshot.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// The peer could not be asked, or refused.
    #[error(transparent)]
    Peer(#[from] PeerCallError),
    /// What it has does not reach what this node's log has lost.
    #[error("it has applied entry {applied}, this node's log begins after {least}")]
    Behind { applied: u64, least: u64 },
    /// What it sent is not what it has.
    #[error("what it sends arrives damaged")]
    Damaged,
    /// It did not finish writing one.
    #[error("it does not finish writing a snapshot")]
    NeverWritten,
    /// This node's disk refused.
    #[error(transparent)]
    Disk(StorageError),
}

/// Fetches a snapshot that holds the entry `least` at least, into the directory's `incoming/`.
pub(super) async fn fetch(
    peer: &PeerConnection,
    directory: &DataDir,
    least: Option<u64>,
) -> Result<SnapshotFile, FetchError> {
    let info = open(peer).await?;
    let applied = info.last_log_id.map_or(0, |last| last.index);
    if let Some(least) = least.filter(|least| *least > applied) {
        return Err(FetchError::Behind { applied, least });
    }
    let path = part_of(directory, &info.digest);
    receive(peer, &info, &path).await?;
    let opened = tokio::task::spawn_blocking(move || SnapshotFile::open(&path)).await;
    match opened {
        Ok(Ok(file)) if file.digest() == info.digest => Ok(file),
        _ => {
            discard(directory, &info.digest);
            Err(FetchError::Damaged)
        }
    }
}

/// Removes a received file that was found to be no good.
pub(super) fn discard(directory: &DataDir, digest: &[u8; 32]) {
    if let Err(error) = std::fs::remove_file(part_of(directory, digest)) {
        tracing::debug!(%error, "what was received is removed with the next snapshot");
    }
}

fn part_of(directory: &DataDir, digest: &[u8; 32]) -> PathBuf {
    let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    directory.incoming_path().join(name + ".part")
}

async fn open(peer: &PeerConnection) -> Result<SnapshotInfo, FetchError> {
    let mut request = SnapshotOpenRequest::default();
    for _ in 0..WRITING_ASKED_MAX {
        match peer.snapshot_open(request, CALL_MAX).await? {
            SnapshotOpened::Ready(info) => return Ok(info),
            SnapshotOpened::Writing { least_index } => {
                request.least_index = Some(least_index);
                sleep(WRITING_PAUSE).await;
            }
        }
    }
    Err(FetchError::NeverWritten)
}

/// Receives what the file at `path` lacks. Ends with a synced file.
async fn receive(
    peer: &PeerConnection,
    info: &SnapshotInfo,
    path: &Path,
) -> Result<(), FetchError> {
    let failed = |source| FetchError::Disk(StorageError::io("receive a snapshot in", path, source));
    let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
    let mut offset_bytes = file.metadata().map_err(failed)?.len();
    if offset_bytes > info.size_bytes {
        file.set_len(0).map_err(failed)?;
        offset_bytes = 0;
    }
    let mut damaged = 0;
    while offset_bytes < info.size_bytes {
        let request = SnapshotReadRequest { digest: info.digest, offset_bytes };
        let piece = peer.snapshot_read(request, CALL_MAX).await?;
        let fits = offset_bytes.saturating_add(piece.bytes.len() as u64) <= info.size_bytes;
        if piece.bytes.is_empty() || !fits || crc32fast::hash(&piece.bytes) != piece.checksum {
            damaged += 1;
            if damaged == DAMAGED_MAX {
                return Err(FetchError::Damaged);
            }
            continue;
        }
        offset_bytes += piece.bytes.len() as u64;
        // Nothing else runs on this node: a write of one piece holds nobody up.
        file.write_all(&piece.bytes).map_err(failed)?;
    }
    let synced = tokio::task::spawn_blocking(move || file.sync_all()).await;
    synced.unwrap_or_else(|error| Err(error.into())).map_err(failed)
}
