//! What TLS costs a node whom nobody vouches for: little, and not for long.

use chainfire::config::TlsConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::certificates::{Authority, section};
use super::nodes::Alone;
use super::{eventually, soon};

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_stops_in_the_middle_of_tls_is_closed_in_time() {
    let files = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(files.path(), "ours");
    let identity = authority.issue("node", &["127.0.0.1"]);
    let client = Some(section(&identity, None));
    let alone = Alone::start_with(TlsConfig { client, ..TlsConfig::default() }, |config| {
        config.auth.insecure_no_auth = true;
        config.limits.handshake_timeout_ms = 200;
    })
    .await;
    // Nothing, the head of a record, and a record that never ends.
    for said in [&b""[..], b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"] {
        let mut socket = TcpStream::connect(alone.node.client_addr()).await.expect("listening");
        socket.write_all(said).await.expect("sent");
        let mut answer = Vec::new();
        let _ = soon(socket.read_to_end(&mut answer)).await;
        assert_eq!(answer, b"", "{said:?}");
    }
    let labels = "listener=\"client\",reason=\"timeout\"";
    alone.counted(&format!("chainfire_refused_connections_total{{{labels}}} 3")).await;
    soon(alone.client().tls(authority.client()).connect()).await.expect("let in");
    alone.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_closed_before_any_tls() {
    let files = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(files.path(), "ours");
    let identity = authority.issue("node", &["127.0.0.1"]);
    let client = Some(section(&identity, None));
    let alone = Alone::start_with(TlsConfig { client, ..TlsConfig::default() }, |config| {
        config.auth.insecure_no_auth = true;
        config.limits.client_connections_max = 1;
    })
    .await;
    let first = soon(alone.client().tls(authority.client()).connect()).await.expect("let in");
    let second = soon(alone.client().tls(authority.client()).connect()).await;
    let second = second.expect_err("one too many").to_string();
    assert!(second.contains("takes no more connections"), "{second}");
    alone.refused("client", "full").await;
    drop(first);
    eventually("its place is free", async || {
        soon(alone.client().tls(authority.client()).connect()).await.is_ok()
    })
    .await;
    alone.node.shutdown().await;
}
