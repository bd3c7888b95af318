//! What a journal holds that the tables do not: read when the log is opened.
//!
//! The tables say where the record after theirs was to be written. From there on record follows
//! record, in the other segment where one does not fit. It ends in one of three ways:
//!
//! | at the place of the next record | it is |
//! |---|---|
//! | only what was there before, or some new blocks and some of before | the end: that write was under way and never acknowledged |
//! | a block that is neither | damage: the record may have been acknowledged |
//! | anything, and a block of a record beyond the next lies somewhere | damage: the writer writes a record only when the one before is on the disk, so its number says what was acknowledged |
//!
//! A record that has a block of before was not on the disk, whatever its other blocks are. What is
//! whole before the damage counts; the rest is given up, and the loss is told: see [`Loss`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::super::StorageError;
use super::super::meta_layout::JournalRecord;
use super::super::write::Write;
use super::block::{self, Block, Header};
use super::record;
use super::segment::is_header;
use super::{BLOCK_BYTES, FIRST_BLOCK, JournalPosition, SEGMENTS, segment_path};
use crate::failpoint::{Fault, planted};
use crate::types::LogId;

/// What is to be written into the tables.
#[derive(Debug, Default, PartialEq)]
pub(in super::super) struct Replay {
    /// The writes, in order.
    pub(in super::super) writes: Vec<Write>,
    /// The number of the last record; the tables' own when there was none after it.
    pub(in super::super) sequence: u64,
    /// What was acknowledged and is not there, if anything is.
    pub(in super::super) loss: Option<Loss>,
    /// Whether a block is damaged, needed or not: the segments are to be made anew.
    pub(in super::super) damaged: bool,
}

/// Acknowledged writes that a journal held and does not hold any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Loss {
    /// The first record that is gone.
    pub(in super::super) record: u64,
    /// No entry after this one was acknowledged; none when nothing tells.
    pub(in super::super) last: Option<LogId>,
    /// What was found, for the operator.
    pub(in super::super) reason: String,
}

/// Reads the records of the journal in `directory` that follow those the tables hold.
///
/// # Errors
/// A segment cannot be read; a whole record does not hold writes.
pub(in super::super) fn replay(
    directory: &Path,
    held: &JournalRecord,
) -> Result<Replay, StorageError> {
    let sequence = held.sequence;
    if held.closed {
        return Ok(Replay { sequence, ..Replay::default() });
    }
    let mut segments = Vec::new();
    for number in 0..SEGMENTS {
        let path = segment_path(directory, number);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(StorageError::io("read", &path, source)),
        };
        segments.push((path, bytes));
    }
    read(&segments, held).map_err(|reason| StorageError::Corrupt {
        what: "the log's journal",
        path: directory.to_owned(),
        reason,
    })
}

/// [`replay`] of these segments' bytes.
pub(super) fn read(
    segments: &[(PathBuf, Vec<u8>)],
    held: &JournalRecord,
) -> Result<Replay, String> {
    let segments = Segments {
        segments,
        salt: held.salt,
        blocks: usize::try_from(held.segment_bytes).unwrap_or(0) / BLOCK_BYTES,
    };
    let mut replay = Replay { sequence: held.sequence, ..Replay::default() };
    let mut place = held.position;
    let damage = loop {
        let number = replay.sequence + 1;
        match segments.next(place, number) {
            Next::Record { body, after } => {
                let writes = record::decode_body(&body)
                    .ok_or_else(|| format!("record {number} is malformed"))?;
                replay.writes.extend(writes);
                (replay.sequence, place) = (number, after);
            }
            Next::End => break None,
            Next::Damaged(damaged) => break Some(segments.describe(damaged)),
        }
    };
    let survey = segments.survey(place, replay.sequence);
    replay.damaged = survey.damaged;
    let lost = damage.or(survey.evidence).or(survey.foreign);
    if let Some(reason) = lost.filter(|_| !planted(Fault::DroppedJournalTail)) {
        replay.damaged = true;
        replay.loss = Some(Loss { record: replay.sequence + 1, last: survey.last, reason });
    }
    Ok(replay)
}

/// The segments of one journal.
struct Segments<'bytes> {
    segments: &'bytes [(PathBuf, Vec<u8>)],
    salt: u64,
    /// Blocks of each segment.
    blocks: usize,
}

/// What comes after a record.
enum Next {
    Record { body: Vec<u8>, after: JournalPosition },
    End,
    Damaged(JournalPosition),
}

/// What lies where a record would begin.
enum Look {
    Record {
        body: Vec<u8>,
        after: JournalPosition,
    },
    /// Some of its blocks, and some of before.
    CutShort,
    /// None of it.
    Before,
    Damaged(JournalPosition),
}

/// What all blocks together say.
#[derive(Default)]
struct Survey {
    /// Why something acknowledged must be missing, if the blocks say so.
    evidence: Option<String>,
    /// A segment that is not this journal's.
    foreign: Option<String>,
    /// Whether any block is damaged.
    damaged: bool,
    /// The last entry that any record said, when that record was the last.
    last: Option<LogId>,
}

impl<'bytes> Segments<'bytes> {
    fn block(&self, place: JournalPosition) -> Block<'bytes> {
        let start = place.block as usize * BLOCK_BYTES;
        let bytes = self.segments.get(place.segment as usize).map(|(_, bytes)| bytes);
        let bytes = bytes.and_then(|bytes| bytes.get(start..start + BLOCK_BYTES));
        bytes.map_or(Block::Damaged, block::read)
    }

    /// The block's header, when it is one of a record of this journal.
    fn ours(&self, place: JournalPosition) -> Option<Header> {
        match self.block(place) {
            Block::Whole(header, _) if header.salt == self.salt && header.number > 0 => {
                Some(header)
            }
            _ => None,
        }
    }

    fn has(&self, place: JournalPosition) -> bool {
        (place.block as usize) < self.blocks
    }

    /// The record `number`, which was to be written to `place`, or to the other segment's
    /// beginning when it had no room there.
    fn next(&self, place: JournalPosition, number: u64) -> Next {
        let here = if self.has(place) { self.look(place, number) } else { Look::Before };
        let here = match here {
            Look::Record { body, after } => return Next::Record { body, after },
            Look::CutShort => return Next::End,
            here => here,
        };
        match (self.look(place.other_segment(), number), here) {
            (Look::Record { body, after }, _) => Next::Record { body, after },
            (Look::CutShort, _) | (Look::Before, Look::Before) => Next::End,
            (Look::Damaged(damaged), _) | (Look::Before, Look::Damaged(damaged)) => {
                Next::Damaged(damaged)
            }
            (Look::Before, Look::Record { .. } | Look::CutShort) => {
                unreachable!("both returned above")
            }
        }
    }

    fn look(&self, begin: JournalPosition, number: u64) -> Look {
        let first = match self.block(begin) {
            Block::Damaged => return Look::Damaged(begin),
            Block::Whole(header, _) if (header.salt, header.number) != (self.salt, number) => {
                return Look::Before;
            }
            Block::Whole(header, _) => header,
        };
        let after = begin.plus(first.blocks());
        if first.place != 0 || after.block as usize > self.blocks {
            return Look::Damaged(begin);
        }
        let (mut body, mut damaged, mut cut_short) = (Vec::new(), None, false);
        for place in 0..first.blocks() {
            let at = begin.plus(place);
            let expected = Header { place: u32::try_from(place).unwrap_or(u32::MAX), ..first };
            match self.block(at) {
                Block::Whole(header, part) if header == expected => body.extend_from_slice(part),
                Block::Whole(header, _) if (header.salt, header.number) != (self.salt, number) => {
                    cut_short = true;
                }
                _ => damaged = Some(at),
            }
        }
        match damaged {
            _ if cut_short => Look::CutShort,
            Some(at) => Look::Damaged(at),
            None => {
                body.truncate(first.bytes as usize);
                Look::Record { body, after }
            }
        }
    }

    /// Looks at every block, for records after `sequence` of which the next belongs at `place`.
    fn survey(&self, place: JournalPosition, sequence: u64) -> Survey {
        let mut survey = Survey::default();
        let (mut newest, mut last) = (None::<(u64, JournalPosition)>, None);
        for segment in 0..SEGMENTS {
            let mut is_ours = false;
            let segment = u32::try_from(segment).expect("there are two segments");
            for block in FIRST_BLOCK..u32::try_from(self.blocks).unwrap_or(u32::MAX) {
                let at = JournalPosition { segment, block };
                survey.damaged |= self.block(at) == Block::Damaged;
                let Some(header) = self.ours(at) else { continue };
                is_ours = true;
                if header.number <= sequence {
                    continue;
                }
                last = last.max(header.last);
                let begin = block.checked_sub(header.place);
                let begin = begin.map(|block| JournalPosition { segment, block });
                let under_way = begin == Some(place) || begin == Some(place.other_segment());
                if header.number > sequence + 1 || !under_way {
                    survey.evidence.get_or_insert_with(|| {
                        let number = header.number;
                        format!(
                            "record {} is gone and record {number} is there ({})",
                            sequence + 1,
                            self.describe(at)
                        )
                    });
                }
                if newest.is_none_or(|(newest, _)| newest < header.number) {
                    newest = begin.map(|begin| (header.number, begin.plus(header.blocks())));
                }
            }
            let header = self.block(JournalPosition { segment, block: 0 });
            if !is_header(header, segment as usize, self.salt) {
                survey.damaged = true;
                if !is_ours {
                    survey.foreign = Some(self.describe(JournalPosition { segment, block: 0 }));
                }
            }
        }
        // Something acknowledged may have lain where nothing can be read.
        let unreadable = |at: JournalPosition| self.has(at) && self.block(at) == Block::Damaged;
        survey.last = match newest {
            Some((_, after)) if !unreadable(after) && !unreadable(after.other_segment()) => last,
            _ => None,
        };
        survey
    }

    /// What is wrong with a block, for people.
    fn describe(&self, at: JournalPosition) -> String {
        let (path, bytes) = &self.segments[at.segment as usize];
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into());
        let (expected, found) = (self.blocks * BLOCK_BYTES, bytes.len());
        match self.block(at) {
            _ if found == 0 => format!("{name} is missing or empty"),
            _ if found != expected => format!("{name} has {found} bytes of {expected}"),
            Block::Damaged => format!("block {} of {name} is damaged", at.block),
            Block::Whole(..) if at.block == 0 => format!("{name} belongs to another journal"),
            Block::Whole(..) => format!("block {} of {name}", at.block),
        }
    }
}
