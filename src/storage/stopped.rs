//! How a copy of a data directory is told from one that was made while its node ran: `STOPPED`.
//!
//! LMDB's file is rewritten in place, so a copy made beside a running node may hold pages of
//! different moments, and nothing in it says so. When a node has stopped in order, the first bytes of
//! its state's database (the two pages that say which pages are in use, rewritten by every commit)
//! are named in this file. A copy whose first bytes are others was made before the last commit, or
//! its node died without stopping: it is refused. One that has them was read from its beginning
//! when nothing was written any more, and so is whole.
//!
//! The mark stays when the node is started again, and is wrong from its first commit on.
//!
//! On disk: an envelope (see `envelope`) around the record in postcard. Append only.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::state::current_database;
use super::{StorageError, durable_file, envelope};

/// The newest version of the file this release reads, and the one it writes.
const STOPPED_VERSION: u8 = 1;

/// The file's name.
pub(super) const STOPPED: &str = "STOPPED";

/// Bytes at the beginning of a database in which LMDB's two meta pages lie, whatever its page size
/// may be on this system.
const HEAD_BYTES: u64 = 2 * 64 * 1_024;

/// The state's database as it was when the node had stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stopped {
    /// The length of the file.
    file_bytes: u64,
    /// CRC-32 of its first [`HEAD_BYTES`], or of all of it when it is shorter.
    head_checksum: u32,
}

/// Says in the data directory at `path` that its node has stopped in order. Its stores are closed.
/// Blocks.
pub(super) fn mark(path: &Path) -> Result<(), StorageError> {
    let stopped = read_head(path)?;
    durable_file::replace(&path.join(STOPPED), &envelope::seal(STOPPED_VERSION, &stopped))
}

/// Refuses a data directory that was not copied, or moved, from a node that had stopped in order.
/// Blocks.
pub(super) fn check(path: &Path) -> Result<(), StorageError> {
    let not_stopped = || StorageError::NotStopped { path: path.to_owned() };
    let mark = path.join(STOPPED);
    let bytes = durable_file::read(&mark)?.ok_or_else(not_stopped)?;
    let known: Stopped = envelope::unseal(STOPPED_VERSION, &bytes)
        .map_err(|error| StorageError::envelope("the mark of a stop", &mark, &error))?;
    if known == read_head(path)? { Ok(()) } else { Err(not_stopped()) }
}

fn read_head(path: &Path) -> Result<Stopped, StorageError> {
    let database = current_database(&path.join("state"))?;
    let failed = |source| StorageError::io("read", &database, source);
    let file = File::open(&database).map_err(failed)?;
    let file_bytes = file.metadata().map_err(failed)?.len();
    let mut head = Vec::new();
    file.take(HEAD_BYTES).read_to_end(&mut head).map_err(failed)?;
    Ok(Stopped { file_bytes, head_checksum: crc32fast::hash(&head) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_pinned() {
        let stopped = Stopped { file_bytes: 300, head_checksum: 5 };
        let bytes = envelope::seal(STOPPED_VERSION, &stopped);
        assert_eq!((bytes[0], &bytes[envelope::ENVELOPE_BYTES..]), (1, &[0xac, 2, 5][..]));
    }

    #[test]
    fn a_database_that_was_written_since_or_never_marked_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let epoch = directory.path().join("state").join("1");
        std::fs::create_dir_all(&epoch).unwrap();
        let database = epoch.join("data.mdb");
        std::fs::write(&database, [7; 4_096 * 4]).unwrap();
        let refused = |what: &str| {
            let error = check(directory.path()).unwrap_err().to_string();
            assert!(error.contains("did not stop in order"), "{what}: {error}");
        };
        refused("it was never marked");
        mark(directory.path()).unwrap();
        check(directory.path()).unwrap();
        let mut written = std::fs::read(&database).unwrap();
        written[4_096 + 150] ^= 1;
        std::fs::write(&database, &written).unwrap();
        refused("a commit came since");
        written[4_096 + 150] ^= 1;
        written.extend([0; 4_096]);
        std::fs::write(&database, &written).unwrap();
        refused("the file grew");
    }
}
