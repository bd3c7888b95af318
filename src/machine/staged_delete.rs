//! Deletes of many keys: decided and visible at once, written out in steps.
//!
//! ```text
//! delete  few keys? done, as in a transaction
//!         many: record {revision R, range}; every view takes the range for deleted from R on
//! step    the next keys that existed at R - 1: a tombstone at R for each that has none yet
//! put     into the range meanwhile: its key's tombstone first, then a creation like any other
//! end     the record goes, and the client's kept answer becomes the delete's own
//! ```
//!
//! # What must stay true
//! - A key of the range whose newest version is older than R is owed exactly one tombstone, by the
//!   first staged delete after that version. A step or a put of the key pays it.
//! - What a step visits is what was readable at R - 1. It stays readable: nothing compacts up to R
//!   before the end.
//! - The keys visited are the keys deleted, whoever wrote their tombstones.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::types::staged_delete::covering;
use crate::types::{
    Answer, DeleteRangeAnswer, DeleteRangeRequest, OperationError, RequestId, RequestName,
    Revision, StagedDelete,
};

use super::failure::{Failure, Outcome};
use super::visits::ApplyLimits;
use super::{Change, KeptAnswer, KeptSignature, Recorded, StateView, Visits};

/// The answer and the changes of a well-formed delete that visits more keys than a delete does at
/// once; none of one that does not.
pub(super) fn stage<V: StateView>(
    view: &V,
    request: &DeleteRangeRequest,
    request_id: Option<RequestName>,
    limits: &ApplyLimits,
) -> Outcome<Option<(Answer, Vec<Change>)>, V::Error> {
    if request.prev_kv || request.range.is_single() || request.range.is_empty() {
        return Ok(None);
    }
    if !visits_more_than_at_once(view, request, limits)? {
        return Ok(None);
    }
    let max = limits.deletes_staged_max;
    if view.staged_deletes().len() >= max {
        return Err(OperationError::TooManyDeletes { max: max as u64 }.into());
    }
    let revision = view.revision() + 1;
    let staged = StagedDelete {
        revision,
        range: request.range.clone(),
        cursor: request.range.key.clone(),
        deleted: 0,
        next_sub: 0,
        request_id,
    };
    let changes = vec![Change::SetRevision(revision), Change::StageDelete(staged)];
    Ok(Some((Answer::DeleteStaged { revision }, changes)))
}

/// Whether the delete is one of many keys, and deletes at least one.
fn visits_more_than_at_once<V: StateView>(
    view: &V,
    request: &DeleteRangeRequest,
    limits: &ApplyLimits,
) -> Outcome<bool, V::Error> {
    let (range, at) = (&request.range, view.revision());
    let visits = Visits::up_to(limits.delete_keys_at_once_max);
    let mut found = false;
    view.scan(range, at, &visits, &mut |_, _| {
        found = true;
        ControlFlow::Continue(())
    })
    .map_err(Failure::State)?;
    if found || !visits.is_spent() {
        return Ok(visits.is_spent());
    }
    // So many deleted keys come first that it is not known whether there is any other: a delete that
    // matches nothing makes no revision. Past what a command may visit it is staged unseen.
    let visits = Visits::up_to(limits.keys_visited_max);
    view.scan(range, at, &visits, &mut |_, _| {
        found = true;
        ControlFlow::Break(())
    })
    .map_err(Failure::State)?;
    Ok(found || visits.is_spent())
}

/// One step of up to `keys`: the answer and its changes. A delete that is finished already changes nothing.
pub(super) fn go_on<V: StateView>(
    view: &V,
    revision: u64,
    keys: u64,
    limits: &ApplyLimits,
) -> Outcome<(Answer, Vec<Change>), V::Error> {
    let Some(staged) = view.staged_deletes().iter().find(|staged| staged.revision == revision)
    else {
        return Ok((Answer::DeleteContinued { done: true }, Vec::new()));
    };
    let visits = Visits::up_to(keys.clamp(1, limits.delete_step_keys));
    let mut keys = Vec::new();
    view.scan(&staged.rest(), revision - 1, &visits, &mut |key, _| {
        keys.push(Bytes::copy_from_slice(key));
        ControlFlow::Continue(())
    })
    .map_err(Failure::State)?;
    let mut changes = tombstones(view, staged, &keys)?;
    let deleted = staged.deleted + keys.len() as u64;
    let Some(cursor) = visits.stopped_at() else {
        finish(view, staged, deleted, &mut changes).map_err(Failure::State)?;
        return Ok((Answer::DeleteContinued { done: true }, changes));
    };
    changes.push(Change::AdvanceDelete { revision, cursor, deleted });
    Ok((Answer::DeleteContinued { done: false }, changes))
}

/// The tombstones of those of `keys` that have none yet.
fn tombstones<V: StateView>(
    view: &V,
    staged: &StagedDelete,
    keys: &[Bytes],
) -> Outcome<Vec<Change>, V::Error> {
    let (deletes, at) = (view.staged_deletes(), view.revision());
    let mut changes = Vec::with_capacity(keys.len() + 1);
    let mut sub = staged.next_sub;
    for key in keys {
        let Some(written) = view.written(key).map_err(Failure::State)? else { continue };
        let owed = covering(deletes, key, written.mod_revision.main, at);
        if owed.is_some_and(|owed| owed.revision == staged.revision) {
            let revision = Revision::new(staged.revision, sub);
            changes.push(Change::WriteTombstone { key: key.clone(), revision });
            sub += 1;
        }
    }
    Ok(changes)
}

/// Takes the record away. Who asked finds the delete's answer where that of its staging was kept,
/// if it is kept still.
fn finish<V: StateView>(
    view: &V,
    staged: &StagedDelete,
    deleted: u64,
    changes: &mut Vec<Change>,
) -> Result<(), V::Error> {
    let revision = staged.revision;
    changes.push(Change::FinishDelete { revision, deleted });
    let id = match &staged.request_id {
        None => return Ok(()),
        Some(RequestName::Signature(request)) => {
            let key = request.key();
            if let Some(kept) = view.signature(&key)? {
                let answer = DeleteRangeAnswer { revision, deleted, prev_kvs: Vec::new() };
                let kept = KeptSignature { answer: Ok(Answer::DeleteRange(answer)), ..kept };
                changes.push(Change::RecordSignature { key, kept });
            }
            return Ok(());
        }
        Some(RequestName::Session(id)) => *id,
    };
    let RequestId { client, sequence, .. } = id;
    let session = view.session_lookup(client, sequence)?;
    if let Some(session) = session
        && let Some(KeptAnswer { fingerprint, .. }) = session.answer
    {
        let answer = DeleteRangeAnswer { revision, deleted, prev_kvs: Vec::new() };
        let recorded = Recorded {
            begins: None,
            sequence,
            lowest_unanswered: session.lowest_unanswered,
            now_ms: session.last_active_ms,
            window_ms: 0,
            answer: KeptAnswer { fingerprint, answer: Ok(Answer::DeleteRange(answer)) },
        };
        changes.push(Change::RecordAnswer { client, recorded });
    }
    Ok(())
}
