//! `member ...`, `join status` and `move-leader`.

use serde::Serialize;

use super::arguments::{Global, MemberChange, MemberCommand};
use super::cluster::table;
use super::failure::CommandError;
use super::json::{MemberJson, member_role};
use super::terminal::Terminal;
use crate::types::{ClusterRequest, JoinStatus, JoinTarget, Member, NodeId};

/// Does what is asked about members.
pub(super) async fn run(
    global: &Global,
    command: MemberCommand,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let (request, done) = match command {
        MemberCommand::List => return member_list(global, terminal).await,
        MemberCommand::Add { node, learner } => {
            let target = if learner { JoinTarget::Learner } else { JoinTarget::Voter };
            (ClusterRequest::AddWaiting { node, target }, "is being added")
        }
        MemberCommand::Cancel { node } => {
            (ClusterRequest::CancelJoin { node }, "is no longer joining")
        }
        MemberCommand::Promote(MemberChange { node, force }) => {
            (ClusterRequest::Promote { node, force }, "is a voter")
        }
        MemberCommand::Demote(MemberChange { node, force }) => {
            (ClusterRequest::Demote { node, force }, "is a learner")
        }
        MemberCommand::Remove(MemberChange { node, force }) => {
            (ClusterRequest::Remove { node, force }, "was removed")
        }
        MemberCommand::Replace { old, new, force } => {
            (ClusterRequest::Replace { old, new, force }, "is a voter in its place")
        }
        MemberCommand::Update { node, peer_addr, client_addr } => {
            (ClusterRequest::Update { node, peer_addr, client_addr }, "was updated")
        }
    };
    change(global, request, done, terminal).await
}

/// Gives leadership to another voter.
pub(super) async fn move_leader(
    global: &Global,
    to: Option<String>,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    change(global, ClusterRequest::MoveLeader { to }, "leads", terminal).await
}

async fn change(
    global: &Global,
    request: ClusterRequest,
    done: &str,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let client = global.client_for_one()?.connect().await?;
    let node_id = client.change_members(request).await?;
    if global.json() {
        terminal.json(&DoneJson { node_id })?;
    } else {
        terminal.line(format!("node {node_id} {done}"))?;
    }
    Ok(terminal.flush()?)
}

/// Lists the members as one node knows them.
async fn member_list(global: &Global, terminal: &mut Terminal) -> Result<(), CommandError> {
    let members = global.client_for_one()?.connect().await?.members().await?;
    if global.json() {
        terminal.json(&members.iter().map(MemberJson::from).collect::<Vec<_>>())?;
    } else {
        let mut table = table(&["id", "name", "peer address", "client address", "role"]);
        for member in &members {
            table.add_row(member_row(member));
        }
        terminal.line(table.to_string())?;
    }
    Ok(terminal.flush()?)
}

/// Shows how far each join is, as the leader sees it.
pub(super) async fn join_status(
    global: &Global,
    terminal: &mut Terminal,
) -> Result<(), CommandError> {
    let joins = global.client_for_one()?.connect().await?.joins().await?;
    if global.json() {
        terminal.json(&joins.iter().map(JoinJson::from).collect::<Vec<_>>())?;
    } else {
        let mut table = table(&[
            "join",
            "id",
            "name",
            "peer address",
            "phase",
            "source",
            "bytes",
            "of",
            "bytes/s",
            "lag",
            "seconds",
            "reason",
        ]);
        for join in &joins {
            table.add_row(join_row(join));
        }
        terminal.line(table.to_string())?;
    }
    Ok(terminal.flush()?)
}

fn join_row(status: &JoinStatus) -> Vec<String> {
    let JoinStatus { join, stage, .. } = status;
    let or_dash = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |it| it.to_string());
    vec![
        join.join_id.to_string(),
        join.node_id.to_string(),
        join.request.name.clone(),
        join.request.peer_addr.clone(),
        stage.clone(),
        or_dash(status.source),
        status.sent_bytes.to_string(),
        status.total_bytes.to_string(),
        status.bytes_per_second.to_string(),
        or_dash(status.lag_entries),
        (status.elapsed_ms / 1_000).to_string(),
        join.progress.failure.clone().unwrap_or_default(),
    ]
}

fn member_row(member: &Member) -> Vec<String> {
    vec![
        member.id.to_string(),
        member.name.clone(),
        member.peer_addr.clone(),
        member.client_addr.clone(),
        member_role(member.role).to_owned(),
    ]
}

/// The answer to a change.
#[derive(Debug, Serialize)]
struct DoneJson {
    node_id: NodeId,
}

/// One join of `join status`.
#[derive(Debug, Serialize)]
struct JoinJson {
    join_id: u64,
    id: NodeId,
    name: String,
    peer_addr: String,
    client_addr: String,
    phase: &'static str,
    stage: String,
    source: Option<NodeId>,
    snapshot_index: Option<u64>,
    sent_bytes: u64,
    total_bytes: u64,
    bytes_per_second: u64,
    lag_entries: Option<u64>,
    snapshots: u32,
    elapsed_ms: u64,
    reason: Option<String>,
}

impl From<&JoinStatus> for JoinJson {
    fn from(status: &JoinStatus) -> Self {
        let JoinStatus { join, stage, .. } = status;
        Self {
            join_id: join.join_id,
            id: join.node_id,
            name: join.request.name.clone(),
            peer_addr: join.request.peer_addr.clone(),
            client_addr: join.request.client_addr.clone(),
            phase: join.progress.phase.name(),
            stage: stage.clone(),
            source: status.source,
            snapshot_index: join.progress.snapshot.map(|log_id| log_id.index),
            sent_bytes: status.sent_bytes,
            total_bytes: status.total_bytes,
            bytes_per_second: status.bytes_per_second,
            lag_entries: status.lag_entries,
            snapshots: join.progress.seeds,
            elapsed_ms: status.elapsed_ms,
            reason: join.progress.failure.clone(),
        }
    }
}
