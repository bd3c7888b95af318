//! What must be let in.

use crate::support::{Draft, HOST, KEY, NOW, Node, at, presigned};

const DAY: u64 = 86_400;

fn put() -> Draft {
    Draft::new("PUT", "/v1/keys/app/a%20b?limit=3&x", b"value")
}

#[test]
fn a_signed_request_is_its_principals_and_says_what_was_signed() {
    let verified = Node::new().verify(&put().sign()).unwrap();
    assert_eq!(verified.by().principal().0, "root");
    assert_eq!(verified.by().access_key_id(), KEY);
    assert_eq!(verified.method(), "PUT");
    assert_eq!(verified.target().path(), b"/v1/keys/app/a b");
    assert_eq!(verified.target().parameter("limit"), Some(&b"3"[..]));
    assert_eq!(&verified.body()[..], b"value");
    assert_eq!(verified.date(), at(NOW));
}

#[test]
fn skew_up_to_fifteen_minutes_on_either_side() {
    let node = Node::new();
    for date in [NOW - 900, NOW - 899, NOW, NOW + 899, NOW + 900] {
        assert_eq!(node.code(&put().dated(date).sign()), "ok");
    }
}

#[test]
fn across_midnight_in_both_directions() {
    let midnight = NOW / DAY * DAY + DAY;
    for (date, now) in [(midnight - 60, midnight + 60), (midnight + 60, midnight - 60)] {
        let node = Node { now, ..Node::new() };
        assert_eq!(node.code(&put().dated(date).sign()), "ok");
    }
}

#[test]
fn every_advertised_host_with_its_port() {
    for host in [HOST, "localhost:4603"] {
        assert_eq!(Node::new().code(&put().header("host", host).sign()), "ok");
    }
}

#[test]
fn with_a_signed_hash_an_unsigned_hash_and_without_one() {
    let node = Node::new();
    assert_eq!(node.code(&put().sign()), "ok");
    assert_eq!(node.code(&put().hashed().sign()), "ok");
    let unsigned = Draft { signed: Some(vec!["host", "x-amz-date"]), ..put().hashed() };
    assert_eq!(node.code(&unsigned.sign()), "ok");
}

#[test]
fn headers_that_others_add_on_the_way_may_be_unsigned() {
    let request = put().sign().add("user-agent", "curl/8").add("accept", "*/*");
    assert_eq!(Node::new().code(&request.add("x-forwarded-host", "elsewhere")), "ok");
}

#[test]
fn names_of_headers_in_upper_case_on_the_wire() {
    let mut request = put().sign();
    for (name, _) in &mut request.headers {
        *name = name.to_uppercase();
    }
    assert_eq!(Node::new().code(&request), "ok");
}

#[test]
fn a_presigned_url_until_it_expires() {
    for (date, expires, now) in [
        (NOW, 1, NOW + 1),
        (NOW, 604_800, NOW + 604_800),
        (NOW, 3_600, NOW - 900),
        (NOW, 60, NOW + 60),
    ] {
        let node = Node { now, ..Node::new() };
        let verified = node.verify(&presigned(date, expires)).unwrap();
        assert_eq!(verified.target().path(), b"/v1/keys/app/a b");
        assert_eq!(verified.target().parameter("revision"), Some(&b"7"[..]));
    }
}

#[test]
fn the_same_write_with_a_fresh_nonce_under_another_signature() {
    let node = Node::new();
    let signature = |nonce: &str| {
        let draft = put().header("x-chainfire-nonce", nonce);
        let verified = node.verify(&draft.sign()).unwrap();
        assert_eq!(verified.good_until_seconds(), NOW + 900);
        verified.signature()
    };
    assert_eq!(signature("1"), signature("1"));
    assert_ne!(signature("1"), signature("2"));
}

#[test]
fn two_keys_of_one_user_while_they_are_rotated_under_load() {
    let (mut node, mut good) = (Node::new(), 0);
    let signed = |key: &str, secret: &str, date| {
        Draft { key: key.to_owned(), secret: secret.to_owned(), ..put().dated(date) }.sign()
    };
    let old = (KEY.to_owned(), node.keys.0[KEY].1.clone());
    let mut current = old;
    for round in 0..20_u64 {
        let next = (format!("CFKEY{round:011}"), format!("secret-{round}"));
        node.keys.0.insert(next.0.clone(), (1, next.1.clone()));
        node.cache.forget(&node.keys);
        for request in 0..50 {
            let (id, secret) = if request % 2 == 0 { &current } else { &next };
            assert_eq!(node.code(&signed(id, secret, NOW + round)), "ok");
            good += 1;
        }
        node.keys.0.remove(&current.0);
        node.cache.forget(&node.keys);
        let retired = signed(&current.0, &current.1, NOW + round);
        assert_eq!(node.code(&retired), "SignatureDoesNotMatch");
        current = next;
    }
    assert_eq!(good, 1_000);
    // One id that is given a new secret: the old one stops with it.
    node.keys.0.insert(current.0.clone(), (2, "another".to_owned()));
    assert_eq!(node.code(&signed(&current.0, &current.1, NOW)), "SignatureDoesNotMatch");
    assert_eq!(node.code(&signed(&current.0, "another", NOW)), "ok");
}
