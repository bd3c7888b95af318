//! The end of the log in memory: every entry that is not committed, and recent ones.
//!
//! Entries are kept as openraft takes them, so that handing them to replication and apply costs a
//! reference count and no decoding. What is here is consecutive and ends at the log's last entry.
//!
//! An entry may leave only when the write that put it there was committed. That is told by the
//! write's sequence number and not by the index: an index can be truncated and written again while
//! the commit of its first writing is still under way.

use std::collections::VecDeque;
use std::ops::Range;

use openraft::EntryPayload;

use crate::consensus::RaftEntry;

/// Counted for each entry beside its payload.
const ENTRY_OVERHEAD_BYTES: usize = 96;

/// The recent entries.
#[derive(Debug, Default)]
pub(super) struct Tail {
    entries: VecDeque<TailEntry>,
    bytes: usize,
}

#[derive(Debug)]
struct TailEntry {
    entry: RaftEntry,
    bytes: usize,
    sequence: u64,
}

/// The bytes an entry takes in memory, about.
pub(super) fn entry_bytes(entry: &RaftEntry) -> usize {
    let payload = match &entry.payload {
        EntryPayload::Normal(command) => command.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    };
    payload + ENTRY_OVERHEAD_BYTES
}

impl Tail {
    /// The index of the first entry; none when there is none.
    pub(super) fn first_index(&self) -> Option<u64> {
        self.entries.front().map(|first| first.entry.log_id.index)
    }

    /// How many entries.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Their bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an entry, written by the write `sequence`. It follows the last one.
    pub(super) fn push(&mut self, entry: RaftEntry, sequence: u64) {
        debug_assert!(
            self.entries
                .back()
                .is_none_or(|last| last.entry.log_id.index + 1 == entry.log_id.index),
            "the caller checks that entries are consecutive"
        );
        let bytes = entry_bytes(&entry);
        self.bytes += bytes;
        self.entries.push_back(TailEntry { entry, bytes, sequence });
    }

    /// Drops the entry `first` and all after it.
    pub(super) fn truncate(&mut self, first: u64) {
        while self.entries.back().is_some_and(|last| last.entry.log_id.index >= first) {
            self.bytes -= self.entries.pop_back().map_or(0, |dropped| dropped.bytes);
        }
    }

    /// Drops the entries up to `last`.
    pub(super) fn purge(&mut self, last: u64) {
        while self.first_index().is_some_and(|first| first <= last) {
            self.pop_front();
        }
    }

    /// Drops entries from the first on until at most `bytes_max` are left, but none of a write
    /// after `committed_sequence`.
    pub(super) fn evict(&mut self, bytes_max: usize, committed_sequence: u64) {
        while self.bytes > bytes_max
            && self.entries.front().is_some_and(|first| first.sequence <= committed_sequence)
        {
            self.pop_front();
        }
    }

    /// The entries of `range`, which lies inside the tail: all of them, or as many from its start
    /// as fit into `bytes_max` (but at least one).
    pub(super) fn clone_range(&self, range: Range<u64>, bytes_max: usize) -> Vec<RaftEntry> {
        let Some(first) = self.first_index().filter(|_| !range.is_empty()) else {
            return Vec::new();
        };
        let offset = |index: u64| {
            usize::try_from(index - first).expect("an offset in memory fits the address space")
        };
        let mut bytes = 0;
        self.entries
            .range(offset(range.start)..offset(range.end))
            .enumerate()
            .take_while(|(position, kept)| {
                bytes += kept.bytes;
                bytes <= bytes_max || *position == 0
            })
            .map(|(_, kept)| kept.entry.clone())
            .collect()
    }

    fn pop_front(&mut self) {
        self.bytes -= self.entries.pop_front().map_or(0, |dropped| dropped.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::{EncodedCommand, RaftLogId};

    fn entry(index: u64, payload_bytes: usize) -> RaftEntry {
        RaftEntry {
            log_id: RaftLogId::new_term_index(1, index),
            payload: EntryPayload::Normal(EncodedCommand(vec![0; payload_bytes].into())),
        }
    }

    /// Entries 10 to 19, each of one write (sequences 1 to 10) and 100 bytes.
    fn tail() -> Tail {
        let mut tail = Tail::default();
        for index in 10..20 {
            tail.push(entry(index, 100 - ENTRY_OVERHEAD_BYTES), index - 9);
        }
        tail
    }

    fn indexes(tail: &Tail, range: Range<u64>, bytes_max: usize) -> Vec<u64> {
        tail.clone_range(range, bytes_max).iter().map(|entry| entry.log_id.index).collect()
    }

    #[test]
    fn a_range_is_cut_by_bytes_but_has_one_entry() {
        let tail = tail();
        assert_eq!(indexes(&tail, 10..20, usize::MAX), (10..20).collect::<Vec<_>>());
        assert_eq!(indexes(&tail, 12..14, usize::MAX), [12, 13]);
        assert_eq!(indexes(&tail, 12..20, 350), [12, 13, 14]);
        assert_eq!(indexes(&tail, 12..20, 0), [12]);
        assert!(indexes(&tail, 12..12, 0).is_empty());
    }

    #[test]
    fn entries_of_a_write_not_committed_stay() {
        let mut tail = tail();
        tail.evict(500, 3);
        assert_eq!((tail.first_index(), tail.bytes()), (Some(13), 700));
        tail.evict(500, 10);
        assert_eq!((tail.first_index(), tail.bytes()), (Some(15), 500));
    }

    #[test]
    fn an_index_written_again_stays_until_its_second_writing_is_committed() {
        let mut tail = tail();
        tail.truncate(11);
        tail.push(entry(11, 0), 11);
        tail.evict(0, 10);
        assert_eq!(tail.first_index(), Some(11));
        tail.evict(0, 11);
        assert_eq!((tail.len(), tail.bytes()), (0, 0));
    }

    #[test]
    fn both_ends_can_be_cut_off_to_nothing() {
        let mut tail = tail();
        tail.purge(12);
        tail.truncate(18);
        assert_eq!((tail.first_index(), tail.len(), tail.bytes()), (Some(13), 5, 500));
        assert_eq!(indexes(&tail, 13..18, usize::MAX), [13, 14, 15, 16, 17]);
        tail.purge(100);
        assert_eq!((tail.first_index(), tail.len(), tail.bytes()), (None, 0, 0));
    }
}
