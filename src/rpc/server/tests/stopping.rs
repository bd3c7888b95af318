//! The end of a listener.

use std::time::Duration;

use tokio::net::TcpStream;

use super::echo_store::{EchoServer, HOLD, NEVER, is_served, write};
use super::soon;
use crate::rpc::transport::call_context;

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn requests_in_flight_are_answered_and_then_everything_is_closed() {
    let server = EchoServer::start().await;
    let busy = server.connect().await;
    let idle = server.connect().await;
    let held = tokio::spawn({
        let client = busy.client.clone();
        async move { client.write(call_context(LONG), write(HOLD, 9)).await }
    });
    server.counts.reaches("held", 1).await;
    let stopped = tokio::spawn(server.handle.stop(LONG));
    soon(idle.closed()).await;
    super::eventually(|| async {
        match TcpStream::connect(&server.address).await {
            Ok(_) => Err("still listening"),
            Err(_) => Ok(()),
        }
    })
    .await;
    assert!(!stopped.is_finished(), "a request is in flight");
    server.gate.add_permits(1);
    soon(held).await.expect("ran").expect("not cut").expect("answered");
    soon(stopped).await.expect("stopped");
    soon(busy.closed()).await;
}

#[tokio::test]
async fn the_grace_period_is_an_end() {
    let server = EchoServer::start().await;
    let busy = server.connect().await;
    is_served(&busy).await;
    let held = tokio::spawn({
        let client = busy.client.clone();
        async move { client.write(call_context(LONG), write(NEVER, 1)).await }
    });
    server.counts.reaches("held", 1).await;
    soon(server.handle.stop(Duration::from_millis(50))).await;
    soon(held).await.expect("ran").expect_err("cut");
    soon(busy.closed()).await;
}
