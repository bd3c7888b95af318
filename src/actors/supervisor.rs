//! The root of a node's actors: restarts what may be restarted, stops the node for what may not.
//!
//! Snapshot, auth and membership actors (and the raft actor, which only *tends* consensus) are
//! restarted in place, within a budget and with growing pauses. Past the budget, and when the
//! storage or consensus itself fails, the node ends with an [`ExitReason`] of its own: the service
//! manager starts it again from what is on the disk, which is the only state known to be good.
//!
//! # What must stay true
//! - The first reason to exit stands.
//! - Children are stopped in order, each with a time limit: ractor would kill them without their
//!   last words.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::auth::{AccessWatch, AuthActor, AuthHandle};
use super::exit::ExitReason;
use super::mailbox::{Mailbox, MailboxMeter};
use super::membership::{MembershipActor, MembershipArgs, MembershipHandle};
use super::raft::{RaftActor, RaftArgs, RaftHandle, RaftMessage};
use super::restart::{Decision, RestartBudget};
use super::snapshot::{SnapshotActor, SnapshotArgs, SnapshotHandle};
use crate::auth::ClusterKey;
use crate::clock;
use crate::config::{RaftConfig, SnapshotConfig};
use crate::telemetry::NodeMetrics;
use crate::types::{PeerAddress, StartClaim};

/// How long one child may take to stop.
const CHILD_STOP_MAX: Duration = Duration::from_secs(5);
/// Messages that may wait for the raft actor.
const RAFT_WAITING_MAX: usize = 64;

/// The children, in the order in which they are started. They are stopped in the opposite order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Child {
    /// Tends consensus.
    Raft,
    /// Receives snapshots.
    Snapshot,
    /// Who may do what.
    Auth,
    /// Publishes addresses.
    Membership,
}

impl Child {
    /// Every child.
    pub const ALL: [Self; 4] = [Self::Raft, Self::Snapshot, Self::Auth, Self::Membership];

    fn name(self) -> &'static str {
        match self {
            Self::Raft => "raft",
            Self::Snapshot => "snapshot",
            Self::Auth => "auth",
            Self::Membership => "membership",
        }
    }
}

/// What the supervisor is told.
pub enum SupervisorMessage {
    /// Consensus has stopped by itself. Sent by the raft actor; no reply.
    ConsensusFailed(String),
    /// The storage has failed. Sent by whoever watches it; no reply.
    StorageFailed(String),
    /// This node was removed from its cluster. Sent by the membership actor; no reply.
    Removed,
    /// The cluster knows another data directory under this node's id. No reply.
    NotRecognised(String),
    /// This node's join came to nothing. No reply.
    JoinFailed(String),
    /// The secrets in the state do not open. Sent by the auth actor; no reply.
    OtherClusterKey,
    /// This node's state is not to be trusted: it must be replaced. Sent by whoever watches the
    /// node's trust; no reply.
    Distrusted(String),
    /// A child's pause is over. Sent by itself; no reply.
    Restart(Child),
    /// Give leadership away, if this node has it. Replies when that is done or has failed.
    HandOver(oneshot::Sender<()>),
}

/// What the actors of a node are made of.
#[derive(Clone)]
pub struct SupervisorArgs {
    /// Consensus, running.
    pub raft: RaftHandle,
    /// How much log to keep.
    pub raft_config: RaftConfig,
    /// How snapshots are given to others.
    pub snapshot_config: SnapshotConfig,
    /// Where received snapshots are collected.
    pub incoming: PathBuf,
    /// This node's name and where peers reach it.
    pub address: PeerAddress,
    /// Where clients reach it.
    pub client_addr: String,
    /// The incarnation of its data directory.
    pub incarnation: u128,
    /// What this start of it claims.
    pub claim: StartClaim,
    /// Users, roles and keys as the state publishes them.
    pub access: AccessWatch,
    /// The cluster's keys; none = requests are not authenticated.
    pub cluster_key: Option<ClusterKey>,
    /// Where requests can come from.
    pub listeners: Vec<SocketAddr>,
    /// Where restarts are counted.
    pub metrics: NodeMetrics,
}

/// What the rest of the node sees of its actors.
#[derive(Clone)]
pub struct NodeHandles {
    /// Consensus.
    pub raft: RaftHandle,
    /// Receives snapshots.
    pub snapshot: SnapshotHandle,
    /// Who may do what.
    pub auth: AuthHandle,
    /// Members.
    pub membership: MembershipHandle,
    raft_mailbox: Mailbox<RaftMessage>,
}

impl NodeHandles {
    /// The name and the number of waiting messages of each actor.
    pub fn mailbox_depths(&self) -> [(&'static str, usize); 4] {
        [
            (self.raft_mailbox.name(), self.raft_mailbox.depth()),
            (self.snapshot.mailbox.name(), self.snapshot.mailbox.depth()),
            (self.auth.mailbox.name(), self.auth.mailbox.depth()),
            (self.membership.mailbox.name(), self.membership.mailbox.depth()),
        ]
    }
}

#[cfg(test)]
impl NodeHandles {
    /// Makes an actor panic.
    pub(crate) fn make_panic(&self, child: Child) -> Result<(), super::MailboxError> {
        match child {
            Child::Raft => self.raft_mailbox.send(RaftMessage::Panic),
            Child::Snapshot => self.snapshot.mailbox.send(super::snapshot::SnapshotMessage::Panic),
            Child::Auth => self.auth.mailbox.send(super::auth::AuthMessage::Panic),
            Child::Membership => {
                self.membership.mailbox.send(super::membership::MembershipMessage::Panic)
            }
        }
    }
}

/// What the supervisor owns.
pub struct SupervisorState {
    args: SupervisorArgs,
    handles: NodeHandles,
    exit: watch::Sender<Option<ExitReason>>,
    running: HashMap<ActorId, (Child, ActorCell, JoinHandle<()>)>,
    budgets: HashMap<Child, RestartBudget>,
}

/// See the module.
pub struct NodeSupervisor;

impl NodeSupervisor {
    /// Starts the actors of a node. The receiver holds the reason once the node must end.
    pub async fn start(args: SupervisorArgs) -> Result<RunningActors, ractor::SpawnErr> {
        let snapshot = SnapshotHandle::new(
            args.raft.clone(),
            args.snapshot_config.clone(),
            args.incoming.clone(),
        );
        let handles = NodeHandles {
            raft: args.raft.clone(),
            snapshot: snapshot.clone(),
            auth: AuthHandle::new(args.cluster_key.clone()),
            membership: MembershipHandle::new(args.raft.clone(), snapshot),
            raft_mailbox: Mailbox::new(Child::Raft.name(), RAFT_WAITING_MAX),
        };
        let (exit_sender, exit) = watch::channel(None);
        let start = (args, handles.clone(), exit_sender);
        let (supervisor, task) = Actor::spawn(None, Self, start).await?;
        Ok(RunningActors { handles, exit, supervisor, task })
    }
}

/// The actors of a node, and their end.
pub struct RunningActors {
    /// What the rest of the node uses.
    pub handles: NodeHandles,
    /// Why the node must end, once it must.
    pub exit: watch::Receiver<Option<ExitReason>>,
    /// The root.
    pub supervisor: ActorRef<SupervisorMessage>,
    task: JoinHandle<()>,
}

impl RunningActors {
    /// Gives leadership to another node, if this one has it.
    pub async fn hand_over(&self) {
        let (reply, done) = oneshot::channel();
        if self.supervisor.send_message(SupervisorMessage::HandOver(reply)).is_ok() {
            // A dropped reply means that there is nobody left to hand over.
            let _ = done.await;
        }
    }

    /// Stops the actors in order and waits for the last.
    pub async fn stop(self) {
        self.supervisor.stop(None);
        // The supervisor limits each child; a panic of its own was logged by ractor.
        let _ = self.task.await;
    }
}

impl Actor for NodeSupervisor {
    type Msg = SupervisorMessage;
    type State = SupervisorState;
    type Arguments = (SupervisorArgs, NodeHandles, watch::Sender<Option<ExitReason>>);

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMessage>,
        (args, handles, exit): Self::Arguments,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        let mut state = SupervisorState {
            args,
            handles,
            exit,
            running: HashMap::new(),
            budgets: HashMap::new(),
        };
        for child in Child::ALL {
            start_child(&mut state, &myself, child).await?;
        }
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<SupervisorMessage>,
        message: SupervisorMessage,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            // A state that is not what was written stops consensus as well: who marks it says so
            // when the mark is on the disk.
            SupervisorMessage::ConsensusFailed(_) if state.args.raft.trust().reseeds() => {}
            SupervisorMessage::ConsensusFailed(reason) => {
                end(state, ExitReason::ConsensusFailed(reason));
            }
            SupervisorMessage::StorageFailed(reason) => {
                end(state, ExitReason::StorageFailed(reason));
            }
            SupervisorMessage::Removed => end(state, ExitReason::Removed),
            SupervisorMessage::NotRecognised(reason) => {
                end(state, ExitReason::NotRecognised(reason));
            }
            SupervisorMessage::JoinFailed(reason) => end(state, ExitReason::JoinFailed(reason)),
            SupervisorMessage::OtherClusterKey => end(state, ExitReason::OtherClusterKey),
            SupervisorMessage::Distrusted(reason) => end(state, ExitReason::Distrusted(reason)),
            SupervisorMessage::Restart(child) => {
                // A child's `pre_start` does no I/O; awaiting it here is short.
                if let Err(error) = start_child(state, &myself, child).await {
                    on_failed(state, &myself, child, error.to_string());
                }
            }
            SupervisorMessage::HandOver(reply) => {
                // A closed mailbox drops the reply, which tells the asker.
                let _ = state.handles.raft_mailbox.send(RaftMessage::HandOver(reply));
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SupervisorMessage>,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, reason) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell, error.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                (cell, reason.unwrap_or_else(|| "stopped".to_owned()))
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {
                return Ok(());
            }
        };
        if let Some((child, _, _)) = state.running.remove(&cell.get_id()) {
            on_failed(state, &myself, child, reason);
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<SupervisorMessage>,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        for child in Child::ALL.into_iter().rev() {
            close_mailbox(&state.handles, child);
            let running = state.running.iter().find(|(_, (kind, _, _))| *kind == child);
            let Some(id) = running.map(|(id, _)| *id) else { continue };
            let Some((_, cell, task)) = state.running.remove(&id) else { continue };
            cell.stop(None);
            if timeout(CHILD_STOP_MAX, task).await.is_err() {
                tracing::warn!(actor = child.name(), "did not stop in time");
                cell.kill();
            }
        }
        Ok(())
    }
}

/// A child failed: restart it after a pause, or end the node.
fn on_failed(
    state: &mut SupervisorState,
    myself: &ActorRef<SupervisorMessage>,
    child: Child,
    reason: String,
) {
    close_mailbox(&state.handles, child);
    let decision = state.budgets.entry(child).or_default().failed(clock::monotonic());
    match decision {
        Decision::RestartAfter(pause) => {
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            tracing::error!(actor = child.name(), reason, pause_ms, "actor failed; restarting it");
            state.args.metrics.actor_restarted(child.name());
            let myself = myself.clone();
            tokio::spawn(async move {
                sleep(pause).await;
                // When the supervisor is gone there is nothing to restart.
                let _ = myself.send_message(SupervisorMessage::Restart(child));
            });
        }
        Decision::GiveUp => end(state, ExitReason::ActorFailed { actor: child.name(), reason }),
    }
}

fn end(state: &SupervisorState, reason: ExitReason) {
    state.exit.send_if_modified(|exit| {
        if exit.is_some() {
            return false;
        }
        tracing::error!(%reason, "the node must stop");
        *exit = Some(reason);
        true
    });
}

fn close_mailbox(handles: &NodeHandles, child: Child) {
    match child {
        Child::Raft => handles.raft_mailbox.close(),
        Child::Snapshot => handles.snapshot.mailbox.close(),
        Child::Auth => handles.auth.mailbox.close(),
        Child::Membership => handles.membership.mailbox.close(),
    }
}

async fn start_child(
    state: &mut SupervisorState,
    myself: &ActorRef<SupervisorMessage>,
    child: Child,
) -> Result<(), ractor::SpawnErr> {
    let (args, handles) = (state.args.clone(), state.handles.clone());
    let meter = MailboxMeter::default();
    let (cell, task) = match child {
        Child::Raft => {
            let start = RaftArgs {
                raft: args.raft,
                config: args.raft_config,
                meter: meter.clone(),
                supervisor: myself.clone(),
            };
            spawn(RaftActor, start, myself, &handles.raft_mailbox, meter).await?
        }
        Child::Snapshot => {
            let start = SnapshotArgs {
                raft: args.raft,
                incoming: args.incoming,
                meter: meter.clone(),
                metrics: args.metrics,
            };
            spawn(SnapshotActor, start, myself, &handles.snapshot.mailbox, meter).await?
        }
        Child::Auth => {
            let start = handles.auth.args(args.listeners, args.access, args.raft, myself.clone());
            spawn(AuthActor, start, myself, &handles.auth.mailbox, meter).await?
        }
        Child::Membership => {
            let start = MembershipArgs {
                raft: args.raft,
                handle: handles.membership.clone(),
                address: args.address,
                client_addr: args.client_addr,
                incarnation: args.incarnation,
                claim: args.claim,
                supervisor: myself.clone(),
                metrics: args.metrics,
                meter: meter.clone(),
            };
            spawn(MembershipActor, start, myself, &handles.membership.mailbox, meter).await?
        }
    };
    state.running.insert(cell.get_id(), (child, cell, task));
    Ok(())
}

async fn spawn<A: Actor>(
    actor: A,
    arguments: A::Arguments,
    supervisor: &ActorRef<SupervisorMessage>,
    mailbox: &Mailbox<A::Msg>,
    meter: MailboxMeter,
) -> Result<(ActorCell, JoinHandle<()>), ractor::SpawnErr> {
    let linked = Actor::spawn_linked(None, actor, arguments, supervisor.get_cell());
    let (actor, task) = linked.await?;
    mailbox.bind(actor.clone(), meter);
    Ok((actor.get_cell(), task))
}
