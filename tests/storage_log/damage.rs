//! Damaged files, full maps, newer releases: each a clear line, and nothing acknowledged lost.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chainfire::storage::{LogOptions, StorageError};
use openraft::storage::{RaftLogReader, RaftLogStorage};

use crate::support::{SMALL, append, entries, entry, indexes, log_id, open, read};

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
    let (log, _watch) = open(directory.path(), SMALL).unwrap();
    assert!(!log.reader().read_through(&|_| false).unwrap(), "it ended when it was told to");
    assert!(log.reader().read_through(&|_| true).unwrap(), "it is whole");
    drop(log);
    let payload = [7u64.to_be_bytes(), 31u64.to_be_bytes()].concat();
    flip(directory.path(), &payload, 3);

    let (log, watch) = open(directory.path(), SMALL).unwrap();
    assert_eq!(indexes(&read(&log, 0..31).await.unwrap()), (0..31).collect::<Vec<_>>());
    assert_eq!(indexes(&read(&log, 32..50).await.unwrap()), (32..50).collect::<Vec<_>>());
    assert!(watch.current().is_none());
    let message = log.reader().read_through(&|_| true).unwrap_err().to_string();
    assert!(message.starts_with("log entry 31 in "), "{message}");
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

/// Each copy of the vote, damaged alone and with the other.
#[tokio::test]
async fn one_damaged_copy_of_the_vote_is_made_good_and_two_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let (mut log, _watch) = open(directory.path(), SMALL).unwrap();
    let vote = chainfire::consensus::RaftVote::new_committed(0x1234_5678_9ABC, 0x77);
    log.save_vote(&vote).await.unwrap();
    drop(log);
    let copies = ["vote.0", "vote.1"].map(|name| directory.path().join("log").join(name));
    let damage = |path: &PathBuf| {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[20] ^= 0x10;
        std::fs::write(path, bytes).unwrap();
    };
    for copy in &copies {
        damage(copy);
        let (log, _watch) = open(directory.path(), SMALL).unwrap();
        assert_eq!(log.reader().read_vote().await.unwrap(), Some(vote));
    }
    copies.iter().for_each(damage);
    let message = open(directory.path(), SMALL).unwrap_err().to_string();
    assert!(message.starts_with("the vote in "), "{message}");
    assert!(message.contains("neither vote.0 nor vote.1 is whole"), "{message}");
}

/// Flips a bit in block `block` of a segment of the journal.
fn flip_in_journal(directory: &Path, segment: usize, block: usize) {
    let path = directory.join("log").join(format!("journal.{segment}"));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[block * 4096 + 200] ^= 0x10;
    std::fs::write(&path, bytes).unwrap();
}

#[tokio::test]
async fn damage_that_a_read_found_is_named_at_the_next_start_before_anything_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let (log, _watch) = open(directory.path(), SMALL).unwrap();
    append(&log, entries(7, 0..50)).await.unwrap();
    drop(log);
    flip(directory.path(), &[7u64.to_be_bytes(), 31u64.to_be_bytes()].concat(), 3);
    let (log, _watch) = open(directory.path(), SMALL).unwrap();
    read(&log, 20..40).await.unwrap_err();
    drop(log);
    let message = open(directory.path(), SMALL).unwrap_err().to_string();
    assert!(message.starts_with("the log in "), "{message}");
    assert!(message.contains("log entry 31 in "), "{message}");
}

/// A directory as a crash leaves it: the journal holds three appends that the tables do not.
async fn crashed() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let slow = LogOptions { checkpoint_when_idle_for: Duration::from_secs(3600), ..SMALL };
    let (log, _watch) = open(directory.path(), slow).unwrap();
    for batch in [0..5, 5..10, 10..15] {
        append(&log, entries(7, batch)).await.unwrap();
    }
    let crashed = tempfile::tempdir().unwrap();
    copy(directory.path(), crashed.path());
    crashed
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_whole_before_damage_in_the_journal_is_kept_and_the_loss_is_remembered() {
    // The damaged record, the entries that are left, what is known of the loss.
    let cases = [(1, 0, Some(log_id(7, 14))), (2, 5, Some(log_id(7, 14))), (3, 10, None)];
    for (block, kept, lost_up_to) in cases {
        let directory = crashed().await;
        flip_in_journal(directory.path(), 0, block);
        for run in ["first", "second"] {
            let (mut log, _watch) = open(directory.path(), SMALL).unwrap();
            let last = log.get_log_state().await.unwrap().last_log_id;
            assert_eq!(last.map_or(0, |last| last.index + 1), kept, "{block}, {run}");
            assert_eq!(indexes(&read(&log, 0..99).await.unwrap()), (0..kept).collect::<Vec<_>>());
            let lost = log.lost().expect("the loss is told");
            let last = lost.last.as_ref().map(chainfire::consensus::log_id_to_openraft);
            assert_eq!(last, lost_up_to, "{block}, {run}");
        }
        let (log, _watch) = open(directory.path(), SMALL).unwrap();
        append(&log, entries(7, kept..20)).await.unwrap();
        assert!(log.lost().is_some(), "having more entries is not having these again");
        log.made_good().await.unwrap();
        assert_eq!(log.lost(), None);
        drop(log);
        let (log, _watch) = open(directory.path(), SMALL).unwrap();
        assert_eq!(log.lost(), None);
        assert_eq!(indexes(&read(&log, 0..99).await.unwrap()), (0..20).collect::<Vec<_>>());
    }
}

/// A crash in the middle of a write is none; nor is an orderly end, whatever becomes of the files.
#[tokio::test]
async fn no_loss_is_told_where_nothing_is_lost() {
    let directory = crashed().await;
    let path = directory.path().join("log").join("journal.0");
    let mut bytes = std::fs::read(&path).unwrap();
    let filling = bytes[9 * 4096..10 * 4096].to_vec();
    bytes[3 * 4096..4 * 4096].copy_from_slice(&filling);
    std::fs::write(&path, bytes).unwrap();
    let (log, _watch) = open(directory.path(), SMALL).unwrap();
    assert_eq!((log.lost(), log.stats().unwrap().last_index), (None, Some(9)));
    drop(log);
    std::fs::write(&path, []).unwrap();
    std::fs::remove_file(directory.path().join("log").join("journal.1")).unwrap();
    let (log, _watch) = open(directory.path(), SMALL).unwrap();
    assert_eq!((log.lost(), log.stats().unwrap().last_index), (None, Some(9)));
    assert!(path.metadata().unwrap().len() > 0, "the journal is made anew");
}

#[tokio::test]
async fn what_is_known_to_be_committed_or_applied_is_never_cut_off() {
    for applied in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let (mut log, mut watch) = open(directory.path(), SMALL).unwrap();
        append(&log, entries(7, 0..50)).await.unwrap();
        match applied {
            true => log.is_applied(20),
            false => log.save_committed(Some(log_id(7, 20))).await.unwrap(),
        }
        log.truncate_after(Some(log_id(7, 20))).await.unwrap();
        let refused = log.truncate_after(Some(log_id(7, 19))).await.unwrap_err().to_string();
        assert!(refused.contains("wants entries from 20 on cut off"), "{refused}");
        let fatal = watch.failed().await;
        assert!(matches!(*fatal, StorageError::CutBelowApplied { .. }), "{fatal}");
        drop(log);
        let (log, _watch) = open(directory.path(), SMALL).unwrap();
        assert_eq!(log.stats().unwrap().last_index, Some(20));
    }
}

/// The tables' last entries are gone, and the record beside them says that they were there.
#[tokio::test]
async fn a_database_that_is_gone_beside_a_vote_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let (mut log, _watch) = open(directory.path(), SMALL).unwrap();
    log.save_vote(&chainfire::consensus::RaftVote::new(3, 1)).await.unwrap();
    append(&log, entries(7, 0..50)).await.unwrap();
    drop(log);
    std::fs::remove_file(database(directory.path())).unwrap();
    let message = open(directory.path(), SMALL).unwrap_err().to_string();
    assert!(message.contains("data.mdb is missing"), "{message}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path(), SMALL).unwrap());
    std::fs::write(database(directory.path()), vec![7; 100_000]).unwrap();
    let message = open(directory.path(), SMALL).unwrap_err().to_string();
    assert!(message.starts_with("the database in "), "{message}");
    assert!(message.contains("is not one of LMDB's"), "{message}");
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
    // The record of format 2, and the one a release of format 3 would write.
    let record = |format: u8| {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&[1, format]);
        [&[1][..], &hasher.finalize().to_le_bytes(), &[format]].concat()
    };
    let path = database(directory.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let (old, new) = (record(2), record(3));
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
    assert!(message.contains("has format 3, this release reads up to 2"), "{message}");
}
