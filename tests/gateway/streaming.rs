//! Bodies that are signed in pieces, or not at all, on every route and in every way of asking.

use chainfire::auth::Presign;
use chainfire::http::gateway::ROUTES;

use crate::support::{Request, Server, ahead};

const PAYLOADS: [&str; 7] = [
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "STREAMING-",
    "UNSIGNED-PAYLOAD",
];

/// The same request with its credentials in the header, in the query, and with none.
fn ways(server: &Server, method: &str, path: &str, payload: &str) -> [(Request, &'static str); 3] {
    let body = "5;chunk-signature=0\r\nvalue\r\n0;chunk-signature=0\r\n\r\n";
    let draft = server.draft(method, path, body).header("x-amz-content-sha256", payload);
    let url = Presign {
        authority: &server.host,
        path: path.as_bytes(),
        query: &[(b"X-Amz-Content-Sha256", payload.as_bytes())],
        expires_seconds: 60,
    };
    let target = server.signer.presign(&url, ahead(0));
    let presigned = server.bare(method, &target, body).without("x-amz-date");
    let in_query = if method == "GET" { "XAmzContentSHA256Mismatch" } else { "AccessDenied" };
    [
        (server.sign(draft.clone()), "XAmzContentSHA256Mismatch"),
        (presigned, in_query),
        (draft, "MissingAuthenticationToken"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn are_refused_everywhere() {
    let server = Server::start().await;
    for (method, path) in ROUTES {
        let path = path.replace("{key}", "k");
        for payload in PAYLOADS {
            for (request, code) in ways(&server, method, &path, payload) {
                let answer = server.send(&request).await;
                assert_eq!(answer.refusal().1, code, "{method} {path} {payload}");
            }
        }
    }
    let answer = server.ask("GET", "/v1/keys?prefix=", "").await.done();
    assert_eq!(answer.json().get("count"), None, "nothing was written");
    server.node.shutdown().await;
}
