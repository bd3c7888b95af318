//! The endpoints and the connections to them.
//!
//! All requests go to one endpoint, the *preferred* one, over a fixed small number of
//! connections: with many requests in flight on few connections, frames are gathered into few
//! writes. When the preferred endpoint fails, the first request to notice moves the preference on
//! for everybody.
//!
//! Invariants:
//! - One connection is opened at a time for each place, whoever waits for it. A failed endpoint
//!   is not tried again until its backoff passed; whoever asks meanwhile gets the last error.
//! - A connection that is known to be cut is never handed out.
//! - Every connection is to the cluster of the first one. A write that was sent to one cluster
//!   and retried at another would be applied by both.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use super::connection::Connection;
use super::retry::backoff;
use crate::rpc::transport::ConnectOptions;
use crate::types::{ClusterId, NodeId};

/// The wait before an endpoint that could not be reached is tried again; doubles up to
/// [`RECONNECT_MAX`].
const RECONNECT_MIN: Duration = Duration::from_millis(20);

/// The longest such wait.
const RECONNECT_MAX: Duration = Duration::from_secs(1);

/// Every endpoint of a client.
#[derive(Debug)]
pub(super) struct Pool {
    endpoints: Vec<Endpoint>,
    preferred: AtomicUsize,
    /// Told when the preferred endpoint was given up.
    left: Arc<Notify>,
    /// The cluster of the first connection.
    cluster_id: OnceLock<ClusterId>,
    /// The latest replicated time that a connection began with, in milliseconds.
    time_ms: AtomicU64,
    /// How to connect; the cluster is not known yet.
    options: ConnectOptions,
}

/// One endpoint.
#[derive(Debug)]
struct Endpoint {
    address: String,
    places: Vec<Place>,
    next_place: AtomicUsize,
    /// The node behind it; 0 = not known.
    node_id: AtomicU64,
}

/// Room for one connection.
#[derive(Debug, Default)]
struct Place {
    connection: RwLock<Option<Arc<Connection>>>,
    /// Held by whoever opens the connection.
    opening: Mutex<Opening>,
}

/// How opening a connection went so far.
#[derive(Debug, Default)]
struct Opening {
    failures: u32,
    not_before: Option<Instant>,
    last_error: String,
}

impl Pool {
    /// No connection yet. `addresses` is not empty.
    pub(super) fn new(addresses: Vec<String>, connections: usize, options: ConnectOptions) -> Self {
        let endpoint = |address| Endpoint {
            address,
            places: (0..connections).map(|_| Place::default()).collect(),
            next_place: AtomicUsize::new(0),
            node_id: AtomicU64::new(0),
        };
        Self {
            endpoints: addresses.into_iter().map(endpoint).collect(),
            preferred: AtomicUsize::new(0),
            left: Arc::new(Notify::new()),
            cluster_id: OnceLock::new(),
            time_ms: AtomicU64::new(0),
            options,
        }
    }

    /// The latest replicated time that a connection began with, in milliseconds.
    pub(super) fn time_ms(&self) -> u64 {
        self.time_ms.load(Ordering::Relaxed)
    }

    /// A node told its replicated time.
    pub(super) fn note_time(&self, time_ms: u64) {
        self.time_ms.fetch_max(time_ms, Ordering::Relaxed);
    }

    /// How many endpoints there are.
    pub(super) fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// The endpoint's `HOST:PORT`.
    pub(super) fn address(&self, endpoint: usize) -> &str {
        &self.endpoints[endpoint].address
    }

    /// Where requests go.
    pub(super) fn preferred(&self) -> usize {
        self.preferred.load(Ordering::Relaxed)
    }

    /// Requests go there from now on.
    pub(super) fn prefer(&self, endpoint: usize) {
        self.preferred.store(endpoint, Ordering::Relaxed);
    }

    /// The endpoint failed: where to go instead. The preference moves only if it is still there.
    pub(super) fn leave(&self, endpoint: usize) -> usize {
        let next = (endpoint + 1) % self.endpoints.len();
        let moved =
            self.preferred.compare_exchange(endpoint, next, Ordering::Relaxed, Ordering::Relaxed);
        for place in &self.endpoints[endpoint].places {
            place.drop_what_is_of_no_use();
        }
        self.left.notify_one();
        moved.map_or_else(|preferred| preferred, |_| next)
    }

    /// Told when an endpoint was left.
    pub(super) fn left(&self) -> Arc<Notify> {
        Arc::clone(&self.left)
    }

    /// The endpoint behind which `node` was last seen.
    pub(super) fn endpoint_of(&self, node: NodeId) -> Option<usize> {
        self.endpoints.iter().position(|endpoint| endpoint.node_id.load(Ordering::Relaxed) == node)
    }

    /// A connection to the endpoint: an open one, or a new one. The error says why there is none.
    pub(super) async fn connection(&self, endpoint: usize) -> Result<Arc<Connection>, String> {
        let endpoint = &self.endpoints[endpoint];
        let place = match endpoint.places.len() {
            1 => 0,
            places => endpoint.next_place.fetch_add(1, Ordering::Relaxed) % places,
        };
        self.connection_in(endpoint, &endpoint.places[place]).await
    }

    /// Opens every connection to the endpoint.
    pub(super) async fn connect_all(&self, endpoint: usize) -> Result<(), String> {
        let endpoint = &self.endpoints[endpoint];
        for place in &endpoint.places {
            self.connection_in(endpoint, place).await?;
        }
        Ok(())
    }

    async fn connection_in(
        &self,
        endpoint: &Endpoint,
        place: &Place,
    ) -> Result<Arc<Connection>, String> {
        if let Some(connection) = place.open_connection() {
            return Ok(connection);
        }
        let mut opening = place.opening.lock().await;
        if let Some(connection) = place.open_connection() {
            return Ok(connection);
        }
        if opening.not_before.is_some_and(|not_before| Instant::now() < not_before) {
            return Err(opening.last_error.clone());
        }
        match self.open(endpoint).await {
            Ok(connection) => {
                *opening = Opening::default();
                let connection = Arc::new(connection);
                endpoint.node_id.store(connection.node_id(), Ordering::Relaxed);
                let mut current = place.connection.write().unwrap_or_else(PoisonError::into_inner);
                *current = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(reason) => {
                opening.failed(reason.clone());
                Err(reason)
            }
        }
    }

    async fn open(&self, endpoint: &Endpoint) -> Result<Connection, String> {
        let cluster_id = self.cluster_id.get().copied();
        let options = ConnectOptions { cluster_id, ..self.options.clone() };
        let opened = Connection::open(&endpoint.address, &options).await;
        let connection = opened.map_err(|error| error.to_string())?;
        // Two first connections at once may have been to two clusters.
        let found = connection.cluster_id();
        let expected = *self.cluster_id.get_or_init(|| found);
        if found != expected {
            return Err(format!(
                "{} belongs to cluster {found}, the other endpoints to {expected}; name the endpoints of one cluster",
                endpoint.address
            ));
        }
        self.note_time(connection.time_ms());
        Ok(connection)
    }
}

impl Place {
    fn open_connection(&self) -> Option<Arc<Connection>> {
        let current = self.connection.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().filter(|connection| connection.is_open()).cloned()
    }

    /// Gives a silent connection back once the last call on it has ended.
    fn drop_what_is_of_no_use(&self) {
        let mut current = self.connection.write().unwrap_or_else(PoisonError::into_inner);
        current.take_if(|connection| !connection.is_open());
    }
}

impl Opening {
    fn failed(&mut self, reason: String) {
        let wait = backoff(RECONNECT_MIN, RECONNECT_MAX, self.failures, rand::random());
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(Instant::now() + wait);
        self.last_error = reason;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(endpoints: usize) -> Pool {
        let addresses = (1..=endpoints).map(|port| format!("127.0.0.1:{port}")).collect();
        Pool::new(addresses, 1, ConnectOptions::default())
    }

    #[test]
    fn only_the_first_to_leave_moves_the_preference() {
        let pool = pool(3);
        assert_eq!(pool.leave(0), 1);
        assert_eq!(pool.leave(0), 1, "a second report about the same endpoint");
        assert_eq!(pool.preferred(), 1);
        assert_eq!(pool.leave(1), 2);
        assert_eq!(pool.leave(2), 0);
    }

    #[tokio::test]
    async fn an_unreachable_endpoint_is_not_tried_again_at_once() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        drop(listener);
        let pool = Pool::new(vec![address], 1, ConnectOptions::default());
        let first = pool.connection(0).await.expect_err("nobody listens");
        let failures = pool.endpoints[0].places[0].opening.lock().await.failures;
        let second = pool.connection(0).await.expect_err("still nobody");
        assert_eq!((first, failures), (second, 1));
        assert_eq!(pool.endpoints[0].places[0].opening.lock().await.failures, 1);
    }
}
