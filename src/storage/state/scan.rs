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
use super::memtable::{Generation, SeenKey, VisibleVersion};
use super::tables::TableReader;
use crate::machine::{VersionVisitor, Visits};
use crate::storage::StorageError;
use crate::types::KeyRange;

/// Keys collected from a generation at first; short ranges should not pay for long ones.
const FIRST_CHUNK_KEYS: usize = 16;
/// Keys collected from a generation at a time, at most.
const CHUNK_KEYS_MAX: usize = 512;

/// What a scan reads at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// The main revision.
    pub(crate) at: u64,
    /// The one last compacted.
    pub(crate) compact_revision: u64,
}

/// Visits the keys of `range` that exist at a moment, ascending, and tells `visits` of each key on
/// the way. `generations` are the newest first.
pub(crate) fn scan<'a>(
    generations: impl Iterator<Item = &'a Generation>,
    reader: &TableReader,
    range: &KeyRange,
    moment: Moment,
    visits: &Visits<'_>,
    visit: &mut VersionVisitor<'_>,
) -> Result<(), StorageError> {
    let mut memory: Vec<MemoryCursor<'_>> = Vec::with_capacity(2);
    memory.extend(generations.map(|generation| MemoryCursor::new(generation, range, moment.at)));
    let mut disk = DiskCursor::new(reader, range)?;
    let mut each = |key: &[u8], seen: SeenKey| {
        visits.key(key, counts(seen, moment.compact_revision))?;
        match seen.visible.and_then(VisibleVersion::existing) {
            Some(meta) => visit(key, &meta),
            None => ControlFlow::Continue(()),
        }
    };
    loop {
        let first = memory.iter_mut().filter_map(MemoryCursor::peek).min().cloned();
        let flow = match (first, disk.next) {
            (None, None) => return Ok(()),
            (Some(key), on_disk) if on_disk.is_none_or(|(other, _)| key[..] <= *other) => {
                let mut seen = take_newest(&mut memory, &key);
                if let Some((_, record)) = on_disk.filter(|(other, _)| key[..] == **other) {
                    if seen.visible.is_none() {
                        let on_disk = resolve(reader, &record, moment.at)?;
                        seen.visible = on_disk.visible;
                    }
                    disk.advance()?;
                }
                each(&key, seen)
            }
            (_, Some((key, record))) => {
                let seen = resolve(reader, &record, moment.at)?;
                disk.advance()?;
                each(key, seen)
            }
            (Some(_), None) => unreachable!("without a key on the disk the first arm is taken"),
        };
        if flow.is_break() {
            return Ok(());
        }
    }
}

/// Whether a key counts against a command's budget: whether every member has a record of it, however
/// far compaction is on its disk.
fn counts(seen: SeenKey, compact_revision: u64) -> bool {
    seen.has_later
        || seen.visible.is_some_and(|version| {
            version.live.is_some() || version.revision.main > compact_revision
        })
}

fn resolve(reader: &TableReader, record: &KeyRecord<'_>, at: u64) -> Result<SeenKey, StorageError> {
    let visible = reader.resolve(record, at)?;
    Ok(SeenKey { visible, has_later: record.revision.main > at })
}

/// Takes `key` off every cursor that stands at it; answers what they know together.
fn take_newest(memory: &mut [MemoryCursor<'_>], key: &Bytes) -> SeenKey {
    let mut newest = SeenKey { visible: None, has_later: false };
    for cursor in memory {
        if cursor.peek() == Some(key) {
            let (_, seen) = cursor.buffer.pop_front().expect("it was just looked at");
            newest.visible = newest.visible.or(seen.visible);
            newest.has_later |= seen.has_later;
        }
    }
    newest
}

/// A walk over one generation.
struct MemoryCursor<'a> {
    generation: &'a Generation,
    range: &'a KeyRange,
    at: u64,
    buffer: VecDeque<(Bytes, SeenKey)>,
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
    fn new(reader: &'a TableReader, range: &'a KeyRange) -> Result<Self, StorageError> {
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
