//! Which headers must be signed, and that the list of them is in order.

use super::canonical::Header;

/// The header that is bound as the payload line of the canonical request, and so may be unsigned.
pub(super) const CONTENT_SHA256: &str = "x-amz-content-sha256";

/// Splits `SignedHeaders` and holds it against the headers that were sent.
///
/// # Errors
/// What is wrong, for a person.
pub(super) fn check<'a>(
    list: &'a str,
    headers: &[Header<'_>],
    needs_date: bool,
) -> Result<Vec<&'a str>, &'static str> {
    let signed: Vec<&str> = list.split(';').collect();
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
    let sent = |name: &str| headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).count();
    if signed.iter().any(|name| sent(name) == 0) {
        return Err("SignedHeaders names a header that was not sent");
    }
    for (name, _) in headers {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let is_signed = signed.iter().any(|other| is(other));
        if ours(name) && !is_signed && !is(CONTENT_SHA256) {
            return Err("every x-amz-* and x-chainfire-* header must be signed");
        }
        let once = is_signed || ours(name) || is("host") || is("content-length");
        if once && sent(name) > 1 {
            return Err("a header that is signed, or must be, was sent twice");
        }
    }
    Ok(signed)
}

/// Headers that mean something to the verifier or the service.
fn ours(name: &str) -> bool {
    ["x-amz-", "x-chainfire-"].iter().any(|prefix| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    })
}

fn is_lower_case_token(name: &str) -> bool {
    let is_token = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
    };
    !name.is_empty() && name.bytes().all(is_token)
}
