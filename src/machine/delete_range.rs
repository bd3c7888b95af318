//! Deleting the keys of a range.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::types::{DeleteRangeAnswer, DeleteRangeRequest};

use super::StateView;
use super::budget::{Budget, pair, pair_bytes};
use super::draft::Draft;
use super::failure::{Failure, Outcome};
use super::range::visit;

/// Deletes the keys of a well-formed range in the draft, in key order, each at a sub-revision of
/// its own. A range without keys leaves the draft, and so the revision, as it was.
pub(super) fn delete_range<V: StateView>(
    draft: &mut Draft<'_, V>,
    request: &DeleteRangeRequest,
    budget: &mut Budget<'_>,
) -> Outcome<DeleteRangeAnswer, V::Error> {
    let mut found = Vec::new();
    visit(draft, &request.range, draft.revision(), &budget.visits, &mut |key, meta| {
        found.push((Bytes::copy_from_slice(key), *meta));
        ControlFlow::Continue(())
    })?;
    budget.visits.deleted(found.len() as u64)?;

    let mut prev_kvs = Vec::new();
    if request.prev_kv {
        for (key, meta) in &found {
            let value = draft.value(meta.mod_revision).map_err(Failure::State)?;
            budget.answer.take(pair_bytes(key, &value))?;
            prev_kvs.push(pair(key.clone(), meta, value));
        }
    }
    let deleted = found.len() as u64;
    for (key, _) in found {
        draft.delete(key);
    }
    Ok(DeleteRangeAnswer { revision: draft.revision(), deleted, prev_kvs })
}
