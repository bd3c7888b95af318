//! Users, roles and keys.

use std::time::Duration;

use super::builder::ClientBuilder;
use super::error::Error;
use super::{Client, Inner};
use crate::rpc::api::StoreClient;
use crate::types::access::{AccessPage, Listing};
use crate::types::{
    AccessAnswer, AccessOperation, AccessReply, AccessRequest, CreatedKey, KeyRecord, Role, User,
    WhoAmI,
};

impl Client {
    /// Changes users, roles or keys; keys are made by [`create_key`](Self::create_key).
    pub async fn change_access(&self, operation: AccessOperation) -> Result<AccessAnswer, Error> {
        let send = |store: StoreClient, context, request_id| {
            let operation = operation.clone();
            let request = AccessRequest::Change { request_id, operation };
            async move { store.access(context, request).await }
        };
        match self.inner.apply_once(self.access_timeout(), None, send).await? {
            AccessReply::Changed(answer) => Ok(answer),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes a key for a user. Its secret is in this answer and nowhere else: when the answer is
    /// lost, remove the key and make another.
    pub async fn create_key(&self, user: &str) -> Result<CreatedKey, Error> {
        let send = |store: StoreClient, context, request_id| {
            let request = AccessRequest::CreateKey { request_id, user: user.to_owned() };
            async move { store.access(context, request).await }
        };
        match self.inner.apply_once(self.access_timeout(), None, send).await? {
            AccessReply::KeyCreated(key) => Ok(key),
            other => Err(unexpected(&other)),
        }
    }

    /// The users by name, or the one named.
    pub async fn users(&self, name: Option<&str>) -> Result<Vec<User>, Error> {
        let last = |user: &User| user.name.clone();
        self.list(name, AccessRequest::Users, last, |reply| match reply {
            AccessReply::Users(page) => Ok(page),
            other => Err(unexpected(&other)),
        })
        .await
    }

    /// The roles by name, or the one named. The role root, which grants everything, is not among
    /// them.
    pub async fn roles(&self, name: Option<&str>) -> Result<Vec<Role>, Error> {
        let last = |role: &Role| role.name.clone();
        self.list(name, AccessRequest::Roles, last, |reply| match reply {
            AccessReply::Roles(page) => Ok(page),
            other => Err(unexpected(&other)),
        })
        .await
    }

    /// The keys by id, or those of one user.
    pub async fn keys(&self, user: Option<&str>) -> Result<Vec<KeyRecord>, Error> {
        let last = |key: &KeyRecord| key.id.clone();
        self.list(user, AccessRequest::Keys, last, |reply| match reply {
            AccessReply::Keys(page) => Ok(page),
            other => Err(unexpected(&other)),
        })
        .await
    }

    /// Who this client signs as.
    pub async fn who_am_i(&self) -> Result<WhoAmI, Error> {
        match self.inner.ask_access(self.access_timeout(), AccessRequest::WhoAmI).await? {
            AccessReply::WhoAmI(who) => Ok(who),
            other => Err(unexpected(&other)),
        }
    }

    /// Reads a listing page by page.
    async fn list<T>(
        &self,
        of: Option<&str>,
        request: fn(Listing) -> AccessRequest,
        name: fn(&T) -> String,
        page: fn(AccessReply) -> Result<AccessPage<T>, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut listing = Listing { of: of.map(str::to_owned), after: String::new() };
        let mut all = Vec::new();
        loop {
            let ask = self.inner.ask_access(self.access_timeout(), request(listing.clone()));
            let AccessPage { records, more, .. } = page(ask.await?)?;
            let last = records.last().map(name);
            all.extend(records);
            match last.filter(|_| more) {
                Some(last) => listing.after = last,
                None => return Ok(all),
            }
        }
    }

    fn access_timeout(&self) -> Duration {
        ClientBuilder::request_timeout(self.inner.timeout, None)
    }
}

impl Inner {
    async fn ask_access(
        &self,
        timeout: Duration,
        request: AccessRequest,
    ) -> Result<AccessReply, Error> {
        let ask = |store: StoreClient, context| {
            let request = request.clone();
            async move { store.access(context, request).await }
        };
        self.read(timeout, ask).await
    }
}

fn unexpected(reply: &AccessReply) -> Error {
    Error::Unknown { reason: format!("the node answered {reply:?}, which is not what was asked") }
}
