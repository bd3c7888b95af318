//! Services, wire types and connections.

pub mod api;
#[cfg(feature = "server")]
pub mod peer;
#[cfg(feature = "server")]
pub mod server;
pub mod transport;
