//! How a node whose state is not to be trusted repairs itself, without an operator.
//!
//! The node is down in its process: consensus, actors and listeners have stopped in order, after
//! leadership was handed over, or were never started. Its directory stays locked. A healthy peer's
//! snapshot becomes the next epoch of the state, the log stays, and the node starts again over both
//! ([ADR 0012](../../../docs/adr/0012-reseeding.md)).
//!
//! # What must stay true
//! - Nothing is served, voted on or passed on meanwhile: only metrics and probes are answered, and
//!   they say why.
//! - A snapshot is taken only from a member that trusts its own state, and at or above what this
//!   node's log no longer has.
//!
//! # On failure
//! Peers are asked in turn, again and again, with growing pauses: the node waits for one that can
//! help. Alone, or with a disk that takes no other state, it ends and says what to do.

mod fetch;
mod plan;

use std::collections::BTreeMap;
use std::path::PathBuf;

use tokio::net::TcpListener;
use tokio::time::sleep;

use self::fetch::{FetchError, fetch};
use self::plan::{Outcome, Phase};
use super::keys;
use super::observer::Observer;
use super::start::{StartError, log_options};
use super::tls::Certificates;
use crate::actors::Trust;
use crate::config::NodeConfig;
use crate::http::{HttpServer, Readiness};
use crate::rpc::peer::{Lane, PeerConnections, PeerDialer};
use crate::rpc::transport;
use crate::storage::repair::{DistrustMark, PeerBook, least_index, replace_state};
use crate::storage::snapshot::SnapshotFile;
use crate::storage::{DataDir, StorageError};
use crate::telemetry::NodeMetrics;
use crate::types::{Distrust, NodeId};

/// Why a node did not repair itself.
#[derive(Debug, thiserror::Error)]
pub enum HealError {
    /// There is nobody to take a healthy state from.
    #[error(
        "{} cannot be used: {reason}; no other member is known to repair it from: restore a backup \
         ('chainfire snapshot restore FILE --data-dir NEW'), or, in a cluster, empty the directory \
         and start the node with --join", path.display()
    )]
    Alone {
        /// The data directory.
        path: PathBuf,
        /// Why its state is not to be trusted.
        reason: Distrust,
    },
    /// The directory or its log cannot be used either.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// One repair at work.
struct Repair<'a> {
    config: &'a NodeConfig,
    directory: DataDir,
    peers: Vec<(NodeId, String)>,
    connections: PeerConnections,
    reason: Distrust,
    /// The least entry that a snapshot must hold.
    least: Option<u64>,
    fetched: Option<SnapshotFile>,
    /// What was last said of each peer: said again only when it changes.
    said: BTreeMap<NodeId, String>,
    failure: Option<StorageError>,
}

/// Replaces the state of a node that does not run. Returns when it can be started again.
pub(super) async fn heal(
    config: &NodeConfig,
    metrics: &NodeMetrics,
    found: &StorageError,
) -> Result<(), StartError> {
    let directory = config.data_dir.clone();
    let opened = tokio::task::spawn_blocking(move || DataDir::open_existing(&directory)).await;
    let directory = opened.map_err(|error| StartError::Runtime(error.into()))??;
    let reason = reason_of(&directory, found)?;
    let trust = Trust::new();
    trust.distrust(reason.clone());
    for name in Distrust::NAMES {
        metrics.untrusted(name, name == reason.name());
    }
    let certificates = Certificates::load(&config.tls)?;
    let http = answer_probes(config, metrics, &trust, &certificates).await;
    let healed = repair(config, metrics, &certificates, directory, reason.clone()).await;
    if let Some(http) = http {
        http.stop().await;
    }
    metrics.healed(if healed.is_ok() { "healed" } else { "failed" });
    metrics.untrusted(reason.name(), healed.is_err());
    healed
}

/// Why the state is not to be trusted, marked on the disk from now on.
fn reason_of(directory: &DataDir, found: &StorageError) -> Result<Distrust, StorageError> {
    match DistrustMark::read(directory.path())? {
        Some(reason) => Ok(reason),
        None => {
            let reason = Distrust::StateDamaged { detail: found.to_string() };
            DistrustMark::write(directory.path(), &reason)?;
            Ok(reason)
        }
    }
}

async fn repair(
    config: &NodeConfig,
    metrics: &NodeMetrics,
    certificates: &Certificates,
    directory: DataDir,
    reason: Distrust,
) -> Result<(), StartError> {
    let cluster_key = keys::load(config)?;
    let identity = directory.identity();
    // What the state knows of earlier claims cannot be read: a claim that lags is no fault.
    let claim = directory.claim(None, rand::random())?;
    let ours = transport::Identity {
        cluster_id: identity.cluster_id,
        node_id: identity.node_id,
        incarnation: identity.incarnation,
        claim: claim.claim,
    };
    let peers = known_peers(config, &directory)?;
    let connections = PeerConnections::new(PeerDialer {
        observer: std::sync::Arc::new(Observer { metrics: metrics.clone(), trust: Trust::new() }),
        credentials: cluster_key.as_ref().map(|key| std::sync::Arc::new(key.peer_signer())),
        tls: certificates.to_peers.clone(),
        ..PeerDialer::new(ours)
    });
    let least = least_index(&directory, &log_options(config)).await?;
    let (said, failure, fetched) = (BTreeMap::new(), None, None);
    let repair =
        Repair { config, directory, peers, connections, reason, least, fetched, said, failure };
    Ok(Box::pin(repair.run()).await?)
}

/// Every other member that this node has heard of.
fn known_peers(
    config: &NodeConfig,
    directory: &DataDir,
) -> Result<Vec<(NodeId, String)>, StorageError> {
    let listed = config.initial_cluster.as_ref().map(|founders| founders.members());
    let listed = listed.into_iter().flatten().map(|(node, address)| (node, address.peer_addr));
    let mut peers: BTreeMap<NodeId, String> = listed.collect();
    // What a member said of itself later is newer.
    peers.extend(PeerBook::read(directory.path())?);
    peers.remove(&directory.identity().node_id);
    Ok(peers.into_iter().collect())
}

/// Metrics and probes, which say why the node is not ready. Without them the repair goes on.
async fn answer_probes(
    config: &NodeConfig,
    metrics: &NodeMetrics,
    trust: &Trust,
    certificates: &Certificates,
) -> Option<HttpServer> {
    let trust = trust.clone();
    let readiness = Readiness::new(&config.http, move |_| {
        let refusal = trust.check_serves();
        async move { refusal }
    });
    let (metrics, tls) = (metrics.clone(), certificates.http.clone());
    let started = async {
        let listener = TcpListener::bind(config.listen_http).await?;
        HttpServer::start(listener, &config.http, metrics, readiness, None, tls)
    };
    match started.await {
        Ok(server) => Some(server),
        Err(error) => {
            tracing::warn!(addr = %config.listen_http, %error, "no metrics during the repair");
            None
        }
    }
}

impl Repair<'_> {
    async fn run(mut self) -> Result<(), HealError> {
        let peers = self.peers.len();
        tracing::warn!(reason = %self.reason, peers, least = self.least, "repairing the state");
        let mut phase = plan::begin(peers);
        loop {
            let outcome = match phase {
                Phase::Fetch { peer, .. } => self.fetch(peer).await,
                Phase::Install { peer, .. } => self.install(peer).await,
                Phase::Wait { round } => {
                    sleep(plan::pause(round)).await;
                    Outcome::Done
                }
                Phase::Healed => return Ok(()),
                Phase::Alone => {
                    let path = self.directory.path().to_owned();
                    return Err(HealError::Alone { path, reason: self.reason });
                }
                Phase::Failed => {
                    return Err(self.failure.unwrap_or(StorageError::ShutDown).into());
                }
            };
            phase = plan::next(phase, outcome, peers);
        }
    }

    async fn fetch(&mut self, peer: usize) -> Outcome {
        let (node, address) = self.peers[peer].clone();
        let connection = self.connections.peer(node, &address, Lane::Snapshot);
        match fetch(&connection, &self.directory, self.least).await {
            Ok(file) => {
                self.fetched = Some(file);
                Outcome::Done
            }
            Err(FetchError::Disk(error)) => {
                self.failure = Some(error);
                Outcome::DiskFailed
            }
            Err(error) => self.peer_failed(node, &error.to_string()),
        }
    }

    async fn install(&mut self, peer: usize) -> Outcome {
        let (node, _) = self.peers[peer];
        let Some(file) = self.fetched.take() else { return Outcome::PeerFailed };
        let digest = file.digest();
        let (log, map_bytes) = (log_options(self.config), self.config.storage.state_map_bytes);
        match replace_state(&self.directory, &log, map_bytes, file).await {
            Ok(applied) => {
                let applied = applied.map(|applied| applied.index);
                tracing::warn!(source = node, applied, "the state was replaced by a healthy one");
                Outcome::Done
            }
            Err(error @ StorageError::Snapshot { .. }) => {
                fetch::discard(&self.directory, &digest);
                self.peer_failed(node, &error.to_string())
            }
            Err(error) => {
                self.failure = Some(error);
                Outcome::DiskFailed
            }
        }
    }

    fn peer_failed(&mut self, node: NodeId, why: &str) -> Outcome {
        if self.said.insert(node, why.to_owned()).as_deref() != Some(why) {
            tracing::warn!(node, why, "a member gives no healthy state; going on asking");
        }
        Outcome::PeerFailed
    }
}
