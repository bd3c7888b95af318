//! What a leader knows of its followers: how far each is, when it was heard, and whether it lost
//! what it had acknowledged.
//!
//! openraft counts a follower for the quorum up to what it acknowledged, and a follower whose log is
//! shorter answers the next append with a conflict. openraft then looks anew for where the logs
//! agree (`allow_log_reversion`); it says nothing of it. Here it is told from what goes over the
//! network: an append that begins at or below what the follower acknowledged in this leadership, and
//! is a conflict.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver as _;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};

use super::handle::RaftHandle;
use crate::consensus::{RaftLogId, RaftVote, TypeConfig};
use crate::types::NodeId;

/// A follower as its leader knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerFigures {
    /// The follower.
    pub node_id: NodeId,
    /// The last entry that it is known to hold; 0 when none is.
    pub match_index: u64,
    /// Entries of the leader's log after that one.
    pub lag_entries: u64,
    /// How long ago it answered last, or since when this node leads.
    pub unheard: Duration,
}

impl RaftHandle {
    /// The followers; empty on a node that does not lead.
    pub fn followers(&self) -> Vec<FollowerFigures> {
        let metrics = self.shared.raft.metrics().borrow_watched().clone();
        let (Some(replication), Some(heartbeat)) = (&metrics.replication, &metrics.heartbeat)
        else {
            return Vec::new();
        };
        let last = metrics.last_log_index.unwrap_or(0);
        let me = self.shared.node.node_id;
        let followers = replication.iter().filter(|(id, _)| **id != me);
        let figures = followers.map(|(id, matched)| {
            let match_index = matched.map_or(0, |log_id| log_id.index);
            let heard = heartbeat.get(id).and_then(|at| at.as_ref()).map(|at| at.elapsed());
            let unheard = heard.unwrap_or_else(|| self.leads_for());
            let lag_entries = last.saturating_sub(match_index);
            FollowerFigures { node_id: *id, match_index, lag_entries, unheard }
        });
        figures.collect()
    }
}

impl RaftHandle {
    /// How long this node has led.
    fn leads_for(&self) -> Duration {
        let me = self.shared.node.node_id;
        let now = crate::clock::monotonic();
        let mut since = self.shared.leads_since.lock().unwrap_or_else(PoisonError::into_inner);
        if self.leader_id() != Some(me) {
            *since = None;
            return Duration::ZERO;
        }
        now.saturating_duration_since(*since.get_or_insert(now))
    }
}

/// What each follower acknowledged in this leadership.
#[derive(Clone, Debug, Default)]
pub(super) struct AllAcknowledged {
    followers: Arc<Mutex<BTreeMap<NodeId, Arc<Acknowledged>>>>,
}

impl AllAcknowledged {
    /// What `node_id` acknowledged, whether to heartbeats or to entries.
    pub(super) fn by(&self, node_id: NodeId) -> Arc<Acknowledged> {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(followers.entry(node_id).or_default())
    }
}

/// What one follower acknowledged to one leader, whose vote says which.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    last: Mutex<Option<(RaftVote, RaftLogId)>>,
}

/// An append on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    vote: RaftVote,
    /// The entry that it follows.
    before: Option<RaftLogId>,
    /// Its last entry.
    last: Option<RaftLogId>,
    /// What was acknowledged when it was sent.
    acknowledged: Option<RaftLogId>,
}

impl Acknowledged {
    /// Notes what is sent.
    pub(super) fn sends(&self, request: &AppendEntriesRequest<TypeConfig>) -> Sent {
        let (vote, before) = (request.vote, request.prev_log_id);
        let last = request.entries.last().map(|entry| entry.log_id).or(before);
        Sent { vote, before, last, acknowledged: self.to(vote) }
    }

    fn to(&self, vote: RaftVote) -> Option<RaftLogId> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.filter(|(to, _)| *to == vote).map(|(_, last)| last)
    }

    /// Takes in the answer. When the follower turns out to hold less than it had acknowledged before
    /// the append was sent: the last entry that it had, and the one that it does not have.
    pub(super) fn answered(
        &self,
        sent: &Sent,
        response: &AppendEntriesResponse<TypeConfig>,
    ) -> Option<(RaftLogId, RaftLogId)> {
        let known = self.to(sent.vote);
        let (holds, lost) = match response {
            AppendEntriesResponse::Success => (sent.last.max(known), None),
            AppendEntriesResponse::PartialSuccess(up_to) => ((*up_to).max(known), None),
            AppendEntriesResponse::Conflict => {
                // What was found lost already is not told again.
                let acknowledged = sent.acknowledged.min(known)?;
                let lacks = sent.before.filter(|before| *before <= acknowledged)?;
                (None, Some((acknowledged, lacks)))
            }
            AppendEntriesResponse::HigherVote(_) => return None,
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = holds.map(|holds| (sent.vote, holds));
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::{EncodedCommand, RaftEntry};

    const CONFLICT: AppendEntriesResponse<TypeConfig> = AppendEntriesResponse::Conflict;
    const SUCCESS: AppendEntriesResponse<TypeConfig> = AppendEntriesResponse::Success;

    fn log_id(index: u64) -> RaftLogId {
        RaftLogId::new_term_index(2, index)
    }

    /// The entries after `prev` up to `last`, of the leader of this term.
    fn append_of(term: u64, prev: u64, last: u64) -> AppendEntriesRequest<TypeConfig> {
        let entry = |index| RaftEntry {
            log_id: log_id(index),
            payload: openraft::EntryPayload::Normal(EncodedCommand(bytes::Bytes::new())),
        };
        AppendEntriesRequest {
            vote: RaftVote::new_committed(term, 1),
            prev_log_id: Some(log_id(prev)),
            entries: (prev + 1..=last).map(entry).collect(),
            leader_commit: None,
        }
    }

    fn append(prev: u64, last: u64) -> AppendEntriesRequest<TypeConfig> {
        append_of(2, prev, last)
    }

    #[test]
    fn a_conflict_below_what_was_acknowledged_is_told_once() {
        let acknowledged = Acknowledged::default();
        let answered = |prev, last, response: &_| {
            acknowledged.answered(&acknowledged.sends(&append(prev, last)), response)
        };
        // Where a leader looks for its follower's end, conflicts are nothing.
        assert_eq!(answered(9, 9, &CONFLICT), None);
        assert_eq!(answered(4, 6, &SUCCESS), None);
        assert_eq!(answered(9, 9, &CONFLICT), None);
        let partly = AppendEntriesResponse::PartialSuccess(Some(log_id(7)));
        assert_eq!(answered(6, 9, &partly), None);
        assert_eq!(answered(7, 9, &CONFLICT), Some((log_id(7), log_id(7))));
        assert_eq!(answered(5, 5, &CONFLICT), None, "it is searched now");
    }

    /// Appends that are under way together may arrive in another order.
    #[test]
    fn a_conflict_of_an_append_sent_before_the_acknowledgement_is_none() {
        let acknowledged = Acknowledged::default();
        let (first, second) =
            (acknowledged.sends(&append(4, 6)), acknowledged.sends(&append(6, 8)));
        assert_eq!(acknowledged.answered(&first, &SUCCESS), None);
        assert_eq!(acknowledged.answered(&second, &CONFLICT), None);
    }

    #[test]
    fn another_leadership_expects_nothing() {
        let all = AllAcknowledged::default();
        let (entries, heartbeats) = (all.by(2), all.by(2));
        entries.answered(&entries.sends(&append(4, 6)), &SUCCESS);
        let next = heartbeats.sends(&append_of(3, 5, 5));
        assert_eq!(heartbeats.answered(&next, &CONFLICT), None);
        let same = heartbeats.sends(&append(5, 5));
        assert!(heartbeats.answered(&same, &CONFLICT).is_some(), "whoever finds it");
    }
}
