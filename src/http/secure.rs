//! TLS under HTTP.

use std::io;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::rpc::transport::tls::{Opened, TlsServer};
use crate::rpc::transport::{Stream, TlsError};

/// What a client is told that speaks HTTP to a port for HTTPS.
const PLAIN_REFUSED: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
    Content-Length: 56\r\nConnection: close\r\n\r\n\
    this port speaks TLS: use https:// and the cluster's CA\n";

/// Why a connection carries no HTTP.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// TLS was not set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It was not even tried.
    #[error("the client does not speak TLS and the listener does")]
    Plain,
}

impl OpenError {
    /// In metrics.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Tls(TlsError::Socket(_)) => "broken",
            Self::Tls(_) => "tls",
            Self::Plain => "no_tls",
        }
    }
}

/// The stream under a connection's HTTP; what comes without the TLS it should have is told so.
pub(super) async fn open(socket: TcpStream, tls: Option<&TlsServer>) -> Result<Stream, OpenError> {
    let Some(tls) = tls else { return Ok(Stream::Plain(socket)) };
    match tls.open(socket).await? {
        Opened::Tls(stream) => Ok(Stream::Tls(stream)),
        Opened::Plain(socket) => {
            // Whoever has gone already needs no answer.
            let _ = refuse(socket).await;
            Err(OpenError::Plain)
        }
    }
}

async fn refuse(mut socket: TcpStream) -> io::Result<()> {
    socket.write_all(PLAIN_REFUSED).await?;
    socket.shutdown().await?;
    // Read on, so that no reset overtakes the answer; the connection's time limit ends it.
    tokio::io::copy(&mut socket, &mut tokio::io::sink()).await?;
    Ok(())
}
