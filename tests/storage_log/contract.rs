//! What openraft's suite does not ask of a log.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use chainfire::consensus::{RaftEntry, RaftVote};
use chainfire::storage::{LogOptions, LogStore, StorageHooks};
use futures_util::StreamExt;
use openraft::storage::{RaftLogReader, RaftLogStorage};

use crate::support::{
    ALL_FROM_DISK, SMALL, append, entries, entry, indexes, log_id, open, open_with_hooks, read,
    start_append,
};

/// Stops the writer thread after its commits, until told to go on; lets it run freely once nobody
/// receives the arrivals.
struct Gate {
    commits: Mutex<Vec<usize>>,
    arrived: mpsc::Sender<()>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl Gate {
    /// The gate, where it tells that the writer arrived, and where it is told to let it go on.
    fn new() -> (Arc<Self>, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (arrived, arrivals) = mpsc::channel();
        let (go_on, gone_on) = mpsc::channel();
        let commits = Mutex::default();
        (Arc::new(Self { commits, arrived, go_on: Mutex::new(gone_on) }), arrivals, go_on)
    }
}

impl StorageHooks for Gate {
    fn log_committed(&self, entries: usize, _bytes: usize, _seconds: f64) {
        self.commits.lock().unwrap().push(entries);
        if self.arrived.send(()).is_ok() {
            // Ends when the test is over, too.
            let _ = self.go_on.lock().unwrap().recv();
        }
    }
}

/// Counts commits.
#[derive(Default)]
struct Steps {
    commits: AtomicUsize,
    checkpoints: AtomicUsize,
}

impl StorageHooks for Steps {
    fn log_committed(&self, _entries: usize, _bytes: usize, _seconds: f64) {
        self.commits.fetch_add(1, Ordering::SeqCst);
    }

    fn log_checkpointed(&self, _entries: usize, _seconds: f64) {
        self.checkpoints.fetch_add(1, Ordering::SeqCst);
    }
}

async fn purged_and_last(log: &LogStore) -> (Option<u64>, Option<u64>) {
    let state = log.clone().get_log_state().await.unwrap();
    (state.last_purged_log_id.map(|id| id.index), state.last_log_id.map(|id| id.index))
}

/// Waits until `condition` holds of the log's figures.
async fn until(log: &LogStore, condition: impl Fn(chainfire::storage::LogStats) -> bool) {
    while !condition(log.stats().unwrap()) {
        tokio::task::yield_now().await;
    }
}

/// Every range around places where one more byte of the index begins to count.
#[tokio::test]
async fn reads_answer_exactly_the_indexes_asked_for_across_byte_boundaries() {
    for boundary in [256u64, 65_536, 1 << 32] {
        for options in [SMALL, ALL_FROM_DISK] {
            let directory = tempfile::tempdir().unwrap();
            let (mut log, _watch) = open(directory.path(), options).unwrap();
            let (first, end) = (boundary - 4, boundary + 4);
            log.purge(log_id(1, first - 1)).await.unwrap();
            append(&log, entries(1, first..end)).await.unwrap();
            for start in first - 3..end + 3 {
                for stop in start..end + 3 {
                    let expected: Vec<u64> =
                        (start..stop).filter(|index| (first..end).contains(index)).collect();
                    let found = indexes(&read(&log, start..stop).await.unwrap());
                    assert_eq!(found, expected, "{start}..{stop}");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_was_written_is_there_after_a_reopen() {
    let directory = tempfile::tempdir().unwrap();
    let vote = RaftVote::new_committed(3, 2);
    let (mut log, _watch) = open(directory.path(), SMALL).unwrap();
    append(&log, entries(1, 0..300)).await.unwrap();
    log.truncate_after(Some(log_id(1, 280))).await.unwrap();
    append(&log, entries(2, 281..290)).await.unwrap();
    log.purge(log_id(1, 99)).await.unwrap();
    log.save_vote(&vote).await.unwrap();
    let expected = read(&log, 0..1000).await.unwrap();
    assert_eq!(indexes(&expected), (100..290).collect::<Vec<_>>());
    drop(log);

    let (mut log, _watch) = open(directory.path(), SMALL).unwrap();
    assert_eq!(read(&log, 0..1000).await.unwrap(), expected);
    assert_eq!(purged_and_last(&log).await, (Some(99), Some(289)));
    assert_eq!(log.reader().read_vote().await.unwrap(), Some(vote));
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_log_id, Some(log_id(2, 289)));
}

#[tokio::test]
async fn purging_an_empty_log_answers_the_purged_id_for_both_ends() {
    let directory = tempfile::tempdir().unwrap();
    let (mut log, _watch) = open(directory.path(), SMALL).unwrap();
    log.purge(log_id(4, 1000)).await.unwrap();
    assert_eq!(purged_and_last(&log).await, (Some(1000), Some(1000)));
    drop(log);
    let (log, _watch) = open(directory.path(), SMALL).unwrap();
    assert_eq!(purged_and_last(&log).await, (Some(1000), Some(1000)));
    append(&log, entries(4, 1001..1003)).await.unwrap();
    assert_eq!(indexes(&read(&log, 0..2000).await.unwrap()), [1001, 1002]);
}

#[tokio::test]
async fn purging_beyond_the_end_leaves_no_trace_of_what_was_before() {
    for options in [SMALL, ALL_FROM_DISK] {
        let directory = tempfile::tempdir().unwrap();
        let (mut log, _watch) = open(directory.path(), options).unwrap();
        append(&log, entries(1, 0..50)).await.unwrap();
        let unacknowledged = start_append(&log, entries(1, 50..60)).await.unwrap();
        log.purge(log_id(2, 100)).await.unwrap();
        append(&log, entries(2, 101..111)).await.unwrap();
        unacknowledged.await.unwrap().unwrap();
        assert_eq!(indexes(&read(&log, 0..200).await.unwrap()), (101..111).collect::<Vec<_>>());
        until(&log, |stats| stats.disk_entries == 10).await;
        drop(log);
        let (log, _watch) = open(directory.path(), options).unwrap();
        assert_eq!(indexes(&read(&log, 0..200).await.unwrap()), (101..111).collect::<Vec<_>>());
        assert_eq!(purged_and_last(&log).await, (Some(100), Some(110)));
    }
}

#[tokio::test]
async fn purged_entries_leave_the_disk_in_bounded_steps() {
    let directory = tempfile::tempdir().unwrap();
    let steps = Arc::new(Steps::default());
    let (mut log, _watch) = open_with_hooks(directory.path(), SMALL, steps.clone()).unwrap();
    append(&log, entries(1, 0..500)).await.unwrap();
    until(&log, |stats| stats.disk_entries == 500).await;
    let before = steps.checkpoints.load(Ordering::SeqCst);
    log.purge(log_id(1, 399)).await.unwrap();
    until(&log, |stats| stats.disk_entries == 100).await;
    let commits = steps.checkpoints.load(Ordering::SeqCst) - before;
    assert!(commits >= 400 / SMALL.purge_entries_per_commit as usize - 1, "{commits} commits");
}

#[tokio::test]
async fn purged_entries_left_by_a_shutdown_leave_the_disk_after_the_reopen() {
    let directory = tempfile::tempdir().unwrap();
    let (gate, arrivals, go_on) = Gate::new();
    let (mut log, _watch) = open_with_hooks(directory.path(), SMALL, gate).unwrap();
    append(&log, entries(1, 0..100)).await.unwrap();
    arrivals.recv().unwrap();
    go_on.send(()).unwrap();
    until(&log, |stats| stats.disk_entries == 100).await;

    // The writer is held after the purge is in the journal: the log is closing before it goes on.
    log.purge(log_id(1, 79)).await.unwrap();
    arrivals.recv().unwrap();
    let closing = log.clone();
    let closed = std::thread::spawn(move || closing.shutdown());
    while log.save_committed(Some(log_id(1, 99))).await.is_ok() {
        tokio::task::yield_now().await;
    }
    drop(arrivals);
    go_on.send(()).unwrap();
    closed.join().unwrap();
    assert_eq!(log.stats().unwrap().disk_entries, 84, "the shutdown does not wait for the rest");
    assert_eq!(indexes(&read(&log, 0..200).await.unwrap()), (80..100).collect::<Vec<_>>());
    drop(log);
    let (log, _watch) = open(directory.path(), SMALL).unwrap();
    until(&log, |stats| stats.disk_entries == 20).await;
    assert_eq!(indexes(&read(&log, 0..200).await.unwrap()), (80..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_append_that_leaves_a_hole_is_refused_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (log, watch) = open(directory.path(), SMALL).unwrap();
    append(&log, entries(1, 0..3)).await.unwrap();
    for wrong in [vec![4], vec![3, 5], vec![2], vec![0]] {
        let error = append(&log, entries(1, wrong)).await.unwrap_err().to_string();
        assert!(error.contains("does not follow the last entry"), "{error}");
    }
    append(&log, entries(1, 3..5)).await.unwrap();
    assert_eq!(indexes(&read(&log, 0..9).await.unwrap()), [0, 1, 2, 3, 4]);
    assert!(watch.current().is_none());
}

#[tokio::test]
async fn a_limited_read_is_cut_by_bytes_and_starts_where_it_was_asked_to() {
    for options in [SMALL, ALL_FROM_DISK] {
        let directory = tempfile::tempdir().unwrap();
        let (mut log, _watch) = open(directory.path(), options).unwrap();
        let large = |index| entry(1, index, 5000);
        append(&log, (0..20).map(large).collect()).await.unwrap();
        append(&log, vec![entry(1, 20, 100_000), entry(1, 21, 16)]).await.unwrap();
        let mut reader = log.reader();
        let mut limited =
            async |start, end| indexes(&reader.limited_get_log_entries(start, end).await.unwrap());
        assert_eq!(limited(3, 20).await, [3, 4, 5]);
        assert_eq!(limited(3, 5).await, [3, 4]);
        assert_eq!(limited(20, 22).await, [20], "one entry, however large");
        assert_eq!(limited(7, 7).await, [0; 0]);
        log.purge(log_id(1, 9)).await.unwrap();
        assert_eq!(limited(9, 12).await, [0; 0], "never from a later entry on");
        assert_eq!(limited(10, 12).await, [10, 11]);
    }
}

#[tokio::test]
async fn entries_to_apply_that_were_purged_are_an_error_and_not_a_gap() {
    let directory = tempfile::tempdir().unwrap();
    let (mut log, _watch) = open(directory.path(), SMALL).unwrap();
    append(&log, entries(1, 0..20)).await.unwrap();
    log.purge(log_id(1, 9)).await.unwrap();
    let mut reader = log.reader();
    let gap: Vec<_> = reader.entries_stream(8..12).await.collect().await;
    let message = gap[0].as_ref().unwrap_err().to_string();
    assert!(gap.len() == 1 && message.contains("log entry 8 is missing"), "{message}");
    let whole: Vec<_> = reader.entries_stream(10..12).await.map(Result::unwrap).collect().await;
    assert_eq!(indexes(&whole), [10, 11]);
}

#[tokio::test]
async fn entries_to_apply_are_read_in_pages_of_a_bounded_size() {
    for options in [SMALL, ALL_FROM_DISK] {
        let directory = tempfile::tempdir().unwrap();
        let (log, _watch) = open(directory.path(), options).unwrap();
        let large = |index| entry(1, index, 5_000);
        append(&log, (0..50).map(large).collect()).await.unwrap();
        let mut reader = log.reader();
        let streamed: Vec<_> =
            reader.entries_stream(3..50).await.map(Result::unwrap).collect().await;
        assert_eq!(indexes(&streamed), (3..50).collect::<Vec<_>>());
        let none: Vec<_> = reader.entries_stream(50..60).await.collect().await;
        assert!(none.is_empty());

        // What is appended after the call is not part of it, though its pages are read later.
        let mut stream = reader.entries_stream(40..100).await;
        let first = stream.next().await.unwrap().unwrap();
        append(&log, (50..55).map(large).collect()).await.unwrap();
        let rest: Vec<_> = stream.map(Result::unwrap).collect().await;
        assert_eq!(first.log_id.index, 40);
        assert_eq!(indexes(&rest), (41..50).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_is_known_to_be_committed_rides_on_the_next_write() {
    let directory = tempfile::tempdir().unwrap();
    let steps = Arc::new(Steps::default());
    let (mut log, _watch) = open_with_hooks(directory.path(), SMALL, steps.clone()).unwrap();
    append(&log, entries(1, 0..3)).await.unwrap();
    log.save_committed(Some(log_id(1, 1))).await.unwrap();
    log.save_committed(Some(log_id(1, 2))).await.unwrap();
    assert_eq!(log.read_committed().await.unwrap(), Some(log_id(1, 2)));
    append(&log, entries(1, 3..4)).await.unwrap();
    log.shutdown();
    assert_eq!(steps.commits.load(Ordering::SeqCst), 2, "one for each append, none of its own");
    drop(log);
    let (mut log, _watch) = open(directory.path(), SMALL).unwrap();
    assert_eq!(log.read_committed().await.unwrap(), Some(log_id(1, 2)));
}

#[tokio::test]
async fn a_shutdown_writes_what_is_queued_and_refuses_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let (mut log, watch) = open(directory.path(), SMALL).unwrap();
    let mut waiting = Vec::new();
    for index in 0..100 {
        waiting.push(start_append(&log, entries(1, index..index + 1)).await.unwrap());
    }
    log.save_committed(Some(log_id(1, 50))).await.unwrap();
    log.shutdown();
    log.shutdown();
    for flushed in waiting {
        flushed.await.unwrap().unwrap();
    }
    let refused = append(&log, entries(1, 100..101)).await.unwrap_err().to_string();
    assert_eq!(refused, "the store is shut down");
    let refused = log.save_vote(&RaftVote::new(9, 1)).await.unwrap_err().to_string();
    assert_eq!(refused, "the store is shut down");
    assert!(watch.current().is_none());
    drop(log);
    let (mut log, _watch) = open(directory.path(), SMALL).unwrap();
    assert_eq!(purged_and_last(&log).await, (None, Some(99)));
    assert_eq!(log.read_committed().await.unwrap(), Some(log_id(1, 50)));
}

#[tokio::test]
async fn everything_queued_is_one_commit_and_is_readable_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let (gate, arrivals, go_on) = Gate::new();
    let (mut log, _watch) = open_with_hooks(directory.path(), SMALL, gate.clone()).unwrap();
    append(&log, entries(1, 0..1)).await.unwrap();
    arrivals.recv().unwrap();

    // The writer is held: nothing of this can be committed yet.
    let mut waiting = Vec::new();
    for index in 1..100 {
        waiting.push(start_append(&log, entries(1, index..index + 1)).await.unwrap());
    }
    assert_eq!(indexes(&read(&log, 0..200).await.unwrap()), (0..100).collect::<Vec<_>>());
    for flushed in &mut waiting {
        assert!(futures_util::FutureExt::now_or_never(flushed).is_none(), "acknowledged early");
    }
    log.purge(log_id(1, 9)).await.unwrap();
    let mut voter = log.clone();
    let vote = tokio::spawn(async move { voter.save_vote(&RaftVote::new(2, 1)).await });
    tokio::task::yield_now().await;
    drop(arrivals);
    go_on.send(()).unwrap();
    for flushed in waiting {
        flushed.await.unwrap().unwrap();
    }
    vote.await.unwrap().unwrap();
    log.shutdown();
    assert_eq!(gate.commits.lock().unwrap()[..2], [1, 99]);
    assert_eq!(log.reader().read_vote().await.unwrap(), Some(RaftVote::new(2, 1)));
}

#[tokio::test]
async fn an_append_waits_while_too_much_is_queued_and_a_huge_one_passes() {
    let directory = tempfile::tempdir().unwrap();
    let options = LogOptions { queue_bytes_max: 10_000, ..SMALL };
    let (gate, arrivals, go_on) = Gate::new();
    let (log, _watch) = open_with_hooks(directory.path(), options, gate.clone()).unwrap();
    append(&log, vec![entry(1, 0, 1_000_000)]).await.unwrap();
    arrivals.recv().unwrap();

    let first = start_append(&log, vec![entry(1, 1, 6_000)]).await.unwrap();
    let mut second = Box::pin(start_append(&log, vec![entry(1, 2, 6_000)]));
    assert!(futures_util::poll!(second.as_mut()).is_pending());
    assert!(log.stats().unwrap().queued_bytes >= 6_000);
    drop(arrivals);
    go_on.send(()).unwrap();
    first.await.unwrap().unwrap();
    second.await.unwrap().await.unwrap().unwrap();
    assert_eq!(indexes(&read(&log, 0..9).await.unwrap()), [0, 1, 2]);
    until(&log, |stats| stats.queued_bytes == 0).await;
}

#[tokio::test]
async fn what_was_appended_is_flushed_when_the_log_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let (gate, arrivals, go_on) = Gate::new();
    let (log, _watch) = open_with_hooks(directory.path(), SMALL, gate.clone()).unwrap();
    log.flushed().await;
    let mut first = start_append(&log, vec![entry(1, 0, 100)]).await.unwrap();
    arrivals.recv().unwrap();
    // A callback that nobody waits for any more counts as well.
    drop(start_append(&log, vec![entry(1, 1, 100)]).await.unwrap());
    let mut flushed = Box::pin(log.flushed());
    assert!(futures_util::poll!(flushed.as_mut()).is_pending());
    drop(arrivals);
    go_on.send(()).unwrap();
    flushed.await;
    assert!(futures_util::FutureExt::now_or_never(&mut first).is_some(), "openraft was told");
    assert_eq!(log.stats().unwrap().queued_bytes, 0);
}

#[tokio::test]
async fn memory_holds_no_more_than_its_share_and_reads_do_not_notice() {
    let directory = tempfile::tempdir().unwrap();
    let options = LogOptions { tail_bytes_max: 20_000, ..SMALL };
    let (log, _watch) = open(directory.path(), options).unwrap();
    let written: Vec<RaftEntry> = (0..100).map(|index| entry(1, index, 1000)).collect();
    for chunk in written.chunks(7) {
        append(&log, chunk.to_vec()).await.unwrap();
    }
    // Memory gives up what the disk holds just after that.
    until(&log, |stats| stats.disk_entries == 100 && stats.tail_bytes <= 20_000).await;
    let stats = log.stats().unwrap();
    assert!(stats.tail_bytes <= 20_000 && stats.tail_entries >= 10, "{stats:?}");
    assert_eq!((stats.first_index, stats.last_index), (Some(0), Some(99)));
    assert_eq!((stats.entries, stats.disk_entries), (100, 100));
    assert!(stats.disk_bytes >= 100_000 && stats.file_bytes >= stats.disk_bytes, "{stats:?}");
    assert_eq!(read(&log, 0..100).await.unwrap(), written);
}
