//! The conditions of a transaction.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use crate::types::{Compare, CompareOperator, CompareTarget, VersionMeta};

use super::failure::{Failure, Outcome};
use super::range::visit;
use super::{StateView, Visits};

/// Whether a compare holds for every key of its range at the view's revision.
///
/// A range without keys is compared as one missing key, as in etcd: its numbers are 0, and a
/// value compare is false whatever its operator.
pub(super) fn holds<V: StateView>(
    view: &V,
    compare: &Compare,
    visits: &Visits<'_>,
) -> Outcome<bool, V::Error> {
    let mut outcome = None;
    visit(view, &compare.range, view.revision(), visits, &mut |_, meta| {
        let held = holds_for(view, compare, meta, visits);
        let flow = match held {
            Ok(true) => visits.so_far(),
            Ok(false) | Err(_) => ControlFlow::Break(()),
        };
        outcome = Some(held);
        flow
    })?;
    outcome.unwrap_or_else(|| Ok(holds_for_missing(compare))).map_err(Failure::State)
}

fn holds_for<V: StateView>(
    view: &V,
    compare: &Compare,
    meta: &VersionMeta,
    visits: &Visits<'_>,
) -> Result<bool, V::Error> {
    let ordering = match &compare.target {
        CompareTarget::Version(given) => meta.version.cmp(given),
        CompareTarget::CreateRevision(given) => meta.create_revision.cmp(given),
        CompareTarget::ModRevision(given) => meta.mod_revision.main.cmp(given),
        CompareTarget::Lease(given) => meta.lease.cmp(given),
        CompareTarget::Value(given) => {
            let value = view.value(meta.mod_revision)?;
            visits.value(value.len());
            value.cmp(given)
        }
    };
    Ok(satisfies(compare.operator, ordering))
}

fn holds_for_missing(compare: &Compare) -> bool {
    let ordering = match &compare.target {
        CompareTarget::Version(given)
        | CompareTarget::CreateRevision(given)
        | CompareTarget::ModRevision(given) => 0.cmp(given),
        CompareTarget::Lease(given) => 0.cmp(given),
        CompareTarget::Value(_) => return false,
    };
    satisfies(compare.operator, ordering)
}

/// Whether `ordering`, of the stored field to the given one, is what the operator asks for.
fn satisfies(operator: CompareOperator, ordering: Ordering) -> bool {
    match operator {
        CompareOperator::Equal => ordering.is_eq(),
        CompareOperator::NotEqual => ordering.is_ne(),
        CompareOperator::Less => ordering.is_lt(),
        CompareOperator::Greater => ordering.is_gt(),
    }
}
