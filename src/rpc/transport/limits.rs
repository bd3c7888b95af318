//! The sizes and waits of a connection, and how they relate.

use std::time::Duration;

use crate::types::limits::{
    ANSWER_BYTES_MAX, ENVELOPE_BYTES_MAX, REQUEST_BYTES_MAX, TXN_ANSWER_BYTES_MAX,
};

/// Most bytes either side reads before the handshake succeeded.
pub const HANDSHAKE_BYTES_MAX: usize = 4 * 1_024;

/// How long a connection may take from being accepted to the end of its handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a client or a node waits for a connection, handshake included, if not told otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Longest frame from a client, in bytes.
pub const REQUEST_FRAME_BYTES_MAX: usize = REQUEST_BYTES_MAX + ENVELOPE_BYTES_MAX;

/// Longest frame to a client, in bytes. The budget of an answer counts what its pairs take on the
/// wire; the answers of a transaction's operations take a little more each.
pub const ANSWER_FRAME_BYTES_MAX: usize = ANSWER_BYTES_MAX + ENVELOPE_BYTES_MAX;

/// Longest frame between nodes for everything but snapshots, in bytes: a batch of log entries, or
/// a forwarded request and its answer.
pub const PEER_FRAME_BYTES_MAX: usize = 8 * 1_024 * 1_024;

/// Most bytes of log entries to put into one append. One entry is always sent, whatever its size.
pub const APPEND_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// Largest piece of a snapshot in one message, in bytes.
pub const SNAPSHOT_CHUNK_BYTES_MAX: usize = 1_024 * 1_024;

/// Longest frame on the snapshot lane, in bytes.
pub const SNAPSHOT_FRAME_BYTES_MAX: usize = SNAPSHOT_CHUNK_BYTES_MAX + ENVELOPE_BYTES_MAX;

/// Bytes waiting to be written from which on a connection takes no more messages until the socket
/// took some. Below it, frames are gathered into one write.
pub const WRITE_BACKPRESSURE_BYTES: usize = 64 * 1_024;

/// How much room there is for one read, in bytes.
pub const READ_BYTES: usize = 16 * 1_024;

/// A buffer that has grown beyond this, in bytes, is given back when it is empty.
pub const BUFFER_KEPT_BYTES: usize = 256 * 1_024;

/// How long the other end may leave everything we write unread before the connection is closed.
pub const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(15);

/// The longest deadline a call may carry; longer ones are shortened to it. tarpc panics on a
/// timer of some years.
pub const DEADLINE_MAX: Duration = Duration::from_secs(3_600);

/// An idle TCP connection is probed after this long...
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);

/// ...and then this often...
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// ...and given up after this many probes without an answer.
pub const KEEPALIVE_PROBES: u32 = 3;

/// How long what was sent to another node may stay unacknowledged by its system before the
/// connection is given up and made anew: on lanes whose calls wait for nothing but the other end's
/// reading. After an outage a new connection is open at once, while an old one waits for a
/// retransmission that comes the later the longer the outage was.
pub const PEER_UNACKNOWLEDGED_MAX: Duration = Duration::from_millis(1_500);

/// How long a connection to another node may take until its system has answered. A longer wait
/// would be one for the second try of TCP, a second later: a new connection tries sooner. Above the
/// longest round trip, not counting names that are resolved slowly.
pub const PEER_CONNECT_MAX: Duration = Duration::from_millis(700);

/// Most calls one client connection has in flight; more wait.
pub const CLIENT_IN_FLIGHT_MAX: usize = 4_096;

/// Calls waiting to be written on one client connection.
pub const CLIENT_PENDING_MAX: usize = 1_024;

const _: () = {
    assert!(HANDSHAKE_BYTES_MAX <= u16::MAX as usize, "the handshake's length is 16 bits");
    assert!(TXN_ANSWER_BYTES_MAX <= ANSWER_BYTES_MAX);
    assert!(APPEND_BYTES_MAX + REQUEST_FRAME_BYTES_MAX < PEER_FRAME_BYTES_MAX);
    assert!(ANSWER_FRAME_BYTES_MAX + ENVELOPE_BYTES_MAX < PEER_FRAME_BYTES_MAX);
    assert!(PEER_FRAME_BYTES_MAX < u32::MAX as usize, "a frame's length is 32 bits");
    assert!(WRITE_BACKPRESSURE_BYTES < BUFFER_KEPT_BYTES);
    assert!(PEER_UNACKNOWLEDGED_MAX.as_millis() < WRITE_STALL_TIMEOUT.as_millis());
};
