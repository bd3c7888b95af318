//! Following the leader.
//!
//! Any node takes any request; what needs the leader travels on from there. Going to the leader
//! at once saves that way. A client with several endpoints therefore asks now and then who leads,
//! and prefers the leader's endpoint when it is among its own. This is an optimisation only:
//! nothing depends on the answer being right, and a client never talks to an address it was not
//! given.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::{Client, Inner};
use crate::rpc::api::StoreClient;
use crate::types::NodeId;

/// How often to look when nothing happens. Jitter takes up to half.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How soon to look again after an endpoint failed, and while no leader is found.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How long one node may take to say who leads.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

impl Client {
    /// Starts following in the background, until the last clone of the client is dropped.
    pub(super) fn follow(&self) {
        if self.inner.follow_leader && self.inner.pool.len() > 1 {
            let task = tokio::spawn(follow(Arc::downgrade(&self.inner), self.inner.pool.left()));
            let started = self.inner.follower.set(task.abort_handle());
            debug_assert!(started.is_ok(), "a client starts following once, when it is made");
        }
    }

    /// Asks the endpoints who leads, and sends requests there from now on if the leader is behind
    /// one of them. Answers whether it is. A client that follows the leader does this by itself.
    pub async fn find_leader(&self) -> bool {
        self.inner.find_leader().await
    }
}

/// Holds the client only while it asks, so that dropping the client ends this.
async fn follow(client: Weak<Inner>, left: Arc<Notify>) {
    loop {
        let Some(inner) = client.upgrade() else { return };
        let found = inner.find_leader().await;
        drop(inner);
        let jitter = 1.0 - rand::random::<f64>() / 2.0;
        if !found {
            sleep(LOOK_AGAIN.mul_f64(jitter)).await;
        } else if timeout(LOOK_EVERY.mul_f64(jitter), left.notified()).await.is_ok() {
            // Let those who found the endpoint failing go on elsewhere first.
            sleep(LOOK_AGAIN.mul_f64(1.0 - jitter)).await;
        }
    }
}

impl Inner {
    async fn find_leader(&self) -> bool {
        let preferred = self.pool.preferred();
        for offset in 0..self.pool.len() {
            let endpoint = (preferred + offset) % self.pool.len();
            if let Some(leader) = self.leader_as_seen_by(endpoint).await {
                return self.move_to(leader).await;
            }
        }
        false
    }

    async fn leader_as_seen_by(&self, endpoint: usize) -> Option<NodeId> {
        let ask = |store: StoreClient, context| async move { store.status(context).await };
        self.ask(endpoint, ASK_TIMEOUT, ask).await.ok()?.leader_id
    }

    /// Prefers the endpoint of `leader`; connects to one endpoint after the other until it is
    /// found.
    async fn move_to(&self, leader: NodeId) -> bool {
        // Where it was last seen comes first, then all the others.
        let seen = self.pool.endpoint_of(leader);
        for endpoint in seen.into_iter().chain(0..self.pool.len()) {
            // An endpoint that cannot be reached is not where requests should go now.
            let connected = timeout(ASK_TIMEOUT, self.pool.connection(endpoint)).await;
            if matches!(&connected, Ok(Ok(connection)) if connection.node_id() == leader) {
                self.pool.prefer(endpoint);
                return true;
            }
        }
        false
    }
}
