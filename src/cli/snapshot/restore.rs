//! `snapshot restore` and `snapshot detach`.

use std::path::Path;

use serde::Serialize;

use super::RestoreArguments;
use crate::cli::arguments::Global;
use crate::cli::failure::CommandError;
use crate::cli::terminal::Terminal;
use crate::node::{Restored, detach_copy, restore_new_cluster, restore_new_member};

pub(super) fn restore(
    global: &Global,
    arguments: &RestoreArguments,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let RestoreArguments { file, data_dir, name, new_cluster, initial_cluster } = arguments;
    if *new_cluster {
        let made = restore_new_cluster(file, data_dir, name, initial_cluster.as_ref())?;
        tell(global, &made, data_dir, "chainfire serve", terminal)
    } else {
        let made = restore_new_member(file, data_dir, name)?;
        tell(global, &made, data_dir, "chainfire serve --join CLIENTADDR", terminal)
    }
}

pub(super) fn detach(
    global: &Global,
    data_dir: &Path,
    name: &str,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let made = detach_copy(data_dir, name)?;
    tell(global, &made, data_dir, "chainfire serve --join CLIENTADDR", terminal)
}

/// What was made, as JSON.
#[derive(Debug, Serialize)]
struct RestoredJson<'a> {
    data_dir: String,
    cluster_id: String,
    node_id: u64,
    name: &'a str,
    last_log_index: Option<u64>,
}

fn tell(
    global: &Global,
    made: &Restored,
    data_dir: &Path,
    next: &str,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let identity = &made.identity;
    let last_log_index = made.last_log_id.map(|log_id| log_id.index);
    if global.json() {
        terminal.json(&RestoredJson {
            data_dir: data_dir.display().to_string(),
            cluster_id: identity.cluster_id.to_string(),
            node_id: identity.node_id,
            name: &identity.name,
            last_log_index,
        })?;
    } else {
        let holds = last_log_index.map_or("nothing".to_owned(), |it| format!("entries to {it}"));
        terminal.line(format!(
            "{} holds {holds} of cluster {}; start it with: {next} --data-dir {} --name {}",
            data_dir.display(),
            identity.cluster_id,
            data_dir.display(),
            identity.name,
        ))?;
    }
    Ok(terminal.flush()?)
}
