//! Metrics and probes over HTTP, on a listener of their own.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | everything [`telemetry`](crate::telemetry) counts, in Prometheus' text format |
//! | `/livez` | 200 while the process can answer at all |
//! | `/readyz` | 200 when a linearizable read went through lately, else 503 and why |
//! | `/version` | the release, as JSON |
//!
//! Whoever asks here must not be able to disturb the node: one request a connection, a cap on
//! connections (one more is closed at once), a time limit from the first byte to the last, small
//! headers, no bodies. A shutdown makes `/readyz` fail, stops accepting, and lets requests in
//! flight finish.

mod readiness;
mod routes;
mod secure;
mod server;

pub use readiness::Readiness;
pub use server::HttpServer;
