//! tarpc's messages as frame bodies.
//!
//! What travels are [`RequestFrame`] and [`AnswerFrame`], in postcard: the call's number, what is
//! left of its deadline, the service's request or response. Both are append only and pinned by
//! golden tests. tarpc's trace context does not travel. What of a call is signed beside its body
//! (method, deadline) must be what the body says.

use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use futures_util::{Sink, Stream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tarpc::{ClientMessage, Request, Response, ServerError};
use tokio::io::{AsyncRead, AsyncWrite};

use super::codec::{CodecError, decode, encode_into};
use super::deadline;
use super::frames::{FrameError, SealedFrames};
use super::methods::{CANCEL, ServiceRequest};
use super::sealing::{CallFields, SealError};

/// From the side that calls.
#[derive(Serialize, Deserialize)]
enum RequestFrame<M> {
    /// A call.
    Call {
        /// Numbers the call on its connection.
        id: u64,
        /// What is left of its deadline, in milliseconds.
        remaining_ms: u64,
        /// The service's request.
        message: M,
    },
    /// The caller no longer waits for an answer.
    Cancel {
        /// The call's number.
        id: u64,
    },
}

/// From the side that answers.
#[derive(Serialize, Deserialize)]
enum AnswerFrame<M> {
    /// An answer.
    Answer {
        /// The call's number.
        id: u64,
        /// The service's response.
        message: M,
    },
    /// There is no answer. Whether the call was executed is unknown.
    Failed {
        /// The call's number.
        id: u64,
        /// Why.
        failure: Failure,
        /// For people.
        detail: String,
    },
}

/// Why a call has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Failure {
    /// The handler failed.
    Internal,
    /// The answer does not fit a frame.
    AnswerTooLong,
    /// Too many calls on the connection; this one was not executed.
    Throttled,
}

impl Failure {
    fn from_kind(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::FileTooLarge => Self::AnswerTooLong,
            io::ErrorKind::WouldBlock => Self::Throttled,
            _ => Self::Internal,
        }
    }

    fn kind(self) -> io::ErrorKind {
        match self {
            Self::Internal => io::ErrorKind::Other,
            Self::AnswerTooLong => io::ErrorKind::FileTooLarge,
            Self::Throttled => io::ErrorKind::WouldBlock,
        }
    }
}

/// What is signed beside a cancellation.
const CANCELLED: CallFields = CallFields { method: CANCEL, timeout_ms: 0 };

/// One of tarpc's messages, to and from a frame body.
pub trait WireMessage: Sized {
    /// What is signed beside the body.
    fn fields(&self) -> CallFields;
    /// Appends the body to `out`.
    fn encode(&self, fields: CallFields, out: &mut BytesMut) -> Result<(), CodecError>;
    /// Reads a body, which must be the call that was signed.
    fn decode(body: &[u8], signed: Option<CallFields>) -> Result<Self, FrameError>;
    /// What to send when this message does not fit a frame; none = fail the send.
    fn when_too_long(&self, error: &FrameError) -> Option<Self>;
}

impl<M: ServiceRequest> WireMessage for ClientMessage<M> {
    fn fields(&self) -> CallFields {
        match self {
            Self::Request(request) => CallFields {
                method: request.message.method_number(),
                timeout_ms: deadline::to_wire(request.context.deadline),
            },
            _ => CANCELLED,
        }
    }

    fn encode(&self, fields: CallFields, out: &mut BytesMut) -> Result<(), CodecError> {
        let frame = match self {
            Self::Request(request) => RequestFrame::Call {
                id: request.id,
                remaining_ms: fields.timeout_ms,
                message: &request.message,
            },
            Self::Cancel { request_id, .. } => RequestFrame::Cancel { id: *request_id },
            _ => return Err(CodecError::Unencodable { reason: postcard::Error::WontImplement }),
        };
        encode_into(&frame, out)
    }

    fn decode(body: &[u8], signed: Option<CallFields>) -> Result<Self, FrameError> {
        let mut context = tarpc::context::current();
        let check = |fields: CallFields| match signed {
            Some(signed) if signed != fields => Err(SealError::OtherCall),
            _ => Ok(()),
        };
        Ok(match decode::<RequestFrame<M>>(body)? {
            RequestFrame::Call { id, remaining_ms, message } => {
                check(CallFields { method: message.method_number(), timeout_ms: remaining_ms })?;
                context.deadline = deadline::from_wire(remaining_ms);
                Self::Request(Request { context, id, message })
            }
            RequestFrame::Cancel { id } => {
                check(CANCELLED)?;
                Self::Cancel { trace_context: context.trace_context, request_id: id }
            }
        })
    }

    fn when_too_long(&self, _error: &FrameError) -> Option<Self> {
        None
    }
}

impl<M: Serialize + DeserializeOwned> WireMessage for Response<M> {
    /// Answers have none: their MAC covers body and sequence.
    fn fields(&self) -> CallFields {
        CANCELLED
    }

    fn encode(&self, _: CallFields, out: &mut BytesMut) -> Result<(), CodecError> {
        let frame = match &self.message {
            Ok(message) => AnswerFrame::Answer { id: self.request_id, message },
            Err(error) => AnswerFrame::Failed {
                id: self.request_id,
                failure: Failure::from_kind(error.kind),
                detail: error.detail.clone(),
            },
        };
        encode_into(&frame, out)
    }

    fn decode(body: &[u8], _: Option<CallFields>) -> Result<Self, FrameError> {
        Ok(match decode(body)? {
            AnswerFrame::Answer { id, message } => Self { request_id: id, message: Ok(message) },
            AnswerFrame::Failed { id, failure, detail } => {
                Self { request_id: id, message: Err(ServerError::new(failure.kind(), detail)) }
            }
        })
    }

    fn when_too_long(&self, error: &FrameError) -> Option<Self> {
        let kind = Failure::AnswerTooLong.kind();
        let error = ServerError::new(kind, error.to_string());
        Some(Self { request_id: self.request_id, message: Err(error) })
    }
}

/// Reads the body of a frame that a client sends: the first thing an attacker reaches.
pub fn decode_call<M: ServiceRequest>(body: &[u8]) -> Result<ClientMessage<M>, FrameError> {
    WireMessage::decode(body, None)
}

/// Appends the body of a frame that [`decode_call`] reads.
pub fn encode_call<M: ServiceRequest>(
    call: &ClientMessage<M>,
    out: &mut BytesMut,
) -> Result<(), CodecError> {
    call.encode(call.fields(), out)
}

/// Reads the body of a frame that a node answers.
pub fn decode_answer<M: Serialize + DeserializeOwned>(
    body: &[u8],
) -> Result<Response<M>, FrameError> {
    WireMessage::decode(body, None)
}

/// The messages of one connection: what tarpc runs on.
#[derive(Debug)]
pub struct MessageTransport<S, Incoming, Outgoing> {
    frames: SealedFrames<S>,
    messages: PhantomData<fn(Outgoing) -> Incoming>,
}

/// The calling side.
pub type ClientTransport<S, Req, Resp> = MessageTransport<S, Response<Resp>, ClientMessage<Req>>;

/// The answering side.
pub type ServerTransport<S, Req, Resp> = MessageTransport<S, ClientMessage<Req>, Response<Resp>>;

impl<S, Incoming, Outgoing> MessageTransport<S, Incoming, Outgoing> {
    /// Messages over `frames`.
    pub fn new(frames: SealedFrames<S>) -> Self {
        Self { frames, messages: PhantomData }
    }
}

impl<S, Incoming, Outgoing> Stream for MessageTransport<S, Incoming, Outgoing>
where
    S: AsyncRead + AsyncWrite + Unpin,
    Incoming: WireMessage,
{
    type Item = Result<Incoming, FrameError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.frames.poll_next(cx, |opened| Incoming::decode(opened.body, opened.call))
    }
}

impl<S, Incoming, Outgoing> Sink<Outgoing> for MessageTransport<S, Incoming, Outgoing>
where
    S: AsyncRead + AsyncWrite + Unpin,
    Outgoing: WireMessage,
{
    type Error = FrameError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        self.frames.poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Outgoing) -> Result<(), FrameError> {
        let fields = message.fields();
        let sent = self.frames.push(fields, |out| message.encode(fields, out));
        if let Err(error @ FrameError::MessageTooLong { .. }) = &sent
            && let Some(instead) = message.when_too_long(error)
        {
            return self.frames.push(fields, |out| instead.encode(fields, out));
        }
        sent
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        self.frames.poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), FrameError>> {
        self.frames.poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::{SinkExt, StreamExt};
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::rpc::transport::{FrameLimits, PassThrough, ServicePaths, call_context, remaining};

    /// What the tests call.
    impl ServiceRequest for String {
        const PATHS: ServicePaths =
            ServicePaths { methods: &["/chainfire/test/say"], cancel: "/chainfire/test/cancel" };

        fn method_number(&self) -> u8 {
            0
        }
    }

    const LIMITS: FrameLimits =
        FrameLimits { incoming_bytes_max: 1_024, outgoing_bytes_max: 1_024 };

    type Caller = ClientTransport<DuplexStream, String, String>;
    type Answerer = ServerTransport<DuplexStream, String, String>;

    fn transport<Incoming, Outgoing>(
        stream: DuplexStream,
    ) -> MessageTransport<DuplexStream, Incoming, Outgoing> {
        MessageTransport::new(SealedFrames::new(stream, PassThrough::new(), LIMITS))
    }

    fn call(id: u64, message: &str) -> ClientMessage<String> {
        let context = call_context(Duration::from_millis(300));
        ClientMessage::Request(Request { context, id, message: message.to_owned() })
    }

    fn body<M: WireMessage>(message: &M) -> Vec<u8> {
        let mut out = BytesMut::new();
        message.encode(message.fields(), &mut out).expect("encodable");
        out.into()
    }

    #[test]
    fn the_bytes_of_a_message_never_change() {
        let mut late = call(7, "hi");
        if let ClientMessage::Request(request) = &mut late {
            request.context.deadline = crate::clock::monotonic();
        }
        assert_eq!(body(&late), b"\x00\x07\x00\x02hi");
        let trace_context = tarpc::context::current().trace_context;
        let cancel = ClientMessage::<String>::Cancel { trace_context, request_id: 300 };
        assert_eq!(body(&cancel), b"\x01\xac\x02");
        let answer = Response { request_id: 1, message: Ok("yes".to_owned()) };
        assert_eq!(body(&answer), b"\x00\x01\x03yes");
        let kinds = [
            (io::ErrorKind::Other, 0),
            (io::ErrorKind::FileTooLarge, 1),
            (io::ErrorKind::WouldBlock, 2),
        ];
        for (kind, number) in kinds {
            let message = Err(ServerError::new(kind, "no".to_owned()));
            let failed = Response::<String> { request_id: 1, message };
            assert_eq!(body(&failed), [1, 1, number, 2, b'n', b'o']);
            assert_eq!(Response::decode(&body(&failed), None).expect("decodable"), failed);
        }
    }

    #[test]
    fn an_absurd_deadline_from_the_wire_is_clamped() {
        let body = [&[0, 7][..], &[0xff; 9], &[0x01, 2, b'h', b'i']].concat();
        let decoded = decode_call::<String>(&body).expect("decodable");
        let ClientMessage::Request(request) = decoded else { panic!("not a request") };
        assert!(remaining(&request.context) <= super::super::limits::DEADLINE_MAX);
    }

    #[tokio::test]
    async fn calls_and_answers_cross_a_connection() {
        // Less than one frame fits the pipe, so frames arrive in pieces.
        let (near, far) = duplex(10);
        let (mut caller, mut answerer): (Caller, Answerer) = (transport(near), transport(far));
        let asking = async {
            for id in 0..100 {
                caller.feed(call(id, &"x".repeat(id as usize))).await.expect("sent");
            }
            SinkExt::<ClientMessage<String>>::flush(&mut caller).await.expect("flushed");
            caller.next().await.expect("an answer").expect("a good answer")
        };
        let answering = async {
            for id in 0..100 {
                let message = answerer.next().await.expect("open").expect("a good call");
                let ClientMessage::Request(request) = message else { panic!("not a request") };
                assert_eq!((request.id, request.message.len() as u64), (id, id));
                assert!(remaining(&request.context) <= Duration::from_millis(300));
            }
            answerer.send(Response { request_id: 99, message: Ok("done".to_owned()) }).await
        };
        let (answer, sent) = tokio::join!(asking, answering);
        sent.expect("sent");
        assert_eq!(answer.message, Ok("done".to_owned()));
    }

    #[tokio::test]
    async fn an_announced_4_gib_frame_is_refused_from_its_length() {
        let (mut near, far) = duplex(64);
        near.write_all(&[0xff; 4]).await.expect("there is room");
        let mut answerer: Answerer = transport(far);
        let error = answerer.next().await.expect("an item").expect_err("an error");
        assert!(matches!(error, FrameError::TooLong { bytes: 0xffff_ffff, max: 1_024 }));
    }

    #[tokio::test]
    async fn a_frame_cut_in_the_middle_is_an_error_and_between_frames_the_end() {
        for (bytes, cut) in
            [(&b"\x00\x00\x00\x03\x01\x00"[..], true), (b"\x00\x00", true), (b"", false)]
        {
            let (mut near, far) = duplex(64);
            near.write_all(bytes).await.expect("there is room");
            drop(near);
            let mut answerer: Answerer = transport(far);
            match answerer.next().await {
                Some(Err(FrameError::Socket(error))) => {
                    assert!(cut);
                    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                }
                None => assert!(!cut),
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn trailing_bytes_in_a_frame_are_refused() {
        let (mut near, far) = duplex(64);
        near.write_all(b"\x00\x00\x00\x03\x01\x00\x00").await.expect("there is room");
        let mut answerer: Answerer = transport(far);
        let error = answerer.next().await.expect("an item").expect_err("an error");
        assert!(matches!(error, FrameError::Codec(CodecError::TrailingBytes { bytes: 1 })));
    }

    #[tokio::test]
    async fn a_call_that_does_not_fit_is_not_sent_and_the_next_one_is() {
        let (near, far) = duplex(4_096);
        let (mut caller, mut answerer): (Caller, Answerer) = (transport(near), transport(far));
        let error = caller.feed(call(1, &"x".repeat(1_025))).await.expect_err("too long");
        assert!(matches!(error, FrameError::MessageTooLong { max: 1_024, .. }));
        caller.send(call(2, "x")).await.expect("sent");
        let message = answerer.next().await.expect("open").expect("a good call");
        assert!(matches!(message, ClientMessage::Request(Request { id: 2, .. })));
    }

    #[tokio::test]
    async fn an_answer_that_does_not_fit_becomes_a_failure_and_the_connection_lives() {
        let (near, far) = duplex(4_096);
        let (mut caller, mut answerer): (Caller, Answerer) = (transport(near), transport(far));
        for (request_id, bytes) in [(1, 1_025), (2, 1)] {
            let message = Ok("x".repeat(bytes));
            answerer.send(Response { request_id, message }).await.expect("sent");
        }
        let first = caller.next().await.expect("open").expect("an answer");
        let error = first.message.expect_err("a failure");
        assert_eq!((first.request_id, error.kind), (1, io::ErrorKind::FileTooLarge));
        let second = caller.next().await.expect("open").expect("an answer");
        assert_eq!(second.message, Ok("x".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_stops_reading_fails_the_connection_and_bounds_the_buffer() {
        let (near, _far) = duplex(64);
        let mut caller: Caller = transport(near);
        let error = loop {
            if let Err(error) = caller.feed(call(1, &"x".repeat(900))).await {
                break error;
            }
        };
        assert!(matches!(error, FrameError::WriteStalled), "{error}");
        let most = super::super::limits::WRITE_BACKPRESSURE_BYTES + LIMITS.outgoing_bytes_max;
        assert!(caller.frames.waiting_bytes() <= most);
    }

    #[test]
    fn a_refused_frame_takes_no_place_in_the_sequence() -> Result<(), SealError> {
        let mut frames = SealedFrames::new((), PassThrough::new(), LIMITS);
        let message = Response { request_id: 1, message: Ok("x".repeat(2_000)) };
        let fields = message.fields();
        frames.push(fields, |out| message.encode(fields, out)).expect_err("too long");
        assert_eq!(frames.sealer_mut().seal(&mut [], fields, Duration::ZERO)?, 1);
        Ok(())
    }
}
