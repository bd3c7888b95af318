//! One run: nodes start, clients work, a nemesis strikes, all is healed, and what happened is
//! read back and checked.

mod compare;
mod first;
mod read_back;
mod rollback;
mod settle;
mod summary;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::arguments::{Arguments, DiskFault};
use crate::check::{Replay, Report, check};
use crate::cluster::{Cluster, Disk};
use crate::history::Op;
use crate::mutate;
use crate::nemesis::Nemesis;
use crate::replicated_clock;
use crate::workload;
use crate::world::{Shared, World};

pub use settle::settle;

/// After the faults clients go on for so long.
const AFTER_MS: u64 = 2_500;
/// A client that is told to end has this long.
const CLIENT_END_MAX: Duration = Duration::from_secs(20);

/// A directory for a run of its own.
pub fn root() -> PathBuf {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let (process, run) = (std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
    std::env::temp_dir().join(format!("chainfire-torture-{process}-{run}"))
}

/// What a run found.
pub struct Verdict {
    pub report: Report,
    /// Nodes that differ from each other.
    pub differences: Vec<String>,
    /// What no order of operations could explain.
    pub broken: Vec<String>,
    /// What no fault explains: ends, hangs, refusals.
    pub surprises: Vec<String>,
    pub panics: Vec<String>,
}

impl Verdict {
    /// Whether no promise to a client was broken.
    pub fn safe(&self) -> bool {
        self.report.total() == 0 && self.differences.is_empty() && self.broken.is_empty()
    }

    /// Whether nothing at all was found.
    pub fn good(&self) -> bool {
        self.safe()
            && self.surprises.is_empty()
            && self.panics.is_empty()
            && self.report.undecided == 0
    }
}

/// What the summary tells beside the verdict.
struct Times {
    first_write: Duration,
    /// When all was healed, in nanoseconds since the run began.
    healed_at: u64,
    client_end: Duration,
    settled: Option<Duration>,
    read_back: Duration,
    check: Duration,
}

/// Runs a nemesis.
pub async fn run(arguments: &Arguments, nemesis: &Nemesis) -> Result<Verdict, String> {
    let machines = match arguments.disk_fault {
        Some(DiskFault::NoSync) => nemesis.machines.on(Disk::Lying),
        _ => nemesis.machines,
    };
    let world = World::new(machines.slots, arguments.client_fault, nemesis.compacts);
    let seed = arguments.seed;
    let mut c = Cluster::new(arguments, &machines, world.clone())?;
    for slot in 0..machines.founders {
        c.start(slot);
    }
    let begun = Instant::now();
    first::write(&c, nemesis.preloads, seed).await?;
    let first_write = begun.elapsed();
    c.admin = Some(c.client_of_all(800, 400, false));
    let workers = workload::hire(arguments, &c);
    let tasks: Vec<_> = workers.into_iter().map(|worker| tokio::spawn(worker.run())).collect();
    let watch = machines.own_clocks.then(|| replicated_clock::watch(&c));
    c.rest(1_000).await;
    let until = Instant::now() + Duration::from_secs(arguments.seconds);
    nemesis.run(&mut c, seed, until).await;
    if arguments.disk_fault == Some(DiskFault::Rollback) {
        rollback::strike(&mut c).await;
    }
    c.say("the end: all is healed");
    let healed_at = world.now();
    c.heal();
    c.rest(AFTER_MS).await;
    world.stop.store(true, Ordering::SeqCst);
    let client_end = end_clients(&mut c, tasks).await;
    if let Some(watch) = watch {
        watch.end(&mut c).await;
    }
    let settled = settle(&mut c).await;

    let mut history = std::mem::take(&mut *world.history.lock().unwrap());
    history.sort_by_key(|op| op.call);
    let begun = Instant::now();
    let replay = read_back(&mut c, &world, &history).await;
    let read_back = begun.elapsed();
    let revisions = if nemesis.preloads { 3 } else { 20 };
    let revisions = if nemesis.compacts { 0 } else { revisions };
    let differences = compare::nodes(&c, replay.last, revisions).await;
    let begun = Instant::now();
    let report = check(&world.names, &history, &replay);
    let check = begun.elapsed();
    let verdict = Verdict {
        report,
        differences,
        broken: std::mem::take(&mut *world.broken.lock().unwrap()),
        surprises: std::mem::take(&mut c.surprises),
        panics: c.log_summary().panics,
    };
    let times = Times { first_write, healed_at, client_end, settled, read_back, check };
    summary::print(arguments, &c, &history, &replay, &verdict, &times);
    if arguments.mutate {
        mutate::all(&world.names, &history, &replay, seed)?;
    }
    close(arguments, c, &history, &verdict);
    Ok(verdict)
}

/// Waits for the clients' ends; how long it took.
async fn end_clients(c: &mut Cluster, tasks: Vec<JoinHandle<()>>) -> Duration {
    let begun = Instant::now();
    let mut hanging = 0;
    for task in tasks {
        let left = CLIENT_END_MAX.saturating_sub(begun.elapsed()).max(Duration::from_millis(1));
        hanging += u32::from(tokio::time::timeout(left, task).await.is_err());
    }
    if hanging > 0 {
        c.surprise(format!("{hanging} clients have not ended {CLIENT_END_MAX:?} after the end"));
    }
    begun.elapsed()
}

/// What the cluster says happened; what was seen when it cannot say.
async fn read_back(c: &mut Cluster, world: &Shared, history: &[Op]) -> Replay {
    if world.no_history_reads {
        return Replay::from_seen(history);
    }
    let reader = c.client(&c.live(), 10_000, 3_000, true);
    match read_back::all(world, &reader, history).await {
        Ok(replay) => replay,
        Err(error) => {
            c.surprise(format!("the history cannot be read: {error}"));
            Replay::from_seen(history)
        }
    }
}

/// Ends the nodes; keeps logs and data where something was found.
fn close(arguments: &Arguments, mut c: Cluster, history: &[Op], verdict: &Verdict) {
    c.stop_all();
    // What a planted fault does is no finding.
    let found = !verdict.good() && arguments.planted.is_none();
    if !found && !arguments.keep {
        c.unmount_all();
        // Leftovers in a temporary directory are no finding.
        let _ = fs::remove_dir_all(&c.root);
        return;
    }
    println!("  logs kept in {}", c.root.display());
    let events: String =
        c.events.iter().map(|(t, e)| format!("{:.3} {e}\n", *t as f64 / 1e9)).collect();
    let names = &c.world.names;
    let operations: String = history.iter().map(|op| op.describe(names) + "\n").collect();
    for (file, text) in [("events.txt", events), ("history.txt", operations)] {
        if let Err(error) = fs::write(c.root.join(file), text) {
            eprintln!("{file}: {error}");
        }
    }
    c.unmount_all();
}
