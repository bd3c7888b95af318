//! What a connection must know of the service it carries.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tarpc::ServerError;
use tarpc::context::Context;

use super::admission::Cost;
use crate::rpc::transport::{
    FrameLimits, Guard, Hello, Identity, Refusal, ServiceRequest, SessionUser,
};
use crate::types::RequestError;

/// A service of tarpc's, with what it takes to bound it.
pub trait Service: Clone + Send + Sync + 'static {
    /// Its requests.
    type Request: ServiceRequest + Send + 'static;
    /// Its answers.
    type Answer: Serialize + DeserializeOwned + Send + 'static;
    /// Its methods, without their arguments.
    type Method: Copy + Send + Sync + 'static;

    /// Which method a request calls.
    fn method(request: &Self::Request) -> Self::Method;
    /// A method's name in metrics.
    fn name(method: Self::Method) -> &'static str;
    /// What a request takes of the budgets.
    fn cost(request: &Self::Request) -> Cost;
    /// About how many bytes an answer has.
    fn answer_bytes(answer: &Self::Answer) -> usize;
    /// How an answer counts in metrics: `ok` or the kind of error.
    fn outcome(answer: &Self::Answer) -> &'static str;
    /// What became of a call whose handler did not end by its deadline.
    fn overdue(method: Self::Method) -> RequestError;
    /// The method's answer that carries `error`.
    fn refusal(method: Self::Method, error: RequestError) -> Result<Self::Answer, ServerError>;
    /// Returns when its connection must be closed: its key is no longer accepted.
    fn revoked(&self) -> impl Future<Output = ()> + Send + 'static {
        std::future::pending()
    }
    /// Answers a request. May be dropped at any await.
    fn answer(
        self,
        context: Context,
        request: Self::Request,
    ) -> impl Future<Output = Result<Self::Answer, ServerError>> + Send;
}

/// Who lets whom in: what the listeners for clients and for peers differ in.
pub trait Door: Send + Sync + 'static {
    /// What is behind it.
    type Service: Service;

    /// The listener's name in metrics and logs.
    fn name(&self) -> &'static str;
    /// Who this node is.
    fn identity(&self) -> Identity;

    /// The replicated time that the node has applied, in milliseconds, for callers who begin
    /// sessions.
    fn time_ms(&self) -> u64 {
        0
    }
    /// What signatures are checked with; none = nothing is.
    fn guard(&self) -> Option<&Guard>;
    /// Whether to let somebody in, by what it says of itself. Nothing is proven yet.
    fn judge(&self, hello: &Hello) -> Result<(), Refusal>;
    /// The same once it has proven who it is.
    fn admit(&self, hello: &Hello) -> Result<(), Refusal> {
        let _ = hello;
        Ok(())
    }
    /// The service of a connection that was let in, and how long its frames may be.
    fn open(
        &self,
        hello: &Hello,
        user: Option<SessionUser>,
        remote: SocketAddr,
    ) -> (Self::Service, FrameLimits);
}

/// Is told of requests and connections. Called in the path of a request: must not block.
pub trait RequestObserver: Send + Sync + 'static {
    /// A request was answered. `result` is `ok` or the kind of error.
    fn request_answered(&self, method: &'static str, result: &'static str, took: Duration) {
        let _ = (method, result, took);
    }

    /// A connection was closed before it could ask anything.
    fn connection_refused(&self, listener: &'static str, reason: &'static str) {
        let _ = (listener, reason);
    }

    /// Somebody was refused before it could ask anything, or sent a frame that it did not sign.
    /// The key is the one it named.
    fn caller_refused(&self, refused: &CallerRefused<'_>) {
        let _ = refused;
    }
}

/// Somebody who was refused for what it is.
#[derive(Clone, Copy, Debug)]
pub struct CallerRefused<'a> {
    /// The listener's name.
    pub listener: &'static str,
    /// Why, in a word.
    pub reason: &'static str,
    /// The key it named; none when it named none.
    pub access_key_id: Option<&'a str>,
    /// Where it comes from.
    pub remote: SocketAddr,
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRequestObserver;

impl RequestObserver for NoRequestObserver {}
