//! Assembles one node from top to bottom, and takes it down in order.
//!
//! ```no_run
//! use chainfire::config::NodeConfig;
//! use chainfire::node::Node;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::start(NodeConfig::default()).await?;
//! node.ready().await?;
//! println!("clients connect to {}", node.client_addr());
//! node.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # The way up
//! Listeners are bound, the data directory is locked and opened, consensus starts over the storage,
//! the actors start over consensus, and last the listeners serve: peers first, then clients.
//!
//! # The way down
//! The other way round: the node says that it is not ready, gives leadership away, stops taking
//! requests and answers those in flight, stops the actors (consensus with them), and brings the
//! storage to the disk. Each step has a time limit.

mod claims;
mod figures;
mod founding;
mod gateway;
mod heal;
mod joining;
mod keys;
mod observer;
#[cfg(test)]
mod preseed_tests;
mod registry;
mod restore;
mod run;
mod start;
#[cfg(test)]
mod tests;
mod tls;
#[cfg(test)]
mod version_tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

pub use heal::HealError;
pub use joining::JoinError;
pub use restore::{
    REVISION_STEP, RestoreError, Restored, detach_copy, restore_new_cluster, restore_new_member,
    save_from_data_dir,
};
pub use run::run;
pub use start::StartError;

use crate::actors::{ExitReason, NodeHandles, RunningActors};
use crate::http::HttpServer;
use crate::rpc::server::ListenerHandle;
use crate::storage::DataDir;
use crate::storage::log::LogStore;
use crate::storage::state::StateStore;
use crate::telemetry::{NodeMetrics, UpkeepTask};
use start::check_ready;
use tls::CertificateWatch;

/// How long the first read may take until [`Node::ready`] tries again.
const READY_TRY_MAX: Duration = Duration::from_secs(2);

/// How long the tasks of a node that stopped may take to let go of its directory.
const RELEASE_MAX: Duration = Duration::from_secs(30);

/// The pause before it is tried again.
const RELEASE_PAUSE: Duration = Duration::from_millis(20);

/// The pause before it is looked again whether the node is ready.
const READY_PAUSE: Duration = Duration::from_millis(20);

/// A running node. Dropping it without [`shutdown`](Self::shutdown) is a crash as far as its data
/// is concerned: nothing acknowledged is lost.
pub struct Node {
    actors: RunningActors,
    clients: ListenerHandle,
    peers: ListenerHandle,
    http: HttpServer,
    storage: OpenStorage,
    metrics: NodeMetrics,
    certificates: CertificateWatch,
    shutdown_max: Duration,
    _upkeep: UpkeepTask,
}

/// The open data directory and the two stores in it.
struct OpenStorage {
    /// Holds the lock: dropped last.
    directory: DataDir,
    log: LogStore,
    state: StateStore,
}

impl Node {
    /// The address clients connect to.
    pub fn client_addr(&self) -> SocketAddr {
        self.clients.local_addr()
    }

    /// The address peers connect to.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peers.local_addr()
    }

    /// The address metrics and probes are served at.
    pub fn http_addr(&self) -> SocketAddr {
        self.http.local_addr()
    }

    /// The actors' handles.
    pub fn handles(&self) -> &NodeHandles {
        &self.actors.handles
    }

    /// What the node counts.
    pub fn metrics(&self) -> &NodeMetrics {
        &self.metrics
    }

    /// Reads the certificates of the listeners again now, rather than when their files are next
    /// looked at.
    pub fn reload_certificates(&self) {
        self.certificates.reload();
    }

    /// Whether a listener speaks TLS.
    pub fn has_certificates(&self) -> bool {
        self.certificates.is_needed()
    }

    /// Waits until the node can do what it is there for: a linearizable read went through it, it
    /// has joined, and there is a user whose signed request it would serve. Errs only when the node
    /// has failed.
    pub async fn ready(&self) -> Result<(), ExitReason> {
        let mut exit = self.actors.exit.clone();
        let NodeHandles { raft, auth, .. } = self.handles();
        loop {
            let checked = tokio::select! {
                checked = check_ready(raft, auth, Instant::now() + READY_TRY_MAX) => checked,
                failed = exit.wait_for(Option::is_some) => return Err(reason(failed.ok().as_deref())),
            };
            match checked {
                Ok(()) => return Ok(()),
                Err(error) => tracing::debug!(%error, "not ready yet"),
            }
            sleep(READY_PAUSE).await;
        }
    }

    /// Waits until the node has failed and must be shut down.
    pub async fn failed(&self) -> ExitReason {
        let mut exit = self.actors.exit.clone();
        let failed = exit.wait_for(Option::is_some).await;
        reason(failed.ok().as_deref())
    }

    /// Takes the node down in order. When this returns its data directory is free: the same process
    /// may start a node on it again.
    pub async fn shutdown(self) {
        let data_dir = self.storage.directory.path().to_owned();
        self.stop().await;
        wait_until_free(data_dir).await;
    }

    /// Takes the node down in order, for a process that ends: tasks that have nothing more to do may
    /// hold the data directory for a moment longer.
    async fn stop(self) {
        self.http.announce_stop();
        let deadline = Instant::now() + self.shutdown_max;
        let left = || deadline.saturating_duration_since(Instant::now());
        if timeout(left(), self.actors.hand_over()).await.is_err() {
            tracing::warn!("leadership was not handed over in time");
        }
        tokio::join!(self.clients.stop(left()), self.http.stop_gateway(left()));
        self.actors.stop().await;
        self.peers.stop(Duration::ZERO).await;
        self.metrics.forget_sources();
        self.http.stop().await;
        let OpenStorage { directory, log, state } = self.storage;
        let closed = tokio::task::spawn_blocking(move || {
            state.shutdown();
            log.shutdown();
            directory.mark_stopped()
        });
        match closed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "a copy of the directory will be refused"),
            Err(error) => tracing::error!(%error, "the storage did not close in order"),
        }
    }
}

/// Waits until the last task of a node that stopped has let go of its directory.
async fn wait_until_free(data_dir: PathBuf) {
    let give_up = Instant::now() + RELEASE_MAX;
    loop {
        let path = data_dir.clone();
        let in_use = tokio::task::spawn_blocking(move || DataDir::is_in_use(&path)).await;
        match in_use {
            Ok(true) if Instant::now() < give_up => sleep(RELEASE_PAUSE).await,
            Ok(true) => return tracing::warn!("a task still holds the data directory"),
            Ok(false) | Err(_) => return,
        }
    }
}

fn reason(exit: Option<&Option<ExitReason>>) -> ExitReason {
    let ended = || ExitReason::ActorFailed { actor: "supervisor", reason: "it ended".to_owned() };
    exit.cloned().flatten().unwrap_or_else(ended)
}
