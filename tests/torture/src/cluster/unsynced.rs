//! Writes that were never synced, lost on purpose.
//!
//! `shim/disk.c` notes every write below a node's data directory with what was there before, and
//! every sync. When the power goes, a choice of what was not synced is taken back: each block of
//! 4 KiB is old or new by itself; of the entries made, renamed and removed in a directory that was
//! not synced the last ones are undone. A file system may do all of this.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Cluster, Disk};
use crate::random::Rng;

const BLOCK_BYTES: usize = 4096;
const MAGIC: u32 = 0x544f_5254;
const HEADER_BYTES: usize = 48;

/// How much of what was not synced is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    All,
    /// Block by block, as the seed chooses.
    Some,
}

/// Kinds of records; the numbers are those of `shim/disk.c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Written,
    Truncated,
    WriteSynced,
    FileSynced,
    Created,
    Renamed,
    Unlinked,
    DirectoryMade,
    DirectoryRemoved,
    DirectorySynced,
}

#[derive(Clone, Debug)]
struct Record {
    /// Where in the log it is.
    at: u64,
    kind: Kind,
    inode: u64,
    offset: u64,
    size: u64,
    path: PathBuf,
    data: Vec<u8>,
}

fn kind_of(number: u32) -> Option<Kind> {
    Some(match number {
        1 => Kind::Written,
        2 => Kind::Truncated,
        3 => Kind::WriteSynced,
        4 => Kind::FileSynced,
        5 => Kind::Created,
        6 => Kind::Renamed,
        7 => Kind::Unlinked,
        8 => Kind::DirectoryMade,
        9 => Kind::DirectoryRemoved,
        10 => Kind::DirectorySynced,
        _ => return None,
    })
}

/// The whole records of a log, and where the last of them ends.
fn parse(log: &[u8]) -> (Vec<Record>, usize) {
    let mut records = vec![];
    let mut at = 0;
    while let Some(header) = log.get(at..at + HEADER_BYTES) {
        let word = |i: usize| u64::from_ne_bytes(header[i..i + 8].try_into().expect("8 bytes"));
        let half = |i: usize| u32::from_ne_bytes(header[i..i + 4].try_into().expect("4 bytes"));
        let (path_bytes, data_bytes) = (word(32) as usize, word(40) as usize);
        let body = at + HEADER_BYTES;
        let Some(path) = log.get(body..body + path_bytes) else { break };
        let Some(data) = log.get(body + path_bytes..body + path_bytes + data_bytes) else { break };
        assert_eq!(half(0), MAGIC, "the disk's log at {at}");
        let kind = kind_of(half(4)).expect("a kind of shim/disk.c");
        let path = PathBuf::from(String::from_utf8_lossy(path).into_owned());
        let (inode, offset, size) = (word(8), word(16), word(24));
        records.push(Record { at: at as u64, kind, inode, offset, size, path, data: data.into() });
        at = body + path_bytes + data_bytes;
    }
    (records, at)
}

/// What is not safe of a log's records, in order.
fn unsafe_records(records: Vec<Record>) -> Vec<Record> {
    let mut files: HashMap<u64, u64> = HashMap::new();
    let mut directories: HashMap<PathBuf, u64> = HashMap::new();
    let mut writes: HashSet<u64> = HashSet::new();
    for record in &records {
        match record.kind {
            Kind::FileSynced => {
                files.insert(record.inode, record.offset);
            }
            Kind::DirectorySynced => {
                directories.insert(record.path.clone(), record.offset);
            }
            Kind::WriteSynced => {
                writes.insert(record.offset);
            }
            _ => {}
        }
    }
    let safe = |record: &Record| match record.kind {
        Kind::Written | Kind::Truncated => {
            writes.contains(&record.at)
                || files.get(&record.inode).is_some_and(|end| record.at < *end)
        }
        Kind::FileSynced | Kind::WriteSynced | Kind::DirectorySynced => true,
        _ => directories.get(&record.directory()).is_some_and(|end| record.at < *end),
    };
    records.into_iter().filter(|record| !safe(record)).collect()
}

impl Record {
    /// The other path of a rename.
    fn to(&self) -> PathBuf {
        PathBuf::from(String::from_utf8_lossy(&self.data).into_owned())
    }

    /// The directory whose entry changed. The product renames within one directory only, or from
    /// one that is thrown away.
    fn directory(&self) -> PathBuf {
        let path = if self.kind == Kind::Renamed { self.to() } else { self.path.clone() };
        path.parent().unwrap_or(Path::new("/")).to_owned()
    }
}

/// Takes back an entry of a directory. What is in its way has been undone before it, or is gone
/// with the directory it was in.
fn undo_entry(record: &Record, log: &Path) {
    let kept = |number: u64| PathBuf::from(format!("{}.{number}", log.display()));
    let _ = match record.kind {
        Kind::Created => fs::remove_file(&record.path),
        Kind::DirectoryMade => fs::remove_dir_all(&record.path),
        Kind::DirectoryRemoved => fs::create_dir(&record.path),
        Kind::Unlinked => fs::hard_link(kept(record.size), &record.path),
        Kind::Renamed => {
            let back = fs::rename(record.to(), &record.path);
            if record.size > 0 { fs::hard_link(kept(record.size), record.to()) } else { back }
        }
        _ => Ok(()),
    };
}

/// Undoes the last entries of each directory; what was undone.
fn undo_entries(records: &[Record], log: &Path, loss: Loss, rng: &mut Rng) -> Vec<String> {
    let mut by_directory: HashMap<PathBuf, usize> = HashMap::new();
    for record in records {
        *by_directory.entry(record.directory()).or_default() += 1;
    }
    let mut directories: Vec<_> = by_directory.into_iter().collect();
    directories.sort_unstable();
    let mut lost: HashMap<PathBuf, usize> = directories
        .into_iter()
        .map(|(directory, n)| match loss {
            Loss::All => (directory, n),
            Loss::Some => (directory, rng.index(n + 1)),
        })
        .collect();
    let mut undone = vec![];
    for record in records.iter().rev() {
        let left = lost.get_mut(&record.directory()).expect("counted above");
        if *left > 0 {
            *left -= 1;
            undone.push(format!("{:?} {}", record.kind, record.path.display()));
            undo_entry(record, log);
        }
    }
    undone
}

/// Takes back unsynced writes of one file; how many blocks.
fn undo_writes(path: &Path, records: &[&Record], loss: Loss, rng: &mut Rng) -> io::Result<usize> {
    let file = fs::File::options().write(true).open(path)?;
    let mut writes: HashMap<u64, usize> = HashMap::new();
    for record in records.iter().filter(|record| record.kind == Kind::Written) {
        for block in 0..record.data.len() / BLOCK_BYTES {
            *writes.entry(record.offset + (block * BLOCK_BYTES) as u64).or_default() += 1;
        }
    }
    let mut blocks: Vec<(u64, usize)> = writes.into_iter().collect();
    blocks.sort_unstable();
    // How many of the last writes each block loses.
    let mut lost: HashMap<u64, usize> = HashMap::new();
    let mut all = true;
    for (block, count) in blocks {
        let n = match (loss, rng.below(4)) {
            (Loss::All, _) | (_, 0) => count,
            (_, 1) => rng.index(count + 1),
            _ => 0,
        };
        all &= n == count;
        lost.insert(block, n);
    }
    let mut undone = 0;
    for record in records.iter().rev() {
        if record.kind == Kind::Truncated {
            if loss == Loss::All || rng.chance(50) {
                file.set_len(record.size)?;
                file.write_all_at(&record.data, record.offset)?;
            }
            continue;
        }
        for (i, old) in record.data.chunks(BLOCK_BYTES).enumerate() {
            let block = record.offset + (i * BLOCK_BYTES) as u64;
            let left = lost.get_mut(&block).expect("counted above");
            if *left > 0 {
                *left -= 1;
                undone += 1;
                file.write_all_at(old, block)?;
            }
        }
    }
    let first = records.first().expect("a file with records");
    if all && file.metadata()?.len() > first.size {
        file.set_len(first.size)?;
    }
    Ok(undone)
}

/// Every file below a directory by its inode.
fn inodes(directory: &Path, found: &mut HashMap<u64, PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
        if metadata.is_dir() {
            inodes(&entry.path(), found);
        } else if metadata.is_file() {
            found.insert(metadata.ino(), entry.path());
        }
    }
}

impl Cluster {
    fn disk_log(&self, slot: usize) -> PathBuf {
        self.root.join(format!("notes{slot}"))
    }

    /// Has a node's disk noted. What its last process was killed while noting is no record.
    pub(super) fn note_disk(&mut self, slot: usize, command: &mut Command) {
        let log = self.disk_log(slot);
        if let Ok(bytes) = fs::read(&log) {
            let (_, end) = parse(&bytes);
            let file = fs::File::options().write(true).open(&log).expect("the disk's log");
            file.set_len(end as u64).expect("the disk's log");
        }
        command.env("TORTURE_DISK", &self.slots[slot].dir).env("TORTURE_DISK_LOG", &log);
        if self.slots[slot].disk == Disk::Lying {
            command.env("TORTURE_DISK_LIES", "1");
        }
    }

    /// Takes back what a dead node had not synced.
    pub(super) fn lose_unsynced(&mut self, slot: usize, loss: Loss) {
        let log = self.disk_log(slot);
        let Ok(bytes) = fs::read(&log) else { return };
        let records = unsafe_records(parse(&bytes).0);
        let is_write = |record: &Record| matches!(record.kind, Kind::Written | Kind::Truncated);
        let (writes, entries): (Vec<Record>, Vec<Record>) = records.into_iter().partition(is_write);
        let mut rng = Rng::new(self.disk_rng.next());
        let entries = undo_entries(&entries, &log, loss, &mut rng);
        let mut paths = HashMap::new();
        inodes(&self.slots[slot].dir, &mut paths);
        let mut files: HashMap<u64, Vec<&Record>> = HashMap::new();
        for record in &writes {
            files.entry(record.inode).or_default().push(record);
        }
        let mut files: Vec<_> = files.into_iter().collect();
        files.sort_unstable_by_key(|(inode, _)| *inode);
        let mut blocks = 0;
        for (inode, records) in files {
            // A file that is gone has nothing to lose.
            let Some(path) = paths.get(&inode) else { continue };
            match undo_writes(path, &records, loss, &mut rng) {
                Ok(undone) => blocks += undone,
                Err(error) => self.surprise(format!("{}: {error}", path.display())),
            }
        }
        self.say(format!("slot {slot} lost {blocks} blocks and of directories {entries:?}"));
        self.forget_notes(slot);
    }

    /// All that is there now is safe.
    pub fn forget_notes(&mut self, slot: usize) {
        let name = format!("notes{slot}");
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            if file == name || file.starts_with(&format!("{name}.")) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(at: u64, kind: Kind, inode: u64, offset: u64) -> Record {
        let path = PathBuf::from("/d/f");
        Record { at, kind, inode, offset, size: 0, path, data: vec![] }
    }

    #[test]
    fn a_sync_makes_safe_what_was_written_before_it_and_nothing_else() {
        let records = vec![
            record(0, Kind::Written, 1, 0),
            record(1, Kind::Written, 2, 0),
            record(2, Kind::Written, 1, 4096),
            // Began before the record at 2.
            record(3, Kind::FileSynced, 1, 2),
            record(4, Kind::Written, 3, 0),
            record(5, Kind::WriteSynced, 3, 4),
            record(6, Kind::Created, 0, 0),
        ];
        let left: Vec<u64> = unsafe_records(records).iter().map(|record| record.at).collect();
        assert_eq!(left, [1, 2, 6]);
    }

    #[test]
    fn what_is_lost_is_what_was_there_before() {
        let directory = std::env::temp_dir().join(format!("unsynced-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("f");
        fs::write(&path, [2u8; BLOCK_BYTES]).unwrap();
        let old = |byte: u8, size: u64| Record {
            size,
            data: vec![byte; BLOCK_BYTES],
            ..record(0, Kind::Written, 1, 0)
        };
        // It was not there, then 1, then 2.
        let (first, second) = (old(0, 0), old(1, BLOCK_BYTES as u64));
        let mut rng = Rng::new(1);
        let undone = undo_writes(&path, &[&second], Loss::All, &mut rng).unwrap();
        assert_eq!((undone, fs::read(&path).unwrap()), (1, vec![1; BLOCK_BYTES]));
        fs::write(&path, [2u8; BLOCK_BYTES]).unwrap();
        undo_writes(&path, &[&first, &second], Loss::All, &mut rng).unwrap();
        assert_eq!(fs::read(&path).unwrap(), [0u8; 0]);
        fs::remove_dir_all(&directory).unwrap();
    }
}
