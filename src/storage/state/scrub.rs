//! The scrub: a slow pass over everything that is stored, so that damage is found before somebody
//! needs what it is in, and before a second member has some.
//!
//! Soon after a start a thread of its own reads the finished snapshots and the log's tables, which
//! nobody may read for long. After a rest it reads every record of every table, with the checks that
//! any read makes, a slice at a time; then the file of a backlog, the snapshots and the log again;
//! then it rests, and begins anew. No transaction is open between two slices, so no page is kept from
//! being used again. It reads at a rate that leaves the disk and the processor to others.
//!
//! What it adds to the checks of a read: the newest version of every key must be in the history, and
//! every table must have as many records as were written.
//!
//! Failure: damage in the state is told to the hooks, as a read tells it, and ends the pass. A
//! snapshot that is damaged is given up; consensus has another built. A log that is damaged says so
//! itself, as to whoever reads it. Whatever the system refuses is
//! logged, and tried again by the next pass.

use std::ops::Bound;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::checked::Place;
use super::layout::Table;
use super::shared::Shared;
use crate::clock;
use crate::storage::StorageError;
use crate::storage::log::LogReader;
use crate::storage::snapshot::SnapshotFile;

const NAME: &str = "state-scrub";
/// The rest before snapshots and log are looked at for the first time.
const FIRST_REST: Duration = Duration::from_millis(500);
/// Bytes read in one transaction, about.
const SLICE_BYTES: usize = 256 << 10;

/// Wakes a scrub that rests, to end it.
#[derive(Debug, Default)]
pub(crate) struct ScrubControl {
    stopping: Mutex<bool>,
    wake: Condvar,
    /// The log to be read as well.
    log: Mutex<Option<LogReader>>,
}

impl ScrubControl {
    /// Ends the scrub at its next slice.
    pub(crate) fn stop(&self) {
        *self.stopping.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_all();
        self.take_log(None);
    }

    /// Has `log` read as well from the next pass on.
    pub(crate) fn take_log(&self, log: Option<LogReader>) {
        *self.log.lock().unwrap_or_else(PoisonError::into_inner) = log;
    }

    fn log(&self) -> Option<LogReader> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Rests; returns false when it is to end.
    fn rest(&self, rest: Duration) -> bool {
        let stopping = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        let woken = self.wake.wait_timeout_while(stopping, rest, |stopping| !*stopping);
        !*woken.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Starts the thread; none when the options ask for no scrub.
pub(crate) fn spawn(shared: Arc<Shared>) -> Result<Option<JoinHandle<()>>, StorageError> {
    if shared.options.scrub_bytes_per_second == 0 {
        return Ok(None);
    }
    std::thread::Builder::new()
        .name(NAME.into())
        .spawn(move || run(&shared))
        .map(Some)
        .map_err(|source| StorageError::Thread { name: NAME, source })
}

fn run(shared: &Shared) {
    // What nobody reads until it is needed is looked at soon after a start; the tables are checked
    // by every read, and a start has other things to do.
    if !shared.scrub.rest(FIRST_REST.min(shared.options.scrub_rest)) {
        return;
    }
    match files(shared) {
        Ok(Pass::Complete) => {}
        Ok(Pass::Stopped) => return,
        Err(error) => tracing::error!(%error, "the first look at snapshots and log was cut short"),
    }
    while shared.scrub.rest(shared.options.scrub_rest) {
        let started = clock::monotonic();
        match pass(shared) {
            Ok(Pass::Complete) => shared.hooks.scrub_completed(started.elapsed().as_secs_f64()),
            Ok(Pass::Stopped) => return,
            Err(error) => tracing::error!(%error, "a scrub of the state was cut short"),
        }
    }
}

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Complete,
    Stopped,
}

/// Where a pass over the tables is.
#[derive(Debug, Default)]
struct Cursor {
    /// Which of [`Place::ALL`].
    place: usize,
    /// The last key that was read there.
    key: Option<Vec<u8>>,
}

fn pass(shared: &Shared) -> Result<Pass, StorageError> {
    let mut cursor = Cursor::default();
    let mut tables = Arc::as_ptr(&shared.head().tables);
    while cursor.place < Place::ALL.len() {
        let current = Arc::as_ptr(&shared.head().tables);
        if current != tables {
            // Another state was installed.
            (cursor, tables) = (Cursor::default(), current);
        }
        let bytes = slice(shared, &mut cursor)?;
        if !pace(shared, bytes) {
            return Ok(Pass::Stopped);
        }
    }
    let reader = shared.head().tables.read()?;
    reader.tables().check_counts(reader.txn())?;
    let backlog = reader.backlog().map(|backlog| backlog.file().clone());
    let damage = reader.tables().damage().clone();
    drop(reader);
    if let Some(file) = backlog
        && !read_through(shared, &file).map_err(|error| damage.report(error))?
    {
        return Ok(Pass::Stopped);
    }
    files(shared)
}

/// Reads the finished snapshots and the log's tables through.
fn files(shared: &Shared) -> Result<Pass, StorageError> {
    for file in shared.snapshots.files() {
        match read_through(shared, &file) {
            Ok(true) => {}
            Ok(false) => return Ok(Pass::Stopped),
            Err(error) if error.is_damage() => {
                tracing::error!(%error, "a snapshot is damaged; it is given up");
                shared.hooks.snapshot_damaged(&error);
                shared.snapshots.discard(&file);
            }
            Err(error) => return Err(error),
        }
    }
    let Some(log) = shared.scrub.log() else { return Ok(Pass::Complete) };
    match log.read_through(&|bytes| pace(shared, bytes)) {
        Ok(true) => Ok(Pass::Complete),
        // A log that cannot be read has told the node so, which stops.
        Ok(false) | Err(_) => Ok(Pass::Stopped),
    }
}

/// Reads the next records; returns their bytes.
fn slice(shared: &Shared, cursor: &mut Cursor) -> Result<usize, StorageError> {
    let reader = shared.head().tables.read()?;
    let tables = reader.tables();
    let place = Place::ALL[cursor.place];
    let start = cursor.key.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut bytes = 0;
    for record in tables.at(place).range(reader.txn(), (start, Bound::Unbounded))? {
        let (key, body) = record?;
        if place == Place::Of(Table::Keys) {
            reader.check_version(tables.decode_key(body)?.revision)?;
        }
        bytes += key.len() + body.len();
        if bytes >= SLICE_BYTES {
            cursor.key = Some(key.to_vec());
            return Ok(bytes);
        }
    }
    (cursor.place, cursor.key) = (cursor.place + 1, None);
    Ok(bytes)
}

/// Reads a file through; returns false when the scrub is to end.
fn read_through(shared: &Shared, file: &SnapshotFile) -> Result<bool, StorageError> {
    let mut reader = file.reader()?;
    let mut before = 0;
    while reader.next_chunk().map_err(|source| file.error(source))?.is_some() {
        let bytes = reader.position_bytes().saturating_sub(before);
        before = reader.position_bytes();
        if !pace(shared, usize::try_from(bytes).unwrap_or(usize::MAX)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Tells of what was read, and rests for as long as it should have taken; returns false when the
/// scrub is to end.
fn pace(shared: &Shared, bytes: usize) -> bool {
    shared.hooks.scrubbed(bytes as u64);
    let rate = shared.options.scrub_bytes_per_second as f64;
    shared.scrub.rest(Duration::from_secs_f64(bytes as f64 / rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_ends_when_the_scrub_is_to_end() {
        let control = ScrubControl::default();
        assert!(control.rest(Duration::ZERO));
        control.stop();
        assert!(!control.rest(Duration::from_secs(3_600)));
    }
}
