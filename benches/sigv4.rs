//! What a signature costs: checking a request of 256 bytes, deriving a key, one HMAC; and that an
//! unknown key takes the time of a wrong signature.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use chainfire::auth::canonical::Header;
use chainfire::auth::session::{Channel, FrameFields, FrameSigner};
use chainfire::auth::signing_key::hmac_sha256;
use chainfire::auth::{
    AmzDate, KeyCache, KeyLookup, KnownKey, RequestHead, SecretKey, Signer, SigningKey,
    VerifyRules, verify,
};
use chainfire::types::Principal;
use criterion::{Criterion, criterion_group, criterion_main};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HOST: &str = "127.0.0.1:4603";

struct OneKey;

impl KeyLookup for OneKey {
    fn find(&self, id: &str) -> Option<KnownKey> {
        (id == "known").then(|| KnownKey { principal: Principal("root".into()), secret_version: 1 })
    }

    fn secret(&self, _id: &str) -> Option<SecretKey> {
        Some(SecretKey::new("secret"))
    }
}

fn signatures(c: &mut Criterion) {
    let now = AmzDate::from_unix(Duration::from_secs(1_800_000_000));
    let date = now.to_string();
    let rules = VerifyRules {
        region: "chainfire".into(),
        service: "chainfire".into(),
        authorities: vec![HOST.into()],
    };
    let body = Bytes::from(vec![b'v'; 256]);
    let signed = |key: &str, secret: &str| {
        let headers: [Header<'_>; 2] = [("host", HOST.as_bytes()), ("x-amz-date", date.as_bytes())];
        Signer::new(key, SecretKey::new(secret), "chainfire", "chainfire")
            .authorization("PUT", "/v1/keys/app", &headers, &body, now)
            .expect("a good target")
    };
    for (name, key, secret) in [
        ("verify_256_bytes", "known", "secret"),
        ("verify_wrong_signature", "known", "wrong"),
        ("verify_unknown_key", "other", "secret"),
    ] {
        let authorization = signed(key, secret);
        let headers: [Header<'_>; 3] = [
            ("host", HOST.as_bytes()),
            ("x-amz-date", date.as_bytes()),
            ("authorization", authorization.as_bytes()),
        ];
        let head = RequestHead { method: "PUT", target: "/v1/keys/app", headers: &headers };
        let cache = KeyCache::new([1; 32]);
        c.bench_function(name, |b| {
            b.iter(|| verify(&OneKey, &cache, &rules, black_box(&head), body.clone(), now).is_ok());
        });
    }
    frames(c, now);
    let signer = Signer::new("known", SecretKey::new("secret"), "chainfire", "chainfire");
    let (secret, scope) = (SecretKey::new("secret"), signer.scope(now));
    c.bench_function("derive_key", |b| b.iter(|| SigningKey::derive(black_box(&secret), &scope)));
    let key = signer.signing_key(now);
    c.bench_function("sign_64_bytes", |b| b.iter(|| key.sign(&[black_box(&[7; 64])])));
    c.bench_function("hmac_64_bytes", |b| b.iter(|| hmac_sha256(&[1; 32], black_box(&[7; 64]))));
}

/// A call over RPC: the signature of a frame of 256 bytes, whose key the connection has.
fn frames(c: &mut Criterion, date: AmzDate) {
    let signer = Signer::new("known", SecretKey::new("secret"), "chainfire", "chainfire");
    let frame_signer =
        || FrameSigner::new(Channel([7; 32]), signer.scope(date), signer.signing_key(date), date);
    let body = [b'v'; 256];
    let fields =
        FrameFields { path: "/chainfire/store/write", sequence: 9, timeout_ms: 5_000, date };
    let signature = frame_signer().sign(&fields, &body);
    let mut verifier = frame_signer();
    assert!(verifier.verify(&fields, &body, &signature));
    c.bench_function("verify_frame_256_bytes", |b| {
        b.iter(|| verifier.verify(black_box(&fields), black_box(&body), &signature));
    });
}

criterion_group!(benches, signatures);
criterion_main!(benches);
