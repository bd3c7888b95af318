//! A mutation is let in once.

use crate::support::{Server, config, start_node};

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
        server.send(&request).await.done();
        for _ in 0..2 {
            let again = server.send(&request).await;
            assert_eq!(again.refusal(), (409, "RequestReplayed".to_owned()), "{method} {target}");
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
    assert_eq!(server.send(&server.sign(same)).await.refusal().0, 409);
    for nonce in ["1", "2"] {
        server.send(&server.sign(bare.clone().header("x-chainfire-nonce", nonce))).await.done();
    }
    let version = server.ask("GET", "/v1/keys/k", "").await.done();
    assert_eq!(version.value("x-chainfire-version"), Some("3"));
    server.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_of_before_a_restart_and_one_for_another_node_are_refused() {
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
    for request in [stolen, unsent] {
        let answer = server.send(&request).await;
        assert_eq!(answer.refusal(), (409, "RequestReplayed".to_owned()));
    }
    assert_eq!(server.ask("GET", "/v1/keys/k", "").await.done().text(), "v");
    server.node.shutdown().await;
}
