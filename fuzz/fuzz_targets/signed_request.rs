//! What the verifier reads of a stranger: target, headers, credentials, dates, escapes.
//!
//! The input is a request as text: a request line, header lines, an empty line, a body.
#![no_main]

use std::time::Duration;

use chainfire::auth::canonical::{canonical_path, canonical_query};
use chainfire::auth::encode::percent_decode;
use chainfire::auth::{
    AmzDate, KeyCache, KeyLookup, KnownKey, Part, Presign, RequestHead, SecretKey, Signer, Target,
    VerifyRules, aws_uri_encode, verify,
};
use chainfire::types::Principal;
use libfuzzer_sys::fuzz_target;

const HOST: &str = "127.0.0.1:4603";
const NOW: u64 = 1_800_000_000;

struct OneKey;

impl KeyLookup for OneKey {
    fn find(&self, id: &str) -> Option<KnownKey> {
        (id == "known").then(|| KnownKey { principal: Principal("root".into()), secret_version: 1 })
    }

    fn secret(&self, _id: &str) -> Option<SecretKey> {
        Some(SecretKey::new("secret"))
    }
}

fuzz_target!(
    init: chainfire_fuzz::plant(seeds()),
    |bytes: &[u8]| {
        if let Some(date) = AmzDate::parse(bytes) {
            assert_eq!(date.to_string().as_bytes(), bytes);
        }
        if let Ok(decoded) = percent_decode(bytes) {
            let encoded = aws_uri_encode(&decoded, Part::Query);
            assert_eq!(percent_decode(encoded.as_bytes()), Ok(decoded));
        }
        request(bytes);
    }
);

fn request(bytes: &[u8]) {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\n\n") else { return };
    let (head, body) = (&bytes[..end], &bytes[end + 2..]);
    let Ok(head) = std::str::from_utf8(head) else { return };
    let mut lines = head.lines();
    let Some((method, target)) = lines.next().and_then(|line| line.split_once(' ')) else { return };
    if let Ok(target) = Target::parse(target) {
        assert!(target.path().starts_with(b"/"));
        let again = canonical_query(target.query().iter().map(|(n, v)| (&n[..], &v[..])));
        let path = canonical_path(&aws_uri_encode(target.path(), Part::Path));
        let same = Target::parse(&format!("{}?{again}", path.expect("encoded well")));
        assert_eq!(same.expect("one that was taken").path(), target.path());
    }
    let headers: Vec<_> =
        lines.filter_map(|line| line.split_once(':')).map(|(n, v)| (n, v.as_bytes())).collect();
    let rules = VerifyRules {
        region: "chainfire".into(),
        service: "chainfire".into(),
        authorities: vec![HOST.into()],
    };
    let head = RequestHead { method, target, headers: &headers };
    let now = AmzDate::from_unix(Duration::from_secs(NOW));
    let cache = KeyCache::new([1; 32]);
    if let Ok(verified) = verify(&OneKey, &cache, &rules, &head, body.to_vec().into(), now) {
        assert_eq!(verified.by().access_key_id(), "known");
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let date = AmzDate::from_unix(Duration::from_secs(NOW));
    let signer = Signer::new("known", SecretKey::new("secret"), "chainfire", "chainfire");
    let date_text = date.to_string();
    let headers = [("host", HOST.as_bytes()), ("x-amz-date", date_text.as_bytes())];
    let mut seeds = vec![date_text.as_bytes().to_vec(), b"a%20b%2Fc".to_vec()];
    for (method, target, body) in [
        ("PUT", "/v1/keys/app/a%20b?limit=3&x", &b"value"[..]),
        ("POST", "/v1/kv/range", b"{\"key\":\"YQ==\"}"),
    ] {
        let authorization =
            signer.authorization(method, target, &headers, body, date).expect("a good target");
        let head = format!(
            "{method} {target}\nhost:{HOST}\nx-amz-date:{date}\nauthorization:{authorization}\n\n"
        );
        seeds.push([head.as_bytes(), body].concat());
    }
    let url = Presign { authority: HOST, path: b"/v1/keys/a", query: &[], expires_seconds: 60 };
    seeds.push(format!("GET {}\nhost:{HOST}\n\n", signer.presign(&url, date)).into_bytes());
    seeds
}
