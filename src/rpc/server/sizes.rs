//! About how many bytes requests and answers have in memory and on the wire.

use crate::types::limits::PAIR_OVERHEAD_BYTES;
use crate::types::{
    AccessReply, Answer, ClusterReply, Compare, CompareTarget, KeyRange, KeyValue, LogEntry,
    LogEntryPayload, Operation, OperationAnswer, PutRequest, RangeAnswer, TxnAnswer, TxnOperation,
    TxnRequest,
};

/// What a message has beside its keys and values: ids, flags, lengths.
pub(super) const MESSAGE_BYTES: usize = 256;

/// What one join has: a name, two addresses, a reason, numbers.
const JOIN_BYTES: usize = 2 * 1_024;

/// What one operation or compare has beside its keys and values.
const PART_BYTES: usize = 64;

fn range_bytes(range: &KeyRange) -> usize {
    range.key.len() + range.range_end.len() + PART_BYTES
}

fn put_bytes(put: &PutRequest) -> usize {
    put.key.len() + put.value.len() + PART_BYTES
}

fn compare_bytes(compare: &Compare) -> usize {
    let value = match &compare.target {
        CompareTarget::Value(value) => value.len(),
        _ => 0,
    };
    range_bytes(&compare.range) + value
}

/// A change of users, roles or keys: a few names, or a permission's range.
pub(super) const ACCESS_BYTES: usize = 4 * 1_024;

/// The bytes of a transaction.
pub(super) fn txn_bytes(txn: &TxnRequest) -> usize {
    let compares: usize = txn.compares.iter().map(compare_bytes).sum();
    let operations = txn.success.iter().chain(&txn.failure).map(|operation| match operation {
        TxnOperation::Range(range) => range_bytes(&range.range),
        TxnOperation::Put(put) => put_bytes(put),
        TxnOperation::DeleteRange(delete) => range_bytes(&delete.range),
        TxnOperation::Txn(nested) => txn_bytes(nested),
    });
    PART_BYTES + compares + operations.sum::<usize>()
}

/// The bytes of an operation.
pub(super) fn operation_bytes(operation: &Operation) -> usize {
    match operation {
        Operation::Put(put) => put_bytes(put),
        Operation::DeleteRange(delete) => range_bytes(&delete.range),
        Operation::Txn(txn) => txn_bytes(txn),
        Operation::Compact(_) | Operation::ContinueDelete { .. } => PART_BYTES,
        Operation::RegisterMember { address, client_addr, .. } => {
            address.name.len() + address.peer_addr.len() + client_addr.len() + PART_BYTES
        }
        Operation::Access(_) => ACCESS_BYTES,
        // Names and addresses; all of them are bounded.
        Operation::Cluster(_) => MESSAGE_BYTES + PART_BYTES,
    }
}

/// The bytes of a log entry.
pub(super) fn entry_bytes(entry: &LogEntry) -> usize {
    PART_BYTES
        + match &entry.payload {
            LogEntryPayload::Command(command) => command.len(),
            LogEntryPayload::Blank => 0,
            LogEntryPayload::Membership(membership) => {
                membership.nodes.len() * (PART_BYTES + MESSAGE_BYTES)
            }
        }
}

fn pairs_bytes<'pair>(pairs: impl IntoIterator<Item = &'pair KeyValue>) -> usize {
    pairs.into_iter().map(|pair| pair.key.len() + pair.value.len() + PAIR_OVERHEAD_BYTES).sum()
}

/// The bytes of a range's answer.
pub(super) fn range_answer_bytes(answer: &RangeAnswer) -> usize {
    PART_BYTES + pairs_bytes(&answer.kvs)
}

/// The bytes of a transaction's answer.
pub(super) fn txn_answer_bytes(answer: &TxnAnswer) -> usize {
    let answers = answer.answers.iter().map(|answer| match answer {
        OperationAnswer::Range(range) => range_answer_bytes(range),
        OperationAnswer::Put(put) => PART_BYTES + pairs_bytes(&put.prev_kv),
        OperationAnswer::DeleteRange(delete) => PART_BYTES + pairs_bytes(&delete.prev_kvs),
        OperationAnswer::Txn(txn) => txn_answer_bytes(txn),
    });
    PART_BYTES + answers.sum::<usize>()
}

/// The bytes of an operation's answer.
pub(super) fn answer_bytes(answer: &Answer) -> usize {
    match answer {
        Answer::Put(put) => PART_BYTES + pairs_bytes(&put.prev_kv),
        Answer::DeleteRange(delete) => PART_BYTES + pairs_bytes(&delete.prev_kvs),
        Answer::Txn(txn) => txn_answer_bytes(txn),
        Answer::Access(_) => ACCESS_BYTES,
        Answer::Again(first) => PART_BYTES + first.as_ref().as_ref().map_or(0, answer_bytes),
        Answer::Compact(_)
        | Answer::RegisterMember
        | Answer::Cluster(_)
        | Answer::DeleteStaged { .. }
        | Answer::DeleteContinued { .. } => PART_BYTES,
    }
}

/// The bytes of an answer about users, roles and keys. Seldom asked for: encoded to be measured.
pub(super) fn access_reply_bytes(reply: &AccessReply) -> usize {
    postcard::to_stdvec(reply).map_or(0, |encoded| encoded.len())
}

/// The bytes of an answer about members.
pub(super) fn cluster_reply_bytes(reply: &ClusterReply) -> usize {
    match reply {
        ClusterReply::Joins(joins) => MESSAGE_BYTES + joins.len() * JOIN_BYTES,
        _ => MESSAGE_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(bytes: usize) -> KeyValue {
        KeyValue {
            key: vec![b'k'; bytes].into(),
            value: vec![b'v'; bytes].into(),
            create_revision: u64::MAX,
            mod_revision: u64::MAX,
            version: u64::MAX,
            lease: i64::MIN,
        }
    }

    fn put(bytes: usize) -> PutRequest {
        PutRequest {
            key: vec![b'k'; bytes].into(),
            value: vec![b'v'; bytes].into(),
            lease: i64::MIN,
            ..PutRequest::default()
        }
    }

    #[test]
    fn an_estimate_is_no_less_than_what_travels() {
        for bytes in [1, 200, 20_000] {
            let txn = TxnRequest {
                compares: vec![Compare {
                    range: KeyRange::single(vec![b'k'; bytes]),
                    target: CompareTarget::Value(vec![b'v'; bytes].into()),
                    operator: crate::types::CompareOperator::Equal,
                }],
                success: vec![TxnOperation::Put(put(bytes))],
                failure: vec![TxnOperation::Txn(TxnRequest {
                    success: vec![TxnOperation::Put(put(bytes))],
                    ..TxnRequest::default()
                })],
            };
            for operation in [Operation::Put(put(bytes)), Operation::Txn(txn)] {
                let travels = postcard::to_stdvec(&operation).expect("encodable").len();
                assert!(operation_bytes(&operation) >= travels, "{operation:?}");
            }
            let range = RangeAnswer { kvs: vec![pair(bytes); 10], ..RangeAnswer::default() };
            let travels = postcard::to_stdvec(&range).expect("encodable").len();
            assert!(range_answer_bytes(&range) >= travels);
            let answers = vec![OperationAnswer::Range(range)];
            let txn = TxnAnswer { revision: u64::MAX, succeeded: true, answers };
            let travels = postcard::to_stdvec(&txn).expect("encodable").len();
            assert!(answer_bytes(&Answer::Txn(txn)) >= travels);
        }
    }
}
