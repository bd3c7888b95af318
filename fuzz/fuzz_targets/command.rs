//! A command in the log: what decodes encodes to the same command.
#![no_main]

use chainfire::types::{
    ClientId, Command, Compare, CompareOperator, CompareTarget, KeyRange, Operation, Principal,
    PutRequest, RangeRequest, RequestId, TxnOperation, TxnRequest,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: chainfire_fuzz::plant(seeds()),
    |bytes: &[u8]| {
        if let Ok(command) = Command::decode(bytes) {
            assert_eq!(Command::decode(&command.encode()).as_ref(), Ok(&command));
        }
    }
);

fn seeds() -> Vec<Vec<u8>> {
    let put = PutRequest { key: "key".into(), value: "value".into(), ..Default::default() };
    let compare = Compare {
        range: KeyRange::prefix("k"),
        target: CompareTarget::Value("v".into()),
        operator: CompareOperator::NotEqual,
    };
    let inner = TxnRequest {
        compares: vec![compare],
        success: vec![TxnOperation::Put(put.clone())],
        failure: vec![TxnOperation::Range(RangeRequest::new(KeyRange::all()))],
    };
    let txn = TxnRequest { success: vec![TxnOperation::Txn(inner)], ..Default::default() };
    let client = ClientId(1);
    let request_id =
        RequestId { client, sequence: 2, lowest_unanswered: 1, begun_ms: 3, window_ms: 4 };
    let command = |operation| Command {
        request_id: Some(request_id.into()),
        principal: Principal("somebody".into()),
        auth_revision: 0,
        leader_time_ms: 1_000_000,
        operation,
    };
    [Operation::Put(put), Operation::Txn(txn)].map(|o| command(o).encode().to_vec()).into()
}
