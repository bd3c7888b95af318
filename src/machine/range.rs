//! Reading a range of keys at one revision.
//!
//! An answer in key order is built while the keys are visited and ends at the request's limit or
//! at the budget, whichever comes first; only counting goes on from there. Any other order is the
//! business of `sorted`. In both, what is held at any moment stays within the budget, whatever the
//! size of the range.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::types::{
    KeyRange, OperationError, RangeAnswer, RangeRequest, Sort, SortOrder, SortTarget, VersionMeta,
};

use super::budget::{AnswerBudget, pair, pair_bytes};
use super::failure::{Failure, Outcome, settle};
use super::sorted;
use super::validate::validate_range;
use super::{StateView, VersionVisitor};

/// Reads a range. An answer in key order that would exceed
/// [`ANSWER_BYTES_MAX`](crate::types::limits::ANSWER_BYTES_MAX) ends there with `more`.
///
/// # Errors
/// The outer error is the view's. The inner one refuses the read: a revision that is compacted or
/// in the future, a malformed range, or another order than by key over more than fits.
pub fn range<V: StateView>(
    view: &V,
    request: &RangeRequest,
) -> Result<Result<RangeAnswer, OperationError>, V::Error> {
    if let Err(refusal) = validate_range(request) {
        return Ok(Err(refusal));
    }
    settle(evaluate(view, request, &mut AnswerBudget::of_page()))
}

/// Reads a well-formed range within a budget.
pub(super) fn evaluate<V: StateView>(
    view: &V,
    request: &RangeRequest,
    budget: &mut AnswerBudget,
) -> Outcome<RangeAnswer, V::Error> {
    let at = readable_revision(view, request.revision)?;
    match request.sort {
        _ if request.count_only => count(view, &request.range, at).map_err(Failure::State),
        None | Some(Sort { target: SortTarget::Key, order: SortOrder::Ascending }) => {
            in_key_order(view, request, at, budget)
        }
        Some(sort) => sorted::evaluate(view, request, sort, at, budget),
    }
}

/// The main revision to read at; `requested` 0 is the current one. The revision last compacted is
/// readable, nothing below it is.
fn readable_revision<V: StateView>(view: &V, requested: u64) -> Result<u64, OperationError> {
    let current = view.revision();
    let compact_revision = view.compact_revision();
    if requested == 0 {
        Ok(current)
    } else if requested > current {
        Err(OperationError::FutureRevision { requested, current })
    } else if requested < compact_revision {
        Err(OperationError::Compacted { requested, compact_revision })
    } else {
        Ok(requested)
    }
}

/// Visits the keys of `range` at `at`. The newest version of one key is a point read.
pub(super) fn visit<V: StateView>(
    view: &V,
    range: &KeyRange,
    at: u64,
    visitor: &mut VersionVisitor<'_>,
) -> Result<(), V::Error> {
    if range.is_empty() {
        return Ok(());
    }
    if !range.is_single() || at != view.revision() {
        return view.scan(range, at, visitor);
    }
    if let Some(meta) = view.current(&range.key)? {
        let _only_one_to_visit = visitor(&range.key, &meta);
    }
    Ok(())
}

/// Whether a version passes the request's filters.
pub(super) fn passes(request: &RangeRequest, meta: &VersionMeta) -> bool {
    let within =
        |revision: u64, min: u64, max: u64| revision >= min && (max == 0 || revision <= max);
    within(meta.mod_revision.main, request.min_mod_revision, request.max_mod_revision)
        && within(meta.create_revision, request.min_create_revision, request.max_create_revision)
}

/// The number of keys alone. Asking for it outweighs `skip_count`.
fn count<V: StateView>(view: &V, range: &KeyRange, at: u64) -> Result<RangeAnswer, V::Error> {
    let mut answer = RangeAnswer { revision: view.revision(), ..RangeAnswer::default() };
    visit(view, range, at, &mut |_, _| {
        answer.count += 1;
        ControlFlow::Continue(())
    })?;
    Ok(answer)
}

fn in_key_order<V: StateView>(
    view: &V,
    request: &RangeRequest,
    at: u64,
    budget: &mut AnswerBudget,
) -> Outcome<RangeAnswer, V::Error> {
    let answer = RangeAnswer { revision: view.revision(), ..RangeAnswer::default() };
    let mut page = Page { view, request, budget, answer, failure: None };
    visit(view, &request.range, at, &mut |key, meta| page.visit(key, meta))
        .map_err(Failure::State)?;
    match page.failure {
        Some(failure) => Err(failure),
        None => Ok(page.answer),
    }
}

/// An answer in key order while it is built.
struct Page<'a, V: StateView> {
    view: &'a V,
    request: &'a RangeRequest,
    budget: &'a mut AnswerBudget,
    /// `more` is set at the first pair that was left out; none is added from there on.
    answer: RangeAnswer,
    failure: Option<Failure<V::Error>>,
}

impl<V: StateView> Page<'_, V> {
    fn visit(&mut self, key: &[u8], meta: &VersionMeta) -> ControlFlow<()> {
        self.answer.count += u64::from(!self.request.skip_count);
        if !self.answer.more
            && passes(self.request, meta)
            && let Err(failure) = self.add(key, meta)
        {
            self.failure = Some(failure);
            return ControlFlow::Break(());
        }
        if self.answer.more && self.request.skip_count {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// Adds a pair, or ends the page.
    fn add(&mut self, key: &[u8], meta: &VersionMeta) -> Outcome<(), V::Error> {
        let pairs = self.answer.kvs.len() as u64;
        if self.request.limit != 0 && pairs >= self.request.limit {
            self.answer.more = true;
            return Ok(());
        }
        let value = match self.request.keys_only {
            true => Bytes::new(),
            false => self.view.value(meta.mod_revision).map_err(Failure::State)?,
        };
        let fits = self.budget.take(pair_bytes(key, &value));
        if !self.budget.may_cut() {
            fits?;
        } else if fits.is_err() && pairs > 0 {
            self.answer.more = true;
            return Ok(());
        }
        self.answer.kvs.push(pair(Bytes::copy_from_slice(key), meta, value));
        Ok(())
    }
}
