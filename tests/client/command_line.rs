//! The binary against nodes that fail on command: answers, exit codes, one-line errors.

use std::path::Path;
use std::process::{Output, Stdio};

use chainfire::types::RequestError;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::fake::{Cluster, Fault, Node};

/// Runs the binary with `input` on its standard input.
async fn run(node: &Node, arguments: &[&str], input: &str) -> Output {
    run_at(&node.address, arguments, input).await
}

async fn run_at(endpoints: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_chainfire"))
        .args(arguments)
        .env("CHAINFIRE_ENDPOINTS", endpoints)
        // The fakes sign nothing.
        .env("CHAINFIRE_CREDENTIALS", "none")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that does not read its input may have ended already.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    child.wait_with_output().await.unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("not killed")
}

fn out(output: &Output) -> String {
    assert_eq!(code(output), 0, "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The one line on standard error.
fn error(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(text.ends_with('\n') && text.lines().count() == 1, "one line: {text:?}");
    text
}

#[tokio::test]
async fn put_and_get_write_what_etcdctl_writes() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    assert_eq!(out(&run(&node, &["put", "--", "-k", "--v"], "").await), "OK\n");
    assert_eq!(out(&run(&node, &["put", "k"], "two\nlines").await), "OK\n");
    assert_eq!(out(&run(&node, &["get", "k"], "").await), "k\ntwo\nlines\n");
    assert_eq!(out(&run(&node, &["get", "--value-only", "--", "-k"], "").await), "--v\n");
    assert_eq!(out(&run(&node, &["get", "", "--prefix", "--keys-only"], "").await), "-k\nk\n");
    assert_eq!(out(&run(&node, &["get", "missing"], "").await), "");
    let json = out(&run(&node, &["get", "k", "-o", "json"], "").await);
    let expected = concat!(
        r#"{"revision":3,"count":1,"more":false,"kvs":[{"key":"aw==","value":"dHdvCmxpbmVz","#,
        r#""create_revision":3,"mod_revision":3,"version":1,"lease":0}]}"#,
        "\n"
    );
    assert_eq!(json, expected);
}

#[tokio::test]
async fn a_range_longer_than_a_page_is_written_whole() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    for number in 0..2_500 {
        cluster.fill(&format!("p/{number:04}"));
    }
    let keys = out(&run(&node, &["get", "p/", "--prefix", "--keys-only"], "").await);
    assert_eq!(keys.lines().count(), 2_500);
    assert_eq!(keys.lines().last(), Some("p/2499"));
    let json = out(&run(&node, &["get", "p/", "--prefix", "-o", "json"], "").await);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["kvs"].as_array().unwrap().len(), 2_500);
    assert_eq!((json["count"].as_u64(), json["more"].as_bool()), (Some(2_500), Some(false)));
}

#[tokio::test]
async fn exit_codes_tell_failed_from_wrong_usage_and_unknown() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    let short = ["--timeout", "300ms"];

    let wrong = run(&node, &["get", "k", "--nonsense"], "").await;
    assert_eq!(code(&wrong), 2);
    assert!(error(&wrong).contains("--nonsense"));

    let wrong = run_at("nonsense", &["get", "k"], "").await;
    assert_eq!(code(&wrong), 2);
    assert!(error(&wrong).contains("HOST:PORT"));

    node.fail_for_ever(Some(Fault::Silent));
    let unknown = run(&node, &["put", "k", "v", short[0], short[1]], "").await;
    assert_eq!(code(&unknown), 3);
    assert!(error(&unknown).contains("outcome unknown"));

    let failed = run(&node, &["get", "k", short[0], short[1]], "").await;
    assert_eq!(code(&failed), 1);
    assert!(error(&failed).contains("unavailable"));

    let reason = "no leader".to_owned();
    node.fail_for_ever(Some(Fault::Refuse(RequestError::Unavailable { reason })));
    // A try that the deadline cuts off is rightly "unknown"; between tries it is "failed".
    let mut failed = run(&node, &["put", "k", "v", short[0], short[1]], "").await;
    for _ in 0..20 {
        if code(&failed) != 3 {
            break;
        }
        failed = run(&node, &["put", "k", "v", short[0], short[1]], "").await;
    }
    assert_eq!(code(&failed), 1);
    assert!(error(&failed).contains("no leader"));
}

#[tokio::test]
async fn help_and_version_go_to_standard_output() {
    let help = run_at("h:1", &["--help"], "").await;
    assert!(out(&help).contains("CHAINFIRE_ENDPOINTS"));
    assert!(out(&run_at("h:1", &["--version"], "").await).starts_with("chainfire "));
    let script = out(&run_at("h:1", &["completion", "bash"], "").await);
    assert!(script.contains("_chainfire"), "{script}");
}

#[tokio::test]
async fn status_shows_who_answers_and_fails_when_somebody_does_not() {
    let cluster = Cluster::new(1);
    let (a, b) = (Node::start(1, &cluster).await, Node::start(2, &cluster).await);
    let both = format!("{},{}", a.address, b.address);
    let text = out(&run_at(&both, &["status"], "").await);
    assert!(text.contains("leader") && text.contains("follower"), "{text}");

    let gone = b.address.clone();
    drop(b);
    let status = run_at(&both, &["status", "-o", "json", "--timeout", "1s"], "").await;
    assert_eq!(code(&status), 1);
    assert!(error(&status).contains(&gone), "{status:?}");
    let rows: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!((&rows[0]["reachable"], &rows[0]["role"]), (&true.into(), &"leader".into()));
    assert_eq!((&rows[1]["reachable"], &rows[1]["endpoint"]), (&false.into(), &gone.into()));
}

/// Lines of an import: `count` pairs in key order.
fn pairs(count: usize) -> String {
    use base64::Engine;
    let encode = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
    (0..count)
        .map(|number| {
            let (key, value) =
                (encode(format!("i/{number:05}")), encode(format!("value {number}")));
            format!("{{\"key\":\"{key}\",\"value\":\"{value}\",\"lease\":0,\"version\":1}}\n")
        })
        .collect()
}

#[tokio::test]
async fn the_export_of_an_import_is_the_import() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    let lines = pairs(3_000);
    let imported = run(&node, &["import"], &lines).await;
    assert_eq!(out(&imported), "imported 3000 pairs\n");
    let exported = run(&node, &["export"], "").await;
    assert_eq!(out(&exported), lines);
    let told = String::from_utf8(exported.stderr).unwrap();
    assert_eq!(told, "3000 of 3000 pairs exported\n");

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pairs.jsonl");
    let path = file.to_str().unwrap();
    out(&run(&node, &["export", path, "--prefix", "i/0000"], "").await);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), pairs(10));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no partial file");
    assert_eq!(out(&run(&node, &["import", path], "").await), "imported 10 pairs\n");
}

#[tokio::test]
async fn an_import_stops_at_a_malformed_line_and_names_it() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    let imported = run(&node, &["import"], &format!("{}nonsense\n", pairs(7))).await;
    assert_eq!(code(&imported), 1);
    let told = String::from_utf8(imported.stderr).unwrap();
    let last = told.lines().last().unwrap();
    assert!(last.starts_with("chainfire: line 8: not a pair"), "{told}");
    assert!(last.contains("7 pairs were imported"), "{told}");
    assert_eq!(cluster.applied().len(), 7);
}

#[tokio::test]
async fn the_last_line_of_a_key_wins() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    let lines: String = (0..300)
        .map(|number| {
            use base64::Engine;
            let value = base64::engine::general_purpose::STANDARD.encode(number.to_string());
            format!("{{\"key\":\"aw==\",\"value\":\"{value}\"}}\n")
        })
        .collect();
    // The answers come late and out of order.
    node.fail((0..9).map(|number| match number % 3 {
        0 => Fault::UnknownAfter,
        _ => Fault::Refuse(RequestError::Overloaded { retry_after_ms: number % 5 }),
    }));
    out(&run(&node, &["import"], &lines).await);
    assert_eq!(out(&run(&node, &["get", "k", "--value-only"], "").await), "299\n");
}

#[tokio::test]
async fn a_failed_export_leaves_no_file() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    node.fail_for_ever(Some(Fault::Silent));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pairs.jsonl");
    let exported = run(&node, &["export", file.to_str().unwrap(), "--timeout", "300ms"], "").await;
    assert_eq!(code(&exported), 1);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    let missing = Path::new("/no/such/directory/pairs");
    let exported = run(&node, &["export", missing.to_str().unwrap()], "").await;
    assert_eq!(code(&exported), 1);
    assert!(error(&exported).contains("/no/such/directory/pairs"));
}

#[tokio::test]
async fn a_benchmark_counts_what_was_acknowledged() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    let arguments =
        ["bench", "load", "--total", "500", "--clients", "20", "--conns", "2", "-o", "json"];
    let report = out(&run(&node, &arguments, "").await);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["ops"], &report["errors"]), (&500.into(), &0.into()));
    assert_eq!(cluster.applied().len(), 500, "no write but those counted");
    let keys = out(&run(&node, &["get", "bench/", "--prefix", "--keys-only"], "").await);
    assert_eq!(keys.lines().count(), 500, "all different");

    let arguments = ["bench", "get", "--key-space", "500", "--seconds", "1", "--rate", "200"];
    let report = out(&run(&node, &arguments, "").await);
    assert!(report.contains("operations  200 in "), "{report}");
    assert_eq!(cluster.applied().len(), 500, "the keys to read were there");
}

#[tokio::test]
async fn a_benchmark_without_a_success_fails() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    let denied = RequestError::PermissionDenied { reason: "no".into() };
    node.fail_for_ever(Some(Fault::Refuse(denied)));
    let output = run(&node, &["bench", "put", "--total", "10"], "").await;
    assert_eq!(code(&output), 1);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.lines().last().unwrap().contains("permission denied"), "{told}");
}
