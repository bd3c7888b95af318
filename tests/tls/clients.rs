//! The listener for clients.

use chainfire::auth::Credentials;
use chainfire::client::ClientBuilder;
use chainfire::config::TlsConfig;

use super::certificates::{Authority, section};
use super::nodes::Alone;
use super::soon;

/// Why a client is not let in.
async fn refusal(client: ClientBuilder) -> String {
    soon(client.connect()).await.expect_err("not let in").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_over_tls_writes_and_reads() {
    let files = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(files.path(), "ours");
    let identity = authority.issue("node", &["127.0.0.1"]);
    let client = Some(section(&identity, None));
    let alone = Alone::start(TlsConfig { client, ..TlsConfig::default() }).await;
    let client = soon(alone.client().tls(authority.client()).connect()).await.expect("let in");
    // Longer than one record of TLS, and than what waits to be written at one time.
    let value = vec![7; 1_000_000];
    soon(client.put("key", value.clone())).await.expect("put");
    let read = soon(client.get("key")).await.expect("read").expect("it is there");
    assert_eq!(read.value, value);
    // One that offers a certificate nobody asked for is let in, too.
    let with = authority.client_with(authority.issue("client", &["anybody"]));
    soon(alone.client().tls(with).connect()).await.expect("let in");
    alone.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_lets_nobody_in_without_the_right_key() {
    let files = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(files.path(), "ours");
    let identity = authority.issue("node", &["127.0.0.1"]);
    let client = Some(section(&identity, Some(&authority.ca)));
    let alone = Alone::signed(TlsConfig { client, ..TlsConfig::default() }).await;
    let ours = authority.client_with(authority.issue("client", &["client"]));
    let credentials = alone.credentials();
    let right = alone.client().tls(ours.clone()).credentials(&credentials);
    soon(right.connect()).await.expect("let in");

    let unsigned = refusal(alone.client().tls(ours.clone())).await;
    assert!(unsigned.contains("wants signed requests"), "{unsigned}");
    let wrong = Credentials::generate(&credentials.cluster_name, &mut rand::rng());
    let wrong = refusal(alone.client().tls(ours).credentials(&wrong)).await;
    assert!(wrong.contains("SignatureDoesNotMatch"), "{wrong}");
    alone.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_required_and_must_be_of_the_ca() {
    let files = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(files.path(), "ours");
    let other = Authority::new(files.path(), "theirs");
    let identity = authority.issue("node", &["127.0.0.1"]);
    let client = Some(section(&identity, Some(&authority.ca)));
    let alone = Alone::start(TlsConfig { client, ..TlsConfig::default() }).await;

    let without = refusal(alone.client().tls(authority.client())).await;
    assert!(without.contains("the node wants a client certificate; give --tls-cert"), "{without}");

    let theirs = authority.client_with(other.issue("stranger", &["client"]));
    let stranger = refusal(alone.client().tls(theirs)).await;
    assert!(stranger.contains("does not accept our certificate"), "{stranger}");

    let expired = authority.client_with(authority.issue_until("old", &["client"], 2001));
    let expired = refusal(alone.client().tls(expired)).await;
    assert!(expired.contains("does not accept our certificate"), "{expired}");

    let ours = authority.client_with(authority.issue("client", &["client"]));
    let client = soon(alone.client().tls(ours).connect()).await.expect("let in");
    soon(client.put("key", "value")).await.expect("put");
    alone.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_not_the_one_is_not_talked_to() {
    let files = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(files.path(), "ours");
    let other = Authority::new(files.path(), "theirs");
    let identity = authority.issue("node", &["127.0.0.1"]);
    let client = Some(section(&identity, None));
    let alone = Alone::start(TlsConfig { client, ..TlsConfig::default() }).await;

    let stranger = refusal(alone.client().tls(other.client())).await;
    assert!(stranger.contains("not signed by the CA given"), "{stranger}");

    let port = alone.node.client_addr().port();
    let misnamed = alone.client_at(&format!("localhost:{port}")).tls(authority.client());
    let misnamed = refusal(misnamed).await;
    assert!(misnamed.contains("certificate is not for localhost"), "{misnamed}");
    alone.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_told_of_and_not_trusted() {
    let files = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(files.path(), "ours");
    let identity = authority.issue_until("node", &["127.0.0.1"], 2001);
    let client = Some(section(&identity, None));
    let alone = Alone::start(TlsConfig { client, ..TlsConfig::default() }).await;
    let line = "chainfire_tls_certificate_not_after_seconds{listener=\"client\"} 978307200";
    alone.counted(line).await;
    let expired = refusal(alone.client().tls(authority.client())).await;
    assert!(expired.contains("has expired or is not valid yet"), "{expired}");
    alone.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_say_what_is_wrong_when_one_speaks_tls_and_the_other_does_not() {
    let files = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(files.path(), "ours");
    let identity = authority.issue("node", &["127.0.0.1"]);
    let client = Some(section(&identity, None));
    let alone = Alone::start(TlsConfig { client, ..TlsConfig::default() }).await;
    let plain = refusal(alone.client()).await;
    assert!(plain.contains("the node wants TLS; give --tls-ca FILE"), "{plain}");
    alone.refused("client", "no_tls").await;
    alone.node.shutdown().await;

    let alone = Alone::start(TlsConfig::default()).await;
    let tls = refusal(alone.client().tls(authority.client())).await;
    assert!(tls.contains("the node does not speak TLS there"), "{tls}");
    alone.refused("client", "unexpected_tls").await;
    alone.node.shutdown().await;
}
