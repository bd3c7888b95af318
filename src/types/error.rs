//! What can go wrong with a request.
//!
//! [`OperationError`] is decided by the state machine and is the same on every member: the
//! request was not applied and will fail again. [`RequestError`] is what a client of one node
//! sees; it keeps "not applied" and "nobody knows" apart.

use serde::{Deserialize, Serialize};

use super::AccessError;

/// Why an operation was refused. Nothing of it was applied. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum OperationError {
    /// A read or compaction above the current revision.
    #[error("revision {requested} is in the future; the store is at {current}")]
    FutureRevision {
        /// What was asked for.
        requested: u64,
        /// Where the store is.
        current: u64,
    },
    /// A read or compaction at or below what was forgotten.
    #[error(
        "revision {requested} was compacted; the oldest readable revision is {compact_revision}"
    )]
    Compacted {
        /// What was asked for.
        requested: u64,
        /// The oldest readable revision.
        compact_revision: u64,
    },
    /// `ignore_value` or `ignore_lease` on a key that does not exist.
    #[error("the key does not exist")]
    KeyNotFound,
    /// The lease does not exist.
    #[error("lease {lease} does not exist")]
    LeaseNotFound {
        /// The lease.
        lease: i64,
    },
    /// A transaction changes one key twice.
    #[error(
        "the transaction changes one key twice; put each key at most once and do not delete it as well"
    )]
    DuplicateKey,
    /// A key of no byte.
    #[error("the key is empty; give at least one byte")]
    EmptyKey,
    /// A key beyond the limit.
    #[error("the key has {bytes} bytes; at most {max} are allowed")]
    KeyTooLong {
        /// The key's length.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// A request beyond the limit.
    #[error("the request has {bytes} bytes; at most {max} are allowed")]
    RequestTooLarge {
        /// The request's size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// A transaction beyond a limit on its operations.
    #[error("the transaction has {operations} operations in one list; at most {max} are allowed")]
    TooManyOperations {
        /// How many there are.
        operations: u64,
        /// The limit.
        max: u64,
    },
    /// Transactions nested too deeply.
    #[error("transactions are nested more than {max} deep")]
    NestedTooDeep {
        /// The limit.
        max: u64,
    },
    /// An answer that would not fit.
    #[error(
        "the answer would exceed {max} bytes; ask for fewer keys, or read in pages by key order"
    )]
    AnswerTooLarge {
        /// The limit.
        max: u64,
    },
    /// `ignore_value` with a value, or `ignore_lease` with a lease.
    #[error("a put that ignores the value (or lease) must not carry one")]
    IgnoredFieldGiven,
    /// The client's answers were forgotten: whether an earlier try was applied is not known.
    #[error("the session has expired; whether an earlier try of this write was applied is unknown")]
    SessionExpired {
        /// The replicated time at which it was refused: a session may begin with it.
        now_ms: u64,
    },
    /// The client has more unanswered writes than are kept.
    #[error("the client has more than {max} unanswered writes; wait for answers")]
    TooManyInFlight {
        /// The limit.
        max: u64,
    },
    /// A malformed address or name in a member's registration.
    #[error("invalid member: {reason}")]
    InvalidMember {
        /// What is wrong.
        reason: String,
    },
    /// A transaction that can write, sent as a read.
    #[error("the transaction can write; send it as a write")]
    NotReadOnly,
    /// Users, roles or keys are not changed so.
    #[error(transparent)]
    Access(AccessError),
    /// The principal may not do this, or no longer.
    #[error("permission denied: {reason}")]
    PermissionDenied {
        /// What is missing.
        reason: String,
    },
    /// A step of a join that does not fit what the cluster knows of it.
    #[error("{reason}")]
    JoinRefused {
        /// Why, and what to do.
        reason: String,
    },
    /// Another data directory stands behind the node's id.
    #[error(
        "node {node_id} is known with another data directory; remove it with 'chainfire member \
         remove {node_id}', empty the directory and start it with --join"
    )]
    OtherIncarnation {
        /// The node.
        node_id: u64,
    },
    /// One command looks at more keys than every member would in one go.
    #[error(
        "the command visits more than {max} keys; read or delete in pages by key order, outside of \
         a transaction, or compare keys one by one"
    )]
    TooManyKeysVisited {
        /// The limit.
        max: u64,
    },
    /// More deletes of many keys than are written out at one time.
    #[error(
        "{max} deletes of many keys are under way; ask again, under a new request id, when \
         'chainfire status' shows fewer"
    )]
    TooManyDeletes {
        /// The limit.
        max: u64,
    },
    /// Compaction up to a delete that is still being written out.
    #[error(
        "the delete at revision {revision} is still being written out; compact below it, or ask \
         again, under a new request id, when it is done"
    )]
    DeleteUnderWay {
        /// The delete's main revision.
        revision: u64,
    },
    /// The request id was given to another operation before. This one was not applied.
    #[error("the request id is that of another request; give this one an id of its own")]
    RequestIdReused,
    /// As many clients have sessions as may: all of them wrote just now.
    #[error(
        "{max} clients have written within the time of their retries, as many as are remembered; \
         try again in {retry_after_ms} ms"
    )]
    TooManySessions {
        /// The limit, of the user or of the store.
        max: u64,
        /// When to come back.
        retry_after_ms: u64,
    },
    /// The answers kept for retries take as much as they may.
    #[error(
        "the answers kept for retries take {max_bytes} bytes, as much as they may; have clients take \
         their answers"
    )]
    TooManyAnswersKept {
        /// The limit of one user.
        max_bytes: u64,
    },
    /// An earlier try was applied, and its answer was too large to be kept.
    #[error(
        "an earlier try of this request was applied at revision {revision}; its answer was too large \
         to be kept, read what you need of it at that revision"
    )]
    AnswerNotKept {
        /// The revision it was answered with.
        revision: u64,
    },
    /// Another start of the node's data directory was taken, which this one does not continue.
    #[error("{}", stale_start(*node_id, *counter))]
    StaleStart {
        /// The node.
        node_id: u64,
        /// The start that was taken last.
        counter: u64,
    },
    /// A signed request dated so early that it may have been answered and forgotten.
    #[error(
        "the request is dated {dated_seconds} and those dated until {through_seconds} (seconds since \
         1970) are no longer told apart from repeated ones; set the clock and sign it again"
    )]
    RequestExpired {
        /// Its date, in seconds since 1970.
        dated_seconds: u64,
        /// The date up to which requests are refused.
        through_seconds: u64,
    },
    /// As many signed requests are remembered as may be.
    #[error(
        "{max} signed requests are remembered, as many as may be; try again in {retry_after_ms} ms"
    )]
    TooManySignatures {
        /// The limit, of the user or of the store.
        max: u64,
        /// When to come back.
        retry_after_ms: u64,
    },
}

/// What an operator hears of a directory that is not the last one of its node.
pub(crate) fn stale_start(node_id: u64, counter: u64) -> String {
    format!(
        "this data directory of node {node_id} is a copy, or was put back older: the cluster knows \
         start {counter} of it, which this one does not continue; start the directory that ran last, \
         or remove the node with 'chainfire member remove {node_id}', empty this directory and start \
         it with --join"
    )
}

impl From<AccessError> for OperationError {
    fn from(error: AccessError) -> Self {
        Self::Access(error)
    }
}

/// Why one node did not answer a request as asked. Append only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RequestError {
    /// The state machine refused it; it was not applied.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// Nobody knows whether it was applied. Sending it again under the same request id is safe.
    #[error("outcome unknown: {reason}")]
    OutcomeUnknown {
        /// Why.
        reason: String,
    },
    /// Not applied: no leader, or the node is stopping. Try again, here or elsewhere.
    #[error("unavailable: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// Not applied: the node has as much work as it admits.
    #[error("overloaded; retry after {retry_after_ms} ms")]
    Overloaded {
        /// When to come back.
        retry_after_ms: u64,
    },
    /// Not applied: the deadline passed before the work began.
    #[error("the deadline passed before the request was started")]
    DeadlinePassed,
    /// Not applied: the request makes no sense.
    #[error("invalid request: {reason}")]
    Invalid {
        /// What to change.
        reason: String,
    },
    /// Not applied: the principal may not do this.
    #[error("permission denied: {reason}")]
    PermissionDenied {
        /// What is missing.
        reason: String,
    },
    /// Not done: the cluster is not in a state to do it. Asking again does not help before that
    /// has changed.
    #[error("refused: {reason}")]
    Refused {
        /// Why, and what to do.
        reason: String,
    },
    /// A delete of many keys is applied, as everybody sees it, and is still being written out.
    /// Asked again under the same request id, the answer is its own once that is over.
    #[error(
        "the delete at revision {revision} is applied and being written out ({deleted} keys so far)"
    )]
    DeleteUnderWay {
        /// Its main revision.
        revision: u64,
        /// Keys written out so far.
        deleted: u64,
    },
    /// Not applied: a member has no room for more. Deletes, compaction and reads go on.
    #[error(
        "no space: node {node_id} uses {used_bytes} of {limit_bytes} bytes; delete keys and compact, or \
         raise storage.quota_bytes or the disk's room; see 'chainfire alarm list'"
    )]
    NoSpace {
        /// The fullest member that is known.
        node_id: u64,
        /// What its state takes.
        used_bytes: u64,
        /// What it may take.
        limit_bytes: u64,
    },
}

impl RequestError {
    /// Whether the same request, under the same request id, may be sent again: it was not
    /// applied, or applying it again is prevented by its id.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::OutcomeUnknown { .. }
            | Self::Unavailable { .. }
            | Self::Overloaded { .. }
            | Self::DeleteUnderWay { .. } => true,
            Self::Operation(_)
            | Self::DeadlinePassed
            | Self::Invalid { .. }
            | Self::PermissionDenied { .. }
            | Self::Refused { .. }
            | Self::NoSpace { .. } => false,
        }
    }
}
