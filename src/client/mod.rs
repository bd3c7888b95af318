//! The typed client.
//!
//! A [`Client`] is a handle on a few connections. Clone it freely: thousands of tasks may use
//! clones of one client at the same time, and doing so is faster than one client each. Every
//! request is a builder that is sent by awaiting it.
//!
//! ```no_run
//! use chainfire::client::{Client, Condition, Error, Step, Txn};
//!
//! # async fn example() -> Result<(), Error> {
//! let client = Client::builder()
//!     .endpoints(["10.0.0.1:4601", "10.0.0.2:4601", "10.0.0.3:4601"])
//!     .connect()
//!     .await?;
//!
//! client.put("config/color", "blue").await?;
//! let pair = client.get("config/color").await?.expect("it was just put");
//! assert_eq!(pair.value, "blue");
//!
//! // Change it only if nobody else did since.
//! let txn = Txn::new()
//!     .when([Condition::mod_revision("config/color").equals(pair.mod_revision)])
//!     .then([Step::put("config/color", "green")])
//!     .or_else([Step::get("config/color")]);
//! let answer = client.txn(txn).await?;
//! println!("changed: {}", answer.succeeded);
//!
//! // A long range, page by page, at one moment of the store.
//! let mut pages = client.prefix("config/").pages();
//! while let Some(page) = pages.next().await? {
//!     for pair in page.kvs {
//!         println!("{:?} = {:?}", pair.key, pair.value);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What a caller can rely on
//!
//! - A write that is retried (by the client, within the request's timeout) is applied once.
//! - [`Error::Failed`]: the request was not applied. [`Error::Unknown`]: nobody knows; only
//!   writes end so, and only when an attempt was sent whose answer never came.
//! - Reads are linearizable unless asked to be serializable.
//! - Every request ends within its timeout, also when a node accepts and never answers.
//! - Dropping a request that was not answered is like [`Error::Unknown`].

mod access;
mod builder;
mod call;
mod cluster;
mod connection;
mod error;
mod follow;
mod pool;
mod read;
mod retry;
mod session;
mod snapshot;
mod txn;
mod write;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::AbortHandle;

pub use builder::ClientBuilder;
pub use error::{Error, Failure};
pub use read::{Get, Pages, Range};
pub use txn::{Condition, SendTxn, Step, Txn};
pub use write::{Compact, Delete, Put};

#[cfg(feature = "tls")]
pub use crate::rpc::transport::tls::{IdentityFiles, TlsClient, TlsClientFiles, TlsFileError};

use crate::rpc::transport::ConnectOptions;
use crate::types::KeyRange;
use pool::Pool;
use session::Sessions;

/// The endpoint used when none is given.
pub const DEFAULT_ENDPOINT: &str = "127.0.0.1:4601";

/// A handle on a cluster. Cheap to clone; the connections close with the last clone.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

/// What the clones of a client share.
#[derive(Debug)]
struct Inner {
    pool: Pool,
    sessions: Sessions,
    timeout: Duration,
    attempt_timeout: Duration,
    follow_leader: bool,
    follower: OnceLock<AbortHandle>,
}

impl Client {
    /// Sets up a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    fn new(endpoints: Vec<String>, options: &ClientBuilder) -> Self {
        let pool = Pool::new(
            endpoints,
            options.connections,
            ConnectOptions {
                cluster_id: None,
                credentials: options.credentials.clone(),
                tls: options.tls.clone(),
                timeout: options.connect_timeout,
            },
        );
        let inner = Inner {
            pool,
            sessions: Sessions::new(),
            timeout: options.timeout,
            attempt_timeout: options.attempt_timeout,
            follow_leader: options.follow_leader,
            follower: OnceLock::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Stores one pair.
    pub fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Put {
        Put::new(self, key.into(), value.into())
    }

    /// Reads one key.
    pub fn get(&self, key: impl Into<Bytes>) -> Get {
        Get::new(self, key.into())
    }

    /// Reads a range of keys.
    pub fn range(&self, range: KeyRange) -> Range {
        Range::new(self, range)
    }

    /// Reads every key that starts with `prefix`.
    pub fn prefix(&self, prefix: impl Into<Bytes>) -> Range {
        Range::new(self, KeyRange::prefix(prefix))
    }

    /// Deletes one key.
    pub fn delete(&self, key: impl Into<Bytes>) -> Delete {
        Delete::new(self, KeyRange::single(key))
    }

    /// Deletes a range of keys, in one revision.
    pub fn delete_range(&self, range: KeyRange) -> Delete {
        Delete::new(self, range)
    }

    /// Compares, then does one thing or the other, in one revision.
    pub fn txn(&self, txn: Txn) -> SendTxn {
        SendTxn::new(self, txn.into())
    }

    /// Forgets the history before `revision`, which itself stays readable.
    pub fn compact(&self, revision: u64) -> Compact {
        Compact::new(self, revision)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(follower) = self.follower.get() {
            follower.abort();
        }
    }
}
