//! What a connection must know of the calls of clients.

use tarpc::ServerError;

use super::admission::Cost;
use super::sizes::{
    ACCESS_BYTES, MESSAGE_BYTES, access_reply_bytes, answer_bytes, cluster_reply_bytes,
    operation_bytes, range_answer_bytes, txn_answer_bytes, txn_bytes,
};
use crate::rpc::api::{StoreRequest, StoreResponse};
use crate::types::{OperationError, RequestError};

/// The methods of [`Store`](crate::rpc::api::Store).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreMethod {
    /// `write`
    Write,
    /// `range`
    Range,
    /// `read_txn`
    ReadTxn,
    /// `status`
    Status,
    /// `members`
    Members,
    /// `snapshot_open`
    SnapshotOpen,
    /// `snapshot_read`
    SnapshotRead,
    /// `cluster`
    Cluster,
    /// `access`
    Access,
}

pub(super) fn method(request: &StoreRequest) -> StoreMethod {
    match request {
        StoreRequest::Write { .. } => StoreMethod::Write,
        StoreRequest::Range { .. } => StoreMethod::Range,
        StoreRequest::ReadTxn { .. } => StoreMethod::ReadTxn,
        StoreRequest::Status {} => StoreMethod::Status,
        StoreRequest::Members {} => StoreMethod::Members,
        StoreRequest::SnapshotOpen { .. } => StoreMethod::SnapshotOpen,
        StoreRequest::SnapshotRead { .. } => StoreMethod::SnapshotRead,
        StoreRequest::Cluster { .. } => StoreMethod::Cluster,
        StoreRequest::Access { .. } => StoreMethod::Access,
    }
}

pub(super) fn name(method: StoreMethod) -> &'static str {
    match method {
        StoreMethod::Write => "write",
        StoreMethod::Range => "range",
        StoreMethod::ReadTxn => "read_txn",
        StoreMethod::Status => "status",
        StoreMethod::Members => "members",
        StoreMethod::SnapshotOpen => "snapshot_open",
        StoreMethod::SnapshotRead => "snapshot_read",
        StoreMethod::Cluster => "cluster",
        StoreMethod::Access => "access",
    }
}

pub(super) fn cost(request: &StoreRequest) -> Cost {
    let bytes = match request {
        StoreRequest::Write { request } => operation_bytes(&request.operation),
        StoreRequest::Range { request } => request.range.key.len() + request.range.range_end.len(),
        StoreRequest::ReadTxn { request, .. } => txn_bytes(request),
        StoreRequest::Status {}
        | StoreRequest::Members {}
        | StoreRequest::SnapshotOpen { .. }
        | StoreRequest::SnapshotRead { .. } => 0,
        // Names and addresses, beside what every message has.
        StoreRequest::Cluster { .. } => MESSAGE_BYTES,
        StoreRequest::Access { .. } => ACCESS_BYTES,
    };
    Cost { bytes: MESSAGE_BYTES + bytes, refusable: true }
}

pub(super) fn response_bytes(response: &StoreResponse) -> usize {
    let bytes = match response {
        StoreResponse::Write(answer) => answer.as_ref().map_or(0, answer_bytes),
        StoreResponse::Range(answer) => answer.as_ref().map_or(0, range_answer_bytes),
        StoreResponse::ReadTxn(answer) => answer.as_ref().map_or(0, txn_answer_bytes),
        StoreResponse::Status(_) => 0,
        StoreResponse::Members(members) => {
            members.as_ref().map_or(0, |members| members.len() * MESSAGE_BYTES)
        }
        StoreResponse::SnapshotOpen(_) => 0,
        StoreResponse::SnapshotRead(answer) => answer.as_ref().map_or(0, |piece| piece.bytes.len()),
        StoreResponse::Cluster(reply) => reply.as_ref().map_or(0, cluster_reply_bytes),
        StoreResponse::Access(reply) => reply.as_ref().map_or(0, access_reply_bytes),
    };
    MESSAGE_BYTES + bytes
}

pub(super) fn outcome(response: &StoreResponse) -> &'static str {
    let error = match response {
        StoreResponse::Write(answer) => answer.as_ref().err(),
        StoreResponse::Range(answer) => answer.as_ref().err(),
        StoreResponse::ReadTxn(answer) => answer.as_ref().err(),
        StoreResponse::Status(answer) => answer.as_ref().err(),
        StoreResponse::Members(answer) => answer.as_ref().err(),
        StoreResponse::SnapshotOpen(answer) => answer.as_ref().err(),
        StoreResponse::SnapshotRead(answer) => answer.as_ref().err(),
        StoreResponse::Cluster(answer) => answer.as_ref().err(),
        StoreResponse::Access(answer) => answer.as_ref().err(),
    };
    error.map_or("ok", error_kind)
}

/// An error in metrics.
pub(super) fn error_kind(error: &RequestError) -> &'static str {
    match error {
        RequestError::Operation(OperationError::PermissionDenied { .. })
        | RequestError::PermissionDenied { .. } => "denied",
        RequestError::Operation(_) => "refused",
        RequestError::OutcomeUnknown { .. } => "unknown",
        RequestError::Unavailable { .. } => "unavailable",
        RequestError::Overloaded { .. } => "overloaded",
        RequestError::DeadlinePassed => "deadline",
        RequestError::Invalid { .. } => "invalid",
        RequestError::Refused { .. } => "refused",
        RequestError::DeleteUnderWay { .. } => "under_way",
        RequestError::NoSpace { .. } => "no_space",
    }
}

/// Only a change leaves a trace when it does not end in time.
pub(super) fn overdue(method: StoreMethod) -> RequestError {
    let reason = "the deadline passed while the request was under way".to_owned();
    match method {
        StoreMethod::Write | StoreMethod::Cluster | StoreMethod::Access => {
            RequestError::OutcomeUnknown { reason }
        }
        _ => RequestError::Unavailable { reason },
    }
}

pub(super) fn refusal(
    method: StoreMethod,
    error: RequestError,
) -> Result<StoreResponse, ServerError> {
    Ok(match method {
        StoreMethod::Write => StoreResponse::Write(Err(error)),
        StoreMethod::Range => StoreResponse::Range(Err(error)),
        StoreMethod::ReadTxn => StoreResponse::ReadTxn(Err(error)),
        StoreMethod::Status => StoreResponse::Status(Err(error)),
        StoreMethod::Members => StoreResponse::Members(Err(error)),
        StoreMethod::SnapshotOpen => StoreResponse::SnapshotOpen(Err(error)),
        StoreMethod::SnapshotRead => StoreResponse::SnapshotRead(Err(error)),
        StoreMethod::Cluster => StoreResponse::Cluster(Err(error)),
        StoreMethod::Access => StoreResponse::Access(Err(error)),
    })
}
