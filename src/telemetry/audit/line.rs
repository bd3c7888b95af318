//! One audit line. Written by hand: of a busy node every write has one.

use std::fmt::Write;
use std::time::Duration;

use super::{AuditRecord, Decision};
use crate::types::calendar::date_of_day;

const SECONDS_A_DAY: u64 = 86_400;

/// Appends the line, with its line break.
pub(super) fn write(out: &mut String, at: Duration, record: &AuditRecord) {
    let AuditRecord { caller, request_id, action, target, decision, outcome, revision } = record;
    let (decision, reason) = match decision {
        Decision::Allowed => ("allowed", ""),
        Decision::Refused(reason) => ("refused", *reason),
    };
    let id =
        request_id.map_or_else(String::new, |id| format!("{:032x}/{}", id.client.0, id.sequence));
    let peer = caller.peer.map_or_else(String::new, |peer| peer.to_string());
    let time = time(at);
    out.push('{');
    let fields = [
        ("time", time.as_str()),
        ("request_id", id.as_str()),
        ("key_id", caller.access_key_id.as_str()),
        ("user", caller.user.as_str()),
        ("action", action),
        ("target", target.as_str()),
        ("decision", decision),
        ("reason", reason),
        ("outcome", outcome),
        ("peer", peer.as_str()),
    ];
    for (name, value) in fields {
        quote(out, name);
        out.push(':');
        quote(out, value);
        out.push(',');
    }
    quote(out, "revision");
    // A string takes every byte.
    let _ = writeln!(out, ":{revision}}}");
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    // Nearly always there is nothing to escape, and the text goes in one piece.
    while let Some(at) = rest.bytes().position(|byte| byte < b' ' || matches!(byte, b'"' | b'\\')) {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            control => {
                let _ = write!(out, "\\u{control:04x}");
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

/// `2026-11-25T22:11:54.123Z`: RFC 3339, in UTC.
fn time(since_1970: Duration) -> String {
    let (seconds, milliseconds) = (since_1970.as_secs(), since_1970.subsec_millis());
    let (year, month, day) = date_of_day(seconds / SECONDS_A_DAY);
    let second = seconds % SECONDS_A_DAY;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_in_utc() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_399, "2000-02-28T23:59:59.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (951_868_800, "2000-03-01T00:00:00.007Z"),
            (1_795_644_714, "2026-11-25T22:11:54.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            assert_eq!(time(Duration::from_millis(seconds * 1_000 + 7)), text);
        }
    }

    #[test]
    fn text_is_quoted_so_that_nobody_can_end_a_line() {
        let mut out = String::new();
        quote(&mut out, "a\"b\\c\nd\u{1}é");
        assert_eq!(out, r#""a\"b\\c\u000ad\u0001é""#);
    }
}
