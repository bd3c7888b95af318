//! One connection to one node, shared by every task that talks to it.
//!
//! tarpc matches answers to calls; what is added here is knowing when a connection is of no use:
//! when it was cut, and also when it stays open and silent (a stopped process, a network that
//! swallows packets). A call that ran into its timeout while nothing at all was heard on the
//! connection retires it, and the next call opens a new one.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tarpc::client::RpcError;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::retry::AttemptError;
use crate::rpc::api::StoreClient;
use crate::rpc::transport::{ConnectError, ConnectOptions, StoreConnection, connect_store};
use crate::types::{ClusterId, NodeId, RequestError};

/// Most calls in flight on one connection; more wait here, where it is certain that they were
/// not sent. Below the number of calls a node admits on one connection.
pub(super) const CONNECTION_CALLS_MAX: usize = 1_000;

/// When to come back after a node that takes no more calls on a connection.
const THROTTLED_RETRY_MS: u64 = 20;

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    inner: StoreConnection,
    room: Semaphore,
    retired: AtomicBool,
    opened: Instant,
    /// When something was last heard, in microseconds after `opened`.
    last_heard_us: AtomicU64,
}

impl Connection {
    /// Connects to `HOST:PORT`, to whichever cluster is there unless one is named.
    pub(super) async fn open(
        address: &str,
        options: &ConnectOptions,
    ) -> Result<Self, ConnectError> {
        let inner = connect_store(address, options).await?;
        Ok(Self {
            inner,
            room: Semaphore::new(CONNECTION_CALLS_MAX),
            retired: AtomicBool::new(false),
            opened: Instant::now(),
            last_heard_us: AtomicU64::new(0),
        })
    }

    /// Whether a call can be sent over it, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.retired.load(Ordering::Relaxed) && !self.inner.is_closed()
    }

    /// The node at the other end.
    pub(super) fn node_id(&self) -> NodeId {
        self.inner.identity.node_id
    }

    /// The replicated time at the other end when the connection was made, in milliseconds.
    pub(super) fn time_ms(&self) -> u64 {
        self.inner.time_ms
    }

    /// The cluster at the other end.
    pub(super) fn cluster_id(&self) -> ClusterId {
        self.inner.identity.cluster_id
    }

    /// A handle for one call.
    pub(super) fn store(&self) -> StoreClient {
        self.inner.client.clone()
    }

    /// Waits for room for one more call; hold the answer as long as the call lasts.
    pub(super) async fn room(&self) -> SemaphorePermit<'_> {
        self.room.acquire().await.expect("this semaphore is never closed")
    }

    /// Something came back.
    pub(super) fn heard(&self) {
        self.last_heard_us.store(self.age_us(Instant::now()), Ordering::Relaxed);
    }

    /// A call sent at `since` ran into its timeout.
    pub(super) fn kept_silent_since(&self, since: Instant) {
        if self.last_heard_us.load(Ordering::Relaxed) <= self.age_us(since) {
            self.retired.store(true, Ordering::Relaxed);
        }
    }

    fn age_us(&self, at: Instant) -> u64 {
        u64::try_from((at - self.opened).as_micros()).unwrap_or(u64::MAX)
    }
}

/// What a call that tarpc could not answer means.
pub(super) fn attempt_error(address: &str, error: &RpcError) -> AttemptError {
    match error {
        // The transport refuses only what does not fit a frame; nothing of it was sent.
        RpcError::Send(source) => AttemptError::Unsendable { reason: source.to_string() },
        RpcError::Server(error) => match error.kind {
            io::ErrorKind::WouldBlock => AttemptError::Refused(RequestError::Overloaded {
                retry_after_ms: THROTTLED_RETRY_MS,
            }),
            io::ErrorKind::FileTooLarge => AttemptError::Unanswerable {
                reason: format!("{address}: the answer does not fit a frame"),
            },
            _ => AttemptError::Lost { reason: format!("{address}: {}", error.detail) },
        },
        RpcError::DeadlineExceeded => {
            AttemptError::Lost { reason: format!("{address}: no answer in time") }
        }
        // Whether the call was sent before the connection ended is not known.
        RpcError::Shutdown | RpcError::Channel(_) => {
            AttemptError::Lost { reason: format!("{address}: the connection was cut") }
        }
    }
}
