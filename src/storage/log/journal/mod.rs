//! The journal: where a write waits for the disk once.
//!
//! A transaction of LMDB's waits for the disk twice (its pages, then the page that makes them
//! count), and its file grows, which makes the file system write its own records too. A write
//! that somebody waits for therefore goes to a file whose blocks are there already: one write in
//! place that returns when the disk has it. Later, and many at a time, the checkpointer puts the same writes into the
//! tables; until then they are here, and in memory for reading.
//!
//! ```text
//! log/journal.0  log/journal.1     two segments, made of filling blocks, written in turn
//!   header | record | record | ... | what an earlier turn left
//! ```
//!
//! What must stay true:
//!
//! - A record begins a block of its own, so no write ever touches a block that holds something
//!   acknowledged.
//! - One record is under way at a time: a record's number says that all before it are on the disk.
//! - Every block is whole at all times and says which record's it is (`block`). So damage is told
//!   from a write that was cut short, which leaves blocks of before among its own.
//! - A segment is written again only when the tables hold all that is in it, durably. The tables
//!   say up to which record they do and where the next one goes (`JournalRecord`), in the
//!   transaction that made it so; at an orderly end, that there is no next one.
//! - Every open draws a new salt, which each block carries and no client can know: neither an
//!   earlier run's records nor a value made to look like one is ever taken for a record.
//!
//! On failure: as everywhere in the log, a failed write or sync is final. Damage found when the log
//! is opened costs what lies behind it; the log then remembers that it lost something acknowledged
//! (`LostRecord`), until whoever opened it says that it was made good.
//!
//! What it cannot tell: a last record whose blocks are all those of before (the disk said that it
//! had written and did not, or the file was put back older) looks like one that was never written.
//! The leader that had it acknowledged can.

mod block;
#[cfg(fuzzing)]
pub(super) mod fuzzing;
mod record;
mod recovery;
mod segment;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(super) use self::record::Record;
pub(super) use self::recovery::{Loss, Replay, replay};
use self::segment::{AlignedBuffer, Segment};
use super::super::StorageError;

/// Records begin at multiples of this: at least the block of any file system or disk in use.
pub(super) const BLOCK_BYTES: usize = 4096;

/// The segments: one is written while the tables take over the other.
pub(super) const SEGMENTS: usize = 2;

/// Where the first record of a segment begins: behind its header.
const FIRST_BLOCK: u32 = 1;

/// Where a record begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JournalPosition {
    /// The segment.
    pub(super) segment: u32,
    /// The block in it.
    pub(super) block: u32,
}

impl JournalPosition {
    /// Where the first record goes.
    pub(super) const FIRST: Self = Self { segment: 0, block: FIRST_BLOCK };

    /// Where the other segment's first record goes.
    fn other_segment(self) -> Self {
        Self { segment: (self.segment + 1) % SEGMENTS as u32, block: FIRST_BLOCK }
    }

    /// So many blocks on.
    fn plus(self, blocks: usize) -> Self {
        let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
        Self { block: self.block.saturating_add(blocks), ..self }
    }
}

/// The segments of one log, open for writing.
#[derive(Debug)]
pub(super) struct Journal {
    segments: Vec<Segment>,
    /// Where the next record goes.
    position: JournalPosition,
    /// Blocks of each segment.
    blocks: usize,
    salt: u64,
    /// The number of the last record.
    sequence: u64,
    buffer: AlignedBuffer,
}

impl Journal {
    /// Opens the segments in `directory`, making those that are not there or have another size,
    /// or all of them `anew`; nothing in them is needed any more.
    /// `segment_bytes` comes from [`segment_bytes`]; 0 means no journal at all: no record fits.
    pub(super) fn create(
        directory: &Path,
        segment_bytes: usize,
        salt: u64,
        sequence: u64,
        anew: bool,
    ) -> Result<Self, StorageError> {
        let mut segments = Vec::new();
        if segment_bytes > 0 {
            for number in 0..SEGMENTS {
                let path = segment_path(directory, number);
                segments.push(Segment::open(path, number, segment_bytes, salt, anew)?);
            }
        }
        Ok(Self {
            segments,
            position: JournalPosition::FIRST,
            blocks: segment_bytes / BLOCK_BYTES,
            salt,
            sequence,
            buffer: AlignedBuffer::default(),
        })
    }

    /// The number of the last record.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Where the next record goes, if it fits.
    pub(super) fn position(&self) -> JournalPosition {
        self.position
    }

    /// Whether the record fits a segment at all.
    pub(super) fn takes(&self, record: &Record) -> bool {
        FIRST_BLOCK as usize + record.blocks() <= self.blocks
    }

    /// Whether the record fits what is left of the segment being written.
    pub(super) fn has_room(&self, record: &Record) -> bool {
        self.position.block as usize + record.blocks() <= self.blocks
    }

    /// Goes on in the other segment. The tables hold all that is in it.
    pub(super) fn switch(&mut self) {
        self.position = self.position.other_segment();
    }

    /// Writes the record, which has room, and returns when it is on the disk; gives its buffer
    /// back. When this fails nobody knows what is there.
    pub(super) fn write(&mut self, record: Record) -> Result<Vec<u8>, StorageError> {
        let blocks = self.buffer.filled(&record, self.salt, self.sequence + 1);
        let segment = &self.segments[self.position.segment as usize];
        segment.write(blocks, self.position.block as usize)?;
        self.position = self.position.plus(record.blocks());
        self.sequence += 1;
        Ok(record.into_buffer())
    }
}

/// The bytes of a segment when so many are asked for: whole blocks, room for its header and a
/// record. 0 stays 0.
pub(super) fn segment_bytes(asked: usize) -> usize {
    match asked {
        0 => 0,
        asked => asked.next_multiple_of(BLOCK_BYTES).max(2 * BLOCK_BYTES),
    }
}

/// Where a segment lies.
pub(super) fn segment_path(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("journal.{number}"))
}

#[cfg(test)]
mod tests;
