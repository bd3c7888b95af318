//! One chunk as it lies in a file: checked, and not unpacked unless somebody asks.

use std::io::{self, Read};

use super::error::SnapshotError;
use super::format::{CHUNK_BYTES, CHUNK_HEADER_BYTES, ChunkHeader, checksum};
use super::reader::Chunk;
use crate::storage::state::layout::Table;

/// Bytes of a chunk's header before its checksum.
const CHECKED_BYTES: usize = CHUNK_HEADER_BYTES - 4;

/// A chunk of a file, with the buffer for the next one.
#[derive(Debug)]
pub(crate) struct StoredChunk {
    number: u64,
    /// Where in the file it begins, in bytes.
    offset: u64,
    head: [u8; CHUNK_HEADER_BYTES],
    header: ChunkHeader,
    expected: u32,
    bytes: Vec<u8>,
}

impl StoredChunk {
    /// Nothing yet.
    pub(super) fn empty() -> Self {
        Self {
            number: 0,
            offset: 0,
            head: [0; CHUNK_HEADER_BYTES],
            header: ChunkHeader::END,
            expected: 0,
            bytes: Vec::new(),
        }
    }

    /// Reads chunk `number`, the next of `input`, in place of this one, and checks it. It begins at
    /// `offset`.
    pub(super) fn read(
        &mut self,
        input: &mut impl Read,
        number: u64,
        offset: u64,
    ) -> Result<(), SnapshotError> {
        self.read_head(input, number, offset)?;
        self.read_bytes(input)
    }

    /// Reads what stands before the stored bytes. Nothing is checked before they are read as well.
    pub(super) fn read_head(
        &mut self,
        input: &mut impl Read,
        number: u64,
        offset: u64,
    ) -> Result<(), SnapshotError> {
        (self.number, self.offset) = (number, offset);
        read_exact(input, &mut self.head, || place(number))?;
        let decoded = ChunkHeader::decode(&self.head);
        (self.header, self.expected) =
            decoded.ok_or_else(|| self.corrupt("its header is impossible"))?;
        Ok(())
    }

    /// Reads the stored bytes and checks the chunk.
    pub(super) fn read_bytes(&mut self, input: &mut impl Read) -> Result<(), SnapshotError> {
        self.bytes.resize(self.header.stored_bytes as usize, 0);
        read_exact(input, &mut self.bytes, || place(self.number))?;
        if checksum(&self.head[..CHECKED_BYTES], &self.bytes) != self.expected {
            return Err(self.corrupt("its checksum does not match"));
        }
        Ok(())
    }

    /// Whose records it holds; none = the end of the file.
    pub(crate) fn table(&self) -> Option<Table> {
        self.header.table
    }

    /// How many records it holds.
    pub(crate) fn records(&self) -> u32 {
        self.header.records
    }

    /// Bytes of its records.
    pub(crate) fn raw_bytes(&self) -> usize {
        self.header.raw_bytes as usize
    }

    /// Bytes it takes in the file.
    pub(crate) fn file_bytes(&self) -> u64 {
        CHUNK_HEADER_BYTES as u64 + u64::from(self.header.stored_bytes)
    }

    /// Its bytes in the file.
    pub(super) fn parts(&self) -> [&[u8]; 2] {
        [&self.head, &self.bytes]
    }

    /// Whether there is enough in it to be taken over as it is.
    pub(crate) fn is_full_enough(&self) -> bool {
        self.raw_bytes() >= CHUNK_BYTES / 2
    }

    /// Its records, unpacked into `raw`.
    pub(crate) fn records_in<'a>(&self, raw: &'a mut Vec<u8>) -> Result<Chunk<'a>, SnapshotError> {
        let table = self.table().ok_or_else(|| self.corrupt("it holds no records"))?;
        self.unpack(raw)?;
        Ok(Chunk::new(table, self.number, self.offset, raw))
    }

    fn unpack(&self, raw: &mut Vec<u8>) -> Result<(), SnapshotError> {
        raw.resize(self.raw_bytes(), 0);
        let raw_bytes = lz4_flex::block::decompress_into(&self.bytes, raw)
            .map_err(|_| self.corrupt("it does not decompress"))?;
        if raw_bytes != raw.len() {
            return Err(self.corrupt("it decompresses to another length"));
        }
        Ok(())
    }

    /// That it is damaged.
    pub(super) fn corrupt(&self, reason: &'static str) -> SnapshotError {
        SnapshotError::CorruptChunk { chunk: self.number, reason }
    }
}

fn place(number: u64) -> String {
    format!("chunk {number}")
}

/// Fills `bytes`; when the input ends before, it is truncated in `place`.
pub(super) fn read_exact(
    input: &mut impl Read,
    bytes: &mut [u8],
    place: impl FnOnce() -> String,
) -> Result<(), SnapshotError> {
    input.read_exact(bytes).map_err(|source| match source.kind() {
        io::ErrorKind::UnexpectedEof => SnapshotError::Truncated { place: place() },
        _ => SnapshotError::Io { action: "read", source },
    })
}
