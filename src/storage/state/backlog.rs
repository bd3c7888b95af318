//! History that is still in the snapshot file the state was built from.
//!
//! A state of gigabytes is nearly all history, and nothing but its bulk keeps a received snapshot
//! from being the state: so only the first part of its history is put into the tables before it is
//! ([`fill`](super::fill)). The rest stays in the file, a hard link of which lies in the epoch's
//! directory, and is read from there; meanwhile the flusher moves it into the tables, in revision
//! order ([`settle`](super::settle)).
//!
//! Invariants, while there is a backlog:
//! - a version of the snapshot is in the tables, or in the file at or after the mark's `next`;
//!   never in neither;
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
use crate::storage::snapshot::{Chunk, Record, SnapshotError, SnapshotFile, UnpackedChunk};
use crate::storage::{StorageError, durable_file};
use crate::types::Revision;

/// Unpacked chunks kept for the next read, at most: a few megabytes.
const RECENT_CHUNKS_MAX: usize = 16;

/// The file, and where in it which revisions are.
#[derive(Debug)]
pub(crate) struct Backlog {
    file: SnapshotFile,
    places: Vec<Place>,
    /// The latest read first.
    recent: Mutex<VecDeque<(usize, Arc<UnpackedChunk>)>>,
}

/// A chunk of history.
#[derive(Clone, Copy, Debug)]
struct Place {
    first: Revision,
    /// Where it begins in the file, in bytes.
    offset: u64,
}

/// Where the history is that is left in a file; collected while the file is read.
#[derive(Debug, Default)]
pub(crate) struct BacklogIndex {
    places: Vec<Place>,
    raw_bytes: u64,
}

impl BacklogIndex {
    /// Leaves the records of `chunk` where they are.
    pub(crate) fn push(
        &mut self,
        file: &SnapshotFile,
        mut chunk: Chunk<'_>,
    ) -> Result<(), StorageError> {
        let (offset, raw_bytes) = (chunk.offset, chunk.raw_bytes());
        let first = chunk.next_record().map_err(|source| file.error(source))?;
        let Some((key, _)) = first else {
            return Err(contradiction(file, "a chunk of it has no records"));
        };
        let first = revision_of(file, key)?;
        if self.places.last().is_some_and(|last| last.first >= first) {
            return Err(contradiction(file, "its revisions are out of order"));
        }
        self.places.push(Place { first, offset });
        self.raw_bytes += raw_bytes as u64;
        Ok(())
    }

    /// The first revision that was left; none when nothing was.
    pub(crate) fn first(&self) -> Option<Revision> {
        self.places.first().map(|place| place.first)
    }

    /// Bytes of the records that were left.
    pub(crate) fn raw_bytes(&self) -> u64 {
        self.raw_bytes
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
            return Err(contradiction(&file, "the state was built from another"));
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
        Self { file, places: index.places, recent: Mutex::default() }
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
        let chunk = self.recent_chunk(place)?;
        let mut records = chunk.records();
        while let Some((key, value)) = self.next_record(&mut records)? {
            if revision_of(&self.file, key)? == revision {
                return Ok(Some(read(value)));
            }
        }
        Ok(None)
    }

    /// The chunk in which `revision` is, if it is anywhere.
    pub(crate) fn place_of(&self, revision: Revision) -> Option<usize> {
        self.places.partition_point(|place| place.first <= revision).checked_sub(1)
    }

    /// A chunk by its place; none after the last.
    pub(crate) fn chunk(&self, place: usize) -> Result<Option<UnpackedChunk>, StorageError> {
        let place = self.places.get(place);
        place.map(|place| self.file.unpacked_chunk(place.offset)).transpose()
    }

    /// The next record of a chunk of this file, with its revision's bytes as the key.
    pub(crate) fn next_record<'a>(
        &self,
        records: &mut Chunk<'a>,
    ) -> Result<Option<Record<'a>>, StorageError> {
        records.next_record().map_err(|source| self.file.error(source))
    }

    fn recent_chunk(&self, place: usize) -> Result<Arc<UnpackedChunk>, StorageError> {
        let cached = |recent: &VecDeque<(usize, Arc<UnpackedChunk>)>| {
            let found = recent.iter().find(|(cached, _)| *cached == place);
            found.map(|(_, chunk)| Arc::clone(chunk))
        };
        let lock = || self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chunk) = cached(&lock()) {
            return Ok(chunk);
        }
        // Outside the lock: others read what is there meanwhile, and now and then the same.
        let chunk = self.file.unpacked_chunk(self.places[place].offset)?;
        let chunk = Arc::new(chunk);
        let mut recent = lock();
        recent.truncate(RECENT_CHUNKS_MAX - 1);
        recent.push_front((place, Arc::clone(&chunk)));
        Ok(chunk)
    }
}

/// The revision that is the key of a `history` record of `file`.
pub(crate) fn revision_of(file: &SnapshotFile, key: &[u8]) -> Result<Revision, StorageError> {
    let key: &[u8; REVISION_BYTES] =
        key.try_into().map_err(|_| contradiction(file, "a key of its history is no revision"))?;
    Ok(decode_revision(key))
}

/// That a file's contents are not what its header says, or contradict each other.
pub(crate) fn contradiction(file: &SnapshotFile, reason: &'static str) -> StorageError {
    file.error(SnapshotError::Contradiction { reason })
}
