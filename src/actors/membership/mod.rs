//! Members: who is one, who becomes one, and where they are reached.
//!
//! ```text
//! a request (any node) ─> handle ─> leader ─> changes: join, promote, remove, ...
//!                                      │ writes joins into the replicated state
//! actor (every node) ── on the leader: plan ─> steps, outside the mailbox ─> outcome ─> plan ...
//!        └─ says who this node is and where it is reached, and asks whether it still belongs
//! ```
//!
//! Reading order: `plan` (what a join does next: pure), `steps` (doing it), `actor` (who drives
//! it), `changes` (promote, demote, update, move the leader), `leaving` (remove, replace), `quorum` (which of
//! them are refused: pure), `live` (what is seen of a join while it runs), `publish`.
//!
//! # What must stay true
//! - Only the leader drives joins, and what it does is in the replicated state before the next
//!   step begins: a new leader takes each of them up where it was.
//! - Changes of the membership are made one after the other, each on the membership it was decided
//!   on.
//!
//! # On failure
//! The actor restarts and finds everything in the replicated state.

mod actor;
mod changes;
mod leaving;
mod live;
mod plan;
mod publish;
mod quorum;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

pub(super) use actor::{MembershipActor, MembershipArgs, MembershipMessage};
pub use live::SEEDING_STAGES;

use self::live::LiveJoins;
use self::steps::StepContext;
use super::mailbox::Mailbox;
use super::raft::RaftHandle;
use super::snapshot::SnapshotHandle;
use crate::rpc::peer::{Lane, PeerCallError};
use crate::types::{ClusterReply, ClusterRequest, JoinStatus, RequestError};

/// Messages that may wait.
const WAITING_MAX: usize = 256;
/// How long a request looks for a leader.
const LEADER_WAIT_MAX: Duration = Duration::from_secs(5);
/// The pause before the leader is looked for again.
const LEADER_PAUSE: Duration = Duration::from_millis(50);

/// The way to the membership actor, and for requests about members.
#[derive(Clone)]
pub struct MembershipHandle {
    pub(super) mailbox: Mailbox<MembershipMessage>,
    context: StepContext,
}

impl MembershipHandle {
    pub(super) fn new(raft: RaftHandle, snapshot: SnapshotHandle) -> Self {
        let (live, changing) = (Arc::<LiveJoins>::default(), Arc::<Mutex<()>>::default());
        let context = StepContext { raft, snapshot, live, changing };
        Self { mailbox: Mailbox::new("membership", WAITING_MAX), context }
    }

    /// Asks about members or changes them, on any node: the leader does it.
    ///
    /// # Errors
    /// `Refused` when the cluster is not in a state to do it, `OutcomeUnknown` when a change may
    /// have been made.
    pub async fn execute(
        &self,
        request: ClusterRequest,
        deadline: Instant,
    ) -> Result<ClusterReply, RequestError> {
        let give_up = deadline.min(Instant::now() + LEADER_WAIT_MAX);
        loop {
            let tried = match self.context.raft.leader_elsewhere() {
                None => self.execute_here(request.clone(), deadline).await,
                Some((leader, peer_addr)) => {
                    let lane = self.context.raft.connection(leader, &peer_addr, Lane::Control);
                    let left = deadline.saturating_duration_since(Instant::now());
                    lane.cluster(request.clone(), left).await.map_err(forwarded_in_vain)
                }
            };
            match tried {
                Err(RequestError::Unavailable { .. }) if Instant::now() < give_up => {
                    sleep(LEADER_PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// [`execute`](Self::execute) on this node, which must lead: what a peer forwards.
    ///
    /// # Errors
    /// As there; `Unavailable` when this node does not lead.
    pub async fn execute_here(
        &self,
        request: ClusterRequest,
        deadline: Instant,
    ) -> Result<ClusterReply, RequestError> {
        changes::execute(&self.context, request, deadline).await
    }

    /// Somebody says that the cluster may have gone on without this node: it asks now.
    pub fn check_standing(&self) {
        // A full or closed mailbox has it ask later.
        let _ = self.mailbox.send(MembershipMessage::CheckStanding);
    }

    /// The joins as this node sees them; on the leader with how far they are.
    pub fn joins(&self) -> Vec<JoinStatus> {
        changes::joins(&self.context)
    }
}

fn forwarded_in_vain(error: PeerCallError) -> RequestError {
    match error {
        PeerCallError::Request(error) => error,
        PeerCallError::Unreachable { reason } => {
            RequestError::Unavailable { reason: format!("the leader cannot be reached: {reason}") }
        }
        PeerCallError::Lost { reason } => RequestError::OutcomeUnknown {
            reason: format!("the connection to the leader was lost: {reason}"),
        },
        PeerCallError::Refused(refusal) => {
            RequestError::Unavailable { reason: refusal.to_string() }
        }
    }
}
