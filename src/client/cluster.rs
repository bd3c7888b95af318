//! Questions about the cluster itself.

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::builder::ClientBuilder;
use super::error::{Error, Failure};
use super::{Client, Inner};
use crate::rpc::api::StoreClient;
use crate::types::{ClusterReply, ClusterRequest, JoinStatus, Member, NodeId, NodeStatus};

impl Client {
    /// What the node behind the current endpoint says of itself.
    pub async fn status(&self) -> Result<NodeStatus, Error> {
        let timeout = ClientBuilder::request_timeout(self.inner.timeout, None);
        self.inner.read(timeout, |store, context| async move { store.status(context).await }).await
    }

    /// What the node behind each endpoint says of itself, or why it says nothing; in the order of
    /// the endpoints. All are asked at once, each one time, within the client's timeout.
    pub async fn status_of_each(&self) -> Vec<(String, Result<NodeStatus, Error>)> {
        let asked = (0..self.inner.pool.len()).map(|endpoint| async move {
            (self.inner.pool.address(endpoint).to_owned(), self.inner.status_of(endpoint).await)
        });
        join_all(asked).await
    }

    /// The members, as the node behind the current endpoint knows them.
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        let timeout = ClientBuilder::request_timeout(self.inner.timeout, None);
        self.inner.read(timeout, |store, context| async move { store.members(context).await }).await
    }

    /// How the joins are, the oldest first, as the leader sees them.
    pub async fn joins(&self) -> Result<Vec<JoinStatus>, Error> {
        let timeout = ClientBuilder::request_timeout(self.inner.timeout, None);
        let ask = |store: StoreClient, context| async move {
            store.cluster(context, ClusterRequest::Joins).await
        };
        match self.inner.read(timeout, ask).await? {
            ClusterReply::Joins(joins) => Ok(joins),
            other => Err(unexpected(&other)),
        }
    }

    /// Changes who is a member, or where one is reached; answers the node it was done to.
    ///
    /// Doing it again does no harm: what is done already is answered the same.
    pub async fn change_members(&self, request: ClusterRequest) -> Result<NodeId, Error> {
        let timeout = ClientBuilder::request_timeout(self.inner.timeout, None);
        let request = self.by_id(request).await;
        let ask = |store: StoreClient, context| {
            let request = request.clone();
            async move { store.cluster(context, request).await }
        };
        match self.inner.change(timeout, ask).await? {
            ClusterReply::Done { node_id } => Ok(node_id),
            other => Err(unexpected(&other)),
        }
    }

    /// Names a member that is to leave by its id: the cluster forgets the name when it has left,
    /// and the request may have to be sent again.
    async fn by_id(&self, mut request: ClusterRequest) -> ClusterRequest {
        if let ClusterRequest::Remove { node, .. } | ClusterRequest::Replace { old: node, .. } =
            &mut request
            && let Ok(members) = self.members().await
            && let Some(member) = members.iter().find(|member| member.name == *node)
            && node.parse::<NodeId>().is_err()
        {
            *node = member.id.to_string();
        }
        request
    }

    /// The endpoint that requests go to now.
    pub fn endpoint(&self) -> &str {
        self.inner.pool.address(self.inner.pool.preferred())
    }

    /// Opens every connection to the endpoint that requests go to now, so that the first requests
    /// need not.
    pub async fn connect_all(&self) -> Result<(), Error> {
        let connected = self.inner.pool.connect_all(self.inner.pool.preferred()).await;
        connected.map_err(|reason| Failure::Unavailable { reason }.into())
    }

    /// Connects to the first endpoint that can be reached within the client's timeout.
    pub(super) async fn reach_any(&self) -> Result<(), Error> {
        let pool = &self.inner.pool;
        let mut reasons = Vec::new();
        let deadline = Instant::now() + self.inner.timeout;
        for endpoint in 0..pool.len() {
            let connected = timeout_at(deadline, pool.connection(endpoint)).await;
            let out_of_time = |_| Err(format!("{}: no time left", pool.address(endpoint)));
            match connected.unwrap_or_else(out_of_time) {
                Ok(_) => {
                    pool.prefer(endpoint);
                    return Ok(());
                }
                Err(reason) => reasons.push(reason),
            }
        }
        Err(Failure::Unavailable { reason: reasons.join("; ") }.into())
    }
}

impl Inner {
    pub(super) async fn status_of(&self, endpoint: usize) -> Result<NodeStatus, Error> {
        let ask = |store: StoreClient, context| async move { store.status(context).await };
        self.ask(endpoint, self.timeout, ask).await
    }
}

fn unexpected(reply: &ClusterReply) -> Error {
    Error::Unknown { reason: format!("the node answered {reply:?}, which is not what was asked") }
}
