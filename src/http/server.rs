//! The listener, and the bounds on who connects to it.

use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;

use super::gateway::{Gateway, Remote};
use super::timed::TimedWrites;
use super::{Readiness, routes, secure};
use crate::auth::target::TARGET_BYTES_MAX;
use crate::auth::verify::HEADER_BYTES_MAX;
use crate::config::HttpConfig;
use crate::rpc::transport::Stream;
use crate::rpc::transport::tls::TlsServer;
use crate::telemetry::NodeMetrics;

/// Largest head of a request, in bytes: the longest target and all headers that the verifier looks
/// at, with what stands between them.
pub(super) const REQUEST_HEAD_BYTES_MAX: usize = TARGET_BYTES_MAX + HEADER_BYTES_MAX + 4 * 1024;

/// How long accepting rests after it failed: the process is out of file descriptors, and they do
/// not come back faster by asking.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A running HTTP listener. Dropping it cuts everything off; [`stop`](Self::stop) does not.
pub struct HttpServer {
    local_addr: SocketAddr,
    readiness: Readiness,
    gateway: Option<Gateway>,
    stop: oneshot::Sender<()>,
    accepting: JoinHandle<()>,
}

impl HttpServer {
    /// Serves on a bound listener, on the current tokio runtime, until stopped: metrics and probes,
    /// and the store when there is a gateway to it.
    ///
    /// # Errors
    /// When the listener cannot tell its own address.
    pub fn start(
        listener: TcpListener,
        config: &HttpConfig,
        metrics: NodeMetrics,
        readiness: Readiness,
        gateway: Option<Gateway>,
        tls: Option<TlsServer>,
    ) -> std::io::Result<Self> {
        let local_addr = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let door = Door {
            listener,
            router: routes::router(metrics.clone(), readiness.clone(), gateway.clone()),
            connections: Arc::new(Semaphore::new(as_permits(config.connections_max))),
            timeout: Duration::from_millis(config.request_timeout_ms),
            idle_timeout: Duration::from_millis(config.idle_timeout_ms),
            metrics,
            tls,
            in_flight: GracefulShutdown::new(),
        };
        let accepting = tokio::spawn(door.accept_until(stopped));
        Ok(Self { local_addr, readiness, gateway, stop, accepting })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Says not ready from now on, while still answering: the first step of a shutdown.
    pub fn announce_stop(&self) {
        self.readiness.stop();
    }

    /// Takes no more requests to the store, and answers those that are under way.
    pub async fn stop_gateway(&self, within: Duration) {
        if let Some(gateway) = &self.gateway {
            gateway.stop(within).await;
        }
    }

    /// Stops accepting, and waits for requests in flight; no part of one takes longer than
    /// [`HttpConfig::request_timeout_ms`].
    pub async fn stop(self) {
        self.readiness.stop();
        // The receiver is gone only when the task has ended already.
        let _ = self.stop.send(());
        if let Err(error) = self.accepting.await {
            tracing::error!(%error, "the HTTP listener ended badly");
        }
    }
}

/// What accepts, and what every connection shares.
struct Door {
    listener: TcpListener,
    router: axum::Router,
    connections: Arc<Semaphore>,
    timeout: Duration,
    idle_timeout: Duration,
    metrics: NodeMetrics,
    tls: Option<TlsServer>,
    in_flight: GracefulShutdown,
}

impl Door {
    async fn accept_until(self, mut stopped: oneshot::Receiver<()>) {
        loop {
            let accepted = tokio::select! {
                // A sender that is dropped unused means that the server was dropped.
                _ = &mut stopped => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, remote)) => match self.connections.clone().try_acquire_owned() {
                    Ok(permit) => self.serve(stream, remote, permit),
                    Err(_) => self.metrics.connection_refused("http", "too_many_connections"),
                },
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an HTTP connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        // What is under way is bounded by the time that each part of a request may take.
        if tokio::time::timeout(3 * self.timeout, self.in_flight.shutdown()).await.is_err() {
            tracing::warn!("HTTP requests in flight were cut off");
        }
    }

    /// Serves a connection, in a task of its own, to its end.
    fn serve(&self, socket: TcpStream, remote: SocketAddr, permit: OwnedSemaphorePermit) {
        let router = self.router.clone().layer(Extension(Remote(remote)));
        let (timeout, idle_timeout) = (self.timeout, self.idle_timeout);
        let (tls, in_flight) = (self.tls.clone(), self.in_flight.watcher());
        let metrics = self.metrics.clone();
        tokio::spawn(async move {
            let Some(stream) = open(socket, tls.as_ref(), timeout, &metrics).await else { return };
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(idle_timeout)
                .max_buf_size(REQUEST_HEAD_BYTES_MAX)
                .serve_connection(
                    TokioIo::new(TimedWrites::new(stream, timeout)),
                    TowerToHyperService::new(router),
                );
            match in_flight.watch(connection).await {
                // Whoever hung up early, or sent what is not HTTP, was told by hyper.
                Ok(()) => {}
                Err(error) if error.is_parse() || error.is_parse_too_large() => {
                    metrics.connection_refused("http", "malformed");
                }
                Err(error) if is_late(&error) => metrics.connection_refused("http", "timeout"),
                Err(error) => tracing::debug!(%error, "an HTTP connection ended badly"),
            }
            drop(permit);
        });
    }
}

/// The stream under a connection's HTTP; none when it did not come about in time.
async fn open(
    socket: TcpStream,
    tls: Option<&TlsServer>,
    wait: Duration,
    metrics: &NodeMetrics,
) -> Option<Stream> {
    let refused = match tokio::time::timeout(wait, secure::open(socket, tls)).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "an HTTP connection was refused");
            error.name()
        }
        Err(_elapsed) => "timeout",
    };
    metrics.connection_refused("http", refused);
    None
}

/// Whether a head did not come in time, or an answer did not go.
fn is_late(error: &hyper::Error) -> bool {
    let io = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    error.is_timeout() || io.is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut)
}

fn as_permits(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}
