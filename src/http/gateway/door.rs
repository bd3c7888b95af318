//! The one way in: verifies a request, or on a node without authentication bounds who may send one.
//!
//! The order is that of [`auth::verify`](mod@crate::auth::verify): the head is checked before a
//! byte of the body is read, then the body is read within its bounds and held against what was
//! signed. hyper hands the target over as it stood in the request line, but for a fragment, which
//! no client sends and which it cuts off: what remains is what is verified and dispatched from.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use bytes::Bytes;

use super::body::{self, BODY_BYTES_MAX};
use super::clause::{self, Clauses};
use super::memory::{Held, Memory};
use super::problem::Problem;
use super::request::{Origin, Request};
use crate::actors::Keyring;
use crate::auth::canonical::Header;
use crate::auth::verify::check_head;
use crate::auth::{AmzDate, AuthError, CLIENT_SERVICE, RequestHead, Target, Verified, VerifyRules};
use crate::clock;
use crate::types::SignedRequest;
use crate::types::access::KEY_ID_BYTES_MAX;

/// See the module.
pub(super) struct Door {
    /// None: nothing is verified.
    keyring: Option<Arc<Keyring>>,
    rules: VerifyRules,
}

impl Door {
    pub(super) fn new(keyring: Option<Arc<Keyring>>, authorities: Vec<String>) -> Self {
        let region = keyring.as_ref().map_or_else(String::new, |keys| keys.cluster_name().into());
        let rules = VerifyRules { region, service: CLIENT_SERVICE.to_owned(), authorities };
        Self { keyring, rules }
    }

    /// Whether it can be told yet who may come in: there is a user, or nothing is verified.
    pub(super) fn can_tell(&self) -> bool {
        self.keyring.as_ref().is_none_or(|keyring| keyring.has_users())
    }

    /// Lets a request in. What is left of the body of one that is refused stays in `body`.
    pub(super) async fn open(
        &self,
        head: &Parts,
        body: &mut Body,
        origin: Origin,
        memory: &Memory,
        within: Duration,
    ) -> Result<Request, Problem> {
        let target = origin_form(&head.uri)?;
        let Some(keyring) = &self.keyring else {
            let target = self.open_head(head, target)?;
            let clauses = Clauses::read(&head.headers)?;
            let (bytes, held) = read(body, memory, within).await?;
            return Ok(Request::open(
                head.method.to_string(),
                target,
                bytes,
                clauses,
                origin,
                held,
            ));
        };
        let checked = {
            let headers = header_lines(&head.headers);
            let request = RequestHead { method: head.method.as_str(), target, headers: &headers };
            check_head(&keyring.in_force(), keyring.cache(), &self.rules, &request, now())?
        };
        let clauses = Clauses::read(&head.headers)?;
        let (bytes, held) = read(body, memory, within).await?;
        let verified = checked.with_body(bytes)?;
        refuse_unsigned_clauses(&verified, &head.headers)?;
        let signed = SignedRequest {
            signature: verified.signature().0,
            dated_seconds: verified.date().unix_seconds(),
            window_ms: verified.good_until_seconds().saturating_sub(now().unix_seconds()) * 1_000,
        };
        Ok(Request::verified(verified, signed, clauses, origin, held))
    }

    /// Without authentication whoever reaches this address may do everything, and a page in this
    /// machine's browser can reach it: its requests name the page, or a host that is not ours.
    fn open_head(&self, head: &Parts, target: &str) -> Result<Target, Problem> {
        let mut hosts = head.headers.get_all(header::HOST).iter();
        let is_ours = |host: &[u8]| self.rules.authorities.iter().any(|a| a.as_bytes() == host);
        match (hosts.next(), hosts.next()) {
            (Some(host), None) if is_ours(host.as_bytes()) => {}
            _ => {
                let reason = "the host header is not an address that this node advertises";
                return Err(AuthError::AccessDenied { reason }.into());
            }
        }
        if head.headers.contains_key(header::ORIGIN) {
            let reason = "requests of web pages are not served without authentication";
            return Err(AuthError::AccessDenied { reason }.into());
        }
        Ok(Target::parse(target)?)
    }
}

/// The id of the key that a request says it is signed with, for the audit log: nothing of it was
/// verified. Empty where it says none, or something that is no id.
pub(super) fn claimed_key_id(head: &Parts) -> &str {
    let header = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (text, field) = match header {
        Some(header) => (header, "Credential="),
        None => (head.uri.query().unwrap_or_default(), "X-Amz-Credential="),
    };
    let claimed = text.split_once(field).map_or("", |(_, rest)| rest);
    let id = claimed.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    if id.len() > KEY_ID_BYTES_MAX { "" } else { id }
}

fn now() -> AmzDate {
    AmzDate::from_unix(clock::wall())
}

/// The target as it stood in the request line, if that is a path.
fn origin_form(uri: &Uri) -> Result<&str, AuthError> {
    let target = uri.path_and_query().map(|target| target.as_str());
    match (uri.scheme(), uri.authority(), target) {
        (None, None, Some(target)) => Ok(target),
        _ => Err(AuthError::InvalidUri { reason: "it is not of the form /path?query" }),
    }
}

fn header_lines(headers: &HeaderMap) -> Vec<Header<'_>> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

/// Reads the body, its bytes set aside before.
async fn read(
    body: &mut Body,
    memory: &Memory,
    within: Duration,
) -> Result<(Bytes, Held), Problem> {
    // Exact when its length was declared; a chunked one may become as long as any.
    let declared = body.size_hint().exact();
    let most =
        declared.map_or(BODY_BYTES_MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if most > BODY_BYTES_MAX {
        return Err(AuthError::EntityTooLarge { max: BODY_BYTES_MAX }.into());
    }
    let held = memory.take(most).ok_or_else(Problem::no_memory)?;
    Ok((body::read(body, within).await?, held))
}

/// Whoever stands between could else make an unconditional write of a conditional one, or the
/// other way round. What a read is answered with they could replace anyway.
fn refuse_unsigned_clauses(verified: &Verified, headers: &HeaderMap) -> Result<(), AuthError> {
    let is_unsigned = clause::NAMES
        .iter()
        .any(|name| headers.contains_key(name) && !verified.signs_header(name.as_str()));
    if is_unsigned && verified.method() != "GET" {
        let reason = "If-Match and If-None-Match decide what is written; sign them";
        return Err(AuthError::AccessDenied { reason });
    }
    Ok(())
}
