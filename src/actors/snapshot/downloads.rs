//! Snapshots read by clients, for backups.
//!
//! What a client has opened is kept open until it has read nothing of it for a while; it may be
//! read again from any place until then. Who opens one while it is written shares it.
//!
//! # On failure
//! A snapshot that cannot be written is the client's error. A client that is slower than the limit
//! opens the snapshot anew, and reads on where it was if it is still there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::send::read_piece;
use super::{SnapshotHandle, name_of};
use crate::rpc::api::{SnapshotInfo, SnapshotOpenRequest, SnapshotOpened, SnapshotPiece};
use crate::storage::snapshot::SnapshotFile;
use crate::types::{LogId, RequestError};

/// Snapshots open for clients at one time.
const OPEN_MAX: usize = 8;
/// One that nobody reads for this long is closed.
const UNREAD_MAX: Duration = Duration::from_secs(60);
/// How long a call waits for a snapshot that is being written.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);
/// Pieces in memory at one time, for all clients.
const PIECES_MAX: usize = 16;

/// What clients have opened.
pub(super) struct Downloads {
    open: Mutex<HashMap<[u8; 32], Download>>,
    pieces: Semaphore,
}

struct Download {
    file: SnapshotFile,
    read: Instant,
}

impl Downloads {
    pub(super) fn new() -> Self {
        Self { open: Mutex::default(), pieces: Semaphore::new(PIECES_MAX) }
    }

    fn get(&self, digest: &[u8; 32]) -> Option<SnapshotFile> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let download = open.get_mut(digest)?;
        download.read = Instant::now();
        Some(download.file.clone())
    }

    fn keep(&self, file: &SnapshotFile) -> Result<(), RequestError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= OPEN_MAX && !open.contains_key(&file.digest()) {
            let retry_after_ms = u64::try_from(UNREAD_MAX.as_millis()).unwrap_or(u64::MAX);
            return Err(RequestError::Overloaded { retry_after_ms });
        }
        open.insert(file.digest(), Download { file: file.clone(), read: Instant::now() });
        Ok(())
    }

    /// Closes what nobody reads. Answers whether something is left open.
    fn sweep(&self) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, download| download.read.elapsed() < UNREAD_MAX);
        !open.is_empty()
    }
}

impl SnapshotHandle {
    /// A client wants to read a snapshot. The caller has made sure that this node has applied what
    /// was acknowledged when it asked for the first time.
    pub async fn open_download(
        &self,
        request: SnapshotOpenRequest,
    ) -> Result<SnapshotOpened, RequestError> {
        let shared = self.shared.clone();
        shared.raft.trust().check_gives()?;
        let downloads = &shared.downloads;
        if let Some(digest) = request.resume {
            let kept = downloads.get(&digest).or_else(|| shared.raft.state().snapshot(&digest));
            if let Some(file) = kept {
                return self.ready(file);
            }
        }
        let applied = shared.raft.applied_log_id();
        let applied = applied.ok_or_else(|| unavailable("the node holds no data yet"))?;
        let least = request.least_index.unwrap_or(applied.index);
        if least > applied.index {
            return Err(unavailable("this node is behind the one that was asked first"));
        }
        let state = shared.raft.state().clone();
        // In a task of its own: a client that goes away must not leave half a file, and the next
        // call finds what this one began.
        let export = tokio::spawn(async move {
            let holds = |last: Option<LogId>| last.is_some_and(|last| last.index >= least);
            state.export(|file| holds(name_of(file).last_log_id)).await
        });
        match timeout(WRITTEN_WITHIN, export).await {
            Err(_elapsed) => Ok(SnapshotOpened::Writing { least_index: least }),
            Ok(Ok(Ok(file))) => self.ready(file),
            Ok(Ok(Err(error))) => Err(shared.raft.unreadable(&error)),
            Ok(Err(error)) => Err(unavailable(&error.to_string())),
        }
    }

    /// A client reads a piece of a snapshot that it opened.
    pub async fn read_download(
        &self,
        digest: [u8; 32],
        offset_bytes: u64,
    ) -> Result<SnapshotPiece, RequestError> {
        let shared = &self.shared;
        shared.raft.trust().check_gives()?;
        let file = shared.downloads.get(&digest);
        let file = file.ok_or_else(|| unavailable("the snapshot is no longer open; open it"))?;
        if offset_bytes >= file.size_bytes() {
            return Ok(SnapshotPiece { checksum: crc32fast::hash(&[]), bytes: Default::default() });
        }
        shared.raft.pace().admit(crate::rpc::transport::limits::SNAPSHOT_CHUNK_BYTES_MAX).await;
        let admitted = shared.downloads.pieces.acquire().await;
        let _admitted = admitted.map_err(|_closed| unavailable("the node stops"))?;
        let bytes = read_piece(&file, offset_bytes).await;
        let bytes = bytes.map_err(|error| unavailable(&error.to_string()))?;
        Ok(SnapshotPiece { checksum: crc32fast::hash(&bytes), bytes })
    }

    fn ready(&self, file: SnapshotFile) -> Result<SnapshotOpened, RequestError> {
        self.shared.downloads.keep(&file)?;
        close_when_unread(&self.shared);
        let header = file.header();
        Ok(SnapshotOpened::Ready(SnapshotInfo {
            digest: file.digest(),
            size_bytes: file.size_bytes(),
            cluster_id: header.cluster_id,
            last_log_id: header.last_log_id,
            revision: header.revision,
            compact_revision: header.compact_revision,
            keys: header.key_count(),
        }))
    }
}

/// Closes what nobody reads, as long as something is open.
fn close_when_unread(shared: &Arc<super::Shared>) {
    let shared = Arc::downgrade(shared);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UNREAD_MAX / 2).await;
            if !shared.upgrade().is_some_and(|shared| shared.downloads.sweep()) {
                return;
            }
        }
    });
}

fn unavailable(reason: &str) -> RequestError {
    RequestError::Unavailable { reason: reason.to_owned() }
}
