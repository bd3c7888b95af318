//! What must not come in, sent over a socket: the verifier stands before every route.

use chainfire::auth::{Presign, SecretKey, Signer};

use crate::support::{Answer, Request, Server, ahead};

const NO_MATCH: (u16, &str) = (403, "SignatureDoesNotMatch");
const MALFORMED: (u16, &str) = (400, "AuthorizationHeaderMalformed");
const QUERY: (u16, &str) = (400, "AuthorizationQueryParametersError");
const URI: (u16, &str) = (400, "InvalidURI");
const DENIED: (u16, &str) = (403, "AccessDenied");
const SKEWED: (u16, &str) = (403, "RequestTimeTooSkewed");
const INCOMPLETE: (u16, &str) = (400, "IncompleteSignature");
const BODY: (u16, &str) = (400, "XAmzContentSHA256Mismatch");
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

type Case = (&'static str, Request, (u16, &'static str));

async fn refused(server: &Server, cases: Vec<Case>) {
    for (name, request, (status, code)) in cases {
        let answer = server.send(&request).await;
        assert_eq!(answer.refusal(), (status, code.to_owned()), "{name}: {request:?}");
    }
    // None of them has done anything.
    let answer = server.ask("GET", "/v1/keys?prefix=", "").await.done();
    assert_eq!(answer.json()["count"], "1", "{}", answer.text());
    assert_eq!(server.ask("GET", "/v1/keys/app/a%20b", "").await.done().text(), "value");
}

async fn start() -> Server {
    let server = Server::start().await;
    server.ask("PUT", "/v1/keys/app/a%20b", "value").await.done();
    server
}

fn put(server: &Server) -> Request {
    server.signed("PUT", "/v1/keys/app/a%20b", "other")
}

fn target(mut request: Request, from: &str, to: &str) -> Request {
    assert!(request.target.contains(from));
    request.target = request.target.replacen(from, to, 1);
    request
}

/// Signed as it is, then sent to another target.
fn method(mut request: Request, method: &str) -> Request {
    request.method = method.to_owned();
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_which_a_bit_was_changed() {
    let server = start().await;
    let list = || server.signed("GET", "/v1/keys?prefix=app%2F&limit=1", "");
    let mut cases = vec![
        ("method", method(put(&server), "DELETE"), NO_MATCH),
        ("path", target(put(&server), "a%20b", "a%20c"), NO_MATCH),
        ("path encoded twice", target(put(&server), "%20", "%2520"), NO_MATCH),
        ("path with an escaped slash", target(put(&server), "app/a", "app%2Fa"), NO_MATCH),
        ("query", target(list(), "limit=1", "limit=2"), NO_MATCH),
        ("parameter added", target(list(), "limit=1", "limit=1&revision=1"), NO_MATCH),
        ("parameter taken away", target(list(), "&limit=1", ""), NO_MATCH),
        ("nonce", put(&server).set("x-chainfire-nonce", "0x"), NO_MATCH),
        ("date", put(&server).set("x-amz-date", &ahead(7).to_string()), NO_MATCH),
    ];
    for bit in 0..8 {
        let mut request = put(&server);
        request.body[2] ^= 1 << bit;
        cases.push(("body", request, NO_MATCH));
    }
    let signed = put(&server);
    let signature = signed.value("authorization").expect("signed").to_owned();
    let last = if signature.ends_with('0') { "1" } else { "0" };
    let other = format!("{}{last}", &signature[..signature.len() - 1]);
    cases.push(("signature", signed.clone().set("authorization", &other), NO_MATCH));
    let short = &signature[..signature.len() - 1];
    cases.push(("signature cut short", signed.set("authorization", short), MALFORMED));
    refused(&server, cases).await;
    server.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_says_too_little_or_two_things() {
    let server = start().await;
    let draft = || server.draft("PUT", "/v1/keys/app/a%20b", "other");
    let authorization =
        |request: &Request| request.value("authorization").expect("signed").to_owned();
    let edit = |from: &str, to: &str| {
        let request = put(&server);
        let edited = authorization(&request).replacen(from, to, 1);
        assert_ne!(edited, authorization(&request));
        request.set("authorization", &edited)
    };
    let twice = put(&server);
    let twice = twice.clone().header("authorization", &authorization(&twice));
    let presigned_too = server.signed("GET", "/v1/keys/app/a%20b?X-Amz-Signature=0", "");
    let dated = |seconds| server.sign(draft().set("x-amz-date", &ahead(seconds).to_string()));
    let by = |region: &str, service: &str| {
        let secret = SecretKey::new("s".to_owned());
        server.sign_by(&Signer::new("key", secret, region, service), draft())
    };
    let cases = vec![
        ("no signature", draft(), (403, "MissingAuthenticationToken")),
        ("host not signed", edit("host;", ""), MALFORMED),
        ("date not signed", edit("x-amz-date;", ""), MALFORMED),
        ("nonce not signed", edit(";x-chainfire-nonce", ""), MALFORMED),
        ("names not in order", edit("host;x-amz-date", "x-amz-date;host"), MALFORMED),
        ("upper case names", edit("host;", "Host;"), MALFORMED),
        ("a header that is not there", edit("host;", "host;range;"), MALFORMED),
        ("another algorithm", edit("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), MALFORMED),
        ("another terminator", edit("aws4_request", "aws5_request"), MALFORMED),
        ("a field too many", edit("SignedHeaders", "Extra=1, SignedHeaders"), MALFORMED),
        ("a field too few", edit(", Signature=", ", Extra="), MALFORMED),
        ("another region", by("elsewhere", "chainfire"), MALFORMED),
        ("another service", by(server.signer.region(), "chainfire-peer"), MALFORMED),
        ("two authorizations", twice, MALFORMED),
        ("both modes", presigned_too, MALFORMED),
        ("date twice", put(&server).header("x-amz-date", &ahead(0).to_string()), MALFORMED),
        ("host twice", put(&server).header("host", &server.host), MALFORMED),
        ("an x-amz header added", put(&server).header("x-amz-acl", "public"), MALFORMED),
        ("no date", server.signed("GET", "/v1/keys/k", "").without("x-amz-date"), INCOMPLETE),
        ("a token", put(&server).header("x-amz-security-token", "t"), DENIED),
        ("another host", server.sign(draft().set("host", "example.com")), DENIED),
        (
            "a host by its forwarder",
            {
                let forwarded = draft().set("host", "example.com");
                server.sign(forwarded.header("x-forwarded-host", &server.host))
            },
            DENIED,
        ),
        ("late", dated(-902), SKEWED),
        ("early", dated(902), SKEWED),
    ];
    refused(&server, cases).await;
    // Nearly too late is in time, and the host may be told by its name.
    let late =
        server.bare("GET", "/v1/keys/app/a%20b", "").set("x-amz-date", &ahead(-890).to_string());
    server.send(&server.sign(late)).await.done();
    let named = server.host.replace("127.0.0.1", "localhost");
    let named = server.bare("GET", "/v1/keys/app/a%20b", "").set("host", &named);
    server.send(&server.sign(named)).await.done();
    server.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_means_nothing_or_two_things() {
    let server = start().await;
    // Each is signed for what it says, where it says anything.
    let mut cases = Vec::new();
    for path in [
        "/v1/keys/a/../b",
        "/v1/keys/a/./b",
        "/v1/keys/a//b",
        "/v1/keys/a/",
        "/v1/keys/%2e%2e/b",
        "/v1/keys/a%2F..%2Fb",
        "/v1/keys/%00",
        "/v1/keys/a?limit=1+2",
        "/v1/keys?prefix=a&prefix=b",
        "/v1/keys?prefix=a&%70refix=b",
        "/v1/keys/a?&",
    ] {
        cases.push((path, server.signed("GET", path, ""), URI));
    }
    for path in ["/v1/keys/%zz", "/v1/keys/%", "/v1/keys/a%4"] {
        let signed = server.signed("GET", "/v1/keys/a", "");
        cases.push((path, target(signed, "/v1/keys/a", path), URI));
    }
    let absolute = format!("http://{}/v1/keys/app/a%20b", server.host);
    let signed = server.signed("GET", "/v1/keys/app/a%20b", "");
    cases.push(("absolute form", target(signed, "/v1/keys/app/a%20b", &absolute), URI));
    let elsewhere = server.signed("GET", "/v1/keys/app/a%20b", "");
    let path = "http://example.com/v1/keys/app/a%20b";
    cases.push(("of another", target(elsewhere, "/v1/keys/app/a%20b", path), URI));
    refused(&server, cases).await;
    server.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_the_declared_one() {
    let server = start().await;
    let declared = |value: &str| {
        let draft = server.draft("PUT", "/v1/keys/app/a%20b", "other");
        server.sign(draft.header("x-amz-content-sha256", value))
    };
    let hash = chainfire::auth::hex::encode(&chainfire::auth::signing_key::sha256(b"other"));
    // A signature over no body, under a body.
    let mut empty = server.draft("PUT", "/v1/keys/app/a%20b", "");
    empty = server.sign(empty.header("x-amz-content-sha256", EMPTY_SHA256));
    empty.body = b"other".to_vec();
    let mut changed = declared(&hash);
    changed.body[0] ^= 1;
    let cases = vec![
        ("the hash of nothing", empty, BODY),
        ("a bit changed", changed, BODY),
        ("unsigned", declared("UNSIGNED-PAYLOAD"), BODY),
        ("upper case", declared(&hash.to_uppercase()), BODY),
        ("too short", declared(&hash[..63]), BODY),
    ];
    refused(&server, cases).await;
    let good = server.send(&declared(&hash)).await;
    assert_eq!(good.done().status, 200);
    server.node.shutdown().await;
}

fn presigned(server: &Server, path: &str, date: i64, expires_seconds: u64) -> Request {
    let url =
        Presign { authority: &server.host, path: path.as_bytes(), query: &[], expires_seconds };
    let target = server.signer.presign(&url, ahead(date));
    server.bare("GET", &target, "").without("x-amz-date")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presigned_link_reads_what_it_was_made_for_and_nothing_else() {
    let server = start().await;
    let link = || presigned(&server, "/v1/keys/app/a b", 0, 60);
    for _ in 0..2 {
        let read = server.send(&link()).await.done();
        assert_eq!(read.text(), "value", "a read may be repeated");
    }
    // A link is for reading: its bytes cannot be declared, and it has none.
    let unsigned = link().header("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    server.send(&unsigned).await.done();
    let cached = link().header("if-none-match", "*");
    assert_eq!(server.send(&cached).await.status, 304);
    let dropped = |name: &str| {
        let mut request = link();
        let (path, query) = request.target.split_once('?').expect("a query");
        let kept: Vec<_> = query.split('&').filter(|pair| !pair.starts_with(name)).collect();
        request.target = format!("{path}?{}", kept.join("&"));
        request
    };
    let added = |parameter: &str| {
        let mut request = link();
        request.target.push_str(parameter);
        request
    };
    let mut with_body = link();
    with_body.body = b"x".to_vec();
    let mut cases = vec![
        ("another key", target(link(), "a%20b", "a%20c"), NO_MATCH),
        ("a parameter more", added("&revision=1"), NO_MATCH),
        ("longer", target(link(), "Expires=60", "Expires=61"), NO_MATCH),
        ("a field that is not known", added("&X-Amz-Extra=1"), QUERY),
        ("a token", added("&X-Amz-Security-Token=t"), DENIED),
        ("a put", method(link(), "PUT"), DENIED),
        ("a delete", method(link(), "DELETE"), DENIED),
        ("a body", with_body, BODY),
        ("expired", presigned(&server, "/v1/keys/app/a b", -62, 60), DENIED),
        ("not yet", presigned(&server, "/v1/keys/app/a b", 902, 60), SKEWED),
        ("too long", presigned(&server, "/v1/keys/app/a b", 0, 604_801), QUERY),
        ("for no time", presigned(&server, "/v1/keys/app/a b", 0, 0), QUERY),
    ];
    for field in ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"] {
        cases.push((field, dropped(&format!("X-Amz-{field}")), INCOMPLETE));
    }
    refused(&server, cases).await;
    server.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_and_a_wrong_secret_are_answered_the_same() {
    let server = start().await;
    let by = |id: &str| {
        let signer = Signer::new(
            id,
            SecretKey::new("wrong".to_owned()),
            server.signer.region(),
            "chainfire",
        );
        server.sign_by(&signer, server.draft("GET", "/v1/keys/app/a%20b", ""))
    };
    let unknown = server.send(&by("CFUNKNOWN")).await;
    let wrong = server.send(&by(server.signer.access_key_id())).await;
    assert_eq!(unknown.refusal(), (NO_MATCH.0, NO_MATCH.1.to_owned()));
    let but_for_the_id = |answer: &Answer| {
        let id = answer.value("x-chainfire-request-id").expect("an id");
        let kept = answer.headers.iter().filter(|(name, _)| name != "date");
        let text = format!("{} {:?} {}", answer.status, kept.collect::<Vec<_>>(), answer.text());
        text.replace(id, "ID")
    };
    assert_eq!(but_for_the_id(&unknown), but_for_the_id(&wrong));
    server.node.shutdown().await;
}
