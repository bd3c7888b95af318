//! Short ways to write requests.

use bytes::Bytes;
use chainfire::types::{
    ClientId, Command, CompactRequest, Compare, CompareOperator, CompareTarget, DeleteRangeRequest,
    KeyRange, Operation, Principal, PutRequest, RangeRequest, RequestId, Sort, SortOrder,
    SortTarget, TxnOperation, TxnRequest,
};

pub(crate) fn put_request(key: impl Into<Bytes>, value: impl Into<Bytes>) -> PutRequest {
    PutRequest { key: key.into(), value: value.into(), ..PutRequest::default() }
}

pub(crate) fn put(key: &'static str, value: &'static str) -> Operation {
    Operation::Put(put_request(key, value))
}

pub(crate) fn delete(range: KeyRange) -> Operation {
    Operation::DeleteRange(DeleteRangeRequest { range, prev_kv: false })
}

pub(crate) fn compact(revision: u64) -> Operation {
    Operation::Compact(CompactRequest { revision })
}

pub(crate) fn txn_put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> TxnOperation {
    TxnOperation::Put(put_request(key, value))
}

pub(crate) fn txn_range(range: KeyRange) -> TxnOperation {
    TxnOperation::Range(RangeRequest::new(range))
}

pub(crate) fn txn_delete(range: KeyRange) -> TxnOperation {
    TxnOperation::DeleteRange(DeleteRangeRequest { range, prev_kv: false })
}

/// A transaction without compares: its operations are all done.
pub(crate) fn all_of(operations: Vec<TxnOperation>) -> TxnRequest {
    TxnRequest { success: operations, ..TxnRequest::default() }
}

pub(crate) fn compare(
    range: KeyRange,
    target: CompareTarget,
    operator: CompareOperator,
) -> Compare {
    Compare { range, target, operator }
}

pub(crate) fn sorted(range: KeyRange, target: SortTarget, order: SortOrder) -> RangeRequest {
    RangeRequest { sort: Some(Sort { target, order }), ..RangeRequest::new(range) }
}

pub(crate) fn at_revision(range: KeyRange, revision: u64) -> RangeRequest {
    RangeRequest { revision, ..RangeRequest::new(range) }
}

/// A command of the client numbered `client`.
pub(crate) fn command(
    client: u128,
    sequence: u64,
    lowest_unanswered: u64,
    leader_time_ms: u64,
    operation: Operation,
) -> Command {
    let (begun_ms, window_ms) = (0, 0);
    let client = ClientId(client);
    let request_id = RequestId { client, sequence, lowest_unanswered, begun_ms, window_ms };
    Command {
        request_id: Some(request_id.into()),
        principal: Principal(String::from("test")),
        auth_revision: 0,
        leader_time_ms,
        operation,
    }
}
