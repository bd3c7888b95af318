//! The store over HTTP, for whoever has a SigV4 signer and no client of ours.
//!
//! ```text
//!   hyper -> door (verify the head, read the body, hold it against the signature) -> Request
//!         -> routes (what is asked, from what was verified) -> etcd | keys -> GatewayStore
//! ```
//!
//! Two ways to say the same: etcd's JSON (`POST /v1/kv/...`), and one key as a path
//! (`/v1/keys/{key}`) with its value as the body and its modification revision as the entity tag.
//!
//! # What must stay true
//! - There is one door. Handlers get a `Request`, which only it makes, and read
//!   the method, the target and the body from what the verifier returned. Nothing is decoded twice.
//! - A header that decides what is written (`If-Match`) counts only when it was signed.
//! - A mutation is applied once: its signature is its request id in the replicated state. The same
//!   request again, at any node, is answered as it was the first time, and told so by
//!   `x-chainfire-replayed`.
//! - What requests and answers take of the memory is bounded, by bytes, by time and by connections.
//!
//! # On failure
//! Every refusal is a `Problem`: a status, a code that programs match on, and a message.

mod body;
mod clause;
mod door;
mod etcd;
mod keys;
mod memory;
mod problem;
mod reply;
mod request;
mod routes;
mod store;
mod under_way;

#[cfg(fuzzing)]
pub use etcd::fuzzing;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;

use door::Door;
use memory::Memory;
use problem::Problem;
use request::{Origin, Request};
use routes::Call;
use under_way::UnderWay;

pub use routes::ROUTES;
pub use store::{Caller, ClusterFigures, GatewayStore, RefusedRequest, StoreFuture};

use crate::actors::Keyring;
use crate::config::HttpConfig;
use crate::types::{Answer, Operation};

/// The OpenAPI description of the routes.
pub const OPENAPI: &str = include_str!("openapi.json");

/// Answered with every request, and written beside what is logged of it.
const REQUEST_ID: &str = "x-chainfire-request-id";

/// With the value `true`: what is answered is the answer to the same request, which came before.
const REPLAYED: &str = "x-chainfire-replayed";

/// What a gateway is made of.
pub struct GatewayParts {
    /// What stands behind it.
    pub store: Arc<dyn GatewayStore>,
    /// What requests are verified with; none = nothing is, on a loopback listener.
    pub keyring: Option<Arc<Keyring>>,
    /// What the `host` header may be.
    pub authorities: Vec<String>,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn GatewayStore>,
    door: Door,
    memory: Memory,
    timeout: Duration,
    under_way: UnderWay,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remote(pub(super) SocketAddr);

impl Gateway {
    /// Of these parts, within the limits of `config`.
    pub fn new(parts: GatewayParts, config: &HttpConfig) -> Self {
        let timeout = Duration::from_millis(config.request_timeout_ms);
        let shared = Shared {
            store: parts.store,
            door: Door::new(parts.keyring, parts.authorities),
            memory: Memory::new(usize::try_from(config.bytes_max).unwrap_or(usize::MAX)),
            timeout,
            under_way: UnderWay::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Takes no more requests, and waits for those that are under way.
    pub(super) async fn stop(&self, within: Duration) {
        if !self.shared.under_way.end(within).await {
            tracing::warn!("requests over HTTP were under way for too long");
        }
    }
}

/// Answers a request that is none of the probes'.
pub(super) async fn serve(
    gateway: Gateway,
    Remote(remote): Remote,
    request: axum::extract::Request,
) -> Response {
    let origin = Origin { remote, request_id: rand::random() };
    let id = format!("{:032x}", origin.request_id);
    let mut response = match gateway.shared.answer(request, origin).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(&id),
    };
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

impl Shared {
    async fn answer(
        &self,
        request: axum::extract::Request,
        origin: Origin,
    ) -> Result<Response, Problem> {
        let _one = self.under_way.begin().ok_or_else(Problem::stopping)?;
        let (head, mut body) = request.into_parts();
        if !self.door.can_tell() {
            body::discard(body).await;
            return Err(Problem::not_ready());
        }
        let opened = self.door.open(&head, &mut body, origin, &self.memory, self.timeout).await;
        let request = match opened {
            Ok(request) => request,
            Err(problem) => {
                self.store.request_refused(&RefusedRequest {
                    remote: origin.remote,
                    request_id: origin.request_id,
                    claimed_key_id: door::claimed_key_id(&head),
                    method: head.method.as_str(),
                    path: head.uri.path(),
                    code: problem.code(),
                });
                body::discard(body).await;
                return Err(problem);
            }
        };
        let answered = self.dispatch(&request).await;
        if !request.is_replayed() {
            return answered;
        }
        let name = HeaderName::from_static(REPLAYED);
        match answered {
            Ok(mut response) => {
                response.headers_mut().insert(name, HeaderValue::from_static("true"));
                Ok(response)
            }
            Err(problem) => Err(problem.with(name, "true")),
        }
    }

    async fn dispatch(&self, request: &Request) -> Result<Response, Problem> {
        let (call, key) = routes::find(request.method(), request.target())?;
        let response = match call {
            Call::Range => etcd::range(self, request).await,
            Call::Put => etcd::put(self, request).await,
            Call::DeleteRange => etcd::delete_range(self, request).await,
            Call::Txn => etcd::txn(self, request).await,
            Call::Compaction => etcd::compaction(self, request).await,
            Call::MemberList => etcd::member_list(self, request).await,
            Call::Status => etcd::status(self, request).await,
            Call::ListKeys => keys::list(self, request, key).await,
            Call::GetKey => keys::get(self, request, key).await,
            Call::PutKey => keys::put(self, request, key).await,
            Call::DeleteKey => keys::delete(self, request, key).await,
        }?;
        Ok(self.held(response))
    }

    /// Counts an answer against the memory until the socket has taken it.
    fn held(&self, reply: reply::Reply) -> Response {
        let bytes = self.memory.hold(reply.body);
        let mut response = Response::new(Body::from(bytes));
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        response
    }

    /// Has a write applied once.
    async fn write(&self, request: &Request, operation: Operation) -> Result<Answer, Problem> {
        let written = self.store.write(request.caller(), operation, self.timeout).await?;
        if written.replayed {
            request.note_replayed();
        }
        Ok(written.outcome?)
    }
}
