//! How setting up TLS over a connection fails.

use std::io;

/// Why there is no TLS over a connection. Nothing but TLS's own handshake was sent.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The other end said something else, or closed the connection instead of answering.
    #[error(
        "the node does not speak TLS there, or takes no more connections; leave --tls-ca out if \
         that is meant"
    )]
    NotTls,
    /// The host of the address cannot stand in a certificate.
    #[error("{host} is no name that a certificate can be for; use a DNS name or an IP address")]
    NoName {
        /// The host.
        host: String,
    },
    /// Another CA signed the other end's certificate.
    #[error(
        "the other end's certificate is not signed by the CA given; give the file of the CA that \
         signed it (--tls-ca, for a node 'ca')"
    )]
    UnknownIssuer,
    /// The other end's certificate is for somebody else.
    #[error(
        "the other end's certificate is not for {name}; make one with that subjectAltName, or \
         connect to a name that it is for"
    )]
    WrongName {
        /// The name or address that was connected to.
        name: String,
    },
    /// The other end's certificate is too old, or too new.
    #[error(
        "the other end's certificate has expired or is not valid yet; renew it, or set the clock"
    )]
    Expired,
    /// We offered no certificate.
    #[error(
        "the node wants a client certificate; give --tls-cert FILE and --tls-key FILE, signed by \
         the CA that it trusts"
    )]
    CertificateWanted,
    /// The other end offered no certificate.
    #[error("no client certificate was offered, and this listener wants one")]
    CertificateMissing,
    /// The other end does not trust us.
    #[error(
        "the other end does not accept our certificate ({alert}); check the CA that it was given, \
         and the certificate's names and dates"
    )]
    CertificateRefused {
        /// What it said, in TLS's words.
        alert: String,
    },
    /// TLS failed otherwise.
    #[error("TLS failed: {reason}")]
    Failed {
        /// Why.
        reason: String,
    },
    /// The socket failed.
    #[error("the connection broke while TLS was set up: {0}")]
    Socket(#[from] io::Error),
}
