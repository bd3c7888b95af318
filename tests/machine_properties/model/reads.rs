//! Reading one state.

use std::cmp::Ordering;

use bytes::Bytes;
use chainfire::types::limits::{ANSWER_BYTES_MAX, PAIR_OVERHEAD_BYTES, TXN_ANSWER_BYTES_MAX};
use chainfire::types::{
    Compare, CompareOperator, CompareTarget, KeyRange, KeyValue, OperationError, RangeAnswer,
    RangeRequest, Sort, SortOrder, SortTarget,
};

use super::{Model, State, Stored, rules};

/// Whether a key lies in a range.
pub(crate) fn in_range(range: &KeyRange, key: &Bytes) -> bool {
    match &range.range_end[..] {
        [] => *key == range.key,
        [0] => *key >= range.key,
        _ => *key >= range.key && *key < range.range_end,
    }
}

/// A pair as it is answered.
pub(super) fn pair_of(key: &Bytes, stored: &Stored) -> KeyValue {
    KeyValue {
        key: key.clone(),
        value: stored.value.clone(),
        create_revision: stored.created,
        mod_revision: stored.modified,
        version: stored.version,
        lease: stored.lease,
    }
}

/// What a pair counts in an answer.
pub(super) fn cost(pair: &KeyValue) -> usize {
    pair.key.len() + pair.value.len() + PAIR_OVERHEAD_BYTES
}

impl Model {
    /// The state at a revision that a request names.
    pub(super) fn readable(&self, requested: u64) -> Result<&State, OperationError> {
        let (current, compact_revision) = (self.revision(), self.compacted);
        if requested > current {
            return Err(OperationError::FutureRevision { requested, current });
        }
        if requested < compact_revision {
            return Err(OperationError::Compacted { requested, compact_revision });
        }
        Ok(self.state_at(requested))
    }

    /// A range outside a transaction: an answer in key order is cut where its bytes end.
    pub(crate) fn range(&self, request: &RangeRequest) -> Result<RangeAnswer, OperationError> {
        rules::check_range(&request.range)?;
        let state = match request.revision {
            0 => self.state_at(self.revision()),
            revision => self.readable(revision)?,
        };
        let mut answer = if in_key_order(request) {
            let mut answer = select(state, request);
            let mut bytes = 0;
            let fitting = answer.kvs.iter().take_while(|pair| {
                bytes += cost(pair);
                bytes <= ANSWER_BYTES_MAX
            });
            let fitting = fitting.count();
            answer.more |= fitting < answer.kvs.len();
            answer.kvs.truncate(fitting);
            answer
        } else {
            read_whole(state, request, ANSWER_BYTES_MAX)?
        };
        answer.revision = self.revision();
        Ok(answer)
    }
}

fn in_key_order(request: &RangeRequest) -> bool {
    let by_key = Sort { target: SortTarget::Key, order: SortOrder::Ascending };
    request.sort.is_none_or(|sort| sort == by_key)
}

/// A range that is answered whole or not at all. Both budgets are of the same size.
pub(super) fn read_whole(
    state: &State,
    request: &RangeRequest,
    left: usize,
) -> Result<RangeAnswer, OperationError> {
    const _: () = assert!(ANSWER_BYTES_MAX == TXN_ANSWER_BYTES_MAX);
    let too_large = OperationError::AnswerTooLarge { max: TXN_ANSWER_BYTES_MAX as u64 };
    let answer = select(state, request);
    if answer.kvs.iter().map(cost).sum::<usize>() > left {
        return Err(too_large);
    }
    if !request.count_only && !in_key_order(request) {
        // What must be held after each key that is seen has to fit as well.
        let by_value = request.sort.is_some_and(|sort| sort.target == SortTarget::Value);
        let seen = State::new();
        state.iter().try_fold(seen, |mut seen, (key, stored)| {
            seen.insert(key.clone(), stored.clone());
            let held = select(&seen, &RangeRequest { keys_only: !by_value, ..request.clone() });
            match held.kvs.iter().map(cost).sum::<usize>() <= left {
                true => Ok(seen),
                false => Err(too_large.clone()),
            }
        })?;
    }
    Ok(answer)
}

/// What a request asks for, whatever its size.
fn select(state: &State, request: &RangeRequest) -> RangeAnswer {
    let in_range: Vec<_> = state.iter().filter(|(key, _)| in_range(&request.range, key)).collect();
    let mut answer = RangeAnswer::default();
    if request.count_only || !request.skip_count {
        answer.count = in_range.len() as u64;
    }
    if request.count_only {
        return answer;
    }
    let mut pairs: Vec<_> =
        in_range.into_iter().map(|(key, stored)| pair_of(key, stored)).collect();
    pairs.retain(|pair| pair.mod_revision >= request.min_mod_revision);
    pairs.retain(|pair| pair.create_revision >= request.min_create_revision);
    if request.max_mod_revision > 0 {
        pairs.retain(|pair| pair.mod_revision <= request.max_mod_revision);
    }
    if request.max_create_revision > 0 {
        pairs.retain(|pair| pair.create_revision <= request.max_create_revision);
    }
    if let Some(sort) = request.sort {
        pairs.sort_by(|left, right| compare_by(sort, left, right));
    }
    if request.limit > 0 && pairs.len() as u64 > request.limit {
        answer.more = true;
        pairs.truncate(request.limit as usize);
    }
    if request.keys_only {
        for pair in &mut pairs {
            pair.value = Bytes::new();
        }
    }
    answer.kvs = pairs;
    answer
}

fn compare_by(sort: Sort, left: &KeyValue, right: &KeyValue) -> Ordering {
    let (left, right) = match sort.order {
        SortOrder::Ascending => (left, right),
        SortOrder::Descending => (right, left),
    };
    match sort.target {
        SortTarget::Key => left.key.cmp(&right.key),
        SortTarget::Version => left.version.cmp(&right.version),
        SortTarget::CreateRevision => left.create_revision.cmp(&right.create_revision),
        SortTarget::ModRevision => left.mod_revision.cmp(&right.mod_revision),
        SortTarget::Value => left.value.cmp(&right.value),
    }
}

/// Whether a compare holds in a state.
pub(super) fn holds(state: &State, compare: &Compare) -> bool {
    let in_range: Vec<_> =
        state.iter().filter(|(key, _)| in_range(&compare.range, key)).map(|(_, it)| it).collect();
    if in_range.is_empty() {
        let missing = Stored { created: 0, modified: 0, version: 0, lease: 0, value: Bytes::new() };
        return !matches!(compare.target, CompareTarget::Value(_)) && holds_for(&missing, compare);
    }
    in_range.into_iter().all(|stored| holds_for(stored, compare))
}

fn holds_for(stored: &Stored, compare: &Compare) -> bool {
    let ordering = match &compare.target {
        CompareTarget::Version(given) => stored.version.cmp(given),
        CompareTarget::CreateRevision(given) => stored.created.cmp(given),
        CompareTarget::ModRevision(given) => stored.modified.cmp(given),
        CompareTarget::Value(given) => stored.value.cmp(given),
        CompareTarget::Lease(given) => stored.lease.cmp(given),
    };
    match compare.operator {
        CompareOperator::Equal => ordering == Ordering::Equal,
        CompareOperator::NotEqual => ordering != Ordering::Equal,
        CompareOperator::Less => ordering == Ordering::Less,
        CompareOperator::Greater => ordering == Ordering::Greater,
    }
}
