//! Single-bit flips, counted by what became of them.
//!
//! A cluster of three is prepared once: a history with large values, snapshots on every node, a
//! journal whose last records are nowhere else; and left twice, killed and stopped in order. For
//! each flip the directories are put back, one bit of a byte in use is flipped in one of the three,
//! and all start. Then every key, every revision and the whole range is read through that node,
//! again and again until it has served all of it or has said why it will not.

mod database;
mod model;
mod outcome;
mod places;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chainfire::Client;
use chainfire::types::KeyRange;

use crate::arguments::Arguments;
use crate::cluster::{Cluster, Machines};
use crate::nemesis::{FileKind, files, flip_bit};
use crate::random::{Rng, Stream};
use crate::run;
use crate::system::shell;
use crate::world::World;

pub use outcome::Trial;

use model::{Contents, Model, Pair};
use outcome::{Outcome, summarize};

const NODES: usize = 3;
/// Revisions made before the last restart, and after it.
const REVISIONS: u64 = 260;
const REVISIONS_IN_JOURNAL: u64 = 40;
/// A node has this long to serve everything or to refuse.
const PATIENCE: Duration = Duration::from_secs(25);
/// A node that served everything has this long to name what it found.
const NAMING: Duration = Duration::from_secs(2);
const KINDS: [FileKind; 4] =
    [FileKind::State, FileKind::Log, FileKind::Journal, FileKind::Snapshot];
const CONFIG: &str =
    "[raft]\nsnapshot_every_entries = 60\nlog_kept_entries = 30\nlog_bytes_max = 131072\n";
/// Words with which a node names damage, in lower case.
const NAMES: [&str; 8] = [
    "damage",
    "corrupt",
    "checksum",
    "not trust",
    "distrust",
    "lost acknowledged",
    "seeded anew",
    "re-seed",
];

/// A prepared cluster, in two states.
struct Prepared {
    /// Of each node, after a kill and after an orderly stop.
    killed: Vec<PathBuf>,
    stopped: Vec<PathBuf>,
    /// The journals of each node before the last records.
    journals: Vec<Vec<Vec<u8>>>,
    model: Model,
}

/// Makes the flips; whether the promise was kept.
pub async fn run(arguments: &Arguments) -> Result<bool, String> {
    Ok(summarize(&trials(arguments, &KINDS).await?))
}

/// Makes `--count` flips in files of these kinds in turn.
pub async fn trials(arguments: &Arguments, kinds: &[FileKind]) -> Result<Vec<Trial>, String> {
    let machines = Machines::plain(NODES, NODES).configured(CONFIG);
    let seed = arguments.seed;
    let mut c = Cluster::new(arguments, &machines, World::new(NODES, None, false))?;
    let prepared = prepare(&mut c, seed).await?;
    let (count, last) = (arguments.count, prepared.model.last());
    println!("FLIPS seed={seed} count={count} revisions up to {last}");
    let mut trials = vec![];
    for number in 0..count {
        let mut rng = Rng::stream(seed, Stream::Flips, number);
        let kind = kinds[(number % kinds.len() as u64) as usize];
        if let Some(trial) = flip(&mut c, &prepared, number, kind, &mut rng).await? {
            trials.push(trial);
        }
    }
    c.stop_all();
    if !arguments.keep {
        // Leftovers in a temporary directory are no finding.
        let _ = fs::remove_dir_all(&c.root);
    }
    Ok(trials)
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let (from, to) = (from.display(), to.display());
    shell(&format!("rm -rf {to} && cp -a --sparse=always {from} {to}"))
}

async fn prepare(c: &mut Cluster, seed: u64) -> Result<Prepared, String> {
    let mut rng = Rng::stream(seed, Stream::Flips, u64::MAX);
    let mut model = Model::default();
    let client = c.client_of_all(20_000, 2_000, true);
    start_all(c);
    await_writes(&client).await?;
    model.write(&client, &mut rng, REVISIONS).await?;
    settled(c).await?;
    // An orderly restart: the tables hold everything, the journal nothing that counts.
    stop_all(c).await;
    start_all(c);
    await_writes(&client).await?;
    settled(c).await?;
    let read = |path: PathBuf| fs::read(path).unwrap_or_default();
    let journals: Vec<Vec<Vec<u8>>> = (0..NODES)
        .map(|slot| files(&c.slots[slot].dir, FileKind::Journal).into_iter().map(read).collect())
        .collect();
    model.write(&client, &mut rng, REVISIONS_IN_JOURNAL).await?;
    settled(c).await?;
    for slot in 0..NODES {
        c.kill(slot);
    }
    let killed = keep(c, "killed")?;
    start_all(c);
    settled(c).await?;
    stop_all(c).await;
    let stopped = keep(c, "stopped")?;
    Ok(Prepared { killed, stopped, journals, model })
}

fn keep(c: &Cluster, name: &str) -> Result<Vec<PathBuf>, String> {
    let mut kept = vec![];
    for slot in 0..NODES {
        let to = c.root.join(format!("{name}{slot}"));
        copy(&c.slots[slot].dir, &to)?;
        kept.push(to);
    }
    Ok(kept)
}

fn start_all(c: &mut Cluster) {
    for slot in 0..NODES {
        c.start(slot);
    }
}

async fn stop_all(c: &mut Cluster) {
    for slot in 0..NODES {
        c.stop(slot).await;
    }
}

async fn settled(c: &mut Cluster) -> Result<(), String> {
    run::settle(c).await.map(|_| ()).ok_or_else(|| c.surprises.join("; "))
}

/// Waits until the cluster takes writes, by deleting what is not there: no revision is made.
async fn await_writes(client: &Client) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        match client.delete("none").await {
            Ok(_) => return Ok(()),
            Err(error) if begun.elapsed() > PATIENCE => return Err(error.to_string()),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// One flip, from putting the directories back to what became of it. None when the file it would
/// be in is not there.
async fn flip(
    c: &mut Cluster,
    prepared: &Prepared,
    number: u64,
    kind: FileKind,
    rng: &mut Rng,
) -> Result<Option<Trial>, String> {
    let slot = rng.index(NODES);
    // What the journal holds alone is there after a kill only.
    let killed = rng.chance(50) || kind == FileKind::Journal;
    let directories = if killed { &prepared.killed } else { &prepared.stopped };
    let journals = &prepared.journals[slot];
    let Some(place) = places::choose(&directories[slot], kind, journals, rng)? else {
        println!("flip {number}: slot {slot} has nothing of {kind:?} in use");
        return Ok(None);
    };
    for (other, from) in directories.iter().enumerate() {
        c.kill(other);
        copy(from, &c.slots[other].dir.clone())?;
        // Each trial reads its own lines only.
        fs::write(&c.slots[other].log, "").map_err(|error| error.to_string())?;
        c.slots[other].damaged = None;
        c.slots[other].wanted = true;
    }
    let path = c.slots[slot].dir.join(&place.file);
    flip_bit(&path, place.offset, place.bit).map_err(|error| error.to_string())?;
    c.slots[slot].damaged = Some(format!("a flip in {kind:?}"));
    c.slots[slot].refusals = 0;
    c.surprises.clear();
    start_all(c);
    let (outcome, words) = watch(c, &prepared.model, slot).await;
    let words = words.chars().take(300).collect();
    c.say(format!("flip {number} {place:?} at {slot}, killed {killed}: {outcome:?} {words}"));
    Ok(Some(Trial { number, slot, place, outcome, words }))
}

/// What a damaged node does: reads through it until all was right, or until it gave up.
async fn watch(c: &mut Cluster, model: &Model, slot: usize) -> (Outcome, String) {
    let client = c.client(&[slot], 2_000, 1_000, false);
    let begun = Instant::now();
    let mut served = None;
    let mut last = String::new();
    while begun.elapsed() < PATIENCE {
        c.rest(20).await;
        if let Some(crash) = c.surprises.first() {
            return (Outcome::Crashed, crash.clone());
        }
        if c.slots[slot].refusals >= 2 {
            return (Outcome::Refused, c.log_tail(slot, 1));
        }
        match read_all(&client, model).await {
            Ok(()) => {
                if let Some(name) = named(c, slot) {
                    return (Outcome::Healed, name);
                }
                let since = *served.get_or_insert_with(Instant::now);
                if since.elapsed() > NAMING {
                    return (Outcome::Unnoticed, String::new());
                }
            }
            Err(Reading::Wrong(what)) => return (Outcome::Wrong, what),
            Err(Reading::Failed(error)) => last = error,
        }
    }
    (Outcome::Stuck, last)
}

/// The line in which a node names damage.
fn named(c: &Cluster, slot: usize) -> Option<String> {
    let log = fs::read(&c.slots[slot].log).unwrap_or_default();
    let text = String::from_utf8_lossy(&log).into_owned();
    let loud = |line: &&str| line.contains(" WARN ") || line.contains("ERROR");
    let names = |line: &&str| {
        let line = line.to_lowercase();
        !line.contains("audit") && NAMES.iter().any(|name| line.contains(name))
    };
    text.lines().filter(loud).find(names).map(str::to_owned)
}

enum Reading {
    /// A read that was answered is not so.
    Wrong(String),
    /// A read was not answered.
    Failed(String),
}

/// Reads every revision whole, then every key alone, linearizable and not.
async fn read_all(client: &Client, model: &Model) -> Result<(), Reading> {
    let failed = |error: chainfire::client::Error| Reading::Failed(error.to_string());
    let last = model.last();
    for revision in model.at.keys() {
        let request = client.range(KeyRange::prefix("f/")).revision(*revision).serializable();
        let answer = request.await.map_err(failed)?;
        same(&format!("at {revision}"), pairs(&answer.kvs), model.contents(*revision))?;
    }
    let answer = client.range(KeyRange::prefix("f/")).await.map_err(failed)?;
    if answer.revision < last {
        return Err(Reading::Wrong(format!("revision {} and not {last}", answer.revision)));
    }
    let expected = model.contents(last);
    same("now", pairs(&answer.kvs), expected.clone())?;
    for (key, pair) in &expected {
        let read = client.get(key.clone()).await.map_err(failed)?;
        let name = String::from_utf8_lossy(key).into_owned();
        if read.as_ref().map(Pair::of).as_ref() != Some(pair) {
            return Err(Reading::Wrong(format!("{name} alone")));
        }
    }
    Ok(())
}

fn pairs(list: &[chainfire::types::KeyValue]) -> Contents {
    list.iter().map(|pair| (pair.key.to_vec(), Pair::of(pair))).collect()
}

fn same(when: &str, read: Contents, expected: Contents) -> Result<(), Reading> {
    if read == expected {
        return Ok(());
    }
    let differs = |key: &&Vec<u8>| read.get(*key) != expected.get(*key);
    let key = expected.keys().chain(read.keys()).find(differs);
    let key = key.map(|key| String::from_utf8_lossy(key).into_owned()).unwrap_or_default();
    Err(Reading::Wrong(format!("{when} {key} differs; {} pairs", read.len())))
}
