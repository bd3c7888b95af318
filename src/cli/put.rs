//! `put`.

use std::io::{Read, stdin};

use bytes::Bytes;

use super::arguments::{Global, PutArguments};
use super::bytes::from_argument;
use super::failure::CommandError;
use super::json::{PutJson, print_pair};
use super::terminal::Terminal;
use crate::types::OperationError;
use crate::types::limits::REQUEST_BYTES_MAX;

pub(super) async fn run(
    global: &Global,
    arguments: PutArguments,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let key = from_argument(arguments.key);
    let value = match arguments.value {
        Some(value) => from_argument(value),
        None if arguments.ignore_value => Bytes::new(),
        None => value_from(stdin().lock())?,
    };
    let client = global.client_for_one()?.connect().await?;
    let mut put = client.put(key, value);
    if arguments.prev_kv {
        put = put.prev_kv();
    }
    if arguments.ignore_value {
        put = put.ignore_value();
    }
    if arguments.ignore_lease {
        put = put.ignore_lease();
    }
    let answer = put.await?;
    if global.json() {
        terminal.json(&PutJson::from(&answer))?;
    } else {
        terminal.line("OK")?;
        if let Some(pair) = &answer.prev_kv {
            print_pair(terminal, pair)?;
        }
    }
    Ok(terminal.flush()?)
}

/// The whole input, which must be no longer than a value can be.
fn value_from(input: impl Read) -> Result<Bytes, CommandError> {
    let mut value = Vec::new();
    input.take(REQUEST_BYTES_MAX as u64 + 1).read_to_end(&mut value)?;
    if value.len() > REQUEST_BYTES_MAX {
        let (bytes, max) = (value.len() as u64, REQUEST_BYTES_MAX as u64);
        let error = OperationError::RequestTooLarge { bytes, max };
        return Err(CommandError::Client(error.into()));
    }
    Ok(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_from_standard_input_is_bounded() {
        assert_eq!(value_from(&b"a\nb\0"[..]).expect("short"), &b"a\nb\0"[..]);
        let error = value_from(std::io::repeat(b'x')).expect_err("endless");
        assert_eq!(error.code(), 1);
    }
}
