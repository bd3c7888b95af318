//! What travels when a node that is not a member is given a snapshot, beside the transfer itself.

use serde::{Deserialize, Serialize};

use crate::types::{LogId, NodeId, Vote};

/// What a node holds. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotStatus {
    /// Its vote: a snapshot that comes with an older one is refused.
    pub vote: Vote,
    /// The last entry its state holds; none = an empty state.
    pub held: Option<LogId>,
    /// What it has received of snapshots that are not complete.
    pub parts: Vec<SnapshotPart>,
    /// Its finished snapshots, the newest first.
    pub files: Vec<SnapshotName>,
}

/// What is there of a snapshot that is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPart {
    /// The digest of the whole file.
    pub digest: [u8; 32],
    /// Bytes received.
    pub received_bytes: u64,
}

/// A finished snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotName {
    /// The digest of the file.
    pub digest: [u8; 32],
    /// The last entry it holds.
    pub last_log_id: Option<LogId>,
    /// Its size.
    pub size_bytes: u64,
}

/// Asks a node to give a snapshot to a node that is not a member. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedRequest {
    /// Names the work: a second request with the same id and target is about the same transfer.
    pub join_id: u64,
    /// The node that gets the snapshot.
    pub node_id: NodeId,
    /// Where it listens for peers.
    pub peer_addr: String,
    /// The leader's committed vote.
    pub vote: Vote,
    /// The last entry the leader's log no longer has: the snapshot must reach it.
    pub purged_index: Option<u64>,
}

/// How far a seeding is. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedReport {
    /// Where it is.
    pub phase: SeedPhase,
    /// The snapshot; none until it is exported.
    pub snapshot: Option<SnapshotName>,
    /// Bytes the target has.
    pub sent_bytes: u64,
}

/// Where a seeding is. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeedPhase {
    /// The snapshot is being written.
    Exporting,
    /// It is being sent.
    Transferring,
    /// The target verifies and installs it.
    Installing,
    /// The target's state holds this entry and all before it.
    Done(LogId),
    /// It came to nothing.
    Failed(SeedFailure),
}

/// Why a seeding came to nothing. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum SeedFailure {
    /// The source could not write a snapshot: its disk is full, or broken.
    #[error("the source cannot write a snapshot: {reason}")]
    Export {
        /// The system's words.
        reason: String,
    },
    /// The source's state does not reach what the leader's log has lost.
    #[error("the source has applied entry {applied}, the leader's log begins after {purged}")]
    SourceBehind {
        /// Where the source is.
        applied: u64,
        /// What the leader's log has lost.
        purged: u64,
    },
    /// Nothing moved for too long.
    #[error("the target made no progress for {seconds} seconds: {reason}")]
    Stalled {
        /// How long.
        seconds: u64,
        /// What its last try ended with.
        reason: String,
    },
    /// The target has seen a newer leader.
    #[error("the target has seen a newer leader (term {term})")]
    StaleVote {
        /// That leader's term.
        term: u64,
    },
    /// The target could not store it: its disk is full, or broken.
    #[error("the target cannot store the snapshot: {reason}")]
    TargetStorage {
        /// The system's words.
        reason: String,
    },
    /// The target refused it.
    #[error("the target refused the snapshot: {reason}")]
    TargetRefused {
        /// Why.
        reason: String,
    },
    /// The source stops, or could not be asked.
    #[error("the source cannot go on: {reason}")]
    Source {
        /// Why.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
        postcard::to_stdvec(value).expect("encodable")
    }

    #[test]
    fn the_bytes_of_a_status_are_pinned() {
        let status = SnapshotStatus {
            vote: Vote { term: 3, node_id: 2, committed: true },
            held: Some(LogId { term: 2, index: 9 }),
            parts: vec![SnapshotPart { digest: [7; 32], received_bytes: 300 }],
            files: vec![SnapshotName { digest: [8; 32], last_log_id: None, size_bytes: 5 }],
        };
        let expected =
            [&[3, 2, 1, 1, 2, 9, 1][..], &[7; 32], &[0xac, 2, 1], &[8; 32], &[0, 5]].concat();
        assert_eq!(bytes(&status), expected);
    }

    #[test]
    fn the_bytes_of_a_request_and_its_reports_are_pinned() {
        let request = SeedRequest {
            join_id: 300,
            node_id: 4,
            peer_addr: "h:1".into(),
            vote: Vote { term: 3, node_id: 2, committed: true },
            purged_index: Some(6),
        };
        assert_eq!(bytes(&request), [&[0xac, 2, 4, 3][..], b"h:1", &[3, 2, 1, 1, 6]].concat());
        let text = || "x".to_owned();
        let failures = [
            (SeedFailure::Export { reason: text() }, &[0, 1, b'x'][..]),
            (SeedFailure::SourceBehind { applied: 1, purged: 2 }, &[1, 1, 2]),
            (SeedFailure::Stalled { seconds: 9, reason: text() }, &[2, 9, 1, b'x']),
            (SeedFailure::StaleVote { term: 5 }, &[3, 5]),
            (SeedFailure::TargetStorage { reason: text() }, &[4, 1, b'x']),
            (SeedFailure::TargetRefused { reason: text() }, &[5, 1, b'x']),
            (SeedFailure::Source { reason: text() }, &[6, 1, b'x']),
        ];
        for (failure, expected) in failures {
            assert_eq!(bytes(&failure), expected, "{failure}");
        }
        let phases = [
            (SeedPhase::Exporting, &[0][..]),
            (SeedPhase::Transferring, &[1]),
            (SeedPhase::Installing, &[2]),
            (SeedPhase::Done(LogId { term: 1, index: 2 }), &[3, 1, 2]),
            (SeedPhase::Failed(SeedFailure::StaleVote { term: 5 }), &[4, 3, 5]),
        ];
        for (phase, expected) in phases {
            assert_eq!(bytes(&phase), expected, "{phase:?}");
            let report = SeedReport { phase, snapshot: None, sent_bytes: 1 };
            assert_eq!(bytes(&report), [expected, &[0, 1]].concat());
        }
    }
}
