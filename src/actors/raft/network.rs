//! What openraft calls on peers: translated, sent over the peer's lanes, translated back.
//!
//! # What must stay true
//! - Every call has a time limit of its own; openraft gives the full-snapshot call none, and
//!   appends one that knows nothing of the way: theirs follows the measured round trip.
//! - Heartbeats and votes travel on the control lane, entries on the append lane, snapshots on the
//!   snapshot lane: none waits behind another.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{Stream, unfold};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkV2, stream_append_sequential};
use openraft::raft;
use openraft::raft::{
    StreamAppendError, StreamAppendResult, TransferLeaderRequest, TransferLeaderResponse,
};
use openraft::{EntryPayload, RaftNetworkFactory};

use super::followers::{Acknowledged, AllAcknowledged, Sent};
use super::pipeline::Pipeline;
use crate::actors::snapshot::Pace;
use crate::actors::snapshot::send::{self, SendError};
use crate::consensus::{
    RaftEntry, RaftVote, TypeConfig, entry_from_openraft, log_id_from_openraft, log_id_to_openraft,
    vote_from_openraft, vote_to_openraft,
};
use crate::rpc::peer::{
    self, AppendReply, AppendRequest, Lane, PeerCallError, PeerConnection, PeerConnections,
    PeerRefusal,
};
use crate::storage::snapshot::SnapshotFile;
use crate::types::{NodeId, PeerAddress};

type Rpc<T> = Result<T, RPCError<TypeConfig>>;
type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotFile>;

/// The pause after a peer could not be reached: short at first, so that a restarted peer is found
/// at once, and never so long that a follower loses touch.
const BACKOFF_FIRST: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_millis(250);

/// Makes openraft's clients for each peer.
pub(super) struct Network {
    peers: PeerConnections,
    pace: Pace,
    acknowledged: AllAcknowledged,
}

impl Network {
    /// Over these connections; snapshots no faster than `pace`.
    pub(super) fn new(peers: PeerConnections, pace: Pace) -> Self {
        Self { peers, pace, acknowledged: AllAcknowledged::default() }
    }

    fn connection(&self, target: NodeId, node: &PeerAddress, entries: Lane) -> PeerNetwork {
        PeerNetwork {
            target,
            address: node.peer_addr.clone(),
            entries,
            peers: self.peers.clone(),
            pace: self.pace.clone(),
            acknowledged: self.acknowledged.by(target),
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = PeerNetwork;

    async fn new_client(&mut self, target: NodeId, node: &PeerAddress) -> PeerNetwork {
        self.connection(target, node, Lane::Append)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &PeerAddress) -> PeerNetwork {
        self.connection(target, node, Lane::Control)
    }
}

/// The lanes to one peer. Each call finds its connection anew: a peer that moved is followed.
pub(super) struct PeerNetwork {
    target: NodeId,
    /// Where the membership says it is; what the peer has published wins.
    address: String,
    entries: Lane,
    peers: PeerConnections,
    pace: Pace,
    acknowledged: Arc<Acknowledged>,
}

impl PeerNetwork {
    fn lane(&self, lane: Lane) -> PeerConnection {
        self.peers.peer(self.target, &self.address, lane)
    }

    /// Takes in what the peer answered to an append, and tells when it holds less than it had
    /// acknowledged: openraft looks anew for where the logs agree.
    fn note_answer(
        &self,
        sent: &Sent,
        response: &raft::AppendEntriesResponse<TypeConfig>,
        lane: &PeerConnection,
    ) {
        if let Some((acknowledged, lacks)) = self.acknowledged.answered(sent, response) {
            lane.note_lost_entries();
            tracing::warn!(
                peer = self.target, %acknowledged, %lacks,
                "the follower holds less of the log than it acknowledged; it is given it again"
            );
        }
    }
}

impl RaftNetworkV2<TypeConfig> for PeerNetwork {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        rpc: raft::AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<raft::AppendEntriesResponse<TypeConfig>> {
        let lane = self.lane(self.entries);
        // To a heartbeat's answer openraft does not listen for longer.
        let limit = lane.append_limit().min(option.hard_ttl());
        let sent = self.acknowledged.sends(&rpc);
        let reply = lane.append(append_request(&rpc), limit).await.map_err(failed)?;
        let response = append_response(reply);
        self.note_answer(&sent, &response, &lane);
        Ok(response)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Rpc<BoxStream<'s, Rpc<StreamAppendResult<TypeConfig>>>>>
    where
        S: Stream<Item = raft::AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        match self.entries {
            Lane::Append => {
                let appends = self.append_stream(input);
                Box::pin(async move { Ok(Box::pin(appends) as BoxStream<'s, _>) })
            }
            // A single heartbeat.
            Lane::Control | Lane::Snapshot => stream_append_sequential(self, input, option),
        }
    }

    async fn vote(
        &mut self,
        rpc: raft::VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<raft::VoteResponse<TypeConfig>> {
        let reply = self.lane(Lane::Control).vote(vote_request(&rpc), option.hard_ttl()).await;
        reply.map(vote_response).map_err(failed)
    }

    async fn pre_vote(
        &mut self,
        rpc: raft::VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<raft::VoteResponse<TypeConfig>> {
        let reply = self.lane(Lane::Control).pre_vote(vote_request(&rpc), option.hard_ttl()).await;
        reply.map(vote_response).map_err(failed)
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse<TypeConfig>> {
        let request = peer::TransferLeaderRequest {
            from: vote_from_openraft(request.from_leader()),
            to: *request.to_node_id(),
            last_log_id: request.last_log_id().map(log_id_from_openraft),
        };
        let accepted = self
            .lane(Lane::Control)
            .transfer_leader(request, option.hard_ttl())
            .await
            .map_err(failed)?;
        if accepted {
            return Ok(Ok(()));
        }
        let refusal = format!("node {} declined to take over", self.target);
        Err(RPCError::Network(NetworkError::from_string(refusal)))
    }

    async fn full_snapshot(
        &mut self,
        vote: RaftVote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<raft::SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_snapshot(vote, snapshot) => sent.map_err(StreamingError::from),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        let pauses =
            std::iter::successors(Some(BACKOFF_FIRST), |pause| Some((*pause * 2).min(BACKOFF_MAX)));
        Some(Backoff::new(pauses))
    }
}

impl PeerNetwork {
    /// Appends what `input` yields, in its order. Ends with the first that is not done in full.
    fn append_stream<'s, S>(
        &'s self,
        input: S,
    ) -> impl Stream<Item = Rpc<StreamAppendResult<TypeConfig>>> + Send + 's
    where
        S: Stream<Item = raft::AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        // Heartbeats carry nothing and wait for little: they know the distance.
        let control = self.lane(Lane::Control);
        unfold(Some((Pipeline::new(input), control, true)), move |state| async move {
            let (mut pipeline, control, is_first) = state?;
            let send = |rpc: raft::AppendEntriesRequest<TypeConfig>| {
                (request_bytes(&rpc), Box::pin(self.append(rpc)))
            };
            let (done, outcome) = pipeline.next(|| control.distance(), send).await?;
            let outcome = if is_first { outcome } else { behind_another(outcome) };
            Some((outcome, done.then_some((pipeline, control, false))))
        })
    }

    /// Appends once: whether all of it was done, and the outcome.
    async fn append(
        &self,
        rpc: raft::AppendEntriesRequest<TypeConfig>,
    ) -> (bool, Rpc<StreamAppendResult<TypeConfig>>) {
        let before = rpc.prev_log_id;
        let last = rpc.entries.last().map(|entry| entry.log_id).or(before);
        let lane = self.lane(Lane::Append);
        let sent = self.acknowledged.sends(&rpc);
        let reply = lane.append(append_request(&rpc), lane.append_limit()).await;
        match reply.map(append_response) {
            Err(error) => (false, Err(failed(error))),
            Ok(response) => {
                self.note_answer(&sent, &response, &lane);
                let result = response.into_stream_result(before, last);
                (result.as_ref().is_ok_and(|up_to| *up_to == last), Ok(result))
            }
        }
    }

    /// Sends what the receiver lacks of the snapshot, and has it installed.
    async fn send_snapshot(
        &self,
        vote: RaftVote,
        snapshot: Snapshot,
    ) -> Rpc<raft::SnapshotResponse<TypeConfig>> {
        let file = snapshot.snapshot;
        let snapshots = self.lane(Lane::Snapshot);
        snapshots.note_consensus_snapshot();
        let sent = send::send(&snapshots, &file, vote_from_openraft(&vote), &self.pace, |_| {});
        sent.await.map_err(not_sent)?;
        let installed = snapshots.snapshot_install(file.digest(), send::INSTALL_MAX);
        match installed.await {
            Ok(vote) | Err(PeerCallError::Refused(PeerRefusal::StaleVote { known: vote })) => {
                Ok(raft::SnapshotResponse::new(vote_to_openraft(&vote)))
            }
            Err(error) => Err(failed(error)),
        }
    }
}

fn append_request(rpc: &raft::AppendEntriesRequest<TypeConfig>) -> AppendRequest {
    AppendRequest {
        vote: vote_from_openraft(&rpc.vote),
        prev_log_id: rpc.prev_log_id.as_ref().map(log_id_from_openraft),
        entries: rpc.entries.iter().map(entry_from_openraft).collect(),
        leader_commit: rpc.leader_commit.as_ref().map(log_id_from_openraft),
    }
}

fn append_response(reply: AppendReply) -> raft::AppendEntriesResponse<TypeConfig> {
    match reply {
        AppendReply::Success => raft::AppendEntriesResponse::Success,
        AppendReply::PartialSuccess(up_to) => {
            raft::AppendEntriesResponse::PartialSuccess(up_to.as_ref().map(log_id_to_openraft))
        }
        AppendReply::Conflict => raft::AppendEntriesResponse::Conflict,
        AppendReply::HigherVote(vote) => {
            raft::AppendEntriesResponse::HigherVote(vote_to_openraft(&vote))
        }
    }
}

/// The outcome of an append that was sent behind another, which was done. What it builds on is
/// there, so with a conflict it overtook the other: told as what it is, it would say to consensus
/// that the follower lost what it had acknowledged. When the follower did, the next stream begins
/// with what it is known to hold, and finds out.
fn behind_another(
    outcome: Rpc<StreamAppendResult<TypeConfig>>,
) -> Rpc<StreamAppendResult<TypeConfig>> {
    match outcome {
        Ok(Err(StreamAppendError::Conflict(_))) => {
            let reason = "an append overtook the one before; it is sent again".to_owned();
            Err(RPCError::Network(NetworkError::from_string(reason)))
        }
        outcome => outcome,
    }
}

/// About how many bytes it takes in memory and on the wire.
fn request_bytes(rpc: &raft::AppendEntriesRequest<TypeConfig>) -> usize {
    let of_entry = |entry: &RaftEntry| match &entry.payload {
        EntryPayload::Normal(command) => command.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    };
    rpc.entries.iter().map(of_entry).sum()
}

fn not_sent(error: SendError) -> RPCError<TypeConfig> {
    match error {
        SendError::Call(error) => failed(error),
        SendError::Unreadable { .. } => RPCError::Network(NetworkError::new(&error)),
    }
}

fn vote_request(rpc: &raft::VoteRequest<TypeConfig>) -> peer::VoteRequest {
    peer::VoteRequest {
        vote: vote_from_openraft(&rpc.vote),
        last_log_id: rpc.last_log_id.as_ref().map(log_id_from_openraft),
        leadership_transfer: rpc.leadership_transfer,
    }
}

fn vote_response(reply: peer::VoteReply) -> raft::VoteResponse<TypeConfig> {
    raft::VoteResponse::new(
        vote_to_openraft(&reply.vote),
        reply.last_log_id.as_ref().map(log_id_to_openraft),
        reply.vote_granted,
    )
}

/// Tells openraft whether to back off (the peer is not there) or to try again soon.
fn failed(error: PeerCallError) -> RPCError<TypeConfig> {
    match error {
        PeerCallError::Unreachable { .. } => RPCError::Unreachable(Unreachable::new(&error)),
        PeerCallError::Lost { .. } | PeerCallError::Refused(_) | PeerCallError::Request(_) => {
            RPCError::Network(NetworkError::new(&error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LogId;

    #[test]
    fn an_append_that_overtook_another_is_no_conflict() {
        let at = log_id_to_openraft(&LogId { term: 1, index: 9 });
        let conflict = behind_another(Ok(Err(StreamAppendError::Conflict(at))));
        assert!(matches!(conflict, Err(RPCError::Network(_))), "{conflict:?}");
        let done = behind_another(Ok(Ok(Some(at))));
        assert!(matches!(done, Ok(Ok(Some(_)))), "{done:?}");
        let vote = RaftVote::new(2, 3);
        let deposed = behind_another(Ok(Err(StreamAppendError::HigherVote(vote))));
        assert!(matches!(deposed, Ok(Err(StreamAppendError::HigherVote(_)))), "{deposed:?}");
    }
}
