//! The HTTP gateway of a real node, asked over sockets with raw requests.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod audit;
mod conditions;
mod etcd;
mod keys;
mod limits;
mod open;
mod openapi;
mod refused;
mod replay;
mod streaming;
mod support;
mod users;
