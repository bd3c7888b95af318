//! The actor that drives joins, on the leader, and speaks for its own node, on every one.
//!
//! On each tick the leader looks at every open join and starts the step that the plan names, if
//! none is under way; the step comes back as a message with the join's id, is turned into the
//! join's next record, and that is written; then the next step begins. A change of the membership
//! that a dead leader left half done is completed in the same way, and so are removals.
//!
//! # What must stay true
//! - One step for each join at a time. A join that was cancelled loses its step.
//! - Nothing is awaited in `handle`.
//!
//! # On failure
//! Steps under way are given up with the actor; its successor starts them anew.

use std::collections::HashMap;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::MembershipHandle;
use super::changes::propose;
use super::leaving::tidy_up;
use super::plan::{self, Next, Outcome, RETRY_PAUSE};
use super::publish::{PublishError, publish};
use super::steps::StepContext;
use crate::actors::mailbox::MailboxMeter;
use crate::actors::raft::RaftHandle;
use crate::actors::supervisor::SupervisorMessage;
use crate::telemetry::NodeMetrics;
use crate::types::{ClusterOperation, JoinId, JoinPhase, JoinRecord, PeerAddress, Standing};
use crate::types::{ClusterReply, ClusterRequest, StartClaim};

/// How often the joins are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long one try to publish may take.
const TRY_MAX: Duration = Duration::from_secs(5);
/// The pause after a failed try to publish.
const PUBLISH_PAUSE: Duration = Duration::from_millis(500);
/// A node that heard of no leader for this long asks whether it still belongs.
const SILENCE_MAX: Duration = Duration::from_millis(500);
/// How long one member may take to answer, and the pause before they are asked again.
const STANDING_PAUSE: Duration = Duration::from_secs(2);

/// What the membership actor is told.
pub enum MembershipMessage {
    /// See whether what is published is right. Sent by itself; no reply.
    Check,
    /// A try to publish ended. Sent by the task that tried; no reply.
    Published(Result<(), PublishError>),
    /// Look at the joins. Sent by its own timer; no reply.
    Tick,
    /// A step of a join ended. Sent by its task; no reply.
    Stepped {
        /// The join as it was when the step began.
        join: Box<JoinRecord>,
        /// How it ended.
        outcome: Box<Outcome>,
    },
    /// What followed from a step is written, or could not be, or its pause is over. Sent by the
    /// task; no reply.
    Settled(JoinId),
    /// What was left half done is complete, or not. Sent by its task; no reply.
    Tidied,
    /// Ask the cluster whether this node still belongs, now. Sent by the peer listener; no reply.
    CheckStanding,
    /// The cluster said what it thinks of this node. Sent by the task that asked; no reply.
    Stands(Option<Standing>),
    /// Fail, to prove supervision.
    #[cfg(test)]
    Panic,
}

/// What the actor starts with.
#[derive(Clone)]
pub struct MembershipArgs {
    /// Consensus.
    pub raft: RaftHandle,
    /// What steps are run with, and how the cluster is asked.
    pub(in crate::actors) handle: MembershipHandle,
    /// This node's name and where peers reach it.
    pub address: PeerAddress,
    /// Where clients reach it.
    pub client_addr: String,
    /// The incarnation of its data directory.
    pub incarnation: u128,
    /// What this start of it claims.
    pub claim: StartClaim,
    /// Told when this node does not belong to the cluster any more.
    pub supervisor: ActorRef<SupervisorMessage>,
    /// Where joins are counted.
    pub metrics: NodeMetrics,
    /// Counts its mailbox.
    pub meter: MailboxMeter,
}

/// What the actor owns.
pub struct MembershipState {
    args: MembershipArgs,
    timer: JoinHandle<()>,
    running: HashMap<JoinId, Running>,
    /// Whether what was left half done is being completed.
    tidying: bool,
    /// When this node asks next whether it belongs, while it doubts it.
    doubting: Option<Instant>,
    /// Whether it has seen itself as a member.
    was_member: bool,
    /// Whether the cluster is being asked about that.
    asking: bool,
}

/// A step under way, or the writing of what followed from it.
struct Running {
    phase: JoinPhase,
    task: AbortHandle,
    /// Since when the step has been failing.
    failing: Option<Instant>,
}

impl MembershipState {
    fn context(&self) -> &StepContext {
        &self.args.handle.context
    }
}

impl Drop for MembershipState {
    fn drop(&mut self) {
        self.timer.abort();
        for running in self.running.values() {
            running.task.abort();
        }
    }
}

/// See the module.
pub struct MembershipActor;

impl Actor for MembershipActor {
    type Msg = MembershipMessage;
    type State = MembershipState;
    type Arguments = MembershipArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<MembershipMessage>,
        args: MembershipArgs,
    ) -> Result<MembershipState, ActorProcessingErr> {
        myself.send_message(MembershipMessage::Check)?;
        Ok(MembershipState {
            args,
            timer: tokio::spawn(tick(myself)),
            running: HashMap::new(),
            tidying: false,
            doubting: None,
            was_member: false,
            asking: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<MembershipMessage>,
        message: MembershipMessage,
        state: &mut MembershipState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            MembershipMessage::Check => on_check(state, myself),
            MembershipMessage::Published(outcome) => on_published(state, outcome, myself),
            MembershipMessage::Tick => on_tick(state, &myself),
            MembershipMessage::Stepped { join, outcome } => {
                on_stepped(state, &join, *outcome, myself);
            }
            MembershipMessage::Settled(join_id) => on_settled(state, join_id, &myself),
            MembershipMessage::Tidied => state.tidying = false,
            MembershipMessage::CheckStanding => {
                state.args.meter.taken();
                ask(state, &myself);
            }
            MembershipMessage::Stands(standing) => on_stands(state, standing),
            #[cfg(test)]
            MembershipMessage::Panic => panic!("asked to fail"),
        }
        Ok(())
    }
}

fn on_check(state: &MembershipState, myself: ActorRef<MembershipMessage>) {
    let args = state.args.clone();
    tokio::spawn(async move {
        let published = publish(&args, Instant::now() + TRY_MAX).await;
        // When the actor is gone its successor checks anew.
        let _ = myself.send_message(MembershipMessage::Published(published));
    });
}

fn on_published(
    state: &MembershipState,
    outcome: Result<(), PublishError>,
    myself: ActorRef<MembershipMessage>,
) {
    match outcome {
        Ok(()) => tracing::debug!(client_addr = state.args.client_addr, "published"),
        Err(PublishError::NotRecognised(reason)) => {
            leave(state, SupervisorMessage::NotRecognised(reason));
        }
        Err(error) => {
            tracing::debug!(%error, "could not publish what this node is yet");
            tokio::spawn(async move {
                sleep(PUBLISH_PAUSE).await;
                // When the actor is gone its successor checks anew.
                let _ = myself.send_message(MembershipMessage::Check);
            });
        }
    }
}

fn on_tick(state: &mut MembershipState, myself: &ActorRef<MembershipMessage>) {
    let view = state.args.raft.membership_view();
    if !view.leads {
        for (_, running) in state.running.drain() {
            running.task.abort();
        }
        return doubt(state, myself);
    }
    state.doubting = None;
    let roster = state.args.raft.roster();
    state.running.retain(|join_id, running| {
        let join = roster.joins.get(join_id);
        let goes_on = join.is_some_and(|join| join.progress.phase == running.phase);
        if !goes_on && running.phase != JoinPhase::Undoing {
            running.task.abort();
        }
        goes_on || running.phase == JoinPhase::Undoing && join.is_some_and(JoinRecord::is_open)
    });
    for join in roster.open_joins() {
        if !state.running.contains_key(&join.join_id) {
            begin(state, join, None, myself);
        }
    }
    if !state.tidying && (view.is_joint() || !roster.leaving.is_empty()) {
        tidy(state, myself);
    }
}

/// Starts the step that a join is at.
fn begin(
    state: &mut MembershipState,
    join: &JoinRecord,
    failing: Option<Instant>,
    myself: &ActorRef<MembershipMessage>,
) {
    let Some(step) = plan::step(join) else { return };
    tracing::debug!(join = join.join_id, node = join.node_id, ?step, "a step of a join begins");
    let (context, join, myself) = (state.context().clone(), join.clone(), myself.clone());
    let (join_id, phase) = (join.join_id, join.progress.phase);
    let task = tokio::spawn(async move {
        let outcome = context.run(&join, step).await;
        let (join, outcome) = (Box::new(join), Box::new(outcome));
        // When the actor is gone its successor begins the step anew.
        let _ = myself.send_message(MembershipMessage::Stepped { join, outcome });
    });
    state.running.insert(join_id, Running { phase, task: task.abort_handle(), failing });
}

fn on_stepped(
    state: &mut MembershipState,
    join: &JoinRecord,
    outcome: Outcome,
    myself: ActorRef<MembershipMessage>,
) {
    let Some(running) = state.running.get_mut(&join.join_id) else { return };
    if running.phase != join.progress.phase {
        return;
    }
    if let Outcome::Failed { reason } | Outcome::Hopeless { reason } = &outcome {
        running.failing.get_or_insert_with(Instant::now);
        tracing::info!(join = join.join_id, node = join.node_id, reason, "a step of a join failed");
    }
    let failing = running.failing.map_or(Duration::ZERO, |since| since.elapsed());
    let next = plan::next(join, outcome, failing);
    let (join_id, from) = (join.join_id, join.progress.phase);
    let node = join.node_id;
    let context = state.args.handle.context.clone();
    let metrics = state.args.metrics.clone();
    let task = tokio::spawn(async move {
        match next {
            Next::Retry => sleep(RETRY_PAUSE).await,
            Next::Record(progress) => {
                let phase = progress.phase;
                let operation = ClusterOperation::AdvanceJoin { join_id, from, progress };
                match propose(&context, operation, Instant::now() + TRY_MAX).await {
                    Ok(_) if phase.is_over() => {
                        tracing::info!(
                            join = join_id,
                            node,
                            outcome = phase.name(),
                            "a join ended"
                        );
                        metrics.join_ended(phase.name());
                    }
                    Ok(_) => {
                        tracing::info!(
                            join = join_id,
                            node,
                            phase = phase.name(),
                            "a join goes on"
                        );
                    }
                    Err(error) => {
                        tracing::info!(join = join_id, %error, "a join's phase was not written");
                        sleep(RETRY_PAUSE).await;
                    }
                }
            }
        }
        // When the actor is gone its successor looks at the joins itself.
        let _ = myself.send_message(MembershipMessage::Settled(join_id));
    });
    running.task = task.abort_handle();
}

fn on_settled(state: &mut MembershipState, join_id: JoinId, myself: &ActorRef<MembershipMessage>) {
    let Some(before) = state.running.remove(&join_id) else { return };
    let roster = state.args.raft.roster();
    let Some(join) = roster.joins.get(&join_id).filter(|join| join.is_open()) else { return };
    let same = join.progress.phase == before.phase;
    begin(state, join, before.failing.filter(|_| same), myself);
}

/// Completes a joint change that a dead leader left, and removals.
fn tidy(state: &mut MembershipState, myself: &ActorRef<MembershipMessage>) {
    state.tidying = true;
    let (context, myself) = (state.context().clone(), myself.clone());
    tokio::spawn(async move {
        tidy_up(&context).await;
        // When the actor is gone its successor looks for itself.
        let _ = myself.send_message(MembershipMessage::Tidied);
    });
}

/// A node that hears from no leader, or is in no membership that it knows, asks whether it still
/// belongs: the leader stops talking to a node that was removed.
fn doubt(state: &mut MembershipState, myself: &ActorRef<MembershipMessage>) {
    let raft = &state.args.raft;
    let view = raft.membership_view();
    // A learner that was removed goes on naming the leader it had, and only the silence tells.
    let is_member = view.contains(raft.node().node_id);
    let belongs = is_member && raft.unheard() < SILENCE_MAX;
    state.was_member |= is_member;
    if belongs || view.nodes.is_empty() {
        state.doubting = None;
        return;
    }
    // One that was given a snapshot and is not added yet has more time.
    let first = if state.was_member { Duration::ZERO } else { STANDING_PAUSE };
    let now = Instant::now();
    if *state.doubting.get_or_insert(now + first) <= now {
        state.doubting = Some(now + STANDING_PAUSE);
        ask(state, myself);
    }
}

/// Asks the cluster whether this node still belongs, unless it is being asked or this node leads it.
fn ask(state: &mut MembershipState, myself: &ActorRef<MembershipMessage>) {
    let raft = &state.args.raft;
    if state.asking || raft.membership_view().leads {
        return;
    }
    state.asking = true;
    let (raft, myself) = (raft.clone(), myself.clone());
    tokio::spawn(async move {
        let standing = ask_standing(&raft).await;
        // When the actor is gone its successor asks anew.
        let _ = myself.send_message(MembershipMessage::Stands(standing));
    });
}

/// Asks every other member that this node knows; only one that leads answers.
async fn ask_standing(raft: &RaftHandle) -> Option<Standing> {
    let node_id = raft.node().node_id;
    for member in raft.members().into_iter().filter(|member| member.id != node_id) {
        let lane = crate::rpc::peer::Lane::Control;
        let peer = raft.connection(member.id, &member.peer_addr, lane);
        let asked = peer.cluster(ClusterRequest::Standing { node_id }, STANDING_PAUSE).await;
        if let Ok(ClusterReply::Standing(standing)) = asked {
            return Some(standing);
        }
    }
    None
}

fn on_stands(state: &mut MembershipState, standing: Option<Standing>) {
    state.asking = false;
    match standing {
        Some(Standing::Removed) => leave(state, SupervisorMessage::Removed),
        Some(Standing::JoinFailed { reason }) => {
            leave(state, SupervisorMessage::JoinFailed(reason));
        }
        Some(Standing::Member | Standing::Joining) | None => {}
    }
}

fn leave(state: &MembershipState, message: SupervisorMessage) {
    // The supervisor is only gone when the node stops anyway.
    let _ = state.args.supervisor.send_message(message);
}

async fn tick(myself: ActorRef<MembershipMessage>) {
    let mut interval = interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        interval.tick().await;
        if myself.send_message(MembershipMessage::Tick).is_err() {
            return;
        }
    }
}
