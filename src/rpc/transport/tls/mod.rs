//! TLS between the socket and the handshake.
//!
//! TLS keeps what is said from others on the way; who may ask what is decided by signatures above
//! it, with TLS and without. Version 1.3 alone, with one provider of cryptography (ring), which is
//! named in every configuration: nothing is installed for the process, so several nodes and
//! whatever else uses rustls live in one.
//!
//! Sessions are not resumed: connections live long, and a certificate that is trusted no more
//! must not come back in an old session.
//!
//! `TlsServer` and [`TlsClient`] hold the configuration of the next handshake. Reloading one
//! replaces it whole or, when a file is not as it should be, not at all; connections that are
//! open go on as they are.

mod client;
mod files;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod validity;

use std::io;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{AlertDescription, CertificateError, Error, SupportedProtocolVersion};
use tokio::net::TcpStream;

pub use client::TlsClient;
#[cfg(feature = "server")]
pub use files::TlsServerFiles;
pub use files::{IdentityFiles, TlsClientFiles, TlsFileError};
#[cfg(feature = "server")]
pub use server::{FileStamp, Opened, TlsServer};

use super::handshake::HandshakeError;
use super::tls_error::TlsError;

/// TLS over a socket, either end.
pub type TlsStream = tokio_rustls::TlsStream<TcpStream>;

/// The versions that are spoken.
const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What an error of the socket under a handshake means: TLS's own travel in it, among them that
/// the other end does not take our certificate, which it says after our side of TLS is complete.
pub(super) fn explain(error: io::Error) -> HandshakeError {
    match reason(&error) {
        Some(reason) => HandshakeError::Tls(tls_error(reason, "")),
        None => HandshakeError::Socket(error),
    }
}

/// TLS's reason in an error of a socket.
fn reason(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|source| source.downcast_ref())
}

/// What a reason means to who connected to `name`; empty for who accepted.
fn tls_error(reason: &Error, name: &str) -> TlsError {
    match reason {
        Error::InvalidMessage(_) => TlsError::NotTls,
        Error::NoCertificatesPresented => TlsError::CertificateMissing,
        Error::AlertReceived(AlertDescription::CertificateRequired) => TlsError::CertificateWanted,
        Error::AlertReceived(alert) if is_about_certificate(*alert) => {
            TlsError::CertificateRefused { alert: format!("{alert:?}") }
        }
        Error::InvalidCertificate(invalid) => match invalid {
            CertificateError::UnknownIssuer => TlsError::UnknownIssuer,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => TlsError::Expired,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsError::WrongName { name: name.to_owned() }
            }
            _ => TlsError::Failed { reason: reason.to_string() },
        },
        _ => TlsError::Failed { reason: reason.to_string() },
    }
}

fn is_about_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
    )
}
