//! What stands for TLS in a build without the feature `tls`: types that have no value, so that
//! the code that would use one compiles and is not there.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::handshake::HandshakeError;
use super::tls_error::TlsError;

/// The way to nodes that speak TLS: none in this build.
#[derive(Clone, Debug)]
pub enum TlsClient {}

impl TlsClient {
    pub(super) async fn connect(&self, _: TcpStream, _: &str) -> Result<TlsStream, TlsError> {
        match *self {}
    }
}

/// TLS over a socket: none in this build.
#[derive(Debug)]
pub enum TlsStream {}

pub(super) fn explain(error: io::Error) -> HandshakeError {
    HandshakeError::Socket(error)
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match *self {}
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}
