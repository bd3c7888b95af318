//! What a journal holds that the tables do not: read when the log is opened.

use std::fs;
use std::io;
use std::path::Path;

use super::super::super::StorageError;
use super::super::meta_layout::JournalRecord;
use super::super::write::Write;
use super::record::{self, HEADER_BYTES};
use super::{BLOCK_BYTES, SEGMENTS, segment_path};

/// What is to be written into the tables.
#[derive(Debug, Default, PartialEq)]
pub(in super::super) struct Replay {
    /// The writes, in order.
    pub(in super::super) writes: Vec<Write>,
    /// The number of the last record; the tables' own when there was none after it.
    pub(in super::super) sequence: u64,
}

/// Reads the records of the journal in `directory` that follow those the tables hold.
///
/// # Errors
/// A segment is missing; a record is missing or damaged and one after it is whole; a whole record
/// does not hold writes.
pub(in super::super) fn replay(
    directory: &Path,
    held: &JournalRecord,
) -> Result<Replay, StorageError> {
    let mut records = Vec::new();
    for number in 0..SEGMENTS {
        let path = segment_path(directory, number);
        let bytes = fs::read(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => StorageError::Missing { path: path.clone() },
            _ => StorageError::io("read", &path, source),
        })?;
        let found = scan(&bytes, held).map_err(|reason| corrupt(&path, reason))?;
        records.extend(found);
    }
    records.sort_by_key(|(sequence, _)| *sequence);
    let mut replay = Replay { writes: Vec::new(), sequence: held.sequence };
    for (sequence, writes) in records {
        let expected = replay.sequence + 1;
        if sequence != expected {
            let reason = format!("record {expected} is gone and record {sequence} is there");
            return Err(corrupt(directory, reason));
        }
        replay.sequence = sequence;
        replay.writes.extend(writes);
    }
    Ok(replay)
}

/// The records of one segment that the tables do not hold, in the order of their places.
pub(super) fn scan(bytes: &[u8], held: &JournalRecord) -> Result<Vec<(u64, Vec<Write>)>, String> {
    let mut records = Vec::new();
    let mut offset = 0;
    while let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) {
        let Some(found) = record::find(rest, held.salt) else {
            offset += BLOCK_BYTES;
            continue;
        };
        offset += (HEADER_BYTES + found.body.len()).next_multiple_of(BLOCK_BYTES);
        if found.sequence > held.sequence {
            let writes = record::decode_body(found.body)
                .ok_or_else(|| format!("record {} is malformed", found.sequence))?;
            records.push((found.sequence, writes));
        }
    }
    Ok(records)
}

fn corrupt(path: &Path, reason: String) -> StorageError {
    StorageError::Corrupt { what: "the log's journal", path: path.to_owned(), reason }
}
