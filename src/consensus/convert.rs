//! Translation between our consensus vocabulary and openraft's, both ways.

use openraft::EntryPayload;

use super::{EncodedCommand, RaftEntry, RaftLogId, RaftMembership, RaftVote};
use crate::types::{LogEntry, LogEntryPayload, LogId, MembershipConfig, Vote};

/// Ours from openraft's.
pub fn log_id_from_openraft(log_id: &RaftLogId) -> LogId {
    LogId { term: log_id.committed_leader_id().term, index: log_id.index }
}

/// openraft's from ours.
pub fn log_id_to_openraft(log_id: &LogId) -> RaftLogId {
    RaftLogId::new_term_index(log_id.term, log_id.index)
}

/// Ours from openraft's.
pub fn vote_from_openraft(vote: &RaftVote) -> Vote {
    Vote {
        term: vote.leader_id().term,
        node_id: vote.leader_id().voted_for,
        committed: vote.is_committed(),
    }
}

/// openraft's from ours.
pub fn vote_to_openraft(vote: &Vote) -> RaftVote {
    if vote.committed {
        RaftVote::new_committed(vote.term, vote.node_id)
    } else {
        RaftVote::new(vote.term, vote.node_id)
    }
}

/// Ours from openraft's.
pub fn membership_from_openraft(membership: &RaftMembership) -> MembershipConfig {
    MembershipConfig {
        voter_sets: membership.get_joint_config().clone(),
        nodes: membership.nodes().map(|(id, node)| (*id, node.clone())).collect(),
    }
}

/// openraft's from ours. `None` when a voter has no address or no voter set is given: such bytes
/// were not written by us.
pub fn membership_to_openraft(membership: &MembershipConfig) -> Option<RaftMembership> {
    if membership.voter_sets.is_empty() && membership.nodes.is_empty() {
        return Some(RaftMembership::default());
    }
    RaftMembership::new(membership.voter_sets.clone(), membership.nodes.clone()).ok()
}

/// Ours from openraft's.
pub fn entry_from_openraft(entry: &RaftEntry) -> LogEntry {
    LogEntry {
        log_id: log_id_from_openraft(&entry.log_id),
        payload: match &entry.payload {
            EntryPayload::Blank => LogEntryPayload::Blank,
            EntryPayload::Normal(command) => LogEntryPayload::Command(command.0.clone()),
            EntryPayload::Membership(membership) => {
                LogEntryPayload::Membership(membership_from_openraft(membership))
            }
        },
    }
}

/// openraft's from ours; `None` as for [`membership_to_openraft`].
pub fn entry_to_openraft(entry: LogEntry) -> Option<RaftEntry> {
    Some(RaftEntry {
        log_id: log_id_to_openraft(&entry.log_id),
        payload: match entry.payload {
            LogEntryPayload::Blank => EntryPayload::Blank,
            LogEntryPayload::Command(bytes) => EntryPayload::Normal(EncodedCommand(bytes)),
            LogEntryPayload::Membership(membership) => {
                EntryPayload::Membership(membership_to_openraft(&membership)?)
            }
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::types::PeerAddress;

    #[test]
    fn every_kind_of_entry_survives_the_way_there_and_back() {
        let address = PeerAddress { name: "a".into(), peer_addr: "127.0.0.1:1".into() };
        let membership = MembershipConfig {
            voter_sets: vec![BTreeSet::from([1]), BTreeSet::from([1, 2])],
            nodes: BTreeMap::from([(1, address.clone()), (2, address.clone()), (3, address)]),
        };
        let payloads = [
            LogEntryPayload::Blank,
            LogEntryPayload::Command("x".into()),
            LogEntryPayload::Membership(membership),
            LogEntryPayload::Membership(MembershipConfig::default()),
        ];
        for payload in payloads {
            let entry = LogEntry { log_id: LogId { term: 7, index: 256 }, payload };
            let back = entry_to_openraft(entry.clone()).expect("a valid entry");
            assert_eq!(entry_from_openraft(&back), entry);
        }
    }

    #[test]
    fn a_vote_survives_the_way_there_and_back() {
        for committed in [false, true] {
            let vote = Vote { term: 3, node_id: 9, committed };
            assert_eq!(vote_from_openraft(&vote_to_openraft(&vote)), vote);
        }
    }

    #[test]
    fn a_membership_with_a_voter_without_an_address_is_refused() {
        let membership =
            MembershipConfig { voter_sets: vec![BTreeSet::from([1])], nodes: BTreeMap::new() };
        assert!(membership_to_openraft(&membership).is_none());
    }
}
