//! Certificates that change while a node runs.

use std::fs;

use chainfire::config::TlsConfig;

use super::certificates::{Authority, section};
use super::nodes::Alone;
use super::{eventually, soon};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_without_a_restart_and_a_broken_one_never() {
    let files = tempfile::tempdir().expect("a directory");
    let before = Authority::new(files.path(), "before");
    let after = Authority::new(files.path(), "after");
    let identity = before.issue("node", &["127.0.0.1"]);
    let client = Some(section(&identity, None));
    let alone = Alone::start(TlsConfig { client, ..TlsConfig::default() }).await;
    let open = soon(alone.client().tls(before.client()).connect()).await.expect("let in");
    soon(open.put("key", "before")).await.expect("put");

    // Nobody asks: the files are looked at.
    let good = fs::read(&identity.certificate).expect("it is there");
    fs::write(&identity.certificate, "no certificate").expect("writable");
    let labels = "listener=\"client\",outcome=\"failed\"";
    alone.counted(&format!("chainfire_tls_reloads_total{{{labels}}} 1")).await;
    soon(alone.client().tls(before.client()).connect()).await.expect("the old one stays");

    fs::write(&identity.certificate, good).expect("writable");
    after.issue("node", &["127.0.0.1"]);
    alone.node.reload_certificates();
    eventually("the new certificate", async || {
        soon(alone.client().tls(after.client()).connect()).await.is_ok()
    })
    .await;
    let stale = soon(alone.client().tls(before.client()).connect()).await;
    assert!(stale.is_err(), "the old certificate is gone");
    soon(open.put("key", "after")).await.expect("what was open goes on");
    alone.node.shutdown().await;
}
