//! Every refusal and every change over HTTP is a line of the audit log.

use serde_json::Value;

use crate::support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_changes_are_written_down_with_who_asked() {
    let server = Server::start_with(|config| {
        config.audit.file = Some(config.data_dir.with_file_name("audit.jsonl"));
    })
    .await;
    let key_id = server.signer.access_key_id().to_owned();
    let changed = server.signed("PUT", "/v1/keys/app/k", "value");
    let done = server.send(&changed).await.done();
    let mut forged = server.signed("PUT", "/v1/keys/app/k", "value");
    forged.body[0] ^= 1;
    let forged = server.send(&forged).await;
    let unsigned = server.send(&server.draft("GET", "/v1/keys/app/k", "")).await;
    let file = server.directory.path().join("audit.jsonl");
    server.node.shutdown().await;

    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let put = lines.iter().find(|line| line["action"] == "put").expect("the change");
    assert_eq!((&put["decision"], &put["key_id"]), (&"allowed".into(), &key_id.clone().into()));
    let written = put["request_id"].as_str().expect("a name");
    assert!(written.starts_with(done.value("x-chainfire-request-id").expect("an id")), "{put}");
    assert!(put["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{put}");
    for (answer, reason, key_id) in [
        (forged, "SignatureDoesNotMatch", &key_id[..]),
        (unsigned, "MissingAuthenticationToken", ""),
    ] {
        let id = answer.value("x-chainfire-request-id").expect("an id");
        let is_its = |line: &&Value| {
            line["request_id"].as_str().is_some_and(|written| written.starts_with(id))
        };
        let line = lines.iter().find(is_its).unwrap_or_else(|| panic!("no {reason} in {text}"));
        assert_eq!((&line["decision"], &line["reason"]), (&"refused".into(), &reason.into()));
        assert_eq!(line["key_id"], key_id);
        assert!(line["target"].as_str().is_some_and(|t| t.ends_with(" /v1/keys/app/k")), "{line}");
    }
    assert!(!text.contains("value"), "no value is written down");
}
