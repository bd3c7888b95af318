//! The target of a request: decoded once, and dispatched from as it was verified.
//!
//! Only the origin form is taken (`/path?query`). What could be read in two ways is refused here,
//! before anything else looks at it: malformed escapes, NUL, empty, `.` and `..` segments (encoded
//! ones too), a literal `+` in the query, one name twice.

use super::canonical::{canonical_path, canonical_query};
use super::encode::{Part, percent_decode, stays};
use super::error::AuthError;

/// Longest target, in bytes: the longest key with every byte escaped, a range's end likewise, and
/// the parameters of a presigned URL.
pub const TARGET_BYTES_MAX: usize = 8 * 1_024;

/// Most parameters of a query.
pub const QUERY_PAIRS_MAX: usize = 32;

/// A parameter's name and value, decoded.
pub type Parameter = (Vec<u8>, Vec<u8>);

/// A target that means one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    path: Vec<u8>,
    canonical_path: String,
    query: Vec<Parameter>,
}

impl Target {
    /// Reads a target as it stood in the request line.
    ///
    /// # Errors
    /// [`AuthError::InvalidUri`] or [`AuthError::HeadTooLarge`].
    pub fn parse(sent: &str) -> Result<Self, AuthError> {
        if sent.len() > TARGET_BYTES_MAX {
            return Err(AuthError::HeadTooLarge { what: "bytes of target", max: TARGET_BYTES_MAX });
        }
        if sent.starts_with('/') && sent.bytes().all(|byte| stays(byte, Part::Path)) {
            // As most are: it is its own encoding.
            check_segments(sent.as_bytes())?;
            let (path, canonical_path) = (sent.as_bytes().to_vec(), sent.to_owned());
            return Ok(Self { path, canonical_path, query: Vec::new() });
        }
        let (path, query) = sent.split_once('?').unwrap_or((sent, ""));
        if !path.starts_with('/') || sent.contains('#') {
            return Err(invalid("it is not of the form /path?query"));
        }
        let malformed = |_| invalid("a `%` is not followed by two hex digits");
        let decoded = percent_decode(path.as_bytes()).map_err(malformed)?;
        let canonical = canonical_path(path).map_err(malformed)?;
        check_segments(&decoded)?;
        Ok(Self { path: decoded, canonical_path: canonical, query: parse_query(query)? })
    }

    /// The decoded path.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The decoded parameters, as they were sent.
    pub fn query(&self) -> &[Parameter] {
        &self.query
    }

    /// The value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&[u8]> {
        let found = self.query.iter().find(|(n, _)| n == name.as_bytes());
        found.map(|(_, value)| &value[..])
    }

    /// The path as it is signed.
    pub(super) fn canonical_path(&self) -> &str {
        &self.canonical_path
    }

    /// The query as it is signed: everything but the signature itself.
    pub(super) fn canonical_query(&self) -> String {
        let signed = self.query.iter().filter(|(name, _)| name != SIGNATURE_PARAMETER);
        canonical_query(signed.map(|(name, value)| (&name[..], &value[..])))
    }
}

/// The one parameter that cannot be signed.
const SIGNATURE_PARAMETER: &[u8] = b"X-Amz-Signature";

fn invalid(reason: &'static str) -> AuthError {
    AuthError::InvalidUri { reason }
}

fn check_segments(path: &[u8]) -> Result<(), AuthError> {
    if path.contains(&0) {
        return Err(invalid("the path has a NUL byte; send such a key in a body"));
    }
    if path == b"/" {
        return Ok(());
    }
    for segment in path[1..].split(|byte| *byte == b'/') {
        if matches!(segment, b"" | b"." | b"..") {
            return Err(invalid(
                "the path has an empty, `.` or `..` segment; send such a key in a body",
            ));
        }
    }
    Ok(())
}

fn parse_query(sent: &str) -> Result<Vec<Parameter>, AuthError> {
    let mut pairs: Vec<Parameter> = Vec::new();
    if sent.is_empty() {
        return Ok(pairs);
    }
    if sent.contains('+') {
        return Err(invalid("the query has a `+`; write %20 for a space and %2B for a plus"));
    }
    for pair in sent.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let malformed = |_| invalid("a `%` is not followed by two hex digits");
        let name = percent_decode(name.as_bytes()).map_err(malformed)?;
        let value = percent_decode(value.as_bytes()).map_err(malformed)?;
        if name.is_empty() {
            return Err(invalid("a parameter has no name"));
        }
        if pairs.iter().any(|(other, _)| *other == name) {
            return Err(invalid("a parameter is given twice"));
        }
        if pairs.len() == QUERY_PAIRS_MAX {
            return Err(AuthError::HeadTooLarge { what: "parameters", max: QUERY_PAIRS_MAX });
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_decoded_once() {
        let target = Target::parse("/v1/keys/a%2520b%2Fc?x&limit=10&y=%3D%26").expect("a target");
        assert_eq!(target.path(), b"/v1/keys/a%20b/c");
        assert_eq!(target.canonical_path(), "/v1/keys/a%2520b%2Fc");
        assert_eq!(target.parameter("x"), Some(&b""[..]));
        assert_eq!(target.parameter("y"), Some(&b"=&"[..]));
        assert_eq!(target.canonical_query(), "limit=10&x=&y=%3D%26");
        assert_eq!(Target::parse("/?x"), Target::parse("/?x="));
    }

    #[test]
    fn what_means_nothing_or_two_things_is_refused() {
        for sent in [
            "",
            "*",
            "a",
            "http://h/v1",
            "/a#b",
            "/%",
            "/%zz",
            "/a%0",
            "/?a=%zz",
            "/%00",
            "/a/../b",
            "/a/..",
            "/.",
            "/%2e%2e/b",
            "/a/%2E/b",
            "//",
            "/a//b",
            "/a/",
            "/a%2F%2Fb",
            "/a%2F..%2Fb",
            "/?a=1+2",
            "/?a=1&a=2",
            "/?a=1&%61=2",
            "/?=1",
            "/?a&&b",
        ] {
            let refused = Target::parse(sent);
            assert!(matches!(refused, Err(AuthError::InvalidUri { .. })), "{sent}: {refused:?}");
        }
    }

    #[test]
    fn size_is_bounded() {
        let long = format!("/{}", "a".repeat(TARGET_BYTES_MAX));
        assert!(matches!(Target::parse(&long), Err(AuthError::HeadTooLarge { .. })));
        let many: Vec<_> = (0..=QUERY_PAIRS_MAX).map(|n| format!("a{n}")).collect();
        let many = format!("/?{}", many.join("&"));
        assert!(matches!(Target::parse(&many), Err(AuthError::HeadTooLarge { .. })));
    }
}
