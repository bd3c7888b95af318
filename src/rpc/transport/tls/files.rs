//! Certificates and keys as files in PEM.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, InconsistentKeys, RootCertStore};

use crate::auth::{KeyFileError, read_private_file};

/// Largest file of certificates that is read, in bytes. A bigger one is a mistaken path.
const CERTIFICATES_BYTES_MAX: u64 = 1_024 * 1_024;

/// A certificate, those that lead from it to its CA after it in the same file, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key; a file that only its owner can read.
    pub key: PathBuf,
}

/// What it takes to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsClientFiles {
    /// The CAs, one of which must have signed the other end's certificate.
    pub ca: PathBuf,
    /// What to show to who wants a certificate.
    pub identity: Option<IdentityFiles>,
}

/// What it takes to accept.
#[cfg(feature = "server")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsServerFiles {
    /// Who we are.
    pub identity: IdentityFiles,
    /// The CAs, one of which must have signed the certificate of whoever connects; none = nobody
    /// is asked for one.
    pub client_ca: Option<PathBuf>,
}

/// Why a certificate or key cannot be used. Each is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// The system refused.
    #[error("cannot read {}: {source}; check the path and its permissions", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The key cannot be read, or others can.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// No certificate in it.
    #[error(
        "{} holds no certificate in PEM (-----BEGIN CERTIFICATE-----); convert it, or check the \
         path", path.display()
    )]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// No key in it.
    #[error(
        "{} holds no unencrypted private key in PEM (-----BEGIN PRIVATE KEY-----); convert it, or \
         check the path", path.display()
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// Two files that do not belong together.
    #[error(
        "the key {} is not that of the certificate {}; give the two that were made together",
        key.display(), certificate.display()
    )]
    OtherKey {
        /// The key.
        key: PathBuf,
        /// The certificate.
        certificate: PathBuf,
    },
    /// What is in it is of no use.
    #[error("{} cannot be used: {reason}; make it again", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The certificates in a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let unreadable = |source| TlsFileError::Unreadable { path: path.to_owned(), source };
    let mut text = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(CERTIFICATES_BYTES_MAX).read_to_end(&mut text).map_err(unreadable)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| unfit(path, &error))?;
    if found.is_empty() {
        return Err(TlsFileError::NoCertificate { path: path.to_owned() });
    }
    Ok(found)
}

/// The CAs in a file.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsFileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| unfit(path, &error))?;
    }
    Ok(roots)
}

/// A certificate with its chain, and its key.
pub(super) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl IdentityFiles {
    /// Reads both. That they belong together is seen when they are used.
    pub(super) fn read(&self) -> Result<Identity, TlsFileError> {
        let chain = certificates(&self.certificate)?;
        let text = read_private_file(&self.key)?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes());
        let key = key.map_err(|_| TlsFileError::NoKey { path: self.key.clone() })?;
        Ok((chain, key))
    }

    /// Why rustls does not take the two.
    pub(super) fn refused(&self, error: &Error) -> TlsFileError {
        match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsFileError::OtherKey {
                key: self.key.clone(),
                certificate: self.certificate.clone(),
            },
            Error::InvalidCertificate(_) => unfit(&self.certificate, error),
            _ => unfit(&self.key, error),
        }
    }
}

/// A file that was read and is of no use.
pub(super) fn unfit(path: &Path, reason: &dyn std::error::Error) -> TlsFileError {
    TlsFileError::Unfit { path: path.to_owned(), reason: reason.to_string() }
}
