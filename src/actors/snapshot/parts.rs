//! The files in `incoming/`: what was received of snapshots that are not complete.
//!
//! A file is named by the digest of the whole, so a transfer goes on with the same snapshot only.
//! The last piece may be torn by a crash: a file counts up to its last whole piece.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::rpc::peer::SnapshotPart;
use crate::rpc::transport::limits::SNAPSHOT_CHUNK_BYTES_MAX;
use crate::storage::crash_point::crash_point;

/// Incomplete files kept: the one under way and the one before it.
const PARTS_KEPT: usize = 2;
const SUFFIX: &str = ".part";

/// Where the pieces of a snapshot are collected.
pub(super) fn path(incoming: &Path, digest: &[u8; 32]) -> PathBuf {
    let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    incoming.join(name + SUFFIX)
}

/// Makes the file to collect pieces in and answers how much of it is there already.
pub(super) fn prepare(incoming: &Path, part: &Path, size_bytes: u64) -> io::Result<u64> {
    fs::create_dir_all(incoming)?;
    let mut others: Vec<_> = fs::read_dir(incoming)?.collect::<Result<_, _>>()?;
    others.retain(|entry| entry.path() != *part);
    others.sort_by_key(|entry| entry.metadata().and_then(|meta| meta.modified()).ok());
    let surplus = others.len().saturating_sub(PARTS_KEPT - 1);
    for entry in others.drain(..surplus) {
        fs::remove_file(entry.path())?;
    }
    let file: File = OpenOptions::new().create(true).append(true).open(part)?;
    let length = file.metadata()?.len();
    let resume_at = if length == size_bytes { length } else { whole_pieces(length, size_bytes) };
    file.set_len(resume_at)?;
    Ok(resume_at)
}

/// Adds a piece; answers how much there is then.
pub(super) fn write(part: &Path, offset_bytes: u64, bytes: &[u8]) -> io::Result<u64> {
    crash_point("snapshot.piece");
    let mut file = OpenOptions::new().write(true).open(part)?;
    file.seek(SeekFrom::Start(offset_bytes))?;
    file.write_all(bytes)?;
    Ok(offset_bytes + bytes.len() as u64)
}

/// What is there of each snapshot.
pub(super) fn list(incoming: &Path) -> io::Result<Vec<SnapshotPart>> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(incoming)? {
        let entry = entry?;
        let name = entry.file_name();
        let digest = name.to_str().and_then(|name| parse(name.strip_suffix(SUFFIX)?));
        if let Some(digest) = digest {
            parts.push(SnapshotPart { digest, received_bytes: entry.metadata()?.len() });
        }
    }
    Ok(parts)
}

/// Removes everything received.
pub(super) fn remove_all(incoming: &Path) -> io::Result<()> {
    for entry in fs::read_dir(incoming)? {
        fs::remove_file(entry?.path())?;
    }
    Ok(())
}

fn parse(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, place) in digest.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&hex[place..place + 2], 16).ok()?;
    }
    Some(digest)
}

fn whole_pieces(length: u64, size_bytes: u64) -> u64 {
    let piece = SNAPSHOT_CHUNK_BYTES_MAX as u64;
    if length <= size_bytes { length - length % piece } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u64 = SNAPSHOT_CHUNK_BYTES_MAX as u64;

    #[test]
    fn a_torn_piece_is_received_again_and_a_whole_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let part = path(directory.path(), &[0xab; 32]);
        let size = 2 * PIECE + 10;
        assert_eq!(prepare(directory.path(), &part, size).unwrap(), 0);
        assert_eq!(write(&part, 0, &vec![1; PIECE as usize]).unwrap(), PIECE);
        assert_eq!(write(&part, PIECE, b"torn").unwrap(), PIECE + 4);
        assert_eq!(prepare(directory.path(), &part, size).unwrap(), PIECE);
        let listed = list(directory.path()).unwrap();
        assert_eq!(listed, [SnapshotPart { digest: [0xab; 32], received_bytes: PIECE }]);
        File::options().write(true).open(&part).unwrap().set_len(size).unwrap();
        assert_eq!(prepare(directory.path(), &part, size).unwrap(), size);
        assert_eq!(prepare(directory.path(), &part, size - 1).unwrap(), 0, "another file");
    }

    #[test]
    fn the_file_before_is_kept_and_older_ones_go() {
        let directory = tempfile::tempdir().unwrap();
        for digest in 1..=4 {
            let part = path(directory.path(), &[digest; 32]);
            prepare(directory.path(), &part, PIECE).unwrap();
        }
        assert_eq!(list(directory.path()).unwrap().len(), PARTS_KEPT);
        remove_all(directory.path()).unwrap();
        assert_eq!(list(directory.path()).unwrap(), []);
    }

    #[test]
    fn only_names_of_ours_are_parts() {
        assert_eq!(parse(&"0f".repeat(32)), Some([0x0f; 32]));
        for name in ["", "0f", &"0g".repeat(32), &"é".repeat(32), &"+1".repeat(32)] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
