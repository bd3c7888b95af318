//! The floor-four door: verify, authorise, admit, call a handle, map the error.
//!
//! ```text
//!   Listener    accepts, shakes hands as its Door says, keeps the number of connections down
//!   connection  one task each: frames in, admission, handlers, frames out
//!   services    StoreService for clients, PeerService for nodes: they call the handles
//!   sessions    StoreSession: what one caller asks, authorised and audited, also over HTTP
//!   direct      the same without a connection, for the HTTP gateway
//! ```
//!
//! Nothing here queues without a bound, and nothing a client does is felt by another beyond its
//! share of the budgets in [`limits`].

mod admission;
mod audited;
mod connection;
mod direct;
mod doors;
pub mod limits;
mod listener;
mod peer_messages;
mod peer_service;
mod service;
mod sizes;
mod store_access;
mod store_messages;
mod store_read;
mod store_service;
mod store_session;
#[cfg(test)]
mod tests;

pub use admission::{Admission, Cost};
pub use direct::{DirectCaller, DirectStore};
pub use doors::{PeerDoor, StoreDoor};
pub use listener::{ListenError, Listener, ListenerHandle, ListenerLimits};
pub use peer_messages::PeerMethod;
pub use peer_service::PeerService;
pub use service::{CallerRefused, Door, NoRequestObserver, RequestObserver, Service};
pub use store_messages::StoreMethod;
pub use store_service::StoreService;
pub use store_session::{StoreBackend, StoreSession};
