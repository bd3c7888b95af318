//! The lines of a transaction, in etcdctl's syntax.
//!
//! A compare is `FIELD("KEY") OPERATOR "VALUE"`: the field one of `version` (`ver`), `create`
//! (`c`), `mod` (`m`), `value` (`val`) and `lease`, the operator one of `=`, `!=`, `<` and `>`,
//! key and value quoted with Go's escapes or between backquotes. A request is a command line of
//! `put`, `get` or `del`: words with the options of those commands, quoted where they hold a
//! space. Pure: text in, request out.

use std::ffi::OsString;

use bytes::Bytes;
use clap::Parser;

use crate::cli::arguments::{DeleteArguments, GetArguments, PutArguments};
use crate::cli::bytes::{from_argument, to_argument};
use crate::types::{
    Compare, CompareOperator, CompareTarget, DeleteRangeRequest, KeyRange, PutRequest,
    RangeRequest, Sort, TxnOperation,
};

/// A request line.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_help_subcommand = true)]
enum RequestLine {
    Put(PutArguments),
    Get(GetArguments),
    Del(DeleteArguments),
}

/// Reads a compare.
pub(in crate::cli) fn compare(line: &str) -> Result<Compare, String> {
    let example = "write for example mod(\"key\") > \"0\"";
    let malformed = |what: &str| format!("malformed compare: {what}; {example}");
    let (field, rest) = line.trim().split_once('(').ok_or_else(|| malformed("no '('"))?;
    let (key, rest) = quoted(rest.trim_start()).map_err(|what| malformed(&what))?;
    let rest =
        rest.trim_start().strip_prefix(')').ok_or_else(|| malformed("no ')' after the key"))?;
    let (operator, rest) =
        operator(rest.trim_start()).ok_or_else(|| malformed("no =, !=, < or >"))?;
    let (given, rest) = quoted(rest.trim_start()).map_err(|what| malformed(&what))?;
    if !rest.trim().is_empty() {
        return Err(malformed("something after the value"));
    }
    let target = target(field.trim(), given).map_err(|what| malformed(&what))?;
    Ok(Compare { range: KeyRange::single(key), target, operator })
}

/// Reads a request.
pub(in crate::cli) fn request(line: &str) -> Result<TxnOperation, String> {
    let words = words(line)?;
    let parsed = RequestLine::try_parse_from(words).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        let what = first.strip_prefix("error: ").unwrap_or(first);
        format!("malformed request: {what}; write a put, get or del")
    })?;
    match parsed {
        RequestLine::Put(put) => self::put(put),
        RequestLine::Get(get) => Ok(TxnOperation::Range(range(get))),
        RequestLine::Del(delete) => Ok(TxnOperation::DeleteRange(DeleteRangeRequest {
            range: delete.keys.range(),
            prev_kv: delete.prev_kv,
        })),
    }
}

fn put(arguments: PutArguments) -> Result<TxnOperation, String> {
    let PutArguments { key, value, prev_kv, ignore_value, ignore_lease } = arguments;
    if value.is_none() && !ignore_value {
        return Err("malformed request: a put needs a value here; write put KEY VALUE".to_owned());
    }
    Ok(TxnOperation::Put(PutRequest {
        key: from_argument(key),
        value: value.map(from_argument).unwrap_or_default(),
        lease: 0,
        prev_kv,
        ignore_value,
        ignore_lease,
    }))
}

fn range(arguments: GetArguments) -> RangeRequest {
    let sort = arguments.sort().map(|(target, order)| Sort { target, order });
    RangeRequest {
        limit: arguments.limit,
        revision: arguments.rev,
        sort,
        keys_only: arguments.keys_only,
        count_only: arguments.count_only,
        min_mod_revision: arguments.min_mod_rev,
        max_mod_revision: arguments.max_mod_rev,
        min_create_revision: arguments.min_create_rev,
        max_create_revision: arguments.max_create_rev,
        ..RangeRequest::new(arguments.keys.range())
    }
}

fn operator(text: &str) -> Option<(CompareOperator, &str)> {
    let operators = [
        ("!=", CompareOperator::NotEqual),
        ("=", CompareOperator::Equal),
        ("<", CompareOperator::Less),
        (">", CompareOperator::Greater),
    ];
    operators.iter().find_map(|(sign, operator)| Some((*operator, text.strip_prefix(sign)?)))
}

fn target(field: &str, given: Bytes) -> Result<CompareTarget, String> {
    fn number<T: std::str::FromStr>(given: &[u8]) -> Result<T, String> {
        let text = std::str::from_utf8(given).ok();
        text.and_then(|text| text.parse().ok())
            .ok_or_else(|| format!("{:?} is no number", String::from_utf8_lossy(given)))
    }
    match field {
        "ver" | "version" => Ok(CompareTarget::Version(number(&given)?)),
        "c" | "create" => Ok(CompareTarget::CreateRevision(number(&given)?)),
        "m" | "mod" => Ok(CompareTarget::ModRevision(number(&given)?)),
        "val" | "value" => Ok(CompareTarget::Value(given)),
        "lease" => Ok(CompareTarget::Lease(number(&given)?)),
        _ => Err(format!("{field:?} is no field; use version, create, mod, value or lease")),
    }
}

/// Splits a line into words, quotes taken off.
fn words(line: &str) -> Result<Vec<OsString>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let word;
        (word, rest) = match first {
            '"' | '`' => quoted(rest)?,
            '\'' => {
                let (inside, rest) =
                    rest[1..].split_once('\'').ok_or("a ' is not closed; close it")?;
                (Bytes::copy_from_slice(inside.as_bytes()), rest)
            }
            _ => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                let (word, rest) = rest.split_at(end);
                (Bytes::copy_from_slice(word.as_bytes()), rest)
            }
        };
        words.push(to_argument(word.to_vec())?);
        rest = rest.trim_start();
    }
    Ok(words)
}

/// Reads a quoted string at the start of `text`: its bytes, and what follows.
fn quoted(text: &str) -> Result<(Bytes, &str), String> {
    if let Some(raw) = text.strip_prefix('`') {
        let (inside, rest) = raw.split_once('`').ok_or("a ` is not closed; close it")?;
        return Ok((Bytes::copy_from_slice(inside.as_bytes()), rest));
    }
    let inside =
        text.strip_prefix('"').ok_or("no quoted string where one is due; put it in \"\"")?;
    let mut bytes = Vec::new();
    let mut rest = inside;
    loop {
        let mut characters = rest.chars();
        match characters.next() {
            None => return Err("a \" is not closed; close it".to_owned()),
            Some('"') => return Ok((bytes.into(), characters.as_str())),
            Some('\\') => rest = escape(characters.as_str(), &mut bytes)?,
            Some(other) => {
                bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
                rest = characters.as_str();
            }
        }
    }
}

/// Reads what follows a backslash, as in Go: appends its bytes and answers the rest.
fn escape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Result<&'a str, String> {
    let kind = text.chars().next().ok_or("nothing follows a backslash")?;
    let after = &text[kind.len_utf8()..];
    let plain = match kind {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' | '"' | '\'' => kind as u8,
        'x' => {
            return digits(after, 2, 16, |value| u8::try_from(value).map(|b| bytes.push(b)).ok());
        }
        '0'..='7' => {
            return digits(text, 3, 8, |value| u8::try_from(value).map(|b| bytes.push(b)).ok());
        }
        'u' | 'U' => {
            let count = if kind == 'u' { 4 } else { 8 };
            return digits(after, count, 16, |value| {
                let character = char::from_u32(value)?;
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                Some(())
            });
        }
        // Escaped itself: an error is one line, whatever follows the backslash.
        _ => {
            let kind = kind.escape_debug();
            return Err(format!("\\{kind} is no escape; write \\\\ for a backslash"));
        }
    };
    bytes.push(plain);
    Ok(after)
}

/// Reads `count` digits and hands their value on.
fn digits(
    text: &str,
    count: usize,
    radix: u32,
    take: impl FnOnce(u32) -> Option<()>,
) -> Result<&str, String> {
    let number = text.get(..count).filter(|digits| digits.chars().all(|c| c.is_digit(radix)));
    number
        .and_then(|digits| u32::from_str_radix(digits, radix).ok())
        .and_then(take)
        .map(|()| &text[count..])
        .ok_or_else(|| format!("an escape needs {count} digits of a character or byte"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{SortOrder, SortTarget};

    #[test]
    fn compares_are_read_by_table() {
        use CompareOperator::{Equal, Greater, Less, NotEqual};
        let table: [(&str, &[u8], CompareTarget, CompareOperator); 9] = [
            (r#"mod("key1") > "0""#, b"key1", CompareTarget::ModRevision(0), Greater),
            (r#"m("k")="7""#, b"k", CompareTarget::ModRevision(7), Equal),
            (r#" create ( "k" ) != "2" "#, b"k", CompareTarget::CreateRevision(2), NotEqual),
            (r#"c("k") < "2""#, b"k", CompareTarget::CreateRevision(2), Less),
            (r#"version("k") = "0""#, b"k", CompareTarget::Version(0), Equal),
            (r#"ver("a)b") = "1""#, b"a)b", CompareTarget::Version(1), Equal),
            (r#"lease("k") = "-1""#, b"k", CompareTarget::Lease(-1), Equal),
            (r#"value("a\"\x00\n") = "é\101""#, b"a\"\0\n", value("éA"), Equal),
            (r"val(`a\n`) > `x y`", br"a\n", value("x y"), Greater),
        ];
        for (line, key, target, operator) in table {
            let range = KeyRange::single(key);
            assert_eq!(compare(line), Ok(Compare { range, target, operator }), "{line}");
        }
    }

    fn value(text: &'static str) -> CompareTarget {
        CompareTarget::Value(text.into())
    }

    #[test]
    fn malformed_compares_say_what_is_wrong() {
        let table = [
            ("mod", "no '('"),
            ("mod(key) > \"0\"", "no quoted string"),
            ("mod(\"key) > 0", "not closed"),
            ("mod(\"key\" > \"0\"", "no ')'"),
            ("mod(\"key\") ~ \"0\"", "no =, !=, < or >"),
            ("mod(\"key\") > 0", "no quoted string"),
            ("mod(\"key\") > \"x\"", "is no number"),
            ("mod(\"key\") > \"0\" x", "something after"),
            ("size(\"key\") > \"0\"", "is no field"),
            ("mod(\"\\q\") > \"0\"", "is no escape"),
            ("mod(\"\\\n\") > \"0\"", "\\\\n is no escape"),
            ("mod(\"\\xg0\") > \"0\"", "needs 2 digits"),
            ("mod(\"\\777\") > \"0\"", "needs 3 digits"),
            ("mod(\"\\ud800\") > \"0\"", "needs 4 digits"),
        ];
        for (line, what) in table {
            let error = compare(line).expect_err(line);
            assert!(error.contains(what) && !error.contains('\n'), "{line}: {error}");
        }
    }

    #[test]
    fn requests_are_read_with_their_options() {
        let put = |key: &'static str, value: &'static str| PutRequest {
            key: key.into(),
            value: value.into(),
            ..PutRequest::default()
        };
        assert_eq!(request("put k v"), Ok(TxnOperation::Put(put("k", "v"))));
        let line = r#"  put "a b" 'c "d"'  "#;
        assert_eq!(request(line), Ok(TxnOperation::Put(put("a b", "c \"d\""))));
        assert_eq!(request("put -- -k -v"), Ok(TxnOperation::Put(put("-k", "-v"))));
        assert_eq!(request("put k \"\""), Ok(TxnOperation::Put(put("k", ""))));
        let previous = PutRequest { prev_kv: true, ..put("k", "v") };
        assert_eq!(request("put --prev-kv k v"), Ok(TxnOperation::Put(previous)));

        let get = RangeRequest::new(KeyRange::single("k"));
        assert_eq!(request("get k"), Ok(TxnOperation::Range(get)));
        let sort = Some(Sort { target: SortTarget::Value, order: SortOrder::Descending });
        let get =
            RangeRequest { limit: 3, keys_only: true, sort, ..RangeRequest::new(KeyRange::all()) };
        let line = "get \"\" --prefix --limit 3 --keys-only --sort-by VALUE --order DESCEND";
        assert_eq!(request(line), Ok(TxnOperation::Range(get)));

        let range = KeyRange::between("a", "b");
        let delete = DeleteRangeRequest { range, prev_kv: true };
        assert_eq!(request("del a b --prev-kv"), Ok(TxnOperation::DeleteRange(delete)));
    }

    #[test]
    fn malformed_requests_say_what_is_wrong() {
        let table = [
            ("put", "required"),
            ("put k", "needs a value"),
            ("fetch k", "fetch"),
            ("get", "required"),
            ("get k --rev x", "invalid value"),
            ("put k \"v", "not closed"),
            ("put k 'v", "not closed"),
        ];
        for (line, what) in table {
            let error = request(line).expect_err(line);
            assert!(error.contains(what) && !error.contains('\n'), "{line}: {error}");
        }
    }
}
