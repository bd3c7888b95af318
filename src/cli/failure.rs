//! How commands fail, what that says, and the exit code.

use std::io;
use std::path::PathBuf;

use clap::error::ErrorKind;

use super::tls::TlsArgumentsError;
use crate::auth::{CredentialsError, KeyFileError};
use crate::client::{Error, Failure};
use crate::types::OperationError;

/// Why a command did not do what it was asked. Its text is one line that says what to do next.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The cluster did not do it.
    #[error("{0}{hint}", hint = next_step(.0))]
    Client(#[from] Error),
    /// There is nothing to sign with.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// There is nothing to speak TLS with.
    #[error(transparent)]
    Tls(#[from] TlsArgumentsError),
    /// A file of keys could not be made or used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// Standard input or output, or the runtime, failed.
    #[error("input or output failed: {0}; check what the command reads from and writes to")]
    Stream(#[from] io::Error),
    /// A file failed.
    #[error("{}: {source}; check the path and its permissions", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was given on standard input or in a file cannot be used.
    #[error("line {line}: {reason}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A pair of an import was not acknowledged.
    #[error("line {line}: {source}")]
    Pair {
        /// Counted from 1.
        line: u64,
        /// Why.
        source: Error,
    },
    /// An import stopped on the way.
    #[error(
        "{source}; {written} pairs were imported; correct the cause and import again, which overwrites them with the same values"
    )]
    Import {
        /// Pairs acknowledged.
        written: u64,
        /// Why.
        source: Box<CommandError>,
    },
    /// Some endpoints said nothing.
    #[error(
        "{missing} of {all} endpoints did not answer: {reason}; check that the nodes run and --endpoints names them"
    )]
    Unreachable {
        /// How many.
        missing: usize,
        /// Of how many.
        all: usize,
        /// Why the first of them did not.
        reason: String,
    },
    /// A received snapshot cannot be used.
    #[cfg(feature = "server")]
    #[error("the snapshot cannot be used: {0}")]
    Snapshot(String),
    /// A snapshot file or a data directory cannot be used.
    #[cfg(feature = "server")]
    #[error(transparent)]
    Storage(#[from] crate::storage::StorageError),
    /// A data directory was not made.
    #[cfg(feature = "server")]
    #[error(transparent)]
    Restore(#[from] crate::node::RestoreError),
    /// A sorted range that does not fit one answer.
    #[error(
        "the range does not fit one answer in this order; give --limit, or leave --sort-by and --order out"
    )]
    TooLongToSort,
    /// A benchmark without one success.
    #[error("no operation succeeded: {reason}; check the cluster with 'chainfire status'")]
    NothingMeasured {
        /// What most of them met.
        reason: String,
    },
}

impl CommandError {
    /// What clap found, in one line.
    pub(super) fn usage_of(error: &clap::Error) -> Self {
        if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            return Self::Usage("a command is missing; see 'chainfire --help'".to_owned());
        }
        let text = error.to_string();
        let mut words = Vec::new();
        for line in text.lines().map(str::trim) {
            if line.starts_with("Usage:") || line.starts_with("For more information") {
                break;
            }
            words.extend(line.strip_prefix("error:").unwrap_or(line).split_whitespace());
        }
        Self::Usage(format!("{}; see 'chainfire --help'", words.join(" ")))
    }

    /// The exit code.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Credentials(_) | Self::Tls(_) => 2,
            Self::Client(error) | Self::Pair { source: error, .. } if !is_failed(error) => 3,
            Self::Client(Error::Failed(Failure::NoEndpoint | Failure::InvalidEndpoint { .. })) => 2,
            Self::Import { source, .. } => source.code(),
            #[cfg(feature = "server")]
            Self::Restore(crate::node::RestoreError::NotAFounder { .. }) => 2,
            _ => 1,
        }
    }

    /// Whether there is nobody to tell: the reader of standard output went away.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self, Self::Stream(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The text without line breaks.
    pub(super) fn line(&self) -> String {
        self.to_string().split(['\n', '\r']).map(str::trim).collect::<Vec<_>>().join(" ")
    }
}

/// Whether nothing was applied, so that the command may be given again.
fn is_failed(error: &Error) -> bool {
    match error {
        Error::Failed(_) => true,
        Error::Unknown { .. } | Error::Applied { .. } => false,
    }
}

/// What to do about an error of the client, where its own text does not say.
fn next_step(error: &Error) -> &'static str {
    let failure = match error {
        Error::Unknown { .. } => {
            return "; it may have been applied: read the keys to find out before repeating it";
        }
        Error::Applied { .. } => return "; do not repeat it",
        Error::Failed(failure) => failure,
    };
    match failure {
        Failure::Unavailable { .. } => {
            "; check that the nodes run and --endpoints names them, or give a longer --timeout"
        }
        Failure::PermissionDenied { .. } => "; ask for the permission or use another user",
        Failure::Operation(error) => match error {
            OperationError::FutureRevision { .. } => "; leave --rev out to read the current one",
            OperationError::Compacted { .. } => "; read at that revision or a later one",
            OperationError::KeyNotFound => "; put it with a value first",
            OperationError::LeaseNotFound { .. } => "; grant the lease first",
            OperationError::KeyTooLong { .. } => "; use a shorter key",
            OperationError::RequestTooLarge { .. } | OperationError::TooManyOperations { .. } => {
                "; split it"
            }
            OperationError::NestedTooDeep { .. } => "; nest less",
            _ => "",
        },
        Failure::Invalid { .. } => "; change the request",
        Failure::Refused { .. } | Failure::NoSpace(_) => "",
        Failure::Overloaded | Failure::NoEndpoint | Failure::InvalidEndpoint { .. } => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_tell_failed_from_wrong_and_unknown() {
        let unknown = || Error::Unknown { reason: "cut".into() };
        let table = [
            (CommandError::Usage("x".into()), 2),
            (CommandError::Client(Failure::NoEndpoint.into()), 2),
            (CommandError::Client(Failure::Overloaded.into()), 1),
            (CommandError::Client(OperationError::KeyNotFound.into()), 1),
            (CommandError::Client(unknown()), 3),
            (CommandError::Import { written: 3, source: Box::new(unknown().into()) }, 3),
            (CommandError::Line { line: 1, reason: "x".into() }, 1),
            (CommandError::Stream(io::ErrorKind::BrokenPipe.into()), 1),
        ];
        for (error, code) in table {
            assert_eq!(error.code(), code, "{error}");
        }
    }

    #[test]
    fn an_error_is_one_line_with_a_next_step() {
        let reason = "no\nleader".to_owned();
        let error = CommandError::Client(Failure::Unavailable { reason }.into());
        assert_eq!(
            error.line(),
            "unavailable: no leader; check that the nodes run and --endpoints names them, or give \
             a longer --timeout"
        );
    }
}
