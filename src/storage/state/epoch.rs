//! The epochs of the state: one LMDB environment each, one of them current.
//!
//! ```text
//! state/CURRENT   the number of the current epoch
//! state/1/        its environment, and while history has a backlog, backlog.snap
//! state/2/        one being built from a snapshot, or one that was current before
//! ```
//!
//! Installing a snapshot builds the next epoch from nothing, beside the current one, and then
//! points `CURRENT` at it: the file is replaced by a rename, so a crash at any moment leaves the
//! old state or the new one, whole. Directories that are not current are leftovers, and removed at
//! the next open.
//!
//! `CURRENT` holds the number in decimal and a checksum: `EPOCH CRC32`, the checksum in
//! hexadecimal over the digits before it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::storage::environment::Environment;
use crate::storage::{StorageError, durable_file};

const CURRENT: &str = "CURRENT";
const BACKLOG: &str = "backlog.snap";
/// The epoch of a store that never installed a snapshot.
const FIRST_EPOCH: u64 = 1;

/// The directory of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EpochDirectory {
    state: PathBuf,
    number: u64,
}

impl EpochDirectory {
    /// The current epoch under `state`; the first one when there is none yet, which is then to be
    /// made current once its environment is there. Removes leftovers.
    ///
    /// # Errors
    /// It is not known which is current, or the current one has no environment.
    pub(crate) fn open(state: &Path) -> Result<Self, StorageError> {
        let path = state.join(CURRENT);
        let number = match durable_file::read(&path)? {
            Some(contents) => decode(&contents).ok_or_else(|| StorageError::Corrupt {
                what: "the current epoch",
                path: path.clone(),
                reason: "it is no number with its checksum".into(),
            })?,
            // A crash while the first was being made leaves no other.
            None if epochs(state)?.iter().all(|number| *number == FIRST_EPOCH) => {
                return Ok(Self { state: state.to_owned(), number: FIRST_EPOCH });
            }
            None => return Err(StorageError::Missing { path }),
        };
        let epoch = Self { state: state.to_owned(), number };
        if !Environment::exists(&epoch.path()) {
            return Err(StorageError::Missing { path: epoch.path() });
        }
        epoch.remove_leftovers()?;
        Ok(epoch)
    }

    /// Whether `CURRENT` names an epoch; it does as soon as there was one.
    pub(crate) fn is_named(&self) -> bool {
        self.state.join(CURRENT).exists()
    }

    /// An epoch beyond every one that lies under `state`, whichever is current, with nothing in it.
    pub(crate) fn beyond(state: &Path) -> Result<Self, StorageError> {
        let mut last = 0;
        let failed = |source| StorageError::io("list", state, source);
        for entry in fs::read_dir(state).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let number = name.to_str().and_then(|name| name.parse::<u64>().ok());
            last = number.map_or(last, |number| last.max(number));
        }
        let pointed = durable_file::read(&state.join(CURRENT))?;
        let pointed = pointed.and_then(|contents| decode(&contents)).unwrap_or(0);
        Ok(Self { state: state.to_owned(), number: last.max(pointed) + 1 })
    }

    /// The next epoch, with nothing in it: what was left there by a failed build is removed.
    pub(crate) fn next(&self) -> Result<Self, StorageError> {
        let next = Self { state: self.state.clone(), number: self.number + 1 };
        next.remove()?;
        Ok(next)
    }

    /// Where its environment lies.
    pub(crate) fn path(&self) -> PathBuf {
        self.state.join(self.number.to_string())
    }

    /// Where the file lies that holds what is not in its environment yet.
    pub(crate) fn backlog_path(&self) -> PathBuf {
        self.path().join(BACKLOG)
    }

    /// Removes that file, once all of it is in the environment.
    pub(crate) fn remove_backlog(&self) {
        match fs::remove_file(self.backlog_path()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, "an unused snapshot is removed at the next start");
            }
            _ => {}
        }
    }

    /// Points `CURRENT` here. What is in the directory must be on the disk.
    pub(crate) fn make_current(&self) -> Result<(), StorageError> {
        durable_file::sync_directory(&self.state)?;
        durable_file::replace(&self.state.join(CURRENT), &encode(self.number))
    }

    /// Removes the directory. An environment that is still open stays readable.
    pub(crate) fn remove(&self) -> Result<(), StorageError> {
        remove_directory(&self.path())
    }

    fn remove_leftovers(&self) -> Result<(), StorageError> {
        for number in epochs(&self.state)? {
            if number != self.number {
                remove_directory(&self.state.join(number.to_string()))?;
            }
        }
        Ok(())
    }
}

/// The epochs that there are directories of.
fn epochs(state: &Path) -> Result<Vec<u64>, StorageError> {
    let failed = |source| StorageError::io("list", state, source);
    let mut numbers = Vec::new();
    for entry in fs::read_dir(state).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    Ok(numbers)
}

fn remove_directory(path: &Path) -> Result<(), StorageError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(StorageError::io("remove", path, source))
        }
        _ => Ok(()),
    }
}

fn encode(number: u64) -> Vec<u8> {
    let digits = number.to_string();
    format!("{digits} {:08x}\n", crc32fast::hash(digits.as_bytes())).into_bytes()
}

fn decode(contents: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(contents).ok()?;
    let (digits, _checksum) = text.split_once(' ')?;
    let number = digits.parse().ok()?;
    (encode(number) == contents).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_current_are_pinned_and_checked() {
        let bytes = encode(12);
        assert_eq!(bytes, b"12 4f5344cd\n");
        assert_eq!(decode(&bytes), Some(12));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), None, "bit {bit}");
        }
        assert_eq!(decode(b""), None);
    }

    /// The first epoch, with something for an environment.
    fn first(state: &Path) -> EpochDirectory {
        let first = EpochDirectory::open(state).unwrap();
        assert!(!first.is_named());
        make(&first);
        first.make_current().unwrap();
        assert!(first.is_named());
        first
    }

    fn make(epoch: &EpochDirectory) {
        fs::create_dir(epoch.path()).unwrap();
        fs::write(epoch.path().join("data.mdb"), b"an environment").unwrap();
    }

    #[test]
    fn what_is_not_current_is_removed_at_the_next_open() {
        let directory = tempfile::tempdir().unwrap();
        let first = first(directory.path());
        assert_eq!(first.number, 1);
        let next = first.next().unwrap();
        make(&next);

        assert_eq!(EpochDirectory::open(directory.path()).unwrap(), first);
        assert!(first.path().exists() && !next.path().exists());

        make(&next);
        next.make_current().unwrap();
        assert_eq!(EpochDirectory::open(directory.path()).unwrap(), next);
        assert!(!first.path().exists() && next.path().exists());
    }

    #[test]
    fn what_is_lost_of_an_epoch_is_never_replaced_by_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        let first = first(directory.path());
        fs::write(first.path().join("data.mdb"), b"").unwrap();
        let error = EpochDirectory::open(directory.path()).unwrap_err();
        assert!(matches!(error, StorageError::Missing { .. }), "{error}");

        let next = first.next().unwrap();
        make(&next);
        fs::remove_file(directory.path().join(CURRENT)).unwrap();
        let error = EpochDirectory::open(directory.path()).unwrap_err();
        assert!(error.to_string().contains("CURRENT is missing"), "{error}");
        assert!(first.path().exists() && next.path().exists());
    }

    #[test]
    fn an_epoch_beyond_is_new_whatever_lies_there() {
        let directory = tempfile::tempdir().unwrap();
        let beyond = |directory: &Path| EpochDirectory::beyond(directory).unwrap().number;
        assert_eq!(beyond(directory.path()), 1);
        let first = first(directory.path());
        assert_eq!(beyond(directory.path()), 2);
        fs::create_dir(first.state.join("4")).unwrap();
        assert_eq!(beyond(directory.path()), 5);
        fs::write(directory.path().join(CURRENT), b"damaged").unwrap();
        assert_eq!(beyond(directory.path()), 5);
    }

    #[test]
    fn a_damaged_pointer_is_refused_and_nothing_removed() {
        let directory = tempfile::tempdir().unwrap();
        let first = first(directory.path());
        fs::write(directory.path().join(CURRENT), b"2 00000000\n").unwrap();
        let error = EpochDirectory::open(directory.path()).unwrap_err();
        assert!(error.to_string().contains("CURRENT is corrupt"), "{error}");
        assert!(first.path().exists());
    }
}
