//! Bits flipped in the state's database file, one at a time: whatever is read afterwards is what was
//! written, or is refused by name.
//!
//! Each flip is looked at by a process of its own, for LMDB may read where nothing is mapped; a
//! process that dies by a signal must be explained by the look at the pages that the next start
//! takes. The seed is fixed; set `CHAINFIRE_TEST_SEED` to flip others.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use openraft::EntryPayload;
use openraft::storage::RaftStateMachine as _;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::{StateOptions, StateStore};
use crate::consensus::{EncodedCommand, RaftEntry, RaftLogId};
use crate::machine::{StateView as _, Visits};
use crate::storage::pages::PageFile;
use crate::storage::{DataDir, FatalSink, Identity, NoHooks, StorageError};
use crate::types::{
    ClientId, ClusterId, Command, CompactRequest, DeleteRangeRequest, KeyRange, Operation,
    Principal, PutRequest, RequestId, VersionMeta,
};

const FLIPS: usize = 300;
const SEED: u64 = 20_261_127;
const ENTRIES: u64 = 700;
const KEYS: u64 = 160;
const CLIENTS: u64 = 6;
/// Where the child finds the damaged directory, and the one that it is a copy of.
const DAMAGED: &str = "CHAINFIRE_TEST_DAMAGED";
const RIGHT: &str = "CHAINFIRE_TEST_RIGHT";
const CHILD: &str = "storage::state::damage_tests::a_damaged_state_reads_as_the_right_one";

fn open(path: &Path) -> Result<StateStore, StorageError> {
    let identity =
        || Identity { cluster_id: ClusterId(1), node_id: 1, incarnation: 1, name: "n".into() };
    let directory = DataDir::create_or_open(path, identity)?.0;
    let options = StateOptions {
        map_bytes: 256 << 20,
        flush_interval: Duration::from_secs(3_600),
        ..StateOptions::default()
    };
    StateStore::open(&directory, options, FatalSink::channel().0, Arc::new(NoHooks))
}

/// Keys of several lengths, so that no two nodes of a page are where another was.
fn key(number: u64) -> String {
    format!("key/{number:04}{}", "x".repeat((number % 7) as usize))
}

fn command(index: u64) -> Command {
    let key_number = index * 37 % KEYS;
    let operation = match index {
        500 => Operation::Compact(CompactRequest { revision: 300 }),
        _ if index % 9 == 8 => Operation::DeleteRange(DeleteRangeRequest {
            range: KeyRange::single(key(key_number)),
            prev_kv: false,
        }),
        _ => {
            let length = if index.is_multiple_of(50) { 6_000 } else { 20 + index as usize % 90 };
            let value = vec![index as u8; length];
            let (key, value) = (key(key_number).into(), value.into());
            Operation::Put(PutRequest { key, value, ..PutRequest::default() })
        }
    };
    let client = ClientId(u128::from(index % CLIENTS));
    let sequence = index / CLIENTS + 1;
    let id =
        RequestId { client, sequence, lowest_unanswered: sequence, begun_ms: 0, window_ms: 60_000 };
    let request_id = index.is_multiple_of(3).then_some(id.into());
    Command {
        request_id,
        principal: Principal::cluster(),
        auth_revision: 0,
        leader_time_ms: index,
        operation,
    }
}

/// A state with a history, deletions, a compaction, long values and sessions, in a few hundred pages.
async fn make(path: &Path) {
    let store = open(path).expect("a new state");
    for index in 0..ENTRIES {
        let payload = EntryPayload::Normal(EncodedCommand(command(index).encode()));
        let entry = RaftEntry { log_id: RaftLogId::new_term_index(1, index), payload };
        store.clone().apply(stream::iter([Ok((entry, None))])).await.expect("applied");
        if index % 60 == 59 {
            store.flush().await.expect("flushed");
        }
    }
    store.flush().await.expect("flushed");
    store.shutdown();
}

type Pairs = BTreeMap<Bytes, (VersionMeta, Bytes)>;

fn pairs(store: &StateStore, range: &KeyRange, at: u64) -> Result<Pairs, StorageError> {
    let view = store.view()?;
    let mut found = Vec::new();
    view.scan(range, at, &Visits::unlimited(), &mut |key, meta| {
        found.push((Bytes::copy_from_slice(key), *meta));
        ControlFlow::Continue(())
    })?;
    let with_value =
        |(key, meta): (Bytes, VersionMeta)| Ok((key, (meta, view.value(meta.mod_revision)?)));
    found.into_iter().map(with_value).collect()
}

/// Both, when they differ; none of what is refused by name.
fn differ<T: PartialEq>(
    what: &str,
    right: Result<T, StorageError>,
    damaged: Result<T, StorageError>,
) -> Option<String> {
    let right = right.expect("nothing is wrong with it");
    match damaged {
        Ok(damaged) if damaged == right => None,
        Ok(_) => Some(format!("another answer to {what}")),
        Err(error) if error.is_damage() => None,
        Err(error) => Some(format!("no damage is named by {what}: {error}")),
    }
}

/// What reads otherwise: every key, there or not, now and at old revisions, and every kind of range.
fn differences(right: &StateStore, damaged: &StateStore) -> Vec<String> {
    let (revision, compacted) = {
        let view = right.view().expect("a view");
        (view.revision(), view.compact_revision())
    };
    let revisions = || (compacted..=revision).step_by(71).chain([revision]);
    let both = |read: &dyn Fn(&StateStore) -> Result<Pairs, StorageError>, what: String| {
        differ(&what, read(right), read(damaged))
    };
    let mut found = Vec::new();
    for at in revisions() {
        let all = KeyRange::all();
        found.extend(both(&|store| pairs(store, &all, at), format!("all at {at}")));
        for number in 0..KEYS {
            for key in [key(number), format!("{}-", key(number))] {
                let one = KeyRange::single(key.clone());
                found.extend(both(&|store| pairs(store, &one, at), format!("{key} at {at}")));
            }
        }
        for number in (0..KEYS).step_by(11) {
            let some = KeyRange::between(key(number), key(number + 5));
            found.extend(both(&|store| pairs(store, &some, at), format!("range {number} at {at}")));
            let tail = KeyRange::from(key(number));
            found.extend(both(&|store| pairs(store, &tail, at), format!("tail {number} at {at}")));
        }
    }
    for client in 0..CLIENTS + 1 {
        let session = |store: &StateStore| store.view()?.session(ClientId(u128::from(client)));
        found.extend(differ("a session", session(right), session(damaged)));
    }
    let hash = |store: &StateStore| Ok(store.hash_at(ENTRIES - 1));
    found.extend(differ("the hash", hash(right), hash(damaged)));
    found
}

#[tokio::test]
#[ignore = "the sweep below runs it, in a process for each flip"]
async fn a_damaged_state_reads_as_the_right_one() {
    let directory = |name| PathBuf::from(std::env::var_os(name).expect("the sweep names it"));
    let right = open(&directory(RIGHT)).expect("nothing is wrong with it");
    match open(&directory(DAMAGED)) {
        Ok(damaged) => {
            let differences = differences(&right, &damaged);
            assert!(differences.is_empty(), "{differences:?}");
        }
        Err(error) => {
            let is_named = error.is_damage() || matches!(error, StorageError::Missing { .. });
            assert!(is_named, "{error}");
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &target),
            false => copy_file(&entry.path(), &target),
        }
    }
}

/// Without the hole at the end of a database.
fn copy_file(from: &Path, to: &Path) {
    let mut contents = fs::read(from).expect("a readable file");
    if from.ends_with("data.mdb") {
        let file = PageFile::open(from).expect("a database").expect("it is not empty");
        contents.truncate((file.last_page as usize + 1) * file.page_bytes);
    }
    fs::write(to, contents).expect("a copy");
}

fn flip(path: &Path, bit: u64) {
    let file = fs::File::options().read(true).write(true).open(path).expect("the database");
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit / 8).expect("a byte");
    file.write_all_at(&[byte[0] ^ (1 << (bit % 8))], bit / 8).expect("written");
}

/// What the look at the pages says; none when it finds nothing.
fn named_by_the_pages(path: &Path) -> Option<String> {
    let file = match PageFile::open(path) {
        Ok(file) => file.expect("it is not empty"),
        Err(error) => return Some(error.to_string()),
    };
    let outcome = super::verify::verify_pages(&file);
    outcome.err().map(|error| error.to_string())
}

#[tokio::test]
async fn no_flipped_bit_of_a_state_changes_what_is_read() {
    let seed = std::env::var("CHAINFIRE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(SEED);
    println!("seed {seed}");
    let directory = tempfile::tempdir().expect("a directory");
    let right = directory.path().join("right");
    make(&right).await;
    let data = right.join("state/1/data.mdb");
    let file = PageFile::open(&data).expect("a database").expect("it is not empty");
    assert_eq!(named_by_the_pages(&data), None, "nothing is wrong with it yet");
    let pages = file.pages_in_use();
    assert!(pages.len() > 40, "{} pages in use", pages.len());
    let mut rng = SmallRng::seed_from_u64(seed);
    let (mut unnamed, mut killed) = (0, 0);
    for number in 0..FLIPS {
        let page = pages[rng.random_range(0..pages.len())];
        let bytes = file.page_bytes as u64;
        let bit = (page * bytes + rng.random_range(0..bytes)) * 8 + rng.random_range(0..8);
        let place = format!("flip {number}, page {page}, bit {bit}");
        let damaged = directory.path().join("damaged");
        copy(&right, &damaged);
        let damaged_data = damaged.join("state/1/data.mdb");
        flip(&damaged_data, bit);
        let child = Process::new(std::env::current_exe().expect("this program"))
            .args([CHILD, "--exact", "--ignored", "--nocapture"])
            .envs([(RIGHT, &right), (DAMAGED, &damaged)])
            .output()
            .expect("a child");
        let named = named_by_the_pages(&damaged_data);
        unnamed += usize::from(named.is_none());
        if child.status.signal().is_some() {
            killed += 1;
            assert!(named.is_some(), "{place}: a death that nothing explains");
        } else {
            let output = String::from_utf8_lossy(&child.stdout);
            let errors = String::from_utf8_lossy(&child.stderr);
            assert!(child.status.success(), "{place}: {output}{errors}");
            assert!(output.contains("1 passed"), "{place}: {output}");
        }
        fs::remove_dir_all(&damaged).expect("removed");
    }
    println!("{FLIPS} flips: {killed} deaths by signal, {unnamed} in bytes that hold nothing");
}
