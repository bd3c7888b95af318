//! `snapshot`: backups of the whole store, and data directories made from them.
//!
//! `save` works online, from any member; the others read files and directories, and need no node.

mod file;
mod restore;
mod save;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::arguments::Global;
use super::failure::CommandError;
use super::terminal::Terminal;
use crate::config::{DEFAULT_NAME, InitialCluster};
use crate::node::REVISION_STEP;

/// What to do with snapshots.
#[derive(Debug, Subcommand)]
pub(super) enum SnapshotCommand {
    /// Save a verified snapshot of the whole store to a file, online; or of what a stopped node holds
    Save {
        /// The file; it appears when it is complete. A save that was cut goes on where it was
        file: PathBuf,
        /// Save what the stopped node in this directory holds, all of its log with it, and ask no
        /// cluster: for when a majority is lost for good. Needs as much disk as the node, and leaves
        /// its directory as it is
        #[arg(long, value_name = "DIR")]
        from_data_dir: Option<PathBuf>,
    },
    /// Read a whole snapshot file and say what is in it
    Status {
        /// The file
        file: PathBuf,
    },
    /// Make a data directory from a snapshot file: of a new member of its cluster (start it with
    /// serve --join), or with --new-cluster of a new cluster
    Restore(RestoreArguments),
    /// Take the copy of a stopped member's data directory away from that member, so that serve
    /// --join makes it a new one
    Detach(DetachArguments),
}

/// `snapshot detach`.
#[derive(Clone, Debug, Args)]
pub(super) struct DetachArguments {
    /// The copy
    #[arg(value_name = "DIR")]
    data_dir: PathBuf,
    /// The new member's name
    #[arg(long, default_value = DEFAULT_NAME)]
    name: String,
    /// The cluster's key file, for the command that is printed
    #[arg(long, value_name = "FILE")]
    cluster_key: Option<PathBuf>,
}

/// `snapshot restore`.
#[derive(Clone, Debug, Args)]
pub(super) struct RestoreArguments {
    /// The snapshot file
    file: PathBuf,
    /// The data directory to make; must not exist, or be empty
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The node's name
    #[arg(long, default_value = DEFAULT_NAME)]
    name: String,
    /// Make a new cluster: new identity and members; its revision is moved up, and what is below
    /// counts as compacted, so that no revision the old one gave out names another value here
    #[arg(long)]
    new_cluster: bool,
    /// How far to move the revision up; the same on each founder. To restore one backup twice, give
    /// the second time another number
    #[arg(long, value_name = "N", default_value_t = REVISION_STEP, requires = "new_cluster")]
    bump_revision: u64,
    /// Keep the revision and the history: only for a cluster of which nothing was read or written
    /// after the snapshot was taken
    #[arg(long, requires = "new_cluster", conflicts_with = "bump_revision")]
    keep_revisions: bool,
    /// The new cluster's members, this node among them; restore the same file with the same list
    /// on each [default: this node alone]
    #[arg(long, value_name = "NAME=PEERADDR,...", requires = "new_cluster")]
    initial_cluster: Option<InitialCluster>,
    /// The cluster's key file, for the command that is printed
    #[arg(long, value_name = "FILE")]
    cluster_key: Option<PathBuf>,
}

/// Runs one of them.
pub(super) async fn run(
    global: &Global,
    command: SnapshotCommand,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    match command {
        SnapshotCommand::Save { file, from_data_dir: None } => {
            save::run(global, &file, terminal).await
        }
        SnapshotCommand::Save { file, from_data_dir: Some(data_dir) } => {
            save::from_data_dir(global, &data_dir, &file, terminal).await
        }
        SnapshotCommand::Status { file } => file::status(global, &file, terminal),
        SnapshotCommand::Restore(arguments) => restore::restore(global, &arguments, terminal),
        SnapshotCommand::Detach(arguments) => restore::detach(global, &arguments, terminal),
    }
}
