//! What lies between a socket and tarpc.
//!
//! ```text
//!   tarpc             calls, answers, cancellations, matched by id
//!   MessageTransport  one message <-> one frame body, in postcard        (messages, codec)
//!   SealedFrames      length, limit, seal; buffers; write stalls         (frames, sealing)
//!   handshake         who is at the other end, before the first frame    (handshake)
//!   Stream            a socket, or TLS over one                          (stream, tls)
//!   socket            TCP: no delay, keepalive                           (socket)
//! ```
//!
//! Everything here is written for a hostile other end. Until the handshake succeeded it may make
//! us read [`limits::HANDSHAKE_BYTES_MAX`] bytes and wait [`limits::HANDSHAKE_TIMEOUT`]; after
//! that a frame may be as long as its connection's limit says, memory grows with the bytes that
//! arrived and never with a length that was announced, and what cannot be decoded closes the one
//! connection it came over. Neither tarpc's codec nor its context travel: the frame bodies are
//! our own types, pinned by golden tests, so that no library decides our wire format and no
//! number from the wire reaches a timer unclamped.
//!
//! This room is shared by the client and the node, and compiles without the node.

mod accept;
mod codec;
mod connect;
mod deadline;
mod frames;
mod greet_signed;
mod handshake;
pub mod limits;
mod messages;
mod methods;
mod sealing;
mod socket;
mod stream;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
pub mod tls;
mod tls_error;

pub use accept::{AcceptError, Accepted, Guard, Judge, SessionUser, accept, refuse};
pub use codec::CodecError;
#[cfg(feature = "server")]
pub(in crate::rpc) use connect::{CallCredentials, client_config, dial, is_refused};
pub use connect::{ConnectError, ConnectOptions, StoreConnection, connect_store};
pub use deadline::{call_context, remaining};
pub use frames::{FrameError, FrameLimits, SealedFrames};
pub use greet_signed::greet_signed;
pub use handshake::{
    HandshakeError, Hello, Identity, Lane, PROTOCOL_VERSION, PeerHello, Presence, Proof, Refusal,
    Reply, decode_hello, decode_proof, decode_reply, encode_hello, encode_proof, encode_reply,
    greet,
};
pub use messages::{
    ClientTransport, MessageTransport, ServerTransport, decode_answer, decode_call, encode_call,
};
pub use methods::{ServicePaths, ServiceRequest};
pub use sealing::{CallFields, PassThrough, SealError, Sealer, SessionKeys};
pub use socket::configure as configure_socket;
pub use stream::Stream;
pub use tls::TlsClient;
pub use tls_error::TlsError;
