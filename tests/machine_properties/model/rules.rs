//! What is refused whatever the state.

use bytes::Bytes;
use chainfire::types::{
    CompareTarget, KeyRange, Operation, OperationError, PutRequest, TxnOperation, TxnRequest,
};

use super::reads::in_range;

type Checked = Result<(), OperationError>;

const REQUEST_BYTES: usize = 1_572_864;

pub(super) fn check(operation: &Operation) -> Checked {
    match operation {
        Operation::Put(request) => {
            check_put(request)?;
            check_bytes(request.key.len() + request.value.len())
        }
        Operation::DeleteRange(request) => check_range(&request.range),
        Operation::Txn(request) => {
            let mut sums = (0, 0);
            check_txn(request, 1, &mut sums)?;
            check_bytes(sums.1)?;
            let mut writes = Vec::new();
            collect_writes(request, &mut Vec::new(), &mut writes);
            check_duplicates(&writes)
        }
        Operation::Compact(_)
        | Operation::RegisterMember { .. }
        | Operation::ContinueDelete { .. }
        | Operation::Access(_)
        | Operation::Cluster(_) => Ok(()),
    }
}

fn check_bytes(bytes: usize) -> Checked {
    if bytes > REQUEST_BYTES {
        let (bytes, max) = (bytes as u64, REQUEST_BYTES as u64);
        return Err(OperationError::RequestTooLarge { bytes, max });
    }
    Ok(())
}

fn check_key(key: &Bytes, max: u64) -> Checked {
    match key.len() as u64 {
        0 => Err(OperationError::EmptyKey),
        bytes if bytes > max => Err(OperationError::KeyTooLong { bytes, max }),
        _ => Ok(()),
    }
}

fn check_put(request: &PutRequest) -> Checked {
    check_key(&request.key, 1_024)?;
    let value_given = request.ignore_value && !request.value.is_empty();
    let lease_given = request.ignore_lease && request.lease != 0;
    if value_given || lease_given { Err(OperationError::IgnoredFieldGiven) } else { Ok(()) }
}

pub(super) fn check_range(range: &KeyRange) -> Checked {
    if range.range_end.is_empty() {
        return check_key(&range.key, 1_024);
    }
    check_key(&range.key, 1_025)?;
    check_key(&range.range_end, 1_025)
}

/// `sums`: operations and bytes so far.
fn check_txn(request: &TxnRequest, depth: usize, sums: &mut (usize, usize)) -> Checked {
    if depth > 8 {
        return Err(OperationError::NestedTooDeep { max: 8 });
    }
    for length in [request.compares.len(), request.success.len(), request.failure.len()] {
        if length > 128 {
            let operations = length as u64;
            return Err(OperationError::TooManyOperations { operations, max: 128 });
        }
        sums.0 += length;
    }
    if sums.0 > 1_536 {
        let operations = sums.0 as u64;
        return Err(OperationError::TooManyOperations { operations, max: 1_536 });
    }
    for compare in &request.compares {
        check_range(&compare.range)?;
        sums.1 += compare.range.key.len() + compare.range.range_end.len();
        if let CompareTarget::Value(value) = &compare.target {
            sums.1 += value.len();
        }
    }
    for operation in request.success.iter().chain(&request.failure) {
        match operation {
            TxnOperation::Range(request) => {
                check_range(&request.range)?;
                sums.1 += request.range.key.len() + request.range.range_end.len();
            }
            TxnOperation::DeleteRange(request) => {
                check_range(&request.range)?;
                sums.1 += request.range.key.len() + request.range.range_end.len();
            }
            TxnOperation::Put(request) => {
                check_put(request)?;
                sums.1 += request.key.len() + request.value.len();
            }
            TxnOperation::Txn(nested) => check_txn(nested, depth + 1, sums)?,
        }
    }
    Ok(())
}

/// Which branch of which transaction: the transaction by its address, the branch by a flag.
type Branch = (*const TxnRequest, bool);

/// One write and the branches it lies in.
struct Write {
    branches: Vec<Branch>,
    what: What,
}

enum What {
    Put(Bytes),
    Delete(KeyRange),
}

fn collect_writes(request: &TxnRequest, branches: &mut Vec<Branch>, writes: &mut Vec<Write>) {
    for (taken, operations) in [(true, &request.success), (false, &request.failure)] {
        branches.push((std::ptr::from_ref(request), taken));
        for operation in operations {
            let what = match operation {
                TxnOperation::Range(_) => continue,
                TxnOperation::Put(request) => What::Put(request.key.clone()),
                TxnOperation::DeleteRange(request) => What::Delete(request.range.clone()),
                TxnOperation::Txn(nested) => {
                    collect_writes(nested, branches, writes);
                    continue;
                }
            };
            writes.push(Write { branches: branches.clone(), what });
        }
        branches.pop();
    }
}

/// Compares every write with every other one that can happen together with it.
fn check_duplicates(writes: &[Write]) -> Checked {
    for (index, left) in writes.iter().enumerate() {
        for right in &writes[index + 1..] {
            let exclude_each_other = left
                .branches
                .iter()
                .any(|(transaction, taken)| right.branches.contains(&(*transaction, !taken)));
            let meet = match (&left.what, &right.what) {
                (What::Put(left), What::Put(right)) => left == right,
                (What::Put(key), What::Delete(range)) | (What::Delete(range), What::Put(key)) => {
                    in_range(range, key)
                }
                (What::Delete(_), What::Delete(_)) => false,
            };
            if meet && !exclude_each_other {
                return Err(OperationError::DuplicateKey);
            }
        }
    }
    Ok(())
}

pub(super) fn only_reads(request: &TxnRequest) -> bool {
    let mut writes = Vec::new();
    collect_writes(request, &mut Vec::new(), &mut writes);
    writes.is_empty()
}
