//! The store, metrics and probes over HTTP, on a listener of their own.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | everything [`telemetry`](crate::telemetry) counts, in Prometheus' text format |
//! | `/livez` | 200 while the process can answer at all |
//! | `/readyz` | 200 when a linearizable read went through lately, else 503 and why |
//! | `/version` | the release, as JSON |
//! | `/openapi.json` | what there is, in OpenAPI's terms |
//! | `/v1/...` | the store: see [`gateway`] |
//!
//! Whoever asks here must not be able to disturb the node: a cap on connections (one more is closed
//! at once), and a limit on each thing that one may take: the time that a head, a body, the work and
//! the answer's way out take, the size of heads and bodies, the bytes in memory. A shutdown makes
//! `/readyz` fail, stops accepting, and lets requests in flight finish.

pub mod gateway;
mod readiness;
mod routes;
mod secure;
mod server;
#[cfg(test)]
mod server_tests;
mod timed;

pub use readiness::Readiness;
pub use routes::all as routes;
pub use server::HttpServer;
