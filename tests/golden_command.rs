//! The bytes of what lies in the log and in the state, pinned.
//!
//! A failure here means that a release would not read what the last one wrote. Fields and variants
//! are only appended; a change of meaning is a new `COMMAND_FORMAT_VERSION`.

#![cfg(feature = "server")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Debug;

use chainfire::machine::{KeptAnswer, Session, StoredAnswer};
use chainfire::types::command::CommandDecodeError;
use chainfire::types::{
    AccessAnswer, AccessError, AccessKey, AccessOperation, Answer, ClientId, Command,
    CompactAnswer, CompactRequest, Compare, CompareOperator, CompareTarget, DeleteRangeAnswer,
    DeleteRangeRequest, KeyRange, KeyValue, Operation, OperationAnswer, OperationError,
    PeerAddress, Permission, PermissionKind, Principal, PutAnswer, PutRequest, RangeAnswer,
    RangeRequest, RequestId, RequestName, SignedRequest, Sort, SortOrder, SortTarget, TxnAnswer,
    TxnOperation, TxnRequest,
};
use serde::{Serialize, de::DeserializeOwned};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares all before it fails, so that one run shows every difference.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn compare(&mut self, what: &str, bytes: &[u8], pinned: &str) {
        let found = hex(bytes);
        if found != pinned {
            self.0.push(format!("{what}\n  pinned {pinned}\n  found  {found}"));
        }
    }

    fn stored<T: Serialize + DeserializeOwned + PartialEq + Debug>(
        &mut self,
        value: &T,
        pinned: &str,
    ) {
        let bytes = postcard::to_stdvec(value).unwrap();
        self.compare(&format!("{value:?}"), &bytes, pinned);
        assert_eq!(postcard::from_bytes::<T>(&bytes).as_ref(), Ok(value));
    }
}

impl Drop for Differences {
    fn drop(&mut self) {
        assert!(self.0.is_empty(), "\n{}", self.0.join("\n"));
    }
}

fn command(operation: Operation) -> Command {
    Command {
        request_id: Some(RequestName::Session(RequestId {
            client: ClientId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
            sequence: 300,
            lowest_unanswered: 299,
            begun_ms: 5,
            window_ms: 10_000,
        })),
        principal: Principal("alice".to_owned()),
        auth_revision: 5,
        leader_time_ms: 1_000_000,
        operation,
    }
}

fn put() -> PutRequest {
    PutRequest {
        key: "key".into(),
        value: "value".into(),
        lease: -2,
        prev_kv: true,
        ignore_value: false,
        ignore_lease: true,
    }
}

fn delete() -> DeleteRangeRequest {
    DeleteRangeRequest { range: KeyRange::between("a", "b"), prev_kv: true }
}

fn range() -> RangeRequest {
    RangeRequest {
        range: KeyRange::from("k"),
        limit: 1,
        revision: 2,
        sort: Some(Sort { target: SortTarget::ModRevision, order: SortOrder::Descending }),
        keys_only: true,
        count_only: false,
        skip_count: true,
        serializable: false,
        min_mod_revision: 3,
        max_mod_revision: 4,
        min_create_revision: 5,
        max_create_revision: 6,
    }
}

fn txn() -> TxnRequest {
    let targets = [
        CompareTarget::Version(1),
        CompareTarget::CreateRevision(2),
        CompareTarget::ModRevision(3),
        CompareTarget::Value("v".into()),
        CompareTarget::Lease(-1),
    ];
    let operators = [
        CompareOperator::Equal,
        CompareOperator::NotEqual,
        CompareOperator::Less,
        CompareOperator::Greater,
        CompareOperator::Equal,
    ];
    let compares = targets
        .into_iter()
        .zip(operators)
        .map(|(target, operator)| Compare { range: KeyRange::single("c"), target, operator })
        .collect();
    TxnRequest {
        compares,
        success: vec![TxnOperation::Range(range()), TxnOperation::Put(put())],
        failure: vec![
            TxnOperation::DeleteRange(delete()),
            TxnOperation::Txn(TxnRequest::default()),
        ],
    }
}

#[test]
fn commands_are_encoded_as_pinned() {
    let cases = [
        (
            Operation::Put(put()),
            concat!(
                "010100909eb8e8c0e1828589909cb0d080c1818202ac02ab0205904e05616c69636505c0843d0003",
                "6b65790576616c756503010001"
            ),
        ),
        (
            Operation::DeleteRange(delete()),
            concat!(
                "010100909eb8e8c0e1828589909cb0d080c1818202ac02ab0205904e05616c69636505c0843d0101",
                "61016201"
            ),
        ),
        (
            Operation::Txn(txn()),
            concat!(
                "010100909eb8e8c0e1828589909cb0d080c1818202ac02ab0205904e05616c69636505c0843d0205",
                "016300000100016300010201016300020302016300030176030163000401000200016b01",
                "000102010301010001000304050601036b65790576616c75650301000102020161016201",
                "03000000"
            ),
        ),
        (
            Operation::Compact(CompactRequest { revision: 128 }),
            concat!(
                "010100909eb8e8c0e1828589909cb0d080c1818202ac02ab0205904e05616c69636505c0843d0380",
                "01"
            ),
        ),
        (
            Operation::RegisterMember {
                node_id: 3,
                address: PeerAddress { name: "n3".to_owned(), peer_addr: "h:4602".to_owned() },
                client_addr: "h:4601".to_owned(),
            },
            concat!(
                "010100909eb8e8c0e1828589909cb0d080c1818202ac02ab0205904e05616c69636505c0843d0403",
                "026e3306683a3436303206683a34363031"
            ),
        ),
        (
            Operation::ContinueDelete { revision: 300, keys: 7 },
            concat!(
                "010100909eb8e8c0e1828589909cb0d080c1818202ac02ab0205904e05616c69636505c0843d07ac",
                "0207"
            ),
        ),
    ];
    let access = access_operations().map(|(operation, pinned)| {
        let head = "010100909eb8e8c0e1828589909cb0d080c1818202ac02ab0205904e05616c69636505c0843d05";
        (Operation::Access(operation), format!("{head}{pinned}"))
    });
    let cases = cases.map(|(operation, pinned)| (operation, pinned.to_owned()));
    let mut differences = Differences::default();
    for (operation, pinned) in cases.into_iter().chain(access) {
        let command = command(operation);
        let bytes = command.encode();
        differences.compare(&format!("{:?}", command.operation), &bytes, &pinned);
        assert_eq!(Command::decode(&bytes), Ok(command));
    }
    let signed = SignedRequest { signature: [7; 32], dated_seconds: 300, window_ms: 900 };
    let signed = Command {
        request_id: Some(signed.into()),
        ..command(Operation::Compact(CompactRequest { revision: 1 }))
    };
    let pinned = format!("010101{}ac02840705616c69636505c0843d0301", "07".repeat(32));
    differences.compare("by its signature", &signed.encode(), &pinned);
    assert_eq!(Command::decode(&signed.encode()), Ok(signed));
    let own = Command { request_id: None, ..command(Operation::Put(PutRequest::default())) };
    differences.compare(
        "without a request id",
        &own.encode(),
        "010005616c69636505c0843d00000000000000",
    );
    assert_eq!(Command::decode(&own.encode()), Ok(own));
}

fn access_operations() -> [(AccessOperation, &'static str); 13] {
    let text = |text: &str| text.to_owned();
    let key = AccessKey {
        id: text("K"),
        user: text("u"),
        version: 300,
        active: true,
        sealed_secret: (&[9, 8][..]).into(),
    };
    let range = KeyRange::between("a", "b");
    let permission = Permission { kind: PermissionKind::Write, range: range.clone() };
    [
        (AccessOperation::Bootstrap(key.clone()), "00014b0175ac0201020908"),
        (AccessOperation::AddUser { name: text("u") }, "010175"),
        (AccessOperation::RemoveUser { name: text("u") }, "020175"),
        (AccessOperation::SetUserActive { name: text("u"), active: true }, "03017501"),
        (AccessOperation::GrantRole { user: text("u"), role: text("r") }, "0401750172"),
        (AccessOperation::RevokeRole { user: text("u"), role: text("r") }, "0501750172"),
        (AccessOperation::AddRole { name: text("r") }, "060172"),
        (AccessOperation::RemoveRole { name: text("r") }, "070172"),
        (AccessOperation::GrantPermission { role: text("r"), permission }, "0801720101610162"),
        (AccessOperation::RevokePermission { role: text("r"), range }, "09017201610162"),
        (AccessOperation::CreateKey(key), "0a014b0175ac0201020908"),
        (AccessOperation::SetKeyActive { id: text("K"), active: false }, "0b014b00"),
        (AccessOperation::RemoveKey { id: text("K") }, "0c014b"),
    ]
}

#[test]
fn what_is_not_a_command_is_named() {
    let bytes = command(Operation::Put(put())).encode();
    assert_eq!(Command::decode(&[]), Err(CommandDecodeError::Empty));
    let mut newer = bytes.to_vec();
    newer[0] = 2;
    assert_eq!(Command::decode(&newer), Err(CommandDecodeError::NewerFormat { found: 2 }));
    for length in 1..bytes.len() {
        let refused = Command::decode(&bytes[..length]);
        assert_eq!(refused, Err(CommandDecodeError::Malformed), "{length} bytes");
    }
    let trailing = [&bytes[..], &[0]].concat();
    assert_eq!(Command::decode(&trailing), Err(CommandDecodeError::Malformed));
}

#[test]
fn sort_targets_and_orders_are_encoded_as_pinned() {
    let mut differences = Differences::default();
    for (target, pinned) in [
        (SortTarget::Key, "00"),
        (SortTarget::Version, "01"),
        (SortTarget::CreateRevision, "02"),
        (SortTarget::ModRevision, "03"),
        (SortTarget::Value, "04"),
    ] {
        differences.stored(&target, pinned);
    }
    differences.stored(&SortOrder::Ascending, "00");
    differences.stored(&SortOrder::Descending, "01");
}

fn pair() -> KeyValue {
    KeyValue {
        key: "k".into(),
        value: "v".into(),
        create_revision: 2,
        mod_revision: 300,
        version: 4,
        lease: -5,
    }
}

fn answers() -> [(Answer, &'static str); 8] {
    let put = PutAnswer { revision: 300, prev_kv: Some(pair()) };
    let delete = DeleteRangeAnswer { revision: 301, deleted: 1, prev_kvs: vec![pair()] };
    let range = RangeAnswer { revision: 302, kvs: vec![pair()], more: true, count: 9 };
    let nested = TxnAnswer { revision: 303, succeeded: false, answers: vec![] };
    let txn = TxnAnswer {
        revision: 303,
        succeeded: true,
        answers: vec![
            OperationAnswer::Range(range),
            OperationAnswer::Put(PutAnswer { revision: 303, prev_kv: None }),
            OperationAnswer::DeleteRange(delete.clone()),
            OperationAnswer::Txn(nested),
        ],
    };
    [
        (Answer::Put(put), "0000ac0201016b017602ac020409"),
        (Answer::DeleteRange(delete), "0001ad020101016b017602ac020409"),
        (
            Answer::Txn(txn),
            concat!(
                "0002af02010400ae0201016b017602ac020409010901af020002ad020101016b017602ac",
                "02040903af020000"
            ),
        ),
        (Answer::Compact(CompactAnswer { revision: 304 }), "0003b002"),
        (Answer::RegisterMember, "0004"),
        (Answer::DeleteStaged { revision: 300 }, "0007ac02"),
        (Answer::DeleteContinued { done: true }, "000801"),
        (
            Answer::Access(AccessAnswer { auth_revision: 300, key_id: "K".to_owned() }),
            "0005ac02014b",
        ),
    ]
}

#[test]
fn stored_answers_are_encoded_as_pinned() {
    let mut differences = Differences::default();
    for (answer, pinned) in answers() {
        differences.stored::<StoredAnswer>(&Ok(answer), pinned);
    }
}

#[test]
fn stored_refusals_are_encoded_as_pinned() {
    let refusals = [
        (OperationError::FutureRevision { requested: 3, current: 2 }, "01000302"),
        (OperationError::Compacted { requested: 3, compact_revision: 4 }, "01010304"),
        (OperationError::KeyNotFound, "0102"),
        (OperationError::LeaseNotFound { lease: -7 }, "01030d"),
        (OperationError::DuplicateKey, "0104"),
        (OperationError::EmptyKey, "0105"),
        (OperationError::KeyTooLong { bytes: 1_025, max: 1_024 }, "010681088008"),
        (OperationError::RequestTooLarge { bytes: 9, max: 8 }, "01070908"),
        (OperationError::TooManyOperations { operations: 129, max: 128 }, "010881018001"),
        (OperationError::NestedTooDeep { max: 8 }, "010908"),
        (OperationError::AnswerTooLarge { max: 300 }, "010aac02"),
        (OperationError::IgnoredFieldGiven, "010b"),
        (OperationError::SessionExpired { now_ms: 300 }, "010cac02"),
        (OperationError::TooManyInFlight { max: 4_096 }, "010d8020"),
        (OperationError::InvalidMember { reason: "why".to_owned() }, "010e03776879"),
        (OperationError::NotReadOnly, "010f"),
        (OperationError::TooManyKeysVisited { max: 300 }, "0114ac02"),
        (OperationError::TooManyDeletes { max: 16 }, "011510"),
        (OperationError::DeleteUnderWay { revision: 300 }, "0116ac02"),
        (OperationError::PermissionDenied { reason: "why".to_owned() }, "011103776879"),
        (OperationError::RequestIdReused, "0117"),
        (OperationError::TooManySessions { max: 300, retry_after_ms: 7 }, "0118ac0207"),
        (OperationError::TooManyAnswersKept { max_bytes: 300 }, "0119ac02"),
        (OperationError::AnswerNotKept { revision: 300 }, "011aac02"),
        (
            OperationError::RequestExpired { dated_seconds: 300, through_seconds: 301 },
            "011cac02ad02",
        ),
        (OperationError::TooManySignatures { max: 300, retry_after_ms: 7 }, "011dac0207"),
    ];
    let text = |text: &str| text.to_owned();
    let access = [
        (AccessError::UserNotFound { name: text("u") }, "000175"),
        (AccessError::UserExists { name: text("u") }, "010175"),
        (AccessError::RoleNotFound { name: text("r") }, "020172"),
        (AccessError::RoleExists { name: text("r") }, "030172"),
        (AccessError::RootRole, "04"),
        (AccessError::RoleNotGranted { user: text("u"), role: text("r") }, "0501750172"),
        (AccessError::PermissionNotGranted { role: text("r") }, "060172"),
        (AccessError::KeyNotFound { id: text("K") }, "07014b"),
        (AccessError::KeyExists { id: text("K") }, "08014b"),
        (AccessError::TooManyKeys { user: text("u"), max: 2 }, "09017502"),
        (AccessError::LastAdministrator, "0a"),
        (AccessError::TooMany { what: text("x"), max: 300 }, "0b0178ac02"),
        (AccessError::Invalid { what: text("x") }, "0c0178"),
    ];
    let access = access.map(|(error, pinned)| (error.into(), format!("0110{pinned}")));
    let refusals = refusals.map(|(refusal, pinned)| (refusal, pinned.to_owned()));
    let mut differences = Differences::default();
    for (refusal, pinned) in refusals.into_iter().chain(access) {
        differences.stored::<StoredAnswer>(&Err(refusal), &pinned);
    }
}

#[test]
fn sessions_are_encoded_as_pinned() {
    let put = Answer::Put(PutAnswer { revision: 300, prev_kv: None });
    let kept = |answer| KeptAnswer { fingerprint: 128, answer };
    let session = Session {
        owner: Principal("ann".to_owned()),
        last_active_ms: 1_000_000,
        window_ms: 300,
        lowest_unanswered: 7,
        answers: BTreeMap::from([
            (7, kept(Ok(put))),
            (300, kept(Err(OperationError::KeyNotFound))),
        ]),
    };
    let mut differences = Differences::default();
    differences.stored(&session, "03616e6ec0843dac0207020780010000ac0200ac0280010102");
    differences.stored(&Session::default(), "0000000000");
}
