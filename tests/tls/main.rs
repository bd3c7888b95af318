//! Nodes whose listeners speak TLS, in this process, and what comes to them with TLS and without.

mod certificates;
mod clients;
mod command_line;
mod files;
mod http;
mod limits;
mod nodes;
mod peers;
mod process;
mod reload;

use std::future::IntoFuture;
use std::time::Duration;

use tokio::time::{interval, timeout};

/// Far above what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Fails the test when `future` takes too long.
async fn soon<T>(future: impl IntoFuture<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("this takes no time unless it is broken")
}

/// Waits until `condition` holds.
async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let holds = async {
        let mut looks = interval(Duration::from_millis(20));
        while !condition().await {
            looks.tick().await;
        }
    };
    assert!(timeout(PATIENCE, holds).await.is_ok(), "gave up waiting: {what}");
}
