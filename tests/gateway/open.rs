//! A node without authentication.

use crate::support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn serves_this_machine_and_no_page_in_its_browser() {
    let server = Server::start_with(|config| config.auth.insecure_no_auth = true).await;
    let bare = |method: &str, body: &str| server.bare(method, "/v1/keys/k", body);
    server.send(&bare("PUT", "v")).await.done();
    assert_eq!(server.send(&bare("GET", "")).await.done().text(), "v");
    let denied = (403, "AccessDenied".to_owned());
    let page = bare("PUT", "w").header("origin", "http://example.com");
    assert_eq!(server.send(&page).await.refusal(), denied);
    let rebound = bare("PUT", "w").set("host", "example.com");
    assert_eq!(server.send(&rebound).await.refusal(), denied);
    let twice = bare("PUT", "w").header("host", &server.host);
    assert_eq!(server.send(&twice).await.refusal(), denied);
    let dots = server.bare("PUT", "/v1/keys/a/../k", "w");
    assert_eq!(server.send(&dots).await.refusal(), (400, "InvalidURI".to_owned()));
    assert_eq!(server.send(&bare("GET", "")).await.done().text(), "v");
    server.node.shutdown().await;
}
