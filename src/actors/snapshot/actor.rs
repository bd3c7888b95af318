//! Receives a snapshot from a peer, piece by piece, and has it installed.
//!
//! A transfer is named by the digest of the file, so one that was cut goes on where it stopped,
//! also after a restart of the actor or the node: the pieces lie in `incoming/DIGEST.part`. One
//! transfer at a time; an offer of another snapshot replaces the one under way.
//!
//! # What must stay true
//! - A piece is taken only at the end of what is there and only with the right checksum.
//! - Nothing is installed before the whole file was verified against its digest and its chunks.
//! - A vote older than this node's is refused *before* openraft sees the snapshot: it would stop
//!   consensus. `actors/raft/install` holds the rest of what must be decided before.
//!
//! # On failure
//! The actor forgets the transfer; the file stays, and the sender offers the snapshot again. A file
//! that was found to be damaged is removed, and so is everything when a join has failed for good.

use std::fs;
use std::path::{Path, PathBuf};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use super::parts;
use crate::actors::mailbox::MailboxMeter;
use crate::actors::raft::RaftHandle;
use crate::rpc::peer::{PeerRefusal, SnapshotChunk, SnapshotOffer, SnapshotProgress};
use crate::storage::StorageError;
use crate::storage::snapshot::SnapshotFile;
use crate::telemetry::NodeMetrics;
use crate::types::Vote;

/// Pieces and offers that may wait. A sender has one in flight.
pub(super) const WAITING_MAX: usize = 16;
pub(super) type Reply<T> = oneshot::Sender<Result<T, PeerRefusal>>;

/// What the snapshot actor is told.
pub enum SnapshotMessage {
    /// A peer offers a snapshot; replies where to start.
    Offer(Box<SnapshotOffer>, Reply<SnapshotProgress>),
    /// A peer sends a piece; replies where to go on.
    Chunk(SnapshotChunk, Reply<SnapshotProgress>),
    /// A peer says that all was sent; replies the node's vote once it is installed.
    Install([u8; 32], Reply<Vote>),
    /// No snapshot will come: remove what was received. Replies when that is done.
    Abandon(Reply<()>),
    /// A piece was written, or not. Sent by the task that wrote it; passes the reply on.
    Written {
        /// Of which transfer.
        digest: [u8; 32],
        /// The length of the file now.
        outcome: Result<u64, PeerRefusal>,
        /// Whom to tell.
        reply: Reply<SnapshotProgress>,
    },
    /// Installing ended. Sent by the task that did it.
    Installed {
        /// Of which transfer.
        digest: [u8; 32],
    },
    /// Fail, to prove supervision.
    #[cfg(test)]
    Panic,
}

/// What the actor starts with.
#[derive(Clone)]
pub struct SnapshotArgs {
    /// Who installs.
    pub raft: RaftHandle,
    /// Where pieces are collected.
    pub incoming: PathBuf,
    /// Counts its mailbox.
    pub meter: MailboxMeter,
    /// Where received bytes are counted.
    pub metrics: NodeMetrics,
}

/// What the actor owns.
pub struct SnapshotState {
    args: SnapshotArgs,
    transfer: Option<Transfer>,
}

struct Transfer {
    offer: SnapshotOffer,
    path: PathBuf,
    received_bytes: u64,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Ready for the next piece.
    Receiving,
    /// A piece is being written, or the whole installed.
    Busy,
}

/// See the module.
pub struct SnapshotActor;

impl Actor for SnapshotActor {
    type Msg = SnapshotMessage;
    type State = SnapshotState;
    type Arguments = SnapshotArgs;

    async fn pre_start(
        &self,
        _myself: ActorRef<SnapshotMessage>,
        args: SnapshotArgs,
    ) -> Result<SnapshotState, ActorProcessingErr> {
        Ok(SnapshotState { args, transfer: None })
    }

    async fn handle(
        &self,
        myself: ActorRef<SnapshotMessage>,
        message: SnapshotMessage,
        state: &mut SnapshotState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SnapshotMessage::Offer(offer, reply) => {
                state.args.meter.taken();
                on_offer(state, &myself, *offer, reply);
            }
            SnapshotMessage::Chunk(chunk, reply) => {
                state.args.meter.taken();
                on_chunk(state, &myself, chunk, reply);
            }
            SnapshotMessage::Install(digest, reply) => {
                state.args.meter.taken();
                on_install(state, &myself, digest, reply);
            }
            SnapshotMessage::Abandon(reply) => {
                state.args.meter.taken();
                on_abandon(state, reply);
            }
            SnapshotMessage::Written { digest, outcome, reply } => {
                on_written(state, digest, outcome, reply);
            }
            SnapshotMessage::Installed { digest } => {
                state.transfer.take_if(|transfer| transfer.offer.digest == digest);
            }
            #[cfg(test)]
            SnapshotMessage::Panic => panic!("asked to fail"),
        }
        Ok(())
    }
}

/// Opens (or reopens) the file for the offer, off the mailbox; `Written` carries the answer.
fn on_offer(
    state: &mut SnapshotState,
    myself: &ActorRef<SnapshotMessage>,
    offer: SnapshotOffer,
    reply: Reply<SnapshotProgress>,
) {
    if state.transfer.as_ref().is_some_and(|transfer| transfer.phase == Phase::Busy) {
        return answer(reply, Err(PeerRefusal::Busy));
    }
    if let Err(refusal) = state.args.raft.check_vote(&offer.vote) {
        return answer(reply, Err(refusal));
    }
    // A node that is no member yet hears of a new leader by its offer alone, and what an older one
    // began must not take its place again.
    let newer = state.transfer.as_ref().map(|transfer| transfer.offer.vote);
    if let Some(known) = newer.filter(|newer| newer.term > offer.vote.term) {
        return answer(reply, Err(PeerRefusal::StaleVote { known }));
    }
    let digest = offer.digest;
    let path = parts::path(&state.args.incoming, &digest);
    let incoming = state.args.incoming.clone();
    let (size_bytes, part) = (offer.size_bytes, path.clone());
    state.transfer = Some(Transfer { offer, path, received_bytes: 0, phase: Phase::Busy });
    write_off_the_mailbox(myself, digest, reply, move || {
        parts::prepare(&incoming, &part, size_bytes)
    });
}

fn on_chunk(
    state: &mut SnapshotState,
    myself: &ActorRef<SnapshotMessage>,
    chunk: SnapshotChunk,
    reply: Reply<SnapshotProgress>,
) {
    let transfer = match ready(state, &chunk.digest) {
        Ok(transfer) => transfer,
        Err(refusal) => return answer(reply, Err(refusal)),
    };
    if chunk.offset_bytes != transfer.received_bytes {
        // A piece sent again, or one lost: say where to go on.
        let progress = SnapshotProgress { offset_bytes: transfer.received_bytes };
        return answer(reply, Ok(progress));
    }
    let end = chunk.offset_bytes.saturating_add(chunk.bytes.len() as u64);
    if chunk.bytes.is_empty() || end > transfer.offer.size_bytes {
        return answer(reply, Err(invalid("a piece lies outside the offered file")));
    }
    if crc32fast::hash(&chunk.bytes) != chunk.checksum {
        return answer(reply, Err(invalid("a piece does not match its checksum; send it again")));
    }
    transfer.phase = Phase::Busy;
    let path = transfer.path.clone();
    state.args.metrics.snapshot_received(chunk.bytes.len() as u64);
    write_off_the_mailbox(myself, chunk.digest, reply, move || {
        parts::write(&path, chunk.offset_bytes, &chunk.bytes)
    });
}

fn on_written(
    state: &mut SnapshotState,
    digest: [u8; 32],
    outcome: Result<u64, PeerRefusal>,
    reply: Reply<SnapshotProgress>,
) {
    let Some(transfer) = state.transfer.as_mut().filter(|it| it.offer.digest == digest) else {
        return answer(reply, Err(PeerRefusal::NoSuchTransfer));
    };
    match outcome {
        Ok(received_bytes) => {
            transfer.received_bytes = received_bytes;
            transfer.phase = Phase::Receiving;
            answer(reply, Ok(SnapshotProgress { offset_bytes: received_bytes }));
        }
        Err(refusal) => {
            state.transfer = None;
            answer(reply, Err(refusal));
        }
    }
}

fn on_install(
    state: &mut SnapshotState,
    myself: &ActorRef<SnapshotMessage>,
    digest: [u8; 32],
    reply: Reply<Vote>,
) {
    let raft = state.args.raft.clone();
    let transfer = match ready(state, &digest) {
        Ok(transfer) => transfer,
        Err(refusal) => return answer(reply, Err(refusal)),
    };
    if transfer.received_bytes != transfer.offer.size_bytes {
        return answer(reply, Err(invalid("the file is not complete")));
    }
    transfer.phase = Phase::Busy;
    let (path, offer) = (transfer.path.clone(), transfer.offer.clone());
    let (incoming, myself) = (state.args.incoming.clone(), myself.clone());
    tokio::spawn(async move {
        let installed = verify_and_install(&raft, path, &offer).await;
        match &installed {
            // Before the next offer is taken: what another source has begun is of no use now.
            Ok(_) => remove_parts(incoming).await,
            Err(refusal) => tracing::warn!(%refusal, "a received snapshot was not installed"),
        }
        // When the actor is gone there is no transfer left to forget.
        let _ = myself.send_message(SnapshotMessage::Installed { digest });
        answer(reply, installed);
    });
}

async fn verify_and_install(
    raft: &RaftHandle,
    path: PathBuf,
    offer: &SnapshotOffer,
) -> Result<Vote, PeerRefusal> {
    let file = match open(path.clone()).await {
        Ok(file) if file.digest() == offer.digest => file,
        // Its pieces passed their checksums, so the sender's file is bad: start anew.
        Ok(_) => return refuse_file(path, "the file is not the one that was offered").await,
        Err(error) => return refuse_file(path, &error.to_string()).await,
    };
    if file.header().last_log_id != offer.last_log_id {
        return refuse_file(path, "the file holds another entry of the log than was offered").await;
    }
    raft.install_snapshot(offer.vote, file).await.inspect_err(|refusal| {
        if matches!(refusal, PeerRefusal::Invalid { .. }) {
            remove(&path);
        }
    })
}

async fn open(path: PathBuf) -> Result<SnapshotFile, StorageError> {
    let opened = tokio::task::spawn_blocking(move || SnapshotFile::open(&path));
    opened.await.unwrap_or(Err(StorageError::ShutDown))
}

async fn refuse_file<T>(path: PathBuf, reason: &str) -> Result<T, PeerRefusal> {
    remove(&path);
    Err(invalid(reason))
}

/// Removes a file of no use. One that stays is replaced by the next offer of its name.
fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "cannot remove a bad snapshot");
    }
}

async fn remove_parts(incoming: PathBuf) {
    let removed = tokio::task::spawn_blocking(move || parts::remove_all(&incoming)).await;
    if let Err(error) = removed.unwrap_or_else(|error| Err(error.into())) {
        tracing::warn!(%error, "pieces of another snapshot stay until the next offer");
    }
}

fn on_abandon(state: &mut SnapshotState, reply: Reply<()>) {
    if state.transfer.as_ref().is_some_and(|transfer| transfer.phase == Phase::Busy) {
        return answer(reply, Err(PeerRefusal::Busy));
    }
    state.transfer = None;
    let incoming = state.args.incoming.clone();
    tokio::spawn(async move {
        let removed = tokio::task::spawn_blocking(move || parts::remove_all(&incoming)).await;
        let removed = removed.unwrap_or_else(|error| Err(error.into()));
        answer(reply, removed.map_err(|error| PeerRefusal::Storage { reason: error.to_string() }));
    });
}

/// Runs disk work off the mailbox; its outcome comes back as `Written`.
fn write_off_the_mailbox(
    myself: &ActorRef<SnapshotMessage>,
    digest: [u8; 32],
    reply: Reply<SnapshotProgress>,
    work: impl FnOnce() -> std::io::Result<u64> + Send + 'static,
) {
    let myself = myself.clone();
    tokio::spawn(async move {
        let outcome = match tokio::task::spawn_blocking(work).await {
            Ok(Ok(length)) => Ok(length),
            Ok(Err(error)) => Err(PeerRefusal::Storage { reason: error.to_string() }),
            Err(error) => Err(PeerRefusal::Storage { reason: error.to_string() }),
        };
        // When the actor is gone the reply is dropped with the message, and the peer told.
        let _ = myself.send_message(SnapshotMessage::Written { digest, outcome, reply });
    });
}

/// The transfer of this snapshot, when it takes the next step.
fn ready<'a>(
    state: &'a mut SnapshotState,
    digest: &[u8; 32],
) -> Result<&'a mut Transfer, PeerRefusal> {
    match state.transfer.as_mut().filter(|transfer| transfer.offer.digest == *digest) {
        None => Err(PeerRefusal::NoSuchTransfer),
        Some(transfer) if transfer.phase == Phase::Busy => Err(PeerRefusal::Busy),
        Some(transfer) => Ok(transfer),
    }
}

fn answer<T>(reply: Reply<T>, outcome: Result<T, PeerRefusal>) {
    // A peer that gave up waiting offers the snapshot again.
    let _ = reply.send(outcome);
}

fn invalid(reason: &str) -> PeerRefusal {
    PeerRefusal::Invalid { reason: reason.to_owned() }
}
