//! Random requests against an independent implementation, the crate `aws-sigv4`: what it signs must
//! verify here, and our signature of the same request must be its own, by header and by query.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use chainfire::auth::{Part, Presign, aws_uri_encode};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::support::{Draft, HOST, KEY, NOW, Node, Request, SECRET, at};

const REQUESTS: u32 = 100_000;
const SEED: u64 = 20_261_124;

fn bytes(rng: &mut SmallRng, max: usize) -> Vec<u8> {
    let length = rng.random_range(1..=max);
    (0..length).map(|_| rng.random_range(1..=127_u8)).collect()
}

/// Text of any alphabet: the other side takes values as UTF-8.
fn text(rng: &mut SmallRng) -> String {
    let mut text = String::from_utf8(bytes(rng, 8)).unwrap();
    if rng.random_bool(0.3) {
        text.push(rng.random_range('\u{80}'..'\u{d7ff}'));
    }
    text
}

fn path(rng: &mut SmallRng) -> Vec<u8> {
    let mut path = b"/v1/keys".to_vec();
    for _ in 0..rng.random_range(0..3) {
        path.push(b'/');
        let segment = text(rng).replace(['/', '.'], "-");
        path.extend_from_slice(segment.as_bytes());
    }
    path
}

fn query(rng: &mut SmallRng) -> Vec<(String, String)> {
    let count = rng.random_range(0..4);
    let mut pairs: Vec<(String, String)> =
        (0..count).map(|n| (format!("{}{n}", text(rng)), text(rng))).collect();
    if rng.random_bool(0.2) {
        pairs.push(("flag".to_owned(), String::new()));
    }
    pairs
}

fn draft(rng: &mut SmallRng, presign: bool) -> (Draft, Vec<u8>, Vec<(String, String)>) {
    let (path, query) = (path(rng), query(rng));
    let encoded: Vec<String> = query
        .iter()
        .map(|(name, value)| {
            let encode = |text: &String| aws_uri_encode(text.as_bytes(), Part::Query);
            format!("{}={}", encode(name), encode(value))
        })
        .collect();
    let mut target = aws_uri_encode(&path, Part::Path);
    if !encoded.is_empty() {
        target = format!("{target}?{}", encoded.join("&"));
    }
    let methods = ["PUT", "GET", "POST", "DELETE"];
    let method = if presign { "GET" } else { methods[rng.random_range(0..4)] };
    let body = if presign { Vec::new() } else { bytes(rng, 64) };
    let mut draft = Draft::new(method, &target, &body);
    for n in 0..rng.random_range(0..3) {
        let value: String =
            (0..rng.random_range(1..20)).map(|_| rng.random_range(' '..='~')).collect();
        // A client sends no blanks around a value.
        draft = if presign { draft } else { draft.header(&format!("h-{n}"), value.trim()) };
    }
    (draft, path, query)
}

/// The same request as the other side signs it.
fn signed_by_the_crate(draft: &Draft, presign: bool) -> (Request, String) {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
    if presign {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(60));
    }
    let identity = Credentials::new(KEY, SECRET, None, None, "test").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("chainfire")
        .name("chainfire")
        .time(UNIX_EPOCH + Duration::from_secs(NOW))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let uri = format!("http://{HOST}{}", draft.target);
    let headers = draft.headers.iter().map(|(name, value)| (&name[..], &value[..]));
    let body = SignableBody::Bytes(&draft.body);
    let signable = SignableRequest::new(&draft.method, uri, headers, body).unwrap();
    let (instructions, signature) = sign(signable, &params).unwrap().into_parts();
    let (added_headers, added_query) = instructions.into_parts();
    let mut request = Request {
        method: draft.method.clone(),
        target: draft.target.clone(),
        headers: draft.headers.clone(),
        body: draft.body.clone(),
    };
    for header in &added_headers {
        request.headers.push((header.name().to_owned(), header.value().to_owned()));
    }
    for (name, value) in added_query {
        let separator = if request.target.contains('?') { '&' } else { '?' };
        let value = aws_uri_encode(value.as_bytes(), Part::Query);
        request.target = format!("{}{separator}{name}={value}", request.target);
    }
    (request, signature)
}

#[test]
fn a_hundred_thousand_random_requests_agree_with_aws_sigv4() {
    println!("seed {SEED}");
    let mut rng = SmallRng::seed_from_u64(SEED);
    let node = Node::new();
    for number in 0..REQUESTS {
        let presign = number % 4 == 0;
        let (draft, path, query) = draft(&mut rng, presign);
        let (theirs, signature) = signed_by_the_crate(&draft, presign);
        let verified = node.verify(&theirs).unwrap_or_else(|error| panic!("{error}: {theirs:?}"));
        assert_eq!(verified.target().path(), path);
        for (name, value) in &query {
            assert_eq!(verified.target().parameter(name), Some(value.as_bytes()));
        }
        assert_eq!(verified.signature().to_string(), signature);
        let ours = if presign {
            let pairs: Vec<_> =
                query.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
            let url = Presign { authority: HOST, path: &path, query: &pairs, expires_seconds: 60 };
            draft.signer().presign(&url, at(NOW))
        } else {
            let date = at(NOW).to_string();
            let mut headers: Vec<_> =
                draft.headers.iter().map(|(n, v)| (&n[..], v.as_bytes())).collect();
            headers.push(("x-amz-date", date.as_bytes()));
            let signer = draft.signer();
            signer
                .authorization(&draft.method, &draft.target, &headers, &draft.body, at(NOW))
                .unwrap()
        };
        assert!(ours.ends_with(&signature), "{ours} {theirs:?}");
    }
}
