//! The options that decide how nodes are reached: TLS or not.

use std::path::PathBuf;

use clap::Args;

use crate::client::{IdentityFiles, TlsClient, TlsClientFiles, TlsFileError};

/// TLS, for every command that talks to nodes.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct TlsArguments {
    /// Speak TLS with nodes whose certificate a CA in this file signed
    #[arg(long, global = true, env = "CHAINFIRE_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// The certificate for nodes that want one
    #[arg(long, global = true, env = "CHAINFIRE_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, global = true, env = "CHAINFIRE_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

/// Why the options cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsArgumentsError {
    /// One without the others.
    #[error("--tls-cert and --tls-key go together, and with --tls-ca; give all of them")]
    Incomplete,
    /// A file that cannot be used.
    #[error(transparent)]
    File(#[from] TlsFileError),
}

impl TlsArguments {
    /// What to speak TLS with; none = it is not spoken.
    pub(super) fn client(&self) -> Result<Option<TlsClient>, TlsArgumentsError> {
        let identity = match (&self.tls_cert, &self.tls_key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                Some(IdentityFiles { certificate: certificate.clone(), key: key.clone() })
            }
            _ => return Err(TlsArgumentsError::Incomplete),
        };
        match (&self.tls_ca, identity) {
            (Some(ca), identity) => {
                let files = TlsClientFiles { ca: ca.clone(), identity };
                Ok(Some(TlsClient::load(files)?))
            }
            (None, None) => Ok(None),
            (None, Some(_)) => Err(TlsArgumentsError::Incomplete),
        }
    }
}
