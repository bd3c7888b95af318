//! The way of a write: to the leader, into the log, and back with the state machine's answer.
//!
//! # What must stay true
//! - "Not applied" is only ever said when it is certain. Once a command may be in any log, the
//!   answer is the state machine's or [`RequestError::OutcomeUnknown`].
//! - A write is forwarded at most once: the peer service never forwards.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{ClientWriteError, RaftError};
use tokio::time::{Instant, timeout_at};

use super::handle::{Leadership, RaftHandle};
use crate::consensus::EncodedCommand;
use crate::rpc::peer::{ForwardedWrite, Lane, PeerCallError};
use crate::types::{Answer, Command, RequestError};

/// How long a request waits for a leader before it is told that there is none.
const LEADER_WAIT_MAX: Duration = Duration::from_secs(5);
/// Left over of a request's time so that the refusal still reaches the client.
const ANSWER_MARGIN: Duration = Duration::from_millis(50);
/// How long to wait before asking again when nothing is heard of a new leader.
const LEADER_POLL: Duration = Duration::from_millis(25);

/// What became of one try.
enum Attempt {
    /// It is decided.
    Done(Result<Answer, RequestError>),
    /// Nobody took it: it is in no log.
    NotTaken(String),
}

impl RaftHandle {
    /// Proposes a write on any node and answers what the state machine says.
    pub async fn propose(
        &self,
        write: ForwardedWrite,
        deadline: Instant,
    ) -> Result<Answer, RequestError> {
        let give_up = self.give_up_at(deadline);
        loop {
            let attempt = match self.leadership() {
                Leadership::Local => self.propose_here(&write, deadline).await,
                Leadership::Remote { node_id, addr } => {
                    // This direction of the append lane is free: only a leader appends. Large
                    // values on the control lane would hold up heartbeats.
                    let peer = self.shared.peers.peer(node_id, &addr, Lane::Append);
                    let left = deadline.saturating_duration_since(Instant::now());
                    // Boxed: a call to a peer is large, and every write would carry room for it.
                    forwarded(Box::pin(peer.propose(write.clone(), left)).await)
                }
                Leadership::Unknown => Attempt::NotTaken("no leader is known".to_owned()),
            };
            match attempt {
                Attempt::Done(result) => return self.finished(result, deadline).await,
                Attempt::NotTaken(reason) => self.await_leader(give_up, reason).await?,
            }
        }
    }

    /// Proposes a write on this node, which must lead: what a peer forwards.
    pub async fn propose_local(
        &self,
        write: ForwardedWrite,
        deadline: Instant,
    ) -> Result<Answer, RequestError> {
        // What it answers it would read from its state.
        self.shared.trust.check_serves()?;
        match self.propose_here(&write, deadline).await {
            Attempt::Done(result) => result,
            Attempt::NotTaken(reason) => Err(RequestError::Unavailable { reason }),
        }
    }

    async fn propose_here(&self, write: &ForwardedWrite, deadline: Instant) -> Attempt {
        if Instant::now() >= deadline {
            return Attempt::Done(Err(RequestError::DeadlinePassed));
        }
        if let Err(refused) = self.check_format(write.operation.format()) {
            return Attempt::Done(Err(refused));
        }
        if let Err(refusal) = self.refuse_without_space(&write.operation) {
            return Attempt::Done(Err(refusal));
        }
        let command = self.command(write).encode();
        let counts = &self.shared.proposals;
        let bytes = command.len() as u64;
        counts.pending.fetch_add(1, Relaxed);
        counts.pending_bytes.fetch_add(bytes, Relaxed);
        let written = Box::pin(self.shared.raft.client_write(EncodedCommand(command)));
        let attempt = match timeout_at(deadline, written).await {
            Err(_) => unknown("the deadline passed before the write was committed"),
            Ok(Ok(written)) => match written.data.0 {
                Some(answer) => Attempt::Done(answer.map_err(RequestError::from)),
                None => unknown("the entry was answered as if it were no command"),
            },
            Ok(Err(error)) => refused(&error),
        };
        counts.pending.fetch_sub(1, Relaxed);
        counts.pending_bytes.fetch_sub(bytes, Relaxed);
        let count = match attempt {
            Attempt::Done(Ok(_) | Err(RequestError::Operation(_))) => &counts.committed,
            _ => &counts.failed,
        };
        count.fetch_add(1, Relaxed);
        attempt
    }

    fn command(&self, write: &ForwardedWrite) -> Command {
        let observed_ms = self.shared.state.applied().borrow().leader_time_ms;
        Command {
            request_id: write.request_id,
            principal: write.principal.clone(),
            auth_revision: write.auth_revision,
            leader_time_ms: self.shared.clock.now_ms(observed_ms),
            operation: write.operation.clone(),
        }
    }

    /// When to stop looking for a leader.
    pub(super) fn give_up_at(&self, deadline: Instant) -> Instant {
        let latest = deadline.checked_sub(ANSWER_MARGIN).unwrap_or(deadline);
        latest.min(Instant::now() + LEADER_WAIT_MAX)
    }

    /// Waits for a change in who leads, shortly; errs once `give_up` has passed.
    pub(super) async fn await_leader(
        &self,
        give_up: Instant,
        reason: String,
    ) -> Result<(), RequestError> {
        if Instant::now() >= give_up {
            return Err(RequestError::Unavailable { reason });
        }
        let mut server = self.shared.server.clone();
        drop(server.borrow_and_update());
        let poll = give_up.min(Instant::now() + LEADER_POLL);
        match timeout_at(poll, server.changed()).await {
            Ok(Err(_)) => {
                Err(RequestError::Unavailable { reason: "the node is stopping".to_owned() })
            }
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

fn unknown(reason: &str) -> Attempt {
    Attempt::Done(Err(RequestError::OutcomeUnknown { reason: reason.to_owned() }))
}

fn refused(
    error: &RaftError<crate::consensus::TypeConfig, ClientWriteError<crate::consensus::TypeConfig>>,
) -> Attempt {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => {
            Attempt::NotTaken("this node does not lead".to_owned())
        }
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => {
            unknown("leadership changed while the write was under way")
        }
        // A write is no membership change, so what is left cannot be told from a late failure.
        RaftError::APIError(other) => unknown(&other.to_string()),
        RaftError::Fatal(fatal) => unknown(&format!("consensus stopped: {fatal}")),
    }
}

fn forwarded(result: Result<Answer, PeerCallError>) -> Attempt {
    match result {
        Ok(answer) => Attempt::Done(Ok(answer)),
        Err(PeerCallError::Unreachable { reason }) => {
            Attempt::NotTaken(format!("the leader cannot be reached: {reason}"))
        }
        Err(PeerCallError::Request(RequestError::Unavailable { reason })) => {
            Attempt::NotTaken(reason)
        }
        Err(PeerCallError::Request(error)) => Attempt::Done(Err(error)),
        Err(PeerCallError::Lost { reason }) => {
            unknown(&format!("the connection to the leader was lost: {reason}"))
        }
        Err(PeerCallError::Refused(refusal)) => unknown(&refusal.to_string()),
    }
}
