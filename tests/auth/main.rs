//! Signatures: published vectors, an independent implementation, and every way a request can be
//! wrong.
#![allow(clippy::unwrap_used, reason = "tests")]

mod accepted;
mod determinism;
mod differential;
mod hmac;
mod refused;
mod support;
mod vectors;
