//! What must be refused, and under which name.

use chainfire::auth::AuthError;

use crate::support::{Draft, INACTIVE, NOW, Node, Request, at, presigned};

const MALFORMED: &str = "AuthorizationHeaderMalformed";
const QUERY: &str = "AuthorizationQueryParametersError";
const NO_MATCH: &str = "SignatureDoesNotMatch";
const BODY: &str = "XAmzContentSHA256Mismatch";

fn put() -> Draft {
    Draft::new("PUT", "/v1/keys/app/a%20b?limit=3", b"value")
        .header("content-type", "application/octet-stream")
}

fn refused(cases: Vec<(&str, Request, &str)>) {
    let node = Node::new();
    assert_eq!(node.code(&put().sign()), "ok");
    for (name, request, code) in cases {
        assert_eq!(node.code(&request), code, "{name}: {request:?}");
    }
}

#[test]
fn a_request_of_which_anything_signed_was_changed() {
    let signed = || put().sign();
    let mut method = signed();
    method.method = "DELETE".to_owned();
    let mut header = signed();
    *header.header("content-type") = "text/plain".to_owned();
    let mut date = signed();
    *date.header("x-amz-date") = at(NOW + 1).to_string();
    refused(vec![
        ("method", method, NO_MATCH),
        ("path", signed().target("a%20b", "a%20c"), NO_MATCH),
        ("query", signed().target("limit=3", "limit=4"), NO_MATCH),
        ("added parameter", signed().target("limit=3", "limit=3&revision=1"), NO_MATCH),
        ("removed parameter", signed().target("?limit=3", ""), NO_MATCH),
        ("header", header, NO_MATCH),
        ("date", date, NO_MATCH),
    ]);
    // Another encoding of the same path is the same request; a path encoded twice is another.
    let twice = Draft { target: "/v1/keys/app/a%20b".to_owned(), ..put() }.sign();
    refused(vec![("twice", twice.target("%20", "%2520"), NO_MATCH)]);
}

#[test]
fn every_bit_of_the_body_and_of_the_signature() {
    let node = Node::new();
    for (draft, code) in [(put(), NO_MATCH), (put().hashed(), BODY)] {
        for bit in 0..8 * draft.body.len() {
            let mut request = draft.sign();
            request.body[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(node.code(&request), code);
        }
    }
    let request = put().sign();
    let signature = request.headers.last().unwrap().1.rsplit('=').next().unwrap().to_owned();
    for place in 0..64 {
        for digit in "0123456789abcdef".chars() {
            let mut other: Vec<char> = signature.chars().collect();
            if other[place] == digit {
                continue;
            }
            other[place] = digit;
            let other: String = other.into_iter().collect();
            assert_eq!(node.code(&request.clone().authorization(&signature, &other)), NO_MATCH);
        }
    }
    for other in [&signature[..63], &signature[..32], &signature.to_uppercase(), &"0".repeat(66)] {
        assert_eq!(node.code(&request.clone().authorization(&signature, other)), MALFORMED);
    }
}

#[test]
fn an_unknown_an_inactive_and_a_wrong_key_cannot_be_told_apart() {
    let node = Node::new();
    let of = |key: &str, secret: &str| {
        let draft = Draft { key: key.to_owned(), secret: secret.to_owned(), ..put() };
        node.verify(&draft.sign()).unwrap_err()
    };
    let errors = [
        of("CFNOBODY00000001", "any"),
        of(INACTIVE, "its own secret"),
        of(crate::support::KEY, "wrong"),
        of("CFNOBODY00000001", ""),
    ];
    for error in errors {
        assert_eq!(error, AuthError::SignatureDoesNotMatch);
        assert_eq!(error.status(), 403);
    }
}

#[test]
fn headers_that_are_not_signed_not_there_or_there_twice() {
    let only = |signed: &[&'static str]| Draft { signed: Some(signed.to_vec()), ..put() }.sign();
    let nonce = put().header("x-chainfire-nonce", "1").header("x-amz-meta", "1");
    let unsigned =
        |signed: &[&'static str]| Draft { signed: Some(signed.to_vec()), ..nonce.clone() }.sign();
    refused(vec![
        ("no host", only(&["x-amz-date"]), MALFORMED),
        ("no date", only(&["host"]), MALFORMED),
        ("nonce", unsigned(&["host", "x-amz-date", "x-amz-meta"]), MALFORMED),
        ("x-amz-*", unsigned(&["host", "x-amz-date", "x-chainfire-nonce"]), MALFORMED),
        ("added x-amz-*", put().sign().add("x-amz-acl", "public"), MALFORMED),
        ("added nonce", put().sign().add("X-Chainfire-Nonce", "2"), MALFORMED),
        ("not there", put().sign().without("content-type"), MALFORMED),
        ("date not there", put().sign().without("x-amz-date"), "IncompleteSignature"),
        ("signed twice", put().sign().add("content-type", "text/plain"), MALFORMED),
        ("host twice", put().sign().add("host", "evil"), MALFORMED),
        ("Host twice", put().sign().add("Host", "evil"), MALFORMED),
        ("date twice", put().sign().add("x-amz-date", &at(NOW).to_string()), MALFORMED),
        (
            "length twice",
            put().sign().add("content-length", "5").add("content-length", "6"),
            MALFORMED,
        ),
        ("unsorted", only(&["x-amz-date", "host"]), MALFORMED),
        (
            "upper case",
            put().sign().authorization("=content-type;host", "=Content-Type;host"),
            MALFORMED,
        ),
        ("a name twice", only(&["host", "host", "x-amz-date"]), MALFORMED),
        (
            "an empty name",
            put().sign().authorization("content-type;host", "content-type;;host"),
            MALFORMED,
        ),
    ]);
}

#[test]
fn an_authorization_header_that_is_not_one() {
    let signed = || put().sign();
    let credential = "20270115/chainfire/chainfire/aws4_request";
    let of = |header: &str| signed().without("authorization").add("authorization", header);
    refused(vec![
        ("none", signed().without("authorization"), "MissingAuthenticationToken"),
        ("two", signed().add("authorization", "Bearer x"), MALFORMED),
        ("basic", of("Basic dXNlcjpwYXNz"), MALFORMED),
        ("empty", of(""), MALFORMED),
        ("algorithm", signed().authorization("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512"), MALFORMED),
        ("v4a", signed().authorization("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), MALFORMED),
        ("lower case", signed().authorization("AWS4-HMAC-SHA256", "aws4-hmac-sha256"), MALFORMED),
        ("no field", of("AWS4-HMAC-SHA256"), "IncompleteSignature"),
        ("no credential", signed().authorization("Credential=", "X="), MALFORMED),
        ("a field more", signed().authorization(", Signature=", ", More=1, Signature="), MALFORMED),
        (
            "a field twice",
            signed().authorization(", Signature=", ", SignedHeaders=host, Signature="),
            MALFORMED,
        ),
        (
            "four parts",
            signed().authorization(credential, "20270115/chainfire/aws4_request"),
            MALFORMED,
        ),
        ("six parts", signed().authorization(credential, &format!("x/{credential}")), MALFORMED),
        ("terminator", signed().authorization("aws4_request", "aws5_request"), MALFORMED),
        ("day", signed().authorization("/20270115/", "/20270114/"), MALFORMED),
        ("session token", put().header("x-amz-security-token", "t").sign(), "AccessDenied"),
    ]);
    for missing in ["Credential", "SignedHeaders", "Signature"] {
        let mut request = signed();
        let header = request.header("authorization");
        let (algorithm, fields) = header.split_once(' ').unwrap();
        let rest: Vec<_> =
            fields.split(", ").filter(|f| !f.starts_with(&format!("{missing}="))).collect();
        *header = format!("{algorithm} {}", rest.join(", "));
        refused(vec![(missing, request, "IncompleteSignature")]);
    }
    let region = Draft { region: "us-east-1".to_owned(), ..put() };
    let service = Draft { service: "s3".to_owned(), ..put() };
    let peer = Draft { service: "chainfire-peer".to_owned(), ..put() };
    refused(vec![
        ("region", region.sign(), MALFORMED),
        ("service", service.sign(), MALFORMED),
        ("peer key", peer.sign(), MALFORMED),
    ]);
}

#[test]
fn dates_and_clocks_that_are_apart() {
    for date in [NOW - 901, NOW + 901, NOW - 86_400, NOW + 86_400, 0] {
        let error = Node::new().verify(&put().dated(date).sign()).unwrap_err();
        assert_eq!(error.code(), "RequestTimeTooSkewed");
        let skew = NOW.abs_diff(date).to_string();
        assert!(error.to_string().contains(&skew), "{error}");
    }
    let malformed = put().header("x-amz-date", "2027-01-15T08:00:00Z").sign();
    refused(vec![("form", malformed, MALFORMED)]);
}

#[test]
fn hosts_that_are_not_ours() {
    let host = |host: &str| put().header("host", host).sign();
    refused(vec![
        ("another node", host("127.0.0.1:4613"), "AccessDenied"),
        ("no port", host("127.0.0.1"), "AccessDenied"),
        ("forwarded", host("evil").add("x-forwarded-host", crate::support::HOST), "AccessDenied"),
        (
            "changed",
            {
                let mut r = put().sign();
                *r.header("host") = "localhost:4603".into();
                r
            },
            NO_MATCH,
        ),
    ]);
}

#[test]
fn targets_that_mean_nothing_or_two_things() {
    let of = |target: &str| Draft { target: target.to_owned(), ..put() }.sign();
    for target in [
        "http://127.0.0.1:4603/v1/keys/a",
        "*",
        "/v1/keys/a?x=1+2",
        "/v1/keys/a?x=1&x=2",
        "/v1/keys/%zz",
        "/v1/keys/a/../b",
        "/v1/keys//b",
        "/v1/keys/%2e%2e/b",
        "/v1/keys/%2e%2e%2fb",
        "/v1/keys/%00",
    ] {
        refused(vec![(target, of(target), "InvalidURI")]);
    }
    let headers = (0..70).fold(put().sign(), |request, n| request.add(&format!("h{n}"), "v"));
    let bytes = put().sign().add("cookie", &"x".repeat(17_000));
    refused(vec![
        ("long target", of(&format!("/{}", "a".repeat(9_000))), "RequestHeaderSectionTooLarge"),
        ("many headers", headers, "RequestHeaderSectionTooLarge"),
        ("long headers", bytes, "RequestHeaderSectionTooLarge"),
    ]);
}

#[test]
fn bodies_that_are_unsigned_streamed_or_not_the_ones_declared() {
    let declared = |text: &str| Draft {
        payload: Some(text.to_owned()),
        ..put().header("x-amz-content-sha256", text)
    };
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    refused(vec![
        ("the hash of nothing with a body", declared(empty).sign(), BODY),
        ("upper case", declared(&empty.to_uppercase()).sign(), BODY),
        ("short", declared(&empty[..62]).sign(), BODY),
        ("unsigned payload on a write", declared("UNSIGNED-PAYLOAD").sign(), BODY),
    ]);
    let unsigned_get = Draft { method: "GET".into(), body: vec![], ..declared("UNSIGNED-PAYLOAD") };
    refused(vec![("unsigned payload without a presigned URL", unsigned_get.sign(), BODY)]);
    for streaming in [
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
        "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
    ] {
        for (method, target) in [
            ("PUT", "/v1/keys/a"),
            ("GET", "/v1/keys/a"),
            ("DELETE", "/v1/keys/a"),
            ("POST", "/v1/kv/put"),
            ("POST", "/v1/kv/range"),
            ("POST", "/v1/kv/txn"),
            ("POST", "/v1/kv/deleterange"),
            ("POST", "/v1/kv/compaction"),
            ("POST", "/v1/cluster/member/list"),
            ("POST", "/v1/maintenance/status"),
        ] {
            let draft =
                Draft { method: method.into(), target: target.into(), ..declared(streaming) };
            let unsigned = draft.sign().without("authorization");
            let mut in_query = presigned(NOW, 60).add("x-amz-content-sha256", streaming);
            in_query.method = method.to_owned();
            let by_query = if method == "GET" { BODY } else { "AccessDenied" };
            refused(vec![
                ("header", draft.sign(), BODY),
                ("no credentials", unsigned, "MissingAuthenticationToken"),
                ("query", in_query, by_query),
            ]);
        }
    }
}

#[test]
fn presigned_urls_that_are_not_good() {
    let node_at = |now| Node { now, ..Node::new() };
    let code = |now, request: &Request| node_at(now).code(request);
    assert_eq!(code(NOW + 61, &presigned(NOW, 60)), "AccessDenied");
    assert_eq!(code(NOW - 901, &presigned(NOW, 60)), "RequestTimeTooSkewed");
    for expires in ["0", "604801", "-1", "x", "1e3", "%2B60", "99999999999999999999"] {
        let request = presigned(NOW, 60).target("Expires=60", &format!("Expires={expires}"));
        assert_eq!(code(NOW, &request), QUERY, "{expires}");
    }
    let mut other_method = presigned(NOW, 60);
    for method in ["PUT", "DELETE", "POST", "HEAD"] {
        other_method.method = method.to_owned();
        assert_eq!(code(NOW, &other_method), "AccessDenied", "{method}");
    }
    let mut with_body = presigned(NOW, 60);
    with_body.body = b"x".to_vec();
    assert_eq!(code(NOW, &with_body), BODY);
    for (from, to, expected) in [
        ("revision=7", "revision=8", NO_MATCH),
        ("revision=7", "revision=7&limit=1", NO_MATCH),
        ("revision=7", "revision=7&X-Amz-Extra=1", QUERY),
        ("revision=7", "revision=7&X-Amz-Security-Token=t", "AccessDenied"),
        ("revision=7", "revision=7&X-Amz-Content-Sha256=STREAMING-UNSIGNED-PAYLOAD-TRAILER", BODY),
        ("X-Amz-Date=", "x-amz-date=", QUERY),
        ("Expires=60", "Expires=61", NO_MATCH),
        ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1", QUERY),
        ("aws4_request", "aws4_reques", QUERY),
        ("app", "apple", NO_MATCH),
        ("SignedHeaders=host", "SignedHeaders=accept", QUERY),
    ] {
        assert_eq!(code(NOW, &presigned(NOW, 60).target(from, to)), expected, "{from} -> {to}");
    }
    let target = presigned(NOW, 60).target;
    let (path, query) = target.split_once('?').unwrap();
    for missing in query.split('&').filter(|pair| pair.starts_with("X-Amz-")) {
        let rest: Vec<_> = query.split('&').filter(|pair| *pair != missing).collect();
        let mut request = presigned(NOW, 60);
        request.target = format!("{path}?{}", rest.join("&"));
        assert_eq!(code(NOW, &request), "IncompleteSignature", "{missing}");
    }
    let both = put().sign();
    let both = both.target("limit=3", "limit=3&X-Amz-Signature=00");
    assert_eq!(code(NOW, &both), MALFORMED);
}

#[test]
fn a_write_that_is_for_another_node() {
    let mut elsewhere = Node::new();
    elsewhere.rules.authorities = vec!["127.0.0.1:4613".to_owned()];
    assert_eq!(elsewhere.code(&put().sign()), "AccessDenied");
}
