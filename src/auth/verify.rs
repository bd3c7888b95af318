//! The verifier: the only one there is, and the only maker of a [`Verified`].
//!
//! In order: target, mode, credential, date, signed headers, query, body, key, comparison. A head
//! is checked before its body is read ([`check_head`]), so that a stranger cannot make the node read
//! one when the client declared the body's hash; then the body is held against the declaration.
//! Without one the body's own hash is what was signed.
//!
//! Whether a mutation was seen before is asked of the replicated state, where its signature is its
//! request id; what its principal may do, of the rules.

use std::borrow::Cow;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::canonical::{CanonicalRequest, Header};
use super::claim::{Claim, EXPIRES_SECONDS_MAX, Mode, values};
use super::error::AuthError;
use super::key_cache::{KeyCache, KeyLookup};
use super::signed_headers::{self, CONTENT_SHA256};
use super::signing_key::{
    STRING_TO_SIGN_BYTES, Signature, SigningKey, sha256, write_string_to_sign_head,
};
use super::target::Target;
use super::{AmzDate, hex};
use crate::types::Principal;

/// How far a request's date may be from the node's clock, in seconds.
pub const SKEW_SECONDS_MAX: u64 = 900;

/// Most headers of a request.
pub const HEADERS_MAX: usize = 64;

/// Most bytes of names and values of headers.
pub const HEADER_BYTES_MAX: usize = 16 * 1_024;

/// The payload line of a presigned URL that was made without knowing the body.
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// The hash of no bytes.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

const _: () = assert!(SKEW_SECONDS_MAX < EXPIRES_SECONDS_MAX);

/// What a request must be signed for to be for this node.
#[derive(Clone, Debug)]
pub struct VerifyRules {
    /// The cluster's name.
    pub region: String,
    /// The service.
    pub service: String,
    /// What the `host` header may be, verbatim, with its port.
    pub authorities: Vec<String>,
}

/// A request without its body, as it stood on the wire.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a str,
    /// The target of the request line.
    pub target: &'a str,
    /// Every header line.
    pub headers: &'a [Header<'a>],
}

/// Who signed a request. Only the verifier makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPrincipal {
    principal: Principal,
    access_key_id: String,
}

impl VerifiedPrincipal {
    /// The user.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The key that signed.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }
}

/// A request that was verified, and all that may be dispatched from.
#[derive(Clone, Debug)]
pub struct Verified {
    by: VerifiedPrincipal,
    method: Cow<'static, str>,
    target: Target,
    body: Bytes,
    date: AmzDate,
    good_until_seconds: u64,
    signature: Signature,
    /// The names, as they were declared: separated by `;`.
    signed_headers: String,
}

impl Verified {
    /// Who signed it.
    pub fn by(&self) -> &VerifiedPrincipal {
        &self.by
    }

    /// The method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The target.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Whether a header, by its lower-case name, was signed: whether it says what the client said.
    pub fn signs_header(&self, name: &str) -> bool {
        self.signed_headers.split(';').any(|signed| signed == name)
    }

    /// When it was signed.
    pub fn date(&self) -> AmzDate {
        self.date
    }

    /// Until when it is accepted, in seconds since 1970.
    pub fn good_until_seconds(&self) -> u64 {
        self.good_until_seconds
    }

    /// What no other request has.
    pub fn signature(&self) -> Signature {
        self.signature
    }
}

/// What the client says of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Payload {
    /// Its hash.
    Declared([u8; 32]),
    /// That there is none, on a presigned URL, in one of two ways.
    NoneSent,
    /// Nothing: the hash of what arrives was signed.
    Undeclared,
}

/// A head that may be followed by its body.
#[derive(Debug)]
pub struct CheckedHead {
    signed: Signed,
    payload: Payload,
    /// Whether the signature was already found good.
    matched: bool,
    verified: Verified,
}

/// A signature with everything but the payload line of what it must be of.
#[derive(Debug)]
struct Signed {
    canonical: Vec<u8>,
    /// Has absorbed the string to sign, up to the hash of the canonical request.
    key: SigningKey,
    signature: Signature,
    /// Whether the key is one in force.
    known: bool,
}

impl Signed {
    /// Whether it is the signature over `payload`. The comparison is made also for a key that is
    /// not in force.
    fn is_over(&self, payload: &[u8]) -> bool {
        let canonical = Sha256::new().chain_update(&self.canonical).chain_update(payload);
        let hash = hex::encode_hash(&canonical.finalize().into());
        self.key.verify(&[&hash], &self.signature) & self.known
    }
}

impl CheckedHead {
    /// The request, once its body has arrived.
    ///
    /// # Errors
    /// [`AuthError::SignatureDoesNotMatch`], [`AuthError::XAmzContentSha256Mismatch`].
    pub fn with_body(mut self, body: Bytes) -> Result<Verified, AuthError> {
        match self.payload {
            Payload::Declared(hash) if sha256(&body) != hash => {
                return Err(mismatch("the body has another hash"));
            }
            Payload::NoneSent if !body.is_empty() => {
                return Err(mismatch("a presigned request has no body"));
            }
            Payload::Undeclared => {
                self.matched = self.signed.is_over(&hex::encode_hash(&sha256(&body)));
            }
            Payload::Declared(_) | Payload::NoneSent => {}
        }
        if !self.matched {
            return Err(AuthError::SignatureDoesNotMatch);
        }
        self.verified.body = body;
        Ok(self.verified)
    }
}

/// Verifies a whole request; `now` is the node's clock.
///
/// # Errors
/// Any [`AuthError`].
pub fn verify(
    keys: &(impl KeyLookup + ?Sized),
    cache: &KeyCache,
    rules: &VerifyRules,
    head: &RequestHead<'_>,
    body: Bytes,
    now: AmzDate,
) -> Result<Verified, AuthError> {
    check_head(keys, cache, rules, head, now)?.with_body(body)
}

/// Verifies all that can be verified before the body has arrived.
///
/// # Errors
/// As [`verify`].
pub fn check_head(
    keys: &(impl KeyLookup + ?Sized),
    cache: &KeyCache,
    rules: &VerifyRules,
    head: &RequestHead<'_>,
    now: AmzDate,
) -> Result<CheckedHead, AuthError> {
    check_size(head)?;
    let target = Target::parse(head.target)?;
    let claim = Claim::read(&target, head.headers)?;
    check_scope(&claim, rules)?;
    check_date(&claim, head.method, now)?;
    let needs_date = claim.mode == Mode::Header;
    let names = signed_headers::check(claim.signed_headers, head.headers, needs_date)
        .map_err(|reason| claim.mode.malformed(reason))?;
    check_host(head, rules)?;
    let payload = read_payload(&claim, head)?;
    let canonical = CanonicalRequest {
        method: head.method,
        path: target.canonical_path(),
        query: &target.canonical_query(),
        headers: head.headers,
        signed: &names,
        payload: "",
    };
    let canonical = canonical.to_bytes();
    let credential = claim.credential;
    let (principal, key) = cache.signing_key(keys, credential.access_key_id, credential.scope);
    let mut signed_head = Vec::with_capacity(STRING_TO_SIGN_BYTES);
    write_string_to_sign_head(&mut signed_head, claim.date_text, credential.scope);
    let signed = Signed {
        canonical,
        key: key.beginning_with(&signed_head),
        signature: claim.signature,
        known: principal.is_some(),
    };
    let matched = match payload {
        Payload::Declared(hash) => Some(signed.is_over(&hex::encode_hash(&hash))),
        // A presigned URL is made with either line; there is no body for them to differ about.
        Payload::NoneSent => Some(
            signed.is_over(EMPTY_SHA256.as_bytes()) | signed.is_over(UNSIGNED_PAYLOAD.as_bytes()),
        ),
        Payload::Undeclared => None,
    };
    if matched == Some(false) {
        return Err(AuthError::SignatureDoesNotMatch);
    }
    let by = VerifiedPrincipal {
        // Of nobody only as long as the signature was not found good.
        principal: principal.unwrap_or_else(|| Principal(String::new())),
        access_key_id: credential.access_key_id.to_owned(),
    };
    let verified = Verified {
        by,
        method: own_method(head.method),
        body: Bytes::new(),
        date: claim.date,
        good_until_seconds: good_until_seconds(&claim),
        signature: claim.signature,
        signed_headers: claim.signed_headers.to_owned(),
        target,
    };
    Ok(CheckedHead { signed, payload, matched: matched == Some(true), verified })
}

/// The methods there are need no room of their own.
fn own_method(method: &str) -> Cow<'static, str> {
    let known = ["GET", "PUT", "POST", "DELETE", "HEAD"].into_iter().find(|known| *known == method);
    known.map_or_else(|| Cow::Owned(method.to_owned()), Cow::Borrowed)
}

fn check_size(head: &RequestHead<'_>) -> Result<(), AuthError> {
    if head.headers.len() > HEADERS_MAX {
        return Err(AuthError::HeadTooLarge { what: "headers", max: HEADERS_MAX });
    }
    let bytes: usize = head.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > HEADER_BYTES_MAX {
        return Err(AuthError::HeadTooLarge { what: "bytes of headers", max: HEADER_BYTES_MAX });
    }
    Ok(())
}

fn check_scope(claim: &Claim<'_>, rules: &VerifyRules) -> Result<(), AuthError> {
    let scope = claim.credential.scope;
    if scope.region != rules.region {
        return Err(claim.mode.malformed("the region must be the name of this cluster"));
    }
    if scope.service != rules.service {
        return Err(claim.mode.malformed("the service must be the one that is asked"));
    }
    if scope.day.as_bytes() != &claim.date_text[..8] {
        return Err(claim.mode.malformed("the day of the scope must be that of the date"));
    }
    Ok(())
}

/// Until when a request is accepted, in seconds since 1970.
fn good_until_seconds(claim: &Claim<'_>) -> u64 {
    let dated = claim.date.unix_seconds();
    match claim.mode {
        Mode::Header => dated + SKEW_SECONDS_MAX,
        Mode::Query { expires_seconds } => dated + expires_seconds,
    }
}

fn check_date(claim: &Claim<'_>, method: &str, now: AmzDate) -> Result<(), AuthError> {
    let (dated, at) = (claim.date.unix_seconds(), now.unix_seconds());
    let skewed = |side| AuthError::RequestTimeTooSkewed {
        dated: claim.date,
        now,
        skew_seconds: dated.abs_diff(at),
        side,
        max_seconds: SKEW_SECONDS_MAX,
    };
    if dated > at + SKEW_SECONDS_MAX {
        return Err(skewed("ahead of"));
    }
    match claim.mode {
        Mode::Header if good_until_seconds(claim) < at => Err(skewed("behind")),
        Mode::Query { .. } if good_until_seconds(claim) < at => {
            Err(AuthError::AccessDenied { reason: "the presigned URL has expired" })
        }
        Mode::Query { .. } if method != "GET" => {
            Err(AuthError::AccessDenied { reason: "a presigned URL is for GET alone" })
        }
        Mode::Header | Mode::Query { .. } => Ok(()),
    }
}

fn check_host(head: &RequestHead<'_>, rules: &VerifyRules) -> Result<(), AuthError> {
    let host = values(head.headers, "host").next().unwrap_or_default();
    if rules.authorities.iter().any(|authority| authority.as_bytes() == host) {
        return Ok(());
    }
    Err(AuthError::AccessDenied {
        reason: "the host header is not an address that this node advertises",
    })
}

fn mismatch(reason: &'static str) -> AuthError {
    AuthError::XAmzContentSha256Mismatch { reason }
}

fn read_payload(claim: &Claim<'_>, head: &RequestHead<'_>) -> Result<Payload, AuthError> {
    let presigned = claim.mode != Mode::Header;
    let in_header = values(head.headers, CONTENT_SHA256).next();
    let declared = match (in_header, claim.content_sha256) {
        (Some(_), Some(_)) => return Err(mismatch("it is declared twice")),
        (one, other) => one.or(other),
    };
    match declared {
        None if presigned => Ok(Payload::NoneSent),
        None => Ok(Payload::Undeclared),
        Some(text) if presigned && text == UNSIGNED_PAYLOAD.as_bytes() => Ok(Payload::NoneSent),
        Some(text) => match hex::decode(text) {
            Some(hash) if presigned && hex::encode(&hash) != EMPTY_SHA256 => {
                Err(mismatch("a presigned request has no body"))
            }
            Some(_) if presigned => Ok(Payload::NoneSent),
            Some(hash) => Ok(Payload::Declared(hash)),
            None => Err(mismatch(
                "it must be the body's hash, 64 lower-case hex digits; neither unsigned nor \
                 streamed bodies are accepted",
            )),
        },
    }
}
