//! The way up, step by step.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

use super::claims::{self, Claiming};
use super::heal::{self, HealError};
use super::joining::JoinError;
use super::observer::{DoorObserver, Observer};
use super::tls::Certificates;
use super::{Node, OpenStorage, figures, founding, gateway, joining, keys, registry};
use crate::actors::raft::{self, ConsensusError, ConsensusParts, NodeDescription};
use crate::actors::{
    AuthHandle, ClientKeys, Keyring, NodeSupervisor, Pace, PeerKeys, RaftHandle, SupervisorArgs,
    SupervisorMessage, Trust,
};
use crate::auth::{CLIENT_SERVICE, ClusterKey, KeyFileError, PEER_SERVICE};
use crate::config::{AuditConfig, ConfigError, InitialCluster, LimitsConfig, NodeConfig};
use crate::http::{HttpServer, Readiness};
use crate::rpc::api::StoreRequest;
use crate::rpc::peer::{Incarnations, Lane, PeerConnections, PeerDialer, PeerRequest};
use crate::rpc::server::limits::{PEER_BYTES_MAX, PEER_REQUESTS_MAX};
use crate::rpc::server::{
    Admission, DirectStore, ListenError, Listener, ListenerLimits, PeerDoor, PeerService,
    StoreBackend, StoreDoor,
};
use crate::rpc::transport::tls::TlsFileError;
use crate::rpc::transport::{self, Guard, ServiceRequest as _};
use crate::storage::data_dir::is_made;
use crate::storage::detached::NO_NODE;
use crate::storage::log::{LogOptions, LogStore, is_log_damage};
use crate::storage::repair::DistrustMark;
use crate::storage::state::{StateOptions, StateStore};
use crate::storage::{DataDir, FatalSink, FatalWatch, Identity, StorageError};
use crate::telemetry::{AuditLog, NodeMetrics};
use crate::types::{ClusterId, Distrust, NodeId, PeerAddress, RequestError};

/// How long the original of a copied data directory may take to answer.
const ORIGINAL_MAX: Duration = Duration::from_secs(2);

/// How often one start repairs the state. A state that is found wanting again right after it was
/// replaced speaks of a machine that is broken.
const HEALS_MAX: u32 = 3;

/// Why a node did not start. One line each, saying what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration does not fit together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The client or peer listener could not be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The audit log could not be opened.
    #[error(
        "cannot open the audit log {}: {source}; check audit.file in the configuration",
        file.display()
    )]
    Audit {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The HTTP listener could not be bound.
    #[error("cannot listen on {addr} for HTTP: {source}; free the port or choose another")]
    Bind {
        /// Where.
        addr: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The list of founders does not name this node.
    #[error("the initial cluster does not list {name}; add it, or start with the right --name")]
    NotAFounder {
        /// The node's name.
        name: String,
    },
    /// The data directory is another node's.
    #[error(
        "{path} belongs to node {found}, not {given}; pass --name {found}, or another --data-dir"
    )]
    OtherName {
        /// The directory.
        path: String,
        /// Whose it is.
        found: String,
        /// The name given.
        given: String,
    },
    /// The data directory was made from a snapshot or a copy, and belongs to no member yet.
    #[error("{path} holds a state of cluster {cluster_id} and no member's identity; add --join")]
    Detached {
        /// The directory.
        path: String,
        /// The cluster its state is of.
        cluster_id: ClusterId,
    },
    /// The data directory is empty, and nothing says where the node belongs.
    #[error(
        "{path} is empty, and nothing says what cluster this node is of; give --join MEMBER to enter \
         the one with this key, or --initial-cluster {name}=PEERADDR[,...] to found one (a node that \
         lost its data must join)"
    )]
    NothingToFound {
        /// The directory.
        path: String,
        /// The node's name.
        name: String,
    },
    /// The data directory is another cluster's.
    #[error(
        "{path} belongs to cluster {found}, and the initial cluster given is another \
         ({given}); pass another --data-dir, or leave --initial-cluster out to go on with this one"
    )]
    OtherCluster {
        /// The directory.
        path: String,
        /// Whose it is.
        found: ClusterId,
        /// The cluster that the list founds.
        given: ClusterId,
    },
    /// The node was interrupted before its first start was complete, and is now told of another
    /// cluster.
    #[error(
        "{path} was made for another initial cluster and never started; remove it and start again"
    )]
    OtherFounders {
        /// The directory.
        path: String,
    },
    /// A key file cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsFileError),
    /// The data directory is there, and the keys of its cluster are not.
    #[error(
        "{} is missing, and {} holds data; give the --cluster-key file of its cluster, or make one \
         with 'chainfire keygen' if it was never authenticated", key.display(), data_dir.display()
    )]
    NoClusterKey {
        /// Where the keys would be.
        key: PathBuf,
        /// The directory.
        data_dir: PathBuf,
    },
    /// No member let the node join.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The data directory is a copy, and the original runs.
    #[error(
        "{path} is a copy of the data of node {node_id}, which runs at {addr}; a copy becomes a \
         new member when it is empty and started with --join, or stop the original first"
    )]
    OriginalRuns {
        /// The directory.
        path: String,
        /// The node.
        node_id: NodeId,
        /// Where the original is.
        addr: String,
    },
    /// The only voter of its cluster lost what it had acknowledged: nobody can give it back.
    #[error(
        "the log of {path} lost acknowledged entries and no other member has them; see 'a cluster \
         that lost entries' in docs/faults.md: restore a backup, or make a new cluster of what is left"
    )]
    LostEntries {
        /// The directory.
        path: String,
    },
    /// Consensus did not start.
    #[error(transparent)]
    Consensus(#[from] ConsensusError),
    /// The state is not to be trusted, and was not repaired.
    #[error(transparent)]
    Heal(#[from] HealError),
    /// An actor did not start.
    #[error("an actor did not start: {0}")]
    Actor(String),
    /// The runtime did not start, or refused a listener.
    #[error("the runtime did not start: {0}")]
    Runtime(std::io::Error),
}

impl StartError {
    /// The process's exit code: 2 for a wrong configuration, 14 for a data directory that is a copy
    /// or was put back, as [`ExitReason::code`](crate::actors::ExitReason::code) has it, 18 for
    /// a state that is not to be trusted and was not repaired, else 1.
    pub fn code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::NotAFounder { .. } | Self::NothingToFound { .. } => 2,
            Self::OriginalRuns { .. } | Self::Storage(StorageError::PutBack { .. }) => 14,
            Self::Heal(_) => 18,
            _ => 1,
        }
    }
}

/// The three listeners, bound and not serving yet.
struct Sockets {
    client: Listener,
    peer: Listener,
    http: TcpListener,
}

/// Where a node has its identity from when its data directory is new.
enum Origin {
    /// It founds its cluster, alone or with others.
    Founder,
    /// The cluster gave it one; its state comes from a member.
    Given(Identity),
}

impl Node {
    /// Starts a node on the current tokio runtime. It takes part in its cluster when this returns,
    /// and [`ready`](Self::ready) tells when it can serve.
    ///
    /// A node whose state is not to be trusted first repairs itself from its peers, and waits for
    /// one that can help: then this does not return until it has.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        Self::start_counting(config, NodeMetrics::new()).await
    }

    /// [`start`](Self::start), going on with these metrics.
    pub(super) async fn start_counting(
        config: NodeConfig,
        metrics: NodeMetrics,
    ) -> Result<Self, StartError> {
        for _ in 0..HEALS_MAX {
            // Boxed: the way up holds much, and whoever starts a node should not have to.
            let start = Self::start_from(config.clone(), Origin::Founder, metrics.clone());
            match Box::pin(start).await {
                Err(StartError::Storage(error)) if is_damaged_state(&error, &config) => {
                    Box::pin(heal::heal(&config, &metrics, &error)).await?;
                }
                outcome => return outcome,
            }
        }
        Box::pin(Self::start_from(config, Origin::Founder, metrics)).await
    }

    /// Starts a node that was given its identity by a cluster. It founds nothing: until a member
    /// has given it a snapshot and added it, it only listens for peers.
    pub async fn start_given(config: NodeConfig, identity: Identity) -> Result<Self, StartError> {
        Box::pin(Self::start_from(config, Origin::Given(identity), NodeMetrics::new())).await
    }

    async fn start_from(
        config: NodeConfig,
        origin: Origin,
        metrics: NodeMetrics,
    ) -> Result<Self, StartError> {
        config.validate()?;
        // Before anything can have been asked: what is dated before it was not seen here.
        let cluster_key = keys::load(&config)?;
        let certificates = Certificates::load(&config.tls)?;
        let sockets = bind(&config, &certificates).await?;
        let introduction =
            joining::introduction(cluster_key.as_ref(), certificates.to_members.clone());
        let (client, peer) = (sockets.client.local_addr(), sockets.peer.local_addr());
        let origin = match origin {
            Origin::Founder => {
                match joining::identity(&config, &introduction, client, peer).await? {
                    Some(identity) => Origin::Given(identity),
                    None => Origin::Founder,
                }
            }
            given @ Origin::Given(_) => given,
        };
        let founders = config.founders(sockets.peer.local_addr());
        if matches!(origin, Origin::Founder) {
            refuse_to_found_unasked(&config)?;
        }
        metrics.insecure_no_auth(cluster_key.is_none());
        let (fatal, failure) = FatalSink::channel();
        let founds = matches!(origin, Origin::Founder);
        let trust = Trust::new();
        let hooks = Observer { metrics: metrics.clone(), trust: trust.clone() };
        let (storage, identity) = open(&config, &founders, origin, hooks, fatal.clone()).await?;
        let started_claim = claims::draw(&storage).await?;
        let audit = start_audit(&config, &storage, &metrics)?;
        let doors = Arc::new(DoorObserver { metrics: metrics.clone(), audit: audit.clone() });

        let observer = Arc::new(Observer { metrics: metrics.clone(), trust: trust.clone() });
        let ours = transport::Identity {
            cluster_id: identity.cluster_id,
            node_id: identity.node_id,
            incarnation: identity.incarnation,
            claim: started_claim.claim,
        };
        let incarnations = Incarnations::new();
        let not_recognised = watch::Sender::new(None);
        let peers = PeerConnections::new(PeerDialer {
            incarnations: incarnations.clone(),
            observer: observer.clone(),
            not_recognised: not_recognised.clone(),
            credentials: cluster_key.as_ref().map(|key| Arc::new(key.peer_signer())),
            tls: certificates.to_peers.clone(),
            ..PeerDialer::new(ours)
        });
        let data_dir = storage.directory.path().to_owned();
        registry::follow(&storage.state, peers.clone(), incarnations.clone(), data_dir.clone());
        refuse_copy(&storage.state, &peers, &identity, &config, peer).await?;
        let connections = peers.clone();
        let claiming = Claiming {
            directory: storage.directory.clone(),
            started: started_claim,
            log: storage.log.clone(),
            trust: trust.clone(),
            fatal,
        };
        claiming.begin(&storage.state, &[config.advertised_peer(peer), peer.to_string()]);
        let raft = raft::start(ConsensusParts {
            node: NodeDescription {
                node_id: identity.node_id,
                name: identity.name.clone(),
                cluster_id: identity.cluster_id,
            },
            command_format: config.command_format,
            config: config.raft.clone(),
            log: storage.log.clone(),
            state: storage.state.clone(),
            peers,
            pace: Pace::new(config.snapshot.transfer_bytes_per_second),
            trust: trust.clone(),
        })
        .await?;
        claims::refuse_lost_entries(&storage, &raft).await?;
        let args = SupervisorArgs {
            cluster_key: cluster_key.clone(),
            ..actor_args(&config, &sockets, &ours, &identity, &storage, raft.clone(), &metrics)
        };
        let actors = NodeSupervisor::start(args).await;
        let actors = actors.map_err(|error| StartError::Actor(error.to_string()))?;
        tokio::spawn(report_storage_failure(failure, trust.clone(), data_dir.clone(), {
            actors.supervisor.clone()
        }));
        tokio::spawn(report_distrust(trust, data_dir, actors.supervisor.clone()));
        tokio::spawn(report_not_recognised(not_recognised, actors.supervisor.clone()));
        figures::register(
            &metrics,
            actors.handles.clone(),
            storage.log.clone(),
            storage.state.clone(),
        );

        let limits = &config.limits;
        let peer_door = PeerDoor {
            identity: ours,
            guard: cluster_key.as_ref().map(peer_guard),
            incarnations,
            service: PeerService::new(
                raft.clone(),
                actors.handles.snapshot.clone(),
                actors.handles.membership.clone(),
            ),
        };
        let budget = Arc::new(Admission::new(PEER_REQUESTS_MAX, PEER_BYTES_MAX));
        let peers = sockets.peer.serve(peer_door, peer_limits(limits), budget, doors.clone());
        if founds {
            let supervisor = actors.supervisor.clone();
            found(&raft, connections, &config, founders, &identity, supervisor).await?;
        } else {
            let supervisor = actors.supervisor.clone();
            let directory = config.data_dir.clone();
            tokio::spawn(joining::watch(directory, introduction, raft.clone(), supervisor));
        }
        let backend = StoreBackend::new(
            raft.clone(),
            actors.handles.snapshot.clone(),
            actors.handles.auth.clone(),
            actors.handles.membership.clone(),
            audit.clone(),
        );
        let keyring = actors.handles.auth.keyring();
        let guard = keyring.map(client_guard);
        let store_door = StoreDoor { identity: ours, guard, backend: backend.clone() };
        let budget = Arc::new(Admission::new(
            to_usize(limits.node_requests_max),
            to_usize(limits.node_bytes_max),
        ));
        let http_addr = sockets.http.local_addr().map_err(StartError::Runtime)?;
        let gateway = gateway::new(gateway::Parts {
            store: DirectStore::new(backend, budget.clone(), gateway_budget(limits), doors.clone()),
            raft: raft.clone(),
            keyring: keyring.cloned(),
            metrics: metrics.clone(),
            audit,
            config: &config,
            bound: http_addr,
        });
        let clients = sockets.client.serve(store_door, client_limits(limits), budget, doors);
        let auth = actors.handles.auth.clone();
        let readiness = Readiness::new(&config.http, move |deadline| {
            let (raft, auth) = (raft.clone(), auth.clone());
            async move { check_ready(&raft, &auth, deadline).await }
        });
        let http = HttpServer::start(
            sockets.http,
            &config.http,
            metrics.clone(),
            readiness,
            Some(gateway),
            certificates.http.clone(),
        )
        .map_err(StartError::Runtime)?;
        let certificates = certificates.watch(&metrics);
        let _upkeep = metrics.spawn_upkeep();
        let shutdown_max = Duration::from_millis(config.limits.shutdown_timeout_ms);
        Ok(Self {
            actors,
            clients,
            peers,
            http,
            storage,
            metrics,
            certificates,
            shutdown_max,
            _upkeep,
        })
    }
}

/// Whether the node can do what it is there for: the first signed request would be served.
pub(super) async fn check_ready(
    raft: &RaftHandle,
    auth: &AuthHandle,
    deadline: Instant,
) -> Result<(), RequestError> {
    raft.read_barrier(deadline).await?;
    let not_yet = |reason: &str| Err(RequestError::Unavailable { reason: reason.to_owned() });
    if !raft.has_joined() {
        return not_yet("the node has not joined yet");
    }
    if !auth.is_founded() {
        return not_yet("the cluster has no user yet");
    }
    Ok(())
}

/// A node that was given the key of a cluster, an empty directory and no word about which nodes to
/// look for is more likely one that lost its disk than one that is to found another cluster.
fn refuse_to_found_unasked(config: &NodeConfig) -> Result<(), StartError> {
    if config.learner && config.contacts().is_empty() && !is_made(&config.data_dir) {
        return Err(ConfigError::LearnerOfNothing.into());
    }
    let was_given_keys = config.auth.cluster_key.is_some();
    if was_given_keys && config.initial_cluster.is_none() && !is_made(&config.data_dir) {
        return Err(StartError::NothingToFound {
            path: config.data_dir.display().to_string(),
            name: config.name.clone(),
        });
    }
    Ok(())
}

async fn bind(config: &NodeConfig, tls: &Certificates) -> Result<Sockets, StartError> {
    let client = Listener::bind(&config.listen_client.to_string()).await?;
    let client = client.with_tls(tls.client.clone());
    let peer = Listener::bind(&config.listen_peer.to_string()).await?.with_tls(tls.peer.clone());
    let http = TcpListener::bind(config.listen_http).await;
    let http = http.map_err(|source| StartError::Bind { addr: config.listen_http, source })?;
    Ok(Sockets { client, peer, http })
}

/// The audit log, where the configuration wants it or in the data directory.
fn start_audit(
    config: &NodeConfig,
    storage: &OpenStorage,
    metrics: &NodeMetrics,
) -> Result<AuditLog, StartError> {
    let AuditConfig { file, file_bytes_max } = config.audit.clone();
    let file = file.unwrap_or_else(|| storage.directory.audit_path());
    let started = AuditLog::start(file.clone(), file_bytes_max, metrics.clone());
    started.map_err(|source| StartError::Audit { file, source })
}

/// What clients' signatures are checked with.
fn client_guard(keyring: &Arc<Keyring>) -> Guard {
    Guard {
        cluster_name: keyring.cluster_name().to_owned(),
        service: CLIENT_SERVICE,
        paths: StoreRequest::PATHS,
        keys: Arc::new(ClientKeys(Arc::clone(keyring))),
    }
}

/// What peers' signatures are checked with.
fn peer_guard(cluster_key: &ClusterKey) -> Guard {
    Guard {
        cluster_name: cluster_key.cluster_name.clone(),
        service: PEER_SERVICE,
        paths: PeerRequest::PATHS,
        keys: Arc::new(PeerKeys::new(cluster_key, &mut rand::rng())),
    }
}

/// What of the node's budget the HTTP gateway may take: as many requests as come, and the bytes of a
/// few connections of clients.
fn gateway_budget(limits: &LimitsConfig) -> Admission {
    let bytes = limits.connection_bytes_max.saturating_mul(4).min(limits.node_bytes_max);
    Admission::new(to_usize(limits.node_requests_max), to_usize(bytes))
}

fn client_limits(limits: &LimitsConfig) -> ListenerLimits {
    ListenerLimits {
        connections_max: to_usize(limits.client_connections_max),
        connection_requests_max: to_usize(limits.connection_requests_max),
        connection_bytes_max: to_usize(limits.connection_bytes_max),
        handshake_timeout: Duration::from_millis(limits.handshake_timeout_ms),
        idle_timeout: Duration::from_millis(limits.idle_timeout_ms),
        ..ListenerLimits::clients()
    }
}

fn peer_limits(limits: &LimitsConfig) -> ListenerLimits {
    ListenerLimits {
        connections_max: to_usize(limits.peer_connections_max),
        handshake_timeout: Duration::from_millis(limits.handshake_timeout_ms),
        ..ListenerLimits::peers()
    }
}

/// A configured limit as a size; one beyond the address space is no limit.
fn to_usize(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// Opens the data directory and both stores, off the runtime's threads.
async fn open(
    config: &NodeConfig,
    founders: &InitialCluster,
    origin: Origin,
    hooks: Observer,
    fatal: FatalSink,
) -> Result<(OpenStorage, Identity), StartError> {
    let (config, founders) = (config.clone(), founders.clone());
    let opened = tokio::task::spawn_blocking(move || {
        open_blocking(&config, &founders, origin, hooks, fatal)
    });
    opened.await.map_err(|error| StartError::Runtime(error.into()))?
}

fn open_blocking(
    config: &NodeConfig,
    founders: &InitialCluster,
    origin: Origin,
    hooks: Observer,
    fatal: FatalSink,
) -> Result<(OpenStorage, Identity), StartError> {
    let listed = config.initial_cluster.is_some();
    let (directory, _) = match origin {
        Origin::Given(identity) => {
            let map_bytes = config.storage.state_map_bytes;
            DataDir::create_open_or_adopt(&config.data_dir, identity, map_bytes)?
        }
        Origin::Founder => {
            let new = founding::identity(founders, listed, &config.name, rand::random());
            let new = new.ok_or_else(|| StartError::NotAFounder { name: config.name.clone() })?;
            DataDir::create_or_open(&config.data_dir, || new)?
        }
    };
    let identity = directory.identity().clone();
    if identity.node_id == NO_NODE {
        return Err(StartError::Detached {
            path: config.data_dir.display().to_string(),
            cluster_id: identity.cluster_id,
        });
    }
    if identity.name != config.name {
        return Err(StartError::OtherName {
            path: config.data_dir.display().to_string(),
            found: identity.name,
            given: config.name.clone(),
        });
    }
    if listed && identity.cluster_id != founders.cluster_id() {
        return Err(StartError::OtherCluster {
            path: config.data_dir.display().to_string(),
            found: identity.cluster_id,
            given: founders.cluster_id(),
        });
    }
    if let Some(reason) = DistrustMark::read(directory.path())? {
        return Err(StorageError::Distrusted { path: directory.path().to_owned(), reason }.into());
    }
    let hooks = Arc::new(hooks);
    let log_options = log_options(config);
    let log = LogStore::open(&directory, log_options, fatal.clone(), hooks.clone());
    let state_options = StateOptions {
        map_bytes: config.storage.state_map_bytes,
        quota_bytes: config.storage.quota_bytes,
        unflushed_bytes_max: to_usize(config.storage.memory_table_bytes_max),
        scrub_bytes_per_second: config.storage.scrub_bytes_per_second,
        scrub_rest: Duration::from_secs(config.storage.scrub_rest_s),
        ..StateOptions::default()
    };
    let state = StateStore::open(&directory, state_options, fatal.clone(), hooks.clone())?;
    let log = match log {
        Err(damage) if claims::can_rebuild_log(&damage, &state, identity.node_id) => {
            claims::rebuild_log(&directory, log_options.map_bytes, &state, &damage)?;
            LogStore::open(&directory, log_options, fatal, hooks)?
        }
        log => log?,
    };
    state.scrub_log_too(log.reader());
    Ok((OpenStorage { directory, log, state }, identity))
}

/// How the log is opened.
pub(super) fn log_options(config: &NodeConfig) -> LogOptions {
    LogOptions {
        map_bytes: config.storage.log_map_bytes,
        tail_bytes_max: to_usize(config.storage.log_tail_bytes_max),
        read_bytes_max: to_usize(config.raft.append_bytes_max),
        ..LogOptions::default()
    }
}

/// Whether the state in the configured directory is not what was written.
fn is_damaged_state(error: &StorageError, config: &NodeConfig) -> bool {
    // Messages name the directory by its one absolute path.
    let data_dir = std::fs::canonicalize(&config.data_dir);
    error.is_damaged_state(&data_dir.unwrap_or_else(|_| config.data_dir.clone()))
}

fn actor_args(
    config: &NodeConfig,
    sockets: &Sockets,
    ours: &transport::Identity,
    identity: &Identity,
    storage: &OpenStorage,
    raft: RaftHandle,
    metrics: &NodeMetrics,
) -> SupervisorArgs {
    SupervisorArgs {
        raft,
        raft_config: config.raft.clone(),
        snapshot_config: config.snapshot.clone(),
        incoming: storage.directory.incoming_path(),
        address: PeerAddress {
            name: identity.name.clone(),
            peer_addr: config.advertised_peer(sockets.peer.local_addr()),
        },
        client_addr: config.advertised_client(sockets.client.local_addr()),
        incarnation: identity.incarnation,
        claim: ours.claim,
        access: storage.state.access(),
        listeners: vec![sockets.client.local_addr(), sockets.peer.local_addr()],
        cluster_key: None,
        metrics: metrics.clone(),
    }
}

/// Founds the cluster, if this node's log is empty and its identity allows it: at once where it is
/// alone, else beside what the node does when every other founder has answered.
async fn found(
    raft: &RaftHandle,
    peers: PeerConnections,
    config: &NodeConfig,
    founders: InitialCluster,
    identity: &Identity,
    supervisor: ractor::ActorRef<SupervisorMessage>,
) -> Result<(), StartError> {
    if raft.is_founded().await? {
        return Ok(());
    }
    if !founding::may_found(identity, &founders, config.initial_cluster.is_some()) {
        return Err(StartError::OtherFounders { path: config.data_dir.display().to_string() });
    }
    let members = founders.members();
    if members.len() == 1 {
        return Ok(raft.found(members).await?);
    }
    let raft = raft.clone();
    tokio::spawn(async move {
        if let Err(error) = founding::found(&raft, &peers, members).await {
            // The supervisor is only gone when the node stops anyway.
            let failed = SupervisorMessage::ConsensusFailed(error.to_string());
            let _ = supervisor.send_message(failed);
        }
    });
    Ok(())
}

/// Refuses to run a copy of a data directory while the original runs elsewhere.
async fn refuse_copy(
    state: &StateStore,
    peers: &PeerConnections,
    identity: &Identity,
    config: &NodeConfig,
    bound: SocketAddr,
) -> Result<(), StartError> {
    let Some((known, _)) = state.member(identity.node_id) else { return Ok(()) };
    let addr = known.peer_addr;
    if addr == config.advertised_peer(bound) || addr == bound.to_string() {
        return Ok(());
    }
    let original = peers.peer_at(identity.node_id, &addr, Lane::Control);
    match original.status(ORIGINAL_MAX).await {
        Ok(_) => Err(StartError::OriginalRuns {
            path: config.data_dir.display().to_string(),
            node_id: identity.node_id,
            addr,
        }),
        Err(_) => Ok(()),
    }
}

/// Tells the supervisor when a peer knows another data directory under this node's id.
async fn report_not_recognised(
    reason: watch::Sender<Option<String>>,
    supervisor: ractor::ActorRef<SupervisorMessage>,
) {
    let mut told = reason.subscribe();
    drop(reason);
    // Without a sender nobody dials any more: the node has stopped.
    if let Ok(reason) = told.wait_for(Option::is_some).await {
        let reason = reason.clone().unwrap_or_default();
        let _ = supervisor.send_message(SupervisorMessage::NotRecognised(reason));
    }
}

/// Tells the supervisor when the storage fails. A state that is not what was written is no failure
/// of the disk: the node distrusts it.
async fn report_storage_failure(
    mut failure: FatalWatch,
    trust: Trust,
    data_dir: PathBuf,
    supervisor: ractor::ActorRef<SupervisorMessage>,
) {
    let error = failure.failed().await;
    if error.is_damaged_state(&data_dir) {
        return trust.distrust(Distrust::StateDamaged { detail: error.to_string() });
    }
    if is_log_damage(&error) {
        // The log has noted it: the next start, in this process, makes it anew behind the state.
        tracing::error!(%error, "the log is damaged; the node stops to make it anew");
        let _ = supervisor.send_message(SupervisorMessage::Distrusted(error.to_string()));
        return;
    }
    // The supervisor is only gone when the node stops anyway.
    let _ = supervisor.send_message(SupervisorMessage::StorageFailed(error.to_string()));
}

/// Marks a state that is not to be trusted, on the disk, and has the node stop to repair it.
async fn report_distrust(
    trust: Trust,
    data_dir: PathBuf,
    supervisor: ractor::ActorRef<SupervisorMessage>,
) {
    let mut reasons = trust.watch();
    drop(trust);
    let found = reasons.wait_for(|reasons| reasons.iter().any(Distrust::reseeds)).await;
    // Without anybody who could distrust it the node has stopped.
    let Ok(found) = found.map(|reasons| reasons.iter().find(|it| it.reseeds()).cloned()) else {
        return;
    };
    let Some(reason) = found else { return };
    let marked = reason.clone();
    let written = tokio::task::spawn_blocking(move || DistrustMark::write(&data_dir, &marked));
    let message = match written.await {
        Ok(Ok(())) => SupervisorMessage::Distrusted(reason.to_string()),
        Ok(Err(error)) => SupervisorMessage::StorageFailed(error.to_string()),
        Err(error) => SupervisorMessage::StorageFailed(error.to_string()),
    };
    // As above.
    let _ = supervisor.send_message(message);
}
