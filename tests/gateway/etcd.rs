//! etcd's JSON, as its own documentation shows it.

use serde_json::{Value, json};

use crate::support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn what_etcds_documentation_shows_works() {
    let server = Server::start().await;
    let put = server.post("/v1/kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#).await.done().json();
    let header = put["header"].as_object().expect("a header");
    assert!(
        ["cluster_id", "member_id", "revision", "raft_term"].iter().all(|f| header[*f].is_string())
    );
    let revision = header["revision"].as_str().expect("a revision").to_owned();

    let range = server.post("/v1/kv/range", r#"{"key":"Zm9v"}"#).await.done().json();
    let pair = json!({
        "key": "Zm9v", "value": "YmFy", "version": "1",
        "create_revision": revision, "mod_revision": revision,
    });
    assert_eq!(range["kvs"], json!([pair]));
    assert_eq!(range["count"], "1");
    let prefix = r#"{"key":"Zm9v","range_end":"Zm9w","limit":1,"sort_order":"DESCEND"}"#;
    assert_eq!(server.post("/v1/kv/range", prefix).await.done().json()["kvs"], json!([pair]));
    let count = r#"{"key":"AA==","rangeEnd":"AA==","countOnly":true}"#;
    let counted = server.post("/v1/kv/range", count).await.done().json();
    assert_eq!((counted["count"].as_str(), counted.get("kvs")), (Some("1"), None));

    let txn = format!(
        r#"{{"compare":[{{"target":"CREATE","key":"Zm9v","createRevision":"{revision}"}}],
             "success":[{{"requestPut":{{"key":"Zm9v","value":"YmFy"}}}}]}}"#
    );
    let txn = server.post("/v1/kv/txn", &txn).await.done().json();
    assert_eq!(txn["succeeded"], true);
    let put = json!([{"response_put": {"header": {"revision": txn["header"]["revision"]}}}]);
    assert_eq!(txn["responses"], put);
    let read = r#"{"compare":[{"key":"bm9uZQ==","target":"VERSION","result":"GREATER"}],
                   "failure":[{"request_range":{"key":"Zm9v","keys_only":true}}]}"#;
    let read = server.post("/v1/kv/txn", read).await.done().json();
    assert_eq!(read.get("succeeded"), None);
    assert_eq!(read["responses"][0]["response_range"]["kvs"][0]["version"], "2");

    let delete = server.post("/v1/kv/deleterange", r#"{"key":"Zm9v","prev_kv":true}"#).await;
    let delete = delete.done().json();
    assert_eq!(
        (&delete["deleted"], &delete["prev_kvs"][0]["value"]),
        (&json!("1"), &json!("YmFy"))
    );
    let compacted = format!(r#"{{"revision":{},"physical":true}}"#, delete["header"]["revision"]);
    server.post("/v1/kv/compaction", &compacted).await.done();
    let old = format!(r#"{{"key":"Zm9v","revision":"{revision}"}}"#);
    let old = server.post("/v1/kv/range", &old).await;
    assert_eq!(old.refusal(), (400, "Compacted".to_owned()));
    server.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_and_status() {
    let server = Server::start().await;
    for body in ["", "{}", r#"{"linearizable":true}"#] {
        let list = server.post("/v1/cluster/member/list", body).await.done().json();
        let member = &list["members"][0];
        assert_eq!((&member["ID"], &member["name"]), (&json!("1"), &json!("default")));
        assert_eq!(member["peerURLs"], json!([server.node.peer_addr().to_string()]));
        assert_eq!(member.get("isLearner"), None);
    }
    let status = server.post("/v1/maintenance/status", "{}").await.done().json();
    assert_eq!((&status["leader"], &status["version"]), (&json!("1"), &json!("0.1.0")));
    let is_number = |name: &str| status[name].as_str().is_some_and(|n| n.parse::<u64>().is_ok());
    assert!(["dbSize", "raftIndex", "raftTerm", "raftAppliedIndex"].iter().all(|n| is_number(n)));
    server.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_means_nothing_is_a_clear_400_and_changes_nothing() {
    let server = Server::start().await;
    let revision = |json: &Value| json["header"]["revision"].clone();
    let before = revision(&server.post("/v1/maintenance/status", "").await.done().json());
    for (target, body, said) in [
        ("/v1/kv/put", r#"{"key":"YQ==","valeu":"YQ=="}"#, "unknown field `valeu`"),
        ("/v1/kv/put", r#"{"key":"not base64","value":""}"#, "base64"),
        ("/v1/kv/put", r#"{"key":"YQ=="} "#, ""),
        ("/v1/kv/put", "key=YQ==", "expected value"),
        ("/v1/kv/put", "", "the key is empty"),
        ("/v1/kv/put", r#"{"key":"YQ==","lease":"x"}"#, "number"),
        ("/v1/kv/range", r#"{"key":"YQ==","limit":-1}"#, "negative"),
        ("/v1/kv/txn", r#"{"success":[{}]}"#, "request_put"),
        ("/v1/maintenance/status", r#"{"verbose":true}"#, "unknown field"),
        ("/v1/kv/put?key=YQ%3D%3D", "{}", "no parameters"),
    ] {
        let answer = server.post(target, body).await;
        if said.is_empty() {
            answer.done();
            continue;
        }
        assert_eq!(answer.refusal(), (400, "InvalidRequest".to_owned()), "{body}");
        assert!(answer.text().contains(said), "{body}: {}", answer.text());
    }
    let after = revision(&server.post("/v1/maintenance/status", "").await.done().json());
    let number = |revision: &Value| revision.as_str().and_then(|r| r.parse::<u64>().ok());
    // One of them was good.
    assert_eq!(number(&after), number(&before).map(|revision| revision + 1));
    server.node.shutdown().await;
}
