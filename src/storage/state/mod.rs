//! The state on the disk: a memory table in front of LMDB.
//!
//! ```text
//! apply ──> memory table ──(flusher, every 50 ms or 8 MiB)──> LMDB, one synced transaction
//!   │           │                                               │
//!   └ answers   └──────────────── View, at one revision ────────┘
//! ```
//!
//! Applying an entry changes memory only, and its client is answered at once: the entry is in the
//! log of a quorum, so the state need not be on the disk. The flusher writes what has gathered in
//! one transaction together with the position in the log it belongs to; a restart begins at that
//! position and applies the rest again. Therefore the log is never purged above `durable`.
//!
//! In reading order: `layout` (what lies in the tables), `memtable` and `sessions` (what is in
//! memory), `checked`, `tables` and `chain` (reading the disk), `view` and `scan` (reading both as one),
//! `apply`, `write` and `flusher` (a change's way to the disk), `compaction`, `epoch` (whole
//! states, switched by a rename), `fill`, `install`, `backlog` and `settle` (a snapshot becomes the
//! state), `export` (and back), `store` (the handle).
//!
//! Invariants:
//! - a view sees every change up to its revision and none after it (`view` says why);
//! - what LMDB holds, with the file of a backlog, is the state at `meta.applied` exactly, never half a
//!   command;
//! - entries are applied in the order of their index without gaps.
//!
//! Failure: the disk is never tried again; see [`storage`](crate::storage).

mod apply;
mod backlog;
mod chain;
mod change_hash;
mod checked;
mod compaction;
mod control;
#[cfg(test)]
mod damage_tests;
mod deletes;
mod epoch;
mod export;
mod fill;
mod flusher;
mod head;
mod install;
pub(crate) mod layout;
mod memtable;
mod options;
mod raft;
mod restore;
mod scan;
mod scrub;
mod session_delta;
mod sessions;
mod settle;
mod shared;
mod signatures;
mod space;
mod stats;
mod store;
mod tables;
pub(crate) mod verify;
mod view;
mod write;

pub use deletes::StagedDeletes;
pub use head::Applied;
pub use options::StateOptions;
pub use raft::SnapshotBuilder;
pub use restore::{Founding, StateSummary};
pub(super) use restore::{current_database, rebuild, restore, summary_of};
pub use stats::StateStats;
pub use store::StateStore;
pub use view::View;
