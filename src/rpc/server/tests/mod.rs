//! Facts about listeners and connections, shown on loopback with services that do little.

mod echo_peer;
mod echo_store;
mod hostile;
mod load;
mod peers;
mod refusals;
mod signing;
mod stopping;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::{CallerRefused, RequestObserver};
use crate::rpc::transport::Identity;
use crate::types::{ClusterId, StartClaim};

/// Nothing in these tests takes longer than this unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

const CLUSTER: ClusterId = ClusterId(0xC1);
const IDENTITY: Identity =
    Identity { cluster_id: CLUSTER, node_id: 1, incarnation: 11, claim: StartClaim::NONE };

/// Fails the test when `future` takes too long.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("this takes no time unless it is broken")
}

/// Tries until it works.
async fn eventually<T, E: std::fmt::Debug, F>(mut attempt: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, E>>,
{
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let last_error = Mutex::new(None);
    let trying = async {
        loop {
            match attempt().await {
                Ok(done) => return done,
                Err(error) => *last_error.lock().unwrap() = Some(error),
            }
            tick.tick().await;
        }
    };
    match timeout(PATIENCE, trying).await {
        Ok(done) => done,
        Err(_) => panic!("never worked; at last: {:?}", last_error.lock().unwrap()),
    }
}

/// Counts what an observer is told.
#[derive(Debug)]
struct Counts(watch::Sender<HashMap<String, usize>>);

impl Counts {
    fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(HashMap::new())))
    }

    fn count(&self, what: String) {
        self.0.send_modify(|counts| *counts.entry(what).or_default() += 1);
    }

    fn of(&self, what: &str) -> usize {
        self.0.borrow().get(what).copied().unwrap_or(0)
    }

    /// Returns when `what` was counted `times`.
    async fn reaches(&self, what: &str, times: usize) {
        let mut counts = self.0.subscribe();
        let reached = counts.wait_for(|counts| counts.get(what).is_some_and(|n| *n >= times));
        soon(reached).await.expect("the sender is here");
    }
}

impl RequestObserver for Counts {
    fn request_answered(&self, method: &'static str, result: &'static str, _took: Duration) {
        self.count(format!("{method} {result}"));
    }

    fn connection_refused(&self, listener: &'static str, reason: &'static str) {
        self.count(format!("{listener} {reason}"));
    }

    fn caller_refused(&self, refused: &CallerRefused<'_>) {
        let key = refused.access_key_id.unwrap_or("nobody");
        self.count(format!("{key}: {}", refused.reason));
    }
}
