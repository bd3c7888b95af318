//! The listener for HTTP.

use std::path::Path;
use std::sync::Arc;

use chainfire::config::TlsConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::certificates::{Authority, section};
use super::nodes::Alone;
use super::soon;

/// What a client of HTTPS has that is not ours.
fn connector(ca: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(ca).expect("a certificate");
    roots.add(ca).expect("a CA");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn get(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    let request = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let mut answer = Vec::new();
    // One that was refused has no answer, or an alert in its place.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn https_answers_and_http_is_told_to_use_it() {
    let files = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(files.path(), "ours");
    let identity = authority.issue("node", &["127.0.0.1"]);
    let http = Some(section(&identity, None));
    let alone = Alone::start(TlsConfig { http, ..TlsConfig::default() }).await;
    let name = || ServerName::try_from("127.0.0.1").expect("an address");
    let connect = || async { TcpStream::connect(alone.node.http_addr()).await.expect("listening") };

    let stream = connector(&authority.ca).connect(name(), connect().await).await;
    let answer = soon(get(stream.expect("TLS"))).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");

    let answer = soon(get(connect().await)).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.ends_with("this port speaks TLS: use https:// and the cluster's CA\n"));
    alone.refused("http", "no_tls").await;
    alone.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn https_without_the_certificate_it_wants_gets_no_answer() {
    let files = tempfile::tempdir().expect("a directory");
    let authority = Authority::new(files.path(), "ours");
    let identity = authority.issue("node", &["127.0.0.1"]);
    let http = Some(section(&identity, Some(&authority.ca)));
    let alone = Alone::start(TlsConfig { http, ..TlsConfig::default() }).await;
    let socket = TcpStream::connect(alone.node.http_addr()).await.expect("listening");
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    let stream = connector(&authority.ca).connect(name, socket).await.expect("our side of it");
    assert_eq!(soon(get(stream)).await, "");
    alone.refused("http", "tls").await;
    alone.node.shutdown().await;
}
