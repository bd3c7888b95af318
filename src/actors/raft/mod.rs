//! Consensus: the actor that owns it, and the handle through which it is used.
//!
//! Reading order: [`handle`](RaftHandle) (what the rest of the node sees), `propose` and
//! `read_index` (the two paths of a client's request), `protocol` (what peers call), `network`
//! (what openraft calls on peers) with `pipeline` (appends over a distance), `pulse` (the leader's
//! heartbeats), `followers` (what a leader knows of them), `failover` (standing when the leader is
//! silent or gone), `install` and `seeding` (receiving and giving snapshots), `actor` (who keeps it
//! healthy), and the pure decisions `retention`, `clock` and `config`.

mod actor;
mod clock;
mod compare;
mod config;
mod continuity;
mod deletes;
mod distance;
mod failover;
mod followers;
mod formats;
mod handle;
mod install;
mod membership;
mod network;
mod pipeline;
mod propose;
mod protocol;
mod pulse;
mod read_index;
mod retention;
mod seeding;
mod silence;
mod space;
mod start;

pub(super) use actor::{RaftActor, RaftArgs, RaftMessage};
pub use handle::{NodeDescription, RaftHandle};
pub(super) use membership::{ChangeError, MembershipChange, MembershipView};
pub use start::{ConsensusError, ConsensusParts, start};
