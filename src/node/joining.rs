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

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::StartError;
use crate::actors::{RaftHandle, SupervisorMessage};
use crate::auth::{CLIENT_SERVICE, ClusterKey};
use crate::config::NodeConfig;
use crate::rpc::transport::{ConnectOptions, TlsClient, call_context, connect_store};
use crate::storage::{Identity, Joining, StorageError};
use crate::types::{
    ClusterId, ClusterReply, ClusterRequest, JoinRequest, JoinTarget, JoinTicket, NodeId,
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
    let begun = begin(config).map_err(JoinError::from)?;
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
            };
            let given = ask_to_join(&joining.contacts, introduction, request).await?;
            joining.given = Some(given);
            joining.write(&config.data_dir).map_err(JoinError::from)?;
            given
        }
    };
    let (node_id, incarnation) = (ticket.node_id, joining.nonce);
    Ok(Some(Identity { cluster_id, node_id, incarnation, name: config.name.clone() }))
}

/// The join to go on with: one begun before, or a new one when the configuration asks for it and
/// the directory is new.
fn begin(config: &NodeConfig) -> Result<Option<Joining>, StorageError> {
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
    if config.contacts().is_empty() || Joining::is_made(directory) {
        return Ok(None);
    }
    let joining = Joining {
        nonce: rand::random(),
        contacts: config.contacts().to_vec(),
        waits: config.join.is_empty(),
        given: None,
        discarded: false,
    };
    joining.write(directory)?;
    Ok(Some(joining))
}

async fn ask_to_join(
    contacts: &[String],
    introduction: &ConnectOptions,
    request: JoinRequest,
) -> Result<(ClusterId, JoinTicket), JoinError> {
    let give_up = Instant::now() + ASK_MAX;
    loop {
        let mut reason = String::new();
        for contact in contacts {
            let join = ClusterRequest::Join(request.clone());
            match ask(contact, introduction, join).await {
                Ok(ClusterReply::Ticket { cluster_id, ticket }) => {
                    return Ok((cluster_id, ticket));
                }
                Ok(_) => return Err(JoinError::Nonsense(contact.clone())),
                Err(error) if error.is_retryable() => reason = error.to_string(),
                Err(error) => return Err(JoinError::Refused(error)),
            }
            tracing::info!(contact, reason, "no way in there yet");
        }
        if Instant::now() >= give_up {
            return Err(JoinError::NoAnswer(reason));
        }
        sleep(PAUSE).await;
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
) -> Result<ClusterReply, RequestError> {
    let unavailable = |reason: String| RequestError::Unavailable { reason };
    let connected = connect_store(contact, options).await;
    let connection = connected.map_err(|error| unavailable(error.to_string()))?;
    let asked = connection.client.cluster(call_context(CALL_MAX), request);
    match timeout(CALL_MAX, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Err(unavailable(format!("{contact}: {error}"))),
        Err(_) => Err(unavailable(format!("{contact} gave no answer in time"))),
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
            Some(Standing::Joining | Standing::Member) | None => sleep(PAUSE).await,
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
