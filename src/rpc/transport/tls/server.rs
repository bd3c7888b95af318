//! The accepting side.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::files::{TlsFileError, TlsServerFiles, authorities, unfit};
use super::{TlsStream, VERSIONS, provider, reason, tls_error, validity};
use crate::rpc::transport::tls_error::TlsError;

/// The first byte of TLS: a record of its handshake.
const HANDSHAKE_RECORD: u8 = 0x16;

/// How long a connection whose TLS failed is read on, so that no reset overtakes what it is told.
const GOODBYE: Duration = Duration::from_millis(500);

/// Most bytes read meanwhile.
const GOODBYE_BYTES_MAX: u64 = 16 * 1_024;

/// What a listener speaks TLS with. Clones share what was loaded last.
#[derive(Clone)]
pub struct TlsServer {
    shared: Arc<Shared>,
}

struct Shared {
    files: TlsServerFiles,
    current: RwLock<Loaded>,
}

struct Loaded {
    config: Arc<ServerConfig>,
    not_after: Option<u64>,
}

/// Tells whether files are still those that were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStamp(Vec<Option<(SystemTime, u64, u64)>>);

impl FileStamp {
    /// Of these files as they are now; one that is missing is as different as any other.
    fn of<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        let stamp = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
        };
        Self(paths.into_iter().map(stamp).collect())
    }
}

/// What came over a socket first.
pub enum Opened {
    /// TLS.
    Tls(Box<TlsStream>),
    /// Something else, none of which was read.
    Plain(TcpStream),
}

impl TlsServer {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsFileError`]: one of them is missing, or is not what it should be.
    pub fn load(files: TlsServerFiles) -> Result<Self, TlsFileError> {
        let current = RwLock::new(read(&files)?);
        Ok(Self { shared: Arc::new(Shared { files, current }) })
    }

    /// Reads the files again; connections to come are shown what is in them.
    ///
    /// # Errors
    /// As [`load`](Self::load); what was loaded before stays in use.
    pub fn reload(&self) -> Result<(), TlsFileError> {
        let loaded = read(&self.shared.files)?;
        *self.shared.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }

    /// The files as they are now on the disk.
    pub fn stamp(&self) -> FileStamp {
        let TlsServerFiles { identity, client_ca } = &self.shared.files;
        FileStamp::of([&identity.certificate, &identity.key].into_iter().chain(client_ca))
    }

    /// The last second of the certificate that is shown, since 1970; none when it cannot be told.
    pub fn not_after(&self) -> Option<u64> {
        self.shared.current.read().unwrap_or_else(PoisonError::into_inner).not_after
    }

    /// TLS over `socket`, if that is what comes over it. May wait for ever: put a timeout around
    /// it.
    pub async fn open(&self, socket: TcpStream) -> Result<Opened, TlsError> {
        let mut first = [0];
        match socket.peek(&mut first).await? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            _ if first[0] != HANDSHAKE_RECORD => Ok(Opened::Plain(socket)),
            // Boxed: the state of a handshake is large, and is gone when the connection begins.
            _ => Box::pin(self.accept(socket)).await.map(|stream| Opened::Tls(Box::new(stream))),
        }
    }

    async fn accept(&self, socket: TcpStream) -> Result<TlsStream, TlsError> {
        let config = {
            let current = self.shared.current.read().unwrap_or_else(PoisonError::into_inner);
            current.config.clone()
        };
        let accepted = TlsAcceptor::from(config).accept(socket).into_fallible().await;
        let (error, socket) = match accepted {
            Ok(stream) => return Ok(stream.into()),
            Err(failed) => failed,
        };
        // What it is worth telling was told; that it arrives is all that is left to do.
        let _ = timeout(GOODBYE, say_goodbye(socket)).await;
        Err(match reason(&error) {
            Some(reason) => tls_error(reason, ""),
            None => TlsError::Socket(error),
        })
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer").field("files", &self.shared.files).finish_non_exhaustive()
    }
}

async fn say_goodbye(mut socket: TcpStream) -> io::Result<()> {
    socket.shutdown().await?;
    tokio::io::copy(&mut socket.take(GOODBYE_BYTES_MAX), &mut tokio::io::sink()).await?;
    Ok(())
}

fn read(files: &TlsServerFiles) -> Result<Loaded, TlsFileError> {
    let (chain, key) = files.identity.read()?;
    let not_after = chain.first().and_then(|certificate| validity::not_after(certificate));
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .expect("the provider has what these versions need");
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let roots = Arc::new(authorities(ca)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
            let verifier = verifier.build().map_err(|error| unfit(ca, &error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder.with_single_cert(chain, key);
    let mut config = config.map_err(|error| files.identity.refused(&error))?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Loaded { config: Arc::new(config), not_after })
}
