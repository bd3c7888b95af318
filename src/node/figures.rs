//! What the metrics ask the node's parts for at each scrape.

use crate::actors::{NodeHandles, SEEDING_STAGES};
use crate::storage::log::LogStore;
use crate::storage::state::StateStore;
use crate::telemetry::{DatabaseFigures, JoinFigures, NodeMetrics, PeerProgress, RaftFigures};
use crate::types::{Distrust, JoinPhase};

/// Registers the sources of everything that is read rather than counted.
pub(super) fn register(
    metrics: &NodeMetrics,
    handles: NodeHandles,
    log: LogStore,
    state: StateStore,
) {
    metrics.on_scrape(move |metrics| {
        metrics.raft_changed(&raft_figures(&handles));
        let proposals = handles.raft.proposals();
        metrics.proposals(proposals.pending, proposals.failed_total);
        for (actor, depth) in handles.mailbox_depths() {
            metrics.mailbox_depth(actor, depth);
        }
        joins(metrics, &handles);
        followers(metrics, &handles);
        for (peer, distance) in handles.raft.distances() {
            metrics.peer_distance(peer, distance);
        }
        metrics.round_trip_max(handles.raft.round_trip_max());
        let (agreed_index, differ) = handles.raft.compared();
        metrics.states_compared(agreed_index, differ);
        let reasons = handles.raft.trust().reasons();
        for name in Distrust::NAMES {
            metrics.untrusted(name, reasons.iter().any(|reason| reason.name() == name));
        }
        metrics.space(&handles.raft.space(), state.staged_deletes().borrow().open.len());
        if let Ok(stats) = log.stats() {
            let figures = DatabaseFigures {
                file_bytes: stats.file_bytes,
                used_bytes: stats.disk_bytes,
                limit_bytes: stats.map_bytes,
                read_transactions: 0,
            };
            metrics.database("log", &figures);
        }
        if let Ok(stats) = state.stats() {
            let figures = DatabaseFigures {
                file_bytes: stats.file_bytes,
                used_bytes: stats.used_bytes,
                limit_bytes: stats.map_bytes,
                read_transactions: stats.open_views as u64,
            };
            metrics.database("state", &figures);
            metrics.unsettled_versions(stats.unsettled_versions);
        }
    });
}

/// How far each follower is, on the leader; elsewhere and of those who left, nothing.
fn followers(metrics: &NodeMetrics, handles: &NodeHandles) {
    let me = handles.raft.node().node_id;
    let followers = handles.raft.followers();
    for member in handles.raft.members().into_iter().filter(|member| member.id != me) {
        let known = followers.iter().find(|follower| follower.node_id == member.id);
        let figures = known.map_or_else(PeerProgress::default, |follower| PeerProgress {
            match_index: follower.match_index,
            lag_entries: follower.lag_entries,
            unheard: follower.unheard,
        });
        metrics.follower(member.id, &figures);
    }
}

/// The joins: by stage, which the leader knows more of than others, and how far each is on the
/// leader.
fn joins(metrics: &NodeMetrics, handles: &NodeHandles) {
    let joins = handles.membership.joins();
    let phases = JoinPhase::ALL.into_iter().filter(|phase| !phase.is_over());
    for stage in phases.map(|phase| phase.name()).chain(SEEDING_STAGES) {
        let count = joins.iter().filter(|it| it.join.is_open() && it.stage == stage).count();
        metrics.joins_open(stage, count);
    }
    let leads = handles.raft.leader_id() == Some(handles.raft.node().node_id);
    for status in joins {
        let figures = match leads && status.join.is_open() {
            false => JoinFigures::default(),
            true => JoinFigures {
                sent_bytes: status.sent_bytes,
                total_bytes: status.total_bytes,
                bytes_per_second: status.bytes_per_second,
                tail_entries: status.lag_entries.unwrap_or(0),
            },
        };
        metrics.join_progress(status.join.node_id, &figures);
    }
}

fn raft_figures(handles: &NodeHandles) -> RaftFigures {
    let progress = handles.raft.progress();
    RaftFigures {
        leader_id: progress.leader_id,
        is_leader: progress.leader_id == Some(handles.raft.node().node_id),
        term: progress.term,
        last_log_index: progress.last_log_index,
        purged_index: progress.purged_index,
        committed_index: progress.committed_index,
        applied_index: progress.applied_index,
    }
}
