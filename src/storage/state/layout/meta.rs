//! The `meta` table: one record that says how far the state is.
//!
//! ```text
//! key:   "state"
//! value: envelope 1 of `StateMeta`, or envelope 2 of `StateMeta` and `Backlog` while history has a
//!        backlog
//! ```
//!
//! It is written in the transaction that writes what it describes, so the state and the point of
//! the log it stands at cannot differ.

use serde::{Deserialize, Serialize};

use super::LayoutError;
use crate::storage::envelope;
use crate::types::{LogId, MembershipConfig, Revision};

/// The newest version of the tables' layout, and the one written: what a snapshot file has.
pub(crate) const LAYOUT_VERSION: u8 = 1;

/// The version of an environment that lacks the part of its history that is still in a file. A
/// release that does not know of such files must not take it for whole.
const BACKLOG_VERSION: u8 = LAYOUT_VERSION + 1;

/// The record's key.
pub(crate) const META_KEY: &[u8] = b"state";

/// How far the state is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateMeta {
    /// The last entry whose changes are in the tables; none before the first.
    pub(crate) applied: Option<LogId>,
    /// Where the membership was written; none before the first.
    pub(crate) membership_log_id: Option<LogId>,
    /// The last applied membership.
    pub(crate) membership: MembershipConfig,
    /// The current main revision.
    pub(crate) revision: u64,
    /// The oldest readable main revision; 0 = never compacted.
    pub(crate) compact_revision: u64,
    /// The leader's replicated clock at the last command, in milliseconds.
    pub(crate) leader_time_ms: u64,
    /// How far compaction has removed what may be forgotten.
    pub(crate) compaction: CompactionProgress,
    /// What of the history is not in the tables yet; nothing, in every snapshot file.
    #[serde(skip)]
    pub(crate) backlog: Option<BacklogMark>,
}

/// The part of the history that is still in the snapshot file the state was built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BacklogMark {
    /// The file's digest.
    pub(crate) digest: [u8; 32],
    /// The first of its revisions that is not in the tables; the last, when all are.
    pub(crate) next: Revision,
    /// How many of the file's records are not; with none left, some written since may be in `recent`.
    pub(crate) records: u64,
}

/// How far compaction has removed what may be forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CompactionProgress {
    /// The main revision being worked towards; nothing is left to do when `cursor` has reached
    /// it and it is `StateMeta::compact_revision`.
    pub(crate) target: u64,
    /// Versions before this were looked at.
    pub(crate) cursor: Revision,
    /// Whether the work towards `target` is complete.
    pub(crate) complete: bool,
}

impl StateMeta {
    /// An empty store's.
    pub(crate) fn empty() -> Self {
        Self {
            applied: None,
            membership_log_id: None,
            membership: MembershipConfig::default(),
            revision: Revision::EMPTY_STORE,
            compact_revision: 0,
            leader_time_ms: 0,
            compaction: CompactionProgress { complete: true, ..CompactionProgress::default() },
            backlog: None,
        }
    }
}

/// The record's value.
pub(crate) fn encode_meta(meta: &StateMeta) -> Vec<u8> {
    match &meta.backlog {
        None => envelope::seal(LAYOUT_VERSION, meta),
        Some(backlog) => envelope::seal(BACKLOG_VERSION, &(meta, backlog)),
    }
}

/// [`encode_meta`] back.
pub(crate) fn decode_meta(bytes: &[u8]) -> Result<StateMeta, LayoutError> {
    let (version, _) = envelope::unwrap_body(BACKLOG_VERSION, bytes)?;
    if version == LAYOUT_VERSION {
        return Ok(envelope::unseal(BACKLOG_VERSION, bytes)?);
    }
    let (meta, backlog) = envelope::unseal(BACKLOG_VERSION, bytes)?;
    Ok(StateMeta { backlog: Some(backlog), ..meta })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::storage::envelope::EnvelopeError;
    use crate::types::PeerAddress;

    fn membership() -> MembershipConfig {
        let address = PeerAddress { name: "n".into(), peer_addr: "p".into() };
        MembershipConfig {
            voter_sets: vec![BTreeSet::from([1])],
            nodes: BTreeMap::from([(1, address)]),
        }
    }

    #[test]
    fn the_bytes_are_pinned() {
        let meta = StateMeta {
            applied: Some(LogId { term: 2, index: 9 }),
            membership_log_id: Some(LogId { term: 1, index: 0 }),
            membership: membership(),
            revision: 7,
            compact_revision: 4,
            leader_time_ms: 300,
            compaction: CompactionProgress {
                target: 4,
                cursor: Revision::new(3, 1),
                complete: false,
            },
            backlog: None,
        };
        let expected = [
            &[1, 2, 9][..],
            &[1, 1, 0],
            &[1, 1, 1, 1, 1, 1, b'n', 1, b'p'],
            &[7, 4, 0xac, 2],
            &[4, 3, 1, 0],
        ];
        let bytes = encode_meta(&meta);
        assert_eq!(bytes[0], 1);
        assert_eq!(bytes[envelope::ENVELOPE_BYTES..], expected.concat());

        let mark = BacklogMark { digest: [7; 32], next: Revision::new(300, 2), records: 5 };
        let bytes = encode_meta(&StateMeta { backlog: Some(mark), ..meta });
        assert_eq!(bytes[0], 2, "older releases refuse it");
        let expected = [&expected.concat()[..], &[7; 32], &[0xac, 2, 2, 5]].concat();
        assert_eq!(bytes[envelope::ENVELOPE_BYTES..], expected);
    }

    #[test]
    fn a_newer_layout_is_told_apart() {
        let bytes = envelope::seal(BACKLOG_VERSION + 1, &StateMeta::empty());
        let newer = EnvelopeError::NewerVersion { found: 3, newest: 2 };
        assert_eq!(decode_meta(&bytes), Err(LayoutError::Envelope(newer)));
    }

    proptest! {
        #[test]
        fn a_meta_record_survives_the_way_there_and_back(
            numbers in any::<[u64; 6]>(), sub in any::<u32>(), complete in any::<bool>(),
            backlog in prop::option::of(any::<([u8; 32], u64, u32, u64)>()),
        ) {
            let [index, revision, compact_revision, leader_time_ms, target, main] = numbers;
            let meta = StateMeta {
                applied: Some(LogId { term: 1, index }),
                membership_log_id: None,
                membership: membership(),
                revision,
                compact_revision,
                leader_time_ms,
                compaction: CompactionProgress {
                    target,
                    cursor: Revision::new(main, sub),
                    complete,
                },
                backlog: backlog.map(|(digest, main, sub, records)| {
                    BacklogMark { digest, next: Revision::new(main, sub), records }
                }),
            };
            prop_assert_eq!(decode_meta(&encode_meta(&meta)), Ok(meta));
        }
    }
}
