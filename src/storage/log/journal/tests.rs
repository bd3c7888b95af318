//! The journal on a real disk, and its bytes.

use super::record::{HEADER_BYTES, decode_body, find};
use super::*;
use crate::consensus::{EncodedCommand, RaftEntry, RaftLogId, RaftVote};
use crate::storage::log::meta_layout::JournalRecord;
use crate::storage::log::write::Write;

const SALT: u64 = 0x0102_0304_0506_0708;
const NEW: JournalRecord = JournalRecord { salt: SALT, sequence: 0 };

fn entry(index: u64, payload: &[u8]) -> RaftEntry {
    RaftEntry {
        log_id: RaftLogId::new_term_index(1, index),
        payload: openraft::EntryPayload::Normal(EncodedCommand(payload.to_vec().into())),
    }
}

fn append(index: u64, payload_bytes: usize) -> Write {
    Write::Append(vec![entry(index, &vec![7; payload_bytes])])
}

/// Writes a record as the writer thread does.
fn write(journal: &mut Journal, write: &Write) {
    let mut record = journal.record(Vec::new());
    record.push(write, &mut Vec::new());
    assert!(journal.takes(&record));
    if !journal.has_room(&record) {
        journal.switch();
    }
    journal.write(record).unwrap();
}

fn flip(directory: &Path, segment: usize, place: usize) {
    let path = segment_path(directory, segment);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[place] ^= 4;
    std::fs::write(&path, bytes).unwrap();
}

#[test]
fn the_bytes_of_a_record_are_pinned() {
    let mut record = Record::begin(b"what was there".to_vec(), SALT, 9);
    let mut scratch = Vec::new();
    record.push(&Write::Truncate(300), &mut scratch);
    record.push(&Write::SaveVote(RaftVote::new_committed(5, 2)), &mut scratch);
    assert_eq!(record.push(&Write::Append(vec![entry(1, b"c")]), &mut scratch), 5 + 5 + 5);
    let bytes = record.seal();
    assert_eq!(bytes.len(), HEADER_BYTES + 0x29);
    assert_eq!(bytes[..8], *b"CFJ1\x29\0\0\0");
    assert_eq!(bytes[8..16], [8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(bytes[16..24], [9, 0, 0, 0, 0, 0, 0, 0]);
    let body = &bytes[HEADER_BYTES..];
    assert_eq!(body[..13], [3, 8, 0, 0, 0, 44, 1, 0, 0, 0, 0, 0, 0]);
    // The envelope's version; its checksum is pinned with it.
    assert_eq!(body[13..19], [2, 8, 0, 0, 0, 1]);
    assert_eq!(body[23..26], [5, 2, 1]);
    assert_eq!(body[26..32], [1, 10, 0, 0, 0, 1]);
    assert_eq!(body[36..41], [1, 1, 1, 1, b'c']);
    let found = find(&bytes, SALT).unwrap();
    assert_eq!((found.sequence, found.body.len()), (9, 0x29));
    assert_eq!(find(&bytes, SALT + 1), None, "a record of another time");
}

#[test]
fn every_kind_of_write_is_replayed_in_order_across_segments() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(directory.path(), 3 * BLOCK_BYTES, SALT, 0).unwrap();
    let writes = [
        append(7, 10),
        append(8, 5000),
        Write::SaveVote(RaftVote::new(3, 1)),
        Write::Truncate(8),
        Write::Purge(RaftLogId::new_term_index(1, 6)),
    ];
    for one in &writes {
        write(&mut journal, one);
    }
    let replay = replay(directory.path(), &NEW).unwrap();
    assert_eq!(replay.writes, writes);
    assert_eq!(replay.sequence, 5);
}

#[test]
fn what_the_tables_hold_and_what_another_time_left_is_not_replayed() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(directory.path(), 8 * BLOCK_BYTES, SALT, 0).unwrap();
    for index in 0..4 {
        write(&mut journal, &append(index, 10));
    }
    let held = JournalRecord { salt: SALT, sequence: 3 };
    let found = replay(directory.path(), &held).unwrap();
    assert_eq!((found.writes, found.sequence), (vec![append(3, 10)], 4));
    let found = replay(directory.path(), &JournalRecord { salt: SALT + 1, sequence: 3 }).unwrap();
    assert_eq!((found.writes, found.sequence), (vec![], 3));
}

#[test]
fn a_last_record_cut_short_was_never_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(directory.path(), 8 * BLOCK_BYTES, SALT, 0).unwrap();
    write(&mut journal, &append(0, 10));
    write(&mut journal, &append(1, 6000));
    flip(directory.path(), 0, 2 * BLOCK_BYTES + 17);
    let found = replay(directory.path(), &NEW).unwrap();
    assert_eq!((found.writes, found.sequence), (vec![append(0, 10)], 1));
}

#[test]
fn a_damaged_record_before_a_whole_one_is_named() {
    for (place, gone) in [(HEADER_BYTES + 7, 1), (BLOCK_BYTES + 17, 2), (BLOCK_BYTES, 2)] {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(directory.path(), 2 * BLOCK_BYTES, SALT, 0).unwrap();
        for index in 0..3 {
            write(&mut journal, &append(index, 10));
        }
        flip(directory.path(), 0, place);
        let message = replay(directory.path(), &NEW).unwrap_err().to_string();
        assert!(message.starts_with("the log's journal in "), "{message}");
        let named = format!("record {gone} is gone and record {} is there", gone + 1);
        assert!(message.contains(&named), "{message}");
    }
}

/// What a client stores is never taken for a record, wherever it comes to lie.
#[test]
fn a_value_made_like_a_record_is_not_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(directory.path(), 8 * BLOCK_BYTES, SALT, 0).unwrap();
    let mut forged = Record::begin(Vec::new(), SALT ^ 1, 77);
    forged.push(&append(70, 10), &mut Vec::new());
    let forged = forged.seal();
    // So that the forged record begins at a block of the segment.
    let before = BLOCK_BYTES - HEADER_BYTES - 5 - 5 - 3 - 2;
    let value = [vec![0; before], forged, vec![0; 64]].concat();
    write(&mut journal, &Write::Append(vec![entry(0, &value)]));
    let bytes = std::fs::read(segment_path(directory.path(), 0)).unwrap();
    assert_eq!(bytes[BLOCK_BYTES..BLOCK_BYTES + 4], *b"CFJ1", "where a record may begin");
    // The record around it is damaged, so that its blocks are looked at one by one.
    flip(directory.path(), 0, HEADER_BYTES + 20);
    assert_eq!(replay(directory.path(), &NEW).unwrap().writes, []);
}

#[test]
fn a_segment_that_is_gone_is_named() {
    let directory = tempfile::tempdir().unwrap();
    drop(Journal::create(directory.path(), BLOCK_BYTES, SALT, 0).unwrap());
    std::fs::remove_file(segment_path(directory.path(), 1)).unwrap();
    let message = replay(directory.path(), &NEW).unwrap_err().to_string();
    assert!(message.contains("journal.1 is missing"), "{message}");
}

#[test]
fn a_body_that_is_none_is_told_and_does_not_panic() {
    for body in [&[1][..], &[1, 0, 0, 0, 0], &[9, 0, 0, 0, 0], &[3, 255, 255, 255, 255, 1]] {
        assert_eq!(decode_body(body), None, "{body:?}");
    }
    assert_eq!(decode_body(&[]), Some(vec![]));
}

#[test]
fn segments_of_another_size_are_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    for bytes in [BLOCK_BYTES, 3 * BLOCK_BYTES, 2 * BLOCK_BYTES] {
        drop(Journal::create(directory.path(), bytes, SALT, 0).unwrap());
        let length = std::fs::metadata(segment_path(directory.path(), 0)).unwrap().len();
        assert_eq!(length, bytes as u64);
    }
}
