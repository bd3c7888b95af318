//! What a scrape shows.

use std::collections::BTreeSet;
use std::time::Duration;

use super::catalogue::{self, Kind};
use super::{DatabaseFigures, JoinFigures, NodeMetrics, PeerProgress, RaftFigures, SnapshotKind};

/// Touches every metric that appears only once it was used.
fn busy_metrics() -> NodeMetrics {
    let metrics = NodeMetrics::new();
    metrics.raft_changed(&RaftFigures::default());
    metrics.log_committed(3, 900, 0.001);
    metrics.state_committed(3, 0.002);
    metrics.snapshot_done(SnapshotKind::Built, 10, 0.1);
    metrics.peer_answered(2, Duration::from_millis(1));
    metrics.peer_failed(3);
    metrics.entries_sent(2, 5);
    metrics.consensus_snapshot_sent(2);
    metrics.joins_open("seeding", 1);
    metrics.join_ended("joined");
    metrics.join_progress(4, &JoinFigures::default());
    metrics.request_answered("write", "ok", Duration::from_millis(2));
    metrics.connection_refused("client", "handshake");
    metrics.auth_refused("not_permitted");
    let figures = DatabaseFigures { file_bytes: 4096, ..Default::default() };
    metrics.database("log", &figures);
    metrics.unsettled_versions(5);
    metrics.mailbox_depth("raft", 7);
    metrics.actor_restarted("snapshot");
    metrics.tls_certificate("client", 1_900_000_000);
    metrics.tls_reloaded("client", "ok");
    metrics.untrusted("verifying", true);
    metrics.space(&crate::types::SpaceUse::default(), 0);
    metrics.follower(2, &PeerProgress::default());
    metrics.peer_distance(2, Duration::from_millis(3));
    metrics.round_trip_max(Duration::from_millis(600));
    metrics.healed("healed");
    metrics.states_compared(7, true);
    metrics
}

/// The value of the sample with exactly this name and these labels.
fn sample(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} is not in\n{text}")).parse().expect("a number")
}

#[test]
fn every_metric_of_the_catalogue_is_scraped_with_its_type_and_description() {
    let text = busy_metrics().render();
    for metric in catalogue::ALL {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        assert!(text.contains(&format!("# TYPE {} {kind}\n", metric.name)), "{}", metric.name);
        let help = format!("# HELP {} {}\n", metric.name, metric.description);
        assert!(text.contains(&help), "{}", metric.name);
    }
}

#[test]
fn whatever_is_scraped_has_a_description() {
    let text = busy_metrics().render();
    let named = |word: &str| -> BTreeSet<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(word));
        lines.filter_map(|rest| rest.split(' ').next()).map(str::to_owned).collect()
    };
    assert_eq!(named("# HELP "), named("# TYPE "));
    assert!(named("# TYPE ").contains("process_resident_memory_bytes"));
}

#[test]
fn names_are_unique_and_end_as_their_kind_demands() {
    let mut names = BTreeSet::new();
    for metric in catalogue::ALL {
        assert!(names.insert(metric.name), "{} is there twice", metric.name);
        assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{metric:?}");
        if let Kind::Histogram(buckets) = metric.kind {
            assert!(buckets.is_sorted() && !buckets.is_empty(), "{metric:?}");
        }
    }
}

#[test]
fn two_nodes_in_one_process_count_apart() {
    let (one, other) = (NodeMetrics::new(), NodeMetrics::new());
    one.log_committed(1, 100, 0.001);
    assert_eq!(sample(&one.render(), "chainfire_log_written_bytes_total"), 100.0);
    assert_eq!(sample(&other.render(), "chainfire_log_written_bytes_total"), 0.0);
}

#[test]
fn a_leader_counts_as_changed_only_when_it_is_another() {
    let metrics = NodeMetrics::new();
    let changes = || sample(&metrics.render(), "chainfire_raft_leader_changes_total");
    let see = |leader_id| metrics.raft_changed(&RaftFigures { leader_id, ..Default::default() });
    for (leader_id, expected) in [(None, 0.0), (Some(1), 1.0), (None, 1.0), (Some(1), 1.0)] {
        see(leader_id);
        assert_eq!(changes(), expected);
    }
    see(Some(2));
    assert_eq!(changes(), 2.0);
    assert_eq!(sample(&metrics.render(), "chainfire_raft_has_leader"), 1.0);
    see(None);
    assert_eq!(sample(&metrics.render(), "chainfire_raft_has_leader"), 0.0);
}

#[test]
fn what_is_committed_and_not_applied_is_the_apply_lag() {
    let metrics = NodeMetrics::new();
    let figures = RaftFigures { committed_index: 10, applied_index: 7, ..Default::default() };
    metrics.raft_changed(&figures);
    assert_eq!(sample(&metrics.render(), "chainfire_raft_apply_lag_entries"), 3.0);
    assert_eq!(sample(&metrics.render(), "chainfire_raft_proposals_applied_total"), 7.0);
}

#[test]
fn the_failed_proposals_never_run_back() {
    let metrics = NodeMetrics::new();
    metrics.proposals(2, 5);
    metrics.proposals(0, 4);
    assert_eq!(sample(&metrics.render(), "chainfire_raft_proposals_pending"), 0.0);
    assert_eq!(sample(&metrics.render(), "chainfire_raft_proposals_failed_total"), 5.0);
}

#[test]
fn sources_are_asked_at_every_scrape_until_forgotten() {
    let metrics = NodeMetrics::new();
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = asked.clone();
    metrics.on_scrape(move |metrics| {
        let depth = counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        metrics.mailbox_depth("raft", depth as usize);
    });
    let depth = "chainfire_mailbox_depth{actor=\"raft\"}";
    assert_eq!(sample(&metrics.render(), depth), 1.0);
    assert_eq!(sample(&metrics.render(), depth), 2.0);
    metrics.forget_sources();
    assert_eq!(sample(&metrics.render(), depth), 2.0);
    assert_eq!(std::sync::Arc::strong_count(&asked), 1, "the source is gone");
}

#[tokio::test]
async fn the_upkeep_asks_the_sources_between_scrapes_until_it_is_dropped() {
    let metrics = NodeMetrics::new();
    let (asked, mut seen) = tokio::sync::watch::channel(());
    metrics.on_scrape(move |_| asked.send_replace(()));
    let upkeep = metrics.spawn_upkeep();
    seen.changed().await.expect("asked");
    drop(upkeep);
    drop(metrics);
    while seen.changed().await.is_ok() {}
}
