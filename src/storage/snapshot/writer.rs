//! Writing a snapshot, record by record, in constant memory.

use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

use super::format::{
    CHUNK_BYTES, ChunkHeader, DIGEST_BYTES, FORMAT_VERSION, HEADER_BYTES_MAX, RECORD_HEADER_BYTES,
    VALUE_BYTES_MAX, encode_prefix,
};
use super::header::{SnapshotHeader, encode_header};
use super::stored::StoredChunk;
use crate::storage::state::layout::Table;

/// Writes a snapshot to `W`.
pub(crate) struct SnapshotWriter<W> {
    output: W,
    digest: Sha256,
    size_bytes: u64,
    table: Table,
    raw: Vec<u8>,
    records: u32,
    stored: Vec<u8>,
}

impl<W: Write> SnapshotWriter<W> {
    /// Begins with the header, whose counts must be those of the records to come.
    pub(crate) fn new(output: W, header: &SnapshotHeader) -> io::Result<Self> {
        let header = encode_header(header);
        if header.len() > HEADER_BYTES_MAX {
            return Err(io::Error::other("the membership is too large for a snapshot's header"));
        }
        let header_bytes = u32::try_from(header.len()).expect("it is bounded above");
        let mut writer = Self {
            output,
            digest: Sha256::new(),
            size_bytes: 0,
            table: Table::Keys,
            raw: Vec::new(),
            records: 0,
            stored: Vec::new(),
        };
        writer.write(&encode_prefix(FORMAT_VERSION, header_bytes))?;
        writer.write(&header)?;
        Ok(writer)
    }

    /// Adds a record. They come by table, and by key within a table.
    pub(crate) fn record(&mut self, table: Table, key: &[u8], value: &[u8]) -> io::Result<()> {
        let (Ok(key_bytes), Ok(value_bytes)) =
            (u16::try_from(key.len()), u32::try_from(value.len()))
        else {
            return Err(io::Error::other("a record is too long for a snapshot"));
        };
        if value.len() > VALUE_BYTES_MAX {
            return Err(io::Error::other("a value is too long for a snapshot"));
        }
        if table != self.table {
            self.close_chunk()?;
            self.table = table;
        }
        self.raw.reserve(RECORD_HEADER_BYTES + key.len() + value.len());
        self.raw.extend_from_slice(&key_bytes.to_be_bytes());
        self.raw.extend_from_slice(&value_bytes.to_be_bytes());
        self.raw.extend_from_slice(key);
        self.raw.extend_from_slice(value);
        self.records += 1;
        if self.raw.len() >= CHUNK_BYTES { self.close_chunk() } else { Ok(()) }
    }

    /// Adds a chunk of another file as it is. Its table is that of the records around it, and its
    /// records lie between theirs.
    pub(crate) fn chunk(&mut self, chunk: &StoredChunk) -> io::Result<()> {
        self.close_chunk()?;
        for part in chunk.parts() {
            self.write(part)?;
        }
        Ok(())
    }

    /// Ends the file. Answers the output, the size in bytes and the digest.
    pub(crate) fn finish(mut self) -> io::Result<(W, u64, [u8; DIGEST_BYTES])> {
        self.close_chunk()?;
        self.write(&ChunkHeader::END.encode(&[]))?;
        let digest: [u8; DIGEST_BYTES] = self.digest.clone().finalize().into();
        self.write(&digest)?;
        self.output.flush()?;
        Ok((self.output, self.size_bytes, digest))
    }

    fn close_chunk(&mut self) -> io::Result<()> {
        if self.records == 0 {
            return Ok(());
        }
        self.stored.resize(lz4_flex::block::get_maximum_output_size(self.raw.len()), 0);
        let stored_bytes = lz4_flex::block::compress_into(&self.raw, &mut self.stored)
            .expect("the buffer has the longest length there can be");
        self.stored.truncate(stored_bytes);
        let length = |bytes: usize| u32::try_from(bytes).expect("chunks are bounded");
        let header = ChunkHeader {
            table: Some(self.table),
            records: self.records,
            raw_bytes: length(self.raw.len()),
            stored_bytes: length(stored_bytes),
        };
        self.write(&header.encode(&self.stored))?;
        let stored = std::mem::take(&mut self.stored);
        self.write(&stored)?;
        self.stored = stored;
        self.raw.clear();
        self.records = 0;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.size_bytes += bytes.len() as u64;
        self.output.write_all(bytes)
    }
}
