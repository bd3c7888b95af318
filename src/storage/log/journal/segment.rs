//! One segment: a file of fixed size that is written in place, past the page cache.
//!
//! A write is one call that returns when the disk has it (`O_DSYNC`). With `O_DIRECT` the bytes go
//! from our buffer to the disk and not through the page cache, which nobody would read them from:
//! a quarter less time and a third less processor time for a block. That wants the buffer, the
//! place and the length aligned. A file system that has no such writes gets ordinary ones.
//!
//! A new segment is made of filling blocks and not of a hole (a block that was never written costs
//! a second wait later), and not of zeros (so that zeros are always damage: see `block`). Its first
//! block is its header: which segment of which journal it is.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::super::super::{StorageError, durable_file};
use super::BLOCK_BYTES;
use super::block::{self, BODY_BYTES, HEADER_BYTES, Header};
use super::record::Record;

/// The first byte of a header's body, by which it is told from a filling block.
const IS_HEADER: u8 = 1;

/// A segment open for writing.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    path: PathBuf,
}

impl Segment {
    /// Opens the segment `number` at `path` and writes its header; makes it anew when it is not
    /// there, has another size, or `anew` asks for it. No record in it is needed any more.
    pub(super) fn open(
        path: PathBuf,
        number: usize,
        bytes: usize,
        salt: u64,
        anew: bool,
    ) -> Result<Self, StorageError> {
        let length = match fs::metadata(&path) {
            Ok(metadata) => Some(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(StorageError::io("open", &path, source)),
        };
        if anew || length != Some(bytes as u64) {
            durable_file::replace(&path, &filling(bytes, salt))?;
        }
        let mut buffer = AlignedBuffer::default();
        let header = header_block(&mut buffer, number, salt);
        // Some file systems refuse to open a file for direct writes, others to write to it.
        let open = |flags| {
            let file = open_synchronous(&path, flags)?;
            file.write_all_at(header, 0)?;
            Ok(file)
        };
        let file = open(DIRECT)
            .or_else(|_: io::Error| open(0))
            .map_err(|source| StorageError::io("open", &path, source))?;
        Ok(Self { file, path })
    }

    /// Writes whole blocks at a block's beginning, and returns when they are on the disk. When
    /// this fails nobody knows what is there.
    pub(super) fn write(&self, blocks: &[u8], block: usize) -> Result<(), StorageError> {
        self.file
            .write_all_at(blocks, (block * BLOCK_BYTES) as u64)
            .map_err(|source| StorageError::io("write", &self.path, source))
    }
}

#[cfg(target_os = "linux")]
const DIRECT: i32 = libc::O_DIRECT;
#[cfg(not(target_os = "linux"))]
const DIRECT: i32 = 0;

fn open_synchronous(path: &Path, flags: i32) -> io::Result<File> {
    OpenOptions::new().write(true).custom_flags(libc::O_DSYNC | flags).open(path)
}

fn filling(bytes: usize, salt: u64) -> Vec<u8> {
    let mut block = vec![0; BLOCK_BYTES];
    block::seal(&mut block, &Header { salt, number: 0, place: 0, bytes: 0, last: None });
    block.repeat(bytes / BLOCK_BYTES)
}

fn header_block(buffer: &mut AlignedBuffer, number: usize, salt: u64) -> &[u8] {
    let block = buffer.blocks(1);
    block.fill(0);
    block[HEADER_BYTES] = IS_HEADER;
    let place = u32::try_from(number).expect("there are two segments");
    block::seal(block, &Header { salt, number: 0, place, bytes: 1, last: None });
    block
}

/// Whether a block is the header of segment `number` of the journal with this salt.
pub(super) fn is_header(block: block::Block<'_>, number: usize, salt: u64) -> bool {
    let block::Block::Whole(header, body) = block else { return false };
    (header.salt, header.number, header.place as usize) == (salt, 0, number) && body[0] == IS_HEADER
}

/// Whole blocks at an address that is a multiple of a block.
#[derive(Debug, Default)]
pub(super) struct AlignedBuffer {
    bytes: Vec<u8>,
}

impl AlignedBuffer {
    /// Room for so many blocks, with whatever it held before.
    fn blocks(&mut self, blocks: usize) -> &mut [u8] {
        let length = blocks * BLOCK_BYTES;
        if self.bytes.len() < length + BLOCK_BYTES {
            self.bytes = vec![0; length + BLOCK_BYTES];
        }
        let start = self.bytes.as_ptr().align_offset(BLOCK_BYTES);
        &mut self.bytes[start..start + length]
    }

    /// The record's blocks.
    pub(super) fn filled(&mut self, record: &Record, salt: u64, number: u64) -> &[u8] {
        let body = record.body();
        let bytes = u32::try_from(body.len()).expect("a record that fits a segment is short");
        let blocks = self.blocks(record.blocks());
        let mut header = Header { salt, number, place: 0, bytes, last: record.last() };
        for (place, block) in blocks.chunks_exact_mut(BLOCK_BYTES).enumerate() {
            let part = &body[place * BODY_BYTES..];
            let part = &part[..part.len().min(BODY_BYTES)];
            block[HEADER_BYTES..][..part.len()].copy_from_slice(part);
            block[HEADER_BYTES + part.len()..].fill(0);
            block::seal(block, &header);
            header.place += 1;
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::write::Write;
    use super::block::Block;
    use super::*;
    use crate::consensus::{EncodedCommand, RaftEntry, RaftLogId};

    const SALT: u64 = 7;

    fn record(payload_bytes: usize) -> Record {
        let mut record = Record::begin(b"what was there".to_vec(), None);
        let payload = EncodedCommand(vec![9; payload_bytes].into());
        let entry = RaftEntry {
            log_id: RaftLogId::new_term_index(1, 1),
            payload: openraft::EntryPayload::Normal(payload),
        };
        record.push(&Write::Append(vec![entry]), &mut Vec::new());
        record
    }

    #[test]
    fn the_blocks_of_a_record_are_aligned_and_whole_whatever_the_buffer_held_before() {
        let mut buffer = AlignedBuffer::default();
        for bytes in [1, BLOCK_BYTES, 3 * BLOCK_BYTES + 7, 5] {
            let record = record(bytes);
            let blocks = buffer.filled(&record, 7, 9);
            assert_eq!(blocks.as_ptr().align_offset(BLOCK_BYTES), 0);
            let mut body = Vec::new();
            for (place, block) in blocks.chunks(BLOCK_BYTES).enumerate() {
                let Block::Whole(header, part) = block::read(block) else { panic!("{place}") };
                assert_eq!((header.number, header.place as usize), (9, place));
                body.extend_from_slice(part);
            }
            assert_eq!(body[..record.body().len()], *record.body());
            assert!(body[record.body().len()..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn a_new_segment_is_whole_and_is_written_where_it_was_asked_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("segment");
        let segment = Segment::open(path.clone(), 1, 4 * BLOCK_BYTES, SALT, false).unwrap();
        segment.write(AlignedBuffer::default().filled(&record(1), 7, 9), 2).unwrap();
        let bytes = fs::read(&path).unwrap();
        let numbers = bytes.chunks(BLOCK_BYTES).map(|block| match block::read(block) {
            Block::Whole(header, _) => header.number,
            Block::Damaged => u64::MAX,
        });
        assert_eq!(numbers.collect::<Vec<_>>(), [0, 0, 9, 0]);
        let header = block::read(&bytes[..BLOCK_BYTES]);
        assert!(is_header(header, 1, SALT));
        assert!(!is_header(header, 0, SALT) && !is_header(header, 1, SALT + 1));
        let filling = block::read(&bytes[BLOCK_BYTES..2 * BLOCK_BYTES]);
        assert!(!is_header(filling, 0, SALT));
    }
}
