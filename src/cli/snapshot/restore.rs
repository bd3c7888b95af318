//! `snapshot restore` and `snapshot detach`.

use std::path::Path;

use serde::Serialize;

use super::{DetachArguments, RestoreArguments};
use crate::cli::arguments::Global;
use crate::cli::failure::CommandError;
use crate::cli::terminal::Terminal;
use crate::node::{Restored, detach_copy, restore_new_cluster, restore_new_member};

pub(super) fn restore(
    global: &Global,
    arguments: &RestoreArguments,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let RestoreArguments { file, data_dir, name, new_cluster, cluster_key, .. } = arguments;
    let made = if *new_cluster {
        let step = if arguments.keep_revisions { 0 } else { arguments.bump_revision };
        restore_new_cluster(file, data_dir, name, arguments.initial_cluster.as_ref(), step)?
    } else {
        restore_new_member(file, data_dir, name)?
    };
    let next = next_command(&made, data_dir, !*new_cluster, cluster_key.as_deref());
    tell(global, &made, data_dir, &next, terminal)
}

pub(super) fn detach(
    global: &Global,
    arguments: &DetachArguments,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let DetachArguments { data_dir, name, cluster_key } = arguments;
    let made = detach_copy(data_dir, name)?;
    let next = next_command(&made, data_dir, true, cluster_key.as_deref());
    tell(global, &made, data_dir, &next, terminal)
}

/// The command that starts a node on the directory, as it can be typed. Only what nobody told is
/// left in capitals.
fn next_command(made: &Restored, data_dir: &Path, joins: bool, key: Option<&Path>) -> String {
    let mut command = format!(
        "chainfire serve --data-dir {} --name {}",
        quoted(&data_dir.display().to_string()),
        quoted(&made.identity.name)
    );
    if joins {
        let members = made.client_addrs.join(",");
        let members = if members.is_empty() { "CLIENTADDR" } else { members.as_str() };
        command.push_str(&format!(" --join {}", quoted(members)));
    }
    match key {
        Some(key) => {
            command.push_str(&format!(" --cluster-key {}", quoted(&key.display().to_string())));
        }
        None if made.has_cluster_key => {}
        None => command.push_str(" --cluster-key FILE"),
    }
    command
}

/// An argument as a shell takes it.
fn quoted(argument: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:,=@+%".contains(&byte);
    if !argument.is_empty() && argument.bytes().all(is_plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', "'\\''"))
}

/// What was made, as JSON.
#[derive(Debug, Serialize)]
struct RestoredJson<'a> {
    data_dir: String,
    cluster_id: String,
    node_id: u64,
    name: &'a str,
    last_log_index: Option<u64>,
    /// The command that starts a node on it.
    next: &'a str,
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
            next,
        })?;
    } else {
        let holds = last_log_index.map_or("nothing".to_owned(), |it| format!("entries to {it}"));
        terminal.line(format!(
            "{} holds {holds} of cluster {}; start it with: {next}",
            data_dir.display(),
            identity.cluster_id,
        ))?;
    }
    Ok(terminal.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_quoted_only_where_a_shell_would_read_it_otherwise() {
        assert_eq!(quoted("/data/n-2.d"), "/data/n-2.d");
        assert_eq!(quoted("[::1]:4601,h:2"), "'[::1]:4601,h:2'");
        assert_eq!(quoted("it's here"), r"'it'\''s here'");
        assert_eq!(quoted(""), "''");
    }
}
