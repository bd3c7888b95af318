//! The client against nodes that fail on command.

#![expect(clippy::unwrap_used, reason = "a test that meets an error fails, as it should")]

#[cfg(feature = "cli")]
mod command_line;
mod endpoints;
mod fake;
mod reads;

use std::collections::HashSet;
use std::time::Duration;

use chainfire::client::{Client, ClientBuilder, Error, Failure};
use chainfire::clock;
use chainfire::types::{OperationError, RequestError, RequestId};
use fake::{Cluster, Fault, Node};
use futures_util::future::join_all;

fn client_of(nodes: &[&Node]) -> ClientBuilder {
    Client::builder()
        .endpoints(nodes.iter().map(|node| node.address.clone()))
        .follow_leader(false)
        .timeout(Duration::from_secs(20))
}

fn no_leader() -> Fault {
    Fault::Refuse(RequestError::Unavailable { reason: "no leader".into() })
}

fn overloaded(retry_after_ms: u64) -> Fault {
    Fault::Refuse(RequestError::Overloaded { retry_after_ms })
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_sent_elsewhere_under_its_name_and_applied_once() {
    for fault in [Fault::CutAfter, Fault::UnknownAfter, Fault::SilentAfter] {
        let cluster = Cluster::new(1);
        let (a, b) = (Node::start(1, &cluster).await, Node::start(2, &cluster).await);
        let builder = client_of(&[&a, &b]).attempt_timeout(Duration::from_millis(100));
        let client = builder.connect().await.unwrap();
        a.fail([fault.clone()]);
        let answer = client.put("k", "v").await.unwrap();
        assert_eq!(answer.revision, 2, "{fault:?}");
        assert_eq!(cluster.applied().len(), 1, "{fault:?}");
        assert_eq!(a.writes(), b.writes(), "{fault:?}: the same name at both");
        assert_eq!(client.endpoint(), b.address, "{fault:?}: later requests stay there");
    }
}

#[tokio::test]
async fn a_write_that_never_reached_a_node_failed() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    let client = client_of(&[&node]).timeout(Duration::from_millis(200)).connect().await.unwrap();
    drop(node);
    let started = clock::monotonic();
    // The first one may still meet the old connection; the second finds nobody.
    let _ = client.put("k", "v").await;
    let error = client.put("k", "v").await.unwrap_err();
    assert!(matches!(error, Error::Failed(Failure::Unavailable { .. })), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(cluster.received().is_empty());
}

#[tokio::test]
async fn a_write_that_was_refused_until_the_end_failed() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    let client = client_of(&[&node]).timeout(Duration::from_millis(300)).connect().await.unwrap();
    node.fail_for_ever(Some(no_leader()));
    let error = client.put("k", "v").await.unwrap_err();
    assert!(matches!(error, Error::Failed(Failure::Unavailable { .. })), "{error:?}");
    node.fail_for_ever(Some(overloaded(1)));
    assert_eq!(client.put("k", "v").await, Err(Failure::Overloaded.into()));
    assert!(cluster.received().len() > 4, "it was tried again and again");
}

#[tokio::test]
async fn a_write_that_was_sent_and_never_answered_is_unknown_and_a_read_failed() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    let builder = client_of(&[&node]).attempt_timeout(Duration::from_millis(50));
    let client = builder.timeout(Duration::from_millis(300)).connect().await.unwrap();
    node.fail_for_ever(Some(Fault::Silent));
    assert!(client.put("k", "v").await.unwrap_err().is_unknown());
    let error = client.get("k").await.unwrap_err();
    assert!(matches!(error, Error::Failed(Failure::Unavailable { .. })), "{error:?}");
    // Doubt stays, whatever a later attempt meets.
    node.fail([Fault::CutBefore]);
    node.fail_for_ever(Some(no_leader()));
    assert!(client.put("k", "v").await.unwrap_err().is_unknown());
    let names: HashSet<_> = cluster.received().iter().map(|name| name.sequence).collect();
    assert_eq!(names, HashSet::from([1, 2]));
    // The first was given up and will not be sent again.
    let all_own = cluster.received().iter().all(|name| name.lowest_unanswered == name.sequence);
    assert!(all_own);
}

#[tokio::test]
async fn an_overloaded_node_is_given_the_time_it_asks_for() {
    let cluster = Cluster::new(1);
    let (a, b) = (Node::start(1, &cluster).await, Node::start(2, &cluster).await);
    let client = client_of(&[&a, &b]).connect().await.unwrap();
    a.fail([overloaded(80), overloaded(80)]);
    let started = clock::monotonic();
    client.put("k", "v").await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(160));
    assert_eq!((a.writes().len(), b.writes().len()), (3, 0));
}

#[tokio::test]
async fn what_the_store_refuses_is_not_tried_again() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    let client = client_of(&[&node]).connect().await.unwrap();
    let error = client.put("k", "").ignore_value().await.unwrap_err();
    assert_eq!(error.operation(), Some(&OperationError::KeyNotFound));
    let denied = RequestError::PermissionDenied { reason: "no".into() };
    node.fail([Fault::Refuse(denied)]);
    let error = client.get("k").await.unwrap_err();
    assert_eq!(error, Failure::PermissionDenied { reason: "no".into() }.into());
    assert_eq!((node.writes().len(), node.ranges().len()), (1, 1));
}

#[tokio::test]
async fn a_request_that_fits_no_frame_fails_and_leaves_the_connection_alone() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    let client = client_of(&[&node]).connect().await.unwrap();
    let error = client.put("k", vec![0; 3 * 1_024 * 1_024]).await.unwrap_err();
    assert!(matches!(error, Error::Failed(Failure::Invalid { .. })), "{error:?}");
    client.put("k", "v").await.unwrap();
    assert_eq!((node.writes().len(), node.connections()), (1, 1));
}

#[tokio::test]
async fn the_second_write_works_when_the_first_was_never_applied() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    let client = client_of(&[&node]).connect().await.unwrap();
    node.fail_for_ever(Some(no_leader()));
    let first = client.put("k", "1").timeout(Duration::from_millis(50)).await;
    assert!(matches!(first, Err(Error::Failed(_))), "{first:?}");
    node.fail_for_ever(None);
    client.put("k", "2").await.unwrap();
    client.put("k", "3").await.unwrap();
    let applied: Vec<_> =
        cluster.applied().iter().map(|name| (name.sequence, name.lowest_unanswered)).collect();
    assert_eq!(applied, [(2, 2), (3, 3)]);
}

#[tokio::test]
async fn a_client_that_was_silent_for_long_starts_a_new_session_unnoticed() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    let client = client_of(&[&node]).connect().await.unwrap();
    client.put("k", "1").await.unwrap();
    client.put("k", "2").await.unwrap();
    cluster.expire_sessions();
    assert_eq!(client.put("k", "3").await.unwrap().revision, 4);
    let applied = cluster.applied();
    assert_ne!(applied[1].client, applied[2].client);
    assert_eq!((applied[2].sequence, applied[2].lowest_unanswered), (1, 1));
}

#[tokio::test]
async fn a_write_in_doubt_whose_session_expired_is_unknown_and_later_ones_work() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    let client = client_of(&[&node]).connect().await.unwrap();
    client.put("k", "1").await.unwrap();
    let expired = Fault::Refuse(OperationError::SessionExpired { now_ms: 1 }.into());
    node.fail([Fault::CutAfter, expired]);
    assert!(client.put("k", "2").await.unwrap_err().is_unknown());
    client.put("k", "3").await.unwrap();
    let applied = cluster.applied();
    assert_eq!(applied.len(), 3, "each was applied once");
    assert_ne!(applied[1].client, applied[2].client);
}

#[tokio::test]
async fn a_dropped_write_frees_its_name() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    let client = client_of(&[&node]).connect().await.unwrap();
    client.put("k", "1").await.unwrap();
    node.fail([Fault::Silent]);
    let put = client.put("k", "2");
    let sent = tokio::spawn(async move { put.await });
    node.wait_until(|node| node.writes().len() == 2).await;
    sent.abort();
    assert!(sent.await.unwrap_err().is_cancelled());
    client.put("k", "3").await.unwrap();
    let last = cluster.received().pop().unwrap();
    assert_eq!((last.sequence, last.lowest_unanswered), (3, 3));
}

/// Every kind of trouble, in a fixed pattern, while thousands of tasks write through one client.
#[tokio::test]
async fn thousands_of_tasks_write_once_each_through_every_kind_of_trouble() {
    const TASKS: usize = 5_000;
    let cluster = Cluster::new(1);
    let mut nodes = Vec::new();
    for id in 1..=3 {
        let node = Node::start(id, &cluster).await;
        for round in 0..400 {
            node.fail([match (round + id as usize) % 6 {
                0 => Fault::UnknownAfter,
                1 => overloaded(3),
                2 => no_leader(),
                3 if round % 60 == 3 => Fault::CutAfter,
                4 if round % 80 == 4 => Fault::CutBefore,
                5 if round % 100 == 5 => Fault::SilentAfter,
                _ => Fault::UnknownAfter,
            }]);
        }
        nodes.push(node);
    }
    let client = client_of(&[&nodes[0], &nodes[1], &nodes[2]])
        .attempt_timeout(Duration::from_millis(300))
        .timeout(Duration::from_secs(60))
        .connect()
        .await
        .unwrap();
    let writes = (0..TASKS).map(|task| {
        let client = client.clone();
        tokio::spawn(async move { client.put(format!("k{task}"), "v").await })
    });
    let revisions: HashSet<_> =
        join_all(writes).await.into_iter().map(|done| done.unwrap().unwrap().revision).collect();
    assert_eq!(revisions.len(), TASKS, "each task has a revision of its own");
    assert_eq!(cluster.applied().len(), TASKS, "each write was applied once");
    let received = cluster.received();
    assert!(received.len() > TASKS, "some were sent again");
    let span = received.iter().map(|name| name.sequence - name.lowest_unanswered).max().unwrap();
    assert!(span < 4_096, "{span}");
    let clients: HashSet<_> = received.iter().map(|name| name.client).collect();
    assert_eq!(clients.len(), 1, "no session was lost on the way");
    assert!(nodes.iter().all(|node| node.connections() <= 1), "one connection to each node");
}

/// Retries must never name a sequence below one that was already given up.
#[tokio::test]
async fn the_lowest_unanswered_never_passes_a_write_that_is_still_sent() {
    let cluster = Cluster::new(1);
    let node = Node::start(1, &cluster).await;
    let client = client_of(&[&node]).connect().await.unwrap();
    client.put("k", "0").await.unwrap();
    node.fail([overloaded(200)]);
    let slow = tokio::spawn({
        let put = client.put("slow", "v");
        async move { put.await }
    });
    node.wait_until(|node| node.writes().len() == 2).await;
    for _ in 0..50 {
        client.put("k", "v").await.unwrap();
    }
    assert!(!slow.is_finished(), "the slow write waits as long as it was told");
    slow.await.unwrap().unwrap();
    client.put("k", "v").await.unwrap();
    let lowest = |name: &RequestId| name.lowest_unanswered;
    let received = cluster.received();
    assert!(received[1..53].iter().map(lowest).all(|lowest| lowest == 2), "{received:?}");
    assert_eq!(received.last().map(lowest), Some(53));
}
