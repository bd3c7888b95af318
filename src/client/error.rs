//! What a call of the client can end in, apart from its answer.
//!
//! The one distinction everything rests on: [`Error::Failed`] means that the request was **not**
//! applied and that nothing still on its way can apply it; [`Error::Applied`] that it was, once, and
//! only the answer is lost; [`Error::Unknown`] that nobody knows. Whatever is ambiguous is `Unknown`, also when success or failure is far more likely.

use crate::types::OperationError;

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request was not applied.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// A write may have been applied, or may still be. Read the key to find out. Only writes end
    /// this way.
    #[error("outcome unknown: {reason}")]
    Unknown {
        /// What came in between.
        reason: String,
    },
    /// A write was applied once. Its answer was lost on the way, and was too large to be kept for
    /// the retry. Only writes that answer pairs end this way.
    #[error(
        "applied at revision {revision}, and the answer was lost; read what you need of it at that \
         revision"
    )]
    Applied {
        /// The revision that was answered.
        revision: u64,
    },
}

/// Why a request was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The store refused it, and will refuse it again as long as its content is the same.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// No node took it (or, for a read, answered it) before the timeout.
    #[error("unavailable: {reason}")]
    Unavailable {
        /// What the last attempt met.
        reason: String,
    },
    /// The nodes had as much work as they admit until the timeout.
    #[error("the cluster is overloaded; send less at a time, or give a longer timeout")]
    Overloaded,
    /// The request makes no sense.
    #[error("invalid request: {reason}")]
    Invalid {
        /// What to change.
        reason: String,
    },
    /// The user may not do this.
    #[error("permission denied: {reason}")]
    PermissionDenied {
        /// What is missing.
        reason: String,
    },
    /// The cluster is not in a state to do it.
    #[error("refused: {reason}")]
    Refused {
        /// Why, and what to do.
        reason: String,
    },
    /// The cluster has no room for more; deletes, compaction and reads go on.
    #[error("{0}")]
    NoSpace(String),
    /// The client was given no endpoint.
    #[error("no endpoint given; give at least one HOST:PORT")]
    NoEndpoint,
    /// An endpoint that is not `HOST:PORT`.
    #[error("'{endpoint}' is no endpoint; write HOST:PORT, as in 127.0.0.1:4601")]
    InvalidEndpoint {
        /// What was given.
        endpoint: String,
    },
}

impl Error {
    /// Whether nobody knows if the write was applied.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }

    /// What the store refused, when it did.
    pub fn operation(&self) -> Option<&OperationError> {
        match self {
            Self::Failed(Failure::Operation(error)) => Some(error),
            _ => None,
        }
    }
}

impl From<OperationError> for Error {
    fn from(error: OperationError) -> Self {
        Self::Failed(match error {
            // Whether the node or the state machine said it makes no difference to the caller.
            OperationError::PermissionDenied { reason } => Failure::PermissionDenied { reason },
            OperationError::AnswerNotKept { revision } => return Self::Applied { revision },
            error => Failure::Operation(error),
        })
    }
}
