//! The supervised actors of a node, and the handles through which the rest of the program sees
//! them.
//!
//! ```text
//! NodeSupervisor            restarts what may restart, stops the node for what may not
//! ├── RaftActor             owns consensus: log retention, leadership, its health
//! ├── SnapshotActor         receives snapshots and has them installed; its handle gives them
//! ├── AuthActor             follows users, roles and keys, and publishes them as one view
//! └── MembershipActor       publishes this node's addresses (later: joins)
//! ```
//!
//! # What must stay true
//! - An actor owns its state and its sequence. What many requests need at once (the consensus
//!   handle, the authorisation snapshot) is published as an immutable value and read without a
//!   mailbox.
//! - Nothing awaits the network, the disk or another actor inside `handle`: the work is started,
//!   and its outcome comes back as a message.
//! - ractor's mailboxes are unbounded; a [`Mailbox`] in front of each is not.
//! - No global registry and no process groups: several nodes live in one process.

mod auth;
mod exit;
mod mailbox;
mod membership;
pub mod raft;
mod restart;
mod snapshot;
mod supervisor;
mod trust;

pub use auth::{AuthHandle, AuthView, ClientKeys, Denial, Keyring, KeysInForce, PeerKeys};
pub use exit::ExitReason;
pub use mailbox::{Mailbox, MailboxError};
pub use membership::{MembershipHandle, SEEDING_STAGES};
pub use raft::RaftHandle;
pub use snapshot::{Pace, PreseedError, PreseedProgress, PreseedTarget, SnapshotHandle};
pub use supervisor::{
    Child, NodeHandles, NodeSupervisor, RunningActors, SupervisorArgs, SupervisorMessage,
};
pub use trust::{Duty, Reasons, Trust};
