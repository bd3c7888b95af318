//! The journal: where a write waits for the disk once.
//!
//! A transaction of LMDB's waits for the disk twice (its pages, then the page that makes them
//! count), and its file grows, which makes the file system write its own records too. A write
//! that somebody waits for therefore goes to a file whose blocks are there already: one write in
//! place that returns when the disk has it. Later, and many at a time, the checkpointer puts the same writes into the
//! tables; until then they are here, and in memory for reading.
//!
//! ```text
//! log/journal.0  log/journal.1     two segments, made of zeros, written in turn
//!   record | record | ... | what an earlier turn left
//! ```
//!
//! What must stay true:
//!
//! - A record begins a block of its own, so no write ever touches a block that holds something
//!   acknowledged.
//! - A segment is written again only when the tables hold all that is in it, durably. The tables
//!   say up to which record they do (`JournalRecord`), in the transaction that made it so.
//! - Records are numbered without a gap. What is found after the tables' number is replayed when
//!   the log is opened; a record missing before a whole one is corruption and refused. The last
//!   record may be cut short: its write was never acknowledged.
//! - Every open draws a new salt, which each record carries and no client can know: neither an
//!   earlier turn's records nor a value made to look like one is ever taken for a record.
//!
//! On failure: as everywhere in the log, a failed write or sync is final.
//!
//! What it cannot tell: a last record that rotted on the disk between a crash and the restart
//! looks like one that was cut short.

#[cfg(fuzzing)]
pub(super) mod fuzzing;
mod record;
mod recovery;
mod segment;

use std::path::{Path, PathBuf};

pub(super) use self::record::Record;
pub(super) use self::recovery::{Replay, replay};
use self::segment::{AlignedBuffer, Segment};
use super::super::StorageError;

/// Records begin at multiples of this: at least the block of any file system or disk in use.
pub(super) const BLOCK_BYTES: usize = 4096;

/// The segments: one is written while the tables take over the other.
pub(super) const SEGMENTS: usize = 2;

/// The segments of one log, open for writing.
#[derive(Debug)]
pub(super) struct Journal {
    segments: Vec<Segment>,
    /// The segment being written.
    current: usize,
    /// Where its next record goes.
    offset: usize,
    segment_bytes: usize,
    salt: u64,
    /// The number of the last record.
    sequence: u64,
    buffer: AlignedBuffer,
}

impl Journal {
    /// Opens the segments in `directory`, making those that are not there or have another size;
    /// nothing in them is needed any more. `segment_bytes` is rounded up to whole blocks; 0 means
    /// no journal at all: no record fits.
    pub(super) fn create(
        directory: &Path,
        segment_bytes: usize,
        salt: u64,
        sequence: u64,
    ) -> Result<Self, StorageError> {
        let segment_bytes = segment_bytes.next_multiple_of(BLOCK_BYTES);
        let mut segments = Vec::new();
        if segment_bytes > 0 {
            for number in 0..SEGMENTS {
                segments.push(Segment::open(segment_path(directory, number), segment_bytes)?);
            }
        }
        let buffer = AlignedBuffer::default();
        Ok(Self { segments, current: 0, offset: 0, segment_bytes, salt, sequence, buffer })
    }

    /// The number of the last record.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Begins the next record.
    pub(super) fn record(&self, buffer: Vec<u8>) -> Record {
        Record::begin(buffer, self.salt, self.sequence + 1)
    }

    /// Whether the record fits a segment at all.
    pub(super) fn takes(&self, record: &Record) -> bool {
        record.padded_bytes() <= self.segment_bytes
    }

    /// Whether the record fits what is left of the segment being written.
    pub(super) fn has_room(&self, record: &Record) -> bool {
        self.offset + record.padded_bytes() <= self.segment_bytes
    }

    /// Goes on in the other segment. The tables hold all that is in it.
    pub(super) fn switch(&mut self) {
        self.current = (self.current + 1) % SEGMENTS;
        self.offset = 0;
    }

    /// Writes the record, which has room, and returns when it is on the disk; gives its buffer
    /// back. When this fails nobody knows what is there.
    pub(super) fn write(&mut self, record: Record) -> Result<Vec<u8>, StorageError> {
        let bytes = record.seal();
        let blocks = self.buffer.filled(&bytes);
        self.segments[self.current].write(blocks, self.offset)?;
        self.offset += blocks.len();
        self.sequence += 1;
        Ok(bytes)
    }
}

/// Where a segment lies.
pub(super) fn segment_path(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("journal.{number}"))
}

#[cfg(test)]
mod tests;
