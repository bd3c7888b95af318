//! `keygen`: the keys of a new cluster.

use std::path::PathBuf;

use clap::Args;

use super::failure::CommandError;
use super::terminal::Terminal;
use crate::auth::ClusterKey;
use crate::auth::cluster_key::{CLUSTER_KEY_FILE, is_cluster_name};
use crate::auth::credentials::{DEFAULT_CLUSTER_NAME, ROOT_CREDENTIALS_FILE};

/// `keygen`.
#[derive(Clone, Debug, Args)]
pub(super) struct KeygenArguments {
    /// Write the two files into this directory, which is made when it is missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The cluster's name: what clients sign for as the region
    #[arg(long, value_name = "NAME", default_value = DEFAULT_CLUSTER_NAME)]
    cluster_name: String,
}

/// Makes `cluster-key.toml` and `root-credentials.toml`.
pub(super) fn run(
    arguments: &KeygenArguments,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    if !is_cluster_name(&arguments.cluster_name) {
        return Err(CommandError::Usage(
            "a cluster's name is lower-case letters, digits and dashes, at most 64".to_owned(),
        ));
    }
    let file = |source| CommandError::File { path: arguments.out.clone(), source };
    std::fs::create_dir_all(&arguments.out).map_err(file)?;
    let key = ClusterKey::generate(&arguments.cluster_name, &mut rand::rng());
    let (cluster, root) =
        (arguments.out.join(CLUSTER_KEY_FILE), arguments.out.join(ROOT_CREDENTIALS_FILE));
    // The credentials first: a cluster key without them would be a cluster nobody can enter.
    key.root_credentials().create(&root)?;
    key.create(&cluster)?;
    for (path, whose) in [(&cluster, "every node"), (&root, "clients")] {
        terminal.line(format!("{}: for {whose}", path.display()))?;
    }
    Ok(terminal.flush()?)
}
