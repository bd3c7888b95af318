//! The connecting side.

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::files::{TlsClientFiles, TlsFileError, authorities};
use super::{TlsStream, VERSIONS, provider, reason, tls_error};
use crate::rpc::transport::tls_error::TlsError;

/// The way to nodes that speak TLS. Clones share what was loaded last.
#[derive(Clone)]
pub struct TlsClient {
    shared: Arc<Shared>,
}

struct Shared {
    files: TlsClientFiles,
    config: RwLock<Arc<ClientConfig>>,
}

impl TlsClient {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsFileError`]: one of them is missing, or is not what it should be.
    pub fn load(files: TlsClientFiles) -> Result<Self, TlsFileError> {
        let config = RwLock::new(Arc::new(read(&files)?));
        Ok(Self { shared: Arc::new(Shared { files, config }) })
    }

    /// Reads the files again; connections to come use what is in them.
    ///
    /// # Errors
    /// As [`load`](Self::load); what was loaded before stays in use.
    pub fn reload(&self) -> Result<(), TlsFileError> {
        let config = Arc::new(read(&self.shared.files)?);
        *self.shared.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// TLS over `socket`, with whoever is at `address` (`HOST:PORT`): its certificate must be for
    /// that host.
    pub(in crate::rpc::transport) async fn connect(
        &self,
        socket: TcpStream,
        address: &str,
    ) -> Result<TlsStream, TlsError> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| TlsError::NoName { host: host.to_owned() })?;
        let config = self.shared.config.read().unwrap_or_else(PoisonError::into_inner).clone();
        match TlsConnector::from(config).connect(name, socket).await {
            Ok(stream) => Ok(stream.into()),
            Err(error) => Err(match (reason(&error), error.kind()) {
                (Some(reason), _) => tls_error(reason, host),
                // What does not understand our first words closes the connection over them.
                (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
                    TlsError::NotTls
                }
                (None, _) => TlsError::Socket(error),
            }),
        }
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").field("files", &self.shared.files).finish_non_exhaustive()
    }
}

fn read(files: &TlsClientFiles) -> Result<ClientConfig, TlsFileError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .expect("the provider has what these versions need")
        .with_root_certificates(authorities(&files.ca)?);
    let mut config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = identity.read()?;
            let config = builder.with_client_auth_cert(chain, key);
            config.map_err(|error| identity.refused(&error))?
        }
    };
    config.resumption = Resumption::disabled();
    Ok(config)
}
