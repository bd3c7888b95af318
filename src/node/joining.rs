//! How a new machine becomes a node of a cluster: it asks a member, and is told who it is.
//!
//! ```text
//! nonce on the disk ─> ask any member ─> (cluster id, node id) on the disk ─> start, found nothing
//!     ─> be given a snapshot, be added (the leader's work) ─> forget the join
//! ```
//!
//! Whatever dies in between, this process included, the next start goes on: the nonce names the
//! join, so asking again is answered with the same ids. A join that came to nothing ends the
//! node, and what it had received is removed.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::StartError;
use crate::actors::{RaftHandle, SupervisorMessage};
use crate::auth::{CLIENT_SERVICE, ClusterKey};
use crate::config::NodeConfig;
use crate::rpc::transport::{
    ConnectError, ConnectOptions, HandshakeError, TlsClient, call_context, connect_store,
};
use crate::storage::{Identity, Joining, StorageError, detached};
use crate::types::{
    ClusterId, ClusterReply, ClusterRequest, JoinRequest, JoinTarget, JoinTicket, LogId, NodeId,
    RequestError, Standing,
};

/// How long members are asked to let this node join before it gives up.
const ASK_MAX: Duration = Duration::from_secs(120);
/// How long one member may take to answer.
const CALL_MAX: Duration = Duration::from_secs(10);
/// The pause before the members are asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// Why no member let the node join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The cluster refused.
    #[error("the cluster does not let this node join: {0}")]
    Refused(RequestError),
    /// Nobody answered.
    #[error("no member let this node join: {0}; check that --join names members that run")]
    NoAnswer(String),
    /// Whoever is there is no member that could let it in.
    #[error(
        "no member let this node join: {0}; give --join the client addresses of members, and the \
             --cluster-key file of their cluster"
    )]
    NotThere(String),
    /// The members said something else.
    #[error("{0} answered something else; check that --join names members")]
    Nonsense(String),
    /// The record of the join could not be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The identity of a node that joins, or is still joining; none for every other.
pub(super) async fn identity(
    config: &NodeConfig,
    introduction: &ConnectOptions,
    client: SocketAddr,
    peer: SocketAddr,
) -> Result<Option<Identity>, StartError> {
    let map_bytes = config.storage.state_map_bytes;
    let held = blocking(config, move |path| detached::held(path, map_bytes)).await?;
    let held = held.map(|(cluster_id, state)| (cluster_id, state.applied));
    let begun = begin(config, held.is_some()).map_err(JoinError::from)?;
    let Some(mut joining) = begun else { return Ok(None) };
    let (cluster_id, ticket) = match joining.given {
        Some(given) => given,
        None => {
            let request = JoinRequest {
                nonce: joining.nonce,
                name: config.name.clone(),
                peer_addr: config.advertised_peer(peer),
                client_addr: config.advertised_client(client),
                target: if config.learner { JoinTarget::Learner } else { JoinTarget::Voter },
                waits: joining.waits,
                command_format: config.command_format,
            };
            // A state of another cluster is refused by whoever is asked, and nothing begun.
            let options =
                ConnectOptions { cluster_id: held.map(|it| it.0), ..introduction.clone() };
            let asked = ClusterRequest::Join { request, held: held.and_then(|it| it.1) };
            let (given, unusable) = ask_to_join(&joining.contacts, &options, asked).await?;
            tell_what_becomes_of(held, unusable.as_deref());
            (joining.given, joining.empties) = (Some(given), unusable.is_some());
            joining.write(&config.data_dir).map_err(JoinError::from)?;
            given
        }
    };
    if joining.empties {
        blocking(config, detached::empty).await?;
    }
    let (node_id, incarnation) = (ticket.node_id, joining.nonce);
    Ok(Some(Identity { cluster_id, node_id, incarnation, name: config.name.clone() }))
}

/// Says whether what the directory holds is built upon.
fn tell_what_becomes_of(held: Option<(ClusterId, Option<LogId>)>, unusable: Option<&str>) {
    let Some((_, Some(last))) = held else { return };
    match unusable {
        None => tracing::info!(
            last_entry = last.index,
            "the cluster's log continues the state in the data directory: only its tail is sent"
        ),
        Some(reason) => tracing::warn!(
            last_entry = last.index,
            reason,
            "the cluster's log does not continue the state in the data directory: it is removed, \
             and the whole state is sent"
        ),
    }
}

/// Runs disk work on the data directory off the runtime's threads.
async fn blocking<T: Send + 'static>(
    config: &NodeConfig,
    work: impl FnOnce(&Path) -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StartError> {
    let path = config.data_dir.clone();
    let done = tokio::task::spawn_blocking(move || work(&path)).await;
    Ok(done.map_err(|error| StartError::Runtime(error.into()))?.map_err(JoinError::from)?)
}

/// The join to go on with: one begun before, or a new one when the configuration asks for it and
/// the directory is new, or holds a state and is nobody's.
fn begin(config: &NodeConfig, is_detached: bool) -> Result<Option<Joining>, StorageError> {
    let directory = &config.data_dir;
    if let Some(mut begun) = Joining::read(directory)? {
        if !begun.discarded {
            // Members may have moved since; what the operator says now is newer.
            if !config.contacts().is_empty() {
                begun.contacts = config.contacts().to_vec();
            }
            return Ok(Some(begun));
        }
        begun.discard(directory)?;
    }
    let is_a_nodes = Joining::is_made(directory) && !is_detached;
    if config.contacts().is_empty() || is_a_nodes {
        return Ok(None);
    }
    let joining = Joining {
        nonce: rand::random(),
        contacts: config.contacts().to_vec(),
        waits: config.join.is_empty(),
        given: None,
        empties: false,
        discarded: false,
    };
    joining.write(directory)?;
    Ok(Some(joining))
}

async fn ask_to_join(
    contacts: &[String],
    introduction: &ConnectOptions,
    request: ClusterRequest,
) -> Result<((ClusterId, JoinTicket), Option<String>), JoinError> {
    let give_up = Instant::now() + ASK_MAX;
    let mut told = BTreeSet::new();
    loop {
        let (mut reason, mut all_refused) = (String::new(), true);
        for contact in contacts {
            match ask(contact, introduction, request.clone()).await {
                Ok(ClusterReply::Ticket { cluster_id, ticket, unusable }) => {
                    return Ok(((cluster_id, ticket), unusable));
                }
                Ok(_) => return Err(JoinError::Nonsense(contact.clone())),
                Err(AskError::Later(failed)) => (reason, all_refused) = (failed, false),
                Err(AskError::NotThere(refused)) => reason = refused,
                Err(AskError::Refused(error)) => return Err(JoinError::Refused(error)),
            }
            // At once, so that whoever typed the command sees it, and not in every round.
            if told.insert((contact, reason.clone())) {
                tracing::warn!(
                    contact,
                    reason,
                    "this member does not let the node join; see --join"
                );
            }
        }
        if all_refused {
            return Err(JoinError::NotThere(reason));
        }
        if Instant::now() >= give_up {
            return Err(JoinError::NoAnswer(reason));
        }
        sleep(PAUSE).await;
    }
}

/// Why a member gave no answer that counts.
enum AskError {
    /// It may give one later: it is not up yet, or looks for a leader.
    Later(String),
    /// Whoever is there will never give one: another port, other keys, another cluster.
    NotThere(String),
    /// The cluster refused.
    Refused(RequestError),
}

impl From<RequestError> for AskError {
    fn from(error: RequestError) -> Self {
        if error.is_retryable() { Self::Later(error.to_string()) } else { Self::Refused(error) }
    }
}

impl From<ConnectError> for AskError {
    fn from(error: ConnectError) -> Self {
        let reason = error.to_string();
        match error {
            ConnectError::Handshake { source, .. } if is_final(&source) => Self::NotThere(reason),
            _ => Self::Later(reason),
        }
    }
}

/// Whether another try with the same address and keys would meet the same.
fn is_final(error: &HandshakeError) -> bool {
    match error {
        HandshakeError::Refused(refusal) => !refusal.is_passing(),
        HandshakeError::Socket(_) | HandshakeError::Timeout => false,
        HandshakeError::NotChainfire
        | HandshakeError::TlsUnexpected
        | HandshakeError::Tls(_)
        | HandshakeError::UnknownVersion { .. }
        | HandshakeError::TooLong { .. }
        | HandshakeError::Malformed(_)
        | HandshakeError::OutOfTurn
        | HandshakeError::Unproven => true,
    }
}

/// How a machine that holds the cluster's keys connects to members before it is one.
pub(super) fn introduction(
    cluster_key: Option<&ClusterKey>,
    tls: Option<TlsClient>,
) -> ConnectOptions {
    let signer = |key: &ClusterKey| Arc::new(key.node_credentials().signer(CLIENT_SERVICE));
    ConnectOptions { credentials: cluster_key.map(signer), tls, ..ConnectOptions::default() }
}

/// Asks one member.
async fn ask(
    contact: &str,
    options: &ConnectOptions,
    request: ClusterRequest,
) -> Result<ClusterReply, AskError> {
    let connection = connect_store(contact, options).await?;
    let asked = connection.client.cluster(call_context(CALL_MAX), request);
    match timeout(CALL_MAX, asked).await {
        Ok(Ok(answer)) => Ok(answer?),
        Ok(Err(error)) => Err(AskError::Later(format!("{contact}: {error}"))),
        Err(_) => Err(AskError::Later(format!("{contact} gave no answer in time"))),
    }
}

/// Watches over a node that joins until it is a member, and then forgets the join.
pub(super) async fn watch(
    data_dir: PathBuf,
    introduction: ConnectOptions,
    raft: RaftHandle,
    supervisor: ractor::ActorRef<SupervisorMessage>,
) {
    let Ok(Some(joining)) = Joining::read(&data_dir) else { return };
    let node = raft.node().clone();
    let cluster_id = Some(node.cluster_id);
    let options = ConnectOptions { cluster_id, ..introduction };
    let mut told = false;
    loop {
        if raft.has_joined() {
            if let Err(error) = Joining::complete(&data_dir) {
                tracing::warn!(%error, "the record of the join stays until the next start");
            }
            return;
        }
        match standing(&joining.contacts, &options, node.node_id).await {
            Some(Standing::JoinFailed { reason }) => {
                // The supervisor is only gone when the node stops anyway.
                let _ = supervisor.send_message(SupervisorMessage::JoinFailed(reason));
                return;
            }
            Some(Standing::Removed) => {
                let reason = "the cluster does not know of it any more".to_owned();
                let _ = supervisor.send_message(SupervisorMessage::JoinFailed(reason));
                return;
            }
            Some(Standing::Joining | Standing::Member) | None => {
                let holds = raft.progress().applied_index > 0;
                if joining.waits && holds && !std::mem::replace(&mut told, true) {
                    tracing::warn!(
                        "this node holds the state and waits to be added: run 'chainfire member \
                         add {}' on the cluster",
                        node.name
                    );
                }
                sleep(PAUSE).await;
            }
        }
    }
}

async fn standing(
    contacts: &[String],
    options: &ConnectOptions,
    node_id: NodeId,
) -> Option<Standing> {
    for contact in contacts {
        let request = ClusterRequest::Standing { node_id };
        let asked = ask(contact, options, request).await;
        if let Ok(ClusterReply::Standing(standing)) = asked {
            return Some(standing);
        }
    }
    None
}

/// Removes what a join that came to nothing has left in the directory of a stopped node.
pub(super) fn discard(data_dir: &Path) -> Result<(), StorageError> {
    match Joining::read(data_dir)? {
        Some(joining) => joining.discard(data_dir),
        None => Ok(()),
    }
}
