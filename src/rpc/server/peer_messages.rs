//! What a connection must know of the calls of peers.

use std::io;

use tarpc::ServerError;

use super::admission::Cost;
use super::sizes::{
    MESSAGE_BYTES, answer_bytes, cluster_reply_bytes, entry_bytes, operation_bytes,
};
use super::store_messages::error_kind;
use crate::rpc::peer::{PeerRefusal, PeerRequest, PeerResponse};
use crate::types::RequestError;

/// The methods of [`Peer`](crate::rpc::peer::Peer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerMethod {
    /// `append`
    Append,
    /// `vote`
    Vote,
    /// `pre_vote`
    PreVote,
    /// `transfer_leader`
    TransferLeader,
    /// `propose`
    Propose,
    /// `read_index`
    ReadIndex,
    /// `snapshot_offer`
    SnapshotOffer,
    /// `snapshot_chunk`
    SnapshotChunk,
    /// `snapshot_install`
    SnapshotInstall,
    /// `status`
    Status,
    /// `snapshot_status`
    SnapshotStatus,
    /// `seed`
    Seed,
    /// `snapshot_abandon`
    SnapshotAbandon,
    /// `cluster`
    Cluster,
    /// `check_standing`
    CheckStanding,
    /// `is_founded`
    IsFounded,
    /// `snapshot_open`
    SnapshotOpen,
    /// `snapshot_read`
    SnapshotRead,
    /// `state_hash`
    StateHash,
    /// `state_differs`
    StateDiffers,
}

pub(super) fn method(request: &PeerRequest) -> PeerMethod {
    match request {
        PeerRequest::Append { .. } => PeerMethod::Append,
        PeerRequest::Vote { .. } => PeerMethod::Vote,
        PeerRequest::PreVote { .. } => PeerMethod::PreVote,
        PeerRequest::TransferLeader { .. } => PeerMethod::TransferLeader,
        PeerRequest::Propose { .. } => PeerMethod::Propose,
        PeerRequest::ReadIndex {} => PeerMethod::ReadIndex,
        PeerRequest::SnapshotOffer { .. } => PeerMethod::SnapshotOffer,
        PeerRequest::SnapshotChunk { .. } => PeerMethod::SnapshotChunk,
        PeerRequest::SnapshotInstall { .. } => PeerMethod::SnapshotInstall,
        PeerRequest::Status {} => PeerMethod::Status,
        PeerRequest::SnapshotStatus {} => PeerMethod::SnapshotStatus,
        PeerRequest::Seed { .. } => PeerMethod::Seed,
        PeerRequest::SnapshotAbandon {} => PeerMethod::SnapshotAbandon,
        PeerRequest::Cluster { .. } => PeerMethod::Cluster,
        PeerRequest::CheckStanding {} => PeerMethod::CheckStanding,
        PeerRequest::IsFounded {} => PeerMethod::IsFounded,
        PeerRequest::SnapshotOpen { .. } => PeerMethod::SnapshotOpen,
        PeerRequest::SnapshotRead { .. } => PeerMethod::SnapshotRead,
        PeerRequest::StateHash { .. } => PeerMethod::StateHash,
        PeerRequest::StateDiffers { .. } => PeerMethod::StateDiffers,
    }
}

pub(super) fn name(method: PeerMethod) -> &'static str {
    match method {
        PeerMethod::Append => "append",
        PeerMethod::Vote => "vote",
        PeerMethod::PreVote => "pre_vote",
        PeerMethod::TransferLeader => "transfer_leader",
        PeerMethod::Propose => "propose",
        PeerMethod::ReadIndex => "read_index",
        PeerMethod::SnapshotOffer => "snapshot_offer",
        PeerMethod::SnapshotChunk => "snapshot_chunk",
        PeerMethod::SnapshotInstall => "snapshot_install",
        PeerMethod::Status => "status",
        PeerMethod::SnapshotStatus => "snapshot_status",
        PeerMethod::Seed => "seed",
        PeerMethod::SnapshotAbandon => "snapshot_abandon",
        PeerMethod::Cluster => "cluster",
        PeerMethod::CheckStanding => "check_standing",
        PeerMethod::IsFounded => "is_founded",
        PeerMethod::SnapshotOpen => "snapshot_open",
        PeerMethod::SnapshotRead => "snapshot_read",
        PeerMethod::StateHash => "state_hash",
        PeerMethod::StateDiffers => "state_differs",
    }
}

/// Consensus is never refused for load: without heartbeats and appends the cluster would lose its
/// leader to a burst of requests. Its callers have few of them in flight.
pub(super) fn cost(request: &PeerRequest) -> Cost {
    let (bytes, refusable) = match request {
        PeerRequest::Append { request } => (request.entries.iter().map(entry_bytes).sum(), false),
        PeerRequest::Propose { request } => (operation_bytes(&request.operation), true),
        PeerRequest::ReadIndex {}
        | PeerRequest::Status {}
        | PeerRequest::SnapshotStatus {}
        | PeerRequest::Cluster { .. }
        | PeerRequest::CheckStanding {}
        | PeerRequest::IsFounded {}
        | PeerRequest::SnapshotOpen { .. }
        | PeerRequest::SnapshotRead { .. }
        | PeerRequest::StateHash { .. }
        | PeerRequest::StateDiffers { .. }
        | PeerRequest::SnapshotAbandon {} => (0, true),
        PeerRequest::Seed { request } => (request.peer_addr.len(), true),
        PeerRequest::SnapshotChunk { request } => (request.bytes.len(), false),
        PeerRequest::Vote { .. }
        | PeerRequest::PreVote { .. }
        | PeerRequest::TransferLeader { .. }
        | PeerRequest::SnapshotOffer { .. }
        | PeerRequest::SnapshotInstall { .. } => (0, false),
    };
    Cost { bytes: MESSAGE_BYTES + bytes, refusable }
}

pub(super) fn response_bytes(response: &PeerResponse) -> usize {
    match response {
        PeerResponse::Propose(Ok(answer)) => MESSAGE_BYTES + answer_bytes(answer),
        PeerResponse::Cluster(Ok(reply)) => cluster_reply_bytes(reply),
        PeerResponse::SnapshotRead(Ok(piece)) => MESSAGE_BYTES + piece.bytes.len(),
        _ => MESSAGE_BYTES,
    }
}

pub(super) fn outcome(response: &PeerResponse) -> &'static str {
    match response {
        PeerResponse::Append(answer) => refusal_kind(answer),
        PeerResponse::Vote(answer) | PeerResponse::PreVote(answer) => refusal_kind(answer),
        PeerResponse::TransferLeader(answer) => refusal_kind(answer),
        PeerResponse::SnapshotOffer(answer) | PeerResponse::SnapshotChunk(answer) => {
            refusal_kind(answer)
        }
        PeerResponse::SnapshotInstall(answer) => refusal_kind(answer),
        PeerResponse::Propose(answer) => answer.as_ref().err().map_or("ok", error_kind),
        PeerResponse::ReadIndex(answer) => answer.as_ref().err().map_or("ok", error_kind),
        PeerResponse::Status(answer) => answer.as_ref().err().map_or("ok", error_kind),
        PeerResponse::SnapshotStatus(answer) => refusal_kind(answer),
        PeerResponse::Seed(answer) => refusal_kind(answer),
        PeerResponse::SnapshotAbandon(answer) => refusal_kind(answer),
        PeerResponse::Cluster(answer) => answer.as_ref().err().map_or("ok", error_kind),
        PeerResponse::CheckStanding(answer) => answer.as_ref().err().map_or("ok", error_kind),
        PeerResponse::IsFounded(answer) => answer.as_ref().err().map_or("ok", error_kind),
        PeerResponse::SnapshotOpen(answer) => answer.as_ref().err().map_or("ok", error_kind),
        PeerResponse::SnapshotRead(answer) => answer.as_ref().err().map_or("ok", error_kind),
        PeerResponse::StateHash(answer) => answer.as_ref().err().map_or("ok", error_kind),
        PeerResponse::StateDiffers(answer) => answer.as_ref().err().map_or("ok", error_kind),
    }
}

fn refusal_kind<T>(answer: &Result<T, PeerRefusal>) -> &'static str {
    match answer {
        Ok(_) => "ok",
        Err(_) => "refused",
    }
}

pub(super) fn overdue(method: PeerMethod) -> RequestError {
    let reason = "the deadline passed while the call was under way".to_owned();
    match method {
        PeerMethod::ReadIndex | PeerMethod::Status | PeerMethod::IsFounded => {
            RequestError::Unavailable { reason }
        }
        _ => RequestError::OutcomeUnknown { reason },
    }
}

/// Calls of consensus have no answer for this: the caller learns that there is none.
pub(super) fn refusal(
    method: PeerMethod,
    error: RequestError,
) -> Result<PeerResponse, ServerError> {
    match method {
        PeerMethod::Propose => Ok(PeerResponse::Propose(Err(error))),
        PeerMethod::ReadIndex => Ok(PeerResponse::ReadIndex(Err(error))),
        PeerMethod::Status => Ok(PeerResponse::Status(Err(error))),
        PeerMethod::Cluster => Ok(PeerResponse::Cluster(Err(error))),
        PeerMethod::CheckStanding => Ok(PeerResponse::CheckStanding(Err(error))),
        PeerMethod::IsFounded => Ok(PeerResponse::IsFounded(Err(error))),
        PeerMethod::SnapshotOpen => Ok(PeerResponse::SnapshotOpen(Err(error))),
        PeerMethod::SnapshotRead => Ok(PeerResponse::SnapshotRead(Err(error))),
        PeerMethod::StateHash => Ok(PeerResponse::StateHash(Err(error))),
        PeerMethod::StateDiffers => Ok(PeerResponse::StateDiffers(Err(error))),
        _ => Err(ServerError::new(io::ErrorKind::Other, error.to_string())),
    }
}
