//! Storing one pair.

use crate::types::{OperationError, PutAnswer, PutRequest, VersionMeta};

use super::StateView;
use super::budget::{Budget, pair, pair_bytes};
use super::draft::Draft;
use super::failure::{Failure, Outcome};

/// Puts a well-formed pair into the draft. The key is read once; its old value only when it is
/// kept or asked for.
///
/// A put of an identical value is a put like any other. There are no leases yet, so every lease
/// but 0 is one that does not exist.
pub(super) fn put<V: StateView>(
    draft: &mut Draft<'_, V>,
    request: &PutRequest,
    budget: &mut Budget<'_>,
) -> Outcome<PutAnswer, V::Error> {
    let previous = draft.current(&request.key).map_err(Failure::State)?;
    if previous.is_none() && (request.ignore_value || request.ignore_lease) {
        return Err(OperationError::KeyNotFound.into());
    }
    if request.lease != 0 {
        return Err(OperationError::LeaseNotFound { lease: request.lease }.into());
    }

    let previous_value = match &previous {
        Some(meta) if request.prev_kv || request.ignore_value => {
            Some(draft.value(meta.mod_revision).map_err(Failure::State)?)
        }
        _ => None,
    };
    let prev_kv = match (&previous, &previous_value) {
        (Some(meta), Some(value)) if request.prev_kv => {
            budget.answer.take(pair_bytes(&request.key, value))?;
            Some(pair(request.key.clone(), meta, value.clone()))
        }
        _ => None,
    };

    let mod_revision = draft.next_revision();
    let meta = VersionMeta {
        create_revision: previous.map_or(mod_revision.main, |meta| meta.create_revision),
        mod_revision,
        version: previous.map_or(0, |meta| meta.version) + 1,
        lease: match previous {
            Some(meta) if request.ignore_lease => meta.lease,
            _ => request.lease,
        },
    };
    let value = match previous_value {
        Some(kept) if request.ignore_value => kept,
        _ => request.value.clone(),
    };
    if previous.is_none() {
        draft.write_tombstone_due(&request.key).map_err(Failure::State)?;
    }
    draft.put(request.key.clone(), meta, value);
    Ok(PutAnswer { revision: mod_revision.main, prev_kv })
}
