//! History that is still in the snapshot file the state was built from.
//!
//! A state of gigabytes is nearly all history, and nothing but its bulk keeps a received snapshot
//! from being the state: so only the first part of its history is put into the tables before it is
//! ([`fill`](super::fill)). The rest stays in the file, a hard link of which lies in the epoch's
//! directory, and is read from there; meanwhile the flusher moves it into the tables, in revision
//! order ([`settle`](super::settle)).
//!
//! Invariants, while there is a backlog:
//! - a version of the snapshot is in `history`, or in the file at or after the mark's `next`; one
//!   written since is in `recent`, or, once the file's are all in `history`, behind them;
//! - nothing is compacted, so what the file holds is what the tables should (what may be forgotten
//!   is not readable either way);
//! - the file was read and found to be right from its first byte to its last: by the install, or by
//!   the start after it.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::layout::Table;
use super::layout::meta::BacklogMark;
use super::layout::version::{REVISION_BYTES, decode_revision};
use crate::storage::snapshot::{Chunk, SnapshotFile, UnpackedChunk};
use crate::storage::{StorageError, durable_file};
use crate::types::Revision;

/// Unpacked chunks kept for the next read, at most: a few megabytes, unless values are as large as
/// they may be.
const UNPACKED_MAX: usize = 16;

/// A page of LMDB, where the system's are of the usual size; what of it is its head; what a record
/// takes beside its bytes, and in the list of the page; what stands for a value on pages of its own.
const PAGE_BYTES: u64 = 4_096;
const PAGE_HEAD_BYTES: u64 = 16;
const NODE_BYTES: u64 = 8;
const POINTER_BYTES: u64 = 2;
const OVERFLOW_BYTES: u64 = 8;
/// The longest record that lies on a page with others.
const NODE_BYTES_MAX: u64 = (PAGE_BYTES - PAGE_HEAD_BYTES) / 2 - POINTER_BYTES;

/// The file, and where in it which revisions are.
#[derive(Debug)]
pub(crate) struct Backlog {
    file: SnapshotFile,
    index: BacklogIndex,
    /// The last that was unpacked first.
    unpacked: Mutex<VecDeque<(usize, Arc<UnpackedChunk>)>>,
}

/// A chunk of history.
#[derive(Clone, Copy, Debug)]
struct Place {
    first: Revision,
    /// Which chunk of the file it is.
    number: u64,
    /// Where it begins in the file, in bytes.
    offset: u64,
}

/// Where the history is that is left in a file; collected while the file is read.
#[derive(Debug, Default)]
pub(crate) struct BacklogIndex {
    places: Vec<Place>,
    records: u64,
    packing: Packing,
}

impl BacklogIndex {
    /// Leaves the records of `chunk` where they are.
    pub(crate) fn push(
        &mut self,
        file: &SnapshotFile,
        mut chunk: Chunk<'_>,
    ) -> Result<(), StorageError> {
        let (number, offset) = (chunk.number, chunk.offset);
        let mut first = None;
        while let Some((key, value)) = file.next_record(&mut chunk)? {
            self.packing.add(key.len(), value.len());
            self.records += 1;
            if first.is_none() {
                first = Some(revision_of(file, key)?);
            }
        }
        let first = first.ok_or_else(|| file.contradiction("a chunk of it has no records"))?;
        if self.places.last().is_some_and(|last| last.first >= first) {
            return Err(file.contradiction("its revisions are out of order"));
        }
        self.places.push(Place { first, number, offset });
        Ok(())
    }

    /// The first revision that was left; none when nothing was.
    pub(crate) fn first(&self) -> Option<Revision> {
        self.places.first().map(|place| place.first)
    }

    /// How many records were left.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Bytes that they will take in the tables, about.
    pub(crate) fn table_bytes(&self) -> u64 {
        self.packing.bytes()
    }
}

impl Backlog {
    /// Puts `file` at `path`, where it stays whatever becomes of its other name, with the history
    /// `index` left in it. On the disk when this returns.
    pub(crate) fn create(
        path: &Path,
        file: &SnapshotFile,
        index: BacklogIndex,
    ) -> Result<Self, StorageError> {
        let failed = |source| StorageError::io("link a snapshot to", path, source);
        // A file on another file system, or on one without links, is copied.
        if std::fs::hard_link(file.path(), path).is_err() {
            std::fs::copy(file.path(), path).map_err(failed)?;
        }
        std::fs::File::open(path).and_then(|file| file.sync_all()).map_err(failed)?;
        durable_file::sync_parent(path)?;
        Ok(Self::new(SnapshotFile::open(path)?, index))
    }

    /// Opens the file that `mark` tells of, reading all of it. Blocks for as long as that takes.
    pub(crate) fn open(path: &Path, mark: &BacklogMark) -> Result<Self, StorageError> {
        let file = SnapshotFile::open(path)?;
        if file.digest() != mark.digest {
            return Err(file.contradiction("the state was built from another"));
        }
        let mut index = BacklogIndex::default();
        let mut reader = file.reader()?;
        while let Some(chunk) = reader.next_chunk().map_err(|source| file.error(source))? {
            if chunk.table == Table::History {
                index.push(&file, chunk)?;
            }
        }
        drop(reader);
        Ok(Self::new(file, index))
    }

    fn new(file: SnapshotFile, index: BacklogIndex) -> Self {
        Self { file, index, unpacked: Mutex::default() }
    }

    /// Bytes that `records` of its records will take in the tables, about.
    pub(crate) fn table_bytes(&self, records: u64) -> u64 {
        let whole = u128::from(self.index.table_bytes()) * u128::from(records);
        u64::try_from(whole / u128::from(self.index.records.max(1))).unwrap_or(u64::MAX)
    }

    /// The whole file.
    pub(crate) fn file(&self) -> &SnapshotFile {
        &self.file
    }

    /// Has `read` read the `history` record of `revision`; none when the file has none.
    pub(crate) fn find<T>(
        &self,
        revision: Revision,
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, StorageError> {
        let Some(place) = self.place_of(revision) else { return Ok(None) };
        let chunk = self.unpacked_chunk(place)?;
        let mut records = chunk.records();
        while let Some((key, value)) = self.file.next_record(&mut records)? {
            if revision_of(&self.file, key)? == revision {
                return Ok(Some(read(value)));
            }
        }
        Ok(None)
    }

    /// The chunk in which `revision` is, if it is anywhere.
    pub(crate) fn place_of(&self, revision: Revision) -> Option<usize> {
        self.index.places.partition_point(|place| place.first <= revision).checked_sub(1)
    }

    /// A chunk by its place; none after the last.
    pub(crate) fn chunk(&self, place: usize) -> Result<Option<UnpackedChunk>, StorageError> {
        let place = self.index.places.get(place);
        place.map(|place| self.file.unpacked_chunk(place.number, place.offset)).transpose()
    }

    fn unpacked_chunk(&self, place: usize) -> Result<Arc<UnpackedChunk>, StorageError> {
        let kept = |unpacked: &VecDeque<(usize, Arc<UnpackedChunk>)>| {
            let found = unpacked.iter().find(|(other, _)| *other == place);
            found.map(|(_, chunk)| Arc::clone(chunk))
        };
        let lock = || self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chunk) = kept(&lock()) {
            return Ok(chunk);
        }
        // Outside the lock: others read what is there meanwhile, and now and then the same.
        let Place { number, offset, .. } = self.index.places[place];
        let chunk = self.file.unpacked_chunk(number, offset)?;
        let chunk = Arc::new(chunk);
        let mut unpacked = lock();
        unpacked.truncate(UNPACKED_MAX - 1);
        unpacked.push_front((place, Arc::clone(&chunk)));
        Ok(chunk)
    }
}

/// How LMDB packs records that are appended into pages: it splits none over two pages, and puts the
/// value of one that takes half a page and more on pages of its own.
#[derive(Debug, Default)]
struct Packing {
    pages: u64,
    /// Bytes taken of the last page.
    used: u64,
}

impl Packing {
    fn add(&mut self, key_bytes: usize, value_bytes: usize) {
        let (key_bytes, value_bytes) = (key_bytes as u64, value_bytes as u64);
        let mut node = NODE_BYTES + key_bytes + value_bytes;
        if node > NODE_BYTES_MAX {
            self.pages += (PAGE_HEAD_BYTES + value_bytes).div_ceil(PAGE_BYTES);
            node = NODE_BYTES + key_bytes + OVERFLOW_BYTES;
        }
        let node = node.next_multiple_of(2) + POINTER_BYTES;
        if self.used == 0 || self.used + node > PAGE_BYTES {
            self.pages += 1;
            self.used = PAGE_HEAD_BYTES;
        }
        self.used += node;
    }

    /// Bytes of all pages, and of the branches above them.
    fn bytes(&self) -> u64 {
        (self.pages + self.pages / 32 + 1) * PAGE_BYTES
    }
}

/// The revision that is the key of a `history` record of `file`.
pub(crate) fn revision_of(file: &SnapshotFile, key: &[u8]) -> Result<Revision, StorageError> {
    let key: &[u8; REVISION_BYTES] =
        key.try_into().map_err(|_| file.contradiction("a key of its history is no revision"))?;
    Ok(decode_revision(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_for_records_goes_by_how_many_fit_on_a_page() {
        let pages = |records: u32, value_bytes: usize| {
            let mut packing = Packing::default();
            (0..records).for_each(|_| packing.add(REVISION_BYTES, value_bytes));
            packing.pages
        };
        assert_eq!(pages(300, 1_080), 100);
        assert_eq!(pages(300, 1_400), 150);
        assert_eq!(pages(300, 2_018), 150);
        assert_eq!(pages(300, 2_019), 300 + 3, "on pages of their own");
        assert_eq!(pages(300, 4_000), 300 + 3);
        assert_eq!(pages(300, 4_200), 600 + 3);
        assert_eq!(pages(4, 1 << 20), 4 * 257 + 1);
        assert_eq!(pages(47, 64), 1);
    }
}
