//! The state and SIGKILL: a real child process applies, stops at a named place, and is killed
//! there.
//!
//! This program starts itself again as the child (`as_a_child`, told by variables what to do).
//! What the child applies follows from the index of each entry, so this side knows the state at
//! every point of the log. Crash points exist in debug builds only, and so do these tests.

#![cfg(all(feature = "server", debug_assertions))]
#![allow(clippy::unwrap_used, reason = "a test program")]

#[path = "support/mod.rs"]
mod shared_support;
#[path = "storage_state/support.rs"]
mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use chainfire::machine::StateView;
use chainfire::storage::{
    FatalWatch, SnapshotFile, StateOptions, StateStore, StorageError, crash_point,
};
use chainfire::types::{
    ClientId, ClusterId, Command as LogCommand, KeyRange, LogId, Operation, RequestId,
};
use openraft::storage::RaftStateMachine;
use shared_support::memory_view::MemoryView;
use shared_support::requests::{all_of, compact, delete, put_request, txn_put};
use support::{
    apply, build_snapshot, command, entry, hasty, install_snapshot, last_index, log_id, next_index,
    open, pairs, receive, unhurried, until,
};

const SCENARIO: &str = "CHAINFIRE_TEST_SCENARIO";
const DIRECTORY: &str = "CHAINFIRE_TEST_DIRECTORY";
/// Where the snapshot to install comes from.
const DONOR: &str = "CHAINFIRE_TEST_DONOR";
/// Entries applied together.
const BATCH: u64 = 10;

/// Entries without a compaction among them, so that the one after them has much to do.
const UNCOMPACTED: std::ops::Range<u64> = 200..15_000;

/// What is in the log at `index`.
fn command_at(index: u64) -> LogCommand {
    let key = format!("key/{:02}", index * 7 % 50);
    let operation = match index % 20 {
        3 => delete(KeyRange::prefix(format!("key/{}", index / 20 % 5))),
        11 if !UNCOMPACTED.contains(&index) => {
            compact(if index < UNCOMPACTED.start { index * 2 / 3 } else { index - 150 }.max(2))
        }
        13 | 17 => Operation::Txn(all_of(vec![
            txn_put(key, format!("{index}")),
            txn_put("pair/one", format!("{index}")),
            txn_put("pair/two", format!("{index}")),
        ])),
        _ => Operation::Put(put_request(key, vec![index as u8; 200])),
    };
    let request_id = RequestId {
        client: ClientId(1 + u128::from(index % 3)),
        sequence: index / 3 + 1,
        lowest_unanswered: (index / 3 + 1).saturating_sub(4).max(1),
        begun_ms: 0,
        window_ms: 0,
    };
    let request_id = Some(request_id.into());
    LogCommand { request_id, leader_time_ms: index * 10, ..command(operation) }
}

/// The state after every entry up to `last`.
fn expected(last: Option<u64>) -> MemoryView {
    let mut model = MemoryView::new();
    for index in 0..last.map_or(0, |last| last + 1) {
        model.apply(&command_at(index));
    }
    model
}

// ---- the child ----------------------------------------------------------------------------------

/// Not captured by the test harness, and whole lines at once.
fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    output.write_all(format!("\n{line}\n").as_bytes()).unwrap();
    output.flush().unwrap();
}

/// Little at a time, so that there is much to interrupt.
fn small() -> StateOptions {
    StateOptions { flush_bytes: 8 << 10, ..hasty() }
}

/// The same, and an installed snapshot's history follows a few versions at a time.
fn settling() -> StateOptions {
    StateOptions {
        install_history_bytes: 0,
        settle_bytes: 4_000,
        settle_rest: Duration::ZERO,
        ..small()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the other tests start it"]
async fn as_a_child() {
    let directory = std::env::var(DIRECTORY).unwrap();
    let scenario = std::env::var(SCENARIO).unwrap();
    let options = if scenario == "settle" { settling() } else { small() };
    let (store, mut watch) = open(Path::new(&directory), options).unwrap();
    match scenario.as_str() {
        "apply" => apply_for_ever(&store).await,
        "compact" => {
            apply_up_to(&store, UNCOMPACTED.end + 20).await;
            store.flush().await.unwrap();
            say(&format!("durable {}", UNCOMPACTED.end + 19));
            std::future::pending().await
        }
        "export" => {
            apply_up_to(&store, 200).await;
            build_snapshot(&store).await.unwrap();
            say("built");
            apply_up_to(&store, 400).await;
            build_snapshot(&store).await.unwrap();
            apply_for_ever(&store).await;
        }
        "install" | "settle" => {
            apply_up_to(&store, 100).await;
            store.flush().await.unwrap();
            let donor = std::env::var(DONOR).unwrap();
            let file = receive(Path::new(&directory), Path::new(&donor));
            install_snapshot(&store, file).await.unwrap();
            apply_for_ever(&store).await;
        }
        "fill" => {
            let failure = loop {
                let next = next_index(&store);
                let batch = (next..next + BATCH).map(|index| entry(index, &command_at(index)));
                if let Err(error) = apply(&store, batch).await {
                    break error.to_string();
                }
                if let Err(error) = store.flush().await {
                    break error.to_string();
                }
                say(&format!("durable {}", next + BATCH - 1));
            };
            say(&format!("failed {failure}"));
            say(&format!("fatal {}", watch.failed().await));
            assert!(store.view().unwrap().revision() > 1, "reading goes on");
        }
        unknown => panic!("no scenario {unknown}"),
    }
}

async fn apply_up_to(store: &StateStore, end: u64) {
    let entries = (next_index(store)..end).map(|index| entry(index, &command_at(index)));
    apply(store, entries).await.unwrap();
}

/// Batches without end, telling what is durable.
async fn apply_for_ever(store: &StateStore) {
    loop {
        apply_up_to(store, next_index(store) + BATCH).await;
        let durable = *store.durable().borrow();
        if let Some(LogId { index, .. }) = durable {
            say(&format!("durable {index}"));
        }
    }
}

// ---- this side ----------------------------------------------------------------------------------

/// A running child and what it says.
struct Run {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    /// The last entry that was said to be durable.
    durable: Option<u64>,
}

impl Run {
    /// Starts `scenario` in `directory`, to stop at `crash_point` (`NAME` or `NAME:NTH`), with
    /// files limited to `file_blocks_max` blocks of 512 bytes.
    fn start(
        scenario: &str,
        directory: &Path,
        crash_point: Option<&str>,
        donor: Option<&Path>,
        file_blocks_max: Option<u32>,
    ) -> Self {
        let this_program = std::env::current_exe().unwrap();
        let mut command = match file_blocks_max {
            None => Command::new(this_program),
            Some(blocks) => {
                // A write beyond the limit then fails with EFBIG, and does not kill.
                let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(script).arg(this_program);
                shell
            }
        };
        command
            .args(["as_a_child", "--exact", "--ignored", "--nocapture"])
            .env(SCENARIO, scenario)
            .env(DIRECTORY, directory)
            .env(DONOR, donor.unwrap_or(directory))
            .stdout(Stdio::piped());
        match crash_point {
            Some(name) => command.env(crash_point::VARIABLE, name),
            None => command.env_remove(crash_point::VARIABLE),
        };
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, durable: None }
    }

    fn note(&mut self, line: &str) {
        if let Some(number) = line.strip_prefix("durable ") {
            self.durable = Some(number.parse().unwrap());
        }
    }

    /// Reads until a line starts with `start`; answers the rest of it.
    fn until(&mut self, start: &str) -> String {
        loop {
            let line = self.lines.next().unwrap_or_else(|| panic!("ended before '{start}'"));
            let line = line.unwrap();
            self.note(&line);
            if let Some(rest) = line.strip_prefix(start) {
                return rest.trim().to_owned();
            }
        }
    }

    /// SIGKILL, and what was durable until then.
    fn kill(mut self) -> Option<u64> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // What it said before it died counts.
        while let Some(Ok(line)) = self.lines.next() {
            self.note(&line);
        }
        self.durable
    }
}

/// Runs `scenario` in `directory` until `crash_point` and kills it there. Answers what was said
/// to be durable.
fn crash(scenario: &str, crash_point: &str, directory: &Path, donor: Option<&Path>) -> Option<u64> {
    let mut run = Run::start(scenario, directory, Some(crash_point), donor, None);
    run.until("crash point ");
    run.kill()
}

/// The state is exactly that of the log up to where it says it is; answers where that is.
fn whole(store: &StateStore) -> Option<u64> {
    let applied = *store.applied().borrow();
    let last = applied.log_id.map(|log_id| log_id.index);
    let model = expected(last);
    let view = store.view().unwrap();
    assert_eq!(view.revision(), model.revision);
    assert_eq!(view.compact_revision(), model.compact_revision);
    assert_eq!(applied.leader_time_ms, last.unwrap_or(0) * 10);
    for at in model.compact_revision.max(1)..=model.revision {
        let everything = KeyRange::all();
        assert_eq!(pairs(&view, &everything, at), pairs(&model, &everything, at), "at {at}");
    }
    assert_eq!(store.stats().unwrap().sessions, model.sessions.len());
    assert_eq!(view.forgotten(), model.forgotten);
    for (client, session) in &model.sessions {
        assert_eq!(view.session(*client).unwrap().as_ref(), Some(session));
    }
    last
}

/// Opens a directory that this process has just closed. A child that another test is about to start
/// has the lock for a moment: until it is another program.
fn open_again(directory: &Path) -> (StateStore, FatalWatch) {
    let opened = std::cell::OnceCell::new();
    until(|| match open(directory, unhurried()) {
        Err(StorageError::DirectoryInUse { .. }) => false,
        other => opened.set(other.unwrap()).is_ok(),
    });
    opened.into_inner().unwrap()
}

/// Applying goes on from there, compaction included, and survives a further opening.
async fn goes_on(store: StateStore, directory: &Path) {
    let end = next_index(&store) + 60;
    apply_up_to(&store, end).await;
    store.flush().await.unwrap();
    whole(&store);
    let model = expected(Some(end - 1));
    let versions: usize = model.history.values().map(Vec::len).sum();
    until(|| store.stats().unwrap().versions == versions as u64);
    drop(store);
    let (store, watch) = open_again(directory);
    assert_eq!(whole(&store), Some(end - 1));
    assert!(watch.current().is_none());
}

#[tokio::test]
async fn killed_around_a_commit_the_state_is_whole_and_nothing_durable_is_lost() {
    let points = ["state.before_commit", "state.after_commit"];
    for (point, nth) in points.iter().flat_map(|point| [1, 2, 7].map(|nth| (point, nth))) {
        let directory = tempfile::tempdir().unwrap();
        let durable = crash("apply", &format!("{point}:{nth}"), directory.path(), None);
        let (store, _watch) = open(directory.path(), unhurried()).unwrap();
        let found = whole(&store);
        assert!(found >= durable, "{point}:{nth}: {found:?} of {durable:?}");
        if *point == "state.after_commit" {
            assert!(found > durable, "{point}:{nth}: committed, and not yet told");
        } else if nth == 1 {
            assert_eq!(found, None, "{point}");
        }
        goes_on(store, directory.path()).await;
    }
}

#[tokio::test]
async fn killed_while_it_compacts_the_rest_is_removed_later() {
    let points = ["state.before_compaction_commit", "state.after_compaction_commit"];
    for (point, nth) in points.iter().flat_map(|point| [1, 2].map(|nth| (point, nth))) {
        let directory = tempfile::tempdir().unwrap();
        let durable = crash("compact", &format!("{point}:{nth}"), directory.path(), None);
        let (store, _watch) = open(directory.path(), unhurried()).unwrap();
        assert!(whole(&store) >= durable, "{point}:{nth}");
        goes_on(store, directory.path()).await;
    }
}

#[tokio::test]
async fn killed_in_an_export_the_last_snapshot_is_the_one_before() {
    let points = [
        ("snapshot.in_export:1", None),
        ("snapshot.in_export:3", None),
        ("snapshot.before_rename", None),
        ("snapshot.in_export:10", Some(199)),
        ("snapshot.before_rename:2", Some(199)),
        ("snapshot.after_rename:2", Some(399)),
    ];
    for (point, expected) in points {
        let directory = tempfile::tempdir().unwrap();
        crash("export", point, directory.path(), None);
        let (store, _watch) = open(directory.path(), unhurried()).unwrap();
        whole(&store);
        let current = store.current_snapshot();
        assert_eq!(current.as_ref().and_then(last_index), expected, "{point}");
        if let Some(current) = current {
            SnapshotFile::open_verified(current.path(), ClusterId(1)).unwrap();
        }
        let unfinished = std::fs::read_dir(directory.path().join("snapshots")).unwrap();
        let unfinished = unfinished
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.ends_with(".snap"));
        assert_eq!(unfinished.count(), 0, "{point}");
        build_snapshot(&store).await.unwrap();
        goes_on(store, directory.path()).await;
    }
}

#[tokio::test]
async fn killed_in_an_install_the_old_state_or_the_new_one_is_there() {
    let donor = tempfile::tempdir().unwrap();
    let (donor_store, _watch) = open(donor.path(), unhurried()).unwrap();
    apply_up_to(&donor_store, 700).await;
    let snapshot = build_snapshot(&donor_store).await.unwrap();
    let points = [
        ("install.built", 99, None),
        ("install.before_switch", 99, None),
        ("install.after_switch", 699, Some(699)),
    ];
    for (point, state, current) in points {
        let directory = tempfile::tempdir().unwrap();
        crash("install", point, directory.path(), Some(snapshot.path()));
        let (mut store, _watch) = open(directory.path(), unhurried()).unwrap();
        assert_eq!(whole(&store), Some(state), "{point}");
        assert_eq!(store.applied_state().await.unwrap().0, Some(log_id(1, state)), "{point}");
        let found = store.current_snapshot().as_ref().and_then(last_index);
        assert_eq!(found, current, "{point}");
        let epochs = std::fs::read_dir(directory.path().join("state")).unwrap().count();
        assert_eq!(epochs, 2, "{point}: CURRENT and one epoch");
        goes_on(store, directory.path()).await;
    }
}

#[tokio::test]
async fn killed_while_history_follows_none_of_it_is_lost() {
    let donor = tempfile::tempdir().unwrap();
    let (donor_store, _watch) = open(donor.path(), unhurried()).unwrap();
    apply_up_to(&donor_store, 200).await;
    let snapshot = build_snapshot(&donor_store).await.unwrap();
    let old_state = ["install.built", "install.before_switch"];
    let new_state = [
        "install.after_switch",
        "state.before_settle_commit",
        "state.before_settle_commit:3",
        "state.after_settle_commit",
        "state.after_settle_commit:5",
    ];
    for point in old_state.into_iter().chain(new_state) {
        let directory = tempfile::tempdir().unwrap();
        let durable = crash("settle", point, directory.path(), Some(snapshot.path()));
        let (store, _watch) = open(directory.path(), settling()).unwrap();
        let found = whole(&store);
        assert!(found >= durable, "{point}: {found:?} of {durable:?}");
        assert_eq!(found >= Some(199), new_state.contains(&point), "{point}");
        goes_on(store, directory.path()).await;
        let backlog = directory.path().join("state/2/backlog.snap");
        assert!(!backlog.exists(), "{point}: it was gone when every version was counted");
    }
}

/// One directory, killed again and again at no particular place.
#[tokio::test]
async fn killed_at_any_moment_the_state_is_whole_and_nothing_durable_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    for flushes in [1, 9, 3, 40, 17, 5] {
        let mut run = Run::start("apply", directory.path(), None, None, None);
        for _ in 0..flushes {
            run.until("durable ");
        }
        let durable = run.kill();
        let (store, watch) = open(directory.path(), unhurried()).unwrap();
        assert!(whole(&store) >= durable);
        assert!(watch.current().is_none());
    }
}

#[tokio::test]
async fn a_full_disk_is_fatal_and_clear_and_loses_nothing_durable() {
    // Page by page, and inside a run of pages.
    for file_blocks_max in [1024, 1036, 1048] {
        let directory = tempfile::tempdir().unwrap();
        let mut run = Run::start("fill", directory.path(), None, None, Some(file_blocks_max));
        let failed = run.until("failed ");
        let fatal = run.until("fatal ");
        assert!(fatal.starts_with("no space left on the disk of "), "{fatal}");
        assert!(fatal.contains("free space and restart the node"), "{fatal}");
        assert_eq!(failed, format!("the store stopped after a failure: {fatal}"));
        assert!(run.child.wait().unwrap().success());
        let durable = run.kill();
        assert!(durable > Some(20), "{durable:?}");
        let (store, _watch) = open(directory.path(), unhurried()).unwrap();
        assert!(whole(&store) >= durable);
        goes_on(store, directory.path()).await;
    }
}

#[tokio::test]
async fn a_full_map_is_fatal_and_clear_and_a_larger_one_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let options = StateOptions { map_bytes: 512 << 10, ..hasty() };
    let (store, mut watch) = open(directory.path(), options).unwrap();
    let (mut durable, mut index) = (None, 0);
    let failure = loop {
        let batch = (index..index + BATCH).map(|index| entry(index, &command_at(index)));
        let outcome = apply(&store, batch).await;
        let outcome = match outcome {
            Ok(()) => store.flush().await.map_err(std::io::Error::from),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => durable = Some(index + BATCH - 1),
            Err(error) => break error.to_string(),
        }
        index += BATCH;
        assert!(index < 100_000, "the map never fills");
    };
    let fatal = watch.failed().await.to_string();
    assert!(fatal.contains("reached its 524288 bytes; raise its map size"), "{fatal}");
    assert!(failure.ends_with(&fatal), "{failure}");
    drop(store);
    let (store, _watch) = open(directory.path(), unhurried()).unwrap();
    assert!(whole(&store) >= durable);
    goes_on(store, directory.path()).await;
}
