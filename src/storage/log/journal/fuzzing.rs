//! What the fuzz target of the log reaches of the journal. Compiled for it only.

use std::path::PathBuf;

use super::super::meta_layout::JournalRecord;
use super::super::write::Write;
use super::record::{Record, decode_body};
use super::recovery::read;
use super::segment::AlignedBuffer;
use super::{BLOCK_BYTES, JournalPosition, SEGMENTS};
use crate::consensus::RaftLogId;

const SALT: u64 = 7;

/// A body: what decodes encodes to something that decodes to the same.
pub(in super::super) fn body(bytes: &[u8]) {
    if let Some(writes) = decode_body(bytes) {
        assert_eq!(decode_body(record(&writes).body()), Some(writes));
    }
}

/// A segment, of blocks whose checksum no fuzzer guesses.
pub(in super::super) fn segment(bytes: &[u8]) {
    let held = JournalRecord {
        salt: SALT,
        segment_bytes: bytes.len().next_multiple_of(BLOCK_BYTES) as u64,
        sequence: 0,
        position: JournalPosition::FIRST,
        closed: false,
    };
    let segments = vec![(PathBuf::from("segment"), bytes.to_vec()); SEGMENTS];
    // Any outcome is right; a panic is not.
    let _ = read(&segments, &held);
}

/// The body of a record with one of each write but entries, and the whole of it.
pub(in super::super) fn seeds() -> Vec<Vec<u8>> {
    let writes = [
        Write::Truncate(8),
        Write::Purge(RaftLogId::new_term_index(1, 6)),
        Write::SaveCommitted(RaftLogId::new_term_index(1, 6)),
        Write::MadeGood,
    ];
    let record = record(&writes);
    let blocks = AlignedBuffer::default().filled(&record, SALT, 1).to_vec();
    vec![record.body().to_vec(), blocks]
}

fn record(writes: &[Write]) -> Record {
    let mut record = Record::begin(Vec::new(), None);
    for write in writes {
        record.push(write, &mut Vec::new());
    }
    record
}
