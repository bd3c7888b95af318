//! The first user of a new cluster.
//!
//! Whoever leads proposes it until it is there. It is one command that does nothing when there is
//! any user already, so neither a leader that changes meanwhile nor one that proposes twice makes
//! a second one.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::AccessWatch;
use super::keyring::Keyring;
use crate::actors::raft::RaftHandle;
use crate::rpc::peer::ForwardedWrite;
use crate::types::{AccessOperation, Operation, Principal};

/// How long one proposal may take.
const PROPOSAL_MAX: Duration = Duration::from_secs(5);
/// The pause before this node looks again whether it leads.
const PAUSE: Duration = Duration::from_millis(50);

/// Ends when the cluster has a user.
pub(super) async fn run(keyring: Arc<Keyring>, raft: RaftHandle, access: AccessWatch) {
    while access.borrow().revision == 0 {
        if raft.leader_id() == Some(raft.node().node_id) {
            let key = keyring.root_key(&mut rand::rng());
            let write = ForwardedWrite {
                request_id: None,
                principal: Principal::cluster(),
                auth_revision: 0,
                operation: Operation::Access(AccessOperation::Bootstrap(key)),
            };
            match raft.propose(write, Instant::now() + PROPOSAL_MAX).await {
                Ok(_) => tracing::info!("the cluster has its first user, root"),
                Err(error) => tracing::debug!(%error, "the first user is not there yet"),
            }
        }
        sleep(PAUSE).await;
    }
}
