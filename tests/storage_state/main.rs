//! The state's storage through its public face.

#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, reason = "a test program")]

mod access;
mod applying;
mod backlog;
#[allow(dead_code, reason = "the machine's own tests use the rest")]
#[path = "../machine_properties/clients.rs"]
mod clients;
mod compaction;
mod damage;
#[allow(dead_code, reason = "the machine's own tests use the rest")]
#[path = "../machine_properties/generator.rs"]
mod generator;
mod hashes;
mod histories;
#[path = "../support/mod.rs"]
mod shared_support;
mod snapshots;
mod suite;
mod support;
mod views;
