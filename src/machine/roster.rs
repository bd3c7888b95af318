//! What the cluster remembers of its nodes: ids given, joins, who stands behind an id.
//!
//! What must stay true:
//! - A node id and a join id are given once, ever: each is above every one before it, and a node
//!   id also above every id in any membership.
//! - The same nonce is the same join, however often it is asked for.
//! - Of the starts of a node's data directory only one that continues the last one taken is taken.
//! - A join advances only from the phase that the one who advances it has seen, so two leaders
//!   cannot both take it further.

use crate::types::limits::{JOINS_ENDED_KEPT_MAX, JOINS_OPEN_MAX};
use crate::types::{
    Claim, ClaimOrder, ClusterAnswer, ClusterOperation, JoinId, JoinPhase, JoinProgress,
    JoinRecord, JoinRequest, JoinTarget, JoinTicket, MembershipConfig, NodeId, OperationError,
    PeerAddress, Roster, StartClaim,
};

use super::member::validate_member;

/// The answer, and the roster afterwards unless it stays as it is.
type Changed = Result<(ClusterAnswer, Option<Roster>), OperationError>;

/// What can be refused without looking at the state.
pub(super) fn validate_cluster(operation: &ClusterOperation) -> Result<(), OperationError> {
    match operation {
        ClusterOperation::StartJoin { request, .. } => {
            let JoinRequest { name, peer_addr, client_addr, .. } = request;
            let address = PeerAddress { name: name.clone(), peer_addr: peer_addr.clone() };
            validate_member(&address, client_addr)
        }
        _ => Ok(()),
    }
}

/// Changes the roster.
pub(super) fn change(roster: &Roster, operation: &ClusterOperation, now_ms: u64) -> Changed {
    match operation {
        ClusterOperation::StartJoin { request, member_id_max } => {
            start_join(roster, request, *member_id_max, now_ms)
        }
        ClusterOperation::AdvanceJoin { join_id, from, progress } => {
            advance_join(roster, *join_id, *from, progress, now_ms)
        }
        ClusterOperation::CancelJoin { join_id } => cancel_join(roster, *join_id, now_ms),
        ClusterOperation::AddWaiting { join_id, target } => add_waiting(roster, *join_id, *target),
        ClusterOperation::Claim { node_id, incarnation, claim } => {
            take_claim(roster, *node_id, *incarnation, claim)
        }
        ClusterOperation::SetLeaving { node_id, leaving, force } => {
            let mut next = roster.clone();
            let before = match leaving {
                true => next.leaving.insert(*node_id, *force),
                false => next.leaving.remove(node_id),
            };
            let after = leaving.then_some(*force);
            Ok((ClusterAnswer::Done, (before != after).then_some(next)))
        }
        ClusterOperation::SetFormat { node_id, command_format } => {
            let mut next = roster.clone();
            let before = next.formats.insert(*node_id, *command_format);
            let changed = before != Some(*command_format);
            Ok((ClusterAnswer::Done, changed.then_some(next)))
        }
    }
}

/// The roster after a membership was applied, unless it stays as it is: ids in it are given, and
/// nothing is remembered of nodes that have left.
pub fn roster_after_membership(roster: &Roster, membership: &MembershipConfig) -> Option<Roster> {
    let mut next = roster.clone();
    let highest = membership.nodes.keys().next_back().copied().unwrap_or(0);
    next.last_node_id = next.last_node_id.max(highest);
    let is_known =
        |node: &NodeId| membership.nodes.contains_key(node) || roster.open_join_of(*node).is_some();
    next.incarnations.retain(|node, _| is_known(node));
    next.formats.retain(|node, _| is_known(node));
    next.claims.retain(|node, _| is_known(node));
    next.leaving.retain(|node, _| membership.nodes.contains_key(node));
    (next != *roster).then_some(next)
}

fn start_join(
    roster: &Roster,
    request: &JoinRequest,
    member_id_max: NodeId,
    now_ms: u64,
) -> Changed {
    if let Some(known) = roster.joins.values().find(|join| join.request.nonce == request.nonce) {
        let ticket = JoinTicket { join_id: known.join_id, node_id: known.node_id };
        return match &known.progress.failure {
            Some(reason) => Err(refused(format!("join {} failed: {reason}", known.join_id))),
            None => Ok((ClusterAnswer::Ticket(ticket), None)),
        };
    }
    if roster.open_joins().count() >= JOINS_OPEN_MAX {
        return Err(refused(format!("{JOINS_OPEN_MAX} nodes are joining; wait or cancel one")));
    }
    let clash = roster.open_joins().find(|join| {
        join.request.name == request.name || join.request.peer_addr == request.peer_addr
    });
    if let Some(JoinRecord { node_id, request, .. }) = clash {
        return Err(refused(format!(
            "node {node_id} ({} at {}) is joining; cancel it with 'chainfire member cancel \
             {node_id}' or take another name and address",
            request.name, request.peer_addr
        )));
    }
    let mut next = roster.clone();
    let node_id = roster.last_node_id.max(member_id_max) + 1;
    let join_id = roster.last_join_id + 1;
    (next.last_node_id, next.last_join_id) = (node_id, join_id);
    next.incarnations.insert(node_id, request.nonce);
    next.formats.insert(node_id, request.command_format);
    let record = JoinRecord {
        join_id,
        node_id,
        request: request.clone(),
        started_ms: now_ms,
        progress: JoinProgress::BEGUN,
        ended_ms: None,
    };
    next.joins.insert(join_id, record);
    Ok((ClusterAnswer::Ticket(JoinTicket { join_id, node_id }), Some(next)))
}

fn advance_join(
    roster: &Roster,
    join_id: JoinId,
    from: JoinPhase,
    progress: &JoinProgress,
    now_ms: u64,
) -> Changed {
    let join = known_join(roster, join_id)?;
    if join.progress == *progress {
        return Ok((ClusterAnswer::Done, None));
    }
    if join.progress.phase != from || !join.is_open() {
        return Err(refused(format!(
            "join {join_id} is {}, not {}",
            join.progress.phase.name(),
            from.name()
        )));
    }
    Ok((ClusterAnswer::Done, Some(with_progress(roster, join_id, progress.clone(), now_ms))))
}

fn cancel_join(roster: &Roster, join_id: JoinId, now_ms: u64) -> Changed {
    let join = known_join(roster, join_id)?;
    match join.progress.phase {
        JoinPhase::Joined => Err(refused(format!(
            "node {0} has joined; remove it with 'chainfire member remove {0}'",
            join.node_id
        ))),
        JoinPhase::Undoing | JoinPhase::Failed | JoinPhase::Cancelled => {
            Ok((ClusterAnswer::Done, None))
        }
        _ => {
            let undoing = JoinProgress {
                phase: JoinPhase::Undoing,
                held_index: None,
                failure: None,
                ..join.progress.clone()
            };
            Ok((ClusterAnswer::Done, Some(with_progress(roster, join_id, undoing, now_ms))))
        }
    }
}

fn add_waiting(roster: &Roster, join_id: JoinId, target: JoinTarget) -> Changed {
    let join = known_join(roster, join_id)?;
    if !join.is_open() {
        return Err(refused(format!("join {join_id} is over; start the node again to join anew")));
    }
    let mut next = roster.clone();
    let join = next.joins.get_mut(&join_id).expect("it was just found");
    join.request.waits = false;
    join.request.target = target;
    if join.progress.phase == JoinPhase::Waiting {
        join.progress.phase = JoinPhase::Adding;
    }
    Ok((ClusterAnswer::Done, Some(next)))
}

/// A start that neither is nor continues the last one taken is of a directory that was copied or
/// put back. One that is ahead was claimed from a state that lies ahead of this one: there is none.
fn take_claim(roster: &Roster, node_id: NodeId, incarnation: u128, claim: &StartClaim) -> Changed {
    if roster.incarnations.get(&node_id).is_some_and(|known| *known != incarnation) {
        return Err(OperationError::OtherIncarnation { node_id });
    }
    let last = roster.claims.get(&node_id);
    let order = last.map_or(ClaimOrder::Continues, |last| claim.order(last));
    let counter = last.map_or(0, |last| last.counter);
    match order {
        ClaimOrder::Same => Ok((ClusterAnswer::Done, None)),
        ClaimOrder::Continues if claim.nonce != 0 => {
            let mut next = roster.clone();
            next.incarnations.insert(node_id, incarnation);
            next.claims.insert(node_id, Claim { counter: counter + 1, nonce: claim.nonce });
            Ok((ClusterAnswer::Done, Some(next)))
        }
        _ => Err(OperationError::StaleStart { node_id, counter }),
    }
}

fn known_join(roster: &Roster, join_id: JoinId) -> Result<&JoinRecord, OperationError> {
    let unknown = || refused(format!("there is no join {join_id}; see 'chainfire join status'"));
    roster.joins.get(&join_id).ok_or_else(unknown)
}

/// The roster with a join's progress replaced. One that is over makes older ones be forgotten.
fn with_progress(roster: &Roster, join_id: JoinId, progress: JoinProgress, now_ms: u64) -> Roster {
    let mut next = roster.clone();
    let Some(join) = next.joins.get_mut(&join_id) else { return next };
    let node_id = join.node_id;
    join.ended_ms = progress.phase.is_over().then_some(now_ms);
    join.progress = progress;
    if matches!(join.progress.phase, JoinPhase::Failed | JoinPhase::Cancelled) {
        next.incarnations.remove(&node_id);
        next.formats.remove(&node_id);
        next.claims.remove(&node_id);
    }
    let ended: Vec<JoinId> =
        next.joins.values().filter(|join| !join.is_open()).map(|join| join.join_id).collect();
    for forgotten in &ended[..ended.len().saturating_sub(JOINS_ENDED_KEPT_MAX)] {
        next.joins.remove(forgotten);
    }
    next
}

fn refused(reason: String) -> OperationError {
    OperationError::JoinRefused { reason }
}
