//! The way of a linearizable read: make sure that what this node has applied is fresh enough.
//!
//! The leader confirms its leadership with a quorum and names the last committed entry; once this
//! node has applied that entry, its state reflects every write acknowledged before the read began.
//!
//! # What must stay true
//! - A round serves only requests that arrived **before it started**; later ones wait for the next.
//! - One round at a time for each node, for however many requests: under load the rounds do not
//!   multiply, they only serve more.
//! - No clock decides freshness: a paused leader cannot answer from the past.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::handle::{Leadership, RaftHandle};
use crate::consensus::log_id_from_openraft;
use crate::failpoint::{Fault, planted};
use crate::rpc::peer::{Lane, PeerCallError};
use crate::types::{LogId, RequestError};

/// How long one round may look for a leader and a quorum.
const ROUND_MAX: Duration = Duration::from_secs(5);
/// How long one try within a round may take.
const TRY_MAX: Duration = Duration::from_millis(1_500);

type Waiter = oneshot::Sender<Result<Option<LogId>, RequestError>>;

/// The requests that wait for a round to start.
#[derive(Default)]
pub(super) struct ReadBarrier {
    waiters: Mutex<Vec<Waiter>>,
    arrived: Notify,
}

impl ReadBarrier {
    fn join(&self) -> oneshot::Receiver<Result<Option<LogId>, RequestError>> {
        let (sender, receiver) = oneshot::channel();
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        self.arrived.notify_one();
        receiver
    }

    fn take(&self) -> Vec<Waiter> {
        std::mem::take(&mut *self.waiters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl RaftHandle {
    /// Returns once this node's state reflects every write acknowledged before the call.
    /// Refused while this node does not trust it.
    pub async fn read_barrier(&self, deadline: Instant) -> Result<(), RequestError> {
        self.shared.trust.check_serves()?;
        let late = || RequestError::Unavailable {
            reason: "the deadline passed before a quorum confirmed the read".to_owned(),
        };
        let fresh = async {
            let read_at = self.shared.barrier.join().await.map_err(|_| stopping())??;
            self.await_applied(read_at).await?;
            // It may have been found wanting meanwhile.
            self.shared.trust.check_serves()
        };
        timeout_at(deadline, fresh).await.map_err(|_| late())?
    }

    /// Confirms leadership and answers what must be applied before a linearizable read: what a
    /// peer asks. Never forwarded.
    pub async fn read_index_local(&self, deadline: Instant) -> Result<Option<LogId>, RequestError> {
        self.shared.trust.check_serves()?;
        let confirmed = self.confirm_leadership();
        match timeout_at(deadline, confirmed).await {
            Ok(Ok(read_at)) => Ok(read_at),
            Ok(Err(reason)) => Err(RequestError::Unavailable { reason }),
            Err(_) => Err(RequestError::Unavailable { reason: "no quorum answered".to_owned() }),
        }
    }

    /// Serves rounds until every handle is gone. Run by the raft actor.
    pub(super) async fn serve_read_rounds(self) {
        loop {
            let waiters = self.shared.barrier.take();
            if waiters.is_empty() {
                self.shared.barrier.arrived.notified().await;
                continue;
            }
            let read_at = self.round(Instant::now() + ROUND_MAX).await;
            for waiter in waiters {
                // A waiter that is gone has met its deadline; nobody is left to tell.
                let _ = waiter.send(read_at.clone());
            }
        }
    }

    async fn round(&self, give_up: Instant) -> Result<Option<LogId>, RequestError> {
        if planted(Fault::StaleReadIndex) {
            return Ok(None);
        }
        loop {
            let tried = match self.leadership() {
                Leadership::Local => match timeout(TRY_MAX, self.confirm_leadership()).await {
                    Ok(confirmed) => confirmed,
                    Err(_) => Err("no quorum answered".to_owned()),
                },
                Leadership::Remote { node_id, addr } => {
                    let peer = self.shared.peers.peer(node_id, &addr, Lane::Control);
                    peer.read_index(TRY_MAX).await.map_err(|error: PeerCallError| error.to_string())
                }
                Leadership::Unknown => Err("no leader is known".to_owned()),
            };
            match tried {
                Ok(read_at) => return Ok(read_at),
                Err(reason) => self.await_leader(give_up, reason).await?,
            }
        }
    }

    async fn confirm_leadership(&self) -> Result<Option<LogId>, String> {
        match self.shared.raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => Ok(Some(log_id_from_openraft(linearizer.read_log_id().log_id()))),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(_))) => {
                Err("this node does not lead".to_owned())
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                Err("no quorum answered".to_owned())
            }
            Err(RaftError::Fatal(fatal)) => Err(format!("consensus stopped: {fatal}")),
        }
    }

    async fn await_applied(&self, read_at: Option<LogId>) -> Result<(), RequestError> {
        let mut applied = self.shared.state.applied();
        applied.wait_for(|applied| applied.log_id >= read_at).await.map_err(|_| stopping())?;
        Ok(())
    }
}

fn stopping() -> RequestError {
    RequestError::Unavailable { reason: "the node is stopping".to_owned() }
}
