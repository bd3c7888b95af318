//! What the cluster answers.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{AccessAnswer, ClusterAnswer, OperationError};

/// One key with everything the store knows of its version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value; empty when only keys were asked for.
    pub value: Bytes,
    /// Main revision of the put that created the key.
    pub create_revision: u64,
    /// Main revision of its last change.
    pub mod_revision: u64,
    /// Puts since creation, from 1.
    pub version: u64,
    /// The attached lease; 0 = none.
    pub lease: i64,
}

/// The answer to an [`Operation`](super::Operation); the same variant as the operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To a put.
    Put(PutAnswer),
    /// To a delete.
    DeleteRange(DeleteRangeAnswer),
    /// To a transaction.
    Txn(TxnAnswer),
    /// To a compaction.
    Compact(CompactAnswer),
    /// To a member's registration.
    RegisterMember,
    /// To a change of users, roles or keys.
    Access(AccessAnswer),
    /// To a change of what the cluster remembers of its nodes.
    Cluster(ClusterAnswer),
    /// To a delete of many keys: it is done, as everybody sees it, and is being written out. Its
    /// own answer takes this one's place when that is over. No client is ever answered this.
    DeleteStaged {
        /// The delete's main revision.
        revision: u64,
    },
    /// To a step of a staged delete.
    DeleteContinued {
        /// Whether nothing of it is left.
        done: bool,
    },
    /// To a signed request that was answered before: its first answer or refusal. Never kept, and
    /// no client is ever answered this.
    Again(Box<Result<Answer, super::OperationError>>),
}

/// What came of a write that stands alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its answer, or why the store refused it.
    pub outcome: Result<Answer, OperationError>,
    /// Whether that is the answer to the same request, which came before.
    pub replayed: bool,
}

/// The answer to a put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutAnswer {
    /// The store's main revision after the put.
    pub revision: u64,
    /// The previous pair, when asked for and there was one.
    pub prev_kv: Option<KeyValue>,
}

/// The answer to a delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteRangeAnswer {
    /// The store's main revision after the delete; unchanged when nothing matched.
    pub revision: u64,
    /// How many keys were deleted.
    pub deleted: u64,
    /// The deleted pairs in key order, when asked for.
    pub prev_kvs: Vec<KeyValue>,
}

/// The answer to a range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeAnswer {
    /// The store's main revision when the range was read. Read on at this revision for one
    /// consistent picture over several pages.
    pub revision: u64,
    /// The pairs, in the order asked for.
    pub kvs: Vec<KeyValue>,
    /// Whether a limit (the request's, or the size of one answer) cut the pairs.
    pub more: bool,
    /// Keys in the range, regardless of limit and filters.
    pub count: u64,
}

/// The answer to a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnAnswer {
    /// The store's main revision after the transaction.
    pub revision: u64,
    /// Whether every compare held.
    pub succeeded: bool,
    /// An answer for each operation of the branch taken, in order.
    pub answers: Vec<OperationAnswer>,
}

/// The answer to one operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationAnswer {
    /// To a range.
    Range(RangeAnswer),
    /// To a put.
    Put(PutAnswer),
    /// To a delete.
    DeleteRange(DeleteRangeAnswer),
    /// To a nested transaction.
    Txn(#[serde(deserialize_with = "super::nesting::deserialize_nested")] TxnAnswer),
}

/// The answer to a compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactAnswer {
    /// The store's main revision.
    pub revision: u64,
}
