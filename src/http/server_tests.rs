//! The listener, as those who connect to it see it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::server::REQUEST_HEAD_BYTES_MAX;
use super::{HttpServer, Readiness};
use crate::config::HttpConfig;
use crate::telemetry::NodeMetrics;
use crate::types::RequestError;

async fn serve(config: HttpConfig, readiness: Readiness) -> (HttpServer, NodeMetrics) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let metrics = NodeMetrics::new();
    let server = HttpServer::start(listener, &config, metrics.clone(), readiness, None, None);
    (server.expect("started"), metrics)
}

fn always_ready(config: &HttpConfig) -> Readiness {
    Readiness::new(config, |_| async { Ok(()) })
}

async fn send(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(bytes).await.expect("sent");
    stream
}

async fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection that is cut off has an answer of what came before.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).expect("text")
}

async fn get(address: SocketAddr, path: &str) -> String {
    rest(send(address, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await).await
}

#[tokio::test]
async fn every_path_answers() {
    let config = HttpConfig::default();
    let (server, metrics) = serve(config.clone(), always_ready(&config)).await;
    metrics.mailbox_depth("raft", 3);
    let address = server.local_addr();
    let scrape = get(address, "/metrics").await;
    assert!(scrape.starts_with("HTTP/1.1 200"), "{scrape}");
    assert!(scrape.contains("version=0.0.4"), "{scrape}");
    assert!(scrape.contains("chainfire_mailbox_depth{actor=\"raft\"} 3"), "{scrape}");
    assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/readyz").await.ends_with("ready\n"));
    assert!(get(address, "/version").await.contains(env!("CARGO_PKG_VERSION")));
    assert!(get(address, "/elsewhere").await.starts_with("HTTP/1.1 404"));
    let posted = send(address, b"POST /livez HTTP/1.1\r\nContent-Length: 0\r\n\r\n").await;
    assert!(rest(posted).await.starts_with("HTTP/1.1 405"));
}

#[tokio::test]
async fn a_node_without_a_leader_is_live_and_not_ready() {
    let config = HttpConfig::default();
    let readiness = Readiness::new(&config, |_| async {
        Err(RequestError::Unavailable { reason: "no leader".to_owned() })
    });
    let (server, _) = serve(config, readiness).await;
    let answer = get(server.local_addr(), "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("no leader"), "{answer}");
    assert!(get(server.local_addr(), "/livez").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn connections_beyond_the_cap_are_closed_at_once_and_places_come_back() {
    let config = HttpConfig { connections_max: 2, ..HttpConfig::default() };
    let (server, metrics) = serve(config.clone(), always_ready(&config)).await;
    let address = server.local_addr();
    let silent = [send(address, b"").await, send(address, b"GET /li").await];
    assert_eq!(rest(send(address, b"").await).await, "");
    let refused = "chainfire_refused_connections_total{listener=\"http\",\
                   reason=\"too_many_connections\"} 1";
    assert!(metrics.render().contains(refused));
    drop(silent);
    while !get(address, "/livez").await.ends_with("ok\n") {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_in_time() {
    let config = HttpConfig { idle_timeout_ms: 50, ..HttpConfig::default() };
    let (server, _) = serve(config.clone(), always_ready(&config)).await;
    for said in [&b""[..], b"GET /metrics HTTP/1.1\r\n"] {
        rest(send(server.local_addr(), said).await).await;
    }
    assert!(get(server.local_addr(), "/livez").await.ends_with("ok\n"));
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_others_are_served() {
    let config = HttpConfig::default();
    let (server, metrics) = serve(config.clone(), always_ready(&config)).await;
    let address = server.local_addr();
    let endless = vec![b'a'; 2 * REQUEST_HEAD_BYTES_MAX];
    for said in [&b"\0\x01\x02\xff\xff\r\n\r\n"[..], &endless] {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        // The server may close before it has read everything.
        let _ = stream.write_all(said).await;
        rest(stream).await;
    }
    assert!(get(address, "/livez").await.ends_with("ok\n"));
    assert!(metrics.render().contains("reason=\"malformed\""));
}

#[tokio::test]
async fn a_request_in_flight_is_answered_when_the_server_stops() {
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (asking, waiting) = (asked.clone(), answer.clone());
    let config = HttpConfig::default();
    let readiness = Readiness::new(&config, move |_| {
        let (asking, waiting) = (asking.clone(), waiting.clone());
        async move {
            asking.notify_one();
            waiting.notified().await;
            Ok(())
        }
    });
    let (server, _) = serve(config, readiness).await;
    let address = server.local_addr();
    let in_flight = tokio::spawn(async move { get(address, "/readyz").await });
    asked.notified().await;
    server.announce_stop();
    assert!(get(address, "/readyz").await.contains("stopping"));
    let stopped = tokio::spawn(server.stop());
    answer.notify_one();
    assert!(in_flight.await.expect("no panic").ends_with("ready\n"));
    stopped.await.expect("stopped");
    assert!(TcpStream::connect(address).await.is_err());
}
