//! A port: accepts connections, shakes hands, runs them, and closes them in order.
//!
//! A port either speaks TLS or does not. On one that does, whoever comes without it is told so in
//! the clear; those beyond the limit of connections are closed before any work of TLS is done.
//!
//! The accept loop does nothing but accept: each connection has a task of its own from its first
//! byte on, so a silent or hostile one delays nobody. There are never more of these tasks than
//! connections allowed and [`REFUSED_AT_ONCE_MAX`], which tell those beyond the limit that it is
//! reached. What does not get past the handshake is counted and logged at debug, since anybody
//! who reaches the port can cause it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tarpc::ChannelError;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout_at};

use super::admission::{Admission, ConnectionAdmission};
use super::connection::{self, ConnectionParts};
use super::limits::{
    ACCEPT_PAUSE, CLIENT_CONNECTIONS_MAX, CONNECTION_BYTES_MAX, CONNECTION_REQUESTS_MAX,
    IDLE_TIMEOUT, LINGER, PEER_BYTES_MAX, PEER_CONNECTIONS_MAX, PEER_REQUESTS_MAX,
    REFUSED_AT_ONCE_MAX,
};
use super::service::{CallerRefused, Door, RequestObserver, Service};
use crate::rpc::transport::limits::{HANDSHAKE_TIMEOUT, PEER_UNACKNOWLEDGED_MAX};
use crate::rpc::transport::tls::{Opened, TlsServer};
use crate::rpc::transport::{
    AcceptError, FrameError, FrameLimits, HandshakeError, Hello, Judge, Presence, Refusal,
    SealedFrames, Sealer, ServerTransport, Stream, TlsError, accept, configure_socket, refuse,
};

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else has the port.
    #[error("cannot listen on {address}: the port is in use; stop who has it or choose another")]
    InUse {
        /// `HOST:PORT`.
        address: String,
    },
    /// The system does not let us have it.
    #[error("cannot listen on {address}: {source}; check the address")]
    Bind {
        /// `HOST:PORT`.
        address: String,
        /// Why.
        source: io::Error,
    },
}

/// How much a listener takes on.
#[derive(Clone, Copy, Debug)]
pub struct ListenerLimits {
    /// Connections at one moment.
    pub connections_max: usize,
    /// Requests in flight on one connection.
    pub connection_requests_max: usize,
    /// Bytes in flight on one connection.
    pub connection_bytes_max: usize,
    /// How long a connection may take to complete its handshake.
    pub handshake_timeout: Duration,
    /// How long a connection may ask nothing.
    pub idle_timeout: Duration,
    /// How long what was sent may stay unacknowledged; none = as long as the system says.
    pub unacknowledged_max: Option<Duration>,
}

impl ListenerLimits {
    /// For clients.
    pub fn clients() -> Self {
        Self {
            connections_max: CLIENT_CONNECTIONS_MAX,
            connection_requests_max: CONNECTION_REQUESTS_MAX,
            connection_bytes_max: CONNECTION_BYTES_MAX,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            unacknowledged_max: None,
        }
    }

    /// For peers.
    pub fn peers() -> Self {
        Self {
            connections_max: PEER_CONNECTIONS_MAX,
            connection_requests_max: PEER_REQUESTS_MAX,
            connection_bytes_max: PEER_BYTES_MAX,
            unacknowledged_max: Some(PEER_UNACKNOWLEDGED_MAX),
            ..Self::clients()
        }
    }
}

/// A bound port. Connections wait in the system's queue until it serves.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    local_addr: SocketAddr,
    tls: Option<TlsServer>,
}

impl Listener {
    /// Binds `address`, `HOST:PORT`.
    pub async fn bind(address: &str) -> Result<Self, ListenError> {
        let bound = TcpListener::bind(address).await;
        let bound = bound.and_then(|socket| Ok((socket.local_addr()?, socket)));
        match bound {
            Ok((local_addr, socket)) => Ok(Self { socket, local_addr, tls: None }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                Err(ListenError::InUse { address: address.to_owned() })
            }
            Err(source) => Err(ListenError::Bind { address: address.to_owned(), source }),
        }
    }

    /// Speaks TLS, if there is something to speak it with.
    #[must_use]
    pub fn with_tls(self, tls: Option<TlsServer>) -> Self {
        Self { tls, ..self }
    }

    /// What was bound; tells the port when 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves whoever `door` lets in, out of the budgets `node`.
    pub fn serve<D: Door>(
        self,
        door: D,
        limits: ListenerLimits,
        node: Arc<Admission>,
        observer: Arc<dyn RequestObserver>,
    ) -> ListenerHandle {
        let (stop, stopped) = watch::channel(None);
        let tls = self.tls;
        let shared = Shared { door, limits, tls, node, observer, stop: stopped };
        let task = tokio::spawn(serve(self.socket, Arc::new(shared)));
        ListenerHandle { local_addr: self.local_addr, stop, task }
    }
}

/// A port that is being served, until [`stop`](Self::stop) or drop.
#[derive(Debug)]
pub struct ListenerHandle {
    local_addr: SocketAddr,
    stop: watch::Sender<Option<Instant>>,
    task: JoinHandle<()>,
}

impl ListenerHandle {
    /// The port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Accepts and reads no more; returns when the requests in flight were answered and all
    /// connections are closed, or after `grace`.
    pub async fn stop(self, grace: Duration) {
        self.stop.send_replace(Some(Instant::now() + grace));
        // The task ends by itself; that it panicked is in the log already.
        let _ = self.task.await;
    }
}

struct Shared<D> {
    door: D,
    limits: ListenerLimits,
    tls: Option<TlsServer>,
    node: Arc<Admission>,
    observer: Arc<dyn RequestObserver>,
    stop: watch::Receiver<Option<Instant>>,
}

/// Returns when it is time to stop, also because the handle was dropped.
pub(super) async fn stopping(stop: &mut watch::Receiver<Option<Instant>>) {
    let _ = stop.wait_for(Option::is_some).await.map(drop);
}

async fn serve<D: Door>(socket: TcpListener, shared: Arc<Shared<D>>) {
    let places = Arc::new(Semaphore::new(shared.limits.connections_max));
    let refusals = Arc::new(Semaphore::new(REFUSED_AT_ONCE_MAX));
    let mut connections = JoinSet::new();
    let mut stop = shared.stop.clone();
    loop {
        tokio::select! {
            () = stopping(&mut stop) => break,
            Some(_) = connections.join_next() => {}
            accepted = socket.accept() => match accepted {
                Err(error) => {
                    let listener = shared.door.name();
                    tracing::warn!(listener, %error, "the system accepts no connection");
                    sleep(ACCEPT_PAUSE).await;
                }
                Ok((stream, remote)) => {
                    if let Ok(place) = places.clone().try_acquire_owned() {
                        connections.spawn(converse(shared.clone(), stream, remote, place));
                    } else if let Ok(place) = refusals.clone().try_acquire_owned() {
                        connections.spawn(turn_away(shared.clone(), stream, remote, place));
                    } else {
                        shared.observer.connection_refused(shared.door.name(), "full");
                    }
                }
            },
        }
    }
    drop(socket);
    let give_up = stop.borrow().unwrap_or_else(Instant::now);
    let all_closed = async { while connections.join_next().await.is_some() {} };
    // The connections watch the moment themselves; what is later still is ended here.
    let _ = timeout_at(give_up + LINGER, all_closed).await;
    connections.shutdown().await;
}

/// Tells a connection over the limit that it is one.
async fn turn_away<D: Door>(
    shared: Arc<Shared<D>>,
    mut stream: TcpStream,
    remote: SocketAddr,
    _place: OwnedSemaphorePermit,
) {
    if shared.tls.is_some() {
        return shared.observer.connection_refused(shared.door.name(), "full");
    }
    let full = Refusal::Full { max: shared.limits.connections_max as u64 };
    let wait = shared.limits.handshake_timeout;
    let error = refuse(&mut stream, shared.door.identity(), wait, full).await;
    note(&shared, remote, &error);
}

/// A connection from its first byte to its last.
async fn converse<D: Door>(
    shared: Arc<Shared<D>>,
    socket: TcpStream,
    remote: SocketAddr,
    _place: OwnedSemaphorePermit,
) {
    let mut stop = shared.stop.clone();
    let shaken = tokio::select! {
        shaken = shake_hands(&shared, socket, remote) => shaken,
        () = stopping(&mut stop) => return,
    };
    let Welcomed { stream, service, limits, sealer, key } = match shaken {
        Ok(opened) => opened,
        Err(error) => return note(&shared, remote, &error),
    };
    let frames = SealedFrames::new(stream, sealer, limits);
    let ListenerLimits { connection_requests_max, connection_bytes_max, .. } = shared.limits;
    let own = Admission::new(connection_requests_max, connection_bytes_max);
    let parts = ConnectionParts {
        service,
        transport: ServerTransport::new(frames),
        admission: ConnectionAdmission::new(shared.node.clone(), own),
        requests_max: connection_requests_max,
        idle_timeout: shared.limits.idle_timeout,
        observer: shared.observer.clone(),
    };
    let listener = shared.door.name();
    let revoked = parts.service.revoked();
    let ended = tokio::select! {
        biased;
        ended = connection::run(parts, stop) => ended,
        // At once: nothing more is answered to a key that is no longer accepted.
        () = revoked => {
            tracing::info!(listener, %remote, "connection closed: its key is no longer accepted");
            return;
        }
    };
    match ended {
        Ok(()) => tracing::debug!(listener, %remote, "connection closed"),
        Err(error) => {
            if is_forged(&error) {
                let access_key_id = key.as_deref();
                let reason = "frame_does_not_verify";
                let refused = CallerRefused { listener, reason, access_key_id, remote };
                shared.observer.caller_refused(&refused);
            }
            let error = std::error::Error::source(&error).map_or(String::new(), |e| e.to_string());
            tracing::debug!(listener, %remote, %error, "connection ended");
        }
    }
}

/// A connection that was let in.
struct Welcomed<S> {
    stream: Stream,
    service: S,
    limits: FrameLimits,
    sealer: Sealer,
    /// What signs its frames.
    key: Option<String>,
}

/// A door as the handshake asks it.
struct AtTheDoor<'a, D>(&'a D);

impl<D: Door> Judge for AtTheDoor<'_, D> {
    fn judge(&self, hello: &Hello) -> Result<(), Refusal> {
        self.0.judge(hello)
    }

    fn admit(&self, hello: &Hello) -> Result<(), Refusal> {
        self.0.admit(hello)
    }
}

async fn shake_hands<D: Door>(
    shared: &Shared<D>,
    socket: TcpStream,
    remote: SocketAddr,
) -> Result<Welcomed<D::Service>, AcceptError> {
    configure_socket(&socket, shared.limits.unacknowledged_max).map_err(HandshakeError::from)?;
    let (door, give_up) = (&shared.door, Instant::now() + shared.limits.handshake_timeout);
    let left = || give_up.saturating_duration_since(Instant::now());
    let mut stream = match &shared.tls {
        None => Stream::Plain(socket),
        Some(tls) => match timeout_at(give_up, tls.open(socket)).await {
            Err(_elapsed) => return Err(HandshakeError::Timeout.into()),
            Ok(Err(error)) => return Err(HandshakeError::Tls(error).into()),
            Ok(Ok(Opened::Tls(stream))) => Stream::Tls(stream),
            Ok(Ok(Opened::Plain(mut socket))) => {
                let refusal = Refusal::TlsRequired;
                return Err(refuse(&mut socket, door.identity(), left(), refusal).await);
            }
        },
    };
    let presence = Presence { identity: door.identity(), time_ms: door.time_ms() };
    let accepted = accept(&mut stream, presence, door.guard(), left(), AtTheDoor(door)).await?;
    let key = accepted.user.as_ref().map(|user| user.access_key_id.clone());
    let (service, limits) = door.open(&accepted.hello, accepted.user, remote);
    Ok(Welcomed { stream, service, limits, sealer: accepted.sealer, key })
}

/// Counts a connection that did not get in.
fn note<D: Door>(shared: &Shared<D>, remote: SocketAddr, error: &AcceptError) {
    let reason = match error {
        AcceptError::Refused(refusal) | AcceptError::Unproven { refusal, .. } => refusal.name(),
        AcceptError::Handshake(error) => match error {
            HandshakeError::Timeout => "timeout",
            HandshakeError::Socket(_) | HandshakeError::Tls(TlsError::Socket(_)) => "broken",
            HandshakeError::TlsUnexpected => "unexpected_tls",
            HandshakeError::Tls(_) => "tls",
            _ => "malformed",
        },
    };
    let listener = shared.door.name();
    tracing::debug!(listener, %remote, %error, "connection refused");
    shared.observer.connection_refused(listener, reason);
    let access_key_id = match error {
        AcceptError::Unproven { access_key_id, .. } => Some(access_key_id.as_str()),
        // That there is no room, or no user yet, says nothing of who came.
        AcceptError::Refused(Refusal::Full { .. } | Refusal::NotReady) => return,
        AcceptError::Refused(_) => None,
        // Probes open connections and close them: that is nobody who was refused.
        AcceptError::Handshake(HandshakeError::Timeout | HandshakeError::Socket(_)) => return,
        AcceptError::Handshake(_) => None,
    };
    let refused = CallerRefused { listener, reason, access_key_id, remote };
    shared.observer.caller_refused(&refused);
}

/// Whether a connection ended for a frame that was not signed as it must be.
fn is_forged(error: &ChannelError<FrameError>) -> bool {
    matches!(error, ChannelError::Read(error) if matches!(**error, FrameError::Seal(_)))
}
