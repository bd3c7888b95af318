//! What the fuzz targets reach of the log's formats. Compiled for them only; how and why is at
//! `storage::fuzzing`.

use std::path::Path;

use super::super::fuzzing::{body, tried_twice};
use super::{entry_layout, meta_layout};
use crate::consensus::entry_to_openraft;
use crate::types::{LogEntry, LogEntryPayload, LogId, MembershipConfig};

/// A log entry: what decodes encodes to the same entry.
pub fn entry(bytes: &[u8]) {
    tried_twice(bytes, |bytes| {
        // Whatever index the bytes name is the one that is asked for.
        let index = match entry_layout::decode(u64::MAX, bytes) {
            Err(entry_layout::EntryError::Misplaced { found }) => found,
            _ => u64::MAX,
        };
        if let Ok(entry) = entry_layout::decode(index, bytes) {
            let mut again = Vec::new();
            entry_layout::encode(&entry, &mut again);
            assert_eq!(entry_layout::decode(index, &again), Ok(entry));
        }
    });
}

/// Real entries, and a journal with one of each write.
pub fn seeds() -> Vec<Vec<u8>> {
    [entry_seeds(), super::journal::fuzzing::seeds()].concat()
}

fn entry_seeds() -> Vec<Vec<u8>> {
    let membership = MembershipConfig {
        voter_sets: vec![[1, 2].into()],
        nodes: [1, 2].into_iter().map(|id| (id, Default::default())).collect(),
    };
    let payloads = [
        LogEntryPayload::Blank,
        LogEntryPayload::Command("command".into()),
        LogEntryPayload::Membership(membership),
    ];
    let encoded = payloads.map(|payload| {
        let entry = LogEntry { log_id: LogId { term: 3, index: 300 }, payload };
        let mut bytes = Vec::new();
        let entry = entry_to_openraft(entry).expect("every voter has an address");
        entry_layout::encode(&entry, &mut bytes);
        body(bytes)
    });
    encoded.into()
}

/// The body of a journal record, and a segment of one.
pub fn journal(bytes: &[u8]) {
    // Any outcome is right; a panic is not.
    super::journal::fuzzing::body(bytes);
    super::journal::fuzzing::segment(bytes);
}

/// The records beside the entries.
pub fn records(bytes: &[u8]) {
    let path = Path::new("/fuzzed");
    tried_twice(bytes, |bytes| {
        // Any outcome is right; a panic is not.
        let _ = meta_layout::decode::<meta_layout::FormatRecord>(path, bytes);
        let _ = meta_layout::decode::<meta_layout::LogRecord>(path, bytes);
    });
}
