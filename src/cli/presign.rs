//! `presign`: a link that reads one key until it expires.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;

use super::arguments::{Global, duration};
use super::bytes::from_argument;
use super::failure::CommandError;
use super::terminal::Terminal;
use crate::auth::{AmzDate, CLIENT_SERVICE, Credentials, Presign};
use crate::clock;

/// The longest that a link is good for.
const EXPIRES_MAX: Duration = Duration::from_secs(604_800);

/// `presign`.
#[derive(Clone, Debug, Args)]
pub(super) struct PresignArguments {
    /// The key
    key: OsString,
    /// How long the link is good for: 30s, 15m, 1h, at most 168h
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    expires: Duration,
    /// The node's HTTP address, as whoever follows the link will write it
    #[arg(
        long,
        env = "CHAINFIRE_HTTP_ENDPOINT",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:4603"
    )]
    http_endpoint: String,
    /// Write https:// before it
    #[arg(long)]
    https: bool,
}

/// Writes the link; asks no node.
pub(super) fn run(
    global: &Global,
    arguments: PresignArguments,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let seconds = arguments.expires.as_secs();
    if seconds == 0 || arguments.expires > EXPIRES_MAX {
        return Err(CommandError::Usage("a link is good for 1s to 168h".to_owned()));
    }
    let key = from_argument(arguments.key);
    let unclear = key.is_empty()
        || key.contains(&0)
        || key.split(|byte| *byte == b'/').any(|segment| matches!(segment, b"" | b"." | b".."));
    if unclear {
        return Err(CommandError::Usage(
            "a key that is empty, has a NUL byte, or an empty, `.` or `..` part between slashes \
             has no link"
                .to_owned(),
        ));
    }
    let credentials =
        Credentials::find(global.credentials.as_deref(), |name| std::env::var_os(name))?;
    let url = Presign {
        authority: &arguments.http_endpoint,
        path: &[b"/v1/keys/", &key[..]].concat(),
        query: &[],
        expires_seconds: seconds,
    };
    let target =
        credentials.signer(CLIENT_SERVICE).presign(&url, AmzDate::from_unix(clock::wall()));
    let scheme = if arguments.https { "https" } else { "http" };
    terminal.line(format!("{scheme}://{}{target}", arguments.http_endpoint))?;
    Ok(terminal.flush()?)
}
