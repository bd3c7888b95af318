//! The disk: the log, the state, snapshot files, and the directory they live in.
//!
//! ```text
//! <data directory>/
//!   LOCK          held while a process uses the directory      data_dir
//!   FORMAT        the version of everything below              data_dir
//!   IDENTITY      which node of which cluster this is          identity
//!   CLAIM         what each start claimed of the identity      claim
//!   JOINING       until the node is a member that joins        joining
//!   STOPPED       how the state was at the last orderly stop   stopped
//!   DISTRUSTED    while the state is not to be trusted         repair
//!   PEERS         where the other members were last reached    repair
//!   log/          LMDB: log entries, vote, what is purged      log
//!   state/        LMDB, one environment an epoch; CURRENT      state
//!   snapshots/    finished snapshot files                      snapshot
//!   incoming/     snapshot files still arriving                snapshot
//!   FAULT         a byte for each death by a fault             fault_mark
//! ```
//!
//! Two environments, so that the log's sync never waits for the state. The log is what is
//! acknowledged: a write is durable when the log's commit returned. The state may lag behind on
//! disk, for the log replays into it, and is therefore never purged above what the state has
//! made durable.
//!
//! Failure: a write or a sync that failed is final. What the disk holds is then unknown until it
//! is read again by a fresh process, so the store that met it reports to its [`FatalSink`],
//! refuses everything after it, and never tries again. The node stops; a restart recovers.

pub mod claim;
pub mod crash_point;
pub mod data_dir;
pub mod detached;
pub(crate) mod durable_file;
pub(crate) mod envelope;
pub(crate) mod environment;
pub mod error;
pub mod fatal;
mod fault_mark;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod hooks;
pub mod identity;
pub mod joining;
pub mod log;
pub(crate) mod pages;
pub mod repair;
pub mod salvage;
pub mod snapshot;
pub mod state;
mod stopped;

pub use claim::StartedClaim;
pub use data_dir::DataDir;
pub use error::StorageError;
pub use fatal::{FatalSink, FatalWatch};
pub use hooks::{NoHooks, StorageHooks};
pub use identity::Identity;
pub use joining::Joining;
pub use log::{LogOptions, LogReader, LogStats, LogStore, LostRecord};
pub use salvage::{Salvaged, save_from_directory};
pub use snapshot::{SnapshotError, SnapshotFile, SnapshotHeader};
pub use state::{StateOptions, StateStats, StateStore, View};
