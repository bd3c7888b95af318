//! One snapshot file on the disk, open for reading.
//!
//! The file stays open while anybody holds a handle, so a transfer that has begun ends on the
//! same bytes whatever happens to the name. A file that the shelf gave up is removed when its last
//! handle is dropped.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::SnapshotError;
use super::format::DIGEST_BYTES;
use super::header::SnapshotHeader;
use super::reader::{Chunk, Record, SnapshotReader};
use super::stored::StoredChunk;
use crate::consensus::{TypeConfig, log_id_to_openraft};
use crate::storage::StorageError;
use crate::storage::state::layout::Table;
use crate::types::ClusterId;

/// Bytes read at a time while verifying.
pub(crate) const READ_BUFFER_BYTES: usize = 1 << 20;

/// A snapshot file. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    header: SnapshotHeader,
    /// Bytes before the first chunk.
    head_bytes: u64,
    size_bytes: u64,
    digest: [u8; DIGEST_BYTES],
    given_up: AtomicBool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if *self.given_up.get_mut()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove an old snapshot");
        }
    }
}

impl SnapshotFile {
    /// Opens a file and reads its header and digest, not its contents.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        let failed = |source| StorageError::Snapshot { path: path.to_owned(), source };
        let io = |source| failed(SnapshotError::Io { action: "open", source });
        let file = File::open(path).map_err(io)?;
        let size_bytes = file.metadata().map_err(io)?.len();
        let reader = SnapshotReader::open(&file).map_err(failed)?;
        let (header, head_bytes) = (reader.header().clone(), reader.head_bytes());
        let mut digest = [0; DIGEST_BYTES];
        let end = size_bytes
            .checked_sub(DIGEST_BYTES as u64)
            .ok_or_else(|| failed(SnapshotError::Truncated { place: "its digest".into() }))?;
        file.read_exact_at(&mut digest, end).map_err(io)?;
        let given_up = AtomicBool::new(false);
        let path = path.to_owned();
        let inner = Inner { path, file, header, head_bytes, size_bytes, digest, given_up };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Opens a file and reads all of it. Blocks for as long as that takes.
    ///
    /// # Errors
    /// It belongs to another cluster than `expected`, is damaged, or of a newer format.
    pub fn open_verified(path: &Path, expected: ClusterId) -> Result<Self, StorageError> {
        let file = Self::open(path)?;
        file.check_cluster(expected)?;
        file.verify(|_| {})?;
        Ok(file)
    }

    /// Reads all of the file; `read` is told how many bytes of contents that is so far. Blocks for
    /// as long as that takes.
    ///
    /// # Errors
    /// It is damaged, or of a newer format.
    pub fn verify(&self, mut read: impl FnMut(u64)) -> Result<(), StorageError> {
        let mut reader = self.reader()?;
        while reader.next_chunk().map_err(|source| self.error(source))?.is_some() {
            read(reader.position_bytes());
        }
        read(self.size_bytes());
        Ok(())
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// What it says of itself.
    pub fn header(&self) -> &SnapshotHeader {
        &self.inner.header
    }

    /// Its length, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.inner.size_bytes
    }

    /// The SHA-256 at its end: names its contents.
    pub fn digest(&self) -> [u8; DIGEST_BYTES] {
        self.inner.digest
    }

    /// Fills `bytes` from the file at `offset`; answers how many there were.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.inner.file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// What openraft wants to know of it.
    pub(crate) fn meta(&self) -> Result<openraft::alias::SnapshotMetaOf<TypeConfig>, StorageError> {
        let header = self.header();
        let last_membership = header.stored_membership().ok_or_else(|| {
            self.error(SnapshotError::Contradiction { reason: "its membership is impossible" })
        })?;
        let last_log_id = header.last_log_id.as_ref().map(log_id_to_openraft);
        Ok(openraft::SnapshotMeta { last_log_id, last_membership })
    }

    /// Refuses a file of another cluster.
    pub(crate) fn check_cluster(&self, expected: ClusterId) -> Result<(), StorageError> {
        let found = self.header().cluster_id;
        if found == expected {
            Ok(())
        } else {
            Err(self.error(SnapshotError::OtherCluster { found, expected }))
        }
    }

    /// Reads the contents from the start.
    pub(crate) fn reader(&self) -> Result<SnapshotReader<impl io::Read>, StorageError> {
        let input = FromOffset { file: self, offset: 0 };
        let input = BufReader::with_capacity(READ_BUFFER_BYTES, input);
        SnapshotReader::open(input).map_err(|source| self.error(source))
    }

    /// The chunks of `table` as they lie in the file, each checked by itself.
    pub(crate) fn stored_chunks(&self, table: Table) -> StoredChunks<'_> {
        let input = FromOffset { file: self, offset: self.inner.head_bytes };
        StoredChunks { input, table, number: 0, chunk: StoredChunk::empty() }
    }

    /// Chunk `number`, which begins at `offset`, checked and unpacked.
    pub(crate) fn unpacked_chunk(
        &self,
        number: u64,
        offset: u64,
    ) -> Result<UnpackedChunk, StorageError> {
        let mut stored = StoredChunk::empty();
        let mut raw = Vec::new();
        let mut read = || {
            stored.read(&mut FromOffset { file: self, offset }, number, offset)?;
            stored.records_in(&mut raw).map(|chunk| chunk.table)
        };
        let table = read().map_err(|source| self.error(source))?;
        Ok(UnpackedChunk { table, number, offset, raw })
    }

    /// The next record of a chunk of this file; none after the last one.
    pub(crate) fn next_record<'a>(
        &self,
        chunk: &mut Chunk<'a>,
    ) -> Result<Option<Record<'a>>, StorageError> {
        chunk.next_record().map_err(|source| self.error(source))
    }

    /// That its contents are not what its header says, or contradict each other.
    pub(crate) fn contradiction(&self, reason: &'static str) -> StorageError {
        self.error(SnapshotError::Contradiction { reason })
    }

    /// An error of this file.
    pub(crate) fn error(&self, source: SnapshotError) -> StorageError {
        StorageError::Snapshot { path: self.inner.path.clone(), source }
    }

    /// Has the file removed when the last handle is gone.
    pub(crate) fn give_up(&self) {
        self.inner.given_up.store(true, Ordering::Release);
    }
}

/// A walk over the chunks of one table.
pub(crate) struct StoredChunks<'a> {
    input: FromOffset<'a>,
    table: Table,
    number: u64,
    chunk: StoredChunk,
}

impl StoredChunks<'_> {
    /// The next chunk; none after the last one of the table.
    pub(crate) fn next(&mut self) -> Result<Option<&StoredChunk>, StorageError> {
        let file = self.input.file;
        self.seek().map_err(|source| file.error(source)).map(|found| found.then_some(&self.chunk))
    }

    fn seek(&mut self) -> Result<bool, SnapshotError> {
        loop {
            let offset = self.input.offset;
            self.chunk.read_head(&mut self.input, self.number, offset)?;
            self.number += 1;
            match self.chunk.table() {
                Some(table) if table < self.table => {
                    self.input.offset = offset + self.chunk.file_bytes();
                }
                Some(table) if table == self.table => {
                    return self.chunk.read_bytes(&mut self.input).map(|()| true);
                }
                _ => return Ok(false),
            }
        }
    }
}

/// The records of a chunk that was read by itself.
#[derive(Debug)]
pub(crate) struct UnpackedChunk {
    table: Table,
    number: u64,
    offset: u64,
    raw: Vec<u8>,
}

impl UnpackedChunk {
    /// Its records, from the first.
    pub(crate) fn records(&self) -> Chunk<'_> {
        Chunk::new(self.table, self.number, self.offset, &self.raw)
    }
}

/// Reads through a handle's own offset: handles share the file's.
struct FromOffset<'a> {
    file: &'a SnapshotFile,
    offset: u64,
}

impl io::Read for FromOffset<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(bytes, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
