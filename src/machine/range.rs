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

use super::budget::{AnswerBudget, Budget, pair, pair_bytes};
use super::failure::{Failure, Outcome, settle};
use super::sorted;
use super::validate::validate_range;
use super::{StateView, VersionVisitor, Visits};

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
    let answer = range_within(view, request, Visits::unlimited())?;
    Ok(answer.unwrap_or_else(|| unreachable!("nobody can abandon it")))
}

/// [`range`], as long as `visits` lets it go on: none when it was abandoned.
///
/// # Errors
/// As for [`range`].
pub fn range_within<V: StateView>(
    view: &V,
    request: &RangeRequest,
    visits: Visits<'_>,
) -> Result<Option<Result<RangeAnswer, OperationError>>, V::Error> {
    if let Err(refusal) = validate_range(request) {
        return Ok(Some(Err(refusal)));
    }
    let mut budget = Budget { answer: AnswerBudget::of_page(), visits };
    settle(evaluate(view, request, &mut budget))
}

/// Reads a well-formed range within a budget.
pub(super) fn evaluate<V: StateView>(
    view: &V,
    request: &RangeRequest,
    budget: &mut Budget<'_>,
) -> Outcome<RangeAnswer, V::Error> {
    let at = readable_revision(view, request.revision)?;
    match request.sort {
        _ if request.count_only => count(view, &request.range, at, &budget.visits),
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
    visits: &Visits<'_>,
    visitor: &mut VersionVisitor<'_>,
) -> Outcome<(), V::Error> {
    if range.is_empty() {
        return Ok(());
    }
    if !range.is_single() || at != view.revision() {
        view.scan(range, at, visits, visitor).map_err(Failure::State)?;
        return visits.check();
    }
    if visits.key(&range.key, true).is_continue()
        && let Some(meta) = view.current(&range.key).map_err(Failure::State)?
    {
        let _only_one_to_visit = visitor(&range.key, &meta);
    }
    visits.check()
}

/// Whether a version passes the request's filters.
pub(super) fn passes(request: &RangeRequest, meta: &VersionMeta) -> bool {
    let within =
        |revision: u64, min: u64, max: u64| revision >= min && (max == 0 || revision <= max);
    within(meta.mod_revision.main, request.min_mod_revision, request.max_mod_revision)
        && within(meta.create_revision, request.min_create_revision, request.max_create_revision)
}

/// The number of keys alone. Asking for it outweighs `skip_count`.
fn count<V: StateView>(
    view: &V,
    range: &KeyRange,
    at: u64,
    visits: &Visits<'_>,
) -> Outcome<RangeAnswer, V::Error> {
    let mut answer = RangeAnswer { revision: view.revision(), ..RangeAnswer::default() };
    visit(view, range, at, visits, &mut |_, _| {
        answer.count += 1;
        ControlFlow::Continue(())
    })?;
    Ok(answer)
}

fn in_key_order<V: StateView>(
    view: &V,
    request: &RangeRequest,
    at: u64,
    budget: &mut Budget<'_>,
) -> Outcome<RangeAnswer, V::Error> {
    let answer = RangeAnswer { revision: view.revision(), ..RangeAnswer::default() };
    let Budget { answer: budget, visits } = budget;
    let mut page = Page { view, request, budget, visits, answer, failure: None };
    visit(view, &request.range, at, visits, &mut |key, meta| page.visit(key, meta))?;
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
    visits: &'a Visits<'a>,
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
        self.visits.value(value.len());
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
