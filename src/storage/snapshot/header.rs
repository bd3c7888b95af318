//! What a snapshot file says of itself before its contents.

use serde::{Deserialize, Serialize};

use crate::consensus::{RaftStoredMembership, log_id_to_openraft, membership_to_openraft};
use crate::storage::envelope::{self, EnvelopeError};
use crate::storage::state::layout::Table;
use crate::storage::state::layout::meta::StateMeta;
use crate::types::{ClusterId, LogId, MembershipConfig, StateHash};

/// The head of a snapshot file. Fields are only ever appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHeader {
    /// The cluster it belongs to.
    pub cluster_id: ClusterId,
    /// The last log entry whose changes are in it; none when it holds an empty store.
    pub last_log_id: Option<LogId>,
    /// Where its membership was written.
    pub membership_log_id: Option<LogId>,
    /// The last membership in it.
    pub membership: MembershipConfig,
    /// The main revision.
    pub revision: u64,
    /// The oldest readable main revision; 0 = never compacted.
    pub compact_revision: u64,
    /// The layout of the records, as in the `meta` table.
    pub layout_version: u8,
    /// Records in each table, in the order of the file.
    pub(crate) records: RecordCounts,
    /// The rolling hash over the changes that led to its state: with `last_log_id` it says which
    /// state that is.
    pub hash: StateHash,
}

/// Records in each table, in the order of the file. A table that the writer did not know has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u64>", into = "Vec<u64>")]
pub(crate) struct RecordCounts(pub(crate) [u64; Table::ALL.len()]);

impl From<RecordCounts> for Vec<u64> {
    fn from(counts: RecordCounts) -> Self {
        counts.0.into()
    }
}

impl TryFrom<Vec<u64>> for RecordCounts {
    type Error = &'static str;

    fn try_from(found: Vec<u64>) -> Result<Self, Self::Error> {
        let mut counts = [0; Table::ALL.len()];
        let known = counts.get_mut(..found.len()).ok_or("it has tables of a newer release")?;
        known.copy_from_slice(&found);
        Ok(Self(counts))
    }
}

/// The newest version of the header's encoding, and the one written.
const VERSION: u8 = 3;

/// The bytes of a header in a file.
pub(super) fn encode_header(header: &SnapshotHeader) -> Vec<u8> {
    envelope::seal(VERSION, header)
}

/// [`encode_header`] back. No release wrote an older version.
pub(crate) fn decode_header(bytes: &[u8]) -> Result<SnapshotHeader, EnvelopeError> {
    match envelope::unwrap_body(VERSION, bytes)? {
        (VERSION, _) => envelope::unseal(VERSION, bytes),
        _ => Err(EnvelopeError::Malformed),
    }
}

impl SnapshotHeader {
    /// How many user keys are in it, deleted ones that compaction has not reached included.
    pub fn key_count(&self) -> u64 {
        self.records.0[Table::Keys as usize]
    }

    /// How many versions of keys are in it.
    pub(crate) fn version_count(&self) -> u64 {
        self.records.0[Table::History as usize]
    }

    /// Whether `meta` is the position this header describes.
    pub(crate) fn describes(&self, meta: &StateMeta) -> bool {
        meta.backlog.is_none()
            && self.last_log_id == meta.applied
            && self.membership_log_id == meta.membership_log_id
            && self.membership == meta.membership
            && self.revision == meta.revision
            && self.compact_revision == meta.compact_revision
            && self.hash == meta.hash
    }

    /// The membership as openraft has it; none when no such membership is ever written.
    pub(crate) fn stored_membership(&self) -> Option<RaftStoredMembership> {
        let log_id = self.membership_log_id.as_ref().map(log_id_to_openraft);
        Some(RaftStoredMembership::new(log_id, membership_to_openraft(&self.membership)?))
    }
}
