//! Calls between nodes: lanes, reconnection, and what is known of a call that failed.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::echo_peer::PeerServer;
use super::{CLUSTER, Counts, IDENTITY, eventually, soon};
use crate::rpc::peer::{
    AppendReply, AppendRequest, PeerCallError, PeerConnections, PeerDialer, PeerObserver,
    PeerRefusal, SnapshotChunk, VoteRequest,
};
use crate::rpc::transport::limits::SNAPSHOT_CHUNK_BYTES_MAX;
use crate::rpc::transport::{Hello, Identity, Lane, accept};
use crate::types::{LogEntry, LogEntryPayload, LogId, NodeId, StartClaim, Vote};

const SELF: Identity =
    Identity { cluster_id: CLUSTER, node_id: 2, incarnation: 22, claim: StartClaim::NONE };
const VOTE: Vote = Vote { term: 1, node_id: 2, committed: true };
const LONG: Duration = Duration::from_secs(20);
/// Shorter than a call waits before it asks for a sign of life.
const UNASKED: Duration = Duration::from_millis(400);
const SHORT: Duration = Duration::from_millis(200);

fn connections() -> PeerConnections {
    PeerConnections::new(PeerDialer::new(SELF))
}

/// Entries of about `bytes`; none = a heartbeat.
fn append(bytes: usize) -> AppendRequest {
    let payload = LogEntryPayload::Command(vec![7; bytes].into());
    let entry = LogEntry { log_id: LogId { term: 1, index: 1 }, payload };
    let entries = if bytes == 0 { Vec::new() } else { vec![entry] };
    AppendRequest { vote: VOTE, prev_log_id: None, entries, leader_commit: None }
}

impl PeerObserver for Counts {
    fn answered(&self, peer: NodeId, lane: Lane, method: &'static str, _: Duration) {
        self.count(format!("{peer} {} {method} answered", lane.name()));
    }

    fn failed(&self, peer: NodeId, lane: Lane, method: &'static str) {
        self.count(format!("{peer} {} {method} failed", lane.name()));
    }
}

#[tokio::test]
async fn calls_are_answered_and_observed_on_their_lane() {
    let server = PeerServer::start(IDENTITY).await;
    let counts = Counts::new();
    let dialer = PeerDialer { observer: counts.clone(), ..PeerDialer::new(SELF) };
    let connections = PeerConnections::new(dialer);
    let control = connections.peer(1, &server.address, Lane::Control);
    assert_eq!(control.append(append(0), LONG).await, Ok(AppendReply::Success));
    assert_eq!(control.read_index(LONG).await, Ok(Some(LogId { term: 1, index: 2 })));
    let vote = VoteRequest { vote: VOTE, last_log_id: None, leadership_transfer: false };
    assert!(control.vote(vote, LONG).await.expect("answered").vote_granted);
    let refused = control.pre_vote(vote, LONG).await;
    let stopped = PeerRefusal::Stopped { reason: "a test".into() };
    assert_eq!(refused, Err(PeerCallError::Refused(stopped)));
    assert!(matches!(control.status(LONG).await, Err(PeerCallError::Request(_))));

    let snapshot = connections.peer(1, &server.address, Lane::Snapshot);
    let bytes = Bytes::from(vec![1; SNAPSHOT_CHUNK_BYTES_MAX]);
    let chunk = SnapshotChunk { digest: [7; 32], offset_bytes: 5, checksum: 1, bytes };
    let progress = snapshot.snapshot_chunk(chunk, LONG).await.expect("the largest piece fits");
    assert_eq!(progress.offset_bytes, 5 + SNAPSHOT_CHUNK_BYTES_MAX as u64);

    for (what, times) in [
        ("1 control append answered", 1),
        ("1 control pre_vote answered", 1),
        ("1 snapshot snapshot_chunk answered", 1),
    ] {
        assert_eq!(counts.of(what), times, "{what}");
    }
    for (what, times) in [("opened control", 1), ("opened snapshot", 1), ("opened append", 0)] {
        assert_eq!(server.counts.of(what), times, "{what}");
    }
}

#[tokio::test]
async fn many_calls_at_once_share_one_attempt_to_connect() {
    let server = PeerServer::start(IDENTITY).await;
    let control = connections().peer(1, &server.address, Lane::Control);
    let calls = (0..200).map(|_| control.read_index(LONG));
    for answer in soon(join_all(calls)).await {
        answer.expect("answered");
    }
    assert_eq!(server.counts.of("opened control"), 1);
}

#[tokio::test]
async fn a_peer_that_is_not_there_is_unreachable_and_found_when_it_comes() {
    let place = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = place.local_addr().expect("bound").to_string();
    drop(place);
    let control = connections().peer(1, &address, Lane::Control);
    for _ in 0..50 {
        // Most of these fall into the pause after the first.
        let error = soon(control.read_index(LONG)).await.expect_err("nobody is there");
        assert!(matches!(error, PeerCallError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains(&address), "{error}");
    }
    let _server = PeerServer::at(&address, IDENTITY).await;
    eventually(|| control.read_index(LONG)).await;
}

#[tokio::test]
async fn a_peer_that_restarts_is_found_again_and_a_call_it_was_working_on_is_lost() {
    let server = PeerServer::start(IDENTITY).await;
    let lane = connections().peer(1, &server.address, Lane::Append);
    let held = tokio::spawn({
        let lane = lane.clone();
        async move { lane.append(append(1), LONG).await }
    });
    server.counts.reaches("held", 1).await;
    server.handle.stop(Duration::ZERO).await;
    let error = soon(held).await.expect("ran").expect_err("cut");
    assert!(matches!(error, PeerCallError::Lost { .. }), "{error}");
    let again = PeerServer::at(&server.address, IDENTITY).await;
    eventually(|| lane.append(append(0), LONG)).await;
    assert_eq!(again.counts.of("opened append"), 1);
}

#[tokio::test]
async fn a_peer_that_moves_is_followed() {
    let (one, other) = (PeerServer::start(IDENTITY).await, PeerServer::start(IDENTITY).await);
    let connections = connections();
    let before = connections.peer(1, &one.address, Lane::Control);
    before.read_index(LONG).await.expect("answered");
    let after = connections.peer(1, &other.address, Lane::Control);
    after.read_index(LONG).await.expect("answered");
    assert_eq!(other.counts.of("opened control"), 1);
    before.read_index(LONG).await.expect("who holds the old connection can use it");
    assert_eq!(one.counts.of("opened control"), 1);
}

#[tokio::test]
async fn a_node_that_is_not_the_one_expected_is_unreachable() {
    let server = PeerServer::start(IDENTITY).await;
    let error = connections().peer(3, &server.address, Lane::Control).read_index(LONG).await;
    let error = error.expect_err("node 1 is there").to_string();
    assert!(error.ends_with("node 1 is there, not node 3; check the addresses of the members"));
}

#[tokio::test]
async fn a_node_that_lost_its_data_is_not_taken_for_itself() {
    let server = PeerServer::start(IDENTITY).await;
    let control = connections().peer(1, &server.address, Lane::Control);
    control.read_index(LONG).await.expect("answered");
    server.handle.stop(Duration::ZERO).await;
    let wiped = Identity { incarnation: 12, ..IDENTITY };
    let _server = PeerServer::at(&server.address, wiped).await;
    eventually(|| async {
        match control.read_index(LONG).await {
            Err(PeerCallError::Unreachable { reason })
                if reason.contains("came back with another data directory") =>
            {
                Ok(())
            }
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test]
async fn calls_that_are_not_answered_in_time_are_lost_and_the_connection_stays() {
    let server = PeerServer::start(IDENTITY).await;
    let lane = connections().peer(1, &server.address, Lane::Append);
    let error = soon(lane.append(append(1), SHORT)).await.expect_err("never answered");
    assert!(matches!(error, PeerCallError::Lost { .. }), "{error}");
    lane.append(append(0), LONG).await.expect("answered");
    assert_eq!(server.counts.of("opened append"), 1);
}

/// A peer whose append lane is never read after its handshake. Its control lane is passed on to
/// `control_address`.
async fn deaf_on_append(control_address: String) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let task = tokio::spawn(async move {
        let mut deaf = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.expect("somebody comes");
            let mut peeked = [0; 64];
            let length = stream.peek(&mut peeked).await.expect("a hello");
            if peeked[length - 1] == 0 {
                let mut on = TcpStream::connect(&control_address).await.expect("listening");
                tokio::spawn(
                    async move { tokio::io::copy_bidirectional(&mut stream, &mut on).await },
                );
            } else {
                accept(&mut stream, IDENTITY, None, LONG, |_: &Hello| Ok(()))
                    .await
                    .expect("a good hello");
                deaf.push(stream);
            }
        }
    });
    (address, task)
}

#[tokio::test]
async fn a_lane_whose_peer_stops_reading_is_bounded_and_delays_no_other() {
    let server = PeerServer::start(IDENTITY).await;
    let (address, deaf) = deaf_on_append(server.address.clone()).await;
    let connections = connections();
    let appends = connections.peer(1, &address, Lane::Append);
    let control = connections.peer(1, &address, Lane::Control);
    let batch = append(64 * 1_024);
    // 64 KiB each: many times what sockets and buffers hold.
    let stalled: Vec<_> = (0..400)
        .map(|_| {
            let (lane, batch) = (appends.clone(), batch.clone());
            tokio::spawn(async move { lane.append(batch, UNASKED).await })
        })
        .collect();
    for _ in 0..50 {
        soon(control.append(append(0), LONG)).await.expect("heartbeats go on");
    }
    let mut too_many = 0;
    for call in stalled {
        match soon(call).await.expect("ran") {
            Err(PeerCallError::Unreachable { .. }) => too_many += 1,
            Err(PeerCallError::Lost { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(too_many >= 400 - 256, "{too_many}");
    soon(control.append(append(0), LONG)).await.expect("heartbeats go on");
    deaf.abort();
}

#[tokio::test]
async fn a_forgotten_peer_is_connected_anew() {
    let server = PeerServer::start(IDENTITY).await;
    let connections = connections();
    connections.peer(1, &server.address, Lane::Control).read_index(LONG).await.expect("answered");
    connections.forget(1);
    connections.peer(1, &server.address, Lane::Control).read_index(LONG).await.expect("answered");
    assert_eq!(server.counts.of("opened control"), 2);
}

#[tokio::test]
async fn a_message_that_fits_no_frame_is_surely_not_sent() {
    let server = PeerServer::start(IDENTITY).await;
    let lane = connections().peer(1, &server.address, Lane::Append);
    let error = soon(lane.append(append(9 * 1_024 * 1_024), LONG)).await.expect_err("too long");
    assert!(matches!(error, PeerCallError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("does not fit a frame"), "{error}");
    lane.append(append(0), LONG).await.expect("the connection lives on");
}

#[tokio::test]
async fn a_peer_that_answers_another_question_is_lost_and_harms_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let answering = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("somebody comes");
        accept(&mut stream, IDENTITY, None, LONG, |_: &Hello| Ok(())).await.expect("a good hello");
        stream.read_exact(&mut [0; 8]).await.expect("a call");
        // An answer to call 0: of `transfer_leader`, true.
        stream.write_all(&[0, 0, 0, 5, 0, 0, 3, 0, 1]).await.expect("sent");
        stream
    });
    let error = connections().peer(1, &address, Lane::Control).read_index(LONG).await;
    let reason = "the peer answered something else".to_owned();
    assert_eq!(error, Err(PeerCallError::Lost { reason }));
    soon(answering).await.expect("ran");
}
