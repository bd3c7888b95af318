//! What the fuzz target of the log reaches of the journal. Compiled for it only.

use super::super::meta_layout::JournalRecord;
use super::super::write::Write;
use super::record::{Record, decode_body};
use super::recovery::scan;
use crate::consensus::{RaftLogId, RaftVote};

const SALT: u64 = 7;

/// A body: what decodes encodes to something that decodes to the same.
pub(in super::super) fn body(bytes: &[u8]) {
    if let Some(writes) = decode_body(bytes) {
        let again = record(&writes);
        let held = JournalRecord { salt: SALT, sequence: 0 };
        let found = scan(&again, &held).expect("our own record");
        assert_eq!(found, [(1, writes)]);
    }
}

/// A segment, of a record whose checksum no fuzzer guesses.
pub(in super::super) fn segment(bytes: &[u8]) {
    let held = JournalRecord { salt: SALT, sequence: 0 };
    // Any outcome is right; a panic is not.
    let _ = scan(bytes, &held);
}

/// The body of a record with one of each write but entries, and the whole of it.
pub(in super::super) fn seeds() -> Vec<Vec<u8>> {
    let writes = [
        Write::SaveVote(RaftVote::new(3, 1)),
        Write::Truncate(8),
        Write::Purge(RaftLogId::new_term_index(1, 6)),
        Write::SaveCommitted(RaftLogId::new_term_index(1, 6)),
    ];
    let whole = record(&writes);
    let length = u32::from_le_bytes([whole[4], whole[5], whole[6], whole[7]]) as usize;
    let body = &whole[super::record::HEADER_BYTES..][..length];
    vec![body.to_vec(), whole.clone()]
}

fn record(writes: &[Write]) -> Vec<u8> {
    let mut record = Record::begin(Vec::new(), SALT, 1);
    for write in writes {
        record.push(write, &mut Vec::new());
    }
    record.seal()
}
