//! What peers call: translated, handed to openraft, translated back.

use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{Fatal, RaftError};
use openraft::raft;
use openraft::raft::TransferLeaderRequest as RaftTransferLeaderRequest;

use super::handle::RaftHandle;
use crate::actors::trust::Duty;
use crate::consensus::{
    TypeConfig, entry_to_openraft, log_id_from_openraft, log_id_to_openraft, vote_from_openraft,
    vote_to_openraft,
};
use crate::rpc::peer::{
    AppendReply, AppendRequest, PeerRefusal, TransferLeaderRequest, VoteReply, VoteRequest,
};
use crate::types::{Distrust, LogId};

impl RaftHandle {
    /// A leader's entries, or its heartbeat.
    pub async fn append(&self, request: AppendRequest) -> Result<AppendReply, PeerRefusal> {
        // Of a leader that was deposed nothing is heard, however loud it is.
        let term = self.shared.server.borrow_watched().vote.leader_id().term;
        if request.vote.term >= term {
            self.shared.leader.heard();
        }
        let entries: Option<Vec<_>> = request.entries.into_iter().map(entry_to_openraft).collect();
        let entries = entries.ok_or_else(|| PeerRefusal::Invalid {
            reason: "a membership entry names a voter without an address".to_owned(),
        })?;
        let request = raft::AppendEntriesRequest::<TypeConfig> {
            vote: vote_to_openraft(&request.vote),
            prev_log_id: request.prev_log_id.as_ref().map(log_id_to_openraft),
            entries,
            leader_commit: request.leader_commit.as_ref().map(log_id_to_openraft),
        };
        // While a snapshot is installed nothing may be appended; the leader tries again.
        let Ok(_open) = self.shared.install_gate.try_read() else { return Err(PeerRefusal::Busy) };
        let reply = self.shared.raft.append_entries(request).await.map_err(stopped)?;
        Ok(match reply {
            raft::AppendEntriesResponse::Success => AppendReply::Success,
            raft::AppendEntriesResponse::PartialSuccess(up_to) => {
                AppendReply::PartialSuccess(up_to.as_ref().map(log_id_from_openraft))
            }
            raft::AppendEntriesResponse::Conflict => AppendReply::Conflict,
            raft::AppendEntriesResponse::HigherVote(vote) => {
                AppendReply::HigherVote(vote_from_openraft(&vote))
            }
        })
    }

    /// A candidate asks for this node's vote.
    pub async fn vote(&self, request: VoteRequest) -> Result<VoteReply, PeerRefusal> {
        self.check_votes_for(request.last_log_id)?;
        // A leader that hands over has said itself that it need not be honoured.
        if !request.leadership_transfer && self.honours_leader().await {
            return Ok(self.vote_refused());
        }
        self.shared.raft.vote(vote_request(request)).await.map_err(stopped).map(vote_reply)
    }

    /// A would-be candidate asks whether it would get this node's vote.
    pub async fn pre_vote(&self, request: VoteRequest) -> Result<VoteReply, PeerRefusal> {
        self.check_votes_for(request.last_log_id)?;
        if self.honours_leader().await {
            return Ok(self.vote_refused());
        }
        self.shared.raft.pre_vote(vote_request(request)).await.map_err(stopped).map(vote_reply)
    }

    /// The leader asks this node to take over. Answers whether it will try.
    pub async fn transfer_leader(
        &self,
        request: TransferLeaderRequest,
    ) -> Result<bool, PeerRefusal> {
        self.check_votes()?;
        let request = RaftTransferLeaderRequest::new(
            vote_to_openraft(&request.from),
            request.to,
            request.last_log_id.as_ref().map(log_id_to_openraft),
        );
        let outcome =
            self.shared.raft.handle_transfer_leader(request).await.map_err(stopped_for_good)?;
        Ok(outcome.is_ok())
    }

    fn vote_refused(&self) -> VoteReply {
        let vote = vote_from_openraft(&self.shared.server.borrow_watched().vote);
        VoteReply { vote, vote_granted: false, last_log_id: None }
    }

    /// A node whose log lost entries may vote for a candidate whose log ends where its own did, or
    /// later: that is the vote it would have given.
    fn check_votes_for(&self, candidate: Option<LogId>) -> Result<(), PeerRefusal> {
        let Err(refusal) = self.check_votes() else { return Ok(()) };
        let reasons = self.shared.trust.reasons();
        let lost = self.shared.log.lost().and_then(|lost| lost.last);
        let lost_alone =
            reasons.iter().all(|reason| matches!(reason, Distrust::LogLostEntries { .. }));
        match lost {
            Some(_) if lost_alone && candidate >= lost => Ok(()),
            _ => Err(refusal),
        }
    }

    /// A node that does not trust what it holds has no say in who leads.
    fn check_votes(&self) -> Result<(), PeerRefusal> {
        let trust = &self.shared.trust;
        match trust.may(Duty::Votes) {
            true => Ok(()),
            false => Err(PeerRefusal::Untrusted { reason: trust.describe() }),
        }
    }
}

fn vote_request(request: VoteRequest) -> raft::VoteRequest<TypeConfig> {
    let mut vote = raft::VoteRequest::new(
        vote_to_openraft(&request.vote),
        request.last_log_id.as_ref().map(log_id_to_openraft),
    );
    vote.leadership_transfer = request.leadership_transfer;
    vote
}

fn vote_reply(reply: raft::VoteResponse<TypeConfig>) -> VoteReply {
    VoteReply {
        vote: vote_from_openraft(&reply.vote),
        vote_granted: reply.vote_granted,
        last_log_id: reply.last_log_id.as_ref().map(log_id_from_openraft),
    }
}

fn stopped(error: RaftError<TypeConfig>) -> PeerRefusal {
    PeerRefusal::Stopped { reason: error.to_string() }
}

pub(super) fn stopped_for_good(error: Fatal<TypeConfig>) -> PeerRefusal {
    PeerRefusal::Stopped { reason: error.to_string() }
}
