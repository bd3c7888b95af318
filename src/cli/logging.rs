//! Where the binary's logs go: standard error, one line each, as text or as JSON.
//!
//! Standard output belongs to the answers of commands and to the `ready` line of `serve`, so
//! nothing is logged there.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// The environment variable that overrides [`DEFAULT_FILTER`].
pub const FILTER_VARIABLE: &str = "CHAINFIRE_LOG";

/// What is logged unless told otherwise. The libraries below tell of every election and every
/// connection at `info`; what of it matters, the node says itself.
pub const DEFAULT_FILTER: &str = "info,openraft=error,ractor=error,tarpc=off,hyper=warn";

/// Added to a filter that does not name it. tarpc tells of each call whose time is up as of an
/// error, and of nothing else: the caller knows, and the metrics count it.
const TARPC: &str = "tarpc";

/// Longest filter that is looked at, in bytes.
const FILTER_BYTES_MAX: usize = 4_096;

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter is not one.
    #[error(
        "{FILTER_VARIABLE} is not a log filter: {reason}; write for example info,openraft=warn"
    )]
    InvalidFilter {
        /// What is wrong.
        reason: String,
    },
    /// Somebody set up logging before.
    #[error("logging was set up twice in one process")]
    Twice(#[from] TryInitError),
}

/// Sets up logging for the whole process; once. `filter` is what [`FILTER_VARIABLE`] says.
pub fn init(filter: Option<&str>, format: LogFormat) -> Result<(), LoggingError> {
    let filter = parse_filter(filter)?;
    let is_terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal && format == LogFormat::Text);
    match format {
        LogFormat::Text => builder.finish().try_init()?,
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}

fn parse_filter(filter: Option<&str>) -> Result<EnvFilter, LoggingError> {
    let text = filter.filter(|text| !text.trim().is_empty()).unwrap_or(DEFAULT_FILTER);
    if text.len() > FILTER_BYTES_MAX {
        let reason = format!("it has more than {FILTER_BYTES_MAX} bytes");
        return Err(LoggingError::InvalidFilter { reason });
    }
    let quiet = format!("{text},{TARPC}=off");
    let text = if text.contains(TARPC) { text } else { &quiet };
    EnvFilter::try_new(text).map_err(|error| LoggingError::InvalidFilter {
        reason: error.to_string().replace('\n', " "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_filter_is_one_and_nothing_said_is_the_default() {
        let default = parse_filter(None).expect("valid").to_string();
        assert!(default.contains("openraft=error"), "{default}");
        assert_eq!(parse_filter(Some(" ")).expect("valid").to_string(), default);
    }

    #[test]
    fn a_call_whose_time_is_up_is_no_error_unless_asked_for() {
        for (filter, expected) in [("debug", "tarpc=off"), ("info,tarpc=error", "tarpc=error")] {
            let parsed = parse_filter(Some(filter)).expect("valid").to_string();
            assert!(parsed.contains(expected), "{parsed}");
            assert_eq!(parsed.matches("tarpc").count(), 1, "{parsed}");
        }
    }

    #[test]
    fn a_filter_that_is_none_is_refused_in_one_line() {
        for filter in ["info,x=[", "a=b=c", &"x".repeat(FILTER_BYTES_MAX + 1)] {
            let error = parse_filter(Some(filter)).expect_err("no filter").to_string();
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
