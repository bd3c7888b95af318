//! The replicated clock, watched from outside: every node tells at the start of a connection what
//! time it has applied. Whatever the nodes' own clocks do, it goes on no faster than the fastest
//! of them runs, and a jump counts for one step.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chainfire::auth::CLIENT_SERVICE;
use chainfire::rpc::transport::{ConnectOptions, connect_store};
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::world::World;

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The fastest clock that a nemesis makes, and some room.
const RATE_MAX: f64 = 2.2;
/// Each fault may add a step for a jump, or for a change of leaders.
const STEP: Duration = Duration::from_secs(2);
const ROOM: Duration = Duration::from_secs(3);

/// The time at the first look and at the last, and how far apart the looks were.
pub struct Watch {
    task: JoinHandle<Option<(u64, u64, Duration)>>,
}

/// Looks at the clock until the clients end.
pub fn watch(c: &Cluster) -> Watch {
    let addresses: Vec<String> = (0..c.slots.len()).map(|slot| c.client_addr(slot)).collect();
    let credentials = Some(Arc::new(c.credentials.signer(CLIENT_SERVICE)));
    let options = ConnectOptions { credentials, ..ConnectOptions::default() };
    let world = Arc::clone(&c.world);
    Watch { task: tokio::spawn(look(world, addresses, options)) }
}

async fn look(
    world: Arc<World>,
    addresses: Vec<String>,
    options: ConnectOptions,
) -> Option<(u64, u64, Duration)> {
    let mut first: Option<(u64, Instant)> = None;
    let mut latest = 0;
    let mut last = Instant::now();
    while !world.stopped() {
        for address in &addresses {
            let connected = tokio::time::timeout(LOOK_EVERY, connect_store(address, &options));
            // Whoever is away tells nothing.
            let Ok(Ok(connection)) = connected.await else { continue };
            first.get_or_insert((connection.time_ms, Instant::now()));
            latest = latest.max(connection.time_ms);
            last = Instant::now();
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    first.map(|(time_ms, at)| (time_ms, latest, last - at))
}

impl Watch {
    /// Says how far the clock went on; what is too far is broken.
    pub async fn end(self, c: &mut Cluster) {
        let Some((first, latest, elapsed)) = self.task.await.expect("the watch") else {
            return c.surprise("no node told the replicated time");
        };
        let went_on = Duration::from_millis(latest.saturating_sub(first));
        let faults = u32::try_from(c.faults.len()).unwrap_or(u32::MAX);
        let most = elapsed.mul_f64(RATE_MAX) + STEP * faults + ROOM;
        let text = format!("replicated time went on by {went_on:.1?} in {elapsed:.1?}");
        c.say(text.clone());
        if went_on > most {
            c.world.report_broken(format!("{text}, at most {most:.1?}"));
        }
    }
}
