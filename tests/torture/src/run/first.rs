//! What is there before the clients begin.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chainfire::Client;
use chainfire::client::{Step, Txn};

use crate::cluster::Cluster;
use crate::history::{Kind, Op, Outcome, Workload};
use crate::random::{Rng, Stream};
use crate::workload::{ACCOUNTS, ACCOUNTS_TOTAL};

const START_MAX: Duration = Duration::from_secs(30);
/// Large values: 80 MB that do not compress well.
const PRELOADED_KEYS: u64 = 20_000;
const PRELOADED_WORDS: u64 = 250;
const KEYS_A_TRANSACTION: u64 = 100;

/// Writes the accounts, and with `preload` the large values.
pub async fn write(c: &Cluster, preload: bool, seed: u64) -> Result<(), String> {
    let founders: Vec<usize> = (0..c.founders).collect();
    let client = c.client(&founders, 3_000, 1_000, true);
    let balance = (ACCOUNTS_TOTAL / i64::from(ACCOUNTS)).to_string();
    let accounts = (0..ACCOUNTS).map(|i| (format!("b/{i}"), balance.clone())).collect();
    put_all(c, &client, Workload::Bank, accounts).await?;
    if preload {
        let mut rng = Rng::stream(seed, Stream::Crew, 1);
        for first in (0..PRELOADED_KEYS).step_by(KEYS_A_TRANSACTION as usize) {
            let mut payload = || -> String {
                (0..PRELOADED_WORDS).map(|_| format!("{:016x}", rng.next())).collect()
            };
            let keys = first..first + KEYS_A_TRANSACTION;
            let pairs = keys.map(|i| (format!("p/{i:06}"), payload())).collect();
            put_all(c, &client, Workload::Set, pairs).await?;
        }
        c.world.preloaded.store(PRELOADED_KEYS, Ordering::Relaxed);
    }
    Ok(())
}

/// Puts pairs in one transaction, as soon as the cluster takes it.
async fn put_all(
    c: &Cluster,
    client: &Client,
    workload: Workload,
    pairs: Vec<(String, String)>,
) -> Result<(), String> {
    let world = &c.world;
    let begun = Instant::now();
    let mut op = Op::new(0, workload, Kind::Write, world.now());
    let mut texts = vec![];
    for (key, payload) in pairs {
        let (value, text) = world.names.new_value(&payload);
        op.puts.push((world.names.key(&key), value));
        texts.push((key, text));
    }
    loop {
        let puts = texts.iter().map(|(key, text)| Step::put(key.clone(), text.clone()));
        // The same request until it is answered: a second one could apply twice.
        let sent = client.txn(Txn::new().then(puts)).timeout(START_MAX).await;
        match sent {
            Ok(answer) => {
                op.revision = answer.revision;
                break;
            }
            Err(chainfire::client::Error::Failed(_)) if begun.elapsed() < START_MAX => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(format!("the cluster does not start: {error}")),
        }
    }
    op.outcome = Outcome::Ok;
    op.ret = world.now();
    world.history.lock().unwrap().push(op);
    Ok(())
}
