//! The `meta` table: one record that says how far the state is.
//!
//! ```text
//! key:   "state"
//! value: envelope of `StateMeta`
//! ```
//!
//! It is written in the transaction that writes what it describes, so the state and the point of
//! the log it stands at cannot differ.

use serde::{Deserialize, Serialize};

use super::LayoutError;
use crate::storage::envelope;
use crate::types::{LogId, MembershipConfig, Revision};

/// The newest version of the whole environment's layout, and the one written.
pub(crate) const LAYOUT_VERSION: u8 = 1;

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
        }
    }
}

/// The record's value.
pub(crate) fn encode_meta(meta: &StateMeta) -> Vec<u8> {
    envelope::seal(LAYOUT_VERSION, meta)
}

/// [`encode_meta`] back.
pub(crate) fn decode_meta(bytes: &[u8]) -> Result<StateMeta, LayoutError> {
    Ok(envelope::unseal(LAYOUT_VERSION, bytes)?)
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
        };
        let expected = [
            &[1, 2, 9][..],
            &[1, 1, 0],
            &[1, 1, 1, 1, 1, 1, b'n', 1, b'p'],
            &[7, 4, 0xac, 2],
            &[4, 3, 1, 0],
        ];
        assert_eq!(encode_meta(&meta)[envelope::ENVELOPE_BYTES..], expected.concat());
    }

    #[test]
    fn a_newer_layout_is_told_apart() {
        let bytes = envelope::seal(LAYOUT_VERSION + 1, &StateMeta::empty());
        let newer = EnvelopeError::NewerVersion { found: 2, newest: 1 };
        assert_eq!(decode_meta(&bytes), Err(LayoutError::Envelope(newer)));
    }

    proptest! {
        #[test]
        fn a_meta_record_survives_the_way_there_and_back(
            numbers in any::<[u64; 6]>(), sub in any::<u32>(), complete in any::<bool>(),
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
            };
            prop_assert_eq!(decode_meta(&encode_meta(&meta)), Ok(meta));
        }
    }
}
