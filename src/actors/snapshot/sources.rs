//! Who gives a snapshot, and which: pure decisions.

use crate::rpc::peer::{SnapshotName, SnapshotPart};
use crate::types::NodeId;

/// Entries behind the state up to which a snapshot that is there is given, rather than a new one
/// written: replaying so many costs less than building a new one upon it.
const REUSED_TAIL_ENTRIES_MAX: u64 = 20_000;

/// A node that could give a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The node.
    pub(super) node_id: NodeId,
    /// Where it listens for peers; none = this node, which leads.
    pub(super) peer_addr: Option<String>,
    /// Its finished snapshots.
    pub(super) files: Vec<SnapshotName>,
}

/// The order in which to ask candidates, of which `others` are live followers, the best first: one
/// that has a file of which the target has received a part already, then followers, to spare the
/// leader, then the leader itself.
pub(super) fn order(
    others: Vec<Candidate>,
    leader: Candidate,
    parts: &[SnapshotPart],
    purged: Option<u64>,
) -> Vec<Candidate> {
    let mut ordered = others;
    ordered.push(leader);
    // Stable: what is equal stays in order.
    ordered.sort_by_key(|candidate| {
        let received = candidate.files.iter().filter(|file| reaches(file, purged));
        let received = received.filter_map(|file| received_of(file, parts)).max();
        std::cmp::Reverse(received.unwrap_or(0))
    });
    ordered
}

/// The file of which the target has received the most, if it has received any of one that reaches
/// what the leader's log has lost.
pub(super) fn begun(
    files: &[SnapshotName],
    parts: &[SnapshotPart],
    purged: Option<u64>,
) -> Option<SnapshotName> {
    let usable = files.iter().filter(|file| reaches(file, purged));
    let begun = usable.filter(|file| received_of(file, parts).is_some_and(|bytes| bytes > 0));
    begun.max_by_key(|file| received_of(file, parts)).copied()
}

/// Whether a snapshot that is there is good enough for a node whose state is at `applied`.
pub(super) fn is_good_enough(file: &SnapshotName, applied: u64, purged: Option<u64>) -> bool {
    let Some(last) = file.last_log_id else { return false };
    reaches(file, purged) && applied.saturating_sub(last.index) <= REUSED_TAIL_ENTRIES_MAX
}

/// Whether the log goes on where the snapshot ends.
fn reaches(file: &SnapshotName, purged: Option<u64>) -> bool {
    file.last_log_id.is_some_and(|last| purged.is_none_or(|purged| last.index >= purged))
}

fn received_of(file: &SnapshotName, parts: &[SnapshotPart]) -> Option<u64> {
    let part = parts.iter().find(|part| part.digest == file.digest);
    part.map(|part| part.received_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LogId;

    fn file(digest: u8, index: u64) -> SnapshotName {
        let last_log_id = Some(LogId { term: 1, index });
        SnapshotName { digest: [digest; 32], last_log_id, size_bytes: 100 }
    }

    fn node(node_id: NodeId, files: &[SnapshotName]) -> Candidate {
        let peer_addr = (node_id != 1).then(|| format!("h:{node_id}"));
        Candidate { node_id, peer_addr, files: files.to_vec() }
    }

    fn part(digest: u8, received_bytes: u64) -> SnapshotPart {
        SnapshotPart { digest: [digest; 32], received_bytes }
    }

    fn ids(candidates: &[Candidate]) -> Vec<NodeId> {
        candidates.iter().map(|candidate| candidate.node_id).collect()
    }

    #[test]
    fn followers_come_before_the_leader_unless_it_alone_can_go_on_with_what_was_begun() {
        let others = vec![node(2, &[]), node(3, &[file(7, 50)])];
        let leader = node(1, &[file(8, 60)]);
        let order = |parts: &[SnapshotPart], purged| {
            ids(&super::order(others.clone(), leader.clone(), parts, purged))
        };
        assert_eq!(order(&[], None), [2, 3, 1]);
        assert_eq!(order(&[part(7, 10)], Some(50)), [3, 2, 1]);
        assert_eq!(order(&[part(8, 10)], None), [1, 2, 3]);
        assert_eq!(order(&[part(7, 10), part(8, 9)], None), [3, 1, 2]);
        assert_eq!(order(&[part(7, 10)], Some(51)), [2, 3, 1], "its file is of no use any more");
    }

    #[test]
    fn what_was_begun_goes_on_only_when_the_log_goes_on_behind_it() {
        let files = [file(7, 50), file(8, 40)];
        assert_eq!(begun(&files, &[part(8, 1), part(7, 2)], None), Some(files[0]));
        assert_eq!(begun(&files, &[part(8, 3), part(7, 2)], Some(40)), Some(files[1]));
        assert_eq!(begun(&files, &[part(8, 3), part(7, 2)], Some(41)), Some(files[0]));
        assert_eq!(begun(&files, &[part(8, 3)], Some(41)), None);
        assert_eq!(begun(&files, &[part(9, 3), part(8, 0)], None), None);
    }

    #[test]
    fn an_old_snapshot_is_not_good_enough() {
        assert!(is_good_enough(&file(1, 50), 50, None));
        assert!(is_good_enough(&file(1, 50), 50 + REUSED_TAIL_ENTRIES_MAX, Some(50)));
        assert!(!is_good_enough(&file(1, 50), 51 + REUSED_TAIL_ENTRIES_MAX, Some(50)));
        assert!(!is_good_enough(&file(1, 50), 50, Some(51)));
        let empty = SnapshotName { last_log_id: None, ..file(1, 0) };
        assert!(!is_good_enough(&empty, 0, None));
    }
}
