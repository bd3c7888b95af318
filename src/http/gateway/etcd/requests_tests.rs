//! What is written means what etcd's gateway makes of it.

use super::*;

fn range(text: &str) -> Result<RangeRequest, String> {
    read::<RangeJson>(text.as_bytes()).map(RangeRequest::from).map_err(|p| format!("{p:?}"))
}

fn txn(text: &str) -> Result<TxnRequest, String> {
    let json = read::<TxnJson>(text.as_bytes()).map_err(|p| format!("{p:?}"))?;
    TxnRequest::try_from(json).map_err(|p| format!("{p:?}"))
}

#[test]
fn a_range_in_either_spelling() {
    let expected = RangeRequest {
        limit: 5,
        revision: 7,
        keys_only: true,
        serializable: true,
        max_create_revision: 9,
        sort: Some(Sort { target: SortTarget::ModRevision, order: SortOrder::Descending }),
        ..RangeRequest::new(KeyRange::between("a", "b"))
    };
    for text in [
        r#"{"key":"YQ==","range_end":"Yg==","limit":"5","revision":7,"sort_order":"DESCEND",
            "sort_target":"MOD","keys_only":true,"serializable":true,"max_create_revision":"9",
            "count_only":false,"min_mod_revision":null}"#,
        r#"{"key":"YQ==","rangeEnd":"Yg==","limit":5,"revision":"7","sortOrder":2,"sortTarget":3,
            "keysOnly":true,"serializable":true,"maxCreateRevision":9}"#,
    ] {
        assert_eq!(range(text), Ok(expected.clone()));
    }
    assert_eq!(range(""), range("{}"));
    let by_value = range(r#"{"sort_target":"VALUE"}"#).expect("a range").sort;
    assert_eq!(by_value, Some(Sort { target: SortTarget::Value, order: SortOrder::Ascending }));
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    for (text, said) in [
        (r#"{"kye":"YQ=="}"#, "unknown field `kye`"),
        (r#"{"key":"YQ==","key":"Yg=="}"#, "duplicate field"),
        (r#"{"range_end":"YQ==","rangeEnd":"Yg=="}"#, "duplicate field"),
        (r#"{"limit":-1}"#, "negative"),
        (r#"{"sort_order":"UP"}"#, "NONE, ASCEND, DESCEND"),
        (r#"{"sort_order":3}"#, "NONE, ASCEND, DESCEND"),
        (r#"{"key":"!"}"#, "base64"),
        (r#"{"keys_only":"true"}"#, "boolean"),
        (r#"{} {}"#, "trailing"),
        (r#"[]"#, "an object"),
        (r#"["YQ=="]"#, "an object"),
        ("null", "an object"),
        (r#"{"key":"#, "EOF"),
        ("\u{0}", "expected value"),
    ] {
        let error = range(text).expect_err(text);
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn a_transaction_with_everything() {
    let text = r#"{
        "compare": [
            {"key":"YQ==","target":"MOD","result":"GREATER","mod_revision":"3"},
            {"key":"YQ==","target":"CREATE","createRevision":"0"},
            {"key":"YQ==","target":"VALUE","result":"NOT_EQUAL","value":"dg=="},
            {"key":"YQ==","range_end":"Yg==","target":4,"lease":"-1","result":2},
            {"key":"YQ=="}
        ],
        "success": [
            {"request_put":{"key":"YQ==","value":"dg==","prev_kv":true}},
            {"requestTxn":{"success":[{"requestDeleteRange":{"key":"Yg==","prevKv":true}}]}}
        ],
        "failure": [{"request_range":{"key":"YQ=="}}]
    }"#;
    let request = txn(text).expect("a transaction");
    let targets: Vec<_> = request.compares.iter().map(|c| c.target.clone()).collect();
    let expected = [
        CompareTarget::ModRevision(3),
        CompareTarget::CreateRevision(0),
        CompareTarget::Value("v".into()),
        CompareTarget::Lease(-1),
        CompareTarget::Version(0),
    ];
    assert_eq!(targets, expected);
    let operators: Vec<_> = request.compares.iter().map(|c| c.operator).collect();
    use CompareOperator::{Equal, Greater, Less, NotEqual};
    assert_eq!(operators, [Greater, Equal, NotEqual, Less, Equal]);
    assert_eq!(request.success.len(), 2);
    assert!(matches!(&request.success[1], TxnOperation::Txn(nested) if nested.success.len() == 1));
    assert!(matches!(&request.failure[..], [TxnOperation::Range(_)]));
}

#[test]
fn an_operation_is_one_thing_and_a_compare_of_one_field() {
    for text in [
        r#"{"success":[{}]}"#,
        r#"{"success":[null]}"#,
        r#"{"success":[[[]]]}"#,
        r#"{"success":[{"request_put":["YQ=="]}]}"#,
        r#"{"compare":[["EQUAL"]]}"#,
        r#"{"success":[{"request_put":{},"request_range":{}}]}"#,
        r#"{"compare":[{"target":"MOD","version":"1"}]}"#,
        r#"{"compare":[{"version":"1","value":""}]}"#,
    ] {
        assert!(txn(text).is_err(), "{text}");
    }
}

#[test]
fn what_expands_in_memory_is_not_read() {
    let many = format!(r#"{{"success":[{}{{}}]}}"#, "{},".repeat(OBJECTS_MAX));
    assert!(txn(&many).expect_err("too many").contains("objects"));
    let deep = r#"{"success":[{"request_txn":"#.repeat(500);
    assert!(txn(&deep).expect_err("too deep").contains("recursion"));
}
