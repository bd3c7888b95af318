//! `status` and `compact`.

use comfy_table::{Table, presets};

use super::arguments::{CompactArguments, Global};
use super::failure::CommandError;
use super::json::{CompactJson, StatusJson, node_role};
use super::terminal::Terminal;
use crate::client::Error;
use crate::types::{Distrust, NodeStatus};

/// Asks every endpoint. All that answer are shown; one that does not is a failure.
pub(super) async fn status(global: &Global, terminal: &mut Terminal) -> Result<(), CommandError> {
    let each = global.client_for_one()?.build()?.status_of_each().await;
    let answered = each.iter().map(|(endpoint, status)| (endpoint.as_str(), status.as_ref().ok()));
    if global.json() {
        let rows: Vec<_> =
            answered.map(|(endpoint, status)| StatusJson::new(endpoint, status)).collect();
        terminal.json(&rows)?;
    } else {
        let mut table = table(&[
            "endpoint",
            "id",
            "name",
            "role",
            "leader",
            "term",
            "log",
            "applied",
            "revision",
            "db bytes",
            "used",
            "deleting",
            "version",
            "untrusted",
        ]);
        for (endpoint, status) in answered {
            table.add_row(status_row(endpoint, status));
        }
        terminal.line(table.to_string())?;
    }
    terminal.flush()?;
    all_answered(each)
}

/// An error when an endpoint said nothing.
pub(super) fn all_answered(
    each: Vec<(String, Result<NodeStatus, Error>)>,
) -> Result<(), CommandError> {
    let all = each.len();
    let reasons: Vec<_> = each.into_iter().filter_map(|(_, status)| status.err()).collect();
    match reasons.first() {
        None => Ok(()),
        Some(first) => Err(CommandError::Unreachable {
            missing: reasons.len(),
            all,
            reason: first.to_string(),
        }),
    }
}

/// Forgets history.
pub(super) async fn compact(
    global: &Global,
    arguments: CompactArguments,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let client = global.client_for_one()?.connect().await?;
    let answer = client.compact(arguments.revision).await?;
    if global.json() {
        terminal.json(&CompactJson::from(&answer))?;
    } else {
        terminal.line(format!("compacted revision {}", arguments.revision))?;
    }
    Ok(terminal.flush()?)
}

pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    table
}

fn status_row(endpoint: &str, status: Option<&NodeStatus>) -> Vec<String> {
    let Some(status) = status else {
        return vec![endpoint.to_owned(), String::new(), String::new(), "unreachable".to_owned()];
    };
    let leader = status.leader_id.map_or_else(|| "none".to_owned(), |leader| leader.to_string());
    vec![
        endpoint.to_owned(),
        status.node_id.to_string(),
        status.name.clone(),
        node_role(status.role).to_owned(),
        leader,
        status.term.to_string(),
        status.last_log_index.to_string(),
        status.applied_index.to_string(),
        status.revision.to_string(),
        status.db_size_bytes.to_string(),
        space(status),
        deletes(status),
        status.version.clone(),
        untrusted(status),
    ]
}

/// How much of what it may its state takes.
fn space(status: &NodeStatus) -> String {
    let space = status.space;
    let share = space.used_bytes.saturating_mul(100).checked_div(space.limit_bytes);
    let full = if space.is_full { " FULL" } else { "" };
    share.map_or_else(|| "-".to_owned(), |share| format!("{share}%{full}"))
}

/// Deletes of many keys that are being written out: at which revision, and how far they are.
fn deletes(status: &NodeStatus) -> String {
    let each = status.deletes.iter();
    let each: Vec<_> = each.map(|it| format!("{}: {} keys", it.revision, it.deleted)).collect();
    each.join(", ")
}

/// Why the node does not trust what it holds; nothing when it does.
fn untrusted(status: &NodeStatus) -> String {
    let names: Vec<_> = status.untrusted.iter().map(Distrust::name).collect();
    names.join(", ")
}
