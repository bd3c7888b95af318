//! Metrics of one node.
//!
//! Several nodes may live in one process, so there is no global recorder: each node makes a
//! [`NodeMetrics`] of its own, which owns a recorder, and hands it to whoever has something to
//! count. The `metrics` macros used without it go nowhere.
//!
//! Invariants: every name is in [`catalogue`] with a description, and ends in its unit or in
//! `_total`; labels take few values (a method, a result, a peer's id), never a key or a client's
//! id. Nothing here can fail a request: counting is an atomic addition.
//!
//! Logs are made with `tracing` wherever something is handled; whoever runs the process chooses
//! where they go (`cli`'s `logging` for the binary, the embedder otherwise).

pub mod audit;
pub mod catalogue;
mod family;
mod node_metrics;
#[cfg(test)]
mod tests;
mod tls;

pub use audit::{AuditCaller, AuditLog, AuditRecord, Decision};
pub use node_metrics::{
    DamageKind, DatabaseFigures, JoinFigures, NodeMetrics, PeerProgress, RaftFigures, SnapshotKind,
    UPKEEP_INTERVAL, UpkeepTask,
};
