//! How much one node takes on, and one connection of it.

use std::time::Duration;

use crate::rpc::transport::limits::{
    ANSWER_FRAME_BYTES_MAX, CLIENT_IN_FLIGHT_MAX, PEER_FRAME_BYTES_MAX, REQUEST_FRAME_BYTES_MAX,
};

/// Most connections of clients.
pub const CLIENT_CONNECTIONS_MAX: usize = 4_096;

/// Most connections of peers: three lanes for each of a few dozen nodes, twice while they
/// reconnect.
pub const PEER_CONNECTIONS_MAX: usize = 256;

/// Connections over the limit that are told so at one moment; more are closed without a word.
pub const REFUSED_AT_ONCE_MAX: usize = 32;

/// Requests of clients that one node has in flight.
pub const NODE_REQUESTS_MAX: usize = 16_384;

/// Requests that one connection has in flight.
pub const CONNECTION_REQUESTS_MAX: usize = CLIENT_IN_FLIGHT_MAX;

/// Bytes of requests in flight, and of answers to come or to be sent, on one node.
pub const NODE_BYTES_MAX: usize = 256 * 1_024 * 1_024;

/// The same on one connection.
pub const CONNECTION_BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// Requests of peers in flight, on one connection and on the node.
pub const PEER_REQUESTS_MAX: usize = 16_384;

/// Bytes of forwarded requests in flight, on one connection and on the node.
pub const PEER_BYTES_MAX: usize = 256 * 1_024 * 1_024;

/// Refusals that may wait to be written beside the admitted requests; beyond them the connection
/// is not read.
pub const REFUSALS_WAITING_MAX: usize = 1_024;

/// Answers that wait for one connection's socket, in bytes, from which on its handlers rest.
pub const ANSWERS_WAITING_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// When a client that was refused for overload should come back.
pub const RETRY_AFTER_MS: u64 = 50;

/// A connection that has asked nothing for this long, and waits for nothing, is closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// How long a connection that we close is read on, so that no reset overtakes the last answers.
pub const LINGER: Duration = Duration::from_millis(500);

/// The pause after the system refused to accept a connection (no file descriptor left, say).
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Reads over many keys that one node computes at one moment, on threads of their own.
pub const LONG_READS_MAX: usize = 16;

/// Reads over many keys that one connection has under way or waiting to be sent.
pub const CONNECTION_LONG_READS_MAX: usize = 8;

/// Bytes set aside for the answers of reads over many keys, on one node.
pub const LONG_READ_BYTES_MAX: usize = 128 * 1_024 * 1_024;

/// Most pairs a read may ask for to be computed in the task of its connection.
pub const SHORT_READ_PAIRS_MAX: u64 = 16;

const _: () = {
    assert!(CONNECTION_REQUESTS_MAX < NODE_REQUESTS_MAX, "one connection cannot fill a node");
    assert!(CONNECTION_BYTES_MAX < NODE_BYTES_MAX, "one connection cannot fill a node");
    assert!(REQUEST_FRAME_BYTES_MAX + ANSWER_FRAME_BYTES_MAX < CONNECTION_BYTES_MAX);
    assert!(PEER_FRAME_BYTES_MAX < PEER_BYTES_MAX);
    assert!(CONNECTION_LONG_READS_MAX < LONG_READS_MAX, "one connection cannot stop the reads");
    assert!(ANSWERS_WAITING_BYTES_MAX < CONNECTION_BYTES_MAX);
};
