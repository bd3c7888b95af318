//! The vote, twice.
//!
//! A node that forgot its vote could vote twice in one term, and two leaders of one term lose what
//! was acknowledged. So the vote lies in two files, `vote.0` and `vote.1`, each with a number and
//! a checksum:
//!
//! ```text
//! [crc32: u32, over all else][magic "CFV1"][number: u64][kind: u8][term: u64][node: u64]
//! kind: 0 no vote yet, 1 a vote, 2 a vote for a leader that a quorum granted
//! ```
//!
//! What must stay true:
//!
//! - A vote is in both files before anybody hears of it; `vote.0` is written and synced first.
//! - The file with the higher number counts. So either file alone holds every vote that anybody
//!   heard of, and one that is damaged, missing or older is made good from the other.
//!
//! On failure: with neither file whole the log is refused; nothing else tells what was voted.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::super::{StorageError, durable_file};
use crate::types::Vote;

/// The files, in the order in which they are written.
const FILES: [&str; 2] = ["vote.0", "vote.1"];
const MAGIC: [u8; 4] = *b"CFV1";
const SLOT_BYTES: usize = 33;

/// The vote of one log, open for writing.
#[derive(Debug)]
pub(super) struct VoteSlots {
    files: [(PathBuf, File); 2],
    number: u64,
}

/// What one file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    number: u64,
    vote: Option<Vote>,
}

impl VoteSlots {
    /// Opens the vote in `directory`: of a log that is `new`, where there may be none yet, or of
    /// one that was there before. Makes a damaged file good from the other one.
    ///
    /// # Errors
    /// Neither file is whole; a log whose tables are new has a vote.
    pub(super) fn open(directory: &Path, new: bool) -> Result<(Self, Option<Vote>), StorageError> {
        let paths = FILES.map(|name| directory.join(name));
        let found = [read(&paths[0])?, read(&paths[1])?];
        let slot = match found {
            [Ok(first), Ok(second)] if second.number > first.number => second,
            [Ok(whole), _] | [Err(_), Ok(whole)] => whole,
            [Err(Unreadable::Missing), Err(Unreadable::Missing)] if new => {
                Slot { number: 0, vote: None }
            }
            [Err(Unreadable::Missing), Err(Unreadable::Missing)] => {
                return Err(StorageError::Missing { path: paths[0].clone() });
            }
            [Err(_), Err(_)] => {
                let reason = "neither vote.0 nor vote.1 is whole, and the node must not vote twice";
                return Err(StorageError::Corrupt {
                    what: "the vote",
                    path: directory.to_owned(),
                    reason: reason.to_owned(),
                });
            }
        };
        if new && slot.vote.is_some() {
            return Err(StorageError::Missing { path: directory.join("data.mdb") });
        }
        for (path, found) in paths.iter().zip(&found) {
            if *found != Ok(slot) {
                if !new {
                    tracing::warn!(path = %path.display(), "made good from the other copy of the vote");
                }
                durable_file::replace(path, &encode(&slot))?;
            }
        }
        let [first, second] = paths;
        let slots = Self { files: [open(first)?, open(second)?], number: slot.number };
        Ok((slots, slot.vote))
    }

    /// Puts a vote in the place of the one before; on the disk, twice, when this returns.
    pub(super) fn save(&mut self, vote: Vote) -> Result<(), StorageError> {
        self.number += 1;
        let bytes = encode(&Slot { number: self.number, vote: Some(vote) });
        for (path, file) in &self.files {
            file.write_all_at(&bytes, 0)
                .map_err(|source| StorageError::io("write", path, source))?;
        }
        Ok(())
    }
}

fn open(path: PathBuf) -> Result<(PathBuf, File), StorageError> {
    let file = OpenOptions::new().write(true).custom_flags(libc::O_DSYNC).open(&path);
    match file {
        Ok(file) => Ok((path, file)),
        Err(source) => Err(StorageError::io("open", &path, source)),
    }
}

/// Why a file does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unreadable {
    Missing,
    Damaged,
}

fn read(path: &Path) -> Result<Result<Slot, Unreadable>, StorageError> {
    Ok(match durable_file::read(path)? {
        None => Err(Unreadable::Missing),
        Some(bytes) => decode(&bytes).ok_or(Unreadable::Damaged),
    })
}

fn encode(slot: &Slot) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    bytes[4..8].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&slot.number.to_le_bytes());
    if let Some(vote) = slot.vote {
        bytes[16] = if vote.committed { 2 } else { 1 };
        bytes[17..25].copy_from_slice(&vote.term.to_le_bytes());
        bytes[25..33].copy_from_slice(&vote.node_id.to_le_bytes());
    }
    let checksum = crc32fast::hash(&bytes[4..]);
    bytes[..4].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Slot> {
    let bytes: &[u8; SLOT_BYTES] = bytes.try_into().ok()?;
    let u64_at = |place: usize| bytes[place..].first_chunk().copied().map(u64::from_le_bytes);
    let stored = u32::from_le_bytes(*bytes.first_chunk()?);
    if bytes[4..8] != MAGIC || stored != crc32fast::hash(&bytes[4..]) {
        return None;
    }
    let (term, node_id) = (u64_at(17)?, u64_at(25)?);
    let vote = match bytes[16] {
        0 => None,
        1 => Some(Vote { term, node_id, committed: false }),
        2 => Some(Vote { term, node_id, committed: true }),
        _ => return None,
    };
    Some(Slot { number: u64_at(8)?, vote })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const VOTE: Vote = Vote { term: 300, node_id: 2, committed: true };

    fn reopened(directory: &Path) -> Result<Option<Vote>, StorageError> {
        VoteSlots::open(directory, false).map(|(_, vote)| vote)
    }

    /// A directory where [`VOTE`] was saved as the third one.
    fn saved() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let (mut slots, vote) = VoteSlots::open(directory.path(), true).unwrap();
        assert_eq!(vote, None);
        for term in 298..=300 {
            slots.save(Vote { term, ..VOTE }).unwrap();
        }
        directory
    }

    #[test]
    fn the_bytes_of_a_vote_are_pinned() {
        let bytes = encode(&Slot { number: 3, vote: Some(VOTE) });
        assert_eq!(bytes[4..17], *b"CFV1\x03\0\0\0\0\0\0\0\x02");
        assert_eq!(bytes[17..], [44, 1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[..4], crc32fast::hash(&bytes[4..]).to_le_bytes());
        assert_eq!(decode(&bytes), Some(Slot { number: 3, vote: Some(VOTE) }));
    }

    #[test]
    fn every_flipped_bit_in_one_copy_is_made_good_from_the_other() {
        for name in FILES {
            let directory = saved();
            let path = directory.path().join(name);
            let whole = fs::read(&path).unwrap();
            for bit in 0..SLOT_BYTES * 8 {
                let mut flipped = whole.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                fs::write(&path, flipped).unwrap();
                assert_eq!(reopened(directory.path()).unwrap(), Some(VOTE), "{name}, bit {bit}");
                assert_eq!(fs::read(&path).unwrap(), whole, "{name}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_copy_that_is_gone_cut_zeroed_or_older_is_made_good() {
        for name in FILES {
            let directory = saved();
            let path = directory.path().join(name);
            let whole = fs::read(&path).unwrap();
            let older = encode(&Slot { number: 2, vote: Some(Vote { term: 299, ..VOTE }) });
            for bytes in [&[][..], &whole[..9], &[0; SLOT_BYTES], &older] {
                fs::write(&path, bytes).unwrap();
                assert_eq!(reopened(directory.path()).unwrap(), Some(VOTE));
                assert_eq!(fs::read(&path).unwrap(), whole);
            }
            fs::remove_file(&path).unwrap();
            assert_eq!(reopened(directory.path()).unwrap(), Some(VOTE));
        }
    }

    #[test]
    fn without_a_whole_copy_the_log_is_refused_by_name() {
        let directory = saved();
        fs::write(directory.path().join(FILES[0]), [0; SLOT_BYTES]).unwrap();
        fs::write(directory.path().join(FILES[1]), b"x").unwrap();
        for new in [false, true] {
            let message = VoteSlots::open(directory.path(), new).unwrap_err().to_string();
            assert!(message.starts_with("the vote in "), "{message}");
            assert!(message.contains("neither vote.0 nor vote.1 is whole"), "{message}");
        }
        for name in FILES {
            fs::remove_file(directory.path().join(name)).unwrap();
        }
        let message = reopened(directory.path()).unwrap_err().to_string();
        assert!(message.contains("vote.0 is missing"), "{message}");
    }

    #[test]
    fn a_vote_beside_tables_that_are_new_is_refused_by_name() {
        let message = VoteSlots::open(saved().path(), true).unwrap_err().to_string();
        assert!(message.contains("data.mdb is missing"), "{message}");
    }
}
