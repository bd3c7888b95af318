//! A mutation is applied once.

use crate::support::{Server, config, start_node};

const REPLAYED: &str = "x-chainfire-replayed";

#[tokio::test(flavor = "multi_thread")]
async fn a_write_sent_twice_is_done_once() {
    let server = Server::start().await;
    let json = |body: &str| body.to_owned().into_bytes();
    for (method, target, body) in [
        ("PUT", "/v1/keys/k", json("v")),
        ("POST", "/v1/kv/put", json(r#"{"key":"aw==","value":"dg=="}"#)),
        ("POST", "/v1/kv/txn", json(r#"{"success":[{"request_put":{"key":"aw=="}}]}"#)),
        ("POST", "/v1/kv/deleterange", json(r#"{"key":"bm9uZQ=="}"#)),
        ("POST", "/v1/kv/compaction", json(r#"{"revision":"2"}"#)),
        ("DELETE", "/v1/keys/k", Vec::new()),
    ] {
        let request = server.signed(method, target, body);
        let first = server.send(&request).await.done();
        assert_eq!(first.value(REPLAYED), None);
        for _ in 0..2 {
            let again = server.send(&request).await.done();
            assert_eq!(again.value(REPLAYED), Some("true"), "{method} {target}");
            assert_eq!(again.text(), first.text(), "{method} {target}");
        }
    }
    // Reads may be repeated.
    for (target, body) in [("/v1/kv/range", r#"{"key":"aw=="}"#), ("/v1/kv/txn", "{}")] {
        let read = server.signed("POST", target, body);
        server.send(&read).await.done();
        server.send(&read).await.done();
    }
    server.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_lets_the_same_write_in_twice_within_a_second() {
    let server = Server::start().await;
    let bare = server.bare("PUT", "/v1/keys/k", "v");
    let date = bare.value("x-amz-date").expect("a date").to_owned();
    server.send(&server.sign(bare.clone())).await.done();
    let same = server.bare("PUT", "/v1/keys/k", "v").set("x-amz-date", &date);
    assert_eq!(server.send(&server.sign(same)).await.done().value(REPLAYED), Some("true"));
    for nonce in ["1", "2"] {
        server.send(&server.sign(bare.clone().header("x-chainfire-nonce", nonce))).await.done();
    }
    let version = server.ask("GET", "/v1/keys/k", "").await.done();
    assert_eq!(version.value("x-chainfire-version"), Some("3"));
    server.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_of_before_a_restart_is_answered_again_and_one_for_another_node_refused() {
    let server = Server::start().await;
    let stolen = server.signed("PUT", "/v1/keys/k", "v");
    let unsent = server.signed("PUT", "/v1/keys/k", "w");
    server.send(&stolen).await.done();

    let other = Server::start().await;
    let elsewhere = other.send(&stolen).await;
    assert_eq!(elsewhere.refusal(), (403, "AccessDenied".to_owned()), "the host is another");
    other.node.shutdown().await;

    let (host, directory) = (server.host.clone(), server.directory);
    server.node.shutdown().await;
    let mut again = config(directory.path());
    again.listen_http = host.parse().expect("an address");
    let node = start_node(again).await;
    let server = Server { directory, node, host, signer: server.signer };
    for (request, replayed) in [(&stolen, Some("true")), (&unsent, None), (&stolen, Some("true"))] {
        assert_eq!(server.send(request).await.done().value(REPLAYED), replayed);
    }
    let now = server.ask("GET", "/v1/keys/k", "").await.done();
    assert_eq!((now.text(), now.value("x-chainfire-version")), ("w", Some("2")));
    server.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_store_is_answered_again() {
    let server = Server::start().await;
    let missing = server.signed("DELETE", "/v1/keys/none", Vec::new());
    for replayed in [None, Some("true"), Some("true")] {
        let answer = server.send(&missing).await;
        assert_eq!(answer.refusal().0, 404);
        assert_eq!(answer.value(REPLAYED), replayed);
    }
    server.node.shutdown().await;
}
