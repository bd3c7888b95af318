//! Keys as paths.

use crate::support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_a_body_and_its_revision_the_entity_tag() {
    let server = Server::start().await;
    let value: Vec<u8> = (0..=255).collect();
    let put = server.ask("PUT", "/v1/keys/app/a%20b", value.clone()).await.done();
    let tag = put.value("etag").expect("a tag").to_owned();
    let revision = put.json()["header"]["revision"].as_str().expect("a revision").to_owned();
    assert_eq!(tag, format!("\"{revision}\""));

    let got = server.ask("GET", "/v1/keys/app/a%20b", "").await.done();
    assert_eq!(got.body, value);
    assert_eq!(got.value("etag"), Some(&tag[..]));
    assert_eq!(got.value("content-type"), Some("application/octet-stream"));
    assert_eq!(got.value("x-chainfire-version"), Some("1"));
    assert_eq!(got.value("x-chainfire-create-revision"), Some(&revision[..]));
    assert_eq!(got.value("x-chainfire-lease"), None);
    assert_eq!(got.value("x-chainfire-request-id").map(str::len), Some(32));
    // The same key, written otherwise; a key that looks like it.
    assert_eq!(server.ask("GET", "/v1/keys/app%2Fa%20b", "").await.done().body, value);
    let other = server.ask("GET", "/v1/keys/app/a%2520b", "").await;
    assert_eq!(other.refusal(), (404, "NoSuchKey".to_owned()));

    server.ask("PUT", "/v1/keys/app/a%20b", "new").await.done();
    let old = server.ask("GET", &format!("/v1/keys/app/a%20b?revision={revision}"), "").await;
    assert_eq!(old.done().body, value);
    let stale = server.ask("GET", "/v1/keys/app/a%20b?serializable=true", "").await.done();
    assert_eq!(stale.text(), "new");

    let deleted = server.ask("DELETE", "/v1/keys/app/a%20b", "").await.done();
    assert_eq!(deleted.json()["deleted"], "1");
    let again = server.ask("DELETE", "/v1/keys/app/a%20b", "").await;
    assert_eq!(again.refusal(), (404, "NoSuchKey".to_owned()));
    server.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_lists_pairs_as_json() {
    let server = Server::start().await;
    for key in ["app/a", "app/b", "app/c", "apple"] {
        server.ask("PUT", &format!("/v1/keys/{key}"), "value").await.done();
    }
    let keys = |answer: &crate::support::Answer| -> Vec<String> {
        let json = answer.json();
        let kvs = json["kvs"].as_array().expect("pairs").clone();
        kvs.iter().map(|pair| pair["key"].as_str().expect("a key").to_owned()).collect()
    };
    let all = server.ask("GET", "/v1/keys?prefix=app%2F", "").await.done();
    assert_eq!(keys(&all), ["YXBwL2E=", "YXBwL2I=", "YXBwL2M="]);
    assert_eq!(all.json()["count"], "3");
    assert!(all.json().get("more").is_none());
    let two = server.ask("GET", "/v1/keys?prefix=app%2F&limit=2", "").await.done();
    assert_eq!((keys(&two).len(), two.json()["more"].as_bool()), (2, Some(true)));
    let below = server.ask("GET", "/v1/keys/app?prefix", "").await.done();
    assert_eq!(keys(&below).len(), 4);
    let everything = server.ask("GET", "/v1/keys?prefix=", "").await.done();
    assert_eq!(keys(&everything).len(), 4);
    assert_eq!(server.ask("GET", "/v1/keys?prefix=none", "").await.done().json().get("kvs"), None);
    server.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_with_what_to_change() {
    let server = Server::start().await;
    let long = format!("/v1/keys/{}", "k".repeat(1_025));
    for (method, target, body, status, code) in [
        ("GET", "/v1/keys", "", 400, "InvalidRequest"),
        ("GET", "/v1/keys/a?limit=1", "", 400, "InvalidRequest"),
        ("GET", "/v1/keys/a?limt=1", "", 400, "InvalidRequest"),
        ("GET", "/v1/keys/a?prefix=b", "", 400, "InvalidRequest"),
        ("GET", "/v1/keys/a?revision=-1", "", 400, "InvalidRequest"),
        ("GET", "/v1/keys/a?revision=999999", "", 400, "FutureRevision"),
        ("GET", &long, "", 400, "InvalidRequest"),
        ("PUT", &long, "v", 400, "InvalidRequest"),
        ("PUT", "/v1/keys/a?prefix", "v", 400, "InvalidRequest"),
        ("PUT", "/v1/keys/a?lease=1", "v", 400, "InvalidRequest"),
        ("DELETE", "/v1/keys/a?prefix", "", 400, "InvalidRequest"),
        ("DELETE", "/v1/keys/a", "v", 400, "InvalidRequest"),
        ("GET", "/v1/keys/a", "v", 404, "NoSuchKey"),
        ("POST", "/v1/keys/a", "v", 405, "MethodNotAllowed"),
        ("PUT", "/v1/keys", "v", 405, "MethodNotAllowed"),
        ("GET", "/v1/kv/range", "", 405, "MethodNotAllowed"),
        ("GET", "/v1/elsewhere", "", 404, "NoSuchRoute"),
        ("GET", "/v1", "", 404, "NoSuchRoute"),
    ] {
        let answer = server.ask(method, target, body).await;
        assert_eq!(answer.refusal(), (status, code.to_owned()), "{method} {target}");
        let json = answer.json();
        assert_eq!(json["request_id"].as_str(), answer.value("x-chainfire-request-id"));
        assert!(!json["message"].as_str().expect("a message").is_empty());
    }
    let wrong = server.ask("POST", "/v1/keys/a", "").await;
    assert_eq!(wrong.value("allow"), Some("GET, PUT, DELETE"));
    server.node.shutdown().await;
}
