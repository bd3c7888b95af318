//! Damaged files, full maps, newer releases: each a clear line, and nothing acknowledged lost.

use std::path::{Path, PathBuf};

use chainfire::storage::{LogOptions, StorageError};
use openraft::storage::{RaftLogReader, RaftLogStorage};

use crate::support::{SMALL, append, entries, entry, indexes, open, read};

fn database(directory: &Path) -> PathBuf {
    directory.join("log").join("data.mdb")
}

/// Flips one bit in every place of the database where `pattern` is found, `offset` bytes into it.
fn flip(directory: &Path, pattern: &[u8], offset: usize) {
    let path = database(directory);
    let mut bytes = std::fs::read(&path).unwrap();
    let places: Vec<usize> = bytes
        .windows(pattern.len())
        .enumerate()
        .filter(|(_, window)| *window == pattern)
        .map(|(place, _)| place)
        .collect();
    assert!(!places.is_empty(), "the pattern is in the file");
    for place in places {
        bytes[place + offset] ^= 0x10;
    }
    std::fs::write(&path, bytes).unwrap();
}

#[tokio::test]
async fn a_flipped_bit_in_an_entry_is_detected_and_named_by_its_index() {
    let directory = tempfile::tempdir().unwrap();
    let (log, _watch) = open(directory.path(), SMALL).unwrap();
    append(&log, entries(7, 0..50)).await.unwrap();
    drop(log);
    let payload = [7u64.to_be_bytes(), 31u64.to_be_bytes()].concat();
    flip(directory.path(), &payload, 3);

    let (log, watch) = open(directory.path(), SMALL).unwrap();
    assert_eq!(indexes(&read(&log, 0..31).await.unwrap()), (0..31).collect::<Vec<_>>());
    assert_eq!(indexes(&read(&log, 32..50).await.unwrap()), (32..50).collect::<Vec<_>>());
    assert!(watch.current().is_none());
    let message = read(&log, 20..40).await.unwrap_err().to_string();
    assert!(message.starts_with("log entry 31 in "), "{message}");
    assert!(message.contains("is corrupt: its checksum is"), "{message}");
    assert_eq!(watch.current().unwrap().to_string(), message, "the node is told");
}

#[tokio::test]
async fn a_flipped_bit_in_the_last_entry_is_named_when_the_log_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let (log, _watch) = open(directory.path(), SMALL).unwrap();
    append(&log, entries(7, 0..50)).await.unwrap();
    drop(log);
    flip(directory.path(), &[7u64.to_be_bytes(), 49u64.to_be_bytes()].concat(), 15);
    let message = open(directory.path(), SMALL).unwrap_err().to_string();
    assert!(message.starts_with("log entry 49 in "), "{message}");
}

#[tokio::test]
async fn a_flipped_bit_in_the_vote_is_named_when_the_log_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let (mut log, _watch) = open(directory.path(), SMALL).unwrap();
    let vote = chainfire::consensus::RaftVote::new_committed(0x1234_5678_9ABC, 0x77);
    log.save_vote(&vote).await.unwrap();
    drop(log);
    flip(directory.path(), &[0xBC, 0xB5, 0xE2, 0xB3, 0xC5, 0xC6, 0x04, 0x77, 1], 2);
    let message = open(directory.path(), SMALL).unwrap_err().to_string();
    assert!(message.starts_with("the vote record in "), "{message}");
    assert!(message.contains("is corrupt: its checksum is"), "{message}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path(), SMALL).unwrap());
    std::fs::write(database(directory.path()), vec![7; 100_000]).unwrap();
    let message = open(directory.path(), SMALL).unwrap_err().to_string();
    assert!(message.starts_with("cannot open the database in "), "{message}");
}

#[tokio::test]
async fn a_full_map_is_fatal_and_clear_and_loses_nothing_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let tiny = LogOptions { map_bytes: 256 << 10, ..SMALL };
    let (mut log, mut watch) = open(directory.path(), tiny).unwrap();
    let mut acknowledged = Vec::new();
    let failure = loop {
        let entry = entry(1, acknowledged.len() as u64, 3000);
        match append(&log, vec![entry.clone()]).await {
            Ok(()) => acknowledged.push(entry),
            Err(error) => break error.to_string(),
        }
        assert!(acknowledged.len() < 1000, "the map never filled");
    };
    let says = "reached its 262144 bytes; raise its map size and restart the node, no \
                acknowledged write is lost";
    assert!(failure.contains(says), "{failure}");
    assert!(acknowledged.len() > 10, "{}", acknowledged.len());
    let fatal = watch.failed().await;
    assert!(matches!(*fatal, StorageError::MapFull { map_bytes: 262_144, .. }), "{fatal}");

    let refused = append(&log, entries(1, [9999])).await.unwrap_err().to_string();
    assert!(refused.starts_with("the store stopped after a failure: the database"), "{refused}");
    let refused = log.truncate_after(None).await.unwrap_err().to_string();
    assert!(refused.starts_with("the store stopped after a failure"), "{refused}");
    drop(log);

    let (log, watch) = open(directory.path(), SMALL).unwrap();
    assert_eq!(read(&log, 0..9999).await.unwrap(), acknowledged);
    let next = acknowledged.len() as u64;
    append(&log, vec![entry(1, next, 3000)]).await.unwrap();
    assert_eq!(log.reader().try_get_log_entries(next..).await.unwrap().len(), 1);
    assert!(watch.current().is_none());
}

#[tokio::test]
async fn a_log_of_a_newer_release_is_refused_with_both_versions() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path(), SMALL).unwrap());
    // The record of format 1, and the one a release of format 2 would write.
    let record = |format: u8| {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&[1, format]);
        [&[1][..], &hasher.finalize().to_le_bytes(), &[format]].concat()
    };
    let path = database(directory.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let (old, new) = (record(1), record(2));
    let mut replaced = 0;
    for place in 0..bytes.len() - old.len() {
        if bytes[place..].starts_with(&old) {
            bytes[place..place + old.len()].copy_from_slice(&new);
            replaced += 1;
        }
    }
    assert!(replaced > 0, "the format record is in the file");
    std::fs::write(&path, bytes).unwrap();
    let message = open(directory.path(), SMALL).unwrap_err().to_string();
    assert!(message.starts_with("the log in "), "{message}");
    assert!(message.contains("has format 2, this release reads up to 1"), "{message}");
}
