//! The log by its public face.

#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, reason = "a test program")]

mod contract;
mod damage;
mod model;
mod suite;
mod support;
