//! The command line over TLS.

use std::process::Stdio;

use chainfire::config::TlsConfig;
use tokio::process::Command;

use super::certificates::{Authority, section};
use super::nodes::Alone;
use super::soon;

/// Runs a command to its end: its exit code, and what it wrote.
async fn chainfire(alone: &Alone, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_chainfire"))
        .args(["--endpoints", &alone.node.client_addr().to_string(), "--timeout", "30s"])
        .args(["--credentials", "none"])
        .args(arguments)
        .env_remove("CHAINFIRE_ENDPOINTS")
        .stdin(Stdio::null())
        .output();
    let output = soon(output).await.expect("the binary starts");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_options_reach_a_node_over_tls() {
    let files = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(files.path(), "ours");
    let identity = authority.issue("node", &["127.0.0.1"]);
    let client = Some(section(&identity, Some(&authority.ca)));
    let alone = Alone::start(TlsConfig { client, ..TlsConfig::default() }).await;
    let client = authority.issue("client", &["client"]);
    let text = |path: &std::path::Path| path.to_str().expect("text").to_owned();
    let (ca, cert, key) = (text(&authority.ca), text(&client.certificate), text(&client.key));

    let all = ["--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key];
    let put = chainfire(&alone, &[&all[..], &["put", "key", "value"]].concat()).await;
    assert_eq!(put.0, Some(0), "{}", put.1);
    let get = chainfire(&alone, &[&all[..], &["get", "--value-only", "key"]].concat()).await;
    assert_eq!(get, (Some(0), "value\n".to_owned()));

    let half = chainfire(&alone, &[&all[..4], &["get", "key"]].concat()).await;
    assert_eq!(half.0, Some(2), "{}", half.1);
    assert!(half.1.contains("--tls-cert and --tls-key go together"), "{}", half.1);
    let missing = chainfire(&alone, &["--tls-ca", "/no/such/ca.pem", "get", "key"]).await;
    assert_eq!(missing.0, Some(2), "{}", missing.1);
    assert!(missing.1.contains("/no/such/ca.pem"), "{}", missing.1);
    alone.node.shutdown().await;
}
