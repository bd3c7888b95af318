//! What one client may take: bytes, time, connections.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Server, WAIT_MAX, read_answer};

const BODY_BYTES_MAX: usize = 1_536 * 1_024;

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_taken_up_to_its_limit() {
    let server = Server::start().await;
    // The key counts as well.
    let largest = vec![b'v'; BODY_BYTES_MAX - 1];
    server.ask("PUT", "/v1/keys/k", largest.clone()).await.done();
    assert_eq!(server.ask("GET", "/v1/keys/k", "").await.done().body, largest);
    let too_large = (413, "EntityTooLarge".to_owned());
    assert_eq!(server.ask("PUT", "/v1/keys/kk", largest).await.refusal(), too_large);
    let over = vec![b'v'; BODY_BYTES_MAX + 1];
    assert_eq!(server.ask("PUT", "/v1/keys/k", over.clone()).await.refusal(), too_large);

    let chunked = |body: &[u8]| {
        let mut request = server.signed("PUT", "/v1/keys/k", body);
        request = request.header("transfer-encoding", "chunked");
        let mut bytes = Vec::new();
        for piece in body.chunks(100_000) {
            bytes.extend(format!("{:x}\r\n", piece.len()).into_bytes());
            bytes.extend(piece);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n\r\n");
        request.body = bytes;
        request
    };
    assert_eq!(server.send(&chunked(&over)).await.refusal(), too_large);
    server.send(&chunked(b"short")).await.done();
    assert_eq!(server.ask("GET", "/v1/keys/k", "").await.done().text(), "short");
    server.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_taken_up_to_its_limits() {
    let server = Server::start().await;
    let mut many = server.draft("GET", "/v1/keys/k", "");
    for number in 0..64 {
        many = many.header(&format!("x-{number}"), "");
    }
    let too_large = (431, "RequestHeaderSectionTooLarge".to_owned());
    assert_eq!(server.send(&server.sign(many)).await.refusal(), too_large);
    let long = server.draft("GET", "/v1/keys/k", "").header("x-long", &"v".repeat(17_000));
    assert_eq!(server.send(&server.sign(long)).await.refusal(), too_large);
    let target = format!("/v1/keys/k?{}", "a".repeat(8_200));
    assert_eq!(server.ask("GET", &target, "").await.refusal(), too_large);
    server.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_carries_many_requests_and_ends_when_it_is_silent() {
    let server = Server::start_with(|config| config.http.idle_timeout_ms = 300).await;
    let mut stream = TcpStream::connect(&server.host).await.expect("connected");
    for number in 0..5 {
        let request = server.signed("PUT", "/v1/keys/k", format!("{number}"));
        stream.write_all(&request.to_bytes()).await.expect("sent");
        read_answer(&mut stream).await.done();
    }
    // A refusal does not end it either.
    let refused = server.draft("GET", "/v1/keys/k", "");
    stream.write_all(&refused.to_bytes()).await.expect("sent");
    assert_eq!(read_answer(&mut stream).await.status, 403);
    let request = server.signed("GET", "/v1/keys/k", "");
    stream.write_all(&request.to_bytes()).await.expect("sent");
    assert_eq!(read_answer(&mut stream).await.done().text(), "4");
    let end = timeout(WAIT_MAX, stream.read(&mut [0])).await.expect("closed in time");
    assert!(matches!(end, Ok(0) | Err(_)));
    server.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_and_an_answer_that_is_not_taken_are_given_up() {
    let server = Server::start_with(|config| {
        config.http.request_timeout_ms = 500;
        config.http.ready_timeout_ms = 400;
    })
    .await;
    // Its length is declared and its bytes stay out.
    let request = server.signed("PUT", "/v1/keys/k", "value");
    let bytes = request.to_bytes();
    let answer = server.send_bytes(&bytes[..bytes.len() - 1]).await;
    assert_eq!(answer.refusal(), (408, "RequestTimeout".to_owned()));

    server.ask("PUT", "/v1/keys/k", vec![b'v'; BODY_BYTES_MAX - 1]).await.done();
    let mut stream = TcpStream::connect(&server.host).await.expect("connected");
    let request = server.signed("GET", "/v1/keys?prefix=", "");
    // More answers than sockets hold, none of them read.
    for _ in 0..8 {
        stream.write_all(&request.to_bytes()).await.expect("sent");
    }
    let given_up = async {
        while !server.node.metrics().render().contains("reason=\"timeout\"") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(WAIT_MAX, given_up).await.expect("given up in time");
    drop(stream);
    server.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_refused_before_its_body_is_read() {
    let server = Server::start().await;
    let mut request = server.draft("PUT", "/v1/keys/k", "");
    request = request.header("content-length", "1000000");
    // Not a byte of the body was sent.
    let answer = server.send(&request).await;
    assert_eq!(answer.refusal(), (403, "MissingAuthenticationToken".to_owned()));
    server.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_probes_ask_nobody_who_they_are_and_tell_no_key() {
    let server = Server::start().await;
    server.ask("PUT", "/v1/keys/very-secret-key", "very-secret-value").await.done();
    server.send(&server.draft("GET", "/v1/keys/very-secret-key", "")).await.refusal();
    for path in ["/metrics", "/livez", "/readyz", "/version", "/openapi.json"] {
        let answer = server.send(&server.bare("GET", path, "").without("x-amz-date")).await.done();
        assert_eq!(answer.value("connection"), Some("close"));
        for secret in ["very-secret", server.signer.access_key_id()] {
            assert!(!answer.text().contains(secret), "{path}");
        }
    }
    let scrape = server.node.metrics().render();
    for counted in [
        "{method=\"http_write\",result=\"ok\"} 1",
        "{method=\"http\",result=\"MissingAuthenticationToken\"} 1",
    ] {
        assert!(scrape.contains(counted), "{counted} in\n{scrape}");
    }
    server.node.shutdown().await;
}
