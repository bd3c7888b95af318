//! Whoever comes to the port with whatever: closed, counted, and nobody else disturbed.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::echo_store::{EchoServer, NEVER, PANIC, is_served, write};
use super::soon;
use crate::rpc::server::{Admission, ListenerLimits};
use crate::rpc::transport::call_context;
use crate::types::RequestError;

/// Returns when the other end has closed; answers what it said before.
async fn closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    // A reset is a way of closing, too.
    let _ = soon(stream.read_to_end(&mut said)).await;
    said
}

#[tokio::test]
async fn what_does_not_speak_the_protocol_is_closed_at_once_without_an_answer() {
    let server = EchoServer::start().await;
    let good = server.connect().await;
    let tls = &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..];
    let garbage = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        tls,
        b"\0",
        &[0xff; 4_096],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for bytes in garbage {
        let mut stream = TcpStream::connect(&server.address).await.expect("listening");
        stream.write_all(bytes).await.expect("sent");
        assert_eq!(closed(&mut stream).await, b"", "{bytes:?}");
        is_served(&good).await;
    }
    server.counts.reaches("client malformed", garbage.len() - 1).await;
    server.counts.reaches("client unexpected_tls", 1).await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_after_the_handshake_timeout() {
    let handshake_timeout = Duration::from_millis(50);
    let limits = ListenerLimits { handshake_timeout, ..ListenerLimits::clients() };
    let server = EchoServer::with(limits, Admission::new(10, 1 << 20)).await;
    let good = server.connect().await;
    for bytes in [&b""[..], b"\x93CHFIRE\n", b"\x93CHFIRE\n\x00\x01\x00\x02\x00"] {
        let mut stream = TcpStream::connect(&server.address).await.expect("listening");
        stream.write_all(bytes).await.expect("sent");
        assert_eq!(closed(&mut stream).await, b"");
        is_served(&good).await;
    }
    assert_eq!(server.counts.of("client timeout"), 3);
}

#[tokio::test]
async fn a_connection_that_asks_nothing_is_closed_after_the_idle_timeout() {
    let idle_timeout = Duration::from_millis(100);
    let limits = ListenerLimits { idle_timeout, ..ListenerLimits::clients() };
    let server = EchoServer::with(limits, Admission::new(10, 1 << 20)).await;
    let good = server.connect().await;
    let mut silent = server.raw().await;
    // A call in flight keeps its connection open past the timeout.
    let context = call_context(Duration::from_secs(20));
    let held = tokio::spawn({
        let client = good.client.clone();
        async move { client.write(context, write(super::echo_store::HOLD, 1)).await }
    });
    server.counts.reaches("held", 1).await;
    assert_eq!(closed(&mut silent).await, b"");
    server.gate.add_permits(1);
    soon(held).await.expect("ran").expect("not cut").expect("answered");
    soon(good.closed()).await;
}

#[tokio::test]
async fn a_frame_that_announces_4_gib_or_is_no_message_ends_its_connection_only() {
    let server = EchoServer::start().await;
    let good = server.connect().await;
    let frames: [&[u8]; 6] = [
        &[0xff; 4],
        // One byte more than allowed.
        &(crate::rpc::transport::limits::REQUEST_FRAME_BYTES_MAX as u32 + 1).to_be_bytes(),
        // Of no length; of an unknown kind; an unknown method; cut; trailing bytes.
        &[0, 0, 0, 0],
        &[0, 0, 0, 1, 9],
        &[0, 0, 0, 4, 0, 1, 1, 99],
        &[0, 0, 0, 3, 1, 0, 0],
    ];
    for frame in frames {
        let mut stream = server.raw().await;
        stream.write_all(frame).await.expect("sent");
        assert_eq!(closed(&mut stream).await, b"", "{frame:?}");
        is_served(&good).await;
    }
}

#[tokio::test]
async fn an_absurd_deadline_is_served_like_any_other() {
    let server = EchoServer::start().await;
    let mut stream = server.raw().await;
    // A call of `members`, number 7, with 2^64 - 1 milliseconds left.
    let body = [&[0, 7][..], &[0xff; 9], &[1, 4]].concat();
    stream.write_all(&[0, 0, 0, body.len() as u8]).await.expect("sent");
    stream.write_all(&body).await.expect("sent");
    let mut answer = [0; 9];
    soon(stream.read_exact(&mut answer)).await.expect("an answer");
    // An answer to number 7: members, fine, none.
    assert_eq!(answer, [0, 0, 0, 5, 0, 7, 4, 0, 0]);
    let good = server.connect().await;
    is_served(&good).await;
}

#[tokio::test]
async fn a_deadline_that_has_passed_is_answered_without_work() {
    let server = EchoServer::start().await;
    let good = server.connect().await;
    let answer = soon(good.client.write(call_context(Duration::ZERO), write(PANIC, 1))).await;
    assert_eq!(answer.expect("an answer"), Err(RequestError::DeadlinePassed));
}

#[tokio::test]
async fn a_handler_that_does_not_end_is_answered_at_the_deadline() {
    let server = EchoServer::start().await;
    let good = server.connect().await;
    let context = call_context(Duration::from_millis(50));
    let answer = soon(good.client.write(context, write(NEVER, 1))).await;
    assert!(matches!(answer, Ok(Err(RequestError::OutcomeUnknown { .. }))), "{answer:?}");
    assert_eq!(server.node.requests(), 0, "its permit was given back");
    assert_eq!(server.counts.of("write unknown"), 1);
}

#[tokio::test]
async fn a_handler_that_panics_costs_its_call_and_nothing_else() {
    let server = EchoServer::start().await;
    let good = server.connect().await;
    let context = call_context(Duration::from_secs(10));
    let answer = soon(good.client.write(context, write(PANIC, 1))).await;
    assert!(matches!(answer, Err(tarpc::client::RpcError::Server(_))), "{answer:?}");
    is_served(&good).await;
    assert_eq!(server.counts.of("write failed"), 1);
    assert_eq!(server.node.requests(), 0);
}

#[tokio::test]
async fn a_call_that_was_given_up_is_cancelled() {
    let server = EchoServer::start().await;
    let good = server.connect().await;
    let call = good.client.write(call_context(Duration::from_secs(20)), write(NEVER, 1));
    tokio::select! {
        answer = call => panic!("{answer:?}"),
        () = server.counts.reaches("held", 1) => {}
    }
    server.counts.reaches("write cancelled", 1).await;
    is_served(&good).await;
    assert_eq!(server.node.requests(), 0);
}
