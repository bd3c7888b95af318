//! Chainfire: a strongly consistent, replicated key-value store for small control planes.
//!
//! ```text
//! floor 6   cli, main          arguments in, exit code out
//! floor 5   node               assembles one node; ordered shutdown; what embedders call
//! floor 4   rpc::server, http  verify, authorise, admit, call a handle, map the error
//! floor 3   actors             node supervisor, raft, snapshot, auth, membership
//! floor 2   storage, rpc       LMDB layouts and snapshot files; service traits, connections
//! floor 1   machine, auth, consensus, config, telemetry
//! floor 0   types, clock, failpoint
//!                              plain data; the only door to the machine's clocks; mended faults that
//!                              a build for tests brings back
//! side      client             sees only types, clock, auth and the rpc api and transport
//! ```
//!
//! Imports only go down; `tests/floors.rs` checks it.

pub mod auth;
pub mod client;
pub mod clock;
pub mod rpc;
pub mod types;

pub use client::Client;

#[cfg(feature = "server")]
pub mod actors;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod consensus;
#[cfg(feature = "server")]
mod failpoint;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod machine;
#[cfg(feature = "server")]
pub mod node;
#[cfg(feature = "server")]
pub mod storage;
#[cfg(feature = "server")]
pub mod telemetry;

#[cfg(feature = "cli")]
pub mod cli;

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
