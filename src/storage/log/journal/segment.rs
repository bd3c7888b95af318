//! One segment: a file of fixed size that is written in place, past the page cache.
//!
//! A write is one call that returns when the disk has it (`O_DSYNC`). With `O_DIRECT` the bytes go
//! from our buffer to the disk and not through the page cache, which nobody would read them from:
//! a quarter less time and a third less processor time for a block. That wants the buffer, the
//! place and the length aligned. A file system that has no such writes gets ordinary ones.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::super::super::{StorageError, durable_file};
use super::BLOCK_BYTES;

/// A segment open for writing.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    path: PathBuf,
}

impl Segment {
    /// Opens the segment at `path`, making it when it is not there or has another size. Nothing
    /// in it is needed any more.
    pub(super) fn open(path: PathBuf, bytes: usize) -> Result<Self, StorageError> {
        let length = match fs::metadata(&path) {
            Ok(metadata) => Some(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(StorageError::io("open", &path, source)),
        };
        if length != Some(bytes as u64) {
            // Zeros and not a hole: a block that was never written costs a second wait later.
            durable_file::replace(&path, &vec![0; bytes])?;
        }
        let file = open_direct(&path)
            .or_else(|_| open_synchronous(&path, 0))
            .map_err(|source| StorageError::io("open", &path, source))?;
        Ok(Self { file, path })
    }

    /// Writes whole blocks at a block's beginning, and returns when they are on the disk. When
    /// this fails nobody knows what is there.
    pub(super) fn write(&self, blocks: &[u8], offset: usize) -> Result<(), StorageError> {
        self.file
            .write_all_at(blocks, offset as u64)
            .map_err(|source| StorageError::io("write", &self.path, source))
    }
}

/// Some file systems refuse to open, others to write: so a block is written as well.
#[cfg(target_os = "linux")]
fn open_direct(path: &Path) -> io::Result<File> {
    let file = open_synchronous(path, libc::O_DIRECT)?;
    file.write_all_at(AlignedBuffer::default().filled(&[]), 0)?;
    Ok(file)
}

#[cfg(not(target_os = "linux"))]
fn open_direct(_path: &Path) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

fn open_synchronous(path: &Path, flags: i32) -> io::Result<File> {
    OpenOptions::new().write(true).custom_flags(libc::O_DSYNC | flags).open(path)
}

/// Whole blocks at an address that is a multiple of a block.
#[derive(Debug, Default)]
pub(super) struct AlignedBuffer {
    bytes: Vec<u8>,
}

impl AlignedBuffer {
    /// `contents` in whole blocks, at least one, filled up with zeros.
    pub(super) fn filled(&mut self, contents: &[u8]) -> &[u8] {
        let length = contents.len().max(1).next_multiple_of(BLOCK_BYTES);
        if self.bytes.len() < length + BLOCK_BYTES {
            self.bytes = vec![0; length + BLOCK_BYTES];
        }
        let start = self.bytes.as_ptr().align_offset(BLOCK_BYTES);
        let blocks = &mut self.bytes[start..start + length];
        let (content, rest) = blocks.split_at_mut(contents.len());
        content.copy_from_slice(contents);
        rest.fill(0);
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_aligned_and_its_end_is_zeros_whatever_it_held_before() {
        let mut buffer = AlignedBuffer::default();
        for length in [0, 1, BLOCK_BYTES, 3 * BLOCK_BYTES + 7, 5] {
            let blocks = buffer.filled(&vec![9; length]);
            assert_eq!(blocks.as_ptr().align_offset(BLOCK_BYTES), 0);
            assert_eq!(blocks.len(), length.max(1).next_multiple_of(BLOCK_BYTES));
            assert!(blocks[..length].iter().all(|byte| *byte == 9));
            assert!(blocks[length..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn a_segment_is_written_where_it_was_asked_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("segment");
        let segment = Segment::open(path.clone(), 4 * BLOCK_BYTES).unwrap();
        let mut buffer = AlignedBuffer::default();
        segment.write(buffer.filled(&[7; BLOCK_BYTES + 1]), BLOCK_BYTES).unwrap();
        let bytes = fs::read(path).unwrap();
        let written = BLOCK_BYTES..2 * BLOCK_BYTES + 1;
        for (place, byte) in bytes.iter().enumerate() {
            assert_eq!(*byte, if written.contains(&place) { 7 } else { 0 }, "{place}");
        }
    }
}
