//! The canonical request: one text for every way of writing the same request.
//!
//! ```text
//! METHOD \n path \n query \n (name:value \n)... \n signed;names \n payload hash
//! ```
//!
//! What must stay true: the text depends on the request's parts and never on their order, and two
//! requests that mean different things have different texts. So each query name and value is
//! encoded *before* the pairs are sorted, and sorted as pairs: `a=2` comes before `a-b=1`, although
//! the joined texts sort the other way.
//!
//! This canonicaliser is general, so that published vectors can be held against it: it joins
//! repeated headers and takes any path. What a request of ours may look like is the verifier's to
//! say.

use super::encode::{MalformedPercent, Part, encode_into, split_escape};

/// One header line: a name and its value.
pub type Header<'a> = (&'a str, &'a [u8]);

/// The parts of a canonical request.
#[derive(Clone, Copy, Debug)]
pub struct CanonicalRequest<'a> {
    /// The method.
    pub method: &'a str,
    /// The path in its canonical encoding.
    pub path: &'a str,
    /// The query in its canonical encoding.
    pub query: &'a str,
    /// The header lines; more may be given than are signed.
    pub headers: &'a [Header<'a>],
    /// The names that are signed: lower case, ascending.
    pub signed: &'a [&'a str],
    /// The payload line: a hash in hex, or `UNSIGNED-PAYLOAD`.
    pub payload: &'a str,
}

impl CanonicalRequest<'_> {
    /// The text whose hash is signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        for line in [self.method, self.path, self.query] {
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
        for name in self.signed {
            self.write_header(&mut out, name);
        }
        out.push(b'\n');
        for (index, name) in self.signed.iter().enumerate() {
            if index > 0 {
                out.push(b';');
            }
            out.extend_from_slice(name.as_bytes());
        }
        out.push(b'\n');
        out.extend_from_slice(self.payload.as_bytes());
        out
    }

    fn write_header(&self, out: &mut Vec<u8>, name: &str) {
        out.extend_from_slice(name.as_bytes());
        let mut separator = b':';
        for (_, value) in self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)) {
            out.push(separator);
            write_collapsed(out, value);
            separator = b',';
        }
        out.push(b'\n');
    }
}

/// Appends a header's value: trimmed, inner runs of spaces and tabs as one space.
fn write_collapsed(out: &mut Vec<u8>, value: &[u8]) {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    if !value.iter().any(is_space) {
        return out.extend_from_slice(value);
    }
    let words = value.split(is_space).filter(|word| !word.is_empty());
    for (index, word) in words.enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

/// The canonical path of a path as it was sent: each segment decoded and encoded once. Nothing is
/// normalised; an encoded `/` stays encoded.
///
/// # Errors
/// When an escape is malformed.
pub fn canonical_path(sent: &str) -> Result<String, MalformedPercent> {
    let mut out = Vec::with_capacity(sent.len() + 1);
    let mut rest = sent.as_bytes();
    while let Some(literal) = rest.iter().position(|byte| *byte == b'%') {
        // A `/` as it stands separates segments; one that was escaped is part of one.
        encode_into(&mut out, &rest[..literal], Part::Path);
        let byte;
        (byte, rest) = split_escape(&rest[literal..])?;
        encode_into(&mut out, &[byte], Part::Query);
    }
    encode_into(&mut out, rest, Part::Path);
    if out.is_empty() {
        out.push(b'/');
    }
    Ok(String::from_utf8(out).expect("every byte written is ASCII"))
}

/// The canonical query of decoded pairs, in any order.
pub fn canonical_query<'a>(pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> String {
    let encoded = |bytes: &[u8]| {
        let mut out = Vec::with_capacity(bytes.len());
        encode_into(&mut out, bytes, Part::Query);
        out
    };
    let mut pairs: Vec<_> =
        pairs.into_iter().map(|(name, value)| (encoded(name), encoded(value))).collect();
    pairs.sort_unstable();
    let mut out = Vec::with_capacity(pairs.iter().map(|(n, v)| n.len() + v.len() + 2).sum());
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(value);
    }
    String::from_utf8(out).expect("every byte written is ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> String {
        canonical_query(pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    #[test]
    fn pairs_are_sorted_after_encoding_and_as_pairs() {
        assert_eq!(query(&[("a-b", "1"), ("a", "2")]), "a=2&a-b=1");
        assert_eq!(query(&[("a", "b"), ("a", "B"), ("A", "b")]), "A=b&a=B&a=b");
        // `~` stays and sorts after `%`, which a space becomes.
        assert_eq!(query(&[("~", ""), (" ", ""), ("0", "")]), "%20=&0=&~=");
        assert_eq!(query(&[("é", "x"), ("z", "/")]), "%C3%A9=x&z=%2F");
        assert_eq!(query(&[]), "");
    }

    #[test]
    fn a_path_is_encoded_once_and_never_normalised() {
        for (sent, canonical) in [
            ("", "/"),
            ("/", "/"),
            ("/a%20b", "/a%20b"),
            ("/a b", "/a%20b"),
            ("/a%2520b", "/a%2520b"),
            ("/a%2fb", "/a%2Fb"),
            ("/%41~", "/A~"),
            ("//a/../b/./", "//a/../b/./"),
            ("/é", "/%C3%A9"),
        ] {
            assert_eq!(canonical_path(sent).as_deref(), Ok(canonical), "{sent}");
        }
        assert_eq!(canonical_path("/%zz"), Err(MalformedPercent));
    }

    #[test]
    fn values_of_headers_are_trimmed_and_collapsed() {
        let headers: [Header<'_>; 3] =
            [("X-B", b" \t two  \t words "), ("a", b""), ("unsigned", b"x")];
        let request = CanonicalRequest {
            method: "GET",
            path: "/",
            query: "",
            headers: &headers,
            signed: &["a", "x-b"],
            payload: "hash",
        };
        let text = String::from_utf8(request.to_bytes()).expect("text");
        assert_eq!(text, "GET\n/\n\na:\nx-b:two words\n\na;x-b\nhash");
    }
}
