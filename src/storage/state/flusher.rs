//! The flusher: the one thread that writes the state to the disk.
//!
//! In between it moves history that is still in a file (`settle`) and removes what was compacted
//! (`compaction`). It writes what has gathered, in one transaction with the log position it belongs to, and only
//! after the commit lets the memory go and publishes the position as durable. What was not
//! committed is applied again from the log after a restart; so nothing is lost when the process
//! dies at any point here, and the log is never purged above the durable position.
//!
//! Failure: a transaction that fails is final. It is reported, what it held stays readable in
//! memory, the store refuses to apply more, and the thread ends. Nothing is tried again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use super::compaction::{STEP_ALONE, STEP_BESIDE_A_FLUSH, compact_step};
use super::control::Work;
use super::head::Frozen;
use super::layout::meta::{CompactionProgress, StateMeta};
use super::settle::settle_step;
use super::shared::{FlushState, Shared};
use super::space::measure;
use super::write::{Overflowed, TableWriter};
use crate::clock;
use crate::storage::StorageError;
use crate::storage::crash_point::crash_point;

const NAME: &str = "state-flusher";
/// The flusher rests between two steps that move history from a file for this many times as long as
/// the one before took: it is at work on it for a fifth of the time at most. What was written
/// meanwhile follows with the least rest.
const SETTLE_REST_FACTOR: u32 = 4;

/// Starts the thread.
pub(crate) fn spawn(shared: Arc<Shared>) -> Result<JoinHandle<()>, StorageError> {
    std::thread::Builder::new()
        .name(NAME.into())
        .spawn(move || run(&shared))
        .map_err(|source| StorageError::Thread { name: NAME, source })
}

fn run(shared: &Shared) {
    let outcome = catch_unwind(AssertUnwindSafe(|| work(shared)));
    let outcome = outcome.unwrap_or(Err(StorageError::ThreadPanicked { name: NAME }));
    if let Err(error) = outcome {
        shared.fail(error);
    }
}

fn work(shared: &Shared) -> Result<(), StorageError> {
    loop {
        match shared.control.wait(shared.options.flush_interval) {
            Work::Flush => flush(shared)?,
            Work::Settle => settle(shared)?,
            Work::Compact => compact_alone(shared)?,
            Work::Stop => return flush(shared),
        }
    }
}

/// Writes what has gathered, if anything has.
fn flush(shared: &Shared) -> Result<(), StorageError> {
    let mut flushing = shared.flushing();
    let frozen = {
        let mut head = shared.head_mut();
        if head.position.applied == *shared.durable.borrow() {
            return Ok(());
        }
        head.freeze()
    };
    let started = clock::monotonic();
    let (compaction, overflowed) = write(&frozen, &flushing)?;
    flushing.compaction = compaction;
    if flushing.backlog.is_some() {
        flushing.diverted_bytes += frozen.bytes;
    }
    // Before the memory is let go: what was written is never counted in neither place.
    measure(shared)?;
    release(shared, &frozen, &overflowed);
    let changes = frozen.generation.read().changes();
    shared.hooks.state_committed(changes, started.elapsed().as_secs_f64());
    let pending = flushing.compaction_pending(frozen.position.removable_revision());
    shared.control.set_compacting(pending.is_some());
    Ok(())
}

fn write(
    frozen: &Frozen,
    before: &FlushState,
) -> Result<(CompactionProgress, Vec<Overflowed>), StorageError> {
    let mut writer = TableWriter::begin(&frozen.tables)?;
    if before.backlog.is_some() {
        writer.divert_history();
    }
    let overflowed = writer.write_generation(&frozen.generation.read())?;
    let compaction = match before.compaction_pending(frozen.position.removable_revision()) {
        Some(pending) => compact_step(&mut writer, pending, STEP_BESIDE_A_FLUSH)?,
        None => before.compaction,
    };
    writer.write_meta(&frozen.position.to_meta(compaction, before.backlog))?;
    crash_point("state.before_commit");
    writer.commit()?;
    crash_point("state.after_commit");
    Ok((compaction, overflowed))
}

/// What was frozen is on the disk: lets the memory go and tells everybody.
fn release(shared: &Shared, frozen: &Frozen, overflowed: &[Overflowed]) {
    shared.head_mut().release();
    if !overflowed.is_empty() {
        let mut sessions = shared.sessions.write();
        for (client, sequence) in overflowed {
            sessions.release_answer(*client, *sequence);
        }
    }
    shared.unflushed_bytes.fetch_sub(frozen.bytes, Ordering::AcqRel);
    shared.durable.send_replace(frozen.position.applied);
}

/// Moves some history into the tables, in a transaction of its own. The position in the tables
/// stays.
fn settle(shared: &Shared) -> Result<(), StorageError> {
    let started = clock::monotonic();
    let mut flushing = shared.flushing();
    let tables = Arc::clone(&shared.head().tables);
    let (Some(mark), Some(backlog)) = (flushing.backlog, tables.backlog()) else {
        shared.control.set_settling(None);
        return Ok(());
    };
    let mut writer = TableWriter::begin(&tables)?;
    // Of what is written meanwhile more is taken back than came since the last step: it comes to an
    // end however much is written.
    let bytes_max = match mark.records {
        0 => shared.options.settle_bytes.max(flushing.diverted_bytes.saturating_mul(2)),
        _ => shared.options.settle_bytes,
    };
    let left = settle_step(&mut writer, &backlog, mark, bytes_max)?;
    let meta = tables.meta(writer.txn())?;
    writer.write_meta(&StateMeta { backlog: left, ..meta })?;
    crash_point("state.before_settle_commit");
    writer.commit()?;
    crash_point("state.after_settle_commit");
    flushing.backlog = left;
    flushing.diverted_bytes = 0;
    let Some(left) = left else {
        tables.set_backlog(None);
        flushing.epoch.remove_backlog();
        drop(flushing);
        shared.resume();
        return Ok(());
    };
    let factor = if left.records > 0 { SETTLE_REST_FACTOR } else { 0 };
    let rest = clock::monotonic().duration_since(started) * factor;
    shared.control.set_settling(Some(rest.max(shared.options.settle_rest)));
    Ok(())
}

/// One step of compaction in a transaction of its own. The position in the tables stays.
fn compact_alone(shared: &Shared) -> Result<(), StorageError> {
    let mut flushing = shared.flushing();
    let tables = Arc::clone(&shared.head().tables);
    let mut writer = TableWriter::begin(&tables)?;
    let mut meta = tables.meta(writer.txn())?;
    let Some(pending) = flushing.compaction_pending(meta.removable_revision()) else {
        shared.control.set_compacting(false);
        return Ok(());
    };
    meta.compaction = compact_step(&mut writer, pending, STEP_ALONE)?;
    writer.write_meta(&meta)?;
    crash_point("state.before_compaction_commit");
    writer.commit()?;
    crash_point("state.after_compaction_commit");
    flushing.compaction = meta.compaction;
    measure(shared)?;
    Ok(())
}
