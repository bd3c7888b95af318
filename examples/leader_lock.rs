//! A lock by compare-and-swap: several workers, one of them at work at any time.
//!
//! The lock is a key that exists while somebody holds it. Who creates it has the lock, and the
//! revision of its creation grows from holder to holder: hand it to whatever the lock protects,
//! and let that refuse smaller ones (a fencing token). A holder that dies leaves the key behind;
//! taking it away again is what leases are for.
//!
//! ```text
//! chainfire serve &
//! cargo run --example leader_lock --no-default-features
//! ```

use std::time::Duration;

use bytes::Bytes;
use chainfire::auth::Credentials;
use chainfire::client::{Client, Condition, DEFAULT_ENDPOINT, Error, Step, Txn};
use tokio::task::JoinSet;

const LOCK: &str = "leader_lock/lock";
const WORKERS: usize = 4;

/// The lock, held.
struct Held {
    owner: Bytes,
    token: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoints = std::env::var("CHAINFIRE_ENDPOINTS");
    let endpoints = endpoints.as_deref().unwrap_or(DEFAULT_ENDPOINT);
    let client = Client::builder()
        .endpoints(endpoints.split(','))
        .credentials(&Credentials::from_environment()?)
        .connect()
        .await?;
    let mut workers = JoinSet::new();
    for number in 0..WORKERS {
        workers.spawn(work(client.clone(), format!("worker {number}")));
    }
    while let Some(done) = workers.join_next().await {
        done.expect("no worker panics")?;
    }
    Ok(())
}

async fn work(client: Client, name: String) -> Result<(), Error> {
    let held = acquire(&client, name.clone().into()).await?;
    println!("{name} leads, with token {}", held.token);
    let released = release(&client, &held).await?;
    println!("{name} is done{}", if released { "" } else { ", and had lost the lock before" });
    Ok(())
}

/// Waits until the lock is ours. `owner` must be nobody else's.
async fn acquire(client: &Client, owner: Bytes) -> Result<Held, Error> {
    loop {
        let txn = Txn::new()
            .when([Condition::version(LOCK).equals(0_u64)])
            .then([Step::put(LOCK, owner.clone())]);
        match client.txn(txn).await {
            Ok(answer) if answer.succeeded => return Ok(Held { owner, token: answer.revision }),
            Ok(_) => {}
            // It may be ours without our knowing: whoever is written there has it.
            Err(Error::Unknown { .. }) => {
                if let Some(pair) = client.get(LOCK).await?
                    && pair.value == owner
                {
                    return Ok(Held { owner, token: pair.create_revision });
                }
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Gives the lock back; false when it was no longer ours.
async fn release(client: &Client, held: &Held) -> Result<bool, Error> {
    let txn = Txn::new()
        .when([
            Condition::create_revision(LOCK).equals(held.token),
            Condition::value(LOCK).equals(held.owner.clone()),
        ])
        .then([Step::delete(LOCK)]);
    Ok(client.txn(txn).await?.succeeded)
}
