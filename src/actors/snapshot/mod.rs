//! Snapshots between nodes: receiving them, and giving one to a node before it is a member.
//!
//! ```text
//! leader                     source (a follower, or the leader)        target (not yet a member)
//! preseed ── seed, polled ──> seeding: export (shared) ── status ────> what it holds
//!                                      offer, pieces  ────────────────> actor: incoming/DIGEST.part
//!         <── how far it is ──         install        ────────────────> verify, build, switch
//! ```
//!
//! Reading order: [`preseed`](SnapshotHandle::preseed) (the leader's side: choosing a source and
//! following it), `seeding` (the source's side), `send` and `pace` (the transfer), `actor` and
//! `parts` (the target's side).
//!
//! # What must stay true
//! - A transfer is named by the digest of the file. The target keeps what it has received; a source
//!   that still has that file goes on with it, whoever leads by then. A source keeps a file open
//!   for as long as it sends it, and the two newest on its shelf, so it can go on after a restart
//!   unless two newer ones were written meanwhile.
//! - A target that stalls is given up after `snapshot.transfer_stall_ms`, and the file with it; a
//!   leader that no longer asks is given up as well.

mod actor;
mod downloads;
mod pace;
mod parts;
mod preseed;
mod seeding;
pub(super) mod send;
mod sources;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::oneshot;

pub(super) use actor::{SnapshotActor, SnapshotArgs, SnapshotMessage};
pub use pace::Pace;
pub use preseed::{PreseedError, PreseedProgress, PreseedTarget};

use self::actor::{Reply, WAITING_MAX};
use self::downloads::Downloads;
use self::seeding::Seedings;
use super::mailbox::Mailbox;
use super::raft::RaftHandle;
use super::trust::Duty;
use crate::config::SnapshotConfig;
use crate::rpc::peer::{
    PeerRefusal, SeedReport, SeedRequest, SnapshotChunk, SnapshotName, SnapshotOffer,
    SnapshotProgress, SnapshotStatus,
};
use crate::storage::snapshot::SnapshotFile;
use crate::types::Vote;

/// The way to the snapshot actor, and to the transfers this node is the source of.
#[derive(Clone)]
pub struct SnapshotHandle {
    pub(super) mailbox: Mailbox<SnapshotMessage>,
    shared: Arc<Shared>,
}

struct Shared {
    raft: RaftHandle,
    incoming: PathBuf,
    seedings: Seedings,
    downloads: Downloads,
}

impl SnapshotHandle {
    pub(super) fn new(raft: RaftHandle, config: SnapshotConfig, incoming: PathBuf) -> Self {
        let seedings = Seedings::new(raft.clone(), config);
        let downloads = Downloads::new();
        let shared = Arc::new(Shared { raft, incoming, seedings, downloads });
        Self { mailbox: Mailbox::new("snapshot", WAITING_MAX), shared }
    }

    /// A peer offers a snapshot; answers where to start.
    pub async fn offer(&self, offer: SnapshotOffer) -> Result<SnapshotProgress, PeerRefusal> {
        self.ask(|reply| SnapshotMessage::Offer(Box::new(offer), reply)).await
    }

    /// A peer sends a piece; answers where to go on.
    pub async fn chunk(&self, chunk: SnapshotChunk) -> Result<SnapshotProgress, PeerRefusal> {
        self.ask(|reply| SnapshotMessage::Chunk(chunk, reply)).await
    }

    /// A peer says that all was sent; answers this node's vote once it is installed.
    pub async fn install(&self, digest: [u8; 32]) -> Result<Vote, PeerRefusal> {
        self.ask(|reply| SnapshotMessage::Install(digest, reply)).await
    }

    /// A peer says that no snapshot will come: removes what was received.
    pub async fn abandon_received(&self) -> Result<(), PeerRefusal> {
        self.ask(SnapshotMessage::Abandon).await
    }

    /// What this node holds.
    pub async fn status(&self) -> Result<SnapshotStatus, PeerRefusal> {
        let raft = &self.shared.raft;
        let incoming = self.shared.incoming.clone();
        let parts = tokio::task::spawn_blocking(move || parts::list(&incoming)).await;
        let parts = parts.unwrap_or_else(|error| Err(error.into()));
        let parts = parts.map_err(|error| PeerRefusal::Storage { reason: error.to_string() })?;
        let files = raft.state().snapshots().iter().map(name_of).collect();
        Ok(SnapshotStatus { vote: raft.vote_now(), held: raft.applied_log_id(), parts, files })
    }

    /// The leader has this node give a snapshot to another, or asks how far that is.
    /// Refused while this node does not trust its state.
    pub fn seed(&self, request: SeedRequest) -> Result<SeedReport, PeerRefusal> {
        let trust = self.shared.raft.trust();
        if !trust.may(Duty::Gives) {
            return Err(PeerRefusal::Untrusted { reason: trust.describe() });
        }
        self.shared.seedings.seed(request)
    }

    async fn ask<T>(
        &self,
        message: impl FnOnce(Reply<T>) -> SnapshotMessage,
    ) -> Result<T, PeerRefusal> {
        let stopped = |reason: String| PeerRefusal::Stopped { reason };
        let (reply, answer) = oneshot::channel();
        self.mailbox.send(message(reply)).map_err(|error| stopped(error.to_string()))?;
        answer.await.map_err(|_| stopped("the snapshot actor failed; try again".to_owned()))?
    }
}

/// What a finished snapshot is called between nodes.
fn name_of(file: &SnapshotFile) -> SnapshotName {
    SnapshotName {
        digest: file.digest(),
        last_log_id: file.header().last_log_id,
        size_bytes: file.size_bytes(),
    }
}
