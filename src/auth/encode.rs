//! URI encoding as Signature Version 4 wants it (RFC 3986 with AWS's choices).
//!
//! `A-Z a-z 0-9 - _ . ~` stay; every other byte becomes `%XX` with upper-case hex. This is not
//! form encoding: a space is `%20` and never `+`.

use super::hex;

/// Which part of a URI is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A whole path: `/` separates segments and stays.
    Path,
    /// A query's name or value, or one segment of a path: `/` becomes `%2F`.
    Query,
}

/// Why text is not percent-encoded bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a `%` is not followed by two hex digits")]
pub struct MalformedPercent;

/// The encoding of `bytes`. An empty path is `/`.
pub fn aws_uri_encode(bytes: &[u8], part: Part) -> String {
    let mut out = Vec::with_capacity(bytes.len() + 1);
    if bytes.is_empty() && part == Part::Path {
        out.push(b'/');
    }
    encode_into(&mut out, bytes, part);
    String::from_utf8(out).expect("every byte written is ASCII")
}

/// Appends the encoding of `bytes` to `out`; of no bytes, nothing.
pub(crate) fn encode_into(out: &mut Vec<u8>, bytes: &[u8], part: Part) {
    let mut rest = bytes;
    // Nearly everything stays, so what stays is copied in runs.
    while let Some(run) = rest.iter().position(|byte| !stays(*byte, part)) {
        out.extend_from_slice(&rest[..run]);
        out.push(b'%');
        out.extend_from_slice(&hex::digits_upper(rest[run]));
        rest = &rest[run + 1..];
    }
    out.extend_from_slice(rest);
}

/// Whether a byte is its own encoding.
pub(super) fn stays(byte: u8, part: Part) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~')
        || (byte == b'/' && part == Part::Path)
}

/// The bytes that percent-encoded text stands for. Decodes `%XX` only; every other byte stands
/// for itself.
///
/// # Errors
/// When a `%` is not followed by two hex digits.
pub fn percent_decode(text: &[u8]) -> Result<Vec<u8>, MalformedPercent> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(literal) = rest.iter().position(|byte| *byte == b'%') {
        out.extend_from_slice(&rest[..literal]);
        let byte;
        (byte, rest) = split_escape(&rest[literal..])?;
        out.push(byte);
    }
    out.extend_from_slice(rest);
    Ok(out)
}

/// The byte that the escape at the beginning of `text` stands for, and what comes after it.
pub(super) fn split_escape(text: &[u8]) -> Result<(u8, &[u8]), MalformedPercent> {
    let [b'%', high, low, after @ ..] = text else { return Err(MalformedPercent) };
    let value = |digit: &u8| char::from(*digit).to_digit(16).ok_or(MalformedPercent);
    let byte = value(high)? * 16 + value(low)?;
    Ok((u8::try_from(byte).expect("two hex digits are a byte"), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNRESERVED: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~";

    #[test]
    fn each_of_the_256_bytes_in_both_modes() {
        for byte in 0..=u8::MAX {
            let stays = char::from(byte).to_string();
            let encoded = format!("%{byte:02X}");
            let unreserved = UNRESERVED.contains(&byte);
            let in_path = if unreserved || byte == b'/' { &stays } else { &encoded };
            let in_query = if unreserved { &stays } else { &encoded };
            assert_eq!(&aws_uri_encode(&[byte], Part::Path), in_path);
            assert_eq!(&aws_uri_encode(&[byte], Part::Query), in_query);
            assert_eq!(percent_decode(encoded.as_bytes()), Ok(vec![byte]));
            assert_eq!(percent_decode(encoded.to_lowercase().as_bytes()), Ok(vec![byte]));
        }
    }

    #[test]
    fn an_empty_path_is_a_slash_and_an_empty_value_is_empty() {
        assert_eq!(aws_uri_encode(b"", Part::Path), "/");
        assert_eq!(aws_uri_encode(b"", Part::Query), "");
    }

    #[test]
    fn utf_8_spaces_and_literal_percent_signs() {
        assert_eq!(aws_uri_encode("/é/日".as_bytes(), Part::Path), "/%C3%A9/%E6%97%A5");
        assert_eq!(aws_uri_encode(b"a b+c", Part::Query), "a%20b%2Bc");
        assert_eq!(aws_uri_encode(b"100%", Part::Query), "100%25");
        assert_eq!(aws_uri_encode(b"%20", Part::Path), "%2520");
    }

    #[test]
    fn a_broken_escape_is_refused_and_a_plus_is_a_plus() {
        for text in ["%", "%2", "%zz", "%2g", "a%", "%%20", "% 2"] {
            assert_eq!(percent_decode(text.as_bytes()), Err(MalformedPercent), "{text}");
        }
        assert_eq!(percent_decode(b"a+b%2bc"), Ok(b"a+b+c".to_vec()));
    }
}
