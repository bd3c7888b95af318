//! Over HTTP a user may do what its roles grant, and nothing else.

use chainfire::auth::{Credentials, SecretKey, Signer};
use chainfire::client::Client;
use chainfire::types::access::{Permission, PermissionKind};
use chainfire::types::{AccessOperation, KeyRange};

use crate::support::{Answer, Server};

/// ann reads what begins with `app/` and writes the key `app/hers`.
async fn ann(server: &Server) -> Signer {
    let root = server.directory.path().join("data/root-credentials.toml");
    let root = Credentials::load(&root).unwrap();
    let client = Client::builder()
        .endpoints([server.node.client_addr().to_string()])
        .credentials(&root)
        .build()
        .unwrap();
    let (user, role) = (|| "ann".to_owned(), || "app".to_owned());
    let grant = |kind, range| AccessOperation::GrantPermission {
        role: role(),
        permission: Permission { kind, range },
    };
    for operation in [
        AccessOperation::AddUser { name: user() },
        AccessOperation::AddRole { name: role() },
        grant(PermissionKind::Read, KeyRange::prefix("app/")),
        grant(PermissionKind::ReadWrite, KeyRange::single("app/hers")),
        AccessOperation::GrantRole { user: user(), role: role() },
    ] {
        client.change_access(operation).await.unwrap();
    }
    let created = client.create_key("ann").await.unwrap();
    Signer::new(
        created.access_key_id,
        SecretKey::new(created.secret_access_key),
        created.cluster_name,
        "chainfire",
    )
}

fn denied(answer: &Answer) {
    let (status, code) = answer.refusal();
    assert_eq!((status, code.as_str()), (403, "AccessDenied"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_does_what_its_roles_grant_and_nothing_else() {
    let server = Server::start().await;
    let ann = ann(&server).await;
    for key in ["app/hers", "app/theirs", "other"] {
        server.ask("PUT", &format!("/v1/keys/{key}"), "secret-value").await.done();
    }
    let ask = async |method: &str, target: &str, body: &str| {
        let request = server.sign_by(&ann, server.draft(method, target, body));
        server.send(&request).await
    };

    let read = ask("GET", "/v1/keys/app/theirs", "").await.done();
    assert_eq!(read.body, b"secret-value");
    ask("PUT", "/v1/keys/app/hers", "changed").await.done();
    let listed = ask("GET", "/v1/keys/app/?prefix=true", "").await;
    assert_eq!(listed.status, 400, "an empty last segment is asked for in a body");
    // `app/` to `app0`, in base64.
    let range = r#"{"key":"YXBwLw==","range_end":"YXBwMA=="}"#;
    assert_eq!(ask("POST", "/v1/kv/range", range).await.done().json()["count"], "2");

    for (method, target, body) in [
        ("GET", "/v1/keys/other", ""),
        ("PUT", "/v1/keys/other", "x"),
        ("PUT", "/v1/keys/app/theirs", "x"),
        ("DELETE", "/v1/keys/app/theirs", ""),
        // Everything, and one key more than is hers.
        ("POST", "/v1/kv/range", r#"{"key":"AA==","range_end":"AA=="}"#),
        ("POST", "/v1/kv/range", r#"{"key":"YXBwLw==","range_end":"YXBwMQ=="}"#),
        ("POST", "/v1/kv/range", r#"{"key":"YXBwLw==","range_end":"YXBwMQ==","count_only":true}"#),
        ("POST", "/v1/kv/deleterange", r#"{"key":"YXBwLw==","range_end":"YXBwMA=="}"#),
        ("POST", "/v1/kv/put", r#"{"key":"b3RoZXI=","value":"eA=="}"#),
        // A compare reads, and what is not done counts as what is.
        (
            "POST",
            "/v1/kv/txn",
            r#"{"compare":[{"key":"b3RoZXI=","target":"VERSION","result":"EQUAL","version":"1"}]}"#,
        ),
        (
            "POST",
            "/v1/kv/txn",
            r#"{"failure":[{"request_put":{"key":"b3RoZXI=","value":"eA=="}}]}"#,
        ),
        ("POST", "/v1/kv/compaction", r#"{"revision":"1"}"#),
    ] {
        let answer = ask(method, target, body).await;
        denied(&answer);
        assert!(!answer.text().contains("secret-value"), "{method} {target}");
    }
    let link = |path: &'static [u8]| {
        let url = chainfire::auth::Presign {
            authority: &server.host,
            path,
            query: &[],
            expires_seconds: 60,
        };
        ann.presign(&url, crate::support::now())
    };
    let followed = async |target: String| {
        let request = server.bare("GET", &target, "").without("x-amz-date");
        server.send(&request).await
    };
    followed(link(b"/v1/keys/app/theirs")).await.done();
    denied(&followed(link(b"/v1/keys/other")).await);
    for key in ["app/theirs", "other"] {
        let kept = server.ask("GET", &format!("/v1/keys/{key}"), "").await.done();
        assert_eq!(kept.body, b"secret-value", "{key}");
    }
    server.node.shutdown().await;
}
