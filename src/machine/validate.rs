//! What can be refused without looking at the state: lengths, counts, nesting, keys changed twice.
//!
//! The door checks so that nonsense never enters the log; [`apply`](super::apply()) checks again,
//! because what is in the log was let in by whoever led then.

use crate::types::limits::{
    KEY_BYTES_MAX, REQUEST_BYTES_MAX, TXN_DEPTH_MAX, TXN_OPERATIONS_MAX, TXN_TOTAL_MAX,
};
use crate::types::{
    Compare, CompareTarget, DeleteRangeRequest, KeyRange, Operation, OperationError, PutRequest,
    RangeRequest, TxnOperation, TxnRequest,
};

use super::access;
use super::duplicate::refuse_duplicate_keys;
use super::member::validate_member;
use super::roster::validate_cluster;

/// The bound of an interval may be one byte longer than a key: the first key after the longest
/// one, from where a range is read on.
const BOUND_BYTES_MAX: usize = KEY_BYTES_MAX + 1;

/// Checks what a command asks for.
pub fn validate(operation: &Operation) -> Result<(), OperationError> {
    match operation {
        Operation::Put(request) => {
            validate_put(request)?;
            validate_size(put_bytes(request))
        }
        Operation::DeleteRange(request) => validate_key_range(&request.range),
        Operation::Txn(request) => validate_txn(request),
        Operation::Compact(_) | Operation::ContinueDelete { .. } => Ok(()),
        Operation::RegisterMember { address, client_addr, .. } => {
            validate_member(address, client_addr)
        }
        Operation::Access(operation) => Ok(access::validate(operation)?),
        Operation::Cluster(operation) => validate_cluster(operation),
    }
}

/// Checks a read of a range.
pub fn validate_range(request: &RangeRequest) -> Result<(), OperationError> {
    validate_key_range(&request.range)
}

/// Checks a transaction: both branches, whichever will be taken.
pub fn validate_txn(request: &TxnRequest) -> Result<(), OperationError> {
    let mut totals = Totals::default();
    totals.add_txn(request, 1)?;
    validate_size(totals.bytes)?;
    refuse_duplicate_keys(request)
}

/// What a transaction amounts to with everything nested in it.
#[derive(Default)]
struct Totals {
    operations: usize,
    bytes: usize,
}

impl Totals {
    fn add_txn(&mut self, request: &TxnRequest, depth: usize) -> Result<(), OperationError> {
        if depth > TXN_DEPTH_MAX {
            return Err(OperationError::NestedTooDeep { max: TXN_DEPTH_MAX as u64 });
        }
        for length in [request.compares.len(), request.success.len(), request.failure.len()] {
            refuse_more_operations(length, TXN_OPERATIONS_MAX)?;
            self.operations += length;
        }
        refuse_more_operations(self.operations, TXN_TOTAL_MAX)?;
        for compare in &request.compares {
            validate_key_range(&compare.range)?;
            self.bytes += compare_bytes(compare);
        }
        for operation in request.success.iter().chain(&request.failure) {
            self.add_operation(operation, depth)?;
        }
        Ok(())
    }

    fn add_operation(
        &mut self,
        operation: &TxnOperation,
        depth: usize,
    ) -> Result<(), OperationError> {
        match operation {
            TxnOperation::Range(RangeRequest { range, .. })
            | TxnOperation::DeleteRange(DeleteRangeRequest { range, .. }) => {
                validate_key_range(range)?;
                self.bytes += range_bytes(range);
            }
            TxnOperation::Put(request) => {
                validate_put(request)?;
                self.bytes += put_bytes(request);
            }
            TxnOperation::Txn(nested) => self.add_txn(nested, depth + 1)?,
        }
        Ok(())
    }
}

fn refuse_more_operations(operations: usize, max: usize) -> Result<(), OperationError> {
    if operations > max {
        let (operations, max) = (operations as u64, max as u64);
        return Err(OperationError::TooManyOperations { operations, max });
    }
    Ok(())
}

fn validate_put(request: &PutRequest) -> Result<(), OperationError> {
    validate_key(&request.key, KEY_BYTES_MAX)?;
    let ignored_value_given = request.ignore_value && !request.value.is_empty();
    let ignored_lease_given = request.ignore_lease && request.lease != 0;
    if ignored_value_given || ignored_lease_given {
        return Err(OperationError::IgnoredFieldGiven);
    }
    Ok(())
}

pub(super) fn validate_key_range(range: &KeyRange) -> Result<(), OperationError> {
    if range.is_single() {
        return validate_key(&range.key, KEY_BYTES_MAX);
    }
    validate_key(&range.key, BOUND_BYTES_MAX)?;
    validate_key(&range.range_end, BOUND_BYTES_MAX)
}

fn validate_key(key: &[u8], bytes_max: usize) -> Result<(), OperationError> {
    if key.is_empty() {
        return Err(OperationError::EmptyKey);
    }
    if key.len() > bytes_max {
        let (bytes, max) = (key.len() as u64, bytes_max as u64);
        return Err(OperationError::KeyTooLong { bytes, max });
    }
    Ok(())
}

fn validate_size(bytes: usize) -> Result<(), OperationError> {
    if bytes > REQUEST_BYTES_MAX {
        let (bytes, max) = (bytes as u64, REQUEST_BYTES_MAX as u64);
        return Err(OperationError::RequestTooLarge { bytes, max });
    }
    Ok(())
}

fn range_bytes(range: &KeyRange) -> usize {
    range.key.len() + range.range_end.len()
}

fn put_bytes(request: &PutRequest) -> usize {
    request.key.len() + request.value.len()
}

fn compare_bytes(compare: &Compare) -> usize {
    let given = match &compare.target {
        CompareTarget::Value(value) => value.len(),
        CompareTarget::Version(_)
        | CompareTarget::CreateRevision(_)
        | CompareTarget::ModRevision(_)
        | CompareTarget::Lease(_) => 0,
    };
    range_bytes(&compare.range) + given
}
