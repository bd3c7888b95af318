//! What a request claims about itself: who signed it, when, and over what.
//!
//! A claim is read from exactly one place, the `Authorization` header or the `X-Amz-*` parameters
//! of the query, and nothing in it is believed: it only says what the signature must be checked
//! against. Each field is there once, and there is no field that is not known.

use super::canonical::Header;
use super::error::AuthError;
use super::signing_key::{ALGORITHM, ScopeParts, Signature, TERMINATOR};
use super::target::Target;
use super::{AmzDate, hex};

/// Longest access key id, in bytes.
const ACCESS_KEY_ID_BYTES_MAX: usize = 128;

/// The longest that a presigned URL may be good for: a week.
pub(super) const EXPIRES_SECONDS_MAX: u64 = 604_800;

/// Where the claim was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The `Authorization` header.
    Header,
    /// The query of a presigned URL.
    Query {
        /// How long it is good for.
        expires_seconds: u64,
    },
}

impl Mode {
    /// An objection to what was declared, under the name of the place it was declared in.
    pub(super) fn malformed(self, reason: &'static str) -> AuthError {
        match self {
            Self::Header => header_error(reason),
            Self::Query { .. } => query_error(reason),
        }
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim<'a> {
    pub(super) mode: Mode,
    pub(super) credential: Credential<'a>,
    pub(super) date: AmzDate,
    /// The same as it was sent, which is the one way to write it.
    pub(super) date_text: &'a [u8],
    pub(super) signed_headers: &'a str,
    pub(super) signature: Signature,
    /// What the query declares of the body.
    pub(super) content_sha256: Option<&'a [u8]>,
}

/// `ID/DAY/REGION/SERVICE/aws4_request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Credential<'a> {
    pub(super) access_key_id: &'a str,
    pub(super) scope: ScopeParts<'a>,
}

fn header_error(reason: &'static str) -> AuthError {
    AuthError::AuthorizationHeaderMalformed { reason }
}

fn query_error(reason: &'static str) -> AuthError {
    AuthError::AuthorizationQueryParametersError { reason }
}

const TWO_MODES: &str = "sign by the header or by the query, not by both";
const NO_TOKENS: AuthError =
    AuthError::AccessDenied { reason: "session tokens are not accepted; sign with a key alone" };

impl<'a> Claim<'a> {
    /// Reads the claim of a request.
    pub(super) fn read(target: &'a Target, headers: &[Header<'a>]) -> Result<Self, AuthError> {
        let in_query = target.query().iter().any(|(name, _)| is_amz(name));
        let mut authorizations = values(headers, "authorization");
        if values(headers, "x-amz-security-token").next().is_some() {
            return Err(NO_TOKENS);
        }
        match (authorizations.next(), authorizations.next(), in_query) {
            (None, _, false) => Err(AuthError::MissingAuthenticationToken),
            (None, _, true) => Self::from_query(target),
            (Some(header), None, false) => Self::from_header(header, headers),
            (Some(_), None, true) => Err(header_error(TWO_MODES)),
            (Some(_), Some(_), _) => Err(header_error("there are two Authorization headers")),
        }
    }

    fn from_header(header: &'a [u8], headers: &[Header<'a>]) -> Result<Self, AuthError> {
        let header = std::str::from_utf8(header).map_err(|_| header_error("it is not text"))?;
        let other = header_error("the algorithm must be AWS4-HMAC-SHA256");
        let mut rest = match header.strip_prefix(ALGORITHM) {
            Some("") => "",
            Some(rest) => rest.strip_prefix(' ').ok_or(other)?,
            None => return Err(other),
        };
        let [mut credential, mut signed_headers, mut signature] = [None; 3];
        while !rest.is_empty() {
            let (field, after) = rest.split_once(',').unwrap_or((rest, ""));
            rest = after;
            let field = field.trim_ascii();
            let (place, value) = if let Some(value) = field.strip_prefix("Credential=") {
                (&mut credential, value)
            } else if let Some(value) = field.strip_prefix("SignedHeaders=") {
                (&mut signed_headers, value)
            } else if let Some(value) = field.strip_prefix("Signature=") {
                (&mut signature, value)
            } else if field.is_empty() {
                continue;
            } else {
                return Err(header_error("it has a field that is not known"));
            };
            if place.replace(value).is_some() {
                return Err(header_error("it has a field twice"));
            }
        }
        let missing = |missing| AuthError::IncompleteSignature { missing };
        let credential = credential.ok_or_else(|| missing("Credential"))?;
        let credential = read_credential(credential, header_error)?;
        let signed_headers = signed_headers.ok_or_else(|| missing("SignedHeaders"))?;
        let signature = signature.ok_or_else(|| missing("Signature"))?;
        let signature = read_signature(signature.as_bytes(), header_error)?;
        let date = values(headers, "x-amz-date").next();
        let date = date.ok_or_else(|| missing("x-amz-date header"))?;
        Ok(Self {
            mode: Mode::Header,
            credential,
            date: read_date(date, header_error)?,
            date_text: date,
            signed_headers,
            signature,
            content_sha256: None,
        })
    }

    fn from_query(target: &'a Target) -> Result<Self, AuthError> {
        for (name, _) in target.query().iter().filter(|(name, _)| is_amz(name)) {
            match &name[..] {
                b"X-Amz-Algorithm"
                | b"X-Amz-Credential"
                | b"X-Amz-Date"
                | b"X-Amz-Expires"
                | b"X-Amz-SignedHeaders"
                | b"X-Amz-Signature"
                | b"X-Amz-Content-Sha256" => {}
                b"X-Amz-Security-Token" => return Err(NO_TOKENS),
                _ => return Err(query_error("it has an X-Amz-* parameter that is not known")),
            }
        }
        let text = |name: &'static str| -> Result<&'a str, AuthError> {
            let value = target.parameter(name).filter(|value| !value.is_empty());
            let value = value.ok_or(AuthError::IncompleteSignature { missing: name })?;
            std::str::from_utf8(value).map_err(|_| query_error("a parameter is not text"))
        };
        if text("X-Amz-Algorithm")? != ALGORITHM {
            return Err(query_error("the algorithm must be AWS4-HMAC-SHA256"));
        }
        let credential = read_credential(text("X-Amz-Credential")?, query_error)?;
        let expires_seconds = read_expires(text("X-Amz-Expires")?)?;
        let date = text("X-Amz-Date")?.as_bytes();
        Ok(Self {
            mode: Mode::Query { expires_seconds },
            credential,
            date: read_date(date, query_error)?,
            date_text: date,
            signed_headers: text("X-Amz-SignedHeaders")?,
            signature: read_signature(text("X-Amz-Signature")?.as_bytes(), query_error)?,
            content_sha256: target.parameter("X-Amz-Content-Sha256"),
        })
    }
}

/// Every value of a header.
pub(super) fn values<'h, 'a>(
    headers: &'h [Header<'a>],
    name: &'static str,
) -> impl Iterator<Item = &'a [u8]> + use<'h, 'a> {
    headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
}

fn is_amz(name: &[u8]) -> bool {
    name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"x-amz-"))
}

/// What is before and after the first `at`, an ASCII byte that comes soon: looking at each byte is
/// then quicker than preparing a search.
fn cut(text: &str, at: u8) -> Option<(&str, &str)> {
    let place = text.bytes().position(|byte| byte == at)?;
    Some((&text[..place], &text[place + 1..]))
}

fn read_credential(
    text: &str,
    error: fn(&'static str) -> AuthError,
) -> Result<Credential<'_>, AuthError> {
    let parts = || {
        let (access_key_id, rest) = cut(text, b'/')?;
        let (day, rest) = cut(rest, b'/')?;
        let (region, rest) = cut(rest, b'/')?;
        let (service, terminator) = cut(rest, b'/')?;
        let is_last = !terminator.contains('/');
        let scope = ScopeParts { day, region, service };
        is_last.then_some((Credential { access_key_id, scope }, terminator))
    };
    let (credential, terminator) =
        parts().ok_or_else(|| error("Credential must be KEY/DAY/CLUSTER/SERVICE/aws4_request"))?;
    let id = credential.access_key_id;
    if id.is_empty() || id.len() > ACCESS_KEY_ID_BYTES_MAX {
        return Err(error("the access key id is empty or too long"));
    }
    if terminator != TERMINATOR {
        return Err(error("the credential's scope must end in aws4_request"));
    }
    Ok(credential)
}

fn read_signature(
    text: &[u8],
    error: fn(&'static str) -> AuthError,
) -> Result<Signature, AuthError> {
    let bytes = hex::decode(text).ok_or_else(|| error("a signature is 64 lower-case hex digits"));
    bytes.map(Signature)
}

fn read_date(text: &[u8], error: fn(&'static str) -> AuthError) -> Result<AmzDate, AuthError> {
    AmzDate::parse(text).ok_or_else(|| error("the date must be YYYYMMDDTHHMMSSZ"))
}

fn read_expires(text: &str) -> Result<u64, AuthError> {
    let is_number = text.len() <= 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = text.parse().ok().filter(|_| is_number);
    seconds
        .filter(|seconds| (1..=EXPIRES_SECONDS_MAX).contains(seconds))
        .ok_or_else(|| query_error("X-Amz-Expires must be 1 to 604800 seconds"))
}
