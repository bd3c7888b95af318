//! One pair as a line of JSON.

use serde::{Deserialize, Serialize};

use crate::cli::bytes::Base64;
use crate::types::KeyValue;
use crate::types::limits::{KEY_BYTES_MAX, REQUEST_BYTES_MAX};

/// The longest line that can hold a pair, in bytes: base64 makes four of three, and there is room
/// for numbers and spaces.
pub(super) const LINE_BYTES_MAX: usize = (REQUEST_BYTES_MAX + KEY_BYTES_MAX) / 3 * 4 + 4_096;

/// A pair as it is exported.
#[derive(Debug, Serialize)]
pub(super) struct ExportedPair {
    key: Base64,
    value: Base64,
    /// The lease it was attached to; 0 = none.
    lease: i64,
    /// Puts since the key was created.
    version: u64,
}

impl From<KeyValue> for ExportedPair {
    fn from(pair: KeyValue) -> Self {
        let KeyValue { key, value, lease, version, .. } = pair;
        Self { key: Base64(key), value: Base64(value), lease, version }
    }
}

/// A pair as it is imported. What `get -o json` says of a pair is allowed and not needed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct ImportedPair {
    pub(super) key: Base64,
    pub(super) value: Base64,
    #[serde(default)]
    pub(super) lease: i64,
    #[serde(default, rename = "version")]
    _version: u64,
    #[serde(default, rename = "create_revision")]
    _create_revision: u64,
    #[serde(default, rename = "mod_revision")]
    _mod_revision: u64,
}

/// Reads a line; none when it is blank.
pub(in crate::cli) fn parse(line: &[u8]) -> Result<Option<ImportedPair>, String> {
    const EXAMPLE: &str = "write {\"key\": BASE64, \"value\": BASE64}";
    match line.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => return Ok(None),
        Some(b'{') => {}
        // serde would take the fields of an array in order.
        Some(_) => return Err(format!("not a pair: no JSON object; {EXAMPLE}")),
    }
    let pair: ImportedPair = serde_json::from_slice(line).map_err(|error| {
        // It quotes the input; an error is one line, whatever the input holds.
        let text = error.to_string().replace(char::is_control, " ");
        // The line is counted by us; serde_json always says "line 1".
        let what = text.split(" at line ").next().unwrap_or(&text);
        format!("not a pair: {what}; {EXAMPLE}")
    })?;
    match pair.key.0.len() {
        0 => Err("the key is empty; give at least one byte".to_owned()),
        bytes if bytes > KEY_BYTES_MAX => {
            Err(format!("the key has {bytes} bytes; at most {KEY_BYTES_MAX} are allowed"))
        }
        _ => Ok(Some(pair)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exported_line_is_imported_as_the_same_pair() {
        let pair = KeyValue {
            key: vec![0, 0xff, b'k'].into(),
            value: b"v\n\"\\"[..].into(),
            create_revision: 2,
            mod_revision: 3,
            version: 2,
            lease: 5,
        };
        let line = serde_json::to_string(&ExportedPair::from(pair.clone())).expect("serialisable");
        assert_eq!(line, r#"{"key":"AP9r","value":"dgoiXA==","lease":5,"version":2}"#);
        let back = parse(line.as_bytes()).expect("a pair").expect("not blank");
        assert_eq!((back.key.0, back.value.0, back.lease), (pair.key, pair.value, 5));
    }

    #[test]
    fn a_pair_of_a_json_answer_is_a_line_too() {
        let line = br#" {"value":"","key":"aw==","create_revision":1,"mod_revision":2} "#;
        assert!(parse(line).expect("a pair").expect("not blank").value.0.is_empty());
        assert!(parse(b" \r\n").expect("nothing").is_none());
    }

    #[test]
    fn what_is_no_pair_says_why() {
        let long = format!(r#"{{"key":"{}","value":""}}"#, "AAAA".repeat(400));
        let table = [
            ("{", "EOF"),
            ("[]", "no JSON object"),
            (r#"{"key":"aw=="}"#, "missing field `value`"),
            (r#"{"key":"k!","value":""}"#, "not base64"),
            (r#"{"key":"","value":""}"#, "the key is empty"),
            (r#"{"key":"aw==","value":"","size":1}"#, "unknown field `size`"),
            (r#"{"k\n":"aw==","value":""}"#, "unknown field `k `"),
            (r#"{"key":"aw==","value":""} x"#, "trailing"),
            (long.as_str(), "the key has 1200 bytes"),
            ("\u{0}", "not a pair"),
        ];
        for (line, what) in table {
            let error = parse(line.as_bytes()).expect_err(line);
            assert!(error.contains(what) && !error.contains('\n'), "{line}: {error}");
        }
    }
}
