//! Frames over a byte stream: a length of four bytes, big endian, and then a sealed body of that
//! many bytes.
//!
//! Invariants:
//! - A length above the limit ends the connection as soon as its four bytes are there.
//! - Memory for a frame grows with the bytes received, not with the length announced.
//! - A message is encoded straight into the write buffer and decoded straight from the read
//!   buffer; a frame costs no copy of its own. Frames waiting for the socket go out in one write.
//! - The write buffer holds at most [`WRITE_BACKPRESSURE_BYTES`] and one frame. When the other
//!   end takes nothing for [`WRITE_STALL_TIMEOUT`] the connection fails; a peer that has stopped
//!   reading cannot hold what waits for it any longer than that.
//!
//! After any error the connection is of no further use.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep};
use tokio_util::io::poll_read_buf;

use super::codec::CodecError;
use super::limits::{BUFFER_KEPT_BYTES, READ_BYTES, WRITE_BACKPRESSURE_BYTES, WRITE_STALL_TIMEOUT};
use super::sealing::{CallFields, Opened, SealError, Sealer};
use crate::clock;

const LENGTH_BYTES: usize = 4;

/// Most bytes to make room for ahead of their arrival while a long frame is coming in.
const RESERVED_BYTES_MAX: usize = 128 * 1_024;

/// Why a connection's frames ended.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The socket failed, or the other end closed it in the middle of a frame.
    #[error("the connection broke: {0}")]
    Socket(#[from] io::Error),
    /// The other end announced a frame that is too long.
    #[error("a frame of {bytes} bytes was announced; at most {max} are allowed")]
    TooLong {
        /// The length announced.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// We were about to send a frame that is too long. Nothing of it was sent.
    #[error("a message of {bytes} bytes does not fit a frame; at most {max} are allowed")]
    MessageTooLong {
        /// The message's length.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// The other end has taken nothing for a while.
    #[error("the other end has stopped reading")]
    WriteStalled,
    /// A body is not a message.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A frame did not open.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// How long frames may be, in bytes of the sealed body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// From the other end.
    pub incoming_bytes_max: usize,
    /// To the other end.
    pub outgoing_bytes_max: usize,
}

/// A byte stream that carries sealed frames both ways.
#[derive(Debug)]
pub struct SealedFrames<S> {
    socket: S,
    sealer: Sealer,
    limits: FrameLimits,
    received: BytesMut,
    outgoing: BytesMut,
    write_stall: Option<Pin<Box<Sleep>>>,
}

impl<S> SealedFrames<S> {
    /// Frames over `socket`, after its handshake.
    pub fn new(socket: S, sealer: impl Into<Sealer>, limits: FrameLimits) -> Self {
        Self {
            socket,
            sealer: sealer.into(),
            limits,
            received: BytesMut::new(),
            outgoing: BytesMut::new(),
            write_stall: None,
        }
    }

    /// Bytes that wait for the socket.
    #[cfg(test)]
    pub(super) fn waiting_bytes(&self) -> usize {
        self.outgoing.len()
    }

    #[cfg(test)]
    pub(super) fn sealer_mut(&mut self) -> &mut Sealer {
        &mut self.sealer
    }

    /// Adds a frame whose body `encode` appends to what it is given, signed as `call`. Nothing is
    /// added on an error.
    pub(super) fn push(
        &mut self,
        call: CallFields,
        encode: impl FnOnce(&mut BytesMut) -> Result<(), CodecError>,
    ) -> Result<(), FrameError> {
        let start = self.outgoing.len();
        let body_start = start + LENGTH_BYTES;
        self.outgoing.put_bytes(0, LENGTH_BYTES + self.sealer.head_bytes());
        if let Err(error) = encode(&mut self.outgoing) {
            self.outgoing.truncate(start);
            return Err(error.into());
        }
        // Before sealing, so that a frame that is not sent takes no place in the sequence.
        let bytes = self.outgoing.len() - body_start;
        let max = self.limits.outgoing_bytes_max;
        if bytes > max {
            self.outgoing.truncate(start);
            return Err(FrameError::MessageTooLong { bytes: bytes as u64, max: max as u64 });
        }
        self.sealer.seal(&mut self.outgoing[body_start..], call, clock::wall())?;
        let length = u32::try_from(bytes).expect("no limit on frames exceeds 32 bits");
        self.outgoing[start..body_start].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// The length of the next frame, once its four bytes are there.
    fn next_length(&self) -> Result<Option<usize>, FrameError> {
        let Some(prefix) = self.received.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let bytes = u32::from_be_bytes(*prefix);
        let max = self.limits.incoming_bytes_max;
        if bytes as usize > max {
            return Err(FrameError::TooLong { bytes: bytes.into(), max: max as u64 });
        }
        Ok(Some(bytes as usize))
    }

    /// Takes the next frame out of the buffer if all of it is there.
    fn take<T>(
        &mut self,
        length: usize,
        decode: impl FnOnce(Opened<'_>) -> Result<T, FrameError>,
    ) -> Result<T, FrameError> {
        let end = LENGTH_BYTES + length;
        let opened = self.sealer.open(&self.received[LENGTH_BYTES..end], clock::wall())?;
        let message = decode(opened)?;
        self.received.advance(end);
        if self.received.is_empty() && self.received.capacity() > BUFFER_KEPT_BYTES {
            self.received = BytesMut::new();
        }
        Ok(message)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> SealedFrames<S> {
    /// The next frame, opened, through `decode`; none when the other end closed the connection
    /// between two frames.
    pub(super) fn poll_next<T>(
        &mut self,
        cx: &mut Context<'_>,
        decode: impl FnOnce(Opened<'_>) -> Result<T, FrameError>,
    ) -> Poll<Option<Result<T, FrameError>>> {
        loop {
            let wanted = match self.next_length() {
                Err(error) => return Poll::Ready(Some(Err(error))),
                Ok(Some(length)) if self.received.len() >= LENGTH_BYTES + length => {
                    return Poll::Ready(Some(self.take(length, decode)));
                }
                Ok(Some(length)) => LENGTH_BYTES + length - self.received.len(),
                Ok(None) => LENGTH_BYTES,
            };
            self.received.reserve(wanted.clamp(READ_BYTES, RESERVED_BYTES_MAX));
            match ready!(poll_read_buf(Pin::new(&mut self.socket), cx, &mut self.received)) {
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
                Ok(0) if self.received.is_empty() => return Poll::Ready(None),
                Ok(0) => {
                    let error = io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Poll::Ready(Some(Err(error.into())));
                }
                Ok(_) => {}
            }
        }
    }

    /// Ready when there is room for another frame.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        while self.outgoing.len() >= WRITE_BACKPRESSURE_BYTES {
            ready!(self.poll_write_some(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the socket has taken everything.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        while !self.outgoing.is_empty() {
            ready!(self.poll_write_some(cx))?;
        }
        if self.outgoing.capacity() > BUFFER_KEPT_BYTES {
            self.outgoing = BytesMut::new();
        }
        // TLS may hold on to what it has taken.
        match Pin::new(&mut self.socket).poll_flush(cx) {
            Poll::Ready(flushed) => {
                self.write_stall = None;
                Poll::Ready(flushed.map_err(FrameError::from))
            }
            Poll::Pending => self.poll_stall(cx),
        }
    }

    /// Flushes, then closes our direction.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx).map_err(FrameError::from)
    }

    fn poll_write_some(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        match Pin::new(&mut self.socket).poll_write(cx, &self.outgoing) {
            Poll::Ready(Ok(0)) => {
                Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()))
            }
            Poll::Ready(Ok(written)) => {
                self.outgoing.advance(written);
                self.write_stall = None;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Pending => self.poll_stall(cx),
        }
    }

    /// The socket takes nothing: ready with an error when that has gone on for too long.
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        let stall = self.write_stall.get_or_insert_with(|| Box::pin(sleep(WRITE_STALL_TIMEOUT)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(FrameError::WriteStalled))
    }
}
