//! `txn`: a transaction from standard input, in etcdctl's syntax.

pub(super) mod syntax;

use std::io::{BufRead, Read, Write, stderr, stdin};

use super::arguments::{Global, TxnArguments};
use super::failure::CommandError;
use super::json::{TxnJson, print_pair};
use super::terminal::Terminal;
use crate::types::limits::REQUEST_BYTES_MAX;
use crate::types::{OperationAnswer, TxnAnswer, TxnRequest};

/// The longest line, in bytes: a put of the largest value, every byte escaped.
const LINE_BYTES_MAX: u64 = 4 * REQUEST_BYTES_MAX as u64 + 4_096;

/// The three lists, as they are asked for.
const COMPARES: &str = "compares:";
const SUCCESS: &str = "success requests (get, put, del):";
const FAILURE: &str = "failure requests (get, put, del):";

pub(super) async fn run(
    global: &Global,
    arguments: TxnArguments,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let mut lines = Lines { input: stdin().lock(), line: 0, interactive: arguments.interactive };
    let request = TxnRequest {
        compares: lines.list(COMPARES, syntax::compare)?,
        success: lines.list(SUCCESS, syntax::request)?,
        failure: lines.list(FAILURE, syntax::request)?,
    };
    drop(lines);
    let client = global.client_for_one()?.connect().await?;
    let answer = client.txn(request.into()).await?;
    if global.json() {
        terminal.json(&TxnJson::from(&answer))?;
    } else {
        print(terminal, &answer)?;
    }
    Ok(terminal.flush()?)
}

/// The lines of the input.
struct Lines<R> {
    input: R,
    line: u64,
    interactive: bool,
}

impl<R: BufRead> Lines<R> {
    /// Reads lines up to an empty one or the end. What is malformed ends the command; somebody
    /// at a terminal is asked again.
    fn list<T>(
        &mut self,
        prompt: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, CommandError> {
        if self.interactive {
            writeln!(stderr().lock(), "{prompt}")?;
        }
        let mut list = Vec::new();
        while let Some(line) = self.next()? {
            match read(&line) {
                Ok(item) => list.push(item),
                Err(reason) if self.interactive => writeln!(stderr().lock(), "{reason}")?,
                Err(reason) => return Err(self.malformed(&reason)),
            }
        }
        Ok(list)
    }

    /// The next line; none when it is empty or there is none.
    fn next(&mut self) -> Result<Option<String>, CommandError> {
        let mut line = Vec::new();
        self.line += 1;
        self.input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if line.len() as u64 == LINE_BYTES_MAX {
            return Err(self.malformed("the line is longer than any request may be; shorten it"));
        }
        let line = String::from_utf8(line)
            .map_err(|_| self.malformed("not text in UTF-8; write other bytes as \\xHH"))?;
        let line = line.trim_end_matches(['\n', '\r']);
        Ok((!line.trim().is_empty()).then(|| line.to_owned()))
    }

    fn malformed(&self, reason: &str) -> CommandError {
        CommandError::Usage(format!("line {}: {reason}", self.line))
    }
}

fn print(terminal: &mut Terminal, answer: &TxnAnswer) -> std::io::Result<()> {
    terminal.line(if answer.succeeded { "SUCCESS" } else { "FAILURE" })?;
    for answer in &answer.answers {
        terminal.line("")?;
        match answer {
            OperationAnswer::Put(put) => {
                terminal.line("OK")?;
                if let Some(pair) = &put.prev_kv {
                    print_pair(terminal, pair)?;
                }
            }
            OperationAnswer::Range(range) => {
                for pair in &range.kvs {
                    print_pair(terminal, pair)?;
                }
            }
            OperationAnswer::DeleteRange(delete) => {
                terminal.line(delete.deleted.to_string())?;
                for pair in &delete.prev_kvs {
                    print_pair(terminal, pair)?;
                }
            }
            OperationAnswer::Txn(nested) => print(terminal, nested)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TxnRequest, CommandError> {
        let mut lines = Lines { input: text.as_bytes(), line: 0, interactive: false };
        Ok(TxnRequest {
            compares: lines.list(COMPARES, syntax::compare)?,
            success: lines.list(SUCCESS, syntax::request)?,
            failure: lines.list(FAILURE, syntax::request)?,
        })
    }

    #[test]
    fn three_lists_end_with_empty_lines_or_the_input() {
        let full = "mod(\"k\") > \"0\"\n\nput k v\r\nget k\n\ndel k\n";
        let request = read(full).expect("well formed");
        let lengths = (request.compares.len(), request.success.len(), request.failure.len());
        assert_eq!(lengths, (1, 2, 1));
        let request = read("\nput k v").expect("well formed");
        let lengths = (request.compares.len(), request.success.len(), request.failure.len());
        assert_eq!(lengths, (0, 1, 0));
        assert_eq!(read("").expect("empty"), TxnRequest::default());
    }

    #[test]
    fn a_malformed_line_is_named() {
        let error = read("\nput k v\nput\n").expect_err("no key");
        assert!(error.line().starts_with("line 3: "), "{}", error.line());
        assert_eq!(error.code(), 2);
    }
}
