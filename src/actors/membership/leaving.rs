//! How a member leaves: removed, or replaced by another.
//!
//! # What must stay true
//! - A removal is in the replicated state before it begins, so that the next leader completes it.
//! - Before each step a majority of those who stay is asked whether they are there, under the lock
//!   that the change is made under; who is leaving already does not count as staying.
//! - Asked again after it was done, by the id, which is never given again, it is answered the same.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::changes::{
    Reply, change, check_quorum, hand_over_if_leader, member, propose, refuse_joining,
    refuse_lagging, refused, set_voters, settled,
};
use super::plan::RETRY_PAUSE;
use super::steps::{CHANGE_MAX, StepContext};
use crate::actors::raft::{MembershipChange, MembershipView};
use crate::rpc::peer::Lane;
use crate::types::{ClusterOperation, ClusterReply, NodeId, RequestError};

/// How long a node that was removed is tried to be told.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// Makes a member leave; one that leads hands over first.
pub(super) async fn remove(
    context: &StepContext,
    node: &str,
    force: bool,
    deadline: Instant,
) -> Reply {
    if let Some(node_id) = has_left(context, node) {
        return Ok(ClusterReply::Done { node_id });
    }
    let node = member(context, node)?;
    refuse_joining(context, node)?;
    // Held from the check to the change: of two removals that each leave a majority, both together
    // might not.
    let _changing = context.changing.lock().await;
    check_without(context, &settled(context)?, node, force).await?;
    hand_over_if_leader(context, node, deadline).await?;
    set_leaving(context, node, Some(force), deadline).await?;
    match finish_leaving(context, node, force, deadline).await {
        Err(refusal @ RequestError::Refused { .. }) => {
            // Somebody died since. What was refused is not done behind the operator's back later.
            set_leaving(context, node, None, deadline).await?;
            Err(refusal)
        }
        finished => finished.map(|()| ClusterReply::Done { node_id: node }),
    }
}

/// Writes down that a member is to leave (whether by force), or that it is not.
async fn set_leaving(
    context: &StepContext,
    node_id: NodeId,
    force: Option<bool>,
    deadline: Instant,
) -> Result<(), RequestError> {
    let (leaving, force) = (force.is_some(), force.unwrap_or(false));
    let operation = ClusterOperation::SetLeaving { node_id, leaving, force };
    propose(context, operation, deadline).await.map(drop)
}

/// Refuses to go on without `node` when no majority of those who stay is alive.
async fn check_without(
    context: &StepContext,
    view: &MembershipView,
    node: NodeId,
    force: bool,
) -> Result<(), RequestError> {
    let mut voters = view.voters();
    if voters.remove(&node) {
        check_quorum(context, &voters, force).await?;
    }
    Ok(())
}

/// Takes a node out that is to leave: of the voters first, then of the membership. The caller
/// holds `changing`.
async fn finish_leaving(
    context: &StepContext,
    node: NodeId,
    force: bool,
    deadline: Instant,
) -> Result<(), RequestError> {
    let view = settled(context)?;
    check_without(context, &view, node, force).await?;
    let mut voters = view.voters();
    if voters.remove(&node) {
        change(context, &view, MembershipChange::SetVoters(voters), deadline).await?;
    }
    let address = view.nodes.get(&node).cloned();
    let view = context.raft.membership_view();
    if view.contains(node) {
        change(context, &view, MembershipChange::RemoveLearner(node), deadline).await?;
    }
    match address {
        Some(address) => say_goodbye(context, node, &address.peer_addr),
        None => context.raft.forget_peer(node),
    }
    Ok(())
}

/// Has a node that was removed find it out, and forgets it: nobody sends it the entry that says so.
/// Worth trying; one that is not reached asks by itself when it has heard of no leader for a while.
fn say_goodbye(context: &StepContext, node: NodeId, first_addr: &str) {
    let raft = context.raft.clone();
    let published = raft.state().member(node);
    let peer_addr = published.map_or(first_addr.to_owned(), |(address, _)| address.peer_addr);
    let peer = raft.connection(node, &peer_addr, Lane::Control);
    tokio::spawn(async move {
        if let Err(error) = peer.check_standing(GOODBYE_MAX).await {
            tracing::debug!(node, %error, "a removed node was not told; it will ask");
        }
        raft.forget_peer(node);
    });
}

/// Makes a learner a voter in the place of one that leaves, in one joint change.
pub(super) async fn replace(
    context: &StepContext,
    old: &str,
    new: &str,
    force: bool,
    deadline: Instant,
) -> Reply {
    let new = member(context, new)?;
    if has_left(context, old).is_some() && context.raft.membership_view().is_voter(new) {
        return Ok(ClusterReply::Done { node_id: new });
    }
    let old = member(context, old)?;
    refuse_joining(context, new)?;
    if old == new {
        return Err(refused("a member cannot replace itself".to_owned()));
    }
    hand_over_if_leader(context, old, deadline).await?;
    let _changing = context.changing.lock().await;
    let view = settled(context)?;
    let mut voters = view.voters();
    match (voters.remove(&old), voters.insert(new)) {
        (true, true) => {
            refuse_lagging(&view, new)?;
            set_voters(context, &view, voters, force, deadline).await?;
        }
        // Asked again after a leader that died between the change and the removal.
        (false, false) => {}
        (true, false) => {
            return Err(refused(format!("member {new} votes already; remove {old} instead")));
        }
        (false, true) => {
            return Err(refused(format!(
                "member {old} does not vote; promote {new} and remove {old} instead"
            )));
        }
    }
    // Only now: a leader that completed the removal alone would leave one voter less.
    set_leaving(context, old, Some(force), deadline).await?;
    finish_leaving(context, old, force, deadline).await?;
    Ok(ClusterReply::Done { node_id: new })
}

/// Completes what a dead leader left half done: a joint change, and removals.
pub(super) async fn tidy_up(context: &StepContext) {
    // Whoever makes a change now holds this until it is complete.
    let _changing = context.changing.lock().await;
    let deadline = Instant::now() + CHANGE_MAX;
    let view = context.raft.membership_view();
    if view.leads && view.is_joint() {
        tracing::info!("completing a change of the membership that was left half done");
        let change = MembershipChange::SetVoters(view.voters());
        if let Err(error) = context.raft.change_membership(&view, change, deadline).await {
            tracing::info!(%error, "it was not completed yet");
            return sleep(RETRY_PAUSE).await;
        }
    }
    let me = context.raft.node().node_id;
    for (node, force) in context.raft.roster().leaving.iter().filter(|(node, _)| **node != me) {
        if let Err(error) = finish_leaving(context, *node, *force, deadline).await {
            tracing::info!(node, %error, "a removal was not completed yet");
            sleep(RETRY_PAUSE).await;
        }
    }
}

/// The node, when `name` is the id of one that was a member once.
fn has_left(context: &StepContext, name: &str) -> Option<NodeId> {
    let id = name.parse::<NodeId>().ok()?;
    let roster = context.raft.roster();
    let was_given = (1..=roster.last_node_id).contains(&id);
    let is_known = context.raft.membership_view().contains(id) || roster.open_join_of(id).is_some();
    (was_given && !is_known).then_some(id)
}
