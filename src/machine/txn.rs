//! Transactions: which branches are taken is decided first, then their operations run in order.
//!
//! Every compare, nested ones included, sees the state from before the transaction. Ranges see
//! the writes before them, in the draft. A refusal anywhere refuses the whole transaction, and the
//! draft is dropped.

use crate::types::{
    OperationAnswer, OperationError, RangeAnswer, RangeRequest, TxnAnswer, TxnOperation, TxnRequest,
};

use super::budget::{AnswerBudget, Budget};
use super::delete_range::delete_range;
use super::draft::Draft;
use super::failure::{Outcome, settle};
use super::put::put;
use super::validate::validate_txn;
use super::{StateView, Visits, compare, range};

/// Evaluates a transaction that cannot write, against the view as it is.
///
/// # Errors
/// The outer error is the view's. The inner one refuses the transaction; one that could write is
/// refused as `NotReadOnly`.
pub fn read_txn<V: StateView>(
    view: &V,
    request: &TxnRequest,
) -> Result<Result<TxnAnswer, OperationError>, V::Error> {
    let answer = read_txn_within(view, request, Visits::unlimited())?;
    Ok(answer.unwrap_or_else(|| unreachable!("nobody can abandon it")))
}

/// [`read_txn`], as long as `visits` lets it go on: none when it was abandoned.
pub fn read_txn_within<V: StateView>(
    view: &V,
    request: &TxnRequest,
    visits: Visits<'_>,
) -> Result<Option<Result<TxnAnswer, OperationError>>, V::Error> {
    if let Err(refusal) = validate_txn(request) {
        return Ok(Some(Err(refusal)));
    }
    if !request.is_read_only() {
        return Ok(Some(Err(OperationError::NotReadOnly)));
    }
    let mut budget = Budget { answer: AnswerBudget::of_command(), visits };
    settle(txn(&mut Draft::new(view), request, &mut budget))
}

/// Runs a well-formed transaction in a draft that has no write yet.
pub(super) fn txn<V: StateView>(
    draft: &mut Draft<'_, V>,
    request: &TxnRequest,
    budget: &mut Budget<'_>,
) -> Outcome<TxnAnswer, V::Error> {
    let decision = decide(draft.base(), request, &budget.visits)?;
    run(draft, request, decision, budget)
}

/// Which branch a transaction takes, and which ones those nested in that branch take.
struct Decision {
    succeeded: bool,
    /// One for each nested transaction of the branch taken, in order.
    nested: Vec<Decision>,
}

fn decide<V: StateView>(
    view: &V,
    request: &TxnRequest,
    visits: &Visits<'_>,
) -> Outcome<Decision, V::Error> {
    let mut succeeded = true;
    for condition in &request.compares {
        if !compare::holds(view, condition, visits)? {
            succeeded = false;
            break;
        }
    }
    let nested = branch(request, succeeded)
        .iter()
        .filter_map(|operation| match operation {
            TxnOperation::Txn(nested) => Some(decide(view, nested, visits)),
            _ => None,
        })
        .collect::<Result<_, _>>()?;
    Ok(Decision { succeeded, nested })
}

fn branch(request: &TxnRequest, succeeded: bool) -> &[TxnOperation] {
    if succeeded { &request.success } else { &request.failure }
}

fn run<V: StateView>(
    draft: &mut Draft<'_, V>,
    request: &TxnRequest,
    decision: Decision,
    budget: &mut Budget<'_>,
) -> Outcome<TxnAnswer, V::Error> {
    let operations = branch(request, decision.succeeded);
    let mut nested = decision.nested.into_iter();
    let mut answers = Vec::with_capacity(operations.len());
    for operation in operations {
        answers.push(match operation {
            TxnOperation::Range(request) => {
                OperationAnswer::Range(range_in_txn(draft, request, budget)?)
            }
            TxnOperation::Put(request) => OperationAnswer::Put(put(draft, request, budget)?),
            TxnOperation::DeleteRange(request) => {
                OperationAnswer::DeleteRange(delete_range(draft, request, budget)?)
            }
            TxnOperation::Txn(request) => {
                let decision = nested.next().expect("every nested transaction was decided");
                OperationAnswer::Txn(run(draft, request, decision, budget)?)
            }
        });
    }
    Ok(TxnAnswer { revision: draft.revision(), succeeded: decision.succeeded, answers })
}

/// A range that names a revision reads history, to which the transaction's own writes do not
/// belong yet; one that names none sees them.
fn range_in_txn<V: StateView>(
    draft: &Draft<'_, V>,
    request: &RangeRequest,
    budget: &mut Budget<'_>,
) -> Outcome<RangeAnswer, V::Error> {
    let current = draft.base().revision();
    if request.revision > current {
        return Err(OperationError::FutureRevision { requested: request.revision, current }.into());
    }
    range::evaluate(draft, request, budget)
}
