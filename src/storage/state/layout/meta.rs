//! The `meta` table: how far the state is.
//!
//! ```text
//! key        value
//! "state"    envelope 2 of `StateMeta`
//! "backlog"  envelope 1 of `BacklogMark`, while history has a backlog. In no snapshot file
//! "tables"   envelope 1 of `TablesRecord`, written with every transaction. In no snapshot file
//! "roster"   see `roster`
//! ```
//!
//! No other key is ever there: one that a release does not know was written by a newer one, and
//! may say that the tables are not whole, as a backlog does. So it is refused.
//!
//! What is here is written in the transaction that writes what it describes, so the state and the point of
//! the log it stands at cannot differ.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::checked::Place;
use super::LayoutError;
use crate::machine::Forgotten;
use crate::storage::envelope::{self, EnvelopeError};
use crate::types::{LogId, MembershipConfig, Revision, StagedDelete, StateHash};

/// The newest version of the tables' layout, and the one written: what a snapshot file has.
pub(crate) const LAYOUT_VERSION: u8 = 2;

/// The newest version of the mark of a backlog, and the one written.
const BACKLOG_VERSION: u8 = 1;

/// The record's key.
pub(crate) const META_KEY: &[u8] = b"state";

/// The newest version of the record of the tables, and the one written.
const TABLES_VERSION: u8 = 1;

/// The key of the record of the tables.
pub(crate) const TABLES_KEY: &[u8] = b"tables";

/// The key of the mark of a backlog.
pub(crate) const BACKLOG_KEY: &[u8] = b"backlog";

/// Whether a record of this key belongs to its environment alone, and into no snapshot file.
pub(crate) fn is_local(key: &[u8]) -> bool {
    key == BACKLOG_KEY || key == TABLES_KEY
}

/// Refuses a key that this release does not know.
pub(crate) fn check_key(key: &[u8]) -> Result<(), LayoutError> {
    if [META_KEY, BACKLOG_KEY, TABLES_KEY, super::roster::ROSTER_KEY].contains(&key) {
        return Ok(());
    }
    let newest = LAYOUT_VERSION;
    Err(EnvelopeError::NewerVersion { found: newest.saturating_add(1), newest }.into())
}

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
    /// The rolling hash over the changes that led here (`change_hash`).
    pub(crate) hash: StateHash,
    /// What is remembered of retries that were forgotten.
    pub(crate) forgotten: Forgotten,
    /// How far compaction has removed what may be forgotten.
    pub(crate) compaction: CompactionProgress,
    /// Deletes that are visible and not written out yet, in the order of their revisions.
    pub(crate) deletes: Arc<Vec<StagedDelete>>,
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
            hash: StateHash::EMPTY,
            forgotten: Forgotten::default(),
            compaction: CompactionProgress { complete: true, ..CompactionProgress::default() },
            deletes: Arc::default(),
            backlog: None,
        }
    }
}

impl StateMeta {
    /// Up to where compaction may remove what was compacted: below every delete that is not written
    /// out, for its steps read what was there before.
    pub(crate) fn removable_revision(&self) -> u64 {
        removable_revision(self.compact_revision, &self.deletes)
    }
}

/// See [`StateMeta::removable_revision`].
pub(crate) fn removable_revision(compact_revision: u64, deletes: &[StagedDelete]) -> u64 {
    let first = deletes.first().map_or(u64::MAX, |first| first.revision - 1);
    compact_revision.min(first)
}

/// The record's value, without the backlog.
pub(crate) fn encode_meta(meta: &StateMeta) -> Vec<u8> {
    envelope::seal(LAYOUT_VERSION, meta)
}

/// [`encode_meta`] back.
pub(crate) fn decode_meta(bytes: &[u8]) -> Result<StateMeta, LayoutError> {
    Ok(unseal_exactly(LAYOUT_VERSION, bytes)?)
}

/// The value of the mark of a backlog.
pub(crate) fn encode_backlog(mark: &BacklogMark) -> Vec<u8> {
    envelope::seal(BACKLOG_VERSION, mark)
}

/// [`encode_backlog`] back.
pub(crate) fn decode_backlog(bytes: &[u8]) -> Result<BacklogMark, LayoutError> {
    Ok(unseal_exactly(BACKLOG_VERSION, bytes)?)
}

/// What LMDB's own pages cannot be believed to say of the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TablesRecord {
    /// How many records each table has, by [`Place`](super::super::checked::Place).
    pub(crate) counts: [u64; Place::ALL.len()],
    /// The link to the last record of `keys`.
    pub(crate) keys_end: u32,
}

/// The value of the record of the tables.
pub(crate) fn encode_tables(tables: &TablesRecord) -> Vec<u8> {
    envelope::seal(TABLES_VERSION, tables)
}

/// [`encode_tables`] back.
pub(crate) fn decode_tables(bytes: &[u8]) -> Result<TablesRecord, LayoutError> {
    Ok(unseal_exactly(TABLES_VERSION, bytes)?)
}

/// Reads a record of this version. No release wrote an older one.
fn unseal_exactly<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, EnvelopeError> {
    match envelope::unwrap_body(version, bytes)? {
        (found, _) if found == version => envelope::unseal(version, bytes),
        _ => Err(EnvelopeError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::types::PeerAddress;

    fn staged() -> StagedDelete {
        StagedDelete {
            revision: 7,
            range: crate::types::KeyRange::prefix("a"),
            cursor: "ax".into(),
            deleted: 300,
            next_sub: 5,
            request_id: None,
        }
    }

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
            hash: StateHash([8; 16]),
            forgotten: Forgotten { sessions_before_ms: 5, signatures_through_seconds: 6 },
            compaction: CompactionProgress {
                target: 4,
                cursor: Revision::new(3, 1),
                complete: false,
            },
            deletes: Arc::new(vec![staged()]),
            backlog: None,
        };
        let expected = [
            &[1, 2, 9][..],
            &[1, 1, 0],
            &[1, 1, 1, 1, 1, 1, b'n', 1, b'p'],
            &[7, 4, 0xac, 2],
            &[8; 16],
            &[5, 6],
            &[4, 3, 1, 0],
            &[1, 7, 1, b'a', 1, b'b', 2, b'a', b'x', 0xac, 2, 5, 0],
        ];
        let bytes = encode_meta(&meta);
        assert_eq!(bytes[0], 2);
        assert_eq!(bytes[envelope::ENVELOPE_BYTES..], expected.concat());

        let mark = BacklogMark { digest: [7; 32], next: Revision::new(300, 2), records: 5 };
        let bytes = encode_backlog(&mark);
        assert_eq!(bytes[0], 1);
        assert_eq!(bytes[envelope::ENVELOPE_BYTES..], [&[7; 32][..], &[0xac, 2, 2, 5]].concat());
        assert_eq!(decode_backlog(&bytes), Ok(mark));

        let tables = TablesRecord { counts: [1, 2, 3, 4, 5, 6, 7, 8, 9, 300], keys_end: 9 };
        let bytes = encode_tables(&tables);
        assert_eq!(bytes[0], 1);
        assert_eq!(bytes[envelope::ENVELOPE_BYTES..], [1, 2, 3, 4, 5, 6, 7, 8, 9, 0xac, 2, 9]);
        assert_eq!(decode_tables(&bytes), Ok(tables));
    }

    #[test]
    fn a_newer_layout_is_told_apart() {
        let newer =
            |found, newest| LayoutError::Envelope(EnvelopeError::NewerVersion { found, newest });
        let bytes = envelope::seal(LAYOUT_VERSION + 1, &StateMeta::empty());
        assert_eq!(decode_meta(&bytes), Err(newer(3, 2)));
        let mark = BacklogMark { digest: [7; 32], next: Revision::new(300, 2), records: 5 };
        let bytes = envelope::seal(BACKLOG_VERSION + 1, &mark);
        assert_eq!(decode_backlog(&bytes), Err(newer(2, 1)));
        assert_eq!(check_key(b"forelog"), Err(newer(3, 2)));
        assert_eq!(check_key(META_KEY), Ok(()));
    }

    proptest! {
        #[test]
        fn a_meta_record_survives_the_way_there_and_back(
            numbers in any::<[u64; 7]>(), sub in any::<u32>(), complete in any::<bool>(),
            hash in any::<[u8; 16]>(),
        ) {
            let [index, revision, compact_revision, leader_time_ms, target, main, forgotten] = numbers;
            let meta = StateMeta {
                applied: Some(LogId { term: 1, index }),
                membership_log_id: None,
                membership: membership(),
                revision,
                compact_revision,
                leader_time_ms,
                hash: StateHash(hash),
                forgotten: Forgotten {
                    sessions_before_ms: forgotten,
                    signatures_through_seconds: forgotten / 2,
                },
                compaction: CompactionProgress {
                    target,
                    cursor: Revision::new(main, sub),
                    complete,
                },
                deletes: Arc::new(vec![staged(); usize::from(complete)]),
                backlog: None,
            };
            prop_assert_eq!(decode_meta(&encode_meta(&meta)), Ok(meta));
        }
    }
}
