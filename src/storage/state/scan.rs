//! A range of keys at one revision, merged from the memory table's generations and LMDB.
//!
//! Each source is walked in key order. Where several know a key, the newest generation wins: its
//! versions are later than those of an older one, and than LMDB's (or the same, when the flush
//! that moved them there came in between).
//!
//! The active generation is read in bounded chunks, each under the lock for a short while, so
//! that a long scan does not hold up the one who applies. What is added between two chunks is
//! above the scan's revision and skipped.

use std::collections::VecDeque;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use super::checked::Records;
use super::layout::Table;
use super::layout::keys::KeyRecord;
use super::memtable::{Generation, VisibleVersion};
use super::tables::TableReader;
use crate::machine::VersionVisitor;
use crate::storage::StorageError;
use crate::types::KeyRange;

/// Keys collected from a generation at first; short ranges should not pay for long ones.
const FIRST_CHUNK_KEYS: usize = 16;
/// Keys collected from a generation at a time, at most.
const CHUNK_KEYS_MAX: usize = 512;

/// Visits the keys of `range` that exist at main revision `at`, ascending. `generations` are the
/// newest first.
pub(crate) fn scan<'a>(
    generations: impl Iterator<Item = &'a Generation>,
    reader: &TableReader,
    range: &KeyRange,
    at: u64,
    visit: &mut VersionVisitor<'_>,
) -> Result<(), StorageError> {
    let mut memory: Vec<MemoryCursor<'_>> = Vec::with_capacity(2);
    memory.extend(generations.map(|generation| MemoryCursor::new(generation, range, at)));
    let mut disk = DiskCursor::new(reader, range)?;
    loop {
        let first = memory.iter_mut().filter_map(MemoryCursor::peek).min().cloned();
        let flow = match (first, disk.next) {
            (None, None) => return Ok(()),
            (Some(key), on_disk) if on_disk.is_none_or(|(other, _)| key[..] <= *other) => {
                if on_disk.is_some_and(|(other, _)| key[..] == *other) {
                    disk.advance()?;
                }
                match take_newest(&mut memory, &key).existing() {
                    Some(meta) => visit(&key, &meta),
                    None => ControlFlow::Continue(()),
                }
            }
            (_, Some((key, record))) => {
                let version = reader.resolve(&record, at)?;
                disk.advance()?;
                match version.and_then(VisibleVersion::existing) {
                    Some(meta) => visit(key, &meta),
                    None => ControlFlow::Continue(()),
                }
            }
            (Some(_), None) => unreachable!("without a key on the disk the first arm is taken"),
        };
        if flow.is_break() {
            return Ok(());
        }
    }
}

/// Takes `key` off every cursor that stands at it; answers the first one's version.
fn take_newest(memory: &mut [MemoryCursor<'_>], key: &Bytes) -> VisibleVersion {
    let mut newest = None;
    for cursor in memory {
        if cursor.peek() == Some(key) {
            let (_, version) = cursor.buffer.pop_front().expect("it was just looked at");
            newest.get_or_insert(version);
        }
    }
    newest.expect("a cursor stands at the smallest key")
}

/// A walk over one generation.
struct MemoryCursor<'a> {
    generation: &'a Generation,
    range: &'a KeyRange,
    at: u64,
    buffer: VecDeque<(Bytes, VisibleVersion)>,
    last: Option<Bytes>,
    chunk: usize,
    exhausted: bool,
}

impl<'a> MemoryCursor<'a> {
    fn new(generation: &'a Generation, range: &'a KeyRange, at: u64) -> Self {
        let buffer = VecDeque::new();
        Self {
            generation,
            range,
            at,
            buffer,
            last: None,
            chunk: FIRST_CHUNK_KEYS,
            exhausted: false,
        }
    }

    fn peek(&mut self) -> Option<&Bytes> {
        if self.buffer.is_empty() && !self.exhausted {
            self.fill();
        }
        self.buffer.front().map(|(key, _)| key)
    }

    fn fill(&mut self) {
        let (start, end) = self.range.bounds();
        let start = match &self.last {
            Some(last) => Bound::Excluded(&last[..]),
            None => start,
        };
        let contents = self.generation.read();
        self.exhausted = contents.collect((start, end), self.at, self.chunk, &mut self.buffer);
        drop(contents);
        self.last = self.buffer.back().map(|(key, _)| key.clone());
        self.chunk = (self.chunk * 2).min(CHUNK_KEYS_MAX);
    }
}

/// A walk over the `keys` table.
struct DiskCursor<'a> {
    reader: &'a TableReader,
    records: Records<'a>,
    next: Option<(&'a [u8], KeyRecord<'a>)>,
}

impl<'a> DiskCursor<'a> {
    fn new(reader: &'a TableReader, range: &KeyRange) -> Result<Self, StorageError> {
        let keys = reader.tables().table(Table::Keys);
        let records = keys.range(reader.txn(), range.bounds())?;
        let mut cursor = Self { reader, records, next: None };
        cursor.advance()?;
        Ok(cursor)
    }

    fn advance(&mut self) -> Result<(), StorageError> {
        let tables = self.reader.tables();
        self.next = match self.records.next().transpose()? {
            None => None,
            Some((key, record)) => Some((key, tables.decode_key(record)?)),
        };
        Ok(())
    }
}
