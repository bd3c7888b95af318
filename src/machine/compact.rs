//! Forgetting history.

use crate::types::{CompactAnswer, CompactRequest, OperationError};

use super::{Change, StateView};

/// Compacts up to a revision, which stays readable. Makes no new revision. What is dropped is the
/// storage's business: every version that is not its key's newest at or below the revision, and
/// tombstones below it; a tombstone exactly at it stays, for watchers.
pub(super) fn compact<V: StateView>(
    view: &V,
    request: CompactRequest,
) -> Result<(CompactAnswer, Change), OperationError> {
    let CompactRequest { revision: requested } = request;
    let compact_revision = view.compact_revision();
    let current = view.revision();
    if requested <= compact_revision {
        return Err(OperationError::Compacted { requested, compact_revision });
    }
    if requested > current {
        return Err(OperationError::FutureRevision { requested, current });
    }
    // Up to there every key that it deletes can still be read as it was before.
    if let Some(first) = view.staged_deletes().first().filter(|first| requested >= first.revision) {
        return Err(OperationError::DeleteUnderWay { revision: first.revision });
    }
    Ok((CompactAnswer { revision: current }, Change::Compact(requested)))
}
