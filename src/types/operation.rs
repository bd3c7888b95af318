//! What a client may ask of the key space.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::command::COMMAND_FORMAT_FIRST;
use super::{AccessOperation, ClusterOperation, KeyRange, PeerAddress};

/// A command that goes through the log. Append only: the position of a variant is its number on
/// disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Store one pair.
    Put(PutRequest),
    /// Delete the keys of a range.
    DeleteRange(DeleteRangeRequest),
    /// Compare, then one branch or the other, in one revision.
    Txn(TxnRequest),
    /// Forget history.
    Compact(CompactRequest),
    /// A node publishes its name and where clients and peers reach it.
    RegisterMember {
        /// The node.
        node_id: u64,
        /// Its name and addresses.
        address: PeerAddress,
        /// Where clients reach it, `HOST:PORT`.
        client_addr: String,
    },
    /// Users, roles and keys.
    Access(AccessOperation),
    /// Change what the cluster remembers of its nodes.
    Cluster(ClusterOperation),
    /// Write out some more of a staged delete. Proposed by the cluster; once more than needed does
    /// no harm.
    ContinueDelete {
        /// The delete's main revision.
        revision: u64,
        /// The keys to visit, at most; never more than
        /// [`DELETE_STEP_KEYS`](super::limits::DELETE_STEP_KEYS).
        keys: u64,
    },
}

impl Operation {
    /// The lowest version of the command encoding that has this operation. A new operation, or a
    /// new field of one, needs a new version, and is proposed when every member reads that.
    pub fn format(&self) -> u8 {
        match self {
            Self::Put(_)
            | Self::DeleteRange(_)
            | Self::Txn(_)
            | Self::Compact(_)
            | Self::RegisterMember { .. }
            | Self::Access(_)
            | Self::Cluster(_)
            | Self::ContinueDelete { .. } => COMMAND_FORMAT_FIRST,
        }
    }
}

/// Store one pair. A put without a lease detaches the old lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutRequest {
    /// The key, 1 to 1,024 bytes.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The lease to attach; 0 = none.
    pub lease: i64,
    /// Answer the previous pair.
    pub prev_kv: bool,
    /// Keep the current value; the key must exist, `value` must be empty.
    pub ignore_value: bool,
    /// Keep the current lease; the key must exist, `lease` must be 0.
    pub ignore_lease: bool,
}

/// Delete the keys of a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteRangeRequest {
    /// What to delete.
    pub range: KeyRange,
    /// Answer the deleted pairs.
    pub prev_kv: bool,
}

/// Read the keys of a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeRequest {
    /// What to read.
    pub range: KeyRange,
    /// Most pairs to answer; 0 = no limit.
    pub limit: u64,
    /// The main revision to read at; 0 = the current one.
    pub revision: u64,
    /// The order of the answer; none = by key, ascending.
    pub sort: Option<Sort>,
    /// Leave the values out. Every other field is answered.
    pub keys_only: bool,
    /// Answer the count alone.
    pub count_only: bool,
    /// Leave `count` at 0 and stop at the end of the page: for reading a long range on.
    pub skip_count: bool,
    /// Answer what the asked node has applied, without a round to the leader.
    pub serializable: bool,
    /// Smallest modification revision to answer; 0 = no bound.
    pub min_mod_revision: u64,
    /// Largest modification revision to answer; 0 = no bound.
    pub max_mod_revision: u64,
    /// Smallest creation revision to answer; 0 = no bound.
    pub min_create_revision: u64,
    /// Largest creation revision to answer; 0 = no bound.
    pub max_create_revision: u64,
}

impl RangeRequest {
    /// A linearizable read of the whole of `range` with no option set.
    pub fn new(range: KeyRange) -> Self {
        Self {
            range,
            limit: 0,
            revision: 0,
            sort: None,
            keys_only: false,
            count_only: false,
            skip_count: false,
            serializable: false,
            min_mod_revision: 0,
            max_mod_revision: 0,
            min_create_revision: 0,
            max_create_revision: 0,
        }
    }
}

/// The order of an answer. Ties stay in key order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sort {
    /// By what.
    pub target: SortTarget,
    /// In which direction.
    pub order: SortOrder,
}

/// What to sort by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SortTarget {
    /// The key.
    Key,
    /// The version.
    Version,
    /// The creation revision.
    CreateRevision,
    /// The modification revision.
    ModRevision,
    /// The value.
    Value,
}

/// The direction of a sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SortOrder {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

/// Compare, then one branch or the other, atomically and in one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnRequest {
    /// All must hold for `success`; none = they hold.
    pub compares: Vec<Compare>,
    /// Done when every compare holds.
    pub success: Vec<TxnOperation>,
    /// Done otherwise.
    pub failure: Vec<TxnOperation>,
}

impl TxnRequest {
    /// Whether neither branch, nested ones included, can write.
    pub fn is_read_only(&self) -> bool {
        self.success.iter().chain(&self.failure).all(|operation| match operation {
            TxnOperation::Range(_) => true,
            TxnOperation::Put(_) | TxnOperation::DeleteRange(_) => false,
            TxnOperation::Txn(nested) => nested.is_read_only(),
        })
    }

    /// How deep transactions are nested; 1 = not.
    pub fn depth(&self) -> usize {
        let nested = self.success.iter().chain(&self.failure).map(|operation| match operation {
            TxnOperation::Txn(nested) => nested.depth(),
            _ => 0,
        });
        1 + nested.max().unwrap_or(0)
    }
}

/// One operation inside a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnOperation {
    /// Read; sees what earlier operations of the transaction wrote.
    Range(RangeRequest),
    /// Write.
    Put(PutRequest),
    /// Delete.
    DeleteRange(DeleteRangeRequest),
    /// A nested transaction. Its compares are evaluated before anything is written.
    Txn(#[serde(deserialize_with = "super::nesting::deserialize_nested")] TxnRequest),
}

/// One condition of a transaction. Over a range it must hold for every key in it; a range without
/// keys compares as one missing key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// The keys compared.
    pub range: KeyRange,
    /// The field and the value it is compared against.
    pub target: CompareTarget,
    /// How.
    pub operator: CompareOperator,
}

/// The field of a compare, with its right-hand side. On a missing key `Value` is false and the
/// others compare against 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompareTarget {
    /// Number of puts since creation.
    Version(u64),
    /// Main revision of creation.
    CreateRevision(u64),
    /// Main revision of the last change.
    ModRevision(u64),
    /// The value.
    Value(Bytes),
    /// The attached lease.
    Lease(i64),
}

/// How the stored field relates to the given one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompareOperator {
    /// stored = given
    Equal,
    /// stored != given
    NotEqual,
    /// stored < given
    Less,
    /// stored > given
    Greater,
}

/// Forget every version that is no longer current at `revision`. The revision itself stays
/// readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactRequest {
    /// The main revision.
    pub revision: u64,
}
