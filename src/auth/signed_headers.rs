//! Which headers must be signed, and that the list of them is in order.

use super::canonical::Header;
use super::verify::HEADERS_MAX;

/// The header that is bound as the payload line of the canonical request, and so may be unsigned.
pub(super) const CONTENT_SHA256: &str = "x-amz-content-sha256";

/// Splits `SignedHeaders` and holds it against the headers that were sent, [`HEADERS_MAX`] at most.
///
/// # Errors
/// What is wrong, for a person.
pub(super) fn check<'a>(
    list: &'a str,
    headers: &[Header<'_>],
    needs_date: bool,
) -> Result<Vec<&'a str>, &'static str> {
    let mut signed: Vec<&str> = Vec::with_capacity(8);
    signed.extend(list.split(';'));
    if !signed.iter().all(|name| is_lower_case_token(name)) {
        return Err("SignedHeaders must be lower-case names separated by `;`");
    }
    if !signed.is_sorted_by(|one, next| one < next) {
        return Err("SignedHeaders must be in ascending order, each once");
    }
    let must = if needs_date { &["host", "x-amz-date"][..] } else { &["host"] };
    if !must.iter().all(|name| signed.contains(name)) {
        return Err("SignedHeaders must have host, and x-amz-date unless the query is signed");
    }
    if signed.len() > headers.len() {
        return Err(NOT_SENT);
    }
    // One bit for each of `signed`.
    let mut seen = 0_u64;
    for (name, _) in headers {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let is_repeated = match signed.iter().position(|other| is(other)) {
            Some(place) => {
                let before = seen;
                seen |= 1 << place;
                seen == before
            }
            None if is("host") || is("content-length") || is(CONTENT_SHA256) => {
                headers.iter().filter(|(other, _)| is(other)).count() > 1
            }
            None if ours(name) => {
                return Err("every x-amz-* and x-chainfire-* header must be signed");
            }
            None => false,
        };
        if is_repeated {
            return Err("a header that is signed, or must be, was sent twice");
        }
    }
    if seen.count_ones() as usize != signed.len() {
        return Err(NOT_SENT);
    }
    Ok(signed)
}

const NOT_SENT: &str = "SignedHeaders names a header that was not sent";
const _: () = assert!(HEADERS_MAX <= u64::BITS as usize);

/// Headers that mean something to the verifier or the service.
fn ours(name: &str) -> bool {
    let begins_with = |prefix: &[u8]| {
        let start = name.as_bytes().get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    begins_with(b"x-amz-") || begins_with(b"x-chainfire-")
}

fn is_lower_case_token(name: &str) -> bool {
    let is_token = |byte: u8| {
        matches!(
            byte,
            b'a'..=b'z' | b'0'..=b'9'
            | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_'
            | b'`' | b'|' | b'~'
        )
    };
    !name.is_empty() && name.bytes().all(is_token)
}
