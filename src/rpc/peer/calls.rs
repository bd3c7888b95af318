//! Calls on a peer.
//!
//! Every call has a time limit that covers all of it: connecting, waiting for room, the answer.
//! What comes back tells apart a call that was surely not executed, one whose outcome nobody
//! knows, and one that was answered. A call on a connection on which nothing is heard any more is
//! given up before its time is (see `life`).

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tarpc::client::RpcError;
use tarpc::context::Context;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};

use super::dialer::Link;
use super::lane_link::LaneLink;
use super::messages::{
    AppendReply, AppendRequest, ForwardedWrite, HashReport, PeerClient, PeerRefusal, SnapshotChunk,
    SnapshotOffer, SnapshotProgress, TransferLeaderRequest, VoteReply, VoteRequest,
};
use super::seed::{SeedReport, SeedRequest, SnapshotStatus};
use crate::rpc::api::{SnapshotOpenRequest, SnapshotOpened, SnapshotPiece, SnapshotReadRequest};
use crate::rpc::transport::{call_context, is_refused};
use crate::types::{Answer, ClusterReply, ClusterRequest, LogId, NodeStatus, RequestError, Vote};

/// Timers are this coarse.
const ROUNDING: Duration = Duration::from_millis(2);

/// Why a call on a peer was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerCallError {
    /// Surely not executed: it was never sent.
    #[error("the peer cannot be reached: {reason}")]
    Unreachable {
        /// Why.
        reason: String,
    },
    /// It was sent, and whether it was executed is unknown.
    #[error("the peer did not answer: {reason}")]
    Lost {
        /// Why.
        reason: String,
    },
    /// The peer answered that it did not do it.
    #[error(transparent)]
    Refused(#[from] PeerRefusal),
    /// The peer answered with a request's error.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// One lane to one peer. Clones share it.
#[derive(Clone)]
pub struct PeerConnection {
    link: Arc<LaneLink>,
}

impl PeerConnection {
    pub(super) fn new(link: Arc<LaneLink>) -> Self {
        Self { link }
    }

    /// Appends entries, or is a heartbeat.
    pub async fn append(
        &self,
        request: AppendRequest,
        timeout: Duration,
    ) -> Result<AppendReply, PeerCallError> {
        if !request.entries.is_empty() {
            let observer = &self.link.dialer().observer;
            observer.entries_sent(self.link.target, request.entries.len());
        }
        let send = |peer: PeerClient, context| async move { peer.append(context, request).await };
        let started = Instant::now();
        let result = self.call("append", timeout, send).await;
        match &result {
            // It never left, so it says nothing of the way.
            Err(PeerCallError::Unreachable { .. }) => {}
            Err(PeerCallError::Lost { .. }) => self.link.round_trip().missed(),
            _ => self.link.round_trip().answered(started.elapsed()),
        }
        result
    }

    /// Whether the peer's system says that nobody listens at its address: its process is gone.
    /// False when nothing is heard of it.
    pub async fn is_refused(&self, wait: Duration) -> bool {
        is_refused(&self.link.address, wait).await
    }

    /// How long to wait for the answer to an append on this lane: it follows the round trip.
    pub fn append_limit(&self) -> Duration {
        self.link.round_trip().limit()
    }

    /// How far the peer is, as the appends on this lane have it; none before the first answer.
    pub fn distance(&self) -> Option<Duration> {
        self.link.round_trip().distance()
    }

    /// Consensus is about to give the peer a snapshot: counted.
    pub fn note_consensus_snapshot(&self) {
        self.link.dialer().observer.consensus_snapshot_sent(self.link.target);
    }

    /// The peer holds less of the log than it had acknowledged: counted.
    pub fn note_lost_entries(&self) {
        self.link.dialer().observer.lost_entries(self.link.target);
    }

    /// Asks for a vote.
    pub async fn vote(
        &self,
        request: VoteRequest,
        timeout: Duration,
    ) -> Result<VoteReply, PeerCallError> {
        let send = |peer: PeerClient, context| async move { peer.vote(context, request).await };
        self.call("vote", timeout, send).await
    }

    /// Asks whether a vote would be granted.
    pub async fn pre_vote(
        &self,
        request: VoteRequest,
        timeout: Duration,
    ) -> Result<VoteReply, PeerCallError> {
        let send = |peer: PeerClient, context| async move { peer.pre_vote(context, request).await };
        self.call("pre_vote", timeout, send).await
    }

    /// Asks a voter to stand for election at once.
    pub async fn transfer_leader(
        &self,
        request: TransferLeaderRequest,
        timeout: Duration,
    ) -> Result<bool, PeerCallError> {
        let send =
            |peer: PeerClient, context| async move { peer.transfer_leader(context, request).await };
        self.call("transfer_leader", timeout, send).await
    }

    /// Proposes a write to the leader.
    pub async fn propose(
        &self,
        write: ForwardedWrite,
        timeout: Duration,
    ) -> Result<Answer, PeerCallError> {
        let send = |peer: PeerClient, context| async move { peer.propose(context, write).await };
        self.call("propose", timeout, send).await
    }

    /// Asks the leader what must be applied before a linearizable read.
    pub async fn read_index(&self, timeout: Duration) -> Result<Option<LogId>, PeerCallError> {
        let send = |peer: PeerClient, context| async move { peer.read_index(context).await };
        self.call("read_index", timeout, send).await
    }

    /// Offers a snapshot.
    pub async fn snapshot_offer(
        &self,
        offer: SnapshotOffer,
        timeout: Duration,
    ) -> Result<SnapshotProgress, PeerCallError> {
        let send =
            |peer: PeerClient, context| async move { peer.snapshot_offer(context, offer).await };
        self.call("snapshot_offer", timeout, send).await
    }

    /// Sends a piece of an offered snapshot.
    pub async fn snapshot_chunk(
        &self,
        chunk: SnapshotChunk,
        timeout: Duration,
    ) -> Result<SnapshotProgress, PeerCallError> {
        let send =
            |peer: PeerClient, context| async move { peer.snapshot_chunk(context, chunk).await };
        self.call("snapshot_chunk", timeout, send).await
    }

    /// Says that every piece was sent.
    pub async fn snapshot_install(
        &self,
        digest: [u8; 32],
        timeout: Duration,
    ) -> Result<Vote, PeerCallError> {
        let send =
            |peer: PeerClient, context| async move { peer.snapshot_install(context, digest).await };
        self.call("snapshot_install", timeout, send).await
    }

    /// What the peer holds of snapshots.
    pub async fn snapshot_status(
        &self,
        timeout: Duration,
    ) -> Result<SnapshotStatus, PeerCallError> {
        let send = |peer: PeerClient, context| async move { peer.snapshot_status(context).await };
        self.call("snapshot_status", timeout, send).await
    }

    /// Has the peer give a snapshot to another node, or asks how far that is.
    pub async fn seed(
        &self,
        request: SeedRequest,
        timeout: Duration,
    ) -> Result<SeedReport, PeerCallError> {
        let send = |peer: PeerClient, context| async move { peer.seed(context, request).await };
        self.call("seed", timeout, send).await
    }

    /// Says that no snapshot will come.
    pub async fn snapshot_abandon(&self, timeout: Duration) -> Result<(), PeerCallError> {
        let send = |peer: PeerClient, context| async move { peer.snapshot_abandon(context).await };
        self.call("snapshot_abandon", timeout, send).await
    }

    /// Asks the leader about members, or to change who is one.
    pub async fn cluster(
        &self,
        request: ClusterRequest,
        timeout: Duration,
    ) -> Result<ClusterReply, PeerCallError> {
        let send = |peer: PeerClient, context| async move { peer.cluster(context, request).await };
        self.call("cluster", timeout, send).await
    }

    /// Has the peer ask whether it still belongs to the cluster.
    pub async fn check_standing(&self, timeout: Duration) -> Result<(), PeerCallError> {
        let send = |peer: PeerClient, context| async move { peer.check_standing(context).await };
        self.call("check_standing", timeout, send).await
    }

    /// Whether the peer has ever been part of a cluster.
    pub async fn is_founded(&self, timeout: Duration) -> Result<bool, PeerCallError> {
        let send = |peer: PeerClient, context| async move { peer.is_founded(context).await };
        self.call("is_founded", timeout, send).await
    }

    /// Opens a snapshot of what the peer has applied.
    pub async fn snapshot_open(
        &self,
        request: SnapshotOpenRequest,
        timeout: Duration,
    ) -> Result<SnapshotOpened, PeerCallError> {
        let send =
            |peer: PeerClient, context| async move { peer.snapshot_open(context, request).await };
        self.call("snapshot_open", timeout, send).await
    }

    /// Reads a piece of a snapshot that was opened.
    pub async fn snapshot_read(
        &self,
        request: SnapshotReadRequest,
        timeout: Duration,
    ) -> Result<SnapshotPiece, PeerCallError> {
        let send =
            |peer: PeerClient, context| async move { peer.snapshot_read(context, request).await };
        self.call("snapshot_read", timeout, send).await
    }

    /// The hash of the peer's state after an entry.
    pub async fn state_hash(
        &self,
        index: u64,
        timeout: Duration,
    ) -> Result<HashReport, PeerCallError> {
        let send = |peer: PeerClient, context| async move { peer.state_hash(context, index).await };
        self.call("state_hash", timeout, send).await
    }

    /// Tells the peer that its state after an entry is not the majority's.
    pub async fn state_differs(&self, index: u64, timeout: Duration) -> Result<(), PeerCallError> {
        let send =
            |peer: PeerClient, context| async move { peer.state_differs(context, index).await };
        self.call("state_differs", timeout, send).await
    }

    /// What the peer says of itself.
    pub async fn status(&self, timeout: Duration) -> Result<NodeStatus, PeerCallError> {
        let send = |peer: PeerClient, context| async move { peer.status(context).await };
        self.call("status", timeout, send).await
    }

    async fn call<T, E, Sent>(
        &self,
        method: &'static str,
        timeout: Duration,
        send: impl FnOnce(PeerClient, Context) -> Sent,
    ) -> Result<T, PeerCallError>
    where
        Sent: Future<Output = Result<Result<T, E>, RpcError>>,
        PeerCallError: From<E>,
    {
        let started = Instant::now();
        let result = self.exchange(started + timeout, send).await;
        let (target, lane) = (self.link.target, self.link.lane);
        let observer = &self.link.dialer().observer;
        match &result {
            Err(PeerCallError::Unreachable { .. } | PeerCallError::Lost { .. }) => {
                observer.failed(target, lane, method);
            }
            _ => observer.answered(target, lane, method, started.elapsed()),
        }
        result
    }

    /// Waits for `call` until `deadline`, as long as the connection shows signs of life.
    async fn answer<T>(
        &self,
        link: &Link,
        mut call: impl Future<Output = T> + Unpin,
        deadline: Instant,
    ) -> Result<Result<T, Elapsed>, PeerCallError> {
        let limit = self.link.round_trip().limit();
        loop {
            let look_at = Instant::now() + limit;
            if look_at >= deadline {
                break;
            }
            if let Ok(answer) = timeout_at(look_at, &mut call).await {
                return Ok(Ok(answer));
            }
            if link.is_closed() && link.life().is_retired() {
                return Err(nothing_heard());
            }
            if !link.life().is_silent_for(limit) || !link.life().begin_asking() {
                continue;
            }
            tokio::select! {
                biased;
                answer = &mut call => {
                    link.life().asked(true);
                    return Ok(Ok(answer));
                }
                lives = Box::pin(shows_life(link, limit)) => {
                    link.life().asked(lives);
                    if !lives {
                        return Err(nothing_heard());
                    }
                }
            }
        }
        let started = Instant::now();
        let answer = timeout_at(deadline, &mut call).await;
        let waited = started.elapsed();
        // An append has the limit itself as its time.
        if answer.is_err() && waited + ROUNDING >= limit && link.life().is_silent_for(waited) {
            link.life().retire();
        }
        Ok(answer)
    }

    async fn exchange<T, E, Sent>(
        &self,
        deadline: Instant,
        send: impl FnOnce(PeerClient, Context) -> Sent,
    ) -> Result<T, PeerCallError>
    where
        Sent: Future<Output = Result<Result<T, E>, RpcError>>,
        PeerCallError: From<E>,
    {
        let unreachable = |reason: &str| PeerCallError::Unreachable { reason: reason.to_owned() };
        let Some(_place) = self.link.place(deadline).await else {
            return Err(unreachable("too many calls are in flight"));
        };
        let link = self.link.link(deadline).await.map_err(|reason| unreachable(&reason))?;
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(unreachable("no connection in time"));
        }
        // tarpc panics when the answer is that of another method: the peer's fault, not ours.
        let call = send(link.client.clone(), call_context(left));
        // Boxed: it is large, and whoever calls would carry room for it.
        let call = Box::pin(AssertUnwindSafe(call).catch_unwind());
        let answered = self.answer(&link, call, deadline).await?.map(|answered| {
            link.life().heard();
            answered.map_err(|_panic| PeerCallError::Lost {
                reason: "the peer answered something else".into(),
            })
        });
        match answered {
            Ok(Err(another)) => Err(another),
            Ok(Ok(Ok(answer))) => answer.map_err(PeerCallError::from),
            // tarpc says this only of a message that could not be put into a frame.
            Ok(Ok(Err(RpcError::Send(error)))) => Err(unreachable(&error.to_string())),
            Ok(Ok(Err(error))) => Err(PeerCallError::Lost { reason: reason_of(&error) }),
            Err(_elapsed) => Err(PeerCallError::Lost { reason: "no answer in time".into() }),
        }
    }
}

/// Whether the other end answers something that takes it no time.
async fn shows_life(link: &Link, limit: Duration) -> bool {
    timeout(limit, link.client.status(call_context(limit))).await.is_ok_and(|said| said.is_ok())
}

/// The connection is retired.
fn nothing_heard() -> PeerCallError {
    PeerCallError::Lost { reason: "nothing is heard on its connection any more".into() }
}

/// An error with its causes, in one line.
fn reason_of(error: &RpcError) -> String {
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    reason
}
