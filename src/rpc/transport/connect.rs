//! The client's way to a node.

use std::sync::Arc;
use std::time::Duration;

use tarpc::client::Config;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::frames::{FrameLimits, SealedFrames};
use super::greet_signed::greet_signed;
use super::handshake::{HandshakeError, Hello, Identity, Presence, greet};
use super::limits::{
    ANSWER_FRAME_BYTES_MAX, CLIENT_IN_FLIGHT_MAX, CLIENT_PENDING_MAX, CONNECT_TIMEOUT,
    PEER_CONNECT_MAX, REQUEST_FRAME_BYTES_MAX,
};
use super::messages::ClientTransport;
use super::methods::{ServicePaths, ServiceRequest};
use super::sealing::{PassThrough, Sealer};
use super::socket;
use super::stream::Stream;
use super::tls::{self, TlsClient};
use crate::auth::Signer;
use crate::rpc::api::{StoreClient, StoreRequest, StoreResponse};
use crate::types::ClusterId;

/// Why there is no connection. Nothing was sent but the handshake.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No socket: the name does not resolve, nobody listens, the network is down.
    #[error("cannot reach {address}: {source}")]
    Unreachable {
        /// `HOST:PORT`.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// It took too long.
    #[error("cannot reach {address}: no answer in time")]
    Timeout {
        /// `HOST:PORT`.
        address: String,
    },
    /// Somebody answered, and we did not come to terms.
    #[error("no connection to {address}: {source}")]
    Handshake {
        /// `HOST:PORT`.
        address: String,
        /// Why.
        source: HandshakeError,
    },
}

/// What a client wants of a connection.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The cluster to reach; none = whichever is there.
    pub cluster_id: Option<ClusterId>,
    /// What to sign with; none for a node that runs without authentication.
    pub credentials: Option<Arc<Signer>>,
    /// What to speak TLS with; none for a node that does not.
    pub tls: Option<TlsClient>,
    /// How long the connection may take, handshake included.
    pub timeout: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self { cluster_id: None, credentials: None, tls: None, timeout: CONNECT_TIMEOUT }
    }
}

/// A connection to a node. Clones share it; it closes when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct StoreConnection {
    /// The calls. Make their contexts with [`call_context`](super::call_context), and put a
    /// timeout around each: tarpc's own does not cover everything.
    pub client: StoreClient,
    /// Who is there.
    pub identity: Identity,
    /// The replicated time that it had applied when the connection was made, in milliseconds.
    pub time_ms: u64,
    closed: watch::Receiver<bool>,
}

impl StoreConnection {
    /// Whether the connection is of no further use.
    pub fn is_closed(&self) -> bool {
        *self.closed.borrow() || self.closed.has_changed().is_err()
    }

    /// Returns when the connection is of no further use.
    pub async fn closed(&self) {
        // An error means that the dispatch task is gone, and so is the connection.
        let _ = self.closed.clone().wait_for(|closed| *closed).await;
    }
}

/// Signs for the calls of one connection.
#[derive(Clone)]
pub(in crate::rpc) struct CallCredentials {
    /// The key.
    pub(in crate::rpc) signer: Arc<Signer>,
    /// What the connection calls.
    pub(in crate::rpc) paths: ServicePaths,
}

/// A stream to `address` on which `hello` was welcomed, and what seals its frames. With credentials
/// the hello is a signed one, and the other end has proved itself.
pub(in crate::rpc) async fn dial(
    address: &str,
    hello: &Hello,
    credentials: Option<CallCredentials>,
    tls: Option<&TlsClient>,
    wait: Duration,
) -> Result<(Stream, Presence, Sealer), ConnectError> {
    let deadline = Instant::now() + wait;
    let unacknowledged_max = hello.peer().map(|peer| peer.lane.unacknowledged_max());
    let mut stream = match timeout_at(deadline, open(address, tls, unacknowledged_max)).await {
        Err(_elapsed) => return Err(ConnectError::Timeout { address: address.to_owned() }),
        Ok(opened) => opened?,
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let greeted = match credentials {
        None => greet(&mut stream, hello, left)
            .await
            .map(|presence| (presence, Sealer::PassThrough(PassThrough::new()))),
        Some(CallCredentials { signer, paths }) => {
            greet_signed(&mut stream, hello, signer, paths, left).await
        }
    };
    match greeted {
        Ok((presence, sealer)) => Ok((stream, presence, sealer)),
        Err(source) => {
            let source = match source {
                HandshakeError::Socket(error) => tls::explain(error),
                other => other,
            };
            Err(ConnectError::Handshake { address: address.to_owned(), source })
        }
    }
}

/// Whether the system at `address` says that nobody listens there. False when it says nothing.
#[cfg(feature = "server")]
pub(in crate::rpc) async fn is_refused(address: &str, wait: Duration) -> bool {
    let connected = timeout_at(Instant::now() + wait, TcpStream::connect(address)).await;
    connected.is_ok_and(|connected| {
        connected.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    })
}

/// A connection to the first of the places that `address` names whose system answers soon.
async fn connect_peer(address: &str) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for place in lookup_host(address).await? {
        match timeout(PEER_CONNECT_MAX, TcpStream::connect(place)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => last = error,
            Err(_elapsed) => last = std::io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// A socket to `address`, with TLS over it if there is something to speak it with.
async fn open(
    address: &str,
    tls: Option<&TlsClient>,
    unacknowledged_max: Option<Duration>,
) -> Result<Stream, ConnectError> {
    let unreachable = |source| ConnectError::Unreachable { address: address.to_owned(), source };
    let socket = match unacknowledged_max {
        None => TcpStream::connect(address).await,
        Some(_) => connect_peer(address).await,
    };
    let socket = socket.map_err(unreachable)?;
    socket::configure(&socket, unacknowledged_max).map_err(unreachable)?;
    let Some(tls) = tls else { return Ok(Stream::Plain(socket)) };
    match Box::pin(tls.connect(socket, address)).await {
        Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
        Err(error) => {
            let source = HandshakeError::Tls(error);
            Err(ConnectError::Handshake { address: address.to_owned(), source })
        }
    }
}

/// Connects to the client port of a node at `address`, `HOST:PORT`.
pub async fn connect_store(
    address: &str,
    options: &ConnectOptions,
) -> Result<StoreConnection, ConnectError> {
    let cluster_id = options.cluster_id;
    let hello = match &options.credentials {
        None => Hello::Client { cluster_id },
        Some(signer) => Hello::SignedClient {
            cluster_id,
            cluster_name: signer.region().to_owned(),
            access_key_id: signer.access_key_id().to_owned(),
            nonce: rand::random(),
        },
    };
    let credentials = options.credentials.clone();
    let credentials =
        credentials.map(|signer| CallCredentials { signer, paths: StoreRequest::PATHS });
    let tls = options.tls.as_ref();
    let dialed = dial(address, &hello, credentials, tls, options.timeout).await;
    let (stream, Presence { identity, time_ms }, sealer) = dialed?;
    let limits = FrameLimits {
        incoming_bytes_max: ANSWER_FRAME_BYTES_MAX,
        outgoing_bytes_max: REQUEST_FRAME_BYTES_MAX,
    };
    let frames = SealedFrames::new(stream, sealer, limits);
    let transport: ClientTransport<_, StoreRequest, StoreResponse> = ClientTransport::new(frames);
    let new = StoreClient::new(client_config(CLIENT_IN_FLIGHT_MAX, CLIENT_PENDING_MAX), transport);
    let (closing, closed) = watch::channel(false);
    let dispatch = new.dispatch;
    let address = address.to_owned();
    tokio::spawn(async move {
        if let Err(error) = dispatch.await {
            tracing::debug!(%address, %error, "a connection to a node ended");
        }
        closing.send_replace(true);
    });
    Ok(StoreConnection { client: new.client, identity, time_ms, closed })
}

/// tarpc's settings for the calling side.
pub(in crate::rpc) fn client_config(in_flight_max: usize, pending_max: usize) -> Config {
    let mut config = Config::default();
    config.max_in_flight_requests = in_flight_max;
    config.pending_request_buffer = pending_max;
    config
}
