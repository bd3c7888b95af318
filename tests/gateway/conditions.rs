//! Compare and swap by entity tags.

use crate::support::{Answer, Server};

async fn conditional(server: &Server, method: &str, body: &str, name: &str, value: &str) -> Answer {
    let draft = server.draft(method, "/v1/keys/k", body).header(name, value);
    server.send(&server.sign(draft)).await
}

fn failed(answer: &Answer) {
    assert_eq!(answer.refusal(), (412, "PreconditionFailed".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_done_only_on_the_version_it_was_made_for() {
    let server = Server::start().await;
    failed(&conditional(&server, "PUT", "1", "if-match", "*").await);
    failed(&conditional(&server, "PUT", "1", "if-match", "\"1\"").await);
    let created = conditional(&server, "PUT", "1", "if-none-match", "*").await.done();
    let first = created.value("etag").expect("a tag").to_owned();
    let lost = conditional(&server, "PUT", "2", "if-none-match", "*").await;
    failed(&lost);
    assert_eq!(lost.value("etag"), Some(&first[..]), "where to go on from");

    let swapped = conditional(&server, "PUT", "2", "if-match", &first).await.done();
    let second = swapped.value("etag").expect("a tag").to_owned();
    assert_ne!(first, second);
    failed(&conditional(&server, "PUT", "3", "if-match", &first).await);
    failed(&conditional(&server, "DELETE", "", "if-match", &first).await);
    failed(&conditional(&server, "PUT", "3", "if-none-match", &second).await);
    assert_eq!(server.ask("GET", "/v1/keys/k", "").await.done().text(), "2");

    let unchanged = conditional(&server, "GET", "", "if-none-match", &second).await;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    assert_eq!(unchanged.value("etag"), Some(&second[..]));
    assert_eq!(conditional(&server, "GET", "", "if-none-match", &first).await.done().text(), "2");
    failed(&conditional(&server, "GET", "", "if-match", &first).await);
    assert_eq!(conditional(&server, "GET", "", "if-match", &second).await.done().text(), "2");

    conditional(&server, "DELETE", "", "if-match", &second).await.done();
    failed(&conditional(&server, "DELETE", "", "if-match", &second).await);
    server.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_nobody_signed_changes_no_write() {
    let server = Server::start().await;
    server.ask("PUT", "/v1/keys/k", "1").await.done();
    for (method, body) in [("PUT", "2"), ("DELETE", "")] {
        for name in ["if-match", "if-none-match"] {
            let added = server.signed(method, "/v1/keys/k", body).header(name, "*");
            let answer = server.send(&added).await;
            assert_eq!(answer.refusal(), (403, "AccessDenied".to_owned()));
            let draft = server.draft(method, "/v1/keys/k", body).header(name, "*");
            let removed = server.sign(draft).without(name);
            assert_eq!(server.send(&removed).await.status, 400);
        }
    }
    assert_eq!(server.ask("GET", "/v1/keys/k", "").await.done().text(), "1");
    for value in ["1", "\"x\"", "\"1\", \"2\"", ""] {
        let answer = conditional(&server, "PUT", "2", "if-match", value).await;
        assert_eq!(answer.refusal(), (400, "InvalidRequest".to_owned()), "{value}");
    }
    server.node.shutdown().await;
}
