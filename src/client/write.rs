//! Writes that are no transactions.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::builder::ClientBuilder;
use super::call::Progress;
use super::error::Error;
use super::{Client, Inner};
use crate::types::{
    Answer, CompactAnswer, CompactRequest, DeleteRangeAnswer, DeleteRangeRequest, KeyRange,
    Operation, PutAnswer, PutRequest,
};

/// What a request awaits to.
pub(super) type Sending<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// Stores one pair; made by [`Client::put`]. Await it to send it.
#[derive(Clone, Debug)]
#[must_use = "a request is sent by awaiting it"]
pub struct Put {
    client: Client,
    request: PutRequest,
    timeout: Option<Duration>,
}

/// Deletes keys; made by [`Client::delete`]. Await it to send it.
#[derive(Clone)]
#[must_use = "a request is sent by awaiting it"]
pub struct Delete {
    client: Client,
    request: DeleteRangeRequest,
    timeout: Option<Duration>,
    progress: Option<Arc<Progress>>,
}

impl fmt::Debug for Delete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delete").field("request", &self.request).finish_non_exhaustive()
    }
}

/// Forgets history; made by [`Client::compact`]. Await it to send it.
#[derive(Clone, Debug)]
#[must_use = "a request is sent by awaiting it"]
pub struct Compact {
    client: Client,
    request: CompactRequest,
    timeout: Option<Duration>,
}

impl Put {
    pub(super) fn new(client: &Client, key: Bytes, value: Bytes) -> Self {
        let request = PutRequest { key, value, ..PutRequest::default() };
        Self { client: client.clone(), request, timeout: None }
    }

    /// Attaches the key to a lease, which must exist. Default 0 = none; an old one is detached.
    pub fn lease(mut self, lease: i64) -> Self {
        self.request.lease = lease;
        self
    }

    /// Answers the previous pair.
    pub fn prev_kv(mut self) -> Self {
        self.request.prev_kv = true;
        self
    }

    /// Keeps the value the key has, which must exist; the value given must be empty.
    pub fn ignore_value(mut self) -> Self {
        self.request.ignore_value = true;
        self
    }

    /// Keeps the lease the key has, which must exist.
    pub fn ignore_lease(mut self) -> Self {
        self.request.ignore_lease = true;
        self
    }

    /// How long this request may take, retries included.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl Delete {
    pub(super) fn new(client: &Client, range: KeyRange) -> Self {
        let request = DeleteRangeRequest { range, prev_kv: false };
        Self { client: client.clone(), request, timeout: None, progress: None }
    }

    /// Waits for as long as a delete of many keys is written out, and tells `progress` every now and
    /// then how many keys that is so far. All of them are gone, for every reader, before it is told
    /// for the first time; each time the timeout begins anew. Without this such a delete ends with
    /// [`Error::Unknown`] at the timeout, for the number of keys is not known.
    pub fn progress(mut self, progress: impl Fn(u64) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    /// Answers the deleted pairs.
    pub fn prev_kv(mut self) -> Self {
        self.request.prev_kv = true;
        self
    }

    /// How long this request may take, retries included.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl Compact {
    pub(super) fn new(client: &Client, revision: u64) -> Self {
        Self { client: client.clone(), request: CompactRequest { revision }, timeout: None }
    }

    /// How long this request may take, retries included.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl IntoFuture for Put {
    type Output = Result<PutAnswer, Error>;
    type IntoFuture = Sending<PutAnswer>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { client, request, timeout } = self;
        Box::pin(async move {
            match client.inner.send(Operation::Put(request), timeout).await? {
                Answer::Put(answer) => Ok(answer),
                other => Err(unexpected(&other)),
            }
        })
    }
}

impl IntoFuture for Delete {
    type Output = Result<DeleteRangeAnswer, Error>;
    type IntoFuture = Sending<DeleteRangeAnswer>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { client, request, timeout, progress } = self;
        Box::pin(async move {
            let timeout = ClientBuilder::request_timeout(client.inner.timeout, timeout);
            match client.inner.delete(request, timeout, progress.as_deref()).await? {
                Answer::DeleteRange(answer) => Ok(answer),
                other => Err(unexpected(&other)),
            }
        })
    }
}

impl IntoFuture for Compact {
    type Output = Result<CompactAnswer, Error>;
    type IntoFuture = Sending<CompactAnswer>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { client, request, timeout } = self;
        Box::pin(async move {
            match client.inner.send(Operation::Compact(request), timeout).await? {
                Answer::Compact(answer) => Ok(answer),
                other => Err(unexpected(&other)),
            }
        })
    }
}

impl Inner {
    /// Sends a write within its own or the client's timeout.
    pub(super) async fn send(
        &self,
        operation: Operation,
        timeout: Option<Duration>,
    ) -> Result<Answer, Error> {
        self.write(operation, ClientBuilder::request_timeout(self.timeout, timeout)).await
    }
}

/// Something was applied under this request id; it was not what was sent.
pub(super) fn unexpected(answer: &Answer) -> Error {
    let kind = match answer {
        Answer::Put(_) => "a put",
        Answer::DeleteRange(_) => "a delete",
        Answer::Txn(_) => "a transaction",
        Answer::Compact(_) => "a compaction",
        Answer::RegisterMember => "a registration",
        Answer::Access(_) => "a change of users",
        Answer::Cluster(_) => "a step of a join",
        Answer::Again(_) => "an answer it gave before",
        Answer::DeleteStaged { .. } | Answer::DeleteContinued { .. } => "a step of a delete",
    };
    Error::Unknown { reason: format!("the node answered {kind}, which is not what was asked") }
}
