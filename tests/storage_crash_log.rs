//! The log and SIGKILL: a real child process writes, stops at a named place, and is killed there.
//!
//! This program starts itself again as the child (`as_a_child`, told by variables what to do).
//! The child prints what was acknowledged; this side kills it, opens the directory itself, and
//! compares. Crash points exist in debug builds only, and so do these tests.

#![cfg(all(feature = "server", debug_assertions))]
#![allow(clippy::unwrap_used, reason = "a test program")]

#[path = "storage_log/support.rs"]
mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use chainfire::consensus::{RaftEntry, RaftVote};
use chainfire::storage::{LogStore, crash_point};
use openraft::storage::{RaftLogReader, RaftLogStorage};
use support::{SMALL, append, entries, entry, indexes, log_id, open, read, start_append};

const SCENARIO: &str = "CHAINFIRE_TEST_SCENARIO";
const DIRECTORY: &str = "CHAINFIRE_TEST_DIRECTORY";

/// Entries of one append in the scenarios, to see halves.
const BATCH: u64 = 5;

// ---- the child ----------------------------------------------------------------------------------

/// Not captured by the test harness, and whole lines at once.
fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    output.write_all(format!("\n{line}\n").as_bytes()).unwrap();
    output.flush().unwrap();
}

#[tokio::test]
#[ignore = "the other tests start it"]
async fn as_a_child() {
    let directory = std::env::var(DIRECTORY).unwrap();
    let (mut log, mut watch) = open(Path::new(&directory), SMALL).unwrap();
    match std::env::var(SCENARIO).unwrap().as_str() {
        "append" => append_for_ever(&log, next_index(&log).await).await,
        "vote" => {
            for term in 1.. {
                log.save_vote(&RaftVote::new(term, 1)).await.unwrap();
                say(&format!("acknowledged {term}"));
            }
        }
        "truncate" => {
            append(&log, entries(1, 0..50)).await.unwrap();
            say("acknowledged 49");
            log.truncate_after(Some(log_id(1, 20))).await.unwrap();
            say("truncated");
            append_for_ever(&log, 21).await;
        }
        "purge" => {
            append(&log, entries(1, 0..200)).await.unwrap();
            say("acknowledged 199");
            // What a transaction appends it may delete twice over: here it is to take steps.
            on_the_disk(&log, 200).await;
            log.purge(log_id(1, 149)).await.unwrap();
            on_the_disk(&log, 50).await;
            append_for_ever(&log, 200).await;
        }
        "fill" => {
            let mut index = next_index(&log).await;
            let failure = loop {
                match append(&log, vec![entry(1, index, 3000)]).await {
                    Ok(()) => say(&format!("acknowledged {index}")),
                    Err(error) => break error,
                }
                index += 1;
            };
            say(&format!("failed {failure}"));
            say(&format!("fatal {}", watch.failed().await));
            let refused = start_append(&log, vec![entry(1, index, 16)]).await.unwrap_err();
            say(&format!("refused {refused}"));
        }
        unknown => panic!("no scenario {unknown}"),
    }
}

async fn next_index(log: &LogStore) -> u64 {
    let last = log.clone().get_log_state().await.unwrap().last_log_id;
    last.map_or(0, |last| last.index + 1)
}

/// Waits until the tables hold so many entries.
async fn on_the_disk(log: &LogStore, entries: u64) {
    while log.stats().unwrap().disk_entries != entries {
        tokio::task::yield_now().await;
    }
}

/// Appends of [`BATCH`] entries, four of them on their way at any time.
async fn append_for_ever(log: &LogStore, first: u64) {
    let mut waiting = std::collections::VecDeque::new();
    for start in (first..).step_by(BATCH as usize) {
        let batch = (start..start + BATCH).map(|index| entry(1, index, 500)).collect();
        waiting.push_back((start, start_append(log, batch).await.unwrap()));
        if waiting.len() == 4 {
            let (start, flushed) = waiting.pop_front().unwrap();
            flushed.await.unwrap().unwrap();
            say(&format!("acknowledged {}", start + BATCH - 1));
        }
    }
}

// ---- this side ----------------------------------------------------------------------------------

/// A running child and what it says.
struct Run {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    /// The highest number that was acknowledged.
    acknowledged: Option<u64>,
}

impl Run {
    /// Starts `scenario` in `directory`, to stop at `crash_point` (`NAME` or `NAME:NTH`), with
    /// files limited to `file_blocks_max` blocks of 512 bytes.
    fn start(
        scenario: &str,
        directory: &Path,
        crash_point: Option<&str>,
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
            .stdout(Stdio::piped());
        match crash_point {
            Some(name) => command.env(crash_point::VARIABLE, name),
            None => command.env_remove(crash_point::VARIABLE),
        };
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, acknowledged: None }
    }

    /// Reads until a line starts with `start`; answers the rest of it.
    fn until(&mut self, start: &str) -> String {
        loop {
            let line = self.lines.next().unwrap_or_else(|| panic!("ended before '{start}'"));
            let line = line.unwrap();
            if let Some(number) = line.strip_prefix("acknowledged ") {
                self.acknowledged = Some(number.parse().unwrap());
            }
            if let Some(rest) = line.strip_prefix(start) {
                return rest.trim().to_owned();
            }
        }
    }

    /// SIGKILL, and what was acknowledged until then.
    fn kill(mut self) -> Option<u64> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // What it said before it died counts.
        for line in self.lines.map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("acknowledged ") {
                self.acknowledged = Some(number.parse().unwrap());
            }
        }
        self.acknowledged
    }
}

/// Runs `scenario` in `directory` until `crash_point`, kills it there, and opens what it left.
fn crash(scenario: &str, crash_point: &str, directory: &Path) -> (LogStore, Option<u64>) {
    let mut run = Run::start(scenario, directory, Some(crash_point), None);
    run.until("crash point ");
    let acknowledged = run.kill();
    (open(directory, SMALL).unwrap().0, acknowledged)
}

/// All entries, which must be what was written and consecutive.
async fn whole(log: &LogStore) -> Vec<RaftEntry> {
    let found = read(log, 0..u64::MAX).await.unwrap();
    for found in &found {
        let openraft::EntryPayload::Normal(command) = &found.payload else {
            panic!("not written: {found}");
        };
        let written =
            entry(found.log_id.committed_leader_id().term, found.log_id.index, command.0.len());
        assert_eq!(found, &written);
    }
    let first = found.first().map_or(0, |first| first.log_id.index);
    let expected: Vec<u64> = (first..first + found.len() as u64).collect();
    assert_eq!(indexes(&found), expected);
    found
}

/// The log takes more, after whatever happened to it.
async fn goes_on(log: &LogStore) {
    let next = next_index(log).await;
    append(log, vec![entry(9, next, 16)]).await.unwrap();
    assert_eq!(indexes(&read(log, next..next + 9).await.unwrap()), [next]);
}

#[tokio::test]
async fn killed_before_a_commit_nothing_of_the_batch_is_there() {
    for nth in [1, 2, 5] {
        let directory = tempfile::tempdir().unwrap();
        let point = format!("log.before_commit:{nth}");
        let (log, acknowledged) = crash("append", &point, directory.path());
        let found = whole(&log).await.len() as u64;
        let acknowledged = acknowledged.map_or(0, |last| last + 1);
        assert!(found >= acknowledged, "{found} of {acknowledged} acknowledged are there");
        assert_eq!(found % BATCH, 0, "no part of an append");
        if nth == 1 {
            assert_eq!(found, 0);
        }
        goes_on(&log).await;
    }
}

#[tokio::test]
async fn killed_after_a_commit_all_of_the_batch_is_there() {
    for nth in [1, 2, 5] {
        let directory = tempfile::tempdir().unwrap();
        let point = format!("log.after_commit:{nth}");
        let (log, acknowledged) = crash("append", &point, directory.path());
        let found = whole(&log).await.len() as u64;
        let acknowledged = acknowledged.map_or(0, |last| last + 1);
        assert!(found > acknowledged, "{found}: committed, and never acknowledged");
        assert_eq!(found % BATCH, 0, "no part of an append");
        goes_on(&log).await;
    }
}

/// Between the journal and the tables: what was acknowledged is in the one or the other.
#[tokio::test]
async fn killed_while_the_tables_take_over_nothing_acknowledged_is_lost() {
    for point in ["log.before_checkpoint", "log.after_checkpoint"] {
        for nth in [1, 2, 5] {
            let directory = tempfile::tempdir().unwrap();
            let (log, acknowledged) = crash("append", &format!("{point}:{nth}"), directory.path());
            let found = whole(&log).await.len() as u64;
            let acknowledged = acknowledged.expect("a checkpoint follows an acknowledgement") + 1;
            assert!(found >= acknowledged, "{found} of {acknowledged} acknowledged are there");
            assert_eq!(found % BATCH, 0, "no part of an append");
            goes_on(&log).await;
        }
    }
}

#[tokio::test]
async fn killed_while_it_saves_a_vote_the_vote_before_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let (log, acknowledged) = crash("vote", "log.save_vote:3", directory.path());
    assert_eq!(acknowledged, Some(2));
    assert_eq!(log.reader().read_vote().await.unwrap(), Some(RaftVote::new(2, 1)));
    drop(log);
    let (log, acknowledged) = crash("vote", "log.after_commit:3", directory.path());
    assert_eq!(acknowledged, Some(2));
    assert_eq!(log.reader().read_vote().await.unwrap(), Some(RaftVote::new(3, 1)));
    goes_on(&log).await;
}

#[tokio::test]
async fn killed_while_it_truncates_all_is_there_or_all_is_removed() {
    for (point, expected) in
        [("log.truncate", 50), ("log.before_commit:2", 50), ("log.after_commit:2", 21)]
    {
        let directory = tempfile::tempdir().unwrap();
        let (log, acknowledged) = crash("truncate", point, directory.path());
        assert_eq!(acknowledged, Some(49));
        assert_eq!(whole(&log).await.len(), expected, "{point}");
        goes_on(&log).await;
    }
}

#[tokio::test]
async fn killed_while_it_purges_what_is_kept_is_whole_and_the_rest_goes_later() {
    for point in ["log.purge", "log.purge:2", "log.purge:4"] {
        let directory = tempfile::tempdir().unwrap();
        let (log, acknowledged) = crash("purge", point, directory.path());
        let found = whole(&log).await;
        let last = found.last().unwrap().log_id.index;
        assert!(last >= acknowledged.unwrap() && last >= 199, "{point}: {last}");
        let state = log.clone().get_log_state().await.unwrap();
        assert_eq!(found[0].log_id.index, 150, "{point}");
        assert_eq!(state.last_purged_log_id, Some(log_id(1, 149)), "{point}");
        goes_on(&log).await;
        while log.stats().unwrap().disk_entries != log.stats().unwrap().entries {
            tokio::task::yield_now().await;
        }
    }
}

/// One directory, killed again and again at no particular place.
#[tokio::test]
async fn killed_at_any_moment_nothing_acknowledged_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let mut entries_before = 0;
    for acknowledgements in [1, 7, 2, 31, 12, 3, 19, 5] {
        let mut run = Run::start("append", directory.path(), None, None);
        for _ in 0..acknowledgements {
            run.until("acknowledged");
        }
        let acknowledged = run.kill().unwrap() + 1;
        let (log, watch) = open(directory.path(), SMALL).unwrap();
        let found = whole(&log).await.len() as u64;
        assert!(found >= acknowledged, "{found} of {acknowledged} acknowledged are there");
        assert!(acknowledged >= entries_before, "the child went on after what was there");
        assert!(watch.current().is_none());
        entries_before = found;
    }
}

#[tokio::test]
async fn a_full_disk_is_fatal_and_clear_and_loses_nothing_acknowledged() {
    // Page by page, and inside a run of pages.
    for file_blocks_max in [2048, 2052, 2060, 2072] {
        let directory = tempfile::tempdir().unwrap();
        let mut run = Run::start("fill", directory.path(), None, Some(file_blocks_max));
        let failed = run.until("failed ");
        assert!(failed.contains("no space left on the disk of "), "{failed}");
        assert!(failed.contains("free space and restart the node"), "{failed}");
        let fatal = run.until("fatal ");
        assert!(failed.ends_with(&fatal), "{failed}; {fatal}");
        let refused = run.until("refused ");
        assert!(refused.starts_with("the store stopped after a failure: no space"), "{refused}");
        assert!(run.child.wait().unwrap().success());
        let acknowledged = run.kill().unwrap();
        assert!(acknowledged > 50, "{acknowledged}");

        let (log, watch) = open(directory.path(), SMALL).unwrap();
        let found = whole(&log).await;
        assert!(found.last().unwrap().log_id.index >= acknowledged);
        goes_on(&log).await;
        assert!(watch.current().is_none());
    }
}
