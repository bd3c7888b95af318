//! Is a retry still recognised when very many other clients wrote meanwhile?
//!
//! One client's first write is applied and its answer is lost. Then `--count` other clients write
//! once each, as commands of a shell do. Then the first client sends its write again, under the
//! same request id, as the client library does until its timeout. It must be told the first
//! answer, or that the outcome is unknown; it must not be applied again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chainfire::auth::CLIENT_SERVICE;
use chainfire::rpc::api::WriteRequest;
use chainfire::rpc::transport::{ConnectOptions, StoreConnection, call_context, connect_store};
use chainfire::types::{Answer, ClientId, Operation, PutRequest, RequestId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::arguments::Arguments;
use crate::cluster::{Cluster, Machines};
use crate::world::World;

const WRITERS: usize = 256;
const FIRST_CLIENT: u128 = 7;
const FIRST_OTHER: u128 = 1_000;
const PROXY: &str = "127.0.0.1:25000";

/// How long a client may send its write again.
const WINDOW_MS: u64 = 600_000;

/// The one write of a client that began when the connection was made.
async fn write(connection: &StoreConnection, id: u128, key: &str) -> Result<u64, String> {
    let request_id = RequestId {
        client: ClientId(id),
        sequence: 1,
        lowest_unanswered: 1,
        begun_ms: connection.time_ms,
        window_ms: WINDOW_MS,
    };
    let (key, value) = (key.to_owned().into(), "x".to_owned().into());
    let operation = Operation::Put(PutRequest { key, value, ..PutRequest::default() });
    let request = WriteRequest { request_id, operation };
    let client = &connection.client;
    match client.write(call_context(Duration::from_secs(10)), request).await {
        Ok(Ok(Answer::Put(answer))) => Ok(answer.revision),
        other => Err(format!("{other:?}")),
    }
}

/// A cluster of one node.
fn one_node(arguments: &Arguments) -> Result<Cluster, String> {
    let machines = Machines::plain(1, 1);
    let world = World::new(1, None, false);
    let mut c = Cluster::new(arguments, &machines, world)?;
    c.start(0);
    Ok(c)
}

async fn connect(c: &Cluster) -> Arc<StoreConnection> {
    let credentials = Some(Arc::new(c.credentials.signer(CLIENT_SERVICE)));
    let options = ConnectOptions { credentials, ..ConnectOptions::default() };
    loop {
        match connect_store(&c.client_addr(0), &options).await {
            Ok(connection) => return Arc::new(connection),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Very many clients write once each.
async fn flood(connection: &Arc<StoreConnection>, count: u64) {
    let begun = Instant::now();
    let next = Arc::new(AtomicU64::new(1));
    let mut tasks = vec![];
    for _ in 0..WRITERS {
        let (connection, next) = (Arc::clone(connection), Arc::clone(&next));
        tasks.push(tokio::spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n > count {
                    return;
                }
                // A full table may refuse; the flood is what it lets in.
                for _ in 0..20 {
                    let key = format!("other/{}", n % 100);
                    if write(&connection, FIRST_OTHER + u128::from(n), &key).await.is_ok() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }));
    }
    for task in tasks {
        task.await.expect("a writer");
    }
    println!("{count} other clients wrote once each in {:.1?}", begun.elapsed());
}

/// Through the protocol itself. Whether it was applied once.
pub async fn through_protocol(arguments: &Arguments) -> Result<bool, String> {
    let c = one_node(arguments)?;
    let connection = connect(&c).await;
    let first = loop {
        match write(&connection, FIRST_CLIENT, "order").await {
            Ok(revision) => break revision,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let again = write(&connection, FIRST_CLIENT, "order").await;
    println!("first write: revision {first}; sent again at once: {again:?}");
    flood(&connection, arguments.count).await;
    let again = write(&connection, FIRST_CLIENT, "order").await;
    let twice = again.as_ref().is_ok_and(|revision| *revision != first);
    let verdict = if twice { "APPLIED TWICE" } else { "once" };
    println!("sent again under the same request id: {again:?}: {verdict}");
    finish(c);
    Ok(!twice)
}

/// Through the client library: a proxy swallows the answers of its first connection; the client
/// sends the write again by itself, and tells its caller one revision.
pub async fn through_client(arguments: &Arguments) -> Result<bool, String> {
    let c = one_node(arguments)?;
    let swallow = Arc::new(AtomicBool::new(false));
    let listener = TcpListener::bind(PROXY).await.map_err(|error| error.to_string())?;
    tokio::spawn(proxy(listener, c.client_addr(0), Arc::clone(&swallow)));
    let direct = c.client(&[0], 5_000, 2_000, false);
    while direct.put("warm", "x").await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let client = chainfire::Client::builder()
        .endpoints([PROXY])
        .credentials(&c.credentials)
        .timeout(Duration::from_secs(120))
        .attempt_timeout(Duration::from_secs(15))
        .build()
        .map_err(|error| error.to_string())?;
    client.status().await.map_err(|error| error.to_string())?;
    swallow.store(true, Ordering::SeqCst);
    let put = tokio::spawn({
        let client = client.clone();
        async move { client.put("order", "charge the card").await }
    });
    let first = loop {
        if let Some(pair) = direct.get("order").await.map_err(|error| error.to_string())? {
            break pair;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    println!(
        "applied at revision {}, version {}; its answer is swallowed",
        first.mod_revision, first.version
    );
    flood(&connect(&c).await, arguments.count).await;
    swallow.store(false, Ordering::SeqCst);
    let answer = put.await.expect("the put").map(|answer| answer.revision);
    let after = direct.get("order").await.map_err(|error| error.to_string())?;
    let version = after.as_ref().map_or(0, |pair| pair.version);
    let verdict = if version > 1 { "APPLIED TWICE" } else { "once" };
    println!(
        "the client's one put ended with {answer:?}; the key has version {version}: {verdict}"
    );
    finish(c);
    Ok(version == 1)
}

/// Passes connections on; while it swallows, answers vanish, and the connection is as good as dead.
async fn proxy(listener: TcpListener, to: String, swallow: Arc<AtomicBool>) {
    while let Ok((near, _)) = listener.accept().await {
        let Ok(far) = TcpStream::connect(&to).await else { continue };
        let (mut near_read, mut near_write) = near.into_split();
        let (mut far_read, mut far_write) = far.into_split();
        tokio::spawn(async move {
            // Its end is seen by the other side.
            let _ = tokio::io::copy(&mut near_read, &mut far_write).await;
        });
        let swallow = Arc::clone(&swallow);
        tokio::spawn(async move {
            let mut buffer = [0u8; 4096];
            let mut swallowed = false;
            while let Ok(n) = far_read.read(&mut buffer).await {
                swallowed |= swallow.load(Ordering::SeqCst);
                let passed = swallowed || near_write.write_all(&buffer[..n]).await.is_ok();
                if n == 0 || !passed {
                    return;
                }
            }
        });
    }
}

fn finish(mut c: Cluster) {
    c.stop_all();
    // Leftovers in a temporary directory are no finding.
    let _ = std::fs::remove_dir_all(&c.root);
}
