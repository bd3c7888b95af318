//! Reading entries: the recent ones from memory, the others from LMDB.
//!
//! A read sees the log as it was when it took the lock. It answers exactly the indexes asked for
//! that the log holds: none below the range, none above, none missing between two others
//! (openraft's leader would otherwise misplace what it replicates).
//!
//! A read that fails (an entry is corrupt or missing) is told to the node like a failed write: it
//! holds an entry that others may believe it has.
//!
//! Reads of LMDB run inline: they are memory reads of mapped pages, mostly in the page cache, and
//! the transaction ends before the method returns.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use futures_util::{Stream, stream};
use openraft::storage::RaftLogReader;

use super::super::StorageError;
use super::Inner;
use super::shared::{Shared, State};
use crate::consensus::{RaftEntry, RaftVote, TypeConfig};

/// Bytes of entries read in one transaction when all are, about.
const SLICE_BYTES: usize = 256 << 10;

/// Reads one log. Cheap to clone; keeps the log open.
#[derive(Clone, Debug)]
pub struct LogReader {
    inner: Arc<Inner>,
}

impl LogReader {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Reads every entry that the tables hold, for the sake of its checks alone. `pace` is told the
    /// most bytes that were read since the last time, and returns false to have it end. Returns
    /// whether it came to the end.
    ///
    /// # Errors
    /// An entry is damaged or missing; the node is told, as of any read.
    pub fn read_through(&self, pace: &dyn Fn(usize) -> bool) -> io::Result<bool> {
        let shared = &self.inner.shared;
        let mut next = 0;
        loop {
            let state = shared.lock();
            let range = intersection(&(next..), &readable(&state));
            let in_memory = state.tail.first_index().unwrap_or(range.end);
            if range.start >= in_memory.min(range.end) {
                return Ok(true);
            }
            let range = range.start..in_memory.min(range.end);
            let entries = read(shared, state, range.clone(), SLICE_BYTES);
            let entries = entries.map_err(|error| shared.read_failed(error))?;
            next = range.start + entries.len() as u64;
            if !pace(SLICE_BYTES) {
                return Ok(false);
            }
        }
    }
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<RaftEntry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        let shared = &self.inner.shared;
        let state = shared.lock();
        let range = intersection(&range, &readable(&state));
        read(shared, state, range, usize::MAX).map_err(|error| shared.read_failed(error))
    }

    /// The committed entries to apply: the range must be there from its first entry on, or a
    /// state machine would skip some.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<RaftEntry, io::Error>> + Send
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        let shared = &self.inner.shared;
        let state = shared.lock();
        let readable = readable(&state);
        let start = first_of(&range);
        let purged = state.purged.is_some() && start < readable.start.min(end_of(&range));
        let range = intersection(&range, &readable);
        drop(state);
        let failed = purged.then(|| shared.read_failed(shared.tables.missing(start)));
        let page = Vec::new().into_iter();
        stream::iter(Pages { inner: Arc::clone(&self.inner), range, page, failed })
    }

    async fn read_vote(&mut self) -> Result<Option<RaftVote>, io::Error> {
        Ok(self.inner.shared.lock().vote)
    }

    /// Empty when `start` itself is not there: the caller's entries must follow the one before it.
    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<RaftEntry>, io::Error> {
        let shared = &self.inner.shared;
        let state = shared.lock();
        let range = intersection(&(start..end), &readable(&state));
        if range.start != start {
            return Ok(Vec::new());
        }
        let bytes_max = shared.options.read_bytes_max;
        read(shared, state, range, bytes_max).map_err(|error| shared.read_failed(error))
    }
}

/// A range of committed entries, read in pages: however much is to be applied, a bounded part of it
/// is in memory. Ends at the first entry that cannot be read.
struct Pages {
    inner: Arc<Inner>,
    /// What was not read yet.
    range: Range<u64>,
    page: std::vec::IntoIter<RaftEntry>,
    /// Told before anything else.
    failed: Option<io::Error>,
}

impl Pages {
    /// The next entries, and at least one: what is committed is neither truncated nor, before it is
    /// applied, purged.
    fn read(&mut self) -> Result<Vec<RaftEntry>, StorageError> {
        let shared = &self.inner.shared;
        let state = shared.lock();
        if self.range.start < state.first_index {
            return Err(shared.tables.missing(self.range.start));
        }
        let bytes_max = shared.options.read_bytes_max;
        let page = read(shared, state, self.range.clone(), bytes_max)?;
        if page.is_empty() {
            return Err(shared.tables.missing(self.range.start));
        }
        self.range.start += page.len() as u64;
        Ok(page)
    }
}

impl Iterator for Pages {
    type Item = Result<RaftEntry, io::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            self.range.start = self.range.end;
            return Some(Err(error));
        }
        if let Some(entry) = self.page.next() {
            return Some(Ok(entry));
        }
        if self.range.is_empty() {
            return None;
        }
        match self.read() {
            Ok(page) => {
                self.page = page.into_iter();
                self.page.next().map(Ok)
            }
            Err(error) => {
                self.range.start = self.range.end;
                Some(Err(self.inner.shared.read_failed(error)))
            }
        }
    }
}

/// The indexes that can be read.
fn readable(state: &State) -> Range<u64> {
    state.first_index..state.last.map_or(state.first_index, |last| last.index + 1)
}

fn first_of(range: &impl RangeBounds<u64>) -> u64 {
    match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    }
}

fn end_of(range: &impl RangeBounds<u64>) -> u64 {
    match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    }
}

/// What both hold; an empty range when nothing.
fn intersection(asked: &impl RangeBounds<u64>, readable: &Range<u64>) -> Range<u64> {
    let start = first_of(asked).max(readable.start);
    start..end_of(asked).min(readable.end).max(start)
}

/// Reads `range`, which can be read: all of it, or with a limit as many entries from its start as
/// fit into `bytes_max` (but at least one).
fn read(
    shared: &Shared,
    state: std::sync::MutexGuard<'_, State>,
    range: Range<u64>,
    bytes_max: usize,
) -> Result<Vec<RaftEntry>, StorageError> {
    let in_memory = state.tail.first_index().unwrap_or(range.end).clamp(range.start, range.end);
    if range.start == in_memory {
        return Ok(state.tail.clone_range(range, bytes_max));
    }
    // Begun under the lock: see the head of `shared`.
    let txn = shared.tables.read()?;
    let recent = match bytes_max {
        usize::MAX => state.tail.clone_range(in_memory..range.end, bytes_max),
        _limited => Vec::new(),
    };
    drop(state);
    let mut entries = shared.tables.entries(&txn, range.start..in_memory, bytes_max)?;
    entries.extend(recent);
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_to_what_can_be_read_and_never_reaches_below_it() {
        let readable = 5..10;
        assert_eq!(intersection(&(0..20), &readable), 5..10);
        assert_eq!(intersection(&(7..=8), &readable), 7..9);
        assert_eq!(intersection(&(..), &readable), 5..10);
        assert_eq!(intersection(&(Bound::Excluded(6), Bound::Unbounded), &readable), 7..10);
        assert_eq!(intersection(&(0..=u64::MAX), &readable), 5..10);
        for nothing in [0..5, 10..20, 7..7] {
            assert!(intersection(&nothing, &readable).is_empty(), "{nothing:?}");
        }
        assert!(intersection(&(0..0), &(0..0)).is_empty());
    }
}
