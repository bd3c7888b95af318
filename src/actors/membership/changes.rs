//! What is asked of the leader about members.
//!
//! # What must stay true
//! - Everything is decided on the membership as it is after a round that confirmed leadership, and
//!   refused when it changed meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::leaving;
use super::quorum;
use super::steps::{CHANGE_MAX, LAG_MAX, StepContext, has_caught_up};
use crate::actors::raft::{ChangeError, MembershipChange, MembershipView};
use crate::machine::StateView as _;
use crate::rpc::peer::{ForwardedWrite, Lane};
use crate::types::{
    Answer, ClusterAnswer, ClusterOperation, ClusterReply, ClusterRequest, JoinPhase, JoinRecord,
    JoinRequest, JoinStatus, JoinTarget, LogId, MemberRole, NodeId, Operation, PeerAddress,
    Principal, RequestError, Roster, Standing,
};

/// How long a voter may take to say that it is there.
const ALIVE_MAX: Duration = Duration::from_millis(1_000);

pub(super) type Reply = Result<ClusterReply, RequestError>;

/// Does what is asked, on the leader.
pub(super) async fn execute(
    context: &StepContext,
    request: ClusterRequest,
    deadline: Instant,
) -> Reply {
    context.raft.read_index_local(deadline).await?;
    context.raft.read_barrier(deadline).await?;
    match request {
        ClusterRequest::Join { request, held } => join(context, request, held, deadline).await,
        ClusterRequest::AddWaiting { node, target } => {
            add_waiting(context, &node, target, deadline).await
        }
        ClusterRequest::Joins => Ok(ClusterReply::Joins(joins(context))),
        ClusterRequest::CancelJoin { node } => cancel(context, &node, deadline).await,
        ClusterRequest::Promote { node, force } => promote(context, &node, force, deadline).await,
        ClusterRequest::Demote { node, force } => demote(context, &node, force, deadline).await,
        ClusterRequest::Remove { node, force } => {
            leaving::remove(context, &node, force, deadline).await
        }
        ClusterRequest::Replace { old, new, force } => {
            leaving::replace(context, &old, &new, force, deadline).await
        }
        ClusterRequest::Update { node, peer_addr, client_addr } => {
            update(context, &node, peer_addr, client_addr, deadline).await
        }
        ClusterRequest::MoveLeader { to } => move_leader(context, to, deadline).await,
        ClusterRequest::Standing { node_id } => {
            Ok(ClusterReply::Standing(standing(context, node_id)?))
        }
    }
}

/// The joins, the oldest first.
pub(super) fn joins(context: &StepContext) -> Vec<JoinStatus> {
    let roster = context.raft.roster();
    let view = context.raft.membership_view();
    let now_ms = context.raft.replicated_time_ms();
    let status = |join: &JoinRecord| {
        let lag = join.is_open().then(|| view.lag_of(join.node_id)).flatten();
        context.live.status(join, lag, now_ms)
    };
    roster.joins.values().map(status).collect()
}

/// Writes a change of the roster.
pub(super) async fn propose(
    context: &StepContext,
    operation: ClusterOperation,
    deadline: Instant,
) -> Result<ClusterAnswer, RequestError> {
    match propose_any(context, Operation::Cluster(operation), deadline).await? {
        Answer::Cluster(answer) => Ok(answer),
        _ => Err(RequestError::OutcomeUnknown {
            reason: "the state machine answered something else".to_owned(),
        }),
    }
}

async fn propose_any(
    context: &StepContext,
    operation: Operation,
    deadline: Instant,
) -> Result<Answer, RequestError> {
    let write = ForwardedWrite {
        request_id: None,
        principal: Principal::cluster(),
        auth_revision: 0,
        operation,
    };
    context.raft.propose(write, deadline).await
}

async fn join(
    context: &StepContext,
    request: JoinRequest,
    held: Option<LogId>,
    deadline: Instant,
) -> Reply {
    let view = context.raft.membership_view();
    let roster = context.raft.roster();
    let known = roster.joins.values().any(|join| join.request.nonce == request.nonce);
    let members = context.raft.members();
    if let Some(taken) = members.iter().find(|member| {
        let same_name = member.name == request.name;
        (same_name || member.peer_addr == request.peer_addr) && member.role != MemberRole::Joining
    }) && !known
    {
        return Err(refused(format!(
            "member {} is already called {} at {}; give the new node another --name and address, \
             or remove that member first",
            taken.id, taken.name, taken.peer_addr
        )));
    }
    let common = context.raft.common_format();
    if request.command_format < common {
        return Err(refused(format!(
            "the node reads commands up to format {}, and this cluster may write format {common}; \
             upgrade the node",
            request.command_format
        )));
    }
    let member_id_max = view.nodes.keys().next_back().copied().unwrap_or(0);
    let operation = ClusterOperation::StartJoin { request, member_id_max };
    match propose(context, operation, deadline).await? {
        ClusterAnswer::Ticket(ticket) => {
            let cluster_id = context.raft.node().cluster_id;
            let unusable = match held {
                Some(held) => context.raft.continues(held).await.err().map(|gap| gap.to_string()),
                None => None,
            };
            Ok(ClusterReply::Ticket { cluster_id, ticket, unusable })
        }
        ClusterAnswer::Done => Err(RequestError::OutcomeUnknown {
            reason: "the state machine answered something else".to_owned(),
        }),
    }
}

async fn add_waiting(
    context: &StepContext,
    node: &str,
    target: JoinTarget,
    deadline: Instant,
) -> Reply {
    let join = open_join(&context.raft.roster(), node)?;
    if !join.request.waits {
        return Err(refused(format!("node {} is joining by itself already", join.node_id)));
    }
    let operation = ClusterOperation::AddWaiting { join_id: join.join_id, target };
    propose(context, operation, deadline).await?;
    Ok(ClusterReply::Done { node_id: join.node_id })
}

async fn cancel(context: &StepContext, node: &str, deadline: Instant) -> Reply {
    let join = open_join(&context.raft.roster(), node)?;
    propose(context, ClusterOperation::CancelJoin { join_id: join.join_id }, deadline).await?;
    Ok(ClusterReply::Done { node_id: join.node_id })
}

async fn promote(context: &StepContext, node: &str, force: bool, deadline: Instant) -> Reply {
    let node = member(context, node)?;
    refuse_joining(context, node)?;
    let _changing = context.changing.lock().await;
    let view = settled(context)?;
    if !view.voters().contains(&node) {
        refuse_lagging(&view, node)?;
        let mut voters = view.voters();
        voters.insert(node);
        set_voters(context, &view, voters, force, deadline).await?;
    }
    Ok(ClusterReply::Done { node_id: node })
}

async fn demote(context: &StepContext, node: &str, force: bool, deadline: Instant) -> Reply {
    let node = member(context, node)?;
    hand_over_if_leader(context, node, deadline).await?;
    let _changing = context.changing.lock().await;
    let view = settled(context)?;
    if view.voters().contains(&node) {
        let mut voters = view.voters();
        voters.remove(&node);
        set_voters(context, &view, voters, force, deadline).await?;
    }
    Ok(ClusterReply::Done { node_id: node })
}

async fn update(
    context: &StepContext,
    node: &str,
    peer_addr: Option<String>,
    client_addr: Option<String>,
    deadline: Instant,
) -> Reply {
    let node = member(context, node)?;
    let members = context.raft.members();
    let known = members.into_iter().find(|member| member.id == node);
    let known = known.ok_or_else(|| refused(format!("member {node} has just left")))?;
    let client_addr = client_addr.unwrap_or(known.client_addr);
    if client_addr.is_empty() {
        return Err(refused(format!(
            "member {node} has not published a client address yet; give --client-addr"
        )));
    }
    let operation = Operation::RegisterMember {
        node_id: node,
        address: PeerAddress { name: known.name, peer_addr: peer_addr.unwrap_or(known.peer_addr) },
        client_addr,
    };
    crate::machine::validate(&operation)?;
    propose_any(context, operation, deadline).await?;
    Ok(ClusterReply::Done { node_id: node })
}

async fn move_leader(context: &StepContext, to: Option<String>, deadline: Instant) -> Reply {
    let me = context.raft.node().node_id;
    let to = match to {
        Some(to) => member(context, &to)?,
        None => successor(context, me).await?,
    };
    if to != me {
        let view = context.raft.membership_view();
        if !view.voters().contains(&to) {
            return Err(refused(format!("member {to} does not vote; promote it first")));
        }
        if !answers(context, to).await {
            return Err(refused(format!("member {to} does not answer; start it first")));
        }
        refuse_lagging(&view, to)?;
        if !context.raft.hand_over_to(to, deadline.min(Instant::now() + CHANGE_MAX)).await {
            return Err(refused(format!("member {to} did not take over; try again")));
        }
    }
    Ok(ClusterReply::Done { node_id: to })
}

fn standing(context: &StepContext, node: NodeId) -> Result<Standing, RequestError> {
    let view = context.raft.view()?;
    let roster = view.roster();
    if roster.open_join_of(node).is_some() {
        return Ok(Standing::Joining);
    }
    if context.raft.membership_view().contains(node) {
        return Ok(Standing::Member);
    }
    let join = roster.joins.values().rev().find(|join| join.node_id == node);
    Ok(match join.map(|join| &join.progress) {
        Some(progress) if progress.phase != JoinPhase::Joined => Standing::JoinFailed {
            reason: progress.failure.clone().unwrap_or_else(|| "it ended".to_owned()),
        },
        _ => Standing::Removed,
    })
}

/// The member that `name` names: by id, or by name.
pub(super) fn member(context: &StepContext, name: &str) -> Result<NodeId, RequestError> {
    let members = context.raft.members();
    let by_id = name.parse::<NodeId>().ok();
    let found = members
        .iter()
        .find(|member| Some(member.id) == by_id)
        .or_else(|| members.iter().find(|member| member.name == name));
    found
        .map(|member| member.id)
        .ok_or_else(|| refused(format!("there is no member {name}; see 'chainfire member list'")))
}

fn open_join(roster: &Roster, name: &str) -> Result<JoinRecord, RequestError> {
    let by_id = name.parse::<NodeId>().ok();
    let found = roster.open_joins().find(|join| {
        Some(join.node_id) == by_id || join.request.name == name || join.request.peer_addr == name
    });
    found
        .cloned()
        .ok_or_else(|| refused(format!("no node {name} is joining; see 'chainfire join status'")))
}

pub(super) fn refuse_joining(context: &StepContext, node: NodeId) -> Result<(), RequestError> {
    match context.raft.roster().open_join_of(node) {
        None => Ok(()),
        Some(_) => Err(refused(format!(
            "node {node} is joining; wait for it, or cancel it with 'chainfire member cancel {node}'"
        ))),
    }
}

pub(super) fn refuse_lagging(view: &MembershipView, node: NodeId) -> Result<(), RequestError> {
    if view.leads && has_caught_up(view, node) {
        return Ok(());
    }
    let lag = view.lag_of(node).map_or("an unknown number of".to_owned(), |lag| lag.to_string());
    Err(refused(format!(
        "member {node} lacks {lag} entries, more than {LAG_MAX}; wait until it has caught up"
    )))
}

/// The membership, when no change is under way.
pub(super) fn settled(context: &StepContext) -> Result<MembershipView, RequestError> {
    let view = context.raft.membership_view();
    if !view.leads {
        return Err(unavailable("this node does not lead"));
    }
    if view.is_joint() {
        return Err(unavailable("a change of the membership is being completed"));
    }
    Ok(view)
}

/// Asks each of the voters-to-be whether it is there: the last heartbeat may be of a node that has
/// died since, and a change that its voters cannot commit would stop the cluster. Those who are
/// leaving do not count: without them, too, a majority must be there.
pub(super) async fn check_quorum(
    context: &StepContext,
    voters: &BTreeSet<NodeId>,
    force: bool,
) -> Result<(), RequestError> {
    let asked = voters.iter().map(|id| async { answers(context, *id).await.then_some(*id) });
    let alive = join_all(asked).await.into_iter().flatten().collect();
    let leaving = context.raft.roster().leaving.keys().copied().collect();
    quorum::check(voters, &leaving, &alive, force).map_err(|loss| refused(loss.to_string()))
}

/// Whether a member answers at this moment.
async fn answers(context: &StepContext, node: NodeId) -> bool {
    if node == context.raft.node().node_id {
        return true;
    }
    let members = context.raft.members();
    let Some(member) = members.iter().find(|member| member.id == node) else { return false };
    let peer = context.raft.connection(member.id, &member.peer_addr, Lane::Control);
    peer.status(ALIVE_MAX).await.is_ok()
}

pub(super) async fn set_voters(
    context: &StepContext,
    view: &MembershipView,
    voters: BTreeSet<NodeId>,
    force: bool,
    deadline: Instant,
) -> Result<(), RequestError> {
    check_quorum(context, &voters, force).await?;
    change(context, view, MembershipChange::SetVoters(voters), deadline).await
}

pub(super) async fn change(
    context: &StepContext,
    view: &MembershipView,
    change: MembershipChange,
    deadline: Instant,
) -> Result<(), RequestError> {
    let deadline = deadline.min(Instant::now() + CHANGE_MAX);
    context.raft.change_membership(view, change, deadline).await.map_err(|error| match error {
        ChangeError::NotLeader => unavailable("this node does not lead"),
        ChangeError::Busy(reason) => RequestError::Unavailable { reason },
        ChangeError::Unknown(reason) => RequestError::OutcomeUnknown { reason },
    })
}

/// A leader that is to be no voter hands over first; whoever asked then finds the next one.
pub(super) async fn hand_over_if_leader(
    context: &StepContext,
    node: NodeId,
    deadline: Instant,
) -> Result<(), RequestError> {
    if node != context.raft.node().node_id {
        return Ok(());
    }
    let successor = successor(context, node).await?;
    let deadline = deadline.min(Instant::now() + CHANGE_MAX);
    if context.raft.hand_over_to(successor, deadline).await {
        return Err(unavailable("leadership was handed over"));
    }
    Err(refused(format!("member {successor} did not take over leadership; try again")))
}

/// The voter with the longest log besides `node` that answers: one that does not take over would
/// leave the cluster without a leader that takes writes until the next election.
async fn successor(context: &StepContext, node: NodeId) -> Result<NodeId, RequestError> {
    let view = context.raft.membership_view();
    let mut candidates: Vec<NodeId> = view.voters().intersection(&view.alive).copied().collect();
    candidates.retain(|id| *id != node);
    candidates.sort_by_key(|id| std::cmp::Reverse(view.matched.get(id).copied()));
    for candidate in candidates {
        if answers(context, candidate).await {
            return Ok(candidate);
        }
    }
    Err(refused("no other voter is alive to lead; start or add one first".to_owned()))
}

pub(super) fn refused(reason: String) -> RequestError {
    RequestError::Refused { reason }
}

fn unavailable(reason: &str) -> RequestError {
    RequestError::Unavailable { reason: reason.to_owned() }
}
