//! Overload: refused at once, in bounds, and without harm to others.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::echo_store::{EchoServer, HOLD, NEVER, is_served, read, write};
use super::soon;
use crate::rpc::server::{Admission, ListenerLimits};
use crate::rpc::transport::{StoreConnection, call_context};
use crate::types::RequestError;

const LONG: Duration = Duration::from_secs(20);

fn hold(connection: &StoreConnection) -> tokio::task::JoinHandle<Result<(), RequestError>> {
    let client = connection.client.clone();
    tokio::spawn(async move {
        let answer = client.write(call_context(LONG), write(HOLD, 1)).await;
        answer.expect("an answer").map(drop)
    })
}

#[tokio::test]
async fn a_request_over_the_connections_share_is_refused_at_once() {
    let limits = ListenerLimits { connection_requests_max: 2, ..ListenerLimits::clients() };
    let server = EchoServer::with(limits, Admission::new(10, 1 << 20)).await;
    let busy = server.connect().await;
    let held = [hold(&busy), hold(&busy)];
    server.counts.reaches("held", 2).await;
    let answer = soon(busy.client.members(call_context(LONG))).await.expect("an answer");
    assert!(matches!(answer, Err(RequestError::Overloaded { retry_after_ms: 1.. })), "{answer:?}");
    assert_eq!(server.counts.of("members overloaded"), 1);
    is_served(&server.connect().await).await;
    server.gate.add_permits(2);
    for held in held {
        soon(held).await.expect("ran").expect("answered");
    }
    is_served(&busy).await;
}

#[tokio::test]
async fn a_request_over_the_nodes_budget_is_refused_on_every_connection() {
    let server = EchoServer::with(ListenerLimits::clients(), Admission::new(2, 1 << 20)).await;
    let (one, other) = (server.connect().await, server.connect().await);
    let held = [hold(&one), hold(&one)];
    server.counts.reaches("held", 2).await;
    let answer = soon(other.client.members(call_context(LONG))).await.expect("an answer");
    assert!(matches!(answer, Err(RequestError::Overloaded { .. })), "{answer:?}");
    server.gate.add_permits(2);
    for held in held {
        soon(held).await.expect("ran").expect("answered");
    }
    is_served(&other).await;
}

#[tokio::test]
async fn bytes_are_a_budget_too() {
    let server = EchoServer::with(ListenerLimits::clients(), Admission::new(100, 10_000)).await;
    let connection = server.connect().await;
    let mut large = write("k", 1);
    if let crate::types::Operation::Put(put) = &mut large.operation {
        put.value = vec![0; 10_001].into();
    }
    let answer = soon(connection.client.write(call_context(LONG), large)).await;
    let answer = answer.expect("an answer");
    assert!(matches!(answer, Err(RequestError::Overloaded { .. })), "{answer:?}");
    is_served(&connection).await;
    assert_eq!(server.node.bytes(), 0);
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_no_more_than_its_share() {
    let server = EchoServer::start().await;
    let good = server.connect().await;
    let mut greedy = server.raw().await;
    // 1,000 reads of 100,000 bytes each; nobody reads the answers.
    let mut frames = Vec::new();
    for id in 0..1_000_u32 {
        let mut body = vec![0];
        body.extend(postcard::to_stdvec(&(id, 600_000_u32, 1_u8, read(100_000))).expect("bytes"));
        frames.extend((body.len() as u32).to_be_bytes());
        frames.extend(body);
    }
    greedy.write_all(&frames).await.expect("the server goes on reading requests");
    let most = 2 * crate::rpc::server::limits::ANSWERS_WAITING_BYTES_MAX;
    let mut busiest = 0;
    for _ in 0..100 {
        is_served(&good).await;
        busiest = busiest.max(server.node.bytes());
    }
    assert!(busiest > 0, "the answers wait");
    assert!(busiest < most, "{busiest}");
    drop(greedy);
    super::eventually(|| async { if server.node.bytes() == 0 { Ok(()) } else { Err("held") } })
        .await;
}

#[tokio::test]
async fn a_connection_that_ends_gives_everything_back() {
    let server = EchoServer::start().await;
    let connection = server.connect().await;
    for sequence in 0..10 {
        let client = connection.client.clone();
        tokio::spawn(async move { client.write(call_context(LONG), write(NEVER, sequence)).await });
    }
    server.counts.reaches("held", 10).await;
    assert_eq!(server.node.requests(), 10);
    // A frame of nonsense over another connection does nothing to this one.
    let mut stray = server.raw().await;
    stray.write_all(&[0xff; 64]).await.expect("sent");
    assert_eq!(server.node.requests(), 10);
    server.handle.stop(Duration::ZERO).await;
    assert_eq!(server.node.requests(), 0);
    assert_eq!(server.node.bytes(), 0);
}

#[tokio::test]
async fn many_callers_share_one_connection() {
    let server = EchoServer::start().await;
    let connection = server.connect().await;
    let calls = (1..=500_u64).map(|sequence| {
        let client = connection.client.clone();
        async move {
            let answer = client.write(call_context(LONG), write("k", sequence)).await;
            let answer = answer.expect("an answer").expect("a good answer");
            let expected = crate::types::PutAnswer { revision: sequence, prev_kv: None };
            assert_eq!(answer, crate::types::Answer::Put(expected));
        }
    });
    soon(futures_util::future::join_all(calls)).await;
    assert_eq!(server.counts.of("write ok"), 500);
}
