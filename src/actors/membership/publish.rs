//! What this node says of itself: which data directory it is, and where it is reached.
//!
//! The membership in the log knows each node's name and first peer address. Where *clients* reach
//! a node only the node itself knows, and where peers reach it may change; both are written into
//! the replicated state whenever they differ from it. So is each start of the data directory, before
//! anything else: another directory under the same id, or a start that does not continue the last one,
//! is refused.
//!
//! A node that moved while it was down is not found by its leader, and so hears of none: it tells
//! every member it knows where it is, and the one that leads writes it down.

use std::time::Duration;

use tokio::time::Instant;

use super::actor::MembershipArgs;
use crate::actors::raft::RaftHandle;
use crate::rpc::peer::{ForwardedWrite, Lane};
use crate::types::{
    Answer, ClusterOperation, ClusterRequest, Operation, OperationError, Principal, RequestError,
};

/// How long one other member, or the original of a copy, may take to answer.
const ASK_MAX: Duration = Duration::from_secs(2);

/// Why a node is not known as it should be.
#[derive(Debug, thiserror::Error)]
pub(in crate::actors) enum PublishError {
    /// It must not go on.
    #[error("{0}")]
    NotRecognised(String),
    /// Trying again may help.
    #[error("{0}")]
    NotYet(RequestError),
}

impl From<RequestError> for PublishError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Operation(
                error @ (OperationError::OtherIncarnation { .. }
                | OperationError::StaleStart { .. }),
            ) => Self::NotRecognised(error.to_string()),
            error => Self::NotYet(error),
        }
    }
}

/// Writes into the replicated state what is not there yet.
pub(super) async fn publish(args: &MembershipArgs, deadline: Instant) -> Result<(), PublishError> {
    let MembershipArgs { raft, address, client_addr, incarnation, claim, .. } = args;
    let node_id = raft.node().node_id;
    let taken = || raft.roster().claims.get(&node_id).copied();
    // Before anything else: until it is taken the node may not be trusted with more.
    if taken().is_none_or(|taken| taken.nonce != claim.nonce) {
        let claim = ClusterOperation::Claim { node_id, incarnation: *incarnation, claim: *claim };
        if let Err(error) = propose(raft, Operation::Cluster(claim), deadline).await {
            if !matches!(error, RequestError::Operation(_)) {
                announce(args).await?;
            }
            return Err(error.into());
        }
    }
    if let Err(error) = raft.read_barrier(deadline).await {
        announce(args).await?;
        return Err(error.into());
    }
    if raft.roster().format_of(node_id) != raft.reads_format() {
        let command_format = raft.reads_format();
        let format = ClusterOperation::SetFormat { node_id, command_format };
        propose(raft, Operation::Cluster(format), deadline).await?;
    }
    if raft.has_published(node_id, address, client_addr) {
        return Ok(());
    }
    refuse_copy(args).await?;
    let (address, client_addr) = (address.clone(), client_addr.clone());
    let operation = Operation::RegisterMember { node_id, address, client_addr };
    propose(raft, operation, deadline).await?;
    Ok(())
}

/// Tells the members where this node is, when it moved and hears of no leader.
async fn announce(args: &MembershipArgs) -> Result<(), PublishError> {
    let MembershipArgs { raft, address, client_addr, .. } = args;
    let node_id = raft.node().node_id;
    let members = raft.members();
    let moved =
        members.iter().any(|member| member.id == node_id && member.peer_addr != address.peer_addr);
    if !moved {
        return Ok(());
    }
    refuse_copy(args).await?;
    let request = ClusterRequest::Update {
        node: node_id.to_string(),
        peer_addr: Some(address.peer_addr.clone()),
        client_addr: Some(client_addr.clone()),
    };
    for member in members.into_iter().filter(|member| member.id != node_id) {
        let peer = raft.connection(member.id, &member.peer_addr, Lane::Control);
        match peer.cluster(request.clone(), ASK_MAX).await {
            Ok(_) => return Ok(()),
            Err(error) => tracing::debug!(member = member.id, %error, "told in vain"),
        }
    }
    Ok(())
}

/// Refuses to go on beside a node of the same identity at the address known so far: one of the
/// two runs on a copy.
async fn refuse_copy(args: &MembershipArgs) -> Result<(), PublishError> {
    let MembershipArgs { raft, address, .. } = args;
    let node_id = raft.node().node_id;
    let known = raft.members().into_iter().find(|member| member.id == node_id);
    let Some(known) = known.filter(|known| known.peer_addr != address.peer_addr) else {
        return Ok(());
    };
    match raft.connection_at(node_id, &known.peer_addr).status(ASK_MAX).await {
        Ok(_) => Err(PublishError::NotRecognised(format!(
            "node {node_id} runs at {} already and this data directory is a copy; empty it and \
             start with --join to make a new member, or stop the original first",
            known.peer_addr
        ))),
        Err(_) => Ok(()),
    }
}

async fn propose(
    raft: &RaftHandle,
    operation: Operation,
    deadline: Instant,
) -> Result<Answer, RequestError> {
    let write = ForwardedWrite {
        request_id: None,
        principal: Principal::cluster(),
        auth_revision: 0,
        operation,
    };
    raft.propose(write, deadline).await
}
