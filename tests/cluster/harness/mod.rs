//! What the scenarios are written with.

mod cluster;
mod command;
mod holds;
mod keys;
mod load;
mod node;
mod ports;
mod proxy;

use std::time::Duration;

pub use cluster::{Cluster, dump};
pub use command::{chainfire, chainfire_with_input};
pub use holds::Holds;
pub use keys::{cluster_key_file, root_credentials, root_credentials_file};
pub use load::Load;
pub use node::Node;
pub use proxy::{Link, Proxy};

/// How long anything that should happen may take. Far more than it takes on a busy machine: only
/// a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition without an event of its own is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Lets time pass: for what is to last so long.
pub async fn last_for(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Waits until `condition` gives a value.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let found = tokio::time::timeout(PATIENCE, async {
        let mut interval = tokio::time::interval(LOOK_EVERY);
        loop {
            interval.tick().await;
            if let Some(value) = condition().await {
                return value;
            }
        }
    });
    match found.await {
        Ok(value) => value,
        Err(_) => panic!("gave up waiting: {what}"),
    }
}
